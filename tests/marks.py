"""Which cases of a test run each time, and which only where the slow tests run."""

import pytest


def slow_but(fast, cases):
    """Cases of `pytest.mark.parametrize`, slow but for a few.

    Args:
        fast (Iterable): the first value of each case that is to be fast.
        cases (Iterable): a value a case, or a tuple of values.

    Returns:
        list of pytest.param: the cases in their order.
    """
    params = []
    for case in cases:
        values = case if isinstance(case, tuple) else (case,)
        marks = [] if values[0] in fast else [pytest.mark.slow]
        params.append(pytest.param(*values, marks=marks))
    return params
