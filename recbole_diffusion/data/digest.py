"""Are these the interactions that a model was trained on? Short hashes of them.

They are the same on every machine and for every version of the libraries: of numbers in a fixed
type and byte order.
"""

import hashlib

import numpy as np

from recbole_diffusion.data.loading import POSITION

PARTS = ("train", "valid", "test")
_ODD = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)  # multipliers that mix bits


def interactions(datasets):
    """What there is to say of the interactions behind the rows of a split.

    Args:
        datasets (list of Dataset): train, valid and test, as built; None for one without rows.

    Returns:
        dict: ``rows`` (list of int: of train, valid and test), ``stored`` (int: interactions that
        can be history), and three texts in hexadecimal: ``events`` (which users, items and
        behaviours meet, in any order), ``order`` (the same in the order of histories, with times,
        where there are histories) and ``split`` (the rows of each part in their order).
    """
    train = datasets[0]
    parts = [_columns(part, part.inter_feat) for part in datasets if part is not None]
    stored = bool(getattr(train, "store", None))
    if stored:
        history = _columns(train, train.store)
        if getattr(train, "store_time", None) is not None:
            history["time"] = plain_numbers(train.store_time)
    else:  # models without histories, and data sets of RecBole's own
        history = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {
        "rows": [0 if part is None else len(part) for part in datasets],
        "stored": len(history["user"]),
        "events": f"{(_in_any_order(history) + sum(map(_in_any_order, parts))) % 2**64:016x}",
        "order": hash_of([history] if stored else []),
        "split": hash_of(parts),
    }


def difference(then, now):
    """What is different about the interactions, in words.

    Args:
        then (dict): of `interactions`.
        now (dict): of `interactions`.

    Returns:
        str: None where nothing is.
    """
    if then == now:
        return None
    if then["rows"] != now["rows"] or then["stored"] != now["stored"]:
        return f"{_count(then)} then, {_count(now)} here"
    if then["events"] != now["events"]:
        return "as many rows, but other users, items or behaviours in them"
    if then["order"] != now["order"]:
        return "the same interactions, but with other times or in another order"
    how = "split otherwise into train, valid and test"
    if then["order"] == hash_of([]):
        how += ", in another order or with other times"
    return f"the same interactions, but {how}"


def _count(found):
    rows = ", ".join(f"{count} {name}" for name, count in zip(PARTS, found["rows"]))
    return f"{rows} rows and {found['stored']} interactions in histories"


def _columns(dataset, rows):
    """The columns of some rows that make an interaction, by what they are: arrays of [n_rows]."""
    fields = {
        "user": dataset.uid_field,
        "item": dataset.iid_field,
        "behavior": getattr(dataset, "behavior_field", None),
        "label": dataset.label_field,
        "position": POSITION,
        "time": dataset.time_field,
    }
    return {name: plain_numbers(rows[field]) for name, field in fields.items() if field in rows}


def plain_numbers(values):
    """Whole numbers in 64 bits, others in float64, lowest byte first."""
    array = values.numpy() if hasattr(values, "numpy") else np.asarray(values)
    kind = "<f8" if array.dtype.kind == "f" else "<i8"
    return np.ascontiguousarray(array, dtype=kind)


def hash_of(tables):
    """A hash of tables of columns, in which every value has its place."""
    digest = hashlib.blake2b(digest_size=16)
    for columns in tables:
        for name, values in columns.items():
            digest.update(f"{name} {values.dtype.str} {len(values)}\n".encode())
            digest.update(values)
    return digest.hexdigest()


def _in_any_order(columns):
    """A sum over the rows, of users, items and behaviours; the order of rows does not change it."""
    mixed = np.zeros(len(columns["user"]), dtype=np.uint64)
    for name, odd in zip(("user", "item", "behavior"), _ODD):
        if name in columns:
            mixed ^= columns[name].view(np.uint64)
            mixed *= np.uint64(odd)
            mixed ^= mixed >> np.uint64(29)
    return int(mixed.sum())
