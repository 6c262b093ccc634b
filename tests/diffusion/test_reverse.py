"""Reverse walks: where they arrive, and that two roads are one."""

import numpy as np
import pytest
import torch
from rounding import close

from recbole_diffusion.diffusion.gaussian import BetaVarianceDiffusion, GaussianDiffusion
from recbole_diffusion.diffusion.reverse import (
    ancestral,
    ddim,
    evenly_spaced,
    extrapolated,
    walk,
    watched,
)
from recbole_diffusion.diffusion.schedules import SCHEDULES

T = 16
BETAS = SCHEDULES["trunc_cos"](T)
ALL = list(range(T, -1, -1))


def denoiser(x_t, t):
    """Anything that depends on both arguments and is not right."""
    return torch.tanh(x_t + 0.1 * t[:, None])


def seeded(*args):
    torch.manual_seed(4)
    return walk(*args)


@pytest.fixture
def x_T():
    torch.manual_seed(0)
    return torch.randn(6, 3)


def flow():
    """A straight line from the data to noise; no beta makes it."""
    u = np.arange(T + 1) / T
    return GaussianDiffusion(1 - u, u)


PROCESSES = {
    "posterior variance": lambda: GaussianDiffusion.from_betas(BETAS),
    "variance beta": lambda: BetaVarianceDiffusion.from_betas(BETAS),
    "flow": flow,
}
STEPS = {
    "ancestral": ancestral,
    "its mean": lambda diffusion: ancestral(diffusion, noise=False),
    "ddim": lambda diffusion: ddim(diffusion, eta=0),
    "ddim with noise": lambda diffusion: ddim(diffusion, eta=1),
}


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("levels", [ALL, evenly_spaced(T, 3), [5, 4, 3, 2, 1, 0]])
def test_a_perfect_denoiser_recovers_the_data(process, step, levels, x_T):
    data = torch.arange(18.0).view(6, 3)
    step = STEPS[step](PROCESSES[process]())
    torch.testing.assert_close(walk(lambda x_t, t: data, x_T, levels, step), data)
    assert not torch.allclose(walk(denoiser, x_T, levels, step), data, atol=0.1)


@pytest.mark.parametrize("process", ["posterior variance", "flow"])
@pytest.mark.parametrize("step", ["ancestral", "ddim", "ddim with noise"])
def test_on_the_way_a_perfect_walk_has_the_spread_of_the_process(process, step):
    diffusion, data, seen = PROCESSES[process](), torch.full((20000, 1), 2.0), {}

    def predict_x0(x_t, t):
        seen[int(t[0])] = x_t
        return data

    torch.manual_seed(0)
    start = diffusion.q_sample(data, torch.full((20000,), T), torch.randn_like(data))
    walk(predict_x0, start, evenly_spaced(T, 4), STEPS[step](diffusion))
    assert sorted(seen) == [4, 8, 12, 16]
    for level, x_t in seen.items():
        assert x_t.mean().item() == pytest.approx(2 * float(diffusion.signal[level]), abs=0.03)
        assert x_t.std().item() == pytest.approx(float(diffusion.noise[level]), rel=0.03)


def test_the_denoiser_is_asked_once_a_level_from_the_top(x_T):
    asked = []

    def predict_x0(x_t, t):
        assert t.shape == (6,) and x_t.shape == (6, 3)
        asked.append(int(t[0]))
        return x_t

    diffusion = GaussianDiffusion.from_betas(BETAS)
    walk(predict_x0, x_T, [3, 2, 1, 0], ancestral(diffusion))
    assert asked == [3, 2, 1]
    asked.clear()
    walk(predict_x0, x_T, [7, 2, 0], ddim(diffusion, eta=0))
    assert asked == [7, 2]


