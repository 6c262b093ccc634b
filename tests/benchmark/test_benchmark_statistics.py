"""The statistics are those of scipy where scipy has them, and right where it has not."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

pytest.importorskip("statsmodels", reason="the extra 'benchmark' is not installed")

from recbole_diffusion.benchmark.report import statistics  # noqa: E402


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def series(values, users=None):
    """A metric by (user, row), one row per user if no users are given."""
    users = range(len(values)) if users is None else users
    frame = pd.DataFrame({"user": [f"u{user}" for user in users], "value": values})
    frame["row"] = frame.groupby("user").cumcount()
    return frame.set_index(["user", "row"])["value"]


def draws(seed, *shape):
    return np.random.default_rng(seed).normal(0.3, 0.1, shape)


# ---------------------------------------------------------------- seeds and samplings
def test_the_interval_over_seeds_is_the_t_interval_of_scipy():
    values = [0.11, 0.14, 0.12, 0.17]
    spread = statistics.over_seeds(values)
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (spread.low, spread.high) == pytest.approx(expected)
    assert spread.mean == pytest.approx(0.135) and spread.n == 4
    assert spread.sd == pytest.approx(pd.Series(values).std())


def test_one_seed_has_a_mean_and_no_spread():
    assert statistics.over_seeds([0.2]) == (0.2, None, None, None, 1)
    with pytest.raises(ValueError, match="at least one seed"):
        statistics.over_seeds([])


def test_seeds_of_a_deterministic_model_have_no_spread():
    spread = statistics.over_seeds([0.25] * 3)
    assert spread.sd == 0 and spread.low == spread.high == spread.mean == 0.25


def test_the_spread_within_seeds_is_the_pooled_deviation_and_ignores_the_seeds():
    within = [[0.1, 0.2, 0.3], [0.5, 0.5, 0.8]]
    pooled = math.sqrt((np.var(within[0], ddof=1) + np.var(within[1], ddof=1)) / 2)
    assert statistics.within_seeds(within) == pytest.approx(pooled)
    shifted = [within[0], [value + 7 for value in within[1]]]
    assert statistics.within_seeds(shifted) == pytest.approx(pooled)
    wider = [within[0], [2 * value for value in within[1]]]  # the control
    assert statistics.within_seeds(wider) > 1.2 * pooled


def test_two_spreads_are_recovered_from_data_made_with_them():
    rng = np.random.default_rng(5)
    samplings = rng.normal(0.3, 0.03, (400, 1)) + rng.normal(0, 0.01, (400, 3))
    assert statistics.within_seeds(samplings) == pytest.approx(0.01, rel=0.1)
    between = statistics.over_seeds(samplings.mean(axis=1)).sd
    assert between == pytest.approx(math.sqrt(0.03**2 + 0.01**2 / 3), rel=0.1)


def test_one_sampling_a_seed_says_nothing_about_sampling():
    assert statistics.within_seeds([[0.1], [0.2]]) is None
    assert statistics.within_seeds([[0.1], [0.2, 0.2]]) == pytest.approx(0)


# ---------------------------------------------------------------- users
def test_with_one_row_a_user_the_interval_is_the_t_interval_of_scipy():
    values = draws(1, 80)
    found = statistics.over_users(series(values))
    expected = stats.t.interval(0.95, 79, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.mean == pytest.approx(values.mean())


@pytest.mark.parametrize("shift", [0, 0.01, -0.02])
def test_with_one_row_a_user_the_test_is_the_paired_t_test_of_scipy(shift):
    first, second = draws(2, 2, 120)
    second = second + shift
    found = statistics.compare(series(first), series(second), ("a", "b"))
    expected = stats.ttest_rel(first, second)
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.effect == pytest.approx(expected.statistic / math.sqrt(120))  # t = d sqrt(n)
    assert (found.first, found.second, found.rows, found.users) == ("a", "b", 120, 120)


def test_a_planted_better_model_is_better_in_either_order():
    worse = draws(3, 200)
    better = worse + 0.02 + np.random.default_rng(4).normal(0, 0.05, 200)
    one = statistics.compare(series(better), series(worse), ("better", "worse"))
    other = statistics.compare(series(worse), series(better), ("worse", "better"))
    assert one.difference > 0 and one.effect > 0 and one.low > 0 and one.p < 0.001
    assert other.difference == -one.difference and other.effect == -one.effect
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low))
    assert other.p == pytest.approx(one.p)


def test_the_order_of_the_rows_changes_nothing():
    first, second = draws(5, 2, 60)
    one = statistics.compare(series(first), series(second), ("a", "b"))
    shuffled = series(second).sample(frac=1, random_state=0)
    other = statistics.compare(series(first), shuffled, ("a", "b"))
    assert other.p == pytest.approx(one.p) and other.effect == pytest.approx(one.effect)
    unpaired = series(shuffled.to_numpy())  # the control
    assert statistics.compare(series(first), unpaired, ("a", "b")).p != pytest.approx(one.p)


def test_rows_of_one_user_do_not_count_as_many_users():
    users = np.arange(50)
    values = draws(6, 50) - 0.28
    once = statistics.compare(series(values), series(0 * values), ("a", "b"))
    often = series(np.repeat(values, 20), np.repeat(users, 20))
    found = statistics.compare(often, 0 * often, ("a", "b"))
    assert (found.rows, found.users) == (1000, 50)
    assert found.p == pytest.approx(once.p, rel=0.01)
    assert (found.low, found.high) == pytest.approx((once.low, once.high), rel=0.01)
    assert stats.ttest_1samp(often, 0).pvalue < once.p / 100  # the control: rows as if independent


def test_the_test_is_wrong_in_5_of_100_cases_where_rows_of_a_user_depend():
    rng = np.random.default_rng(7)
    users = np.repeat(np.arange(60), 5)
    wrong = naive = 0
    for _ in range(200):
        values = series(rng.normal(0, 1, 60)[users] + rng.normal(0, 1, 300), users)
        wrong += statistics.compare(values, 0 * values, ("a", "b")).p < 0.05
        naive += stats.ttest_1samp(values, 0).pvalue < 0.05
    assert 2 <= wrong <= 20
    assert naive > 25  # the control


def test_identical_lists_do_not_differ():
    values = series(draws(8, 30))
    found = statistics.compare(values, values, ("a", "b"))
    assert (found.difference, found.p, found.effect) == (0, 1, 0)
    assert found.low == found.high == 0
    always = statistics.compare(values * 0 + 0.5, values * 0, ("a", "b"))  # the control
    assert (always.difference, always.p, always.effect) == (0.5, 0, math.inf)


def test_one_user_has_a_mean_and_no_test():
    rows = series([0.1, 0.3], ["x", "x"])
    assert statistics.over_users(rows) == (pytest.approx(0.2), None, None)
    with pytest.raises(ValueError, match="1 users in a and b; a test needs at least 2"):
        statistics.compare(rows, rows, ("a", "b"))


# ---------------------------------------------------------------- means over seeds
def frame(values, users=None):
    return series(values, users).rename("ndcg@10").reset_index()


def test_seed_means_are_taken_row_by_row_whatever_the_order_of_a_file():
    first, second = draws(9, 2, 40)
    files = [frame(first), frame(second).sample(frac=1, random_state=1)]
    means = statistics.seed_means(files, "a")["ndcg@10"]
    expected = series((first + second) / 2)
    np.testing.assert_allclose(means.reindex(expected.index), expected)
    assert means.var() < 0.8 * np.var(first)  # the control: it is not the first file


def test_other_rows_are_refused_with_the_models_and_how_many_there_are():
    first, second = series(draws(10, 30)), series(draws(10, 28))
    message = r"SASRec has 30 rows and Pop 28, of which 28 are the same"
    with pytest.raises(ValueError, match=message):
        statistics.compare(first, second, ("SASRec", "Pop"))
    renamed = second.rename(index={"u3": "other"}, level="user")
    with pytest.raises(ValueError, match="28 rows and Pop 28, of which 27 are the same"):
        statistics.compare(second, renamed, ("SASRec", "Pop"))
    with pytest.raises(ValueError, match=r"Pop has 30 rows and Pop \(another seed\) 28"):
        statistics.seed_means([frame(draws(0, 30)), frame(draws(0, 28))], "Pop")


def test_a_row_that_stands_twice_is_refused():
    twice = pd.concat([frame([0.1, 0.2]), frame([0.3])])
    with pytest.raises(ValueError, match=r"Pop has the row \('u0', 0\) more than once"):
        statistics.seed_means([twice], "Pop")


# ---------------------------------------------------------------- Holm
def test_holm_is_the_step_down_correction():
    ps = [0.04, 0.001, 0.03, 0.5]
    family = [statistics.Comparison("a", str(p), 0, 0, 0, p, None, 0, 9, 9) for p in ps]
    found = statistics.holm(family)
    # By hand: 4 * .001; 3 * .03; 2 * .04, not below the one before; .5.
    assert [one.holm for one in found] == pytest.approx([0.09, 0.004, 0.09, 0.5])
    assert [one.second for one in found] == [str(p) for p in ps]
    assert statistics.holm(family[:1])[0].holm == pytest.approx(0.04)
    assert statistics.holm([]) == []
