"""How to walk from noise back to the data?

A walk takes any ``predict_x0(x_t, t)``: which network, which parametrisation and which guidance are
its caller's affair. Letters: B batch size, T number of levels above the data.
"""

import numpy as np
import torch


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


def check_levels(levels):
    """Refuse levels that do not fall to 0.

    Args:
        levels (list[int]): levels to visit.

    Raises:
        ValueError: if they do not.
    """
    if levels[-1] != 0 or any(s >= t for t, s in zip(levels, levels[1:])):
        raise ValueError(f"the levels {levels} do not fall to 0")


@torch.no_grad()
def ancestral(diffusion, predict_x0, x, steps, noise=True, stop=0):
    """Walk every level from ``steps`` down to ``stop``, drawing from the reverse distribution.

    Args:
        diffusion (GaussianDiffusion): the process.
        predict_x0 (Callable): gives an estimate of x_0, shape: [B, ...], from x_t, shape: [B, ...],
            and levels, shape: [B].
        x (torch.Tensor): where to start, at level ``steps``, shape: [B, ...].
        steps (int): number of levels to walk, at most T.
        noise (bool): False takes the mean of every step.
        stop (int): the level to end at.

    Returns:
        torch.Tensor: x at level ``stop``, x_0 by default, shape: [B, ...].
    """
    for level in range(steps, stop, -1):
        t = torch.full((len(x),), level, device=x.device)
        x, variance = diffusion.reverse(predict_x0(x, t), x, t)
        if noise:
            x = x + variance.sqrt() * torch.randn_like(x)
    return x


@torch.no_grad()
def factored(diffusion, hidden, project, u, steps):
    """The mean walk of a network ``V hidden(W x_t, t) + v``, in the coordinates ``u_t = W x_t``.

    A step is linear in x_t and in the estimate of x_0, so ``u_t`` obeys the same recursion with
    ``W (V h + v)`` for the estimate: exact, and x itself is never needed but at the end, where the
    last step gives ``x_0 = V h + v``. Costs no product of the size of x.

    Args:
        diffusion (GaussianDiffusion): the process.
        hidden (Callable): gives h, shape: [B, H_last], from u_t, shape: [B, H], and levels,
            shape: [B].
        project (Callable): gives ``W (V h + v)``, shape: [B, H], from h.
        u (torch.Tensor): W x at level ``steps``, shape: [B, H].
        steps (int): number of levels to walk, at least 1 and at most T.

    Returns:
        torch.Tensor: h at level 1, shape: [B, H_last].
    """
    u = ancestral(diffusion, lambda u_t, t: project(hidden(u_t, t)), u, steps, noise=False, stop=1)
    return hidden(u, torch.ones(len(u), dtype=torch.long, device=u.device))


@torch.no_grad()
def ddim(diffusion, predict_x0, x, levels, eta):
    """Walk a sub-sequence of levels (Song et al., "DDIM", equations 12 and 16).

    With ``eta`` 1 each step is drawn from ``q(x_s | x_t, x_0)``, over all levels the ancestral walk
    with the posterior variance; with ``eta`` 0 nothing is drawn.

    Args:
        diffusion (GaussianDiffusion): the process.
        predict_x0 (Callable): as in ``ancestral``.
        x (torch.Tensor): where to start, at level ``levels[0]``, shape: [B, ...].
        levels (list[int]): levels to visit, falling, the last one 0; see ``evenly_spaced``.
        eta (float): standard deviation of the noise as a share of the posterior's.

    Returns:
        torch.Tensor: x_0, shape: [B, ...].

    Raises:
        ValueError: if the levels do not fall to 0.
    """
    check_levels(levels)
    signal, noise = diffusion.signal, diffusion.noise
    for level, lower in zip(levels, levels[1:]):
        t = torch.full((len(x),), level, device=x.device)
        x0 = predict_x0(x, t)
        eps = diffusion.eps_from_x0(x, t, x0)
        # 1 - alpha_bar_t / alpha_bar_s, from the noise: 1 - alpha_bar is not lost to rounding there
        added = (noise[level].square() - noise[lower].square()) / signal[lower].square()
        share = (noise[lower] / noise[level]).nan_to_num() ** 2
        variance = (eta**2 * share * added).clamp(min=0)
        kept = (noise[lower].square() - variance).clamp(min=0).sqrt()
        x = signal[lower] * x0 + kept * eps
        if eta > 0:
            x = x + variance.sqrt() * torch.randn_like(x)
    return x
