"""How to walk from noise back to the data?

One walk for every process; what it does at a level is a step ``step(x0, x_t, level, lower)`` from
``level`` to ``lower``, given an estimate of x_0: ``ancestral``, ``ddim``, or another process's own.
The estimate comes from any ``predict_x0(x_t, t)``: which network, which parametrisation and which
guidance are the caller's affair. Letters: B batch size, T number of levels above the data.
"""

from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch

from recbole_diffusion.diffusion.row_noise import normal_like

_watched = ContextVar("levels and vectors of the walks that are watched", default=None)


@contextmanager
def watched():
    """Within the block what walks pass through is kept.

    Yields:
        list of tuple: level and x, the start among them, in the order of the walk.
    """
    path = []
    before = _watched.set(path)
    try:
        yield path
    finally:
        _watched.reset(before)


def evenly_spaced(steps, count):
    """A sub-sequence of the levels, from T down to 0.

    Args:
        steps (int): T.
        count (int): number of steps to take, at most T.

    Returns:
        list[int]: count + 1 levels, the first T and the last 0.

    Raises:
        ValueError: if count is not in 1..T.
    """
    if not 1 <= count <= steps:
        raise ValueError(f"{count} steps over {steps} levels; there must be 1 to {steps}")
    return np.linspace(steps, 0, count + 1).round().astype(int).tolist()


@torch.no_grad()
def walk(predict_x0, x, levels, step):
    """Walk down the levels.

    Args:
        predict_x0 (Callable): gives an estimate of x_0, shape: [B, ...], from x_t, shape: [B, ...],
            and levels, shape: [B].
        x (torch.Tensor): where to start, at level ``levels[0]``, shape: [B, ...].
        levels (list[int]): levels to visit, falling; see ``evenly_spaced``.
        step (Callable): gives x at ``lower``, shape: [B, ...], from x_0, x_t, ``level`` and
            ``lower``.

    Returns:
        torch.Tensor: x at the last level, x_0 if that is 0, shape: [B, ...].

    Raises:
        ValueError: if the levels do not fall, or fall below 0.
    """
    if levels[-1] < 0 or any(lower >= level for level, lower in zip(levels, levels[1:])):
        raise ValueError(f"the levels {list(levels)} do not fall to 0")
    path = _watched.get()
    if path is not None:
        path.append((levels[0], x))
    for level, lower in zip(levels, levels[1:]):
        t = torch.full(x.shape[:1], level, device=x.device)
        x = step(predict_x0(x, t), x, level, lower)
        if path is not None:
            path.append((lower, x))
    return x


def ancestral(diffusion, noise=True):
    """The step that draws from the process's reverse distribution.

    Args:
        diffusion (nn.Module): a process with ``reverse_step``.
        noise (bool): False takes the mean of every step.

    Returns:
        Callable: a step for ``walk``.
    """

    def step(x0, x_t, level, lower):
        eps = normal_like(x_t) if noise else None
        return diffusion.reverse_step(x0, x_t, level, lower, eps)

    return step


def ddim(diffusion, eta):
    """The step of Song et al., "DDIM", equations 12 and 16.

    With ``eta`` 1 it draws from ``q(x_s | x_t, x_0)``, as ``ancestral`` does with the posterior
    variance; with ``eta`` 0 nothing is drawn.

    Args:
        diffusion (GaussianDiffusion): the process.
        eta (float): standard deviation of the noise as a share of the posterior's.

    Returns:
        Callable: a step for ``walk``.
    """

    def step(x0, x_t, level, lower):
        t = torch.full(x_t.shape[:1], level, device=x_t.device)
        eps = diffusion.eps_from_x0(x_t, t, x0)
        variance = eta**2 * diffusion.posterior(level, lower)[2]
        kept = max(float(diffusion.noise[lower]) ** 2 - variance, 0.0) ** 0.5
        x = diffusion.signal[lower] * x0 + kept * eps
        return x + variance**0.5 * normal_like(x) if eta > 0 else x

    return step


def extrapolated(predict_x0, levels):
    """The estimates of x_0 for a mean walk over some of the levels, nearer to that over all.

    A step over k levels stands for k small ones, whose estimates lie (k - 1) / 2 levels further
    down on average; they are read off the line through this step's estimate and the last one. The
    idea is that of the two-step method of Adams and Bashforth and of DPM-Solver++ 2M (Lu et al.
    2022), but aims at the walk over all levels, not at one with infinitely many. Over all levels
    nothing changes.

    Args:
        predict_x0 (Callable): as of ``walk``.
        levels (list[int]): the levels of the walk.

    Returns:
        Callable: for one walk, as of ``walk``.
    """
    steps = zip(levels, levels[1:], levels[2:])
    shares = iter([0.0] + [(t - lower - 1) / 2 / (above - t) for above, t, lower in steps])
    last = None

    def predict(x_t, t):
        nonlocal last
        x0, share = predict_x0(x_t, t), next(shares)
        moved = x0 + share * (x0 - last) if share else x0
        last = x0
        return moved

    return predict


@torch.no_grad()
def factored(diffusion, hidden, project, u, levels):
    """The mean walk of a network ``V hidden(W x_t, t) + v``, in the coordinates ``u_t = W x_t``.

    A step is linear in x_t and in the estimate of x_0, so ``u_t`` obeys the same recursion with
    ``W (V h + v)`` for the estimate: exact, and x itself is never needed but at the end, where the
    last step gives ``x_0 = V h + v``. Costs no product of the size of x.

    Args:
        diffusion (GaussianDiffusion): the process.
        hidden (Callable): gives h, shape: [B, H_last], from u_t, shape: [B, H], and levels,
            shape: [B].
        project (Callable): gives ``W (V h + v)``, shape: [B, H], from h.
        u (torch.Tensor): W x at the first level, shape: [B, H].
        levels (list[int]): levels to visit, falling, the last ones 1 and 0 or just one above 0.

    Returns:
        torch.Tensor: h at the level before 0, shape: [B, H_last].
    """
    predict = extrapolated(lambda u_t, t: project(hidden(u_t, t)), levels)
    u = walk(predict, u, levels[:-1], ancestral(diffusion, noise=False))
    return hidden(u, torch.full(u.shape[:1], levels[-2], device=u.device))
