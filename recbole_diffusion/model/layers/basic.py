"""Parts that networks are built of.

Letters: B batch size, L positions, n positions of a batch, D hidden size, H heads, d = D / H size
of a head.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


def sinusoid(t, dim, gaps, sin_first=False):
    """The sinusoidal embedding of a number, frequencies 10000^(-i / gaps) for i = 0..dim // 2 - 1.

    Three forms are in use: ``gaps`` dim/2 (ICDDT, DiffRec) or dim/2 - 1 with ``sin_first``
    (DreamRec). They are fed t - 1, as the published networks number levels from 0.

    Args:
        t (torch.Tensor): numbers, shape: [B].
        dim (int): size of the embedding; if odd, the last column is 0.
        gaps (float): number of steps from frequency 1 to 1/10000.
        sin_first (bool): the sines before the cosines.

    Returns:
        torch.Tensor: shape: [B, dim].
    """
    i = torch.arange(dim // 2, dtype=torch.float32, device=t.device)
    angle = t[:, None].float() * torch.exp(-math.log(10000) * i / gaps)  # [B, dim // 2]
    parts = [angle.sin(), angle.cos()] if sin_first else [angle.cos(), angle.sin()]
    return F.pad(torch.cat(parts, dim=-1), (0, dim % 2))


def dropout(x, p, training):
    """``F.dropout``, in less than half the time on a CPU.

    Args:
        x (torch.Tensor): shape: [...].
        p (float): probability of a zero.
        training (bool): otherwise x comes back as it is.

    Returns:
        torch.Tensor: shape: [...].
    """
    if not training or p == 0:
        return x
    return x * torch.rand_like(x).ge_(p).div_(1 - p)


class Dropout(nn.Dropout):
    """``nn.Dropout`` by ``dropout``."""

    def forward(self, x):
        """As RecBole's; shape of x and result: [...]."""
        return dropout(x, self.p, self.training)


class StepEmbedding(nn.Sequential):
    """Linear, activation, Linear on the sinusoid of ``t - 1``; once for rows of one level."""

    def __init__(self, D, inner, activation, gaps=None, sin_first=False, scale=1.0):
        """Build the layers.

        Args:
            D (int): size of the sinusoid and of the embedding.
            inner (int): size between the two layers.
            activation (nn.Module): between them.
            gaps (float): of ``sinusoid``; None is D / 2.
            sin_first (bool): of ``sinusoid``.
            scale (float): what ``t - 1`` is multiplied by.
        """
        super().__init__(nn.Linear(D, inner), activation, nn.Linear(inner, D))
        self.form = {"dim": D, "gaps": D / 2 if gaps is None else gaps, "sin_first": sin_first}
        self.scale = scale

    def forward(self, t):
        """Embeddings of levels, shapes: [M] and [M, D]."""
        levels, place = t.unique(return_inverse=True)
        embedded = super().forward(sinusoid((levels - 1).double() * self.scale, **self.form))
        return F.embedding(place, embedded)


def init_normal(module):
    """Weights from N(0, 0.02^2) and no biases, for ``nn.Module.apply``."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.MultiheadAttention):
        nn.init.normal_(module.in_proj_weight, std=0.02)
