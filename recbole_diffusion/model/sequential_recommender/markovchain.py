r"""
MarkovChain
################################################
The yardstick of the results tables: counts of which item follows which, no gradient. A neural model
that does not beat it has not earned its cost.

The score of item b after a history a_0 (newest), a_1, .. is

.. math::
    \sum_{j < window} \frac{1}{j + 1} \left( \frac{c(a_j, b)}{\sum_{b'} c(a_j, b')}
    + self\_weight \cdot [b = a_j] \right) + popularity\_weight \cdot pop(b)

where c counts pairs of a training sequence that lie 1 to ``max_gap`` apart, each weighted with
1 / gap, and pop(b) is b's share of all training interactions. Short histories leave most items at
zero, some rows at fewer items than are ranked: with the default popularity_weight of 1e-9 the more
popular of two equal items comes first, instead of the one with the smaller id.

Letters: B batch size, w window.
"""

import numpy as np
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from scipy import sparse


class MarkovChain(SequentialRecommender):
    """Transition counts over a window of recent items; fitted in one pass at construction."""

    input_type = InputType.POINTWISE
    croppable = True
    trainer = "recbole_diffusion.trainer.trainer:CountingTrainer"

    def __init__(self, config, dataset):
        """
        Args:
            config (Config): the keys of ``MarkovChain.yaml``.
            dataset (LazySequentialDataset): the built training data.

        Raises:
            ValueError: for a window or gap below 1, or a negative weight.
        """
        super().__init__(config, dataset)
        self.window = config["window"]
        self.self_weight = config["self_weight"]
        self.popularity_weight = config["popularity_weight"]
        max_gap = config["max_gap"]
        for key, value, least in (
            ("window", self.window, 1),
            ("max_gap", max_gap, 1),
            ("self_weight", self.self_weight, 0),
            ("popularity_weight", self.popularity_weight, 0),
        ):
            if value < least:
                raise ValueError(f"{key} is {value}; it must be at least {least}")
        user = dataset.store[dataset.uid_field].numpy()
        item = dataset.store[dataset.iid_field].numpy()
        trained = dataset.trained_row.numpy()
        self.transition = transition_matrix(user, item, trained, self.n_items, max_gap)
        popularity = np.bincount(item[trained], minlength=self.n_items)
        self.popularity = popularity / max(popularity.sum(), 1)
        self.other_parameter_name = ["transition", "popularity"]
        self.fake_loss = torch.nn.Parameter(torch.zeros(1))  # RecBole's optimiser wants one

    def calculate_loss(self, interaction):
        """Nothing is left to learn.

        Returns:
            torch.Tensor: zero, shape: [].
        """
        return self.fake_loss.sum() * 0

    def full_sort_predict(self, interaction):
        """Scores of all items.

        Args:
            interaction (Interaction): histories, left-aligned.

        Returns:
            torch.Tensor: shape: [B, n_items].
        """
        items = interaction[self.ITEM_SEQ].cpu().numpy()
        length = interaction[self.ITEM_SEQ_LEN].cpu().numpy()
        back = np.arange(min(self.window, items.shape[1]))  # j
        column = length[:, None] - 1 - back  # [B, w]
        row, j = np.nonzero(column >= 0)
        recent = sparse.csr_matrix(
            (1.0 / (back[j] + 1), (row, items[row, column[row, j]])),
            shape=(len(items), self.n_items),
        )
        scores = recent @ self.transition + self.self_weight * recent
        scores = scores.toarray() + self.popularity_weight * self.popularity
        return torch.from_numpy(scores).to(interaction[self.ITEM_SEQ].device)

    def predict(self, interaction):
        """Scores of the given items.

        Args:
            interaction (Interaction): histories and items.

        Returns:
            torch.Tensor: shape: [B].
        """
        scores = self.full_sort_predict(interaction)
        # RecBole's table of sampled scores is float32
        return scores.gather(1, interaction[self.ITEM_ID][:, None]).squeeze(1).float()


def transition_matrix(user, item, trained, n_items, max_gap):
    """Counts followers of each item, nearer ones more, and makes every row sum to 1.

    Args:
        user (numpy.ndarray): users of the interactions, sorted, shape: [n].
        item (numpy.ndarray): items in time order within a user, shape: [n].
        trained (numpy.ndarray): bool, which of them are training data, shape: [n].
        n_items (int): items, the padding included.
        max_gap (int): largest distance of a pair.

    Returns:
        scipy.sparse.csr_matrix: shape: [n_items, n_items].
    """
    counts = sparse.csr_matrix((n_items, n_items))
    for gap in range(1, max_gap + 1):
        same = (user[gap:] == user[:-gap]) & trained[gap:] & trained[:-gap]
        pair = (item[:-gap][same], item[gap:][same])
        weight = np.full(len(pair[0]), 1.0 / gap)
        counts = counts + sparse.csr_matrix((weight, pair), shape=counts.shape)
    total = np.asarray(counts.sum(axis=1)).ravel()
    return sparse.diags(1.0 / np.where(total > 0, total, 1.0)) @ counts
