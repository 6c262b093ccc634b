"""How sure is a number? Spreads over seeds and samplings, intervals and tests over users.

Letters: S training seeds, M samplings of a trained model, N rows.
"""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
import statsmodels.api as sm
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

CONFIDENCE = 0.95
KEYS = ["user", "row"]


class Spread(NamedTuple):
    """A figure over training seeds.

    Attributes:
        mean (float): the mean.
        sd (float): the sample standard deviation; None with one seed.
        low, high (float): the 95% t interval of the mean; None with one seed.
        n (int): how many seeds.
    """

    mean: float
    sd: float
    low: float
    high: float
    n: int


class Interval(NamedTuple):
    """A mean over rows with its 95% interval; ``low`` and ``high`` are None with one user."""

    mean: float
    low: float
    high: float


class Comparison(NamedTuple):
    """Two models on the same rows.

    Attributes:
        first, second (str): their labels.
        difference (float): mean of the first minus mean of the second; above 0 the first is better.
        low, high (float): its 95% interval.
        p (float): two-sided.
        holm (float): p after Holm's correction over its family; None before it.
        effect (float): Cohen's d_z, the mean of the paired differences over their deviation.
        rows, users (int): how many there are.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float
    holm: float
    effect: float
    rows: int
    users: int


def over_seeds(values):
    """Sums up one figure of several runs that differ in the training seed alone.

    Args:
        values (list of float): one per seed, the mean over samplings where a model samples.
            Shape: [S].

    Returns:
        Spread: mean, deviation and interval.

    Raises:
        ValueError: there is no value.
    """
    if not len(values):
        raise ValueError("no values: a mean needs at least one seed")
    mean = float(np.mean(values))
    if len(values) == 1:
        return Spread(mean, None, None, None, 1)
    low, high = DescrStatsW(values).tconfint_mean(1 - CONFIDENCE)
    return Spread(mean, float(np.std(values, ddof=1)), float(low), float(high), len(values))


def within_seeds(samplings):
    """The spread over samplings within a trained model, pooled over the training seeds.

    It is kept apart from ``over_seeds`` of the means over samplings: the one says what drawing
    again changes, the other what training again changes (and an M-th of the first).

    Args:
        samplings (list of list of float): one list a seed, shape: [S, M].

    Returns:
        float: the root of the pooled sample variance; None where no model was sampled twice.
    """
    values = np.concatenate([np.asarray(draws, dtype=float) for draws in samplings])
    seeds = np.repeat(np.arange(len(samplings)), [len(draws) for draws in samplings])
    if len(values) == len(samplings):
        return None
    # The residual of one mean a seed is the pooled variance.
    return math.sqrt(sm.OLS(values, np.eye(len(samplings))[seeds]).fit().mse_resid)


def seed_means(frames, label):
    """Averages per-row metrics over the seeds of a model.

    Args:
        frames (list of pandas.DataFrame): one per seed, columns ``user``, ``row`` and the metrics.
        label (str): the model, for messages.

    Returns:
        pandas.DataFrame: the metrics by (user, row), sorted. Shape: [N, metrics].

    Raises:
        ValueError: a row stands twice in a file, or the files hold different rows.
    """
    tables = []
    for frame in frames:
        table = frame.set_index(KEYS).sort_index()
        if table.index.has_duplicates:
            user, row = table.index[table.index.duplicated()][0]
            raise ValueError(f"{label} has the row {(user, int(row))} more than once")
        tables.append(table)
        _same_rows(label, tables[0], f"{label} (another seed)", table)
    if len(tables) == 1:
        return tables[0]
    return sum(table[tables[0].columns] for table in tables) / len(tables)


def over_users(rows):
    """The mean over rows and its interval; rows of one user count as dependent.

    Args:
        rows (pandas.Series): one metric by (user, row), shape: [N].

    Returns:
        Interval: the usual t interval where every user has one row.
    """
    mean, low, high, _ = _mean_by_user(rows)
    return Interval(mean, low, high)


def compare(first, second, labels):
    """Tests whether two models differ on the same rows.

    The differences are regressed on a constant with errors clustered by user: exactly the paired
    t test where every user has one row, and right where users have several.

    Args:
        first, second (pandas.Series): the same metric by (user, row), shape: [N].
        labels (tuple of str): the two models.

    Returns:
        Comparison: without Holm's correction.

    Raises:
        ValueError: the rows differ, or there are fewer than two users.
    """
    _same_rows(labels[0], first, labels[1], second)
    difference = first - second.reindex(first.index)
    users = difference.index.get_level_values("user").nunique()
    if users < 2:
        raise ValueError(f"{users} users in {labels[0]} and {labels[1]}; a test needs at least 2")
    mean, low, high, p = _mean_by_user(difference)
    sd = float(difference.std(ddof=1))
    if sd:
        effect = mean / sd
    else:
        effect = math.copysign(math.inf, mean) if mean else 0.0
    return Comparison(*labels, mean, low, high, p, None, effect, len(difference), users)


def holm(comparisons):
    """Corrects the p values of a family by Holm's method.

    Args:
        comparisons (list of Comparison): the family.

    Returns:
        list of Comparison: the same with ``holm``.
    """
    if not comparisons:
        return []
    corrected = multipletests([one.p for one in comparisons], method="holm")[1]
    return [one._replace(holm=float(p)) for one, p in zip(comparisons, corrected)]


def _same_rows(name, table, other_name, other):
    if table.index.equals(other.index) or table.index.sort_values().equals(
        other.index.sort_values()
    ):
        return
    common = len(table.index.intersection(other.index))
    raise ValueError(
        f"{name} has {len(table):,} rows and {other_name} {len(other):,}, of which {common:,} are "
        "the same; models are only compared on the same rows"
    )


def _mean_by_user(rows):
    """Mean, interval and two-sided p of a mean of zero, clustered by user."""
    user, names = pd.factorize(rows.index.get_level_values("user"))
    mean = float(rows.mean())
    if len(names) < 2:
        return mean, None, None, None
    if np.ptp(rows.to_numpy()) == 0:  # no variance: the regression would divide by zero
        return mean, mean, mean, float(mean == 0)
    fit = sm.OLS(rows.to_numpy(), np.ones(len(rows))).fit(
        cov_type="cluster", cov_kwds={"groups": user}, use_t=True
    )
    low, high = fit.conf_int(1 - CONFIDENCE)[0]
    return mean, float(low), float(high), float(fit.pvalues[0])
