"""The sphere: points stay on it, angles are what the formulas say, walks arrive."""

import math

import numpy as np
import pytest
import torch

from recbole_diffusion.diffusion.gaussian import GaussianDiffusion
from recbole_diffusion.diffusion.reverse import ancestral, evenly_spaced, walk
from recbole_diffusion.diffusion.schedules import SCHEDULES
from recbole_diffusion.diffusion.spherical import (
    SphericalDiffusion,
    exp_map,
    great_circle,
    log_map,
    normalise,
    tangent,
)

T, D = 32, 64
BETAS = SCHEDULES["cosine"](T)
ALL = list(range(T, -1, -1))
STEPS = [ancestral, great_circle]


def spherical(betas, walk_scale, size):
    return SphericalDiffusion(GaussianDiffusion.from_betas(betas), walk_scale, size)


def points(rows=500, seed=0, size=D):
    torch.manual_seed(seed)
    return normalise(torch.randn(rows, size))


def angle(x, y):
    """In radians, small ones as sharp as large ones (Kahan), shape: [B]."""
    x, y = normalise(x.double()), normalise(y.double())
    return 2 * torch.atan2((x - y).norm(dim=-1), (x + y).norm(dim=-1))


def on_the_sphere(x):
    return (x.double().norm(dim=-1) - 1).abs().max() < 1e-6


def levels(level, rows=500):
    return torch.full((rows,), level)


def seeded(walk, *args):
    torch.manual_seed(9)
    return walk(*args)


def denoiser(x_t, t):
    """Anything on the sphere that depends on both arguments and is not right."""
    return normalise(x_t.roll(1, dims=-1) + x_t + 0.02 * t[:, None])


@pytest.fixture
def diffusion():
    return spherical(BETAS, "auto", D)


