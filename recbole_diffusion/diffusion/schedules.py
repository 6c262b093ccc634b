"""How much noise is added at level t?

Every function gives the variances ``beta_1 .. beta_T`` of the steps of the forward process in
float64, shape: [T]. ``SCHEDULES`` holds them all by name. Papers use one name for different things,
so the names here are longer where that happens:

===============  =================================  ==================================
name here        name in the paper or program       takes, besides T
===============  =================================  ==================================
linear           ICDDT ``linear``                   nothing; scaled by 1000 / T
trunc_lin        ICDDT ``trunc_lin``                nothing; scaled by 1000 / T
pw_lin           ICDDT ``pw_lin``                   nothing; scaled by 1000 / T
cosine           ICDDT and DiffRec ``cosine``       nothing; capped at 0.999
trunc_cos        ICDDT ``trunc_cos``                nothing
sqrt             ICDDT and DreamRec ``sqrt``        nothing
linear_beta      DiffRec ``linear``                 scale, minimum, maximum
linear_variance  DiffRec ``linear-var``             scale, minimum, maximum
binomial         DiffRec ``binomial``               nothing
linear_fixed     DreamRec ``linear``                nothing; 1e-4 to 0.02 whatever T
cosine_clipped   DreamRec ``cosine``                nothing; clipped to [1e-4, 0.9999]
exp              DreamRec ``exp``                   minimum, maximum
===============  =================================  ==================================

T: number of levels above the data.
"""

import functools
import math

import numpy as np

SCHEDULES = {}

# those that ICDDT names and that take nothing besides T
PLAIN_SCHEDULES = ("trunc_lin", "linear", "pw_lin", "cosine", "sqrt", "trunc_cos")


def check_betas(betas, name="betas"):
    """Refuse variances that no forward process can have.

    All betas zero (no corruption at any level) is the one exception to beta > 0.

    Args:
        betas (numpy.ndarray): variances of the steps, level 1 first, shape: [T].
        name (str): what to call them in the message.

    Returns:
        numpy.ndarray: the betas as float64, shape: [T].

    Raises:
        ValueError: if there is no level, or a beta lies outside (0, 1].
    """
    betas = np.asarray(betas, dtype=np.float64)
    if betas.ndim != 1 or len(betas) == 0:
        raise ValueError(f"{name}: expected one beta a level, got the shape {betas.shape}")
    outside = ~((betas > 0) & (betas <= 1))
    if outside.any() and (betas != 0).any():
        level = int(outside.argmax()) + 1
        raise ValueError(
            f"{name}: beta is {betas[level - 1]:.6g} at level {level} of {len(betas)}; a variance "
            f"must lie in (0, 1]"
        )
    return betas


def with_first_beta(betas, beta):
    """Overwrite beta_1, as DiffRec does (``beta_fixed``); all-zero betas stay as they are.

    Args:
        betas (numpy.ndarray): variances of the steps, level 1 first, shape: [T].
        beta (float): the new beta_1; DiffRec has 1e-5.

    Returns:
        numpy.ndarray: a copy with the new first value, shape: [T].
    """
    if not betas.any():
        return betas.copy()
    return np.concatenate([[beta], betas[1:]])


def _schedule(build):
    """Enter a schedule into ``SCHEDULES`` and check what it gives."""

    @functools.wraps(build)
    def checked(steps, *args, **kwargs):
        if steps < 1:
            raise ValueError(f"{build.__name__}: {steps} levels; there must be at least 1")
        name = f"schedule {build.__name__} with T = {steps}"
        return check_betas(build(steps, *args, **kwargs), name)

    SCHEDULES[build.__name__] = checked
    return checked


def _ratio(f, steps):
    """``1 - f(t / T) / f((t - 1) / T)`` for t = 1..T, shape: [T]."""
    value = f(np.arange(steps + 1) / steps)  # [T + 1]
    return 1 - value[1:] / value[:-1]


def _squared_cosine(offset):
    return lambda u: np.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2


@_schedule
def linear(steps):
    """Evenly from 1e-4 s to 0.02 s, s = 1000 / T (below T = 20 the end exceeds 1)."""
    scale = 1000 / steps
    return np.linspace(1e-4 * scale, 0.02 * scale, steps)


@_schedule
def trunc_lin(steps):
    """Evenly from 1e-4 s + 0.01 to 0.02 s + 0.01 or, if that exceeds 1, to 1e-3 s + 0.01."""
    scale = 1000 / steps
    end = 0.02 * scale + 0.01
    if end > 1:
        end = 1e-3 * scale + 0.01
    return np.linspace(1e-4 * scale + 0.01, end, steps)


@_schedule
def pw_lin(steps):
    """10 levels evenly from 1e-4 s + 0.01 down to 1e-4 s, then evenly up to 0.02 s."""
    if steps <= 10:
        raise ValueError(
            f"schedule pw_lin has 10 levels in its first piece; T = {steps} is too few"
        )
    scale = 1000 / steps
    start = 1e-4 * scale
    return np.concatenate(
        [np.linspace(start + 0.01, start, 10), np.linspace(start, 0.02 * scale, steps - 10)]
    )


@_schedule
def cosine(steps):
    """``alpha_bar`` follows cos^2((u + .008) / 1.008 pi/2), u = t/T; betas capped at 0.999."""
    return np.minimum(_ratio(_squared_cosine(0.008), steps), 0.999)


@_schedule
def trunc_cos(steps):
    """``alpha_bar`` follows cos^2((u + .1) / 1.1 pi/2) one level late, f(0) being the first."""
    f = _squared_cosine(0.1)
    late = np.minimum(_ratio(f, steps), 0.999)[:-1]  # [T - 1]
    return np.concatenate([[1 - f(0.0)], late])


@_schedule
def sqrt(steps):
    """``alpha_bar`` follows 1 - sqrt(u + 1e-4), u = t/T; betas capped at 0.999."""
    return np.minimum(_ratio(lambda u: 1 - np.sqrt(u + 1e-4), steps), 0.999)


@_schedule
def linear_beta(steps, scale, minimum, maximum):
    """Betas evenly from scale * minimum to scale * maximum (DiffRec's ``linear``)."""
    return np.linspace(scale * minimum, scale * maximum, steps)


@_schedule
def linear_variance(steps, scale, minimum, maximum):
    """Variances 1 - alpha_bar evenly from scale * minimum to scale * maximum (DiffRec)."""
    variance = np.concatenate([[0.0], scale * np.linspace(minimum, maximum, steps)])  # [T + 1]
    return np.minimum(np.diff(variance) / (1 - variance[:-1]), 0.999)


@_schedule
def binomial(steps):
    """Betas of 1 / (T - t + 2)."""
    return 1 / np.arange(steps + 1, 1, -1)


@_schedule
def linear_fixed(steps):
    """Betas evenly from 1e-4 to 0.02 whatever T (DreamRec's ``linear``)."""
    return np.linspace(1e-4, 0.02, steps)


@_schedule
def cosine_clipped(steps):
    """The ``cosine`` schedule with betas clipped to [1e-4, 0.9999] (DreamRec's ``cosine``)."""
    return np.clip(_ratio(_squared_cosine(0.008), steps), 1e-4, 0.9999)


@_schedule
def exp(steps, minimum, maximum):
    """Betas of 1 - exp(-minimum / T - x (maximum - minimum) / (2 T^2)), x evenly 1 .. 2T + 1."""
    x = np.linspace(1, 2 * steps + 1, steps)
    return 1 - np.exp(-minimum / steps - x * (maximum - minimum) / (2 * steps**2))
