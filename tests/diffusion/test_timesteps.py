"""Samplers of levels: their distributions, their weights, their memory."""

import json
from collections import deque

import pytest
import torch
from scipy.stats import chisquare

from recbole_diffusion.diffusion.timesteps import Beta, LossSecondMoment, PowerLaw, Uniform

T = 16


def p_value(sampler, expected, draws=20000):
    """Of the sampler's frequencies if ``expected`` is the distribution."""
    torch.manual_seed(5)
    t, _ = sampler.sample(draws)
    assert t.min() >= 1 and t.max() <= sampler.steps
    seen = torch.bincount(t, minlength=sampler.steps + 1)[1:].double()
    p = expected[1:].double()
    return chisquare(seen.numpy(), (p / p.sum() * draws).numpy()).pvalue


def filled(steps=5, history=10):
    torch.manual_seed(0)
    sampler = LossSecondMoment(steps, history, uniform_share=0.001)
    t = torch.arange(1, steps + 1).repeat(history)
    sampler.update(t, torch.rand(len(t)) * t)
    return sampler


@pytest.mark.parametrize("a, b", [(1, 1), (0.5, 1), (2, 1), (1, 2), (0.3, 1.5)])
def test_beta_has_the_published_probabilities(shared_path, a, b):
    published = json.loads(shared_path("reference/numbers.json").read_text())
    expected = torch.tensor(published["beta_sampler_pmf_T16"][f"a={a},b={b}"])
    p = Beta(T, a, b).probabilities
    assert p[0] == 0
    torch.testing.assert_close(p[1:], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "sampler",
    [
        Uniform(T),
        Beta(T, 0.5, 1),
        Beta(T, 2, 1),
        Beta(T, 0.7, 1.5),
        PowerLaw(T, 0.5),
        PowerLaw(T, 3),
        filled(),
    ],
)
def test_levels_are_drawn_as_often_as_the_probabilities_say(sampler):
    torch.testing.assert_close(sampler.probabilities.sum(), torch.tensor(1.0))
    expected = sampler.probabilities + 1e-12  # b > 1 never draws T
    assert p_value(sampler, expected) > 1e-3
    # a distribution with two levels exchanged is told apart
    wrong = expected.clone()
    wrong[1], wrong[4] = expected[4] * 1.2, expected[1] * 0.8
    assert p_value(sampler, wrong) < 1e-3


def test_beta_of_ones_is_uniform_and_prefers_the_side_it_is_told():
    torch.testing.assert_close(Beta(T, 1, 1).probabilities, Uniform(T).probabilities)
    assert (Beta(T, 0.5, 1).probabilities[1:].diff() < 0).all()
    assert (Beta(T, 2, 1).probabilities[1:].diff() > 0).all()


@pytest.mark.parametrize(
    "a, b, reason",
    [
        (1, 0.5, r"Beta\(1, 0.5\) has infinite density at t = T"),
        (1, float("nan"), "b must be"),
        (0, 1, r"Beta\(0, 1\) is not a distribution"),
        (-1, 1, "a must be"),
    ],
)
def test_a_beta_without_a_density_is_refused(a, b, reason):
    with pytest.raises(ValueError, match=reason):
        Beta(T, a, b)


def test_a_beta_without_mass_on_the_only_level_is_refused():
    assert Beta(1, 2, 1).probabilities.tolist() == [0, 1]
    with pytest.raises(ValueError, match="the only level"):
        Beta(1, 1, 2)


@pytest.mark.parametrize("build", [Uniform, lambda steps: PowerLaw(steps, 2)])
def test_no_level_is_refused(build):
    with pytest.raises(ValueError, match="at least 1"):
        build(0)


@pytest.mark.parametrize("power", [0.3, 1, 2.5, 10])
def test_a_power_law_is_that_of_a_uniform_number_s_root(power):
    p = PowerLaw(T, power).probabilities
    assert p[0] == 0
    # ceil(T u^(1 / p)) is at most t where u is at most (t / T)^p
    below = (torch.arange(1, T + 1) / T) ** power
    torch.testing.assert_close(p[1:].cumsum(0), below, rtol=0, atol=1e-6)
    # at many evenly spaced numbers in place of random ones
    u = (torch.arange(100000, dtype=torch.float64) + 0.5) / 100000
    levels = (T * u ** (1 / power)).ceil().long()
    share = torch.bincount(levels, minlength=T + 1) / len(u)
    torch.testing.assert_close(p, share, rtol=0, atol=2e-5)
    other = PowerLaw(T, 1.2 * power).probabilities
    assert not torch.allclose(other, p, atol=2e-3)


