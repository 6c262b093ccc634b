"""Cross-entropy over a sample of items, for catalogues too large to score in every step.

Letters: M targets of a batch, S negatives, n items without the padding, D hidden size.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from recbole_diffusion.model.layers.cross_entropy import full_cross_entropy
from recbole_diffusion.model.settings import check_known, check_whole


def sampled_softmax(score, negative_scores, target, negatives, log_count=None):
    """``-log exp(score) / (exp(score) + sum over negatives of exp(their scores) / count)``.

    With the counts the sum is, on average over the draws, that over all items but the target: the
    importance sampling of Bengio and Senecal (2008), equation 8, the "logQ correction". The target
    is always there, and not corrected; TensorFlow's ``sampled_softmax_loss`` and Yi et al. (2019)
    correct it as if it had been drawn too, and their sum is then another.

    Args:
        score (torch.Tensor): of the target, shape: [M].
        negative_scores (torch.Tensor): shape: [M, S].
        target (torch.Tensor): target items, shape: [M].
        negatives (torch.Tensor): the items of the negative scores, shape: [S]. Those that are a
            row's own target do not count in it.
        log_count (torch.Tensor): logarithm of how often each negative is expected in the sample,
            shape: [S]; None leaves the scores as they are.

    Returns:
        torch.Tensor: one loss per row, shape: [M].
    """
    if log_count is not None:
        negative_scores = negative_scores - log_count
    own = negatives == target[:, None]  # [M, S]
    score_all = torch.cat([score[:, None], negative_scores.masked_fill(own, -math.inf)], dim=1)
    return score_all.logsumexp(dim=1) - score


class LogUniformItems(nn.Module):
    """Draws items by popularity: ``P(k) = log((k + 2) / (k + 1)) / log(n + 1)``.

    k is an item's place among all items by falling frequency, from 0; of equally frequent items the
    lower comes first. Zipf's law, without a table to search: TensorFlow's
    ``log_uniform_candidate_sampler``, with replacement.
    """

    def __init__(self, counts):
        """Sort the items.

        Args:
            counts (torch.Tensor): how often each item stands in the training data, the padding in
                place 0, shape: [n + 1].
        """
        super().__init__()
        by_popularity = counts[1:].argsort(descending=True, stable=True) + 1  # [n]
        self.spread = math.log(len(counts))  # log(n + 1)
        place = torch.arange(1, len(counts), dtype=torch.float64)  # k + 1
        log_p = torch.full((len(counts),), -math.inf)
        log_p[by_popularity] = ((1 / place).log1p() / self.spread).log().float()
        self.register_buffer("by_popularity", by_popularity, persistent=False)
        self.register_buffer("log_p", log_p, persistent=False)

    def draw(self, count):
        """Draw items with torch's generator, whose state a checkpoint has.

        Args:
            count (int): S.

        Returns:
            torch.Tensor: items, shape: [S].
        """
        u = torch.rand(count, dtype=torch.float64, device=self.log_p.device)
        k = (u * self.spread).exp().long() - 1
        return self.by_popularity[k.clamp(max=len(self.by_popularity) - 1)]

    def log_count(self, items):
        """Logarithm of how often each of the drawn items is expected in the sample.

        Args:
            items (torch.Tensor): as of ``draw``, shape: [S].

        Returns:
            torch.Tensor: shape: [S].
        """
        return self.log_p[items] + math.log(len(items))


class ItemLoss(nn.Module):
    """Tells the target from all other items, or from a sample: the keys ``loss``, ``n_negatives``.

    In the constructor of a model, ``self.item_loss = ItemLoss(config, dataset)``; in its loss,
    ``self.item_loss(x, self.item_embedding.weight, target)``.
    """

    def __init__(self, config, dataset):
        """Choose.

        Args:
            config (Config): keys ``loss``, ``n_negatives``.
            dataset (Dataset): the built training data, of which ``sampled`` asks ``item_counts()``.

        Raises:
            ValueError: for a setting that is none of those known.
        """
        super().__init__()
        check_known(config, "loss", ("full", "sampled"))
        check_whole(config, "n_negatives")
        self.n_negatives, self.items = config["n_negatives"], None
        if config["loss"] == "sampled":
            self.items = LogUniformItems(dataset.item_counts())

    def forward(self, x, weight, target):
        """Cross-entropy of the scores ``x weight^T``; as of ``full_cross_entropy``.

        Args:
            x (torch.Tensor): shape: [M, D].
            weight (torch.Tensor): the item table, shape: [n + 1, D].
            target (torch.Tensor): target items, none of them 0, shape: [M].

        Returns:
            torch.Tensor: one loss per row, shape: [M].
        """
        if self.items is None:
            return full_cross_entropy(x, weight, target)
        negatives = self.items.draw(self.n_negatives)  # [S], of the whole batch
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            # looked up together, because each look-up has a gradient as large as the table
            own, others = F.embedding(torch.cat([target, negatives]), weight).split(
                [len(target), len(negatives)]
            )
            score = (x * own).sum(dim=1)
            log_count = self.items.log_count(negatives)
            return sampled_softmax(score, x @ others.T, target, negatives, log_count)
