"""What is in a data set, and how is it split?"""

import numpy as np
import pandas as pd

from recbole_diffusion.data.seen_before import share_seen_before
from recbole_diffusion.quick_start.data_line import stamp, unit_of
from recbole_diffusion.quick_start.protocol_line import measured, protocol_line
from recbole_diffusion.quick_start.quick_start import read_data

QUANTILES = {"least": 0, "10 %": 0.1, "median": 0.5, "90 %": 0.9, "most": 1}
MOST_BARS = 30  # of a histogram


def describe(config):
    """Counts of a data set and of its split.

    Args:
        config (Config): of a run on it; the model says which rows can be trained on.

    Returns:
        dict: plain values. ``users``, ``items``, ``interactions``, ``density`` and ``files``
        (interactions of each file of a ready-made split) are of what is left by the filters;
        ``behaviors`` (interactions by behaviour); ``user_lengths`` and ``item_lengths``
        (interactions of a user and of an item: quantiles and ``mean``) with ``user_histogram`` and
        ``item_histogram`` (bars: ``from``, ``to`` and ``count`` of users or items); ``top_items``
        (share of the interactions on the most popular 1 % of the items); ``time`` (``first``,
        ``last`` and ``interactions`` in equal spans; None without times); ``repeats`` (share of the
        interactions whose user had the item before) and ``tied`` (share whose stamp is that of an
        earlier interaction of the same user); ``repeated_lines`` (left out); ``split`` and
        ``protocol`` in words; and ``train``, ``valid`` and ``test``: ``rows``, ``history`` (lengths
        of the rows' histories: quantiles and mean; None without order), and for the held-out ones
        ``seen_before`` and ``never_trained``, shares of their targets.

    Raises:
        DataError: if the data are missing or unusable.
    """
    found = {}
    _, loaders = read_data(config, look=lambda data: found.update(_of_rows(data)))
    parts = [loader and loader._dataset for loader in loaders]
    train = parts[0]
    report = getattr(train, "split_report", {})
    found["repeated_lines"] = report.get("repeated_lines_dropped", 0)
    found["split"] = report.get("split")
    found["protocol"] = protocol_line(measured(config, parts[2])) if parts[2] else None
    trained = train.item_counts() > 0 if hasattr(train, "item_counts") else None
    for place, name in enumerate(("train", "valid", "test")):
        part = parts[place]
        if part is None:
            found[name] = {"rows": 0}
            continue
        found[name] = {"rows": len(part), "history": _history(part)}
        if place:
            target = part.inter_feat[part.iid_field]
            found[name]["seen_before"] = share_seen_before(parts[:place], part)
            if trained is not None:
                found[name]["never_trained"] = float((~trained[target]).double().mean())
    return found


def _of_rows(data):
    """What is to be said of the interactions before they are split."""
    rows = data.inter_feat
    user, item = rows[data.uid_field].to_numpy(), rows[data.iid_field].to_numpy()
    by_user, by_item = (np.bincount(ids)[1:] for ids in (user, item))
    by_user, by_item = by_user[by_user > 0], by_item[by_item > 0]
    top = np.sort(by_item)[::-1][: max(len(by_item) // 100, 1)]
    found = {
        "users": len(by_user),
        "items": len(by_item),
        "interactions": len(rows),
        "density": len(rows) / (len(by_user) * len(by_item)),
        "files": None,
        "behaviors": None,
        "user_lengths": _lengths(by_user),
        "user_histogram": _histogram(by_user),
        "item_lengths": _lengths(by_item),
        "item_histogram": _histogram(by_item),
        "top_items": float(top.sum() / len(rows)),
        "time": None,
        "repeats": float(pd.DataFrame({"user": user, "item": item}).duplicated().mean()),
        "tied": None,
    }
    if data.ready_made:
        names = data.config["benchmark_filename"]
        found["files"] = dict(zip(names, map(int, data.file_size_list)))
    if data.behavior_field is not None:
        count = np.bincount(rows[data.behavior_field].to_numpy())[1:]
        tokens = data.field2id_token[data.behavior_field][1:]
        found["behaviors"] = dict(zip(map(str, tokens), count.tolist()))
    if data.time_field in rows:
        time = rows[data.time_field].to_numpy()
        found["time"] = _times(time)
        found["tied"] = float(pd.DataFrame({"user": user, "time": time}).duplicated().mean())
    return found


def _lengths(count):
    """Quantiles and mean of some counts."""
    found = {name: float(np.quantile(count, at, method="lower")) for name, at in QUANTILES.items()}
    return found | {"mean": float(count.mean())}


def _histogram(count):
    """How many counts lie in each of some ranges, which double from 1 on.

    Returns:
        list of dict: ``from`` and ``to`` (int, both included) and ``count``.
    """
    place = np.floor(np.log2(count)).astype(int)
    return [
        {"from": 2**bar, "to": 2 ** (bar + 1) - 1, "count": int(many)}
        for bar, many in enumerate(np.bincount(place))
    ]


def _times(time):
    """First and last stamp, as dates where they can be, and the interactions in equal spans."""
    bars, edges = np.histogram(time, bins=MOST_BARS)
    unit = unit_of(time)
    return {
        "first": stamp(float(time.min()), unit),
        "last": stamp(float(time.max()), unit),
        "interactions": bars.tolist(),
        "edges": [stamp(edge, unit) for edge in edges.tolist()],
    }


def _history(part):
    """Lengths of the histories of a part's rows; None where rows have no place in one."""
    if not hasattr(part, "lengths") or not len(part):
        return None
    return _lengths(part.lengths().numpy())
