"""Which level to train on?

A sampler draws levels and gives each row the factor its loss is multiplied by; ``update`` tells it
the losses. Level 0 (the data) has probability 0, so that tables are indexed by the level itself.
Letters: B batch size, T number of levels above the data.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from recbole_diffusion import ranks


class TimestepSampler(nn.Module):
    """What all samplers share; a subclass gives ``probabilities``, shape: [T + 1]."""

    def __init__(self, steps):
        """Keep the number of levels.

        Args:
            steps (int): T.

        Raises:
            ValueError: if there is no level.
        """
        super().__init__()
        if steps < 1:
            raise ValueError(f"{steps} levels to draw from; there must be at least 1")
        self.steps = steps

    def sample(self, batch_size):
        """Draw a level for each row.

        Args:
            batch_size (int): B.

        Returns:
            tuple[torch.Tensor, torch.Tensor]: levels in 1..T, and the factors of their losses, both
            of shape: [B].
        """
        p = self.probabilities
        t = torch.multinomial(p[1:], batch_size, replacement=True) + 1
        return t, self._weight(p, t)

    def _weight(self, p, t):
        """Factors of the losses; 1: the distribution is a part of the objective, shape: [B]."""
        return torch.ones_like(t, dtype=p.dtype)

    def update(self, t, losses):
        """Learn from the losses of a batch; nothing to learn here.

        Args:
            t (torch.Tensor): levels, shape: [B].
            losses (torch.Tensor): their losses before any factor of ``sample``, shape: [B].
        """


class Uniform(TimestepSampler):
    """All levels alike."""

    def __init__(self, steps):
        """Arguments and refusals as in ``TimestepSampler``."""
        super().__init__(steps)
        p = torch.full((steps + 1,), 1 / steps)
        p[0] = 0.0
        self.register_buffer("probabilities", p, persistent=False)


class Beta(TimestepSampler):
    """``p(t)`` in proportion to the Beta density ``x^(a-1) (1-x)^(b-1)`` at x = t/T (ICDDT)."""

    def __init__(self, steps, a, b):
        """Tabulate the distribution.

        Args:
            steps (int): T.
            a (float): below 1 more of the low levels, above 1 fewer.
            b (float): above 1 fewer of the high levels.

        Raises:
            ValueError: if a is not above 0, b is below 1, or no level has any mass.
        """
        super().__init__(steps)
        if not (a > 0 and math.isfinite(a)):
            raise ValueError(f"Beta({a}, {b}) is not a distribution; a must be finite and above 0")
        if not (b >= 1 and math.isfinite(b)):
            raise ValueError(
                f"Beta({a}, {b}) has infinite density at t = T; b must be finite and at least 1"
            )
        if steps == 1 and b > 1:
            raise ValueError(f"Beta({a}, {b}) has density 0 at t = T, the only level; b must be 1")
        x = torch.arange(1, steps + 1, dtype=torch.float64) / steps
        log_density = torch.special.xlogy(a - 1, x) + torch.special.xlogy(b - 1, 1 - x)
        p = torch.cat([x.new_zeros(1), log_density.softmax(dim=0)])  # [T + 1]
        self.register_buffer("probabilities", p.float(), persistent=False)


class PowerLaw(TimestepSampler):
    """``t = ceil(T u^(1 / p))`` for u uniform on (0, 1]: ``P(at most t) = (t / T)^p``."""

    def __init__(self, steps, power):
        """Tabulate the distribution.

        Args:
            steps (int): T.
            power (float): p; above 1 more of the high levels, below 1 fewer, 1 all levels alike.

        Raises:
            ValueError: if the power is not above 0 and finite, or there is no level.
        """
        super().__init__(steps)
        if not (power > 0 and math.isfinite(power)):
            raise ValueError(f"a power of {power}; it must be finite and above 0")
        x = torch.arange(steps + 1, dtype=torch.float64) / steps
        p = F.pad((x**power).diff(), (1, 0))  # [T + 1]
        self.register_buffer("probabilities", p.float(), persistent=False)


class LossSecondMoment(TimestepSampler):
    """Importance sampling by the size of recent losses (DiffRec).

    ``p_t`` is in proportion to the root of the mean squared loss of level t over its last losses,
    mixed with a small uniform share; uniform until every level has a full history. Losses are
    divided by ``T p_t``, which keeps their expectation.
    """

    def __init__(self, steps, history, uniform_share):
        """Begin without any memory.

        Args:
            steps (int): T.
            history (int): how many losses of each level to keep; DiffRec has 10.
            uniform_share (float): share of the uniform distribution; DiffRec has 0.001.

        Raises:
            ValueError: if history is below 1 or uniform_share outside [0, 1].
        """
        super().__init__(steps)
        if history < 1:
            raise ValueError(f"a history of {history} losses per level; there must be at least 1")
        if not 0 <= uniform_share <= 1:
            raise ValueError(f"a uniform share of {uniform_share}; it must lie in [0, 1]")
        self.uniform_share = uniform_share
        # one ring per level: the n-th loss of a level ever seen is in column n modulo history
        self.register_buffer("losses", torch.zeros(steps + 1, history))
        self.register_buffer("seen", torch.zeros(steps + 1, dtype=torch.long))

    @property
    def probabilities(self):
        """The distribution now, shape: [T + 1]."""
        p = self.losses.double().square().mean(dim=1).sqrt()  # [T + 1], row 0 is 0
        uniform = torch.full_like(p, 1 / self.steps)
        uniform[0] = 0.0
        total = p.sum()
        if (self.seen[1:] < self.losses.shape[1]).any() or not total > 0:
            return uniform.float()
        mixed = p / total * (1 - self.uniform_share) + uniform * self.uniform_share
        return mixed.float()

    def _weight(self, p, t):
        return 1 / (self.steps * p[t])

    @torch.no_grad()
    def update(self, t, losses):
        """Enter losses, row by row; of each level the newest stay.

        Where several processes share the batch, those of all its rows.

        Args:
            t (torch.Tensor): levels in 1..T, shape: [B].
            losses (torch.Tensor): their losses before any factor of ``sample``, shape: [B].
        """
        size = self.losses.shape[1]
        t, losses = ranks.gathered(t), ranks.gathered(losses.detach())
        t, order = t.sort(stable=True)
        losses = losses[order].to(self.losses.dtype)
        count = torch.bincount(t, minlength=self.steps + 1)  # [T + 1]
        first = count.cumsum(0) - count
        rank = torch.arange(len(t), device=t.device) - first[t]  # [B], place among its level's rows
        newest = rank >= count[t] - size
        column = (self.seen[t] + rank) % size
        self.losses[t[newest], column[newest]] = losses[newest]
        self.seen += count
