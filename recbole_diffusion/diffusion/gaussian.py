"""What is x_t, and what is x_{t-1} once x_0 is known?

Levels run from 0 to T and level 0 is the data, so every table has T + 1 rows and level 0 needs no
special case. Letters: B batch size, T number of levels above the data.
"""

import torch
from torch import nn

from recbole_diffusion.diffusion.schedules import check_betas


def at_level(table, t, like):
    """Rows of a table, shaped to multiply a batch.

    Args:
        table (torch.Tensor): one value a level, shape: [T + 1].
        t (torch.Tensor): levels, shape: [B].
        like (torch.Tensor): the batch, shape: [B, ...].

    Returns:
        torch.Tensor: ``table[t]``, shape: [B, 1, ...].
    """
    return table[t].view(-1, *[1] * (like.dim() - 1))


class GaussianDiffusion(nn.Module):
    r"""The process ``q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, (1 - alpha_bar_t) I)``.

    Sources: Ho et al., "Denoising Diffusion Probabilistic Models", equations 4, 6 and 7.

    Attributes:
        steps (int): T.
        beta, alpha_bar (torch.Tensor): 0 and 1 in row 0, shape: [T + 1].
        signal, noise (torch.Tensor): factors of x_0 and eps in x_t, that is sqrt(alpha_bar) and
            sqrt(1 - alpha_bar) (rounded after the subtraction), shape: [T + 1].
        posterior_x0, posterior_xt (torch.Tensor): factors of x_0 and x_t in the mean of
            ``q(x_{t-1} | x_t, x_0)``; row 0 stays where it is (0 and 1), shape: [T + 1].
        posterior_variance (torch.Tensor): 0 in rows 0 and 1, shape: [T + 1].
        reverse_variance (torch.Tensor): variance of a reverse step, shape: [T + 1].
    """

    def __init__(self, betas):
        """Build the tables in float64 and keep them in float32.

        Args:
            betas (numpy.ndarray): beta_1 .. beta_T, shape: [T]. All zero: no corruption at all.

        Raises:
            ValueError: if a beta lies outside (0, 1].
        """
        super().__init__()
        betas = torch.from_numpy(check_betas(betas))
        self.steps = len(betas)

        beta = torch.cat([betas.new_zeros(1), betas])  # [T + 1]
        alpha_bar = torch.cumprod(1 - beta, dim=0)
        previous = alpha_bar.roll(1)  # alpha_bar[t - 1]; row 0 is overwritten below
        posterior_x0 = beta * previous.sqrt() / (1 - alpha_bar)
        posterior_xt = (1 - previous) * (1 - beta).sqrt() / (1 - alpha_bar)
        posterior_variance = beta * (1 - previous) / (1 - alpha_bar)
        # 0/0 where nothing is corrupted: x_{t-1} is x_0 (all betas zero), and level 0 stays
        clean = alpha_bar == 1
        posterior_x0[clean], posterior_xt[clean], posterior_variance[clean] = 1.0, 0.0, 0.0
        posterior_x0[0], posterior_xt[0] = 0.0, 1.0

        for name, table in {
            "beta": beta,
            "alpha_bar": alpha_bar,
            "signal": alpha_bar.sqrt(),
            "noise": (1 - alpha_bar).sqrt(),
            "posterior_x0": posterior_x0,
            "posterior_xt": posterior_xt,
            "posterior_variance": posterior_variance,
            "reverse_variance": self._reverse_variance(beta, posterior_variance),
        }.items():
            self.register_buffer(name, table.float(), persistent=False)

    def _reverse_variance(self, beta, posterior_variance):
        """Variance of the noise of a reverse step, both and result of shape: [T + 1]."""
        return posterior_variance

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

    def posterior(self, x0, x_t, t):
        """Mean and variance of ``q(x_{t-1} | x_t, x_0)`` (Ho et al., equation 7).

        Args:
            x0 (torch.Tensor): clean data, shape: [B, ...].
            x_t (torch.Tensor): the data at level t, shape: [B, ...].
            t (torch.Tensor): levels in 0..T, shape: [B].

        Returns:
            tuple[torch.Tensor, torch.Tensor]: mean, shape: [B, ...]; variance, shape: [B, 1, ...].
        """
        mean = at_level(self.posterior_x0, t, x0) * x0 + at_level(self.posterior_xt, t, x0) * x_t
        return mean, at_level(self.posterior_variance, t, x0)

    def reverse(self, x0, x_t, t):
        """Mean and variance of a reverse step, given an estimate of x_0.

        Shapes as in ``posterior``; the variance may be another one in subclasses.
        """
        mean, _ = self.posterior(x0, x_t, t)
        return mean, at_level(self.reverse_variance, t, x0)

    def x0_from_eps(self, x_t, t, eps):
        """The clean data that this noise has corrupted to x_t.

        Shapes as in ``q_sample``. Where alpha_bar is 0 the data is lost and the result not finite.
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
    """The same process, walked back with the larger variance beta_t.

    The other of the two choices in Ho et al., section 3.2: right for x_0 ~ N(0, I), as the
    posterior variance is for a single x_0. There is no noise in the step to the data.
    """

    def _reverse_variance(self, beta, posterior_variance):
        # Published ICDDT: row 1 holds the posterior variance at t = 2, and the step is then masked;
        # here row 1 is 0, because no noise is added there.
        return beta * (torch.arange(len(beta)) > 1)