# ----------------------------------------------------------------------------------- the geometry
def test_a_tangent_vector_is_orthogonal_to_its_point():
    x, v = points(), torch.randn(500, D)
    part = tangent(x, v)
    assert (part * x).sum(-1).abs().max() < 1e-5 < (v * x).sum(-1).abs().max()
    # what is taken away is along x, and taking it away again changes nothing
    torch.testing.assert_close(v - part, (v * x).sum(-1, keepdim=True) * x, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(tangent(x, part), part, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("length", [0.0, 1e-4, 0.1, 1.0, math.pi / 2, 3.1])
def test_the_exponential_map_goes_as_far_as_the_vector_is_long(length):
    x, v = points(), tangent(points(), torch.randn(500, D))
    reached = exp_map(x, length * normalise(v))
    assert on_the_sphere(reached)
    expected = torch.full((500,), length).double()
    torch.testing.assert_close(angle(x, reached), expected, atol=1e-6, rtol=0)
    assert not on_the_sphere(exp_map(x, length * normalise(v) + 0.1 * x))


def test_the_exponential_map_winds_round_beyond_pi():
    x, v = points(), normalise(tangent(points(), torch.randn(500, D)))
    torch.testing.assert_close(exp_map(x, 2 * math.pi * v), x, atol=1e-5, rtol=0)
    torch.testing.assert_close(exp_map(x, 4 * v), exp_map(x, (4 - 2 * math.pi) * v))


def test_without_a_step_one_stays_exactly_and_gradients_are_those_of_the_step():
    x, v = points(3).double(), torch.zeros(3, D).double()
    assert torch.equal(exp_map(x, v), x)
    by_v = torch.autograd.functional.jacobian(lambda v: exp_map(x[0], v), v[0])
    torch.testing.assert_close(by_v, torch.eye(D).double())


@pytest.mark.parametrize("length", [0.0, 1e-30, 1e-22, 1e-10, 1e-4, 1.0])
def test_gradients_are_finite_however_short_the_step(length):
    x, v = points(), length * torch.randn(500, D)
    x.requires_grad_(), v.requires_grad_()
    exp_map(x, v).sum().backward()
    assert x.grad.isfinite().all() and v.grad.isfinite().all()
    assert x.grad.abs().max() < 10 and v.grad.abs().max() < 20


def test_the_logarithm_undoes_the_exponential_map():
    x, y = points(), points(seed=1)
    v = tangent(x, torch.randn(500, D)) * 0.28  # 2.2 long on average
    assert v.norm(dim=-1).max() < math.pi
    torch.testing.assert_close(log_map(x, exp_map(x, v)), v, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(exp_map(x, log_map(x, y)), y, atol=1e-6, rtol=0)
    torch.testing.assert_close(log_map(x, y).norm(dim=-1).double(), angle(x, y), atol=1e-5, rtol=0)
    assert log_map(x, x).norm(dim=-1).max() < 1e-6
    assert log_map(x, -x).isfinite().all()
    # longer than half the way round, the shortest way is another one
    longer = 2.5 * v
    assert longer.norm(dim=-1).min() > math.pi
    assert not torch.allclose(log_map(x, exp_map(x, longer)), longer, atol=0.1)


def test_a_logarithm_keeps_small_angles():
    x, v = points(), 1e-4 * normalise(tangent(points(), torch.randn(500, D)))
    torch.testing.assert_close(log_map(x, exp_map(x, v)), v, atol=3e-7, rtol=0)


def test_normalising_keeps_the_direction_and_the_zero_vector():
    x = 5 * torch.randn(500, D)
    assert on_the_sphere(normalise(x)) and not on_the_sphere(x)
    assert angle(x, normalise(x)).max() < 1e-6
    assert not normalise(torch.zeros(2, D)).any()


# --------------------------------------------------------------------------------- the process
@pytest.mark.parametrize("walk_scale", ["auto", 1.0])
def test_corrupted_points_stay_on_the_sphere(walk_scale):
    diffusion = spherical(BETAS, walk_scale, D)
    t = torch.arange(500) % (T + 1)
    assert on_the_sphere(diffusion.q_sample(points(), t, torch.randn(500, D)))


def test_level_0_is_the_data(diffusion):
    x0, eps = points(), torch.randn(500, D)
    assert torch.equal(diffusion.q_sample(x0, levels(0), eps), x0)
    assert not torch.allclose(diffusion.q_sample(x0, levels(1), eps), x0, atol=1e-3)


def test_the_angle_of_x_t_is_the_length_of_its_step(diffusion):
    x0, eps = points(), torch.randn(500, D)
    t = torch.arange(500) % T + 1
    noise = torch.from_numpy(np.sqrt(1 - np.cumprod(1 - BETAS)))[t - 1]
    length = math.pi / 2 / math.sqrt(D - 1) * noise * tangent(x0, eps).norm(dim=-1)
    torch.testing.assert_close(angle(x0, diffusion.q_sample(x0, t, eps)), length, atol=1e-5, rtol=0)


@pytest.mark.parametrize("walk_scale, away", [("auto", True), (1.0, False)])
def test_the_last_level_is_nearly_orthogonal_to_the_data(walk_scale, away):
    diffusion = spherical(BETAS, walk_scale, D)
    x0 = points(20000)
    x_T = diffusion.q_sample(x0, levels(T, 20000), torch.randn(20000, D))
    cosine = (x0 * x_T).sum(-1)
    # of a point drawn at random: 0 and 1 / sqrt(D) = .125; the printed step winds round the sphere
    assert (abs(cosine.mean()) < 0.01 and cosine.std() == pytest.approx(0.14, abs=0.01)) == away
    assert (cosine.std() > 0.5) != away


def test_nearer_levels_are_nearer_to_the_data(diffusion):
    x0, eps = points(), torch.randn(500, D)
    angles = [angle(x0, diffusion.q_sample(x0, levels(t), eps)).mean() for t in range(T + 1)]
    assert all(lower < upper for lower, upper in zip(angles, angles[1:]))


def test_gradients_through_a_corrupted_point_are_finite(diffusion):
    x0 = points(T + 1).requires_grad_()
    diffusion.q_sample(x0, torch.arange(T + 1), torch.randn(T + 1, D)).sum().backward()
    assert x0.grad.isfinite().all() and x0.grad[0].eq(1).all() and not x0.grad[-1].eq(1).any()


def test_no_table_is_saved(diffusion):
    assert dict(diffusion.named_buffers()) and not diffusion.state_dict()


# ------------------------------------------------------------------------------ a reverse step
@pytest.mark.parametrize("level", [1, 8, T])
def test_the_step_to_the_data_has_no_noise(diffusion, level):
    assert diffusion.gaussian.coefficients(level, 0) == (1.0, 0.0, 0.0)
    x0, x_t, eps = points(), points(seed=1), torch.randn(500, D)
    arrived = diffusion.reverse_step(x0, x_t, level, 0, eps)
    torch.testing.assert_close(arrived, x0, atol=1e-6, rtol=0)
    if level > 1:
        other = diffusion.reverse_step(x0, x_t, level, 1, eps)
        assert not torch.allclose(other, x0, atol=1e-2)


@pytest.mark.parametrize("walk_scale", ["auto", 1.0])
def test_noise_of_a_step_is_the_root_of_the_variance_times_the_scale(walk_scale):
    diffusion = spherical(BETAS, walk_scale, D)
    x = points()
    eps = 3 * normalise(tangent(x, torch.randn(500, D)))
    # from x0 = x_t the mean points there too, and noise is all that turns it
    from_x0, from_xt, variance = diffusion.gaussian.coefficients(16, 8)
    aside = diffusion.walk_scale * math.sqrt(variance) * 3
    turned = angle(x, diffusion.reverse_step(x, x, 16, 8, eps))
    expected = torch.full((500,), math.atan2(aside, from_x0 + from_xt)).double()
    torch.testing.assert_close(turned, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("walk_scale", ["auto", 1.0])
@pytest.mark.parametrize("level, lower", [(32, 31), (32, 8), (8, 7), (2, 1)])
def test_both_steps_stay_on_the_sphere(walk_scale, level, lower):
    diffusion = spherical(BETAS, walk_scale, D)
    x0, x_t = points(), points(seed=1)
    assert on_the_sphere(diffusion.reverse_step(x0, x_t, level, lower, torch.randn(500, D)))
    assert on_the_sphere(diffusion.great_circle_step(x0, x_t, level, lower))


@pytest.mark.parametrize("level, lower", [(32, 31), (32, 8), (8, 2), (1, 0)])
def test_a_great_circle_step_shrinks_the_angle_as_the_process_does(diffusion, level, lower):
    x0, x_t = points(), points(seed=1)
    x_s = diffusion.great_circle_step(x0, x_t, level, lower)
    variance = 1 - np.cumprod(np.append(1.0, 1 - BETAS))
    ratio = math.sqrt(variance[lower] / variance[level])
    torch.testing.assert_close(angle(x0, x_s), ratio * angle(x0, x_t), atol=1e-6, rtol=0)
    # on the way: the angles to both ends add up
    both = angle(x0, x_s) + angle(x_s, x_t)
    torch.testing.assert_close(both, angle(x0, x_t), atol=1e-6, rtol=0)


def test_a_great_circle_step_to_the_same_level_stays(diffusion):
    x0, x_t = points(), points(seed=1)
    for level in (1, 8, T):
        same = diffusion.great_circle_step(x0, x_t, level, level)
        torch.testing.assert_close(same, x_t, atol=1e-6, rtol=0)
    assert not torch.allclose(diffusion.great_circle_step(x0, x_t, T, 20), x_t, atol=0.01)


# ------------------------------------------------------------------------------------- the walks
@pytest.mark.parametrize("count", [1, 5, T])
@pytest.mark.parametrize("step", STEPS)
def test_a_perfect_denoiser_recovers_the_data(step, count, diffusion):
    data, x_T = points(), points(seed=1)
    spaced = evenly_spaced(T, count)
    arrived = walk(lambda x_t, t: data, x_T, spaced, step(diffusion))
    torch.testing.assert_close(arrived, data, atol=1e-6, rtol=0)
    assert not torch.allclose(walk(denoiser, x_T, spaced, step(diffusion)), data, atol=0.1)


@pytest.mark.parametrize("step", STEPS)
def test_every_point_the_denoiser_is_shown_is_on_the_sphere(step, diffusion):
    asked = []

    def predict_x0(x_t, t):
        assert on_the_sphere(x_t) and t.shape == (500,) and (t == t[0]).all()
        asked.append(int(t[0]))
        return denoiser(x_t, t)

    assert on_the_sphere(walk(predict_x0, points(), [20, 7, 3, 0], step(diffusion)))
    assert asked == [20, 7, 3]


def test_coefficients_of_the_next_level_do_not_arrive_on_a_sub_sequence(diffusion):
    data, spaced = points(), evenly_spaced(T, 5)
    x = points(seed=1)
    torch.manual_seed(9)
    for level in spaced[:-1]:
        x = diffusion.reverse_step(data, x, level, level - 1, torch.randn_like(x))
    assert angle(x, data).mean() > math.radians(15)
    right = seeded(walk, lambda x_t, t: data, points(seed=1), spaced, ancestral(diffusion))
    assert angle(right, data).max() < 1e-6


def visited(step, data, x_T, spaced):
    """The points a perfect denoiser is shown, by level."""
    seen = {}

    def predict_x0(x_t, t):
        seen[int(t[0])] = x_t
        return data

    seeded(walk, predict_x0, x_T, spaced, step)
    return seen


@pytest.mark.parametrize("spaced", [ALL, evenly_spaced(T, 4)])
def test_the_great_circle_visits_what_the_process_made_of_the_same_noise(spaced, diffusion):
    data, eps = points(), torch.randn(500, D)
    x_T = diffusion.q_sample(data, levels(T), eps)
    for level, x_t in visited(great_circle(diffusion), data, x_T, spaced).items():
        expected = diffusion.q_sample(data, levels(level), eps)
        torch.testing.assert_close(x_t, expected, atol=1e-5, rtol=0)
    # the printed step winds round, and the shortest way back is another one
    wound = spherical(BETAS, 1.0, D)
    x_T = wound.q_sample(data, levels(T), eps)
    x_t = visited(wound.great_circle_step, data, x_T, spaced)[8]
    assert not torch.allclose(x_t, wound.q_sample(data, levels(8), eps), atol=0.1)


def test_the_mean_of_the_posterior_comes_nearer_than_was_trained(diffusion):
    data, x_T = points(), points(seed=1)
    trained = angle(data, diffusion.q_sample(data, levels(8), torch.randn(500, D)))
    assert math.degrees(trained.mean()) == pytest.approx(35, abs=1)

    def mean_angle(step):
        return math.degrees(angle(data, visited(step, data, x_T, ALL)[8]).mean())

    def noiseless(x0, x_t, level, lower):
        return diffusion.reverse_step(x0, x_t, level, lower, torch.zeros_like(x_t))

    assert mean_angle(great_circle(diffusion)) == pytest.approx(35, abs=1)
    assert mean_angle(ancestral(diffusion)) == pytest.approx(34, abs=1)
    assert mean_angle(noiseless) == pytest.approx(1.4, abs=0.1)


def test_turning_the_space_turns_everything(diffusion):
    torch.manual_seed(3)
    turn = torch.linalg.qr(torch.randn(D, D))[0]
    data, x_T, eps = points(), points(seed=1), torch.randn(500, D)
    t = torch.arange(500) % (T + 1)

    def drawn_towards(target):
        return lambda x_t, t: normalise(x_t + target)

    for f in (
        lambda x, y, v: diffusion.q_sample(x, t, v),
        lambda x, y, v: diffusion.reverse_step(x, y, 20, 8, v),
        lambda x, y, v: diffusion.great_circle_step(x, y, 20, 8),
        lambda x, y, v: walk(drawn_towards(x), y, evenly_spaced(T, 5), diffusion.great_circle_step),
    ):
        turned = f(data @ turn, x_T @ turn, eps @ turn)
        torch.testing.assert_close(turned, f(data, x_T, eps) @ turn, atol=1e-5, rtol=0)
        assert not torch.allclose(f(data @ turn, x_T, eps), turned, atol=0.1)


def test_only_noise_makes_two_walks_differ(diffusion):
    arguments = denoiser, points(), ALL
    still, drawn = great_circle(diffusion), ancestral(diffusion)
    assert torch.equal(walk(*arguments, still), walk(*arguments, still))
    once = seeded(walk, *arguments, drawn)
    assert torch.equal(once, seeded(walk, *arguments, drawn))
    assert not torch.allclose(once, walk(*arguments, drawn), atol=0.01)


@pytest.mark.parametrize("step", STEPS)
def test_a_walk_records_no_gradient(step, diffusion):
    weight = torch.ones(D, requires_grad=True)
    predict_x0 = lambda x_t, t: normalise(x_t * weight)  # noqa: E731
    assert not walk(predict_x0, points(), ALL, step(diffusion)).requires_grad


# ---------------------------------------------------------------------------------------- refusals
def test_great_circles_are_refused_where_steps_wind_round_the_sphere():
    with pytest.raises(ValueError, match="walk_scale 1.0 wind round the sphere .7.9 radians"):
        great_circle(spherical(BETAS, 1.0, D))
    great_circle(spherical(BETAS, "auto", D))


def test_a_last_level_too_near_the_data_is_refused_with_auto():
    betas = SCHEDULES["linear_fixed"](100)  # alpha_bar_T is .36
    with pytest.raises(ValueError, match="alpha_bar is 0.364 at level 100.*at most 0.01"):
        spherical(betas, "auto", D)
    assert spherical(betas, 0.2, D).walk_scale == 0.2
    assert spherical(SCHEDULES["linear_fixed"](500), "auto", D).steps == 500


@pytest.mark.parametrize("walk_scale", [0, -1.0, math.nan, math.inf, "Auto", None, True])
def test_a_scale_that_is_none_is_refused_with_its_value(walk_scale):
    with pytest.raises(ValueError, match=f"walk_scale is {walk_scale!r}"):
        spherical(BETAS, walk_scale, D)


def test_a_sphere_without_directions_is_refused():
    with pytest.raises(ValueError, match="points of size 1 lie on no sphere"):
        spherical(BETAS, 1.0, 1)
    assert spherical(BETAS, "auto", 2).walk_scale == pytest.approx(math.pi / 2)


def test_a_schedule_without_noise_is_refused():
    with pytest.raises(ValueError, match="corrupt nothing"):
        spherical(np.zeros(4), 1.0, D)
