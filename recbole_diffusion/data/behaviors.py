"""Which behaviour does a number stand for? What ``behavior_from`` of the settings says."""

import numpy as np

from recbole_diffusion.config.structures import is_interval
from recbole_diffusion.data.lines import DataError


def behaviors_of(values, behavior_from, place):
    """The behaviours that numbers stand for.

    Args:
        values (numpy.ndarray): of the field, shape: [n].
        behavior_from (dict): ``field``, its name, and ``values``, the intervals of each behaviour.
        place (Callable): from a row to where it stands, for messages.

    Returns:
        numpy.ndarray: the behaviour of each as text, shape: [n].

    Raises:
        DataError: if a value is in no interval or in several, or what should be an interval is
            none.
    """
    behavior = np.full(len(values), None, dtype=object)
    count = np.zeros(len(values), dtype=np.int64)  # of the intervals that a value is in
    for token, intervals in behavior_from["values"].items():
        if not is_interval(intervals):
            raise DataError(
                f"behavior_from: '{intervals}' of {token} is not an interval like [1,2]"
            )
        inside = _within(values, str(intervals))
        behavior[inside] = str(token)
        count += inside
    if (count != 1).any():
        row = int((count != 1).argmax())
        raise DataError(
            f"{place(row)}: {behavior_from['field']} = {values[row]} is in "
            f"{'no interval' if count[row] == 0 else 'several intervals'} of behavior_from"
        )
    return behavior


def _within(values, intervals):
    """Whether values are in one of some intervals, like ``[1,2];(3,inf)``, shape: [n]."""
    found = np.zeros(len(values), dtype=bool)
    for interval in map(str.strip, intervals.split(";")):
        low, high = map(float, interval[1:-1].split(","))
        above = values >= low if interval[0] == "[" else values > low
        found |= above & (values <= high if interval[-1] == "]" else values < high)
    return found
