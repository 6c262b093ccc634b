"""What did every held-out row get? Its list and its metrics, through RecBole's metric classes."""

from time import monotonic

import numpy as np
import pandas as pd
import torch
from recbole.evaluator.base_metric import TopkMetric
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.register import metrics_dict

from recbole_diffusion.evaluator.top_items import TopCollector

# RecBole's names of coverage, mean popularity, Gini, share of the tail, and diversity.
BEYOND = ("itemcoverage", "averagepopularity", "giniindex", "tailpercentage", "shannonentropy")


class RankedRows:
    """Keeps the list of every ranked row and which of its items were positive.

    Given to a trainer as ``observer``.

    Args:
        config (Config): keys ``metrics``, ``topk`` and those of RecBole's collector.

    Attributes:
        seconds (float): wall time spent here, to be taken off that of an evaluation.
    """

    def __init__(self, config):
        self.config = config
        self.collector = TopCollector(config)
        self.users, self.lists = [], []
        self.seconds = 0.0

    def collect(self, scores, rows, positive_u, positive_i):
        """Takes in one batch; arguments and shapes are those of `NeverTrainedAudit.collect`."""
        begin = monotonic()
        self.collector.eval_batch_collect(scores, rows, positive_u, positive_i)
        self.users.append(rows[self.config["USER_ID_FIELD"]].cpu())
        self.lists.append(scores.topk(max(self.config["topk"]), dim=-1).indices.cpu())
        self.seconds += monotonic() - begin

    def finish(self, dataset):
        """All rows of one evaluation.

        Args:
            dataset (Dataset): the ranked data, for the users' tokens.

        Returns:
            tuple: a table (pandas.DataFrame) with columns ``user`` (token), ``row`` (which of the
            user's rows it is, from 0) and one per metric, and the lists of the same rows
            (numpy.ndarray), shape: [n_rows, K].
        """
        struct = self.collector.get_data_struct()
        return per_row(self.config, struct, torch.cat(self.users), dataset), torch.cat(
            self.lists
        ).numpy()


def per_row(config, struct, users, dataset):
    """The metrics of every row, whose means are those of RecBole's evaluator.

    Args:
        config (Config): keys ``metrics`` and ``topk``.
        struct (DataStruct): with ``rec.topk``, shape: [n_rows, K + 1].
        users (torch.Tensor): the rows' users, shape: [n_rows]. A user's rows stand in the order of
            their histories.
        dataset (Dataset): for the users' tokens.

    Returns:
        pandas.DataFrame: columns ``user`` (token), ``row`` (from 0 within the user), and ``hit@5``
        and so on, rounded to six decimals.
    """
    tokens = dataset.field2id_token[dataset.uid_field]
    table = pd.DataFrame({"user": [str(token) for token in tokens[users.numpy()]]})
    table["row"] = table.groupby("user").cumcount()
    for metric in topk_metrics(config):
        # What every top-k metric hands its values to, a column for each k from 1 to K.
        metric.topk_result = lambda name, values: {
            f"{name}@{k}": np.round(values[:, k - 1].astype(float), 6) for k in config["topk"]
        }
        table = table.assign(**metric.calculate_metric(struct))
    return table


def topk_metrics(config):
    """RecBole's metrics of the configuration that are means over rows.

    Args:
        config (Config): key ``metrics``.

    Returns:
        list of TopkMetric: in the configuration's order.
    """
    metrics = [metrics_dict[name.lower()](config) for name in config["metrics"]]
    return [metric for metric in metrics if isinstance(metric, TopkMetric)]


def beyond_accuracy(config, lists, train_set):
    """RecBole's metrics of the lists themselves.

    RecBole's own collector fails for them (``'int' object has no attribute 'cpu'``).

    Args:
        config (Config): keys ``topk``, ``tail_ratio`` and ``metric_decimal_place``.
        lists (numpy.ndarray): recommended items, shape: [n_rows, K].
        train_set (Dataset): the built training data; an item's popularity is the number of users
            who have it there, so that it is the same for sequential and general models.

    Returns:
        dict: ``itemcoverage@k``, ``averagepopularity@k``, ``giniindex@k``, ``tailpercentage@k`` and
        ``shannonentropy@k``.
    """
    matrix = train_set.inter_matrix(form="coo").tocsr()
    matrix.sum_duplicates()
    popularity = np.bincount(matrix.indices, minlength=train_set.item_num)
    struct = DataStruct()
    struct.set("rec.items", torch.from_numpy(lists))
    struct.set("data.num_items", train_set.item_num)
    struct.set("data.count_items", {i: int(n) for i, n in enumerate(popularity) if n})
    result = {}
    for name in BEYOND:
        result |= metrics_dict[name](config).calculate_metric(struct)
    return {name: float(value) for name, value in result.items()}


def agreement(a, b):
    """Mean share of a list's items that another list of the same row has too.

    Args:
        a (numpy.ndarray): lists without repetition, shape: [n_rows, K].
        b (numpy.ndarray): lists of the same rows, same shape.

    Returns:
        float: 1 if every row has the same items.
    """
    a, b = torch.from_numpy(a), torch.from_numpy(b)
    shared = [
        (x[:, :, None] == y[:, None, :]).any(-1).float().sum(-1)
        for x, y in zip(a.split(1024), b.split(1024))
    ]
    return torch.cat(shared).mean().item() / a.shape[1]
