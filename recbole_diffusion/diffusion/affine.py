"""Where does a reverse walk arrive, if every step of it is affine?

With a denoiser ``x0_hat = W_x x_t + W_h h + o_t`` a step is ``M_t x_t + c1_t (W_h h + o_t)`` plus
noise, ``M_t = c1_t W_x + c2_t I``, where c1 and c2 are the process's ``coefficients``. So is the
whole walk: ``x_0 = A x_T + B h + c + N(0, S)``. It is exact in distribution, and replaces T calls
of the denoiser by one product a row.

Letters: B batch size, D size of x, H size of the guidance h, E size of a step embedding, T number
of levels above the data.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

LEVELS_AT_ONCE = 100  # few products of large matrices are faster than many of small ones


class AffineDenoiser(NamedTuple):
    """``x0_hat(x_t, h, t) = W_x x_t + W_h h + o_t``.

    Attributes:
        w_x (torch.Tensor): W_x, shape: [D, D].
        w_h (torch.Tensor): W_h, shape: [D, H].
        offset (torch.Tensor): o_t, one vector per level; row 0 is never read, shape: [T + 1, D].
    """

    w_x: torch.Tensor
    w_h: torch.Tensor
    offset: torch.Tensor

    def __call__(self, x_t, h, t):
        """Predict the clean data.

        Args:
            x_t (torch.Tensor): the data at level t, shape: [B, D].
            h (torch.Tensor): guidance, shape: [B, H].
            t (torch.Tensor): levels in 1..T, shape: [B].

        Returns:
            torch.Tensor: x0_hat, shape: [B, D].
        """
        return x_t @ self.w_x.T + h @ self.w_h.T + self.offset[t]


def guided(w_x, w_h, w_s, bias, step, none, w):
    """Fold classifier-free guidance of a linear denoiser into one affine denoiser.

    ``(1 + w) f(x, h, t) - w f(x, none, t)`` for ``f = W_x x + W_h h + W_s step_t + b``; x and the
    step stand in both calls, so only W_h is strengthened.

    Args:
        w_x (torch.Tensor): W_x, shape: [D, D].
        w_h (torch.Tensor): W_h, shape: [D, H].
        w_s (torch.Tensor): W_s, shape: [D, E].
        bias (torch.Tensor): b, shape: [D].
        step (torch.Tensor): step embeddings; row 0 is never read, shape: [T + 1, E].
        none (torch.Tensor): what stands for no guidance, shape: [H].
        w (float): strength of the guidance; 0 is none beyond h itself, -1 leaves h out.

    Returns:
        AffineDenoiser: the guided prediction.
    """
    return AffineDenoiser(w_x, (1 + w) * w_h, step @ w_s.T + bias - w * (w_h @ none))


class AffineWalk(NamedTuple):
    """``x_0 = A x_T + B h + c + N(0, S)``; with x_T ~ N(0, I), ``x_0 ~ N(B h + c, A A^T + S)``.

    Attributes:
        from_x (torch.Tensor): A, shape: [D, D].
        from_h (torch.Tensor): B, shape: [D, H].
        constant (torch.Tensor): c, shape: [D].
        factor (torch.Tensor): a root F of the whole covariance, ``F F^T = A A^T + S``,
            shape: [D, D].
    """

    from_x: torch.Tensor
    from_h: torch.Tensor
    constant: torch.Tensor
    factor: torch.Tensor

    def mean(self, h):
        """Where the walk arrives on average.

        Args:
            h (torch.Tensor): guidance, shape: [B, H].

        Returns:
            torch.Tensor: ``B h + c``, shape: [B, D].
        """
        return torch.addmm(self.constant, h, self.from_h.T)

    def sample(self, h, eps):
        """Draw where the walk arrives, its start x_T included.

        Args:
            h (torch.Tensor): guidance, shape: [B, H].
            eps (torch.Tensor): standard normal noise, shape: [B, D].

        Returns:
            torch.Tensor: x_0, shape: [B, D].
        """
        return torch.addmm(self.mean(h), eps, self.factor.T)


def jacobians(diffusion, w_x, steps):
    """What a change at each level moves at level 0, from the data upwards.

    Args:
        diffusion (GaussianDiffusion): the process.
        w_x (torch.Tensor): W_x, shape: [D, D].
        steps (int): number of levels of the walk, at most T.

    Yields:
        torch.Tensor: ``J_t = d x_0 / d x_t = M_1 M_2 .. M_t`` in float64 for t = 0 .. steps, the
        first the identity and the last A, shape: [D, D].
    """
    w_x = w_x.detach().double()
    jacobian = torch.eye(len(w_x), dtype=w_x.dtype, device=w_x.device)
    yield jacobian
    for t in range(1, steps + 1):
        c1, c2, _ = diffusion.coefficients(t, t - 1)
        jacobian = torch.addmm(jacobian, jacobian, w_x, beta=c2, alpha=c1)
        yield jacobian


def _check(diffusion, denoiser, steps):
    """Refuse what does not fit together."""
    if not 1 <= steps <= diffusion.steps:
        raise ValueError(f"a walk of {steps} levels; there must be 1 to {diffusion.steps}")
    size = len(denoiser.w_x)
    expected = {
        "w_x": (size, size),
        "w_h": (size, denoiser.w_h.shape[-1]),
        "offset": (diffusion.steps + 1, size),
    }
    for name, shape in expected.items():
        if getattr(denoiser, name).shape != shape:
            raise ValueError(f"{name} has shape {list(getattr(denoiser, name).shape)}, not {shape}")


@torch.no_grad()
def compose(diffusion, denoiser, steps):
    """The ``ancestral`` walk from x_T ~ N(0, I) in closed form, made once for a set of weights.

    ``x_0 = A x_T + B h + c + sum_t sqrt(v_t) J_{t-1} eps_t``: what step t adds, be it guidance,
    offset or noise, enters at level t - 1. Composed from the data upwards, which takes two products
    a level where the way down takes four, and has every ``J`` on the way.

    Args:
        diffusion (GaussianDiffusion): the process; the variance of its ``coefficients`` is v.
        denoiser (AffineDenoiser): the guided prediction.
        steps (int): number of levels to walk, at most T.

    Returns:
        AffineWalk: composed in float64, kept in the precision of the weights.

    Raises:
        ValueError: if the shapes do not fit, ``steps`` is not in 1..T, or the walk does not stay
            finite.
    """
    _check(diffusion, denoiser, steps)
    w_x, w_h, offset = (part.double() for part in denoiser)
    # x_T itself is the noise, of variance 1, of a step down from level steps + 1
    walked = [diffusion.coefficients(t, t - 1) for t in range(1, steps + 1)]
    c1, _, variance = w_x.new_tensor([*walked, (0.0, 1.0, 1.0)]).T  # [steps + 1] each
    offset = F.pad(offset[1 : steps + 1], (0, 0, 0, 1))  # [steps + 1, D]

    total, covariance = torch.zeros_like(w_x), torch.zeros_like(w_x)
    constant = torch.zeros_like(offset[0])
    walk = jacobians(diffusion, w_x, steps)
    for part in torch.arange(steps + 1).split(LEVELS_AT_ONCE):
        several = torch.stack([next(walk) for _ in part])  # [levels, D, D]
        entering = c1[part, None, None] * several
        total += entering.sum(dim=0)
        constant += torch.einsum("tij,tj->i", entering, offset[part])
        scaled = (several * variance[part, None, None].sqrt()).transpose(0, 1).flatten(1)
        covariance += scaled @ scaled.T  # [D, levels D] @ [levels D, D]
    jacobian = several[-1]

    kept = [part.to(denoiser.w_x.dtype) for part in (jacobian, total @ w_h, constant)]
    if not all(part.isfinite().all() for part in [*kept, covariance.to(denoiser.w_x.dtype)]):
        raise ValueError(
            f"the walk over {steps} levels does not stay finite; the largest entry of W_x is "
            f"{w_x.abs().max():.3g}"
        )
    # as singular as W_x, since the step to the data adds no noise: Cholesky could fail
    value, vector = torch.linalg.eigh(covariance)
    factor = vector * value.clamp(min=0).sqrt()
    return AffineWalk(*kept, factor.to(denoiser.w_x.dtype))