def test_ddim_with_all_noise_over_all_levels_is_the_ancestral_walk(x_T):
    diffusion = GaussianDiffusion.from_betas(BETAS)
    for levels in (ALL, [T, 9, 2, 0]):
        walked = seeded(denoiser, x_T, levels, ancestral(diffusion))
        torch.testing.assert_close(seeded(denoiser, x_T, levels, ddim(diffusion, 1)), walked)
        other = seeded(denoiser, x_T, levels, ddim(diffusion, 0.5))
        assert not torch.allclose(other, walked, atol=0.1)


def test_a_sub_sequence_has_the_coefficients_of_its_own_posterior(x_T):
    # q(x_s | x_t, x_0) over skipped levels: the process whose two levels are s and t
    diffusion = GaussianDiffusion.from_betas(BETAS)
    alpha_bar = np.cumprod(1 - BETAS)
    two = GaussianDiffusion.from_betas(
        np.array([1 - alpha_bar[4], 1 - alpha_bar[11] / alpha_bar[4]])
    )
    for step in (ancestral, lambda process: ddim(process, 1)):
        walked = seeded(lambda x_t, t: x_t.sin(), x_T, [12, 5, 0], step(diffusion))
        expected = seeded(lambda x_t, t: x_t.sin(), x_T, [2, 1, 0], ancestral(two))
        torch.testing.assert_close(walked, expected)


def test_ddim_without_noise_keeps_the_noise_it_came_with(x_T):
    # the same eps corrupts x_0 to every level the walk visits
    data = torch.arange(18.0).view(6, 3)
    diffusion = GaussianDiffusion.from_betas(BETAS)
    visited = {}

    def predict_x0(x_t, t):
        visited[int(t[0])] = x_t
        return data

    start = diffusion.q_sample(data, torch.full((6,), T), x_T)
    walk(predict_x0, start, evenly_spaced(T, 4), ddim(diffusion, eta=0))
    for level, x_t in visited.items():
        expected = diffusion.q_sample(data, torch.full((6,), level), x_T)
        close(x_t, expected, rel=1e-4)


def test_walking_standard_normal_data_back_gives_standard_normal_data():
    torch.manual_seed(0)
    x_T = torch.randn(40000, 1)
    spread = {}
    for process in (BetaVarianceDiffusion, GaussianDiffusion):
        diffusion = process.from_betas(SCHEDULES["trunc_lin"](T))
        signal = diffusion.signal[:, None]
        best = lambda x_t, t, signal=signal: signal[t] * x_t  # noqa: E731
        x_0 = walk(best, x_T, ALL, ancestral(diffusion))
        spread[process] = x_0.var().item()
    # exact but for the step to the data, which has no noise
    exact = 1 - SCHEDULES["trunc_lin"](T)[0]
    assert spread[BetaVarianceDiffusion] == pytest.approx(exact, abs=0.025)
    assert spread[GaussianDiffusion] < exact - 0.05


def test_a_walk_without_noise_is_the_same_twice(x_T):
    diffusion = GaussianDiffusion.from_betas(BETAS)
    still = ancestral(diffusion, noise=False)
    once = walk(denoiser, x_T, ALL, still)
    assert torch.equal(once, walk(denoiser, x_T, ALL, still))
    assert not torch.equal(once, walk(denoiser, x_T, ALL, ancestral(diffusion)))


def test_without_corruption_a_walk_applies_the_denoiser_t_times(x_T):
    diffusion = GaussianDiffusion.from_betas(np.zeros(3))
    expected = x_T.sin().sin().sin()
    predict_x0 = lambda x_t, t: x_t.sin()  # noqa: E731
    for step in (ancestral(diffusion), ddim(diffusion, eta=1)):
        torch.testing.assert_close(walk(predict_x0, x_T, [3, 2, 1, 0], step), expected)


def test_a_walk_records_no_gradient(x_T):
    weight = torch.ones(3, requires_grad=True)
    predict_x0 = lambda x_t, t: x_t * weight  # noqa: E731
    step = ancestral(GaussianDiffusion.from_betas(BETAS))
    assert not walk(predict_x0, x_T, ALL, step).requires_grad


