"""What did each user have in training? Compressed rows, made dense a batch at a time.

RecBole keeps a dense matrix of users x longest history, 12 GB at 138,000 users.
Letters: B users of a batch, n items without the padding, H columns of a table.
"""

from collections import namedtuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from recbole_diffusion.data.runs import runs

# Interactions of B users, one after the other. row: which of the B users; item: number from 0, so
# that of the padding's id is -1; weight: what stands in the user's row; all of shape: [n_entries].
# offset: where each user's entries begin, shape: [B].
Bags = namedtuple("Bags", "row item weight offset")


class UserHistories(nn.Module):
    """The training rows of all users as compressed sparse rows.

    A pair of user and item that occurs several times counts once, with its largest weight.
    Derived from the data, so nothing of it is stored in checkpoints.

    Attributes:
        n_items (int): n, items without the padding.
        start (torch.Tensor): first entry of each user, shape: [n_users + 1].
        item (torch.Tensor): items numbered from 0, shape: [n_entries].
        weight (torch.Tensor): values in the users' rows, shape: [n_entries].
    """

    def __init__(self, dataset, weight=None):
        """Compress the rows of a built training data set.

        Args:
            dataset (recbole.data.dataset.Dataset): the training data.
            weight (torch.Tensor): a value for every row of it, shape: [n_rows]; None is 1 for all.
        """
        super().__init__()
        rows = dataset.inter_feat
        user = rows[dataset.uid_field].numpy()
        item = rows[dataset.iid_field].numpy()
        weight = np.ones(len(user), np.float32) if weight is None else weight.numpy()
        self.n_items = dataset.item_num - 1
        order = np.lexsort((weight, item, user))
        user, item, weight = user[order], item[order], weight[order]
        last = np.ones(len(user), dtype=bool)  # of its pair, so the largest weight
        last[:-1] = (user[1:] != user[:-1]) | (item[1:] != item[:-1])
        count = np.bincount(user[last], minlength=dataset.user_num)
        start = np.concatenate([[0], np.cumsum(count)])
        tables = {"start": start, "item": item[last] - 1, "weight": weight[last]}
        for name, table in tables.items():
            self.register_buffer(name, torch.from_numpy(table), persistent=False)

    def bags(self, user):
        """The entries of some users.

        Args:
            user (torch.Tensor): ids, shape: [B].

        Returns:
            Bags: their interactions.
        """
        first = self.start[user]
        count = self.start[user + 1] - first
        row, index = runs(first, count)
        return Bags(row, self.item[index], self.weight[index], count.cumsum(0) - count)

    def dense(self, user):
        """The rows of some users.

        Args:
            user (torch.Tensor): ids, shape: [B].

        Returns:
            torch.Tensor: 0 where there was nothing, shape: [B, n].
        """
        bags = self.bags(user)
        rows = self.weight.new_zeros(len(user), self.n_items)
        rows[bags.row, bags.item] = bags.weight
        return rows

    def project(self, user, table):
        """The rows of some users times a table, without making them dense.

        Args:
            user (torch.Tensor): ids, shape: [B].
            table (torch.Tensor): a row for every item, shape: [n, H].

        Returns:
            torch.Tensor: shape: [B, H].
        """
        return weighted_sums(self.bags(user), table)


def weighted_sums(bags, table):
    """Sums of a table's rows, one sum a user.

    Args:
        bags (Bags): which rows, with which weights.
        table (torch.Tensor): shape: [n, H].

    Returns:
        torch.Tensor: shape: [B, H].
    """
    return F.embedding_bag(
        bags.item, table, bags.offset, mode="sum", per_sample_weights=bags.weight
    )
