"""How do positions attend to each other? Differential attention, and one causal layer.

Letters: B batch size, L positions, D hidden size, H heads, d = D / H size of a head.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from recbole_diffusion.model.layers.basic import Dropout


def lambda_init(layer):
    """Where lambda of differential attention starts: 0.8 - 0.6 exp(-0.3 (layer - 1)).

    Args:
        layer (int): number of the layer, from 1.

    Returns:
        float: 0.2 in the first layer, towards 0.8 in the last.
    """
    return 0.8 - 0.6 * math.exp(-0.3 * (layer - 1))


class DifferentialAttention(nn.Module):
    r"""The difference of two attention maps, which cancels what both see.

    ``A = softmax(Q1 K1^T / sqrt d) - lambda softmax(Q2 K2^T / sqrt d)`` per head, with
    ``lambda = exp(lq1 . lk1) - exp(lq2 . lk2) + lambda_init(layer)``; ``A V`` goes through a
    LayerNorm a head, times ``1 - lambda_init(layer)``, and one Linear.

    Sources: Ye et al., "Differential Transformer", arXiv 2410.05258, equations 1 to 3, as ICDDT
    uses it (LayerNorm for the head norm, biases everywhere).

    Q1 and Q2 are one Linear; K1, K2 and V another. Queries are projected apart from ``attend``, so
    that those that do not change over a walk are projected once.
    """

    def __init__(self, hidden_size, n_heads, layer, dropout_prob, eps):
        """Build the projections.

        Args:
            hidden_size (int): D.
            n_heads (int): H.
            layer (int): number of the layer, from 1.
            dropout_prob (float): for the attention map.
            eps (float): of the LayerNorm a head.

        Raises:
            ValueError: if the heads do not divide the hidden size.
        """
        super().__init__()
        if hidden_size % n_heads:
            raise ValueError(
                f"hidden_size {hidden_size} cannot be divided among n_heads {n_heads}; "
                f"it must be a multiple"
            )
        self.n_heads = n_heads
        self.head_size = hidden_size // n_heads
        self.lambda_init = lambda_init(layer)
        self.query = nn.Linear(hidden_size, 2 * hidden_size)
        self.key_value = nn.Linear(hidden_size, 4 * hidden_size)
        # lq1, lq2 and lk1, lk2
        self.lambda_q = nn.Parameter(torch.empty(2, n_heads, self.head_size))
        self.lambda_k = nn.Parameter(torch.empty(2, n_heads, self.head_size))
        self.norm = nn.LayerNorm(2 * self.head_size, eps=eps)
        self.output = nn.Linear(2 * hidden_size, hidden_size)
        self.dropout = Dropout(dropout_prob)
        nn.init.normal_(self.lambda_q, std=0.1)
        nn.init.normal_(self.lambda_k, std=0.1)

    def difference_weight(self):
        """Weight lambda of the second map, a head, shape: [H]."""
        first, second = (self.lambda_q * self.lambda_k).sum(dim=-1).exp()
        return first - second + self.lambda_init

    def split(self, projected):
        """Projected queries or keys by map and head.

        Args:
            projected (torch.Tensor): shape: [B, L, 2D].

        Returns:
            torch.Tensor: shape: [B, 2H, L, d].
        """
        return projected.unflatten(-1, (2 * self.n_heads, self.head_size)).transpose(1, 2)

    def difference(self, score, hidden_key):
        """The attention map A of scores that are scaled.

        Args:
            score (torch.Tensor): shape: [B, 2H, L_q, L_k].
            hidden_key (torch.Tensor): True where a key must not be seen, shape: [B, 1, 1, L_k].

        Returns:
            torch.Tensor: shape: [B, H, L_q, L_k].
        """
        first, second = score.masked_fill(hidden_key, -math.inf).softmax(dim=-1).chunk(2, dim=1)
        weight = self.difference_weight()[:, None, None]  # [H, 1, 1]
        return self.dropout(first - weight * second)

    def combine(self, seen):
        """From what the heads have seen to the hidden size.

        Args:
            seen (torch.Tensor): ``A V``, shape: [B, H, L_q, 2d].

        Returns:
            torch.Tensor: shape: [B, L_q, D].
        """
        seen = self.norm(seen) * (1 - self.lambda_init)
        return self.output(seen.transpose(1, 2).flatten(2))

    def attend(self, query, key_value, hidden_key):
        """Attention of projected queries to positions.

        Args:
            query (torch.Tensor): shape: [B, 2H, L_q, d].
            key_value (torch.Tensor): shape: [B, L_k, D].
            hidden_key (torch.Tensor): True where a key must not be seen, shape: [B, 1, 1, L_k].

        Returns:
            torch.Tensor: shape: [B, L_q, D].
        """
        key, value = self.key_value(key_value).chunk(2, dim=-1)  # [B, L_k, 2D] each
        value = value.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)  # [B, H, L_k, 2d]
        # the queries are scaled, since there are fewer of them than scores
        query = query / math.sqrt(self.head_size)
        score = query @ self.split(key).transpose(-1, -2)  # [B, 2H, L_q, L_k]
        return self.combine(self.difference(score, hidden_key) @ value)

    def attend_few(self, query, key_value, hidden_key):
        """The same as ``attend``, faster for few queries: no position is projected.

        ``q . (W_k h + b_k)`` is ``(W_k^T q) . h`` plus what is equal for all keys, which the
        softmax does not see; and ``sum_j A_j (W_v h_j + b_v)`` is
        ``W_v sum_j A_j h_j + b_v sum_j A_j``.

        Args:
            query (torch.Tensor): shape: [B, 2H, L_q, d].
            key_value (torch.Tensor): shape: [B, L_k, D].
            hidden_key (torch.Tensor): True where a key must not be seen, shape: [B, 1, 1, L_k].

        Returns:
            torch.Tensor: shape: [B, L_q, D].
        """
        heads = self.n_heads
        key_weight, value_weight = self.key_value.weight.chunk(2)  # [2D, D] each
        value_bias = self.key_value.bias.chunk(2)[1].view(heads, 1, -1)  # [H, 1, 2d]
        query = query / math.sqrt(self.head_size)
        # einsum, because a broadcast product would copy the weights for every row of the batch
        key_weight = key_weight.unflatten(0, (2 * heads, -1))  # [2H, d, D]
        query = torch.einsum("bhqd,hde->bhqe", query, key_weight)  # [B, 2H, L_q, D]
        score = query.flatten(1, 2) @ key_value.transpose(1, 2)  # [B, 2H * L_q, L_k]
        attention = self.difference(score.unflatten(1, (2 * heads, -1)), hidden_key)
        seen = attention.flatten(1, 2) @ key_value  # [B, H * L_q, D]
        seen = seen.unflatten(1, (heads, -1))  # [B, H, L_q, D]
        value_weight = value_weight.unflatten(0, (heads, -1))  # [H, 2d, D]
        seen = torch.einsum("bhqe,hde->bhqd", seen, value_weight)  # [B, H, L_q, 2d]
        return self.combine(seen + attention.sum(dim=-1, keepdim=True) * value_bias)

    def forward(self, query, key_value, hidden_key):
        """Attention of positions to positions.

        Args:
            query (torch.Tensor): shape: [B, L_q, D].
            key_value (torch.Tensor): shape: [B, L_k, D].
            hidden_key (torch.Tensor): True where a key must not be seen, shape: [B, 1, 1, L_k].

        Returns:
            torch.Tensor: shape: [B, L_q, D].
        """
        return self.attend(self.split(self.query(query)), key_value, hidden_key)


class CausalEncoder(nn.Module):
    """One causal self-attention layer and a position-wise feed-forward layer.

    Keys and values come from the sequence as it is, queries from its LayerNorm, to which the
    residual goes too; positions count from the left.
    """

    def __init__(self, hidden_size, max_length, dropout_prob):
        """Build the layers.

        Args:
            hidden_size (int): D.
            max_length (int): longest history.
            dropout_prob (float): of the sequence, the attention map and the feed-forward layer.
        """
        super().__init__()
        D = hidden_size
        self.position_embedding = nn.Embedding(max_length, D)
        self.dropout = Dropout(dropout_prob)
        self.query, self.key, self.value = (nn.Linear(D, D) for _ in range(3))
        self.inner, self.outer = nn.Linear(D, D), nn.Linear(D, D)
        names = ("query_norm", "attention_norm", "feed_forward_norm", "output_norm")
        for name in names:
            setattr(self, name, nn.LayerNorm(D))

    def forward(self, x):
        """The state at every position, each of which sees itself and what is before it.

        Padding stands behind the items, so no item's state sees it.

        Args:
            x (torch.Tensor): item embeddings, left-aligned, shape: [B, n, D].

        Returns:
            torch.Tensor: shape: [B, n, D].
        """
        n = x.shape[1]
        x = self.dropout(x + self.position_embedding.weight[:n])
        normed = self.query_norm(x)
        score = self.query(normed) @ self.key(x).transpose(1, 2) / math.sqrt(x.shape[2])
        later = torch.ones(n, n, dtype=torch.bool, device=x.device).triu(1)
        attention = score.masked_fill(later, -math.inf).softmax(dim=2)  # [B, n, n]
        y = self.attention_norm(self.dropout(attention) @ self.value(x) + normed)
        y = self.feed_forward_norm(self.dropout(self.outer(F.relu(self.inner(y)))) + y)
        return self.output_norm(y)