def test_a_power_law_of_one_is_uniform_and_larger_powers_prefer_the_noise():
    torch.testing.assert_close(PowerLaw(T, 1).probabilities, Uniform(T).probabilities)
    assert (PowerLaw(T, 0.5).probabilities[1:].diff() < 0).all()
    assert (PowerLaw(T, 2).probabilities[1:].diff() > 0).all()
    assert PowerLaw(1, 10).probabilities.tolist() == [0, 1]


@pytest.mark.parametrize("power", [0, -1, float("nan"), float("inf")])
def test_a_power_that_gives_no_distribution_is_refused(power):
    with pytest.raises(ValueError, match=f"a power of {power}; it must be finite and above 0"):
        PowerLaw(T, power)


@pytest.mark.parametrize("sampler", [Uniform(5), Beta(5, 0.5, 1), PowerLaw(5, 10)])
def test_a_chosen_distribution_is_not_weighted_away(sampler):
    t, weight = sampler.sample(32)
    sampler.update(t, torch.rand(32))
    assert torch.equal(weight, torch.ones(32))
    assert not sampler.state_dict()


def test_importance_sampling_has_the_published_probabilities(shared_path):
    published = json.loads(shared_path("reference/numbers.json").read_text())
    published = published["second_moment_sampler"]
    history = torch.tensor(published["history"])  # [5, 10]
    sampler = LossSecondMoment(5, 10, uniform_share=0.001)
    for losses in history.T:
        sampler.update(torch.arange(1, 6), losses)
    expected = torch.tensor(published["probabilities"])
    torch.testing.assert_close(sampler.probabilities[1:], expected, rtol=0, atol=1e-5)


def test_the_memory_is_a_queue_a_level():
    torch.manual_seed(1)
    sampler = LossSecondMoment(4, 3, uniform_share=0.0)
    queues = {t: deque(maxlen=3) for t in range(1, 5)}
    for size in (1, 2, 40, 5, 7, 3):
        t, losses = torch.randint(1, 5, (size,)), torch.rand(size)
        sampler.update(t, losses)
        for level, loss in zip(t.tolist(), losses.tolist()):
            queues[level].append(loss)
        for level, queue in queues.items():
            kept = [loss for loss in sampler.losses[level].tolist() if loss]
            assert sorted(kept) == sorted(queue)
    assert sampler.seen[1:].sum() == 58 and not sampler.losses[0].any()


def test_levels_are_alike_until_every_memory_is_full():
    sampler = LossSecondMoment(2, 3, uniform_share=0.0)
    sampler.update(torch.tensor([1, 1, 1, 2, 2]), torch.tensor([4.0, 4.0, 4.0, 2.0, 2.0]))
    assert sampler.probabilities.tolist() == [0, 0.5, 0.5]
    sampler.update(torch.tensor([2]), torch.tensor([2.0]))
    torch.testing.assert_close(sampler.probabilities, torch.tensor([0, 2 / 3, 1 / 3]))


def test_weights_keep_the_expectation_of_the_loss():
    sampler = filled()
    torch.manual_seed(2)
    t, weight = sampler.sample(64)
    p = sampler.probabilities
    torch.testing.assert_close(weight * p[t] * sampler.steps, torch.ones(64))
    assert weight.std() > 0.1


def test_the_memory_is_saved_and_restored():
    sampler, restored = filled(), LossSecondMoment(5, 10, uniform_share=0.001)
    assert not torch.allclose(sampler.probabilities, restored.probabilities)
    restored.load_state_dict(sampler.state_dict())
    assert torch.equal(sampler.probabilities, restored.probabilities)


def test_losses_that_are_all_zero_do_not_break_the_distribution():
    sampler = LossSecondMoment(2, 1, uniform_share=0.0)
    sampler.update(torch.tensor([1, 2]), torch.zeros(2))
    assert sampler.probabilities.tolist() == [0, 0.5, 0.5]


@pytest.mark.parametrize("history, share", [(0, 0.1), (1, -0.1), (1, 1.1)])
def test_a_memory_that_cannot_be_is_refused(history, share):
    with pytest.raises(ValueError):
        LossSecondMoment(5, history, share)
