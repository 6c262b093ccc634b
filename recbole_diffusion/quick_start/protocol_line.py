"""How was a figure measured? In one line, for results and pages."""

from recbole.utils import ModelType

from recbole_diffusion.config import splits
from recbole_diffusion.quick_start.split_seed import split_seed


def measured(config, test_set):
    """What a figure of a run is measured on, as plain values.

    Args:
        config (Config): the run's configuration.
        test_set (Dataset): the built test data.

    Returns:
        dict: ``split_files`` and ``split_sequences`` (the keys ``benchmark_filename`` and
        ``SPLIT``), ``eval_args``, ``split_seed`` (None where nothing is drawn),
        ``held_out_items``, ``test_targets``, ``test_rows`` (of which a metric is a mean), ``unit``
        (``users`` where every user is ranked once, else ``rows``), ``behaviors``,
        ``mask_history``, ``candidates`` and ``device``.
    """
    one_by_one = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
    users = test_set.inter_feat[test_set.uid_field].unique()
    mask = config["mask_history"]
    eval_args = config["eval_args"]
    ready_made = config["benchmark_filename"] is not None
    drawn = eval_args["order"] == "RO" and not ready_made and config["SPLIT"] is None
    return {
        "split_files": config["benchmark_filename"],
        "split_sequences": config["SPLIT"],
        "eval_args": {key: eval_args[key] for key in ("split", "order", "group_by", "mode")},
        "split_seed": split_seed(config) if drawn else None,
        "held_out_items": config["held_out_items"],
        "unit": "rows" if one_by_one and len(users) < len(test_set) else "users",
        "test_rows": len(test_set) if one_by_one else len(users),
        "test_targets": len(test_set),
        "behaviors": None if config["BEHAVIOR_FIELD"] is None else config["target_behavior"],
        "mask_history": (not one_by_one) if mask is None else mask,
        "candidates": config["candidates"],
        "device": str(config["device"]),
    }


def protocol_line(found):
    """Split, rows, masking, candidates and device.

    Args:
        found (dict): of `measured`; of what older versions did not record, nothing is said.

    Returns:
        str: a line without a full stop, for instance ``leave-one-out in time order, 943 test
        interactions, history not masked, all items ranked, on the CPU``.
    """
    rows = f"{found.get('test_targets', found['test_rows']):,} test interactions"
    if found["test_rows"] != found.get("test_targets", found["test_rows"]):
        rows += f" of {found['test_rows']:,} users"
    mask = f"history {'masked' if found['mask_history'] else 'not masked'}"
    split = splits.describe(
        found["eval_args"],
        found.get("split_files"),
        found.get("split_sequences"),
        found.get("behaviors"),
        found.get("held_out_items") == "new",
        found.get("split_seed"),
    )
    parts = [split, rows, mask, _ranked(found), _device(found.get("device"))]
    return ", ".join(part for part in parts if part)


def split_line(config, parts):
    """How many rows a run has, and how it is measured.

    Args:
        config (Config): the run's configuration.
        parts (list of Dataset): the built training, validation and test data, None for none.

    Returns:
        str: a line without a full stop.
    """
    train, valid, test = (0 if part is None else len(part) for part in parts)
    said = f"{train:,} training and {valid:,} validation rows"
    return f"{said}; {protocol_line(measured(config, parts[2]))}" if test else said


def _ranked(found):
    mode = found["eval_args"].get("mode", "full")
    mode = mode["test"] if isinstance(mode, dict) else mode
    if mode != "full":
        return f"ranked among sampled items ({mode})"
    return "all items ranked" if found["candidates"] == "all" else "trained items ranked"


def _device(device):
    named = ["the CPU" if one == "cpu" else one for one in (device or "").split(" and ")]
    return device and f"on {' and '.join(named)}"
