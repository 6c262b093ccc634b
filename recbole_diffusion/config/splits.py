"""Which split does a run have, and how is it said in words?

What ``eval_args`` leaves out is filled in here, for all kinds of ranking models alike:
leave-one-out in time order where the data have times, else RecBole's random ratio.
"""

from pathlib import Path

PARTS = ("split", "order", "group_by", "mode")
LAST = {"LS": "valid_and_test"}
RATIO = {"RS": [0.8, 0.1, 0.1]}
_MAY_BE_NONE = "group_by"  # where it says that rows are not grouped


def complete(said, times, sequences=False, mode="full"):
    """``eval_args`` with all of its parts.

    Args:
        said (list of dict): the parts that somebody said, later wins; one that is None is not said.
        times (bool): whether the data have times, or the model cannot do without.
        sequences (bool): whether whole sequences are split, ``SPLIT: sequence``.
        mode (str): the mode where none is said.

    Returns:
        tuple: the dict, and the list of the parts that nobody said.
    """
    args = {
        part: value
        for some in said
        for part, value in some.items()
        if value is not None or part == _MAY_BE_NONE
    }
    missing = [part for part in PARTS if part not in args]
    if "order" not in args:
        split = args.get("split")
        by_time = times or sequences or (isinstance(split, dict) and "TS" in split)
        args["order"] = "TO" if by_time else "RO"
    if "split" not in args:  # what is last in a random order is nobody's last interaction
        args["split"] = dict(RATIO if sequences or args["order"] != "TO" else LAST)
    return {"group_by": "user", "mode": mode} | args, missing


def has_times(settings, dataset):
    """Whether a data set's file has a column of times that is loaded.

    Args:
        settings (dict): keys ``data_path``, ``TIME_FIELD``, ``field_separator``, ``encoding``,
            ``load_col`` and ``unload_col`` are read.
        dataset (str): its name.

    Returns:
        bool: True too where there is no such file to look into; who loads it says so.
    """
    field = settings["TIME_FIELD"]
    if not is_loaded(settings, field):
        return False
    file = Path(str(settings["data_path"]), dataset, f"{dataset}.inter")
    try:
        with open(file, encoding=settings.get("encoding") or "utf-8", errors="replace") as lines:
            header = lines.readline(2**20).rstrip("\r\n")
        columns = header.split(settings["field_separator"])
    except (OSError, LookupError, TypeError, ValueError):  # refused where the file is loaded
        return True
    return f"{field}:float" in columns


def is_loaded(settings, field):
    """Whether ``load_col`` and ``unload_col`` of some settings leave a column of interactions in.

    Args:
        settings (dict): both keys are read where they are there.
        field (str): name of the column.

    Returns:
        bool: True where neither key speaks of interactions.
    """
    wanted = _columns(settings, "load_col", "*")
    return (wanted == "*" or field in wanted) and field not in _columns(settings, "unload_col")


def _columns(settings, key, default=()):
    """What a key that names columns names of the interactions."""
    value = settings.get(key)
    return value.get("inter") or () if isinstance(value, dict) else default


def describe(eval_args, files=None, sequences=None, behaviors=None, new_items=False, seed=None):
    """A split in words.

    Args:
        eval_args (dict): its parts; what an older journal did not record may be missing.
        files (list of str): of a ready-made split, ``benchmark_filename``.
        sequences (str): ``SPLIT``; not None where whole sequences are split.
        behaviors (str or list of str): what is held out alone, ``target_behavior``.
        new_items (bool): ``held_out_items: new``.
        seed (int): that a random split is drawn from, if it is to be said.

    Returns:
        str: such as ``leave-one-out in time order``; None where nothing is known of the split.
    """
    if files:
        whole = " of whole sequences" if sequences else ""
        return f"ready-made split{whole} ({', '.join(map(str, files))})"
    (kind, value), *_ = {**(eval_args.get("split") or {}), "": None}.items()
    each = "each user's" if str(eval_args.get("group_by")).lower() == "user" else "all"
    if sequences:
        return f"whole sequences held out by {_ratio(value)} in time order"
    if kind == "LS":
        alone = {"valid_only": " for validation alone", "test_only": " for test alone"}
        words = "leave-one-out" + alone.get(value, "")
    elif kind == "RS":
        words = f"{_ratio(value)} of {each} interactions"
    elif kind == "TS":
        words = f"split at the times {_ratio(value)}"
    else:
        return None
    if behaviors:
        named = behaviors if isinstance(behaviors, list) else [behaviors]
        words += f" of {' and '.join(map(str, named))}"
    if new_items:
        words += " of items new to their user"
    if eval_args.get("order") != "RO":
        return f"{words} in time order"
    return f"{words} at random" + ("" if seed is None else f" from seed {seed}")


def _ratio(parts):
    return " : ".join(map(str, parts)) if isinstance(parts, list) else str(parts)
