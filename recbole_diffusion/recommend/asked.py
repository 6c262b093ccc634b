"""Who asks for a list, and what did they have?"""

from typing import NamedTuple

import numpy as np
import torch
from recbole.data.dataset import Dataset

from recbole_diffusion.data.runs import runs
from recbole_diffusion.diffusion.row_noise import mixed


class Asked(NamedTuple):
    """Who asks.

    Attributes:
        users (numpy.ndarray): as they were given.
        user (torch.Tensor): the id by which the model knows each, 0 for cold ones.
        dataset (recbole.data.dataset.Dataset): their histories, users in the same order after the
            padding; None where none were given.
        items_are_numbers (bool): whether items were given as whole numbers.
    """

    users: np.ndarray
    user: torch.Tensor
    dataset: Dataset
    items_are_numbers: bool

    @property
    def warm(self):
        """Places in ``users`` of those the model can score for, shape: [n_warm]."""
        return torch.nonzero(self.user).flatten()

    def batches(self, size):
        """``warm`` in batches of a size (list of torch.Tensor); none where nobody is."""
        return list(self.warm.split(size)) if len(self.warm) else []

    @property
    def cold(self):
        """Places of the others, shape: [n_cold]."""
        return torch.nonzero(self.user == 0).flatten()

    def number(self, place):
        """Numbers by which noise is drawn for some users: equal histories have equal noise.

        Args:
            place (torch.Tensor): in ``users``, shape: [B].

        Returns:
            torch.Tensor: of the items of each in their order; without histories the user's id;
            shape: [B].
        """
        if self.dataset is None:
            return self.user[place]
        row, item = self.seen(place)
        count = torch.bincount(row, minlength=len(place))
        position = torch.arange(len(row)) - (count.cumsum(0) - count)[row]
        number = torch.zeros(len(place), dtype=torch.int64)
        return number.index_add_(0, row, mixed(item * (1 << 32) + position)) >> 1 & (1 << 62) - 1

    def seen(self, place):
        """What some users had.

        Args:
            place (torch.Tensor): in ``users``, shape: [B].

        Returns:
            tuple of torch.Tensor: which of them, and the item; shape: [n_seen] each.
        """
        data = self.dataset
        first = data.start[place + 1]
        row, index = runs(first, data.start[place + 2] - first)
        return row, data.store[data.iid_field][index]
