"""The walk in closed form: that it is the walk, noise by noise and in distribution."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rounding import close

from recbole_diffusion.diffusion.affine import AffineDenoiser, compose, guided, jacobians
from recbole_diffusion.diffusion.gaussian import BetaVarianceDiffusion, GaussianDiffusion
from recbole_diffusion.diffusion.reverse import ancestral, walk
from recbole_diffusion.diffusion.schedules import SCHEDULES
from recbole_diffusion.model.layers.basic import sinusoid

FURTHER = {"exp": {"minimum": 0.1, "maximum": 10}}
D, H, E = 8, 5, 3


def process(schedule, steps, kind=GaussianDiffusion):
    return kind.from_betas(SCHEDULES[schedule](steps, **FURTHER.get(schedule, {})))


def off(diffusion, which, factor, levels=None):
    """The process with a coefficient (x_0's, x_t's, variance) times a factor at some levels."""
    wrong = copy.deepcopy(diffusion)

    def coefficients(level, lower):
        found = list(diffusion.coefficients(level, lower))
        found[which] *= factor if levels is None or level in levels else 1
        return found

    wrong.coefficients = coefficients
    return wrong


def linear_parts(steps):
    """A drawn linear denoiser and its guidance: W_x, W_h, W_s, b, step, none."""
    torch.manual_seed(1)
    w_x = 0.8 * torch.eye(D) + 0.2 * torch.randn(D, D) / D**0.5
    shapes = [(D, H), (D, E), (D,), (steps + 1, E), (H,)]
    return w_x, *(torch.randn(shape) for shape in shapes)


@pytest.fixture
def reference(shared_path):
    with np.load(shared_path("reference/dreamrec.npz")) as arrays:
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


def published_parts(arrays, steps):
    """The same parts of DreamRec's published program, D = H = E = 64."""
    weight = arrays["w/diffuser.0.weight"]  # [D, 3 D]: x_t, h, step
    size = len(weight)
    step = sinusoid(torch.arange(steps + 1) - 1, size, size // 2 - 1, sin_first=True)
    for i, activation in ((1, F.gelu), (3, lambda x: x)):
        name = f"w/step_mlp.{i}."
        step = activation(F.linear(step, arrays[name + "weight"], arrays[name + "bias"]))
    none = arrays["w/none_embedding.weight"][0]
    return *weight.split(size, dim=1), arrays["w/diffuser.0.bias"], step, none


def double(denoiser):
    return AffineDenoiser(*(part.double() for part in denoiser))


@pytest.fixture
def denoiser(request):
    """Gives a function from T to a guided denoiser: drawn, published, or ``attentive``.

    The published weights forget x_t; ``attentive`` ones do not.
    """

    def build(weights, steps):
        if weights == "drawn":
            return guided(*linear_parts(steps), w=2.0)
        w_x, *others = published_parts(request.getfixturevalue("reference"), steps)
        if weights == "attentive":
            w_x = 0.55 * torch.eye(len(w_x)) + 0.9 * w_x
        return guided(w_x, *others, w=4.0)

    return build


def plain(diffusion, denoiser, x_T, h, steps, seed=4):
    torch.manual_seed(seed)
    levels = range(steps, -1, -1)
    return walk(lambda x_t, t: denoiser(x_t, h, t), x_T, levels, ancestral(diffusion))


def replayed(diffusion, denoiser, x_T, h, steps, seed=4):
    """The same walk with the same noise, from its closed form."""
    closed = compose(diffusion, denoiser, steps)
    torch.manual_seed(seed)
    noise = {t: torch.randn_like(x_T) for t in range(steps, 0, -1)}
    x_0 = x_T @ closed.from_x.T + closed.mean(h)
    for t, jacobian in zip(range(1, steps + 1), jacobians(diffusion, denoiser.w_x, steps)):
        std = diffusion.coefficients(t, t - 1)[2] ** 0.5
        x_0 += std * noise[t] @ jacobian.T.to(x_0.dtype)
    return x_0


def start(denoiser, rows=3):
    torch.manual_seed(2)
    like = denoiser.w_h
    x_T = torch.randn(rows, like.shape[0], dtype=like.dtype)
    return x_T, torch.randn(rows, like.shape[1], dtype=like.dtype)


# ---------------------------------------------------------------------------- folding the guidance
def test_guidance_folds_into_one_affine_denoiser():
    w_x, w_h, w_s, bias, step, none = linear_parts(steps=9)
    x_t, h = torch.randn(4, D), torch.randn(4, H)
    t = torch.tensor([1, 2, 5, 9])

    def f(h):
        return x_t @ w_x.T + h @ w_h.T + step[t] @ w_s.T + bias

    def folded(w):
        return guided(w_x, w_h, w_s, bias, step, none, w)(x_t, h, t)

    for w in (0.0, 2.0, 4.0):
        two_calls = (1 + w) * f(h) - w * f(none.expand(4, H))
        close(folded(w), two_calls)
        assert not torch.allclose(folded(w + 0.1), two_calls, atol=0.01)
    torch.testing.assert_close(folded(0.0), f(h))
    close(folded(-1.0), f(none.expand(4, H)))


def test_the_folded_guidance_is_the_published_one(reference):
    parts = published_parts(reference, steps=500)
    inputs = reference["x_t"], reference["guidance"], reference["level"]
    for w, expected in ((4.0, "guided"), (0.0, "conditional"), (-1.0, "unconditional")):
        expected = reference[f"x0_{expected}"]
        close(guided(*parts, w)(*inputs), expected)
    assert not torch.allclose(guided(*parts, 3.9)(*inputs), reference["x0_guided"], atol=0.01)


# ------------------------------------------------------------------------------- noise by noise
@pytest.mark.parametrize("weights", ["drawn", "published", "attentive"])
@pytest.mark.parametrize("steps", [1, 2, 50, 500])
@pytest.mark.parametrize("schedule", ["linear_fixed", "exp", "cosine_clipped", "sqrt"])
def test_the_closed_form_is_the_walk_noise_by_noise(schedule, steps, weights, denoiser):
    diffusion, folded = process(schedule, steps), denoiser(weights, steps)
    x_T, h = start(folded)
    walked = plain(diffusion, folded, x_T, h, steps)
    found = replayed(diffusion, folded, x_T, h, steps)
    close(found, walked)
    # other guidance arrives elsewhere, and so do other starts and other noise, if they matter
    assert not torch.allclose(replayed(diffusion, folded, x_T, h.flip(0), steps), walked, atol=0.1)
    if weights == "drawn" and steps <= 2:
        assert not torch.allclose(replayed(diffusion, folded, 0 * x_T, h, steps), walked, atol=0.1)


@pytest.mark.parametrize("kind", [GaussianDiffusion, BetaVarianceDiffusion])
@pytest.mark.parametrize("steps", [1, 7, 20])
def test_in_float64_nothing_but_rounding_is_left_between_the_two(kind, steps, denoiser):
    # a walk from level 7 of 20 too
    diffusion, folded = process("linear_fixed", 20, kind).double(), double(denoiser("drawn", 20))
    x_T, h = start(folded)
    walked = plain(diffusion, folded, x_T, h, steps)
    found = replayed(diffusion, folded, x_T, h, steps)
    close(found, walked, rel=1e-12)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_one_wrong_coefficient_is_seen(which, denoiser):
    diffusion, folded = process("exp", 50), denoiser("drawn", 50)
    x_T, h = start(folded)
    walked = plain(diffusion, folded, x_T, h, 50)
    wrong = replayed(off(diffusion, which, 1.05, [20]), folded, x_T, h, 50)
    assert (wrong - walked).abs().max() > 1e-3


# ------------------------------------------------------------------------------- in distribution
def deviations(x_0, mean, covariance):
    """Standard scores of a sample's means and covariances, were it drawn from this Gaussian."""
    x_0, mean, covariance = x_0.double(), mean.double(), covariance.double()
    variance = covariance.diagonal()
    of_mean = (x_0.mean(dim=0) - mean) / (variance / len(x_0)).sqrt()
    error = ((variance[:, None] * variance + covariance.square()) / len(x_0)).sqrt()
    return of_mean, (torch.cov(x_0.T) - covariance) / error


@pytest.mark.parametrize(
    "weights, schedule, steps",
    [("drawn", "exp", 5), ("attentive", "linear_fixed", 50), ("drawn", "exp", 500)],
)
def test_many_plain_walks_have_the_mean_and_covariance(weights, schedule, steps, denoiser):
    diffusion, folded = process(schedule, steps), denoiser(weights, steps)
    _, h = start(folded, rows=1)
    torch.manual_seed(6)
    x_T = torch.randn(20000, len(folded.w_x))
    walked = plain(diffusion, folded, x_T, h, steps, seed=7)

    def worst(which, factor):
        """Largest standard scores, with a coefficient of the closed form off by a factor."""
        closed = compose(off(diffusion, which, factor), folded, steps)
        scores = deviations(walked, closed.mean(h)[0], closed.factor @ closed.factor.T)
        return [float(score.abs().max()) for score in scores]

    of_mean, of_covariance = worst(2, 1.0)
    assert of_mean < 5 and of_covariance < 5
    of_mean, of_covariance = worst(2, 1.5)
    assert of_mean < 5 and of_covariance > 10
    for which in (0, 1):
        of_mean, of_covariance = worst(which, 0.9)
        assert of_mean > 10 and of_covariance > 10


@pytest.mark.parametrize("kind", [GaussianDiffusion, BetaVarianceDiffusion])
def test_from_the_data_up_is_from_the_noise_down(kind, denoiser):
    # the recursion as one meets the levels on the walk
    steps = 50
    diffusion, folded = process("sqrt", steps, kind).double(), double(denoiser("drawn", steps))
    w_x, w_h, offset = folded
    a, b = torch.eye(D).double(), torch.zeros(D, H).double()
    c, s = torch.zeros(D).double(), torch.zeros(D, D).double()
    for t in range(steps, 0, -1):
        c1, c2, variance = diffusion.coefficients(t, t - 1)
        m = c1 * w_x + c2 * torch.eye(D).double()
        a, b, c = m @ a, m @ b + c1 * w_h, m @ c + c1 * offset[t]
        s = m @ s @ m.T + variance * torch.eye(D).double()
    closed = compose(diffusion, folded, steps)
    for found, expected in zip(closed, (a, b, c)):
        close(found, expected, rel=1e-10)
    close(closed.factor @ closed.factor.T, a @ a.T + s, rel=1e-10)


def test_a_sample_spreads_about_the_mean_by_the_factor(denoiser):
    closed = compose(process("exp", 20), denoiser("drawn", 20), 20)
    h = torch.randn(1, H).expand(D, H)
    # the unit vectors as noise show the factor itself
    spread = closed.sample(h, torch.eye(D)) - closed.mean(h)
    torch.testing.assert_close(spread.T @ spread, closed.factor @ closed.factor.T)
    torch.testing.assert_close(closed.sample(h, torch.zeros(D, D)), closed.mean(h))
    assert not torch.allclose(spread @ spread.T, closed.factor @ closed.factor.T, atol=0.01)


# ----------------------------------------------------------------------------------- known walks
def test_one_level_is_one_call_of_the_denoiser(denoiser):
    folded = denoiser("drawn", 1)
    closed = compose(process("sqrt", 1), folded, 1)
    for found, expected in zip(closed, (folded.w_x, folded.w_h, folded.offset[1])):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(closed.factor @ closed.factor.T, folded.w_x @ folded.w_x.T)


@pytest.mark.parametrize("steps", [1, 2, 50])
def test_a_perfect_denoiser_recovers_the_data(steps, denoiser):
    perfect = AffineDenoiser(torch.zeros(D, D), torch.eye(D), torch.zeros(steps + 1, D))
    diffusion = process("cosine_clipped", steps)
    data, eps = torch.randn(3, D), torch.randn(3, D)
    torch.testing.assert_close(compose(diffusion, perfect, steps).sample(data, eps), data)
    untrained = compose(diffusion, denoiser("drawn", steps), steps)
    assert not torch.allclose(untrained.sample(data[:, :H], eps), data, atol=0.1)


def test_a_singular_covariance_has_a_factor():
    # a denoiser that sees x_t in two directions only lets noise through in two directions only
    torch.manual_seed(3)
    w_x = torch.randn(D, 2).double() @ torch.randn(2, D).double() / D
    flat = AffineDenoiser(w_x, torch.zeros(D, H).double(), torch.zeros(11, D).double())
    diffusion = process("exp", 10).double()
    closed = compose(diffusion, flat, 10)
    covariance = closed.factor @ closed.factor.T
    assert torch.linalg.matrix_rank(covariance, rtol=1e-9) == 2
    assert torch.linalg.cholesky_ex(covariance).info > 0
    x_T, h = start(flat, rows=20000)
    scores = deviations(plain(diffusion, flat, x_T, h, 10), torch.zeros(D), covariance)
    assert all(score.abs().max() < 5 for score in scores)


def test_weights_that_are_learnt_record_no_gradient_and_keep_their_precision(denoiser):
    learnt = AffineDenoiser(*(part.requires_grad_() for part in denoiser("drawn", 5)))
    for jacobian in jacobians(process("sqrt", 5), learnt.w_x, 5):
        assert not jacobian.requires_grad and jacobian.dtype == torch.float64
    closed = compose(process("sqrt", 5), learnt, 5)
    assert not any(part.requires_grad for part in closed)
    assert all(part.dtype == torch.float32 for part in closed)
    assert all(
        part.dtype == torch.float64 for part in compose(process("sqrt", 5), double(learnt), 5)
    )


# -------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize("steps", [0, 6])
def test_levels_that_are_not_there_are_refused(steps, denoiser):
    with pytest.raises(ValueError, match=f"a walk of {steps} levels; there must be 1 to 5"):
        compose(process("sqrt", 5), denoiser("drawn", 5), steps)


@pytest.mark.parametrize(
    "part, shape",
    [("w_x", (D, D + 1)), ("w_h", (D + 1, H)), ("offset", (5, D)), ("offset", (6, 1))],
)
def test_weights_that_do_not_fit_are_refused(part, shape, denoiser):
    unfit = denoiser("drawn", 5)._replace(**{part: torch.zeros(shape)})
    with pytest.raises(ValueError, match=rf"{part} has shape \[{shape[0]}, {shape[1]}\]"):
        compose(process("sqrt", 5), unfit, 5)


@pytest.mark.parametrize("part, value", [("w_x", 1e20), ("offset", float("nan"))])
def test_a_walk_that_leaves_the_numbers_is_refused(part, value, denoiser):
    folded = denoiser("drawn", 5)
    wild = folded._replace(**{part: torch.full_like(getattr(folded, part), value)})
    with pytest.raises(ValueError, match="the walk over 5 levels does not stay finite"):
        compose(process("sqrt", 5), wild, 5)
