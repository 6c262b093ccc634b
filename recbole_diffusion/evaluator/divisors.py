"""What are metrics divided by? All users and all rows, as papers count."""

from recbole.evaluator.base_metric import TopkMetric
from recbole.evaluator.register import metrics_dict
from recbole.utils import ModelType

from recbole_diffusion.data.lines import DataError


def over_all_users(config, test_set, result):
    """The metrics divided by all users, as DiffRec's authors count, instead of those with a row.

    A user without a test row counts as 0. Only metrics that are means over users are given.

    Args:
        config (Config): key ``all_users``; without it nothing is done.
        test_set (Dataset): the built test data.
        result (dict): metric name to value, over users with a test row.

    Returns:
        dict: metric name to value; None if it was not asked for.

    Raises:
        DataError: if a user has several lists, so that the metrics are means over rows.
    """
    if not config["all_users"]:
        return None
    users = test_set.inter_feat[test_set.uid_field].unique()
    if config["MODEL_TYPE"] == ModelType.SEQUENTIAL and len(users) < len(test_set):
        raise DataError(
            f"all_users: the {len(test_set)} test rows of {len(users)} users are ranked one by "
            "one, so the metrics are means over rows, not over users"
        )
    return _with_misses(result, len(users) / (test_set.user_num - 1))


def over_all_rows(config, split, result):
    """The metrics divided by all test rows, as papers count, instead of those with a history.

    A row without history counts as a miss. Only metrics that are means over rows are given.

    Args:
        config (Config): the run's configuration.
        split (dict): the split report.
        result (dict): metric name to value, over the ranked rows.

    Returns:
        dict: metric name to value; None if no rows without history were counted, or if a user's
        rows are not ranked one by one.
    """
    missed = split.get("test_rows_without_history")
    one_by_one = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
    if missed is None or not one_by_one or config["eval_args"]["mode"]["test"] != "full":
        return None
    return _with_misses(result, split["test_rows"] / (split["test_rows"] + missed))


def _with_misses(result, share):
    """Means over some lists as means over all, of which those are a share and the rest is 0."""
    means = {name for name, metric in metrics_dict.items() if issubclass(metric, TopkMetric)}
    return {name: value * share for name, value in result.items() if name.split("@")[0] in means}
