r"""What is x_t on the unit sphere, and how to walk back?

The geodesic random walk of DimeRec (Li et al., WSDM 2025, arXiv 2408.12153): a point is corrupted
by a step of random direction and length along a great circle, so that norms never change. Levels
run from 0 to T and level 0 is the data, as in ``gaussian.py``.
Letters: B batch size, D size of a point, T number of levels above the data.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from recbole_diffusion.diffusion.gaussian import GaussianDiffusion, at_level
from recbole_diffusion.diffusion.reverse import check_levels


def normalise(x):
    """Bring points to the unit sphere; the zero vector, which has no direction, stays.

    Args:
        x (torch.Tensor): shape: [..., D].

    Returns:
        torch.Tensor: ``x / |x|``, shape: [..., D].
    """
    return F.normalize(x, dim=-1)


def tangent(x, v):
    """The part of a vector that is tangent to the sphere: ``v - <v, x> x``.

    Args:
        x (torch.Tensor): points on the unit sphere, shape: [..., D].
        v (torch.Tensor): any vectors, shape: [..., D].

    Returns:
        torch.Tensor: orthogonal to x, shape: [..., D].
    """
    return v - (v * x).sum(dim=-1, keepdim=True) * x


def exp_map(x, v):
    """Where one is after leaving x in the direction v for the length of v, along a great circle.

    ``cos|v| x + sin|v| v / |v|``; a v of 0 stays at x, with finite gradients.

    Args:
        x (torch.Tensor): points on the unit sphere, shape: [..., D].
        v (torch.Tensor): tangent vectors at x, shape: [..., D].

    Returns:
        torch.Tensor: points on the unit sphere, shape: [..., D].
    """
    length = torch.linalg.vector_norm(v, dim=-1, keepdim=True)  # [..., 1]
    return length.cos() * x + torch.sinc(length / math.pi) * v  # torch.sinc(u) is of pi u


def log_map(x, y):
    """The tangent vector at x that leads to y on the shortest way: ``exp_map(x, v) = y``.

    Args:
        x (torch.Tensor): points on the unit sphere, shape: [..., D].
        y (torch.Tensor): points on the unit sphere, shape: [..., D].

    Returns:
        torch.Tensor: v, as long as the angle between x and y, shape: [..., D]. Where y is x or its
        antipode there is no direction, and v is 0.
    """
    across = tangent(x, y)
    # the angle by both coordinates: the arccosine alone loses small angles
    sine = torch.linalg.vector_norm(across, dim=-1, keepdim=True)  # [..., 1]
    return torch.atan2(sine, (x * y).sum(dim=-1, keepdim=True)) * normalise(across)


class SphericalDiffusion(nn.Module):
    r"""The process ``x_t = exp_{x_0}(walk_scale sqrt(1 - alpha_bar_t) eps)``, eps tangent at x_0.

    Open in the paper, and chosen here: eps is made tangent by ``tangent``; ``walk_scale``, because
    the printed step is about ``sqrt((D - 1) (1 - alpha_bar_t))`` long, 8 radians at D = 64, and
    winds round the sphere; the noise of a reverse step and the walk without noise (see
    ``posterior_step`` and ``great_circle_step``); sub-sequences of levels (``coefficients``).

    Attributes:
        steps (int): T.
        walk_scale (float): factor of the length of every random step.
        noise (torch.Tensor): sqrt(1 - alpha_bar), 0 in row 0, shape: [T + 1].
    """

    def __init__(self, betas, walk_scale, size):
        """Build the tables in float64; the one that meets a batch is kept in float32.

        Args:
            betas (numpy.ndarray): beta_1 .. beta_T, shape: [T].
            walk_scale (float | str): 1.0 is the printed formula; ``auto`` is pi / 2 / sqrt(D - 1),
                then x_T, if alpha_bar_T is near 0, stands on average at a right angle to x_0, as
                does a point drawn at random, where the reverse walk starts.
            size (int): D.

        Raises:
            ValueError: if a beta lies outside (0, 1], there is no tangent direction, the scale is
                no positive number, or ``auto`` cannot reach the right angle because alpha_bar_T
                is above .01.
        """
        super().__init__()
        gaussian = GaussianDiffusion(betas)
        if not gaussian.noise.any():
            raise ValueError("betas that are all 0 corrupt nothing: there is no way to walk back")
        if size < 2:
            raise ValueError(f"points of size {size} lie on no sphere; the size must be at least 2")
        if walk_scale == "auto":
            left = float(gaussian.alpha_bar[-1])
            if left > 0.01:
                raise ValueError(
                    f"alpha_bar is {left:.3g} at level {gaussian.steps}, the last: walk_scale auto "
                    f"needs at most 0.01, or a walk starts further from the data than was trained"
                )
            walk_scale = math.pi / 2 / math.sqrt(size - 1)
        number = isinstance(walk_scale, (int, float)) and not isinstance(walk_scale, bool)
        if not (number and 0 < walk_scale < math.inf):
            raise ValueError(f"walk_scale is {walk_scale!r}; it must be a number above 0 or auto")
        self.steps = gaussian.steps
        self.walk_scale = float(walk_scale)
        self._beta = np.concatenate([[0.0], np.asarray(betas, dtype=np.float64)])  # [T + 1]
        self.register_buffer("noise", gaussian.noise, persistent=False)

    def q_sample(self, x0, t, eps):
        """Corrupt clean data to level t; level 0 gives x0 back.

        Args:
            x0 (torch.Tensor): clean data on the unit sphere, shape: [B, D].
            t (torch.Tensor): levels in 0..T, shape: [B].
            eps (torch.Tensor): standard normal noise, shape: [B, D].

        Returns:
            torch.Tensor: x_t on the unit sphere, shape: [B, D].
        """
        return exp_map(x0, self.walk_scale * at_level(self.noise, t, x0) * tangent(x0, eps))

    def coefficients(self, level, lower):
        """The Gaussian ``q(x_s | x_t, x_0)`` from a level t to any lower level s.

        Made from the betas in float64, because a difference of nearly equal alpha_bar is needed.

        Args:
            level (int): t, in 1..T.
            lower (int): s, in 0..t.

        Returns:
            tuple[float, float, float]: factors of x_0 and x_t in the mean, and the variance; 1, 0
            and 0 for the step to the data.
        """
        kept = 1 - self._beta
        alpha_bar = float(kept[: lower + 1].prod())  # of s
        a = float(kept[lower + 1 : level + 1].prod())  # alpha_bar_t / alpha_bar_s
        corrupted = 1 - a * alpha_bar
        return (
            math.sqrt(alpha_bar) * (1 - a) / corrupted,
            math.sqrt(a) * (1 - alpha_bar) / corrupted,
            (1 - a) * (1 - alpha_bar) / corrupted,
        )

    def posterior_step(self, x0, x_t, level, lower, eps):
        """Step to a lower level by the Gaussian posterior, brought back to the sphere.

        The noise carries ``walk_scale`` as that of ``q_sample`` does. The paper's algorithm prints
        the variance in place of its root.

        Args:
            x0 (torch.Tensor): estimate of the clean data on the unit sphere, shape: [B, D].
            x_t (torch.Tensor): the data at ``level``, shape: [B, D].
            level (int): t, in 1..T.
            lower (int): s, in 0..t.
            eps (torch.Tensor): standard normal noise, without effect if s is 0, shape: [B, D].

        Returns:
            torch.Tensor: x_s on the unit sphere, shape: [B, D].
        """
        from_x0, from_xt, variance = self.coefficients(level, lower)
        noise = self.walk_scale * math.sqrt(variance) * eps
        return normalise(from_x0 * x0 + from_xt * x_t + noise)

    def great_circle_step(self, x0, x_t, level, lower):
        """Step to a lower level without noise, along the great circle to the estimate.

        The angle shrinks as ``q_sample``'s step does, by sqrt((1 - alpha_bar_s) / (1 -
        alpha_bar_t)); by the mean of ``posterior_step`` it would be far smaller than was trained.

        Args and returned value as in ``posterior_step``.
        """
        ratio = self.noise[lower] / self.noise[level]
        return exp_map(x0, ratio * log_map(x0, x_t))


def _walk(predict_x0, x, levels, step):
    """Walk down the levels by ``step(x0, x_t, level, lower)``."""
    check_levels(levels)
    for level, lower in zip(levels, levels[1:]):
        t = torch.full((len(x),), level, device=x.device)
        x = step(predict_x0(x, t), x, level, lower)
    return x


@torch.no_grad()
def posterior_walk(diffusion, predict_x0, x, levels):
    """Walk a sub-sequence of levels, drawing the noise of every step.

    Args:
        diffusion (SphericalDiffusion): the process.
        predict_x0 (Callable): gives an estimate of x_0 on the unit sphere, shape: [B, D], from x_t,
            shape: [B, D], and levels, shape: [B].
        x (torch.Tensor): where to start, at level ``levels[0]``: for T a point drawn at random,
            ``normalise`` of normal noise, shape: [B, D].
        levels (list[int]): levels to visit, falling, the last one 0; see ``reverse.evenly_spaced``.

    Returns:
        torch.Tensor: x_0 on the unit sphere, shape: [B, D].

    Raises:
        ValueError: if the levels do not fall to 0.
    """

    def step(x0, x_t, level, lower):
        return diffusion.posterior_step(x0, x_t, level, lower, torch.randn_like(x_t))

    return _walk(predict_x0, x, levels, step)


@torch.no_grad()
def great_circle_walk(diffusion, predict_x0, x, levels):
    """Walk a sub-sequence of levels without noise; all else as in ``posterior_walk``."""
    return _walk(predict_x0, x, levels, diffusion.great_circle_step)
