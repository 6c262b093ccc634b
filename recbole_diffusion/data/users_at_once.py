"""How many users are ranked at once: those asked for, or as many as memory has room for?"""

from recbole.evaluator.register import metric_information
from recbole.model.abstract_recommender import AbstractRecommender, AutoEncoderMixin

from recbole_diffusion.config import traits

MB = 2**20
SCORE = 4  # bytes
# Bytes an item and user at the peak, as benchmarks/catalogue.py --part=bytes measures it
OF_ROWS = 2 * SCORE  # a model that reads a whole row of the matrix and gives one back
OF_MEAN_RANKS = 84  # metrics that sort all scores
OF_PAIRS = 2 * 8  # a column of user-item pairs and what it was joined from


def bytes_of_a_user(config, dataset):
    """What ranking all items for one user holds at its peak, beside the model.

    Args:
        config (Config): keys ``metrics``, and those of the data set's columns.
        dataset (Dataset): the ranked data.

    Returns:
        int: bytes.
    """
    model = config.model_class
    per_item = SCORE
    if issubclass(model, AutoEncoderMixin) or traits.of(model).reads == "row":
        per_item += OF_ROWS
    if any("rec.meanrank" in metric_information[name.lower()] for name in config["metrics"]):
        per_item += OF_MEAN_RANKS
    if model.full_sort_predict is AbstractRecommender.full_sort_predict:  # asked pair by pair
        rows = (dataset[:1], dataset[len(dataset) - 1 :])  # by length: the shortest and the longest
        columns = (sum(value[0].numel() for value in row.interaction.values()) for row in rows)
        per_item += OF_PAIRS * max(columns)
    return per_item * dataset.item_num


def users_at_once(config, dataset):
    """Users whose items are ranked together.

    Args:
        config (Config): keys ``eval_users_per_batch``, ``eval_memory_mb``.
        dataset (Dataset): the ranked data.

    Returns:
        int: at least 1.

    Raises:
        ValueError: if the budget has no room for one user.
    """
    users, budget = config["eval_users_per_batch"], config["eval_memory_mb"]
    if budget is None:
        return users
    one = bytes_of_a_user(config, dataset)
    if budget * MB < one:
        raise ValueError(
            f"eval_memory_mb is {budget}: ranking {dataset.item_num} items for one user takes "
            f"{one / MB:.1f} MB"
        )
    return min(users, int(budget * MB // one))
