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
    return GaussianDiffusion(SCHEDULES["trunc_cos"](T))


@pytest.fixture
def data():
    torch.manual_seed(3)
    x0 = torch.randn(T + 1, 3, 2)
    return x0, torch.randn_like(x0), torch.arange(T + 1)


@pytest.mark.parametrize("name", [name for name in OURS if name.startswith("diffrec")])
def test_the_posterior_has_the_published_coefficients(shared_path, name):
    numbers = json.loads(shared_path("reference/numbers.json").read_text())["schedules"][name]
    diffusion = GaussianDiffusion(betas_of(name, numbers["T"]))
    for table in ("posterior_x0", "posterior_xt"):
        ours = getattr(diffusion, table)[1:].numpy()
        np.testing.assert_allclose(ours, numbers[table], rtol=1e-5, atol=1e-7)


def test_level_0_is_the_data(diffusion, data):
    x0, eps, _ = data
    t = torch.zeros(len(x0), dtype=torch.long)
    assert torch.equal(diffusion.q_sample(x0, t, eps), x0)
    assert not torch.allclose(diffusion.q_sample(x0, t + 1, eps), x0, atol=1e-3)


def test_many_small_steps_are_the_one_large_step(diffusion):
    mean, variance = torch.tensor(1.0), torch.tensor(0.0)
    for t in range(T + 1):
        kept = 1 - diffusion.beta[t]
        mean, variance = mean * kept.sqrt(), variance * kept + diffusion.beta[t]
        torch.testing.assert_close(mean, diffusion.signal[t])
        torch.testing.assert_close(variance, diffusion.noise[t].square())


def test_signal_and_noise_share_the_variance(diffusion):
    torch.testing.assert_close(
        diffusion.signal.square() + diffusion.noise.square(), torch.ones(T + 1)
    )


def test_the_posterior_is_that_of_bayes(diffusion, data):
    x0, x_t, t = (part[1:] for part in data)
    mean, variance = diffusion.posterior(x0, x_t, t)
    # prior q(x_{t-1} | x_0), likelihood q(x_t | x_{t-1}); at t = 1 the prior is a point
    for i in range(1, T):
        level = int(t[i])
        beta = diffusion.beta[level].double()
        prior = diffusion.noise[level - 1].double().square()
        precision = 1 / prior + (1 - beta) / beta
        by_bayes = (
            diffusion.signal[level - 1] * x0[i] / prior + (1 - beta).sqrt() * x_t[i] / beta
        ) / precision
        close(mean[i], by_bayes.float())
        torch.testing.assert_close(variance[i].squeeze(), (1 / precision).float())


def test_the_last_step_arrives_without_noise(diffusion, data):
    x0, x_t, _ = data
    mean, variance = diffusion.posterior(x0, x_t, torch.ones(len(x0), dtype=torch.long))
    assert torch.equal(mean, x0) and not variance.any()


def test_level_0_stays_where_it_is(diffusion, data):
    x0, x_t, _ = data
    mean, variance = diffusion.posterior(x0, x_t, torch.zeros(len(x0), dtype=torch.long))
    assert torch.equal(mean, x_t) and not variance.any()


def test_data_and_noise_are_found_from_each_other(diffusion, data):
    x0, eps, t = data
    x_t = diffusion.q_sample(x0, t, eps)
    close(diffusion.x0_from_eps(x_t, t, eps), x0, rel=1e-4)
    found = diffusion.eps_from_x0(x_t, t, x0)
    close(found[1:], eps[1:], rel=1e-4)
    assert not found[0].any()


def test_the_larger_variance_is_exact_for_standard_normal_data():
    # all x_t ~ N(0, 1), so q(x_{t-1} | x_t) is N(sqrt(1 - beta_t) x_t, beta_t); E[x_0 | x_t] known
    diffusion = BetaVarianceDiffusion(SCHEDULES["trunc_lin"](T))
    t = torch.arange(1, T + 1)
    x_t = torch.ones(T, 1)
    mean, variance = diffusion.reverse(diffusion.signal[1:, None] * x_t, x_t, t)
    torch.testing.assert_close(mean[:, 0], (1 - diffusion.beta[1:]).sqrt())
    torch.testing.assert_close(variance[1:, 0], diffusion.beta[2:])
    assert variance[0] == 0
    # the other variance is smaller, and both share the mean
    small, smaller = GaussianDiffusion(SCHEDULES["trunc_lin"](T)).reverse(x_t, x_t, t)
    torch.testing.assert_close(small, diffusion.reverse(x_t, x_t, t)[0])
    assert (smaller[1:] < variance[1:]).all()


def test_without_corruption_every_level_is_the_data(data):
    x0, eps, t = data
    diffusion = GaussianDiffusion(np.zeros(T))
    assert torch.equal(diffusion.q_sample(x0, t, eps), x0)
    mean, variance = diffusion.posterior(x0[1:], eps[1:], t[1:])
    assert torch.equal(mean, x0[1:]) and not variance.any()
    assert not diffusion.eps_from_x0(x0, t, x0).any()


def test_tables_have_a_row_a_level_and_are_not_saved(diffusion):
    tables = dict(diffusion.named_buffers())
    assert len(tables) == 8 and not diffusion.state_dict()
    for name, table in tables.items():
        assert table.shape == (T + 1,) and table.dtype == torch.float32, name
        assert table.isfinite().all(), name


def test_betas_that_are_no_variances_are_refused():
    with pytest.raises(ValueError, match="at level 2 of 2"):
        GaussianDiffusion(np.array([0.1, 1.5]))
