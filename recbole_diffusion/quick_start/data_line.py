"""What is in a data set, in one line?"""

from datetime import UTC, datetime

import numpy as np

YEARS = (1980, 2100)  # what a stamp must lie in to be taken for seconds or milliseconds
MOST_BEHAVIORS = 6  # that are counted one by one


def data_line(config, data):
    """Users, items, interactions, behaviours and the time that they span.

    Args:
        config (Config): the run's configuration.
        data (Dataset): before it is split.

    Returns:
        str: a line without a full stop, for instance ``ml-100k: 943 users, 1,682 items, 100,000
        interactions, 1997-09-20 to 1998-04-22``.
    """
    rows = data.inter_feat
    users, items = data.user_num - 1, data.item_num - 1  # without the padding
    said = [f"{users:,} users", f"{items:,} items", f"{len(rows):,} interactions"]
    behaviors = getattr(data, "behavior_field", None)
    if behaviors is not None:
        count = np.bincount(rows[behaviors].to_numpy())[1:]
        named = list(zip(data.field2id_token[behaviors][1:], count))
        named.sort(key=lambda pair: -pair[1])
        words = [f"{name} {many:,}" for name, many in named[:MOST_BEHAVIORS]]
        said[-1] += f" ({', '.join(words)}{', ...' * (len(named) > MOST_BEHAVIORS)})"
    if data.time_field in rows:
        time = rows[data.time_field].to_numpy()
        unit = unit_of(time)
        if unit is not None:  # else whatever it counts, it is no date
            first, last = (stamp(float(end), unit)[:10] for end in (time.min(), time.max()))
            said.append(first if first == last else f"{first} to {last}")
    return f"{config['dataset']}: {', '.join(said)}"


def unit_of(time):
    """What stamps count, as far as they can be dates.

    Args:
        time (numpy.ndarray): stamps, shape: [n].

    Returns:
        int: of a second, 1 for seconds and 1000 for milliseconds; None where neither is likely.
    """
    return next((unit for unit in (1, 1000) if len(time) and _is_date(time, unit)), None)


def _is_date(time, unit):
    first, last = (datetime(year, 1, 1, tzinfo=UTC).timestamp() * unit for year in YEARS)
    return first <= time.min() and time.max() < last


def stamp(value, unit):
    """A stamp as a date and a time of day; as it is, where it counts nothing known.

    Args:
        value (float): the stamp.
        unit (int): of `unit_of`.

    Returns:
        str or float: in UTC, for instance ``1997-09-20 03:05:10``.
    """
    if unit is None:
        return value
    return datetime.fromtimestamp(value / unit, UTC).isoformat(" ", "seconds")[:19]