def test_evenly_spaced_levels_run_from_the_top_to_the_data():
    assert evenly_spaced(16, 4) == [16, 12, 8, 4, 0]
    assert evenly_spaced(5, 5) == [5, 4, 3, 2, 1, 0]
    assert evenly_spaced(500, 1) == [500, 0]
    for count in (0, 6):
        with pytest.raises(ValueError, match=f"{count} steps over 5 levels"):
            evenly_spaced(5, count)


@pytest.mark.parametrize("levels", [[4, 0, -1], [4, 4, 0], [2, 4, 0]])
def test_levels_that_do_not_fall_are_refused(levels, x_T):
    with pytest.raises(ValueError, match="do not fall to 0"):
        walk(denoiser, x_T, levels, ddim(GaussianDiffusion.from_betas(BETAS), eta=0))


@pytest.mark.parametrize("step", ["ancestral", "ddim", "ddim with noise"])
def test_a_bridge_to_another_point_needs_no_walk_of_its_own(step, x_T):
    # x_t between the data and y: what is left of y is subtracted, and a Gaussian process remains
    u = np.arange(T + 1) / T
    bridge, y, data = GaussianDiffusion(1 - u, np.sqrt(u * (1 - u))), 7.0, x_T + 3
    seen = {}

    def predict_x0(shifted, t):
        seen[int(t[0])] = shifted + y * t[:, None] / T
        return data

    arrived = walk(predict_x0, torch.zeros_like(data), ALL, STEPS[step](bridge))
    torch.testing.assert_close(arrived, data)
    assert (seen[T] == y).all()  # begins at y itself
    halfway = seen[T // 2] - (data + y) / 2
    assert halfway.std().item() == pytest.approx(0.5, abs=0.25 if step != "ddim" else 0.51)


MILD = GaussianDiffusion.from_betas(SCHEDULES["linear_variance"](40, 0.005, 0.005, 0.01))


def mean_walk(levels, x, extrapolate):
    """A walk whose estimates of x_0 grow with x and with the level."""

    def leaning(x_t, t):
        return 0.5 * x_t + 0.01 * t[:, None]

    predict = extrapolated(leaning, levels) if extrapolate else leaning
    return walk(predict, x, levels, ancestral(MILD, noise=False))


@pytest.mark.parametrize("levels", [[40, 20, 1, 0], [40, 30, 20, 11, 1, 0]], ids=str)
def test_extrapolated_estimates_bring_a_short_walk_nearer_to_the_full_one(levels, x_T):
    full = mean_walk(list(range(40, -1, -1)), x_T, False)
    short, plain = (mean_walk(levels, x_T, extrapolate) for extrapolate in (True, False))
    assert (short - full).abs().max() < 0.6 * (plain - full).abs().max()


def test_extrapolated_estimates_change_nothing_of_a_walk_over_all_levels(x_T):
    full = list(range(40, -1, -1))
    assert torch.equal(mean_walk(full, x_T, True), mean_walk(full, x_T, False))


def test_a_watched_walk_is_the_walk_and_its_path_goes_from_start_to_end(x_T):
    step = ddim(PROCESSES["flow"](), eta=0)
    levels = evenly_spaced(T, 4)
    plain = walk(denoiser, x_T, levels, step)
    with watched() as path:
        torch.testing.assert_close(walk(denoiser, x_T, levels, step), plain, rtol=0, atol=0)
    walk(denoiser, x_T, levels, step)  # nobody looks
    assert [level for level, _ in path] == levels
    assert torch.equal(path[0][1], x_T) and torch.equal(path[-1][1], plain)
    lower = walk(denoiser, path[2][1], levels[2:], step)
    torch.testing.assert_close(lower, plain, rtol=0, atol=0)  # the path is where the walk was
