"""What makes the diffusion count? ICDDT with other ways for x_t to enter the network.

In ICDDT x_t enters times a factor of about 0.001, and the reverse walk hardly moves the result.
Each class here changes that one line and inherits all settings:

    python run_recbole_diffusion.py --model=benchmarks.icddt_injection:LastPosition --dataset=jd
"""

import torch
from torch import nn

from recbole_diffusion.model.sequential_recommender.icddt import ICDDT


class LearnedLambda(ICDDT):
    """``lam ~ N(delta, delta^2)`` with delta learnt, from ``lambda_uncertainty`` on."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.delta = nn.Parameter(torch.tensor(float(self.lambda_uncertainty)))

    def inject(self, x_t, history):
        """As ICDDT's; shapes [B, D] and [B, n, D], result [B, n, D]."""
        lam = self.delta * (1 + torch.randn_like(history))
        return torch.addcmul(history, lam, x_t[:, None])


class LastPosition(ICDDT):
    """x_t is added, with weight 1, to the last position only."""

    def inject(self, x_t, history):
        """As ICDDT's; shapes [B, D] and [B, n, D], result [B, n, D]."""
        return torch.cat([history[:, :-1], history[:, -1:] + x_t[:, None]], dim=1)


class Concatenated(ICDDT):
    """x_t is concatenated to every position and the pair projected to D."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.project = nn.Linear(2 * self.hidden_size, self.hidden_size)
        self._init_weights(self.project)

    def inject(self, x_t, history):
        """As ICDDT's; shapes [B, D] and [B, n, D], result [B, n, D]."""
        pair = torch.cat([history, x_t[:, None].expand_as(history)], dim=-1)
        return history + self.project(pair)
