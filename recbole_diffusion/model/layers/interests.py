"""What of a history is a user interested in? DimeRec's two ways to say it.

Letters: B batch size, n positions of a batch, D hidden size.
"""

import math

import torch
from torch import nn


class AttentionInterests(nn.Module):
    """A few interests out of a history, each a mean of its items with learnt weights.

    ``A = softmax over positions of MLP(H + P)``, P learnt positions counted from the left, the MLP
    D -> 4D -> K with tanh between; the interests are ``A^T H``.

    Source: Li et al., "DimeRec", WSDM 2025, arXiv 2408.12153, guidance extraction, after Cen et
    al., "Controllable Multi-Interest Framework for Recommendation", KDD 2020.

    Letters: K number of interests, q prefixes of a sequence that are looked at.
    """

    def __init__(self, hidden_size, n_interests, max_length):
        """Build the layers.

        Args:
            hidden_size (int): D.
            n_interests (int): K.
            max_length (int): L.
        """
        super().__init__()
        D = hidden_size
        self.position_embedding = nn.Embedding(max_length, D)
        nn.init.normal_(self.position_embedding.weight, std=0.02)
        self.weigh = nn.Sequential(nn.Linear(D, 4 * D), nn.Tanh(), nn.Linear(4 * D, n_interests))

    def forward(self, H, seen):
        """Extract the interests of prefixes.

        Args:
            H (torch.Tensor): embeddings of the items, left-aligned, shape: [B, n, D].
            seen (torch.Tensor): bool, which positions each prefix holds, at least one, shape:
                [B, q, n].

        Returns:
            torch.Tensor: shape: [B, q, K, D].
        """
        score = self.weigh(H + self.position_embedding.weight[: H.shape[1]])  # [B, n, K]
        score = score.transpose(1, 2)[:, None].masked_fill(~seen[:, :, None], -math.inf)
        return score.softmax(dim=3) @ H[:, None]  # [B, q, K, n] @ [B, 1, n, D]


class LastInterests(nn.Module):
    """The last K items themselves, the newest one last, as interests.

    A learnt vector stands for those that a shorter history lacks. Source as above, the rule-based
    guidance.
    """

    def __init__(self, hidden_size, n_interests):
        """Build the vector for none; arguments as in ``AttentionInterests``."""
        super().__init__()
        self.n_interests = n_interests
        self.none = nn.Parameter(0.02 * torch.randn(hidden_size))

    def forward(self, H, seen):
        """As ``AttentionInterests.forward``."""
        B, q, n = seen.shape
        back = torch.arange(self.n_interests - 1, -1, -1, device=H.device)
        position = seen.sum(dim=2)[:, :, None] - 1 - back  # [B, q, K]
        row = torch.arange(B, device=H.device)[:, None, None]
        item = H[row, position.clamp(min=0)]  # [B, q, K, D]
        return torch.where(position[..., None] < 0, self.none, item)
