"""Which items head the lists of a batch, and which of them are positives?

RecBole's collector makes a matrix of users by items beside that of the scores, which takes longer
than the ranking of a million items. Here only the lists and the positives are kept.

Letters: B users of a batch, n items with the padding, K items a list.
"""

import torch
from recbole.evaluator import Collector

HELD = 1 << 22  # scores that are copied at once: 16 MB, little enough to be reused


def top_items(scores, k, barred=None):
    """The items with the largest scores, as ``torch.topk`` orders them.

    Args:
        scores (torch.Tensor): shape: [B, n].
        k (int): K.
        barred (torch.Tensor): bool, items that count as -inf, shape: [n]; None bars nothing.

    Returns:
        torch.Tensor: shape: [B, K].
    """
    if barred is None:
        return scores.topk(k, dim=-1).indices
    rows = max(HELD // scores.shape[1], 1)
    parts = (part.masked_fill(barred, -torch.inf) for part in scores.split(rows))
    return torch.cat([part.topk(k, dim=-1).indices for part in parts])


def hits(top, positive_u, positive_i, n_items):
    """Which items of the lists are positives.

    Args:
        top (torch.Tensor): lists, shape: [B, K].
        positive_u (torch.Tensor): rows of the positives, shape: [n_positives].
        positive_i (torch.Tensor): items of the positives, shape: [n_positives].
        n_items (int): n.

    Returns:
        tuple of torch.Tensor: bool, shape: [B, K], and how many positives a row has, each counted
        once, shape: [B].
    """
    row = torch.arange(len(top), device=top.device)[:, None]
    pairs = (positive_u.to(top.device) * n_items + positive_i.to(top.device)).unique()
    count = torch.bincount(pairs // n_items, minlength=len(top))
    return torch.isin(row * n_items + top, pairs), count


class TopCollector(Collector):
    """RecBole's collector; what it keeps is the same, without the matrices.

    Attributes:
        wanted (tuple of str): which of the lists and the hits in them some metric asks for.
    """

    def __init__(self, config):
        super().__init__(config)
        self.wanted = tuple(key for key in ("rec.items", "rec.topk") if self.register.need(key))
        for key in self.wanted:
            setattr(self.register, key, False)  # RecBole's method keeps what else is asked for

    def eval_batch_collect(self, scores, interaction, positive_u, positive_i, barred=None):
        """Keeps what the metrics ask for.

        Args:
            scores (torch.Tensor): shape: [B, n].
            interaction (Interaction): the batch.
            positive_u (torch.Tensor): rows of the positives, shape: [n_positives].
            positive_i (torch.Tensor): items of the positives, shape: [n_positives].
            barred (torch.Tensor): as of ``top_items``.
        """
        if self.wanted:
            top = top_items(scores, max(self.topk), barred)
            found, count = hits(top, positive_u, positive_i, scores.shape[1])
            kept = {"rec.items": top, "rec.topk": torch.cat([found, count[:, None]], dim=1)}
            for key in self.wanted:
                self.data_struct.update_tensor(key, kept[key])
        if any(self.register.need(key) for key in ("rec.meanrank", "rec.score", "data.label")):
            if barred is not None:
                scores = scores.masked_fill(barred, -torch.inf)
            super().eval_batch_collect(scores, interaction, positive_u, positive_i)
