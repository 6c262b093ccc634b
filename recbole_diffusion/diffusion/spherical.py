r"""What is x_t on the unit sphere, and how to walk back?

The geodesic random walk of DimeRec (Li et al., WSDM 2025, arXiv 2408.12153): a point is corrupted
by a step of random direction and length along a great circle, so that norms never change. Levels
run from 0 to T and level 0 is the data, as in ``gaussian.py``.
Letters: B batch size, D size of a point, T number of levels above the data.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from recbole_diffusion.diffusion.gaussian import at_level


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
    ``reverse_step`` and ``great_circle_step``); sub-sequences of levels (see
    ``GaussianDiffusion.posterior``).

    Attributes:
        steps (int): T.
        walk_scale (float): factor of the length of every random step.
    """

    def __init__(self, gaussian, walk_scale, size):
        """Bring a Gaussian process to the sphere.

        Args:
            gaussian (GaussianDiffusion): whose signal and noise are meant, alpha_bar being the
                signal's square.
            walk_scale (float | str): 1.0 is the printed formula; ``auto`` is pi / 2 / sqrt(D - 1),
                then x_T, if alpha_bar_T is near 0, stands on average at a right angle to x_0, as
                does a point drawn at random, where the reverse walk starts.
            size (int): D.

        Raises:
            ValueError: if nothing is corrupted, there is no tangent direction, the scale is no
                positive number, or ``auto`` cannot reach the right angle because alpha_bar_T is
                above .01.
        """
        super().__init__()
        if not gaussian.noise.any():
            raise ValueError("betas that are all 0 corrupt nothing: there is no way to walk back")
        if size < 2:
            raise ValueError(f"points of size {size} lie on no sphere; the size must be at least 2")
        if walk_scale == "auto":
            left = float(gaussian.signal[-1]) ** 2
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
        self.gaussian, self.size = gaussian, size

    def q_sample(self, x0, t, eps):
        """Corrupt clean data to level t; level 0 gives x0 back.

        Args:
            x0 (torch.Tensor): clean data on the unit sphere, shape: [B, D].
            t (torch.Tensor): levels in 0..T, shape: [B].
            eps (torch.Tensor): standard normal noise, shape: [B, D].

        Returns:
            torch.Tensor: x_t on the unit sphere, shape: [B, D].
        """
        noise = at_level(self.gaussian.noise, t, x0)
        return exp_map(x0, self.walk_scale * noise * tangent(x0, eps))

    def start(self, eps):
        """Where a reverse walk starts: a point drawn at random.

        Args:
            eps (torch.Tensor): standard normal noise, shape: [B, D].

        Returns:
            torch.Tensor: shape: [B, D].
        """
        return normalise(eps)

    def reverse_step(self, x0, x_t, level, lower, eps):
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
        from_x0, from_xt, variance = self.gaussian.coefficients(level, lower)
        noise = self.walk_scale * math.sqrt(variance) * eps
        return normalise(from_x0 * x0 + from_xt * x_t + noise)

    def great_circle_step(self, x0, x_t, level, lower):
        """Step to a lower level without noise, along the great circle to the estimate.

        The angle shrinks as ``q_sample``'s step does, by sqrt((1 - alpha_bar_s) / (1 -
        alpha_bar_t)); by the mean of ``reverse_step`` it would be far smaller than was trained.

        Args and returned value as in ``reverse_step``.
        """
        noise = self.gaussian.noise
        return exp_map(x0, noise[lower] / noise[level] * log_map(x0, x_t))


def great_circle(diffusion):
    """The step of ``reverse.walk`` that follows great circles and draws nothing.

    Args:
        diffusion (SphericalDiffusion): the process.

    Returns:
        Callable: ``diffusion.great_circle_step``.

    Raises:
        ValueError: if the process's steps wind round the sphere: the shortest way back is another.
    """
    noise = diffusion.gaussian.noise[-1].item()
    longest = diffusion.walk_scale * math.sqrt(diffusion.size - 1) * noise
    if longest > math.pi:
        raise ValueError(
            f"a walk without noise follows great circles, on which steps of walk_scale "
            f"{diffusion.walk_scale} wind round the sphere ({longest:.1f} radians at the last "
            f"level): take walk_scale: auto, or reverse_noise: True"
        )
    return diffusion.great_circle_step
