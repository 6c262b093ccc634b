"""How does every scored row get noise of its own, whichever rows stand beside it?

Whoever draws when scoring draws by ``normal_like``. Within ``by_row`` number j of the k-th draw of
a row is a function of a seed, the row's number, k and j alone: not of the batch, its size, or how
far it is padded behind j. Elsewhere it is ``torch.randn_like``.
"""

import math
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy

import torch

PAIRS_AT_ONCE = 2**16  # of normal numbers: what stays in a cache is twice as fast


def _signed(number):
    """The int64 with the bits of a whole number's last 64."""
    number %= 2**64
    return number - 2**64 if number >= 2**63 else number


GAMMA, FIRST, SECOND = map(_signed, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))

_noise = ContextVar("noise of the rows that are scored", default=None)


def mixed(z):
    """64 bits that look random, of 64 bits that need not; a bijection.

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014: the
    finaliser of SplitMix64, whose stream this is at a start plus multiples of ``GAMMA``.

    Args:
        z (torch.Tensor): int64, any shape; it is overwritten.

    Returns:
        torch.Tensor: z.
    """
    for shift, factor in ((30, FIRST), (27, SECOND)):
        z ^= (z >> shift).bitwise_and_(2 ** (64 - shift) - 1)  # >> keeps the sign
        z *= factor
    z ^= (z >> 31).bitwise_and_(2**33 - 1)
    return z


def normals(key, count):
    """Standard normal numbers of several streams, the first ones of each.

    Args:
        key (torch.Tensor): int64, where each stream begins, shape: [B].
        count (int): numbers of each stream.

    Returns:
        torch.Tensor: float32, shape: [B, count].
    """
    pairs = (count + 1) // 2
    step = torch.arange(1, pairs + 1, device=key.device) * GAMMA
    bits = mixed(key[:, None] + step).view(torch.int32).view(len(key), pairs, 2)
    uniform = bits.float().mul_(2.0**-32).add_(0.5)
    # Box and Muller; the rounded 0 would be infinitely far
    length = uniform[..., 0].clamp(min=2.0**-25).log_().mul_(-2).sqrt_()
    angle = uniform[..., 1] * (2 * math.pi)
    found = uniform.new_empty(len(key), pairs, 2)
    torch.mul(length, angle.cos(), out=found[..., 0])
    torch.mul(length, angle.sin(), out=found[..., 1])
    return found.flatten(1)[:, :count]


class RowNoise:
    """The noise of some rows: each call of ``like`` is the next draw of all of them."""

    def __init__(self, seed, rows):
        """Begin with the first draw.

        Args:
            seed (int): another one gives other noise.
            rows (torch.Tensor): int64, the rows' numbers, at least 0; a row that stands in it twice
                gets the same noise twice; shape: [B].
        """
        start = mixed(torch.tensor(_signed(seed), device=rows.device))
        self.key = mixed(start + (rows + 1) * GAMMA)  # [B]
        self.draws = 0

    def like(self, x, padded_in_front=False):
        """The next draw.

        Args:
            x (torch.Tensor): whose shape, type and device the noise gets, shape: [B, ...].
            padded_in_front (bool): as of ``normal_like``.

        Returns:
            torch.Tensor: standard normal, shape: [B, ...].

        Raises:
            ValueError: if x has not as many rows as are scored.
        """
        if len(x) != len(self.key):
            raise ValueError(
                f"noise of shape {list(x.shape)} is asked for where {len(self.key)} rows are "
                "scored: noise is drawn by row, so its first dimension is that of the rows"
            )
        self.draws += 1
        key = mixed(self.key.to(x.device) + _signed(self.draws * GAMMA))
        count = math.prod(x.shape[1:])
        rows_at_once = max(1, 2 * PAIRS_AT_ONCE // max(count, 1))
        found = torch.empty(len(x), count, device=x.device, dtype=x.dtype)
        for part, some in zip(found.split(rows_at_once), key.split(rows_at_once)):
            part.copy_(normals(some, count))
        found = found.view(x.shape)
        return found.flip(1) if padded_in_front else found


@contextmanager
def by_row(seed, rows):
    """Within the block ``normal_like`` draws by row.

    Args:
        seed (int): as of ``RowNoise``.
        rows (torch.Tensor): as of ``RowNoise``.
    """
    before = _noise.set(RowNoise(seed, rows))
    try:
        yield
    finally:
        _noise.reset(before)


@contextmanager
def of_rows(index):
    """Within the block the rows are some of those around it, as where equal ones are scored once.

    Args:
        index (torch.Tensor): int64, which of the rows around it each row is, shape: [n_rows].
    """
    around = _noise.get()
    inner = copy(around)
    if inner is not None:
        inner.key = around.key[index]
    before = _noise.set(inner)
    try:
        yield
    finally:
        _noise.reset(before)


def normal_like(x, padded_in_front=False):
    """Standard normal noise, drawn by row within ``by_row`` and by batch elsewhere.

    Args:
        x (torch.Tensor): one row for each scored row, shape: [B, ...].
        padded_in_front (bool): whether short histories are padded in front, along dimension 1, and
            not behind: padding must not move the noise of what is not padding.

    Returns:
        torch.Tensor: of the shape, type and device of x.

    Raises:
        ValueError: as ``RowNoise.like`` does.
    """
    noise = _noise.get()
    return torch.randn_like(x) if noise is None else noise.like(x, padded_in_front)
