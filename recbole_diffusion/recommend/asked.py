"""Who asks for a list, and what did they have?"""

from typing import NamedTuple

import numpy as np
import torch
from recbole.data.dataset import Dataset

from recbole_diffusion.data.runs import runs


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
