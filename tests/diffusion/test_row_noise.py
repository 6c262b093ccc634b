"""Noise by row: standard normal, independent, and a row's own whatever stands beside it."""

import math

import pytest
import torch

from recbole_diffusion.diffusion.reverse import ancestral, ddim
from recbole_diffusion.diffusion.row_noise import RowNoise, by_row, normal_like, of_rows


def drawn(rows, *shape, seed=0, draws=1, **options):
    """The draws of some rows, shape: [draws, n_rows, ...]."""
    noise = RowNoise(seed, torch.as_tensor(rows))
    return torch.stack(
        [noise.like(torch.empty(len(rows), *shape), **options) for _ in range(draws)]
    )


def test_a_row_has_the_same_noise_in_every_batch():
    whole = drawn(range(2000), 7, 5, draws=3)
    for rows in ([0], [1999], [5, 3, 3], list(range(100, 900))):
        assert torch.allclose(drawn(rows, 7, 5, draws=3), whole[:, rows], atol=1e-6)
    with by_row(0, torch.tensor([5, 3])):
        assert torch.allclose(normal_like(torch.empty(2, 7, 5)), whole[0, [5, 3]], atol=1e-6)
        with of_rows(torch.tensor([1, 1, 0])):
            found = normal_like(torch.empty(3, 7, 5))
    assert torch.allclose(found, whole[1, [3, 3, 5]], atol=1e-6)
    torch.manual_seed(0)
    one = torch.randn(1, 7, 5)
    torch.manual_seed(0)
    assert not torch.allclose(torch.randn(3, 7, 5).flip(0)[:1], one)  # the control


@pytest.mark.parametrize("in_front", [False, True])
def test_padding_does_not_move_the_noise_of_a_row(in_front):
    short, long = (drawn([4, 9], n, 3, draws=2, padded_in_front=in_front) for n in (5, 8))
    kept = slice(3, None) if in_front else slice(5)
    assert torch.allclose(long[:, :, kept], short, atol=1e-6)
    other = slice(5) if in_front else slice(3, None)
    assert not torch.allclose(long[:, :, other], short)  # the control


def test_the_numbers_are_standard_normal():
    x = drawn(range(1000), 1000).double().flatten()
    n = len(x)
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert abs((x**power).mean() - expected) < 4.5 * math.sqrt(variance / n)
    cumulative = torch.special.ndtr(x.sort().values)
    steps = torch.arange(1, n + 1) / n
    distance = (cumulative - steps).abs().max()  # of Kolmogorov and Smirnov
    assert distance < 1.95 / math.sqrt(n)  # in 999 of 1,000 cases
    assert distance > 1e-5  # they are drawn, no grid
    assert 4.4 < x.abs().max() < 6  # of a million


@pytest.mark.parametrize("power", [1, 2])
def test_rows_draws_numbers_and_seeds_are_independent(power):
    x = torch.stack([drawn(range(200), 300, seed=seed, draws=4) for seed in (0, 1, 2024)])
    x = x if power == 1 else (x.square() - 1) / math.sqrt(2)  # [seeds, draws, rows, numbers]
    for dim in range(4):
        for shift in (1, 2):
            pairs = (x * x.roll(shift, dim)).mean()
            assert abs(pairs) < 4.5 / math.sqrt(x.numel() / 2)
    within = x.flatten(0, 2)  # [streams, numbers]
    correlations = within @ within.T / within.shape[1]
    correlations.fill_diagonal_(0)
    assert correlations.abs().max() < (0.36 if power == 1 else 0.7)  # of 3 million pairs


def test_every_draw_and_seed_gives_other_numbers():
    first, second = drawn([0, 1], 6, draws=2)
    assert len(torch.cat([first, second, drawn([0, 1], 6, seed=1)[0]]).unique()) == 36
    huge = drawn([0], 4, seed=2**70 + 5)
    assert torch.equal(huge, drawn([0], 4, seed=(2**70 + 5) % 2**64))


def test_noise_for_another_number_of_rows_is_refused_with_both():
    with by_row(0, torch.arange(3)), pytest.raises(ValueError, match=r"\[6, 2\].* 3 rows"):
        normal_like(torch.empty(6, 2))


def test_type_and_empty_shapes_are_kept():
    with by_row(0, torch.arange(3)):
        assert normal_like(torch.empty(3, 2, dtype=torch.float64)).dtype == torch.float64
        assert normal_like(torch.empty(3, 0)).shape == (3, 0)
        assert normal_like(torch.empty(3)).shape == (3,)
    with by_row(0, torch.arange(0)):
        assert normal_like(torch.empty(0, 4)).shape == (0, 4)


def test_outside_it_is_torchs_own_noise():
    torch.manual_seed(3)
    found = normal_like(torch.empty(4, 5))
    torch.manual_seed(3)
    assert torch.equal(found, torch.randn_like(found))


class Plain:
    """A process whose reverse step only adds the noise."""

    signal = noise = torch.ones(5)

    def reverse_step(self, x0, x_t, level, lower, eps):
        return x0 + eps

    def eps_from_x0(self, x_t, t, x0):
        return torch.zeros_like(x0)

    def posterior(self, level, lower):
        return 1.0, 0.0, 1.0


@pytest.mark.parametrize("step", [ancestral(Plain()), ddim(Plain(), eta=1.0)])
def test_the_steps_of_a_walk_draw_by_row(step):
    x = torch.zeros(3, 4)
    with by_row(7, torch.tensor([2, 0, 5])):
        found = [step(x, x, 2, 1), step(x, x, 1, 0)]
    assert torch.allclose(torch.stack(found), drawn([2, 0, 5], 4, seed=7, draws=2))
