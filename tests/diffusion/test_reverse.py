"""Reverse walks: where they arrive, and that two roads are one."""

import numpy as np
import pytest
import torch
from rounding import close

from recbole_diffusion.diffusion.gaussian import BetaVarianceDiffusion, GaussianDiffusion
from recbole_diffusion.diffusion.reverse import ancestral, ddim, evenly_spaced
from recbole_diffusion.diffusion.schedules import SCHEDULES

T = 16
BETAS = SCHEDULES["trunc_cos"](T)
ALL = list(range(T, -1, -1))


def denoiser(x_t, t):
    """Anything that depends on both arguments and is not right."""
    return torch.tanh(x_t + 0.1 * t[:, None])


def seeded(walk, *args, **kwargs):
    torch.manual_seed(4)
    return walk(*args, **kwargs)


@pytest.fixture
def x_T():
    torch.manual_seed(0)
    return torch.randn(6, 3)


@pytest.mark.parametrize("process", [GaussianDiffusion, BetaVarianceDiffusion])
@pytest.mark.parametrize(
    "walk",
    [
        lambda d, f, x: ancestral(d, f, x, T),
        lambda d, f, x: ancestral(d, f, x, 5, noise=False),
        lambda d, f, x: ddim(d, f, x, ALL, eta=0),
        lambda d, f, x: ddim(d, f, x, evenly_spaced(T, 3), eta=1),
    ],
)
def test_a_perfect_denoiser_recovers_the_data(process, walk, x_T):
    data = torch.arange(18.0).view(6, 3)
    diffusion = process(BETAS)
    torch.testing.assert_close(walk(diffusion, lambda x_t, t: data, x_T), data)
    assert not torch.allclose(walk(diffusion, denoiser, x_T), data, atol=0.1)


def test_the_denoiser_is_asked_once_a_level_from_the_top(x_T):
    asked = []

    def predict_x0(x_t, t):
        assert t.shape == (6,) and x_t.shape == (6, 3)
        asked.append(int(t[0]))
        return x_t

    ancestral(GaussianDiffusion(BETAS), predict_x0, x_T, 3)
    assert asked == [3, 2, 1]
    asked.clear()
    ddim(GaussianDiffusion(BETAS), predict_x0, x_T, [7, 2, 0], eta=0)
    assert asked == [7, 2]


def test_ddim_with_all_noise_over_all_levels_is_the_ancestral_walk(x_T):
    diffusion = GaussianDiffusion(BETAS)
    walked = seeded(ancestral, diffusion, denoiser, x_T, T)
    torch.testing.assert_close(seeded(ddim, diffusion, denoiser, x_T, ALL, 1), walked)
    assert not torch.allclose(seeded(ddim, diffusion, denoiser, x_T, ALL, 0.5), walked, atol=0.1)


def test_a_sub_sequence_has_the_coefficients_of_its_own_posterior(x_T):
    # q(x_s | x_t, x_0) over skipped levels: the process whose two levels are s and t
    diffusion = GaussianDiffusion(BETAS)
    alpha_bar = np.cumprod(1 - BETAS)
    two = GaussianDiffusion(np.array([1 - alpha_bar[4], 1 - alpha_bar[11] / alpha_bar[4]]))
    walked = seeded(ddim, diffusion, lambda x_t, t: x_t.sin(), x_T, [12, 5, 0], 1)
    expected = seeded(ancestral, two, lambda x_t, t: x_t.sin(), x_T, 2)
    torch.testing.assert_close(walked, expected)


def test_ddim_without_noise_keeps_the_noise_it_came_with(x_T):
    # the same eps corrupts x_0 to every level the walk visits
    data = torch.arange(18.0).view(6, 3)
    diffusion = GaussianDiffusion(BETAS)
    visited = {}

    def predict_x0(x_t, t):
        visited[int(t[0])] = x_t
        return data

    start = diffusion.q_sample(data, torch.full((6,), T), x_T)
    ddim(diffusion, predict_x0, start, evenly_spaced(T, 4), eta=0)
    for level, x_t in visited.items():
        expected = diffusion.q_sample(data, torch.full((6,), level), x_T)
        close(x_t, expected, rel=1e-4)


def test_walking_standard_normal_data_back_gives_standard_normal_data():
    torch.manual_seed(0)
    x_T = torch.randn(40000, 1)
    spread = {}
    for process in (BetaVarianceDiffusion, GaussianDiffusion):
        diffusion = process(SCHEDULES["trunc_lin"](T))
        signal = diffusion.signal[:, None]
        x_0 = ancestral(diffusion, lambda x_t, t, signal=signal: signal[t] * x_t, x_T, T)
        spread[process] = x_0.var().item()
    # exact but for the step to the data, which has no noise
    exact = 1 - float(BetaVarianceDiffusion(SCHEDULES["trunc_lin"](T)).beta[1])
    assert spread[BetaVarianceDiffusion] == pytest.approx(exact, abs=0.025)
    assert spread[GaussianDiffusion] < exact - 0.05


def test_a_walk_without_noise_is_the_same_twice(x_T):
    diffusion = GaussianDiffusion(BETAS)
    once = ancestral(diffusion, denoiser, x_T, T, noise=False)
    assert torch.equal(once, ancestral(diffusion, denoiser, x_T, T, noise=False))
    assert not torch.equal(once, ancestral(diffusion, denoiser, x_T, T))


def test_without_corruption_a_walk_applies_the_denoiser_t_times(x_T):
    diffusion = GaussianDiffusion(np.zeros(3))
    expected = x_T.sin().sin().sin()
    predict_x0 = lambda x_t, t: x_t.sin()  # noqa: E731
    torch.testing.assert_close(ancestral(diffusion, predict_x0, x_T, 3), expected)
    torch.testing.assert_close(ddim(diffusion, predict_x0, x_T, [3, 2, 1, 0], eta=1), expected)


def test_a_walk_records_no_gradient(x_T):
    weight = torch.ones(3, requires_grad=True)
    predict_x0 = lambda x_t, t: x_t * weight  # noqa: E731
    assert not ancestral(GaussianDiffusion(BETAS), predict_x0, x_T, T).requires_grad


def test_evenly_spaced_levels_run_from_the_top_to_the_data():
    assert evenly_spaced(16, 4) == [16, 12, 8, 4, 0]
    assert evenly_spaced(5, 5) == [5, 4, 3, 2, 1, 0]
    assert evenly_spaced(500, 1) == [500, 0]
    for count in (0, 6):
        with pytest.raises(ValueError, match=f"{count} steps over 5 levels"):
            evenly_spaced(5, count)


@pytest.mark.parametrize("levels", [[4, 2], [4, 4, 0], [2, 4, 0]])
def test_levels_that_do_not_fall_to_the_data_are_refused(levels, x_T):
    with pytest.raises(ValueError, match="do not fall to 0"):
        ddim(GaussianDiffusion(BETAS), denoiser, x_T, levels, eta=0)
