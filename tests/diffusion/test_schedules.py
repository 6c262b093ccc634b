"""Schedules: the published numbers, and what is refused."""

import json
import subprocess
import sys

import numpy as np
import pytest

from recbole_diffusion.diffusion.schedules import SCHEDULES, check_betas, with_first_beta

# name in the reference -> (name here, further arguments, overwrite beta_1)
OURS = {
    "icddt/trunc_lin/T=16": ("trunc_lin", {}, False),
    "icddt/trunc_lin/T=32": ("trunc_lin", {}, False),
    "icddt/cosine/T=16": ("cosine", {}, False),
    "icddt/sqrt/T=16": ("sqrt", {}, False),
    "icddt/trunc_cos/T=16": ("trunc_cos", {}, False),
    "icddt/pw_lin/T=32": ("pw_lin", {}, False),
    "icddt/linear/T=32": ("linear", {}, False),
    "diffrec/linear-var/T=40,scale=0.005,min=0.005,max=0.01,beta_fixed=True": (
        "linear_variance",
        {"scale": 0.005, "minimum": 0.005, "maximum": 0.01},
        True,
    ),
    "diffrec/linear-var/T=5,scale=0.0001,min=0.0005,max=0.005,beta_fixed=True": (
        "linear_variance",
        {"scale": 1e-4, "minimum": 5e-4, "maximum": 5e-3},
        True,
    ),
    "diffrec/linear-var/T=40,scale=0.005,min=0.005,max=0.02,beta_fixed=False": (
        "linear_variance",
        {"scale": 0.005, "minimum": 0.005, "maximum": 0.02},
        False,
    ),
    "diffrec/linear/T=5,scale=0.1,min=0.001,max=0.01,beta_fixed=True": (
        "linear_beta",
        {"scale": 0.1, "minimum": 0.001, "maximum": 0.01},
        True,
    ),
    "diffrec/binomial/T=10,scale=0.5,min=0.001,max=0.01,beta_fixed=True": ("binomial", {}, True),
    "diffrec/linear-var/T=5,scale=0.5,min=0.001,max=0.01,beta_fixed=True": (
        "linear_variance",
        {"scale": 0.5, "minimum": 0.001, "maximum": 0.01},
        True,
    ),
    "dreamrec/linear/T=500": ("linear_fixed", {}, False),
    "dreamrec/exp/T=500": ("exp", {"minimum": 0.1, "maximum": 10}, False),
    "dreamrec/cosine/T=2000": ("cosine_clipped", {}, False),
}


def betas_of(name, steps):
    schedule, arguments, first_fixed = OURS[name]
    betas = SCHEDULES[schedule](steps, **arguments)
    return with_first_beta(betas, 1e-5) if first_fixed else betas


@pytest.fixture(scope="module")
def published(shared_path):
    return json.loads(shared_path("reference/numbers.json").read_text())["schedules"]


def test_every_published_schedule_is_compared(published):
    assert set(OURS) == set(published)


@pytest.mark.parametrize("name", OURS)
def test_a_schedule_gives_the_published_numbers(published, name):
    numbers = published[name]
    betas = betas_of(name, numbers["T"])
    assert betas.dtype == np.float64 and betas.shape == (numbers["T"],)
    if numbers["betas"] is not None:
        np.testing.assert_allclose(betas, numbers["betas"], rtol=1e-5, atol=0)
    # DreamRec's tables are float32
    tolerance = 5e-4 if numbers["source"] == "DreamRec" else 1e-5
    alpha_bar = np.cumprod(1 - betas)
    for level, (beta, product) in numbers["samples"].items():
        np.testing.assert_allclose(betas[int(level) - 1], beta, rtol=tolerance)
        np.testing.assert_allclose(alpha_bar[int(level) - 1], product, rtol=tolerance)


def test_linear_variance_is_linear_in_the_variance():
    betas = SCHEDULES["linear_variance"](7, scale=0.5, minimum=0.1, maximum=0.4)
    variance = 1 - np.cumprod(1 - betas)
    np.testing.assert_allclose(variance, 0.5 * np.linspace(0.1, 0.4, 7), rtol=1e-12)


def test_one_level_takes_the_minimum():
    np.testing.assert_allclose(SCHEDULES["linear_variance"](1, 0.5, 0.1, 0.4), [0.05])


def test_a_beta_above_one_is_refused_with_its_level():
    SCHEDULES["linear"](20)
    with pytest.raises(ValueError, match=r"schedule linear with T = 16.*at level 13 of 16"):
        SCHEDULES["linear"](16)


@pytest.mark.parametrize("betas", [[0.1, 0.0], [0.1, -0.1], [0.1, float("nan")]])
def test_a_beta_that_is_no_variance_is_refused_with_its_level(betas):
    with pytest.raises(ValueError, match="at level 2 of 2"):
        check_betas(betas)


@pytest.mark.parametrize("betas", [[], [[0.1]]])
def test_betas_of_no_level_are_refused(betas):
    with pytest.raises(ValueError, match="one beta a level"):
        check_betas(betas)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "binomial"])
def test_no_level_is_refused(schedule):
    with pytest.raises(ValueError, match="at least 1"):
        SCHEDULES[schedule](0)


def test_too_few_levels_for_two_pieces_are_refused():
    with pytest.raises(ValueError, match="T = 10"):
        SCHEDULES["pw_lin"](10)


def test_no_corruption_at_all_is_legal_and_stays_so():
    betas = SCHEDULES["linear_variance"](5, scale=0, minimum=0.1, maximum=0.4)
    assert not betas.any()
    assert not with_first_beta(betas, 1e-5).any()


def test_the_mathematics_does_not_import_recbole():
    code = (
        "import sys\n"
        "from recbole_diffusion.diffusion import affine, gaussian, reverse, schedules, spherical\n"
        "from recbole_diffusion.diffusion import timesteps\n"
        "print('recbole' in sys.modules, 'torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["False", "True"]
