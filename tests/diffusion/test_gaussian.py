"""The Gaussian process: closed forms, Bayes, and the published tables."""

import json

import numpy as np
import pytest
import torch
from rounding import close
from test_schedules import OURS, betas_of

from recbole_diffusion.diffusion.gaussian import BetaVarianceDiffusion, GaussianDiffusion
from recbole_diffusion.diffusion.schedules import SCHEDULES

T = 16


@pytest.fixture
def diffusion():
    return GaussianDiffusion.from_betas(SCHEDULES["trunc_cos"](T))


@pytest.fixture
def data():
    torch.manual_seed(3)
    x0 = torch.randn(T + 1, 3, 2)
    return x0, torch.randn_like(x0), torch.arange(T + 1)


@pytest.mark.parametrize("name", [name for name in OURS if name.startswith("diffrec")])
def test_the_posterior_has_the_published_coefficients(shared_path, name):
    numbers = json.loads(shared_path("reference/numbers.json").read_text())["schedules"][name]
    diffusion = GaussianDiffusion.from_betas(betas_of(name, numbers["T"]))
    x0, xt, _ = zip(*(diffusion.posterior(t, t - 1) for t in range(1, diffusion.steps + 1)))
    np.testing.assert_allclose(x0, numbers["posterior_x0"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(xt, numbers["posterior_xt"], rtol=1e-5, atol=1e-7)


def test_level_0_is_the_data(diffusion, data):
    x0, eps, _ = data
    t = torch.zeros(len(x0), dtype=torch.long)
    assert torch.equal(diffusion.q_sample(x0, t, eps), x0)
    assert not torch.allclose(diffusion.q_sample(x0, t + 1, eps), x0, atol=1e-3)


def test_many_small_steps_are_the_one_large_step(diffusion):
    mean, variance = torch.tensor(1.0), torch.tensor(0.0)
    for t in range(1, T + 1):
        a, added = diffusion.transition(t, t - 1)
        mean, variance = mean * a, variance * a**2 + added
        torch.testing.assert_close(mean, diffusion.signal[t])
        torch.testing.assert_close(variance, diffusion.noise[t].square())


def test_signal_and_noise_share_the_variance(diffusion):
    torch.testing.assert_close(
        diffusion.signal.square() + diffusion.noise.square(), torch.ones(T + 1)
    )


@pytest.mark.parametrize("skipped", [0, 1, 5])
def test_the_posterior_is_that_of_bayes(diffusion, skipped):
    # prior q(x_s | x_0), likelihood q(x_t | x_s); at s = 0 the prior is a point
    alpha_bar = np.cumprod(np.append(1.0, 1 - SCHEDULES["trunc_cos"](T)))
    for t in range(2 + skipped, T + 1):
        s = t - 1 - skipped
        a = alpha_bar[t] / alpha_bar[s]
        precision = 1 / (1 - alpha_bar[s]) + a / (1 - a)
        by_bayes = (
            alpha_bar[s] ** 0.5 / (1 - alpha_bar[s]) / precision,
            a**0.5 / (1 - a) / precision,
            1 / precision,
        )
        assert diffusion.posterior(t, s) == pytest.approx(by_bayes, rel=1e-9)
        assert diffusion.posterior(t, s) != pytest.approx(diffusion.posterior(t, 0), rel=0.01)


def test_the_last_step_arrives_without_noise(diffusion, data):
    x0, x_t, _ = data
    for level in (1, 7, T):
        assert torch.equal(diffusion.reverse_step(x0, x_t, level, 0, torch.randn_like(x0)), x0)
    assert not torch.allclose(diffusion.reverse_step(x0, x_t, 7, 1, None), x0, atol=1e-3)


def test_a_step_to_the_same_level_stays_where_it_is(diffusion, data):
    x0, x_t, _ = data
    for level in (1, 7, T):
        same = diffusion.reverse_step(x0, x_t, level, level, torch.randn_like(x0))
        torch.testing.assert_close(same, x_t)


def test_a_process_of_other_tables_has_steps_of_its_own():
    # a straight flow: from x_t and x_0 the noise is known, and so is where it was
    u = np.arange(T + 1) / T
    flow = GaussianDiffusion(1 - u, u)
    for level, lower in ((T, 9), (9, 8), (8, 2)):
        a, added = flow.transition(level, lower)
        t, s = level / T, lower / T
        assert a == pytest.approx((1 - t) / (1 - s))
        assert a**2 * s**2 + added == pytest.approx(t**2)
        from_x0, from_xt, variance = flow.posterior(level, lower)
        # marginally over x_t: q(x_s | x_0)
        assert from_x0 + from_xt * (1 - t) == pytest.approx(1 - s)
        assert from_xt**2 * t**2 + variance == pytest.approx(s**2)
    assert flow.start(torch.ones(1)) == 1


@pytest.mark.parametrize(
    "signal, noise, message",
    [
        ([1, 0.5], [0, 0.5, 1], "are not .T . 1. each"),
        ([0.9, 0.5], [0, 0.5], "level 0 has signal 0.9, noise 0"),
        ([1, 0.5], [0.1, 0.5], "level 0 has signal 1, noise 0.1"),
        ([1, -0.5], [0, 0.5], "at least 0 at every level"),
        ([1, 0.5], [0, np.nan], "finite"),
        ([1, 0.5, 0.8], [0, 0.5, 0.5], "level 2 has more signal than the level below"),
    ],
)
def test_tables_that_no_chain_of_steps_has_are_refused(signal, noise, message):
    with pytest.raises(ValueError, match=message):
        GaussianDiffusion(np.array(signal), np.array(noise))
    GaussianDiffusion(np.array([1, 0.8, 0.5]), np.array([0, 0.5, 0.5]))


def test_data_and_noise_are_found_from_each_other(diffusion, data):
    x0, eps, t = data
    x_t = diffusion.q_sample(x0, t, eps)
    close(diffusion.x0_from_eps(x_t, t, eps), x0, rel=1e-4)
    found = diffusion.eps_from_x0(x_t, t, x0)
    close(found[1:], eps[1:], rel=1e-4)
    assert not found[0].any()


def test_the_larger_variance_is_exact_for_standard_normal_data():
    # all x_t ~ N(0, 1), so q(x_{t-1} | x_t) is N(sqrt(1 - beta_t) x_t, beta_t); E[x_0 | x_t] known
    betas = SCHEDULES["trunc_lin"](T)
    large, small = (p.from_betas(betas) for p in (BetaVarianceDiffusion, GaussianDiffusion))
    for t in range(1, T + 1):
        from_x0, from_xt, variance = large.coefficients(t, t - 1)
        mean = from_x0 * float(large.signal[t]) + from_xt
        assert mean == pytest.approx((1 - betas[t - 1]) ** 0.5, rel=1e-6)
        assert variance == pytest.approx(betas[t - 1] if t > 1 else 0)
        # the other variance is smaller, and both share the mean
        *factors, smaller = small.coefficients(t, t - 1)
        assert factors == [from_x0, from_xt] and (smaller < variance or t == 1)


def test_without_corruption_every_level_is_the_data(data):
    x0, eps, t = data
    diffusion = GaussianDiffusion.from_betas(np.zeros(T))
    assert torch.equal(diffusion.q_sample(x0, t, eps), x0)
    assert torch.equal(diffusion.reverse_step(x0, eps, 5, 4, torch.randn_like(x0)), x0)
    assert not diffusion.eps_from_x0(x0, t, x0).any()


def test_tables_have_a_row_a_level_and_are_not_saved(diffusion):
    tables = dict(diffusion.named_buffers())
    assert len(tables) == 2 and not diffusion.state_dict()
    for name, table in tables.items():
        assert table.shape == (T + 1,) and table.dtype == torch.float32, name
        assert table.isfinite().all(), name


def test_betas_that_are_no_variances_are_refused():
    with pytest.raises(ValueError, match="at level 2 of 2"):
        GaussianDiffusion.from_betas(np.array([0.1, 1.5]))
