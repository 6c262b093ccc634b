"""What is x_t, and what is x_{t-1} once x_0 is known?

Levels run from 0 to T and level 0 is the data, so every table has T + 1 rows and level 0 needs no
special case. Letters: B batch size, T number of levels above the data.
"""

import math

import numpy as np
import torch
from torch import nn

from recbole_diffusion.diffusion.schedules import check_betas


def at_level(table, t, like):
    """Rows of a table, shaped to multiply a batch.

    Args:
        table (torch.Tensor): one value per level, shape: [T + 1].
        t (torch.Tensor): levels, shape: [B].
        like (torch.Tensor): the batch, shape: [B, ...].

    Returns:
        torch.Tensor: ``table[t]``, shape: [B, 1, ...].
    """
    return table[t].view(-1, *[1] * (like.dim() - 1))


class GaussianDiffusion(nn.Module):
    r"""The process ``q(x_t | x_0) = N(signal_t x_0, noise_t^2 I)``.

    Two tables make it. ``from_betas`` has those of Ho et al., "Denoising Diffusion Probabilistic
    Models": signal sqrt(alpha_bar) and noise sqrt(1 - alpha_bar) (equation 4); a straight flow to
    noise has 1 - t/T and t/T.

    Attributes:
        steps (int): T.
        signal, noise (torch.Tensor): factors of x_0 and eps in x_t, 1 and 0 in row 0, shape:
            [T + 1].
    """

    def __init__(self, signal, noise):
        """Keep the tables, in float32 for what meets a batch and in float64 for steps.

        Args:
            signal (numpy.ndarray): factors of x_0, level 0 first, shape: [T + 1].
            noise (numpy.ndarray): factors of eps, level 0 first, shape: [T + 1].

        Raises:
            ValueError: if level 0 is not the data, a factor is negative or not finite, or the
                signal grows against the noise: then no chain of steps leads there.
        """
        super().__init__()
        signal, noise = np.asarray(signal, np.float64), np.asarray(noise, np.float64)
        if signal.shape != noise.shape or signal.ndim != 1 or len(signal) < 2:
            raise ValueError(f"signal {signal.shape} and noise {noise.shape} are not [T + 1] each")
        if signal[0] != 1 or noise[0] != 0:
            raise ValueError(f"level 0 has signal {signal[0]:.6g}, noise {noise[0]:.6g}; not 1, 0")
        if not (np.isfinite([signal, noise]).all() and (signal >= 0).all() and (noise >= 0).all()):
            raise ValueError("signal and noise must be finite and at least 0 at every level")
        lost = noise[1:] * signal[:-1] < noise[:-1] * signal[1:] - 1e-12
        if lost.any():
            raise ValueError(f"level {int(lost.argmax()) + 1} has more signal than the level below")
        self.steps = len(signal) - 1
        self._signal, self._noise = signal.tolist(), noise.tolist()
        for name, table in {"signal": signal, "noise": noise}.items():
            self.register_buffer(name, torch.from_numpy(table).float(), persistent=False)

    @classmethod
    def from_betas(cls, betas):
        """The process whose step to level t is ``N(sqrt(1 - beta_t) x_{t-1}, beta_t I)``.

        Args:
            betas (numpy.ndarray): beta_1 .. beta_T, shape: [T]. All zero: no corruption at all.

        Returns:
            GaussianDiffusion: of this class.

        Raises:
            ValueError: if a beta lies outside (0, 1].
        """
        alpha_bar = np.cumprod(np.append(1.0, 1 - check_betas(betas)))  # [T + 1]
        return cls(np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar))

    def transition(self, level, lower):
        """``q(x_t | x_s) = N(a x_s, v I)`` for a level t and any lower level s.

        Args:
            level (int): t, in 1..T.
            lower (int): s, in 0..t.

        Returns:
            tuple[float, float]: a and v.
        """
        signal, noise = self._signal, self._noise
        a = signal[level] / signal[lower] if signal[lower] else 0.0
        return a, max(noise[level] ** 2 - (a * noise[lower]) ** 2, 0.0)

    def posterior(self, level, lower):
        """The Gaussian ``q(x_s | x_t, x_0)``; for s = t - 1 equation 7 of Ho et al.

        Args:
            level (int): t, in 1..T.
            lower (int): s, in 0..t.

        Returns:
            tuple[float, float, float]: factors of x_0 and x_t in the mean, and the variance.
        """
        variance_t, variance_s = self._noise[level] ** 2, self._noise[lower] ** 2
        if not variance_t:  # x_t tells nothing that x_0 does not
            return self._signal[lower], 0.0, variance_s
        a, added = self.transition(level, lower)
        share = added / variance_t
        return self._signal[lower] * share, a * variance_s / variance_t, variance_s * share

    def coefficients(self, level, lower):
        """Mean and variance of a reverse step; arguments and result as in ``posterior``."""
        return self.posterior(level, lower)

    def q_sample(self, x0, t, eps):
        """Corrupt clean data to level t; level 0 gives x0 back.

        Args:
            x0 (torch.Tensor): clean data, shape: [B, ...].
            t (torch.Tensor): levels in 0..T, shape: [B].
            eps (torch.Tensor): standard normal noise, shape: [B, ...].

        Returns:
            torch.Tensor: x_t, shape: [B, ...].
        """
        return at_level(self.signal, t, x0) * x0 + at_level(self.noise, t, x0) * eps

    def start(self, eps):
        """Where a reverse walk starts: as far as x_T would lie of data that spread as noise does.

        Args:
            eps (torch.Tensor): standard normal noise, shape: [B, ...].

        Returns:
            torch.Tensor: eps itself for betas, shape: [B, ...].
        """
        return math.hypot(self._signal[-1], self._noise[-1]) * eps

    def reverse_step(self, x0, x_t, level, lower, eps):
        """Step to a lower level, given an estimate of x_0.

        Args:
            x0 (torch.Tensor): estimate of the clean data, shape: [B, ...].
            x_t (torch.Tensor): the data at ``level``, shape: [B, ...].
            level (int): t, in 1..T.
            lower (int): s, in 0..t.
            eps (torch.Tensor): standard normal noise, shape: [B, ...]; None takes the mean.

        Returns:
            torch.Tensor: x_s, shape: [B, ...].
        """
        from_x0, from_xt, variance = self.coefficients(level, lower)
        mean = from_x0 * x0 + from_xt * x_t
        return mean if eps is None else mean + math.sqrt(variance) * eps

    def x0_from_eps(self, x_t, t, eps):
        """The clean data that this noise has corrupted to x_t.

        Shapes as in ``q_sample``. Where the signal is 0 the data is lost and the result not finite.
        """
        return (x_t - at_level(self.noise, t, x_t) * eps) / at_level(self.signal, t, x_t)

    def eps_from_x0(self, x_t, t, x0):
        """The noise that has corrupted x0 to x_t; 0 where the level corrupts nothing.

        Shapes as in ``q_sample``.
        """
        noise = at_level(self.noise, t, x_t)
        difference = x_t - at_level(self.signal, t, x_t) * x0
        return torch.where(noise > 0, difference / noise, torch.zeros_like(difference))


class BetaVarianceDiffusion(GaussianDiffusion):
    """The same process, walked back with the larger variance: that of ``transition``, beta_t.

    The other of the two choices in Ho et al., section 3.2: right for x_0 ~ N(0, I), as the
    posterior variance is for a single x_0. There is no noise in the step to the data.
    """

    def coefficients(self, level, lower):
        """Mean of ``posterior``, variance of ``transition``."""
        from_x0, from_xt, _ = self.posterior(level, lower)
        # Published ICDDT: row 1 holds the posterior variance at t = 2, and the step is then masked;
        # here row 1 is 0, because no noise is added there.
        return from_x0, from_xt, self.transition(level, lower)[1] if lower else 0.0
