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
        bool: True too where there is no such file; who loads it says so.
    """
    file = Path(str(settings["data_path"]), dataset, f"{dataset}.inter")
    try:
        with open(file, encoding=settings.get("encoding") or "utf-8", errors="replace") as lines:
            header = lines.readline(2**20).rstrip("\r\n")
        columns = header.split(settings["field_separator"])
    except (OSError, LookupError, TypeError, ValueError):  # refused where the file is loaded
        return True
    field, wanted = settings["TIME_FIELD"], _columns(settings, "load_col", "*")
    loaded = wanted == "*" or field in wanted
    return loaded and f"{field}:float" in columns and field not in _columns(settings, "unload_col")


def _columns(settings, key, default=()):
    """What a key that names columns names of the interactions."""
    value = settings.get(key)
    return value.get("inter") or () if isinstance(value, dict) else default


def describe(eval_args, files=None, sequences=False):
    """A split in words.

    Args:
        eval_args (dict): all of its parts.
        files (list of str): of a ready-made split, ``benchmark_filename``.
        sequences (bool): whether whole sequences are split, ``SPLIT: sequence``.

    Returns:
        str: such as ``leave-one-out in time order``.
    """
    whole = "whole sequences " if sequences else ""
    if files is not None:
        return f"{whole}as in the files {', '.join(files)}"
    order = {"TO": "in time order", "RO": "in random order"}[eval_args["order"]]
    ((split, how),) = eval_args["split"].items()
    if split == "LS":
        held_out = {"valid_only": ", for validation only", "test_only": ", for test only"}
        return f"leave-one-out {order}{held_out.get(how, '')}"
    shares = ":".join(f"{share:g}" for share in how)
    if sequences:
        return f"{whole}{order}, {shares}"
    each = "each user's" if str(eval_args["group_by"]).lower() == "user" else "all"
    if split == "TS":
        return f"{each} interactions cut at moments in time, {shares}"
    return f"{each} interactions {order}, {shares}"
