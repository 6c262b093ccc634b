"""Is every field of a checkpoint what it must be? One table, for what every run stores.

A checkpoint whose hash is right can have been made by another program, and one of an earlier
version has no hash.
"""

import json
import math

import torch


def _is_text(value):
    return isinstance(value, str)


def _is_count(value):
    return type(value) is int and value >= 0


def _is_number(value):
    return type(value) in (int, float) and not math.isnan(value)


def _is_time(value):
    return _is_number(value) and 0 <= value < math.inf


def _of_text(value, kind):
    return isinstance(value, dict) and all(map(_is_text, value)) and all(map(kind, value.values()))


def _is_config(value):
    try:
        settings = json.loads(value)
    except (TypeError, ValueError, RecursionError):
        return False
    if not isinstance(settings, dict):
        return False
    texts = all(_is_text(settings.get(key)) for key in "model dataset data_path".split())
    negatives = settings.get("train_neg_sample_args")
    return texts and isinstance(negatives, dict) and _is_text(negatives.get("distribution"))


def _is_interactions(value):
    if value is None:
        return True
    if not isinstance(value, dict) or not isinstance(value.get("rows"), list):
        return False
    return (
        len(value["rows"]) == 3
        and all(map(_is_count, value["rows"]))
        and _is_count(value.get("stored"))
        and all(_is_text(value.get(key)) for key in ("events", "order", "split"))
    )


def _is_curve(value):
    return isinstance(value, list) and all(
        isinstance(point, list) and len(point) == 3 and all(map(_is_number, point))
        for point in value
    )


def _is_tensor(value):
    return isinstance(value, torch.Tensor)


# Field: what it is in words, the check of it, and whether every run that can be opened has it.
RUN = {
    "model": ("a text", _is_text, True),
    "class": ("a text", lambda value: value is None or _is_text(value), False),
    "dataset": ("a text", _is_text, True),
    "config": ("the settings of a run as JSON text", _is_config, True),
    "fingerprint": ("a text", _is_text, True),
    "tokens": ("texts by field", lambda value: _of_text(value, _is_text), True),
    "item_counts": (
        "a tensor of whole numbers",
        lambda value: value is None or (_is_tensor(value) and value.dtype == torch.int64),
        False,
    ),
    "interactions": ("counts and hashes", _is_interactions, False),
    "epoch": (
        "a whole number of at least -1",
        lambda value: type(value) is int and value >= -1,
        True,
    ),
    "best_epoch": ("a whole number of at least 0", _is_count, True),
    "best_valid_score": ("a number", _is_number, True),
    "best_valid_result": (
        "numbers by metric",
        lambda value: value is None or _of_text(value, _is_number),
        True,
    ),
    "state_dict": ("tensors by name", lambda value: _of_text(value, _is_tensor), True),
    "other_parameter": (
        "values by name",
        lambda value: _of_text(value, lambda value: True),
        True,
    ),
}
# What a run needs besides to go on.
TRAINING = {
    "optimizers": (
        "states by name",
        lambda value: _of_text(value, lambda state: isinstance(state, dict)),
        True,
    ),
    "counters": ("numbers by name", lambda value: _of_text(value, _is_number), True),
    "schedulers": (
        "states by name",
        lambda value: _of_text(value, lambda state: isinstance(state, dict)),
        True,
    ),
    "cur_step": ("a whole number of at least 0", _is_count, True),
    "random": ("states by name", lambda value: _of_text(value, lambda state: True), True),
    "loaders": (
        "a list of tensors",
        lambda value: isinstance(value, list) and all(map(_is_tensor, value)),
        True,
    ),
    "seconds": (
        "two numbers of at least 0",
        lambda value: isinstance(value, list) and len(value) == 2 and all(map(_is_time, value)),
        True,
    ),
    "curve": ("a list of epoch, seconds and score", _is_curve, False),
    "budget_seconds": ("a number of at least 0", _is_time, True),
}


def wrong_field(state, fields):
    """The first field of a checkpoint that is not what it must be.

    Args:
        state (dict): of `checkpoint.load`.
        fields (dict): ``RUN`` or ``TRAINING``.

    Returns:
        str: a sentence about it; None if all are right.
    """
    for name, (words, is_right, needed) in fields.items():
        if name not in state:
            if needed:
                return f"it holds no {name}"
            continue
        if not is_right(state[name]):
            return f"its {name} is {shown(state[name])}, not {words}"
    if "epoch" in fields and state["best_epoch"] > state["epoch"] + 1:
        return f"its best_epoch is {state['best_epoch']}, but epochs were {state['epoch'] + 1}"
    return None


def shown(value):
    """A value in a few words."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {list(value.shape)}"
    text = repr(value) if isinstance(value, (str, int, float, bool, type(None))) else ""
    if text and len(text) <= 40:
        return text
    return f"a {type(value).__name__}" if not text else f"{text[:40]}..."


def wrong_weights(state_dict, model):
    """What keeps weights from being those of a model.

    Args:
        state_dict (dict): name to tensor.
        model (torch.nn.Module): the model.

    Returns:
        str: a sentence about the first; None if all fit.
    """
    own = model.state_dict()
    missing, unknown = own.keys() - state_dict.keys(), state_dict.keys() - own.keys()
    if missing or unknown:
        which = f"{min(missing)} is missing" if missing else f"{min(unknown)} is none of its own"
        return f"{len(missing)} weights are missing and {len(unknown)} unknown: {which}"
    learnt = dict(model.named_parameters())
    for name, value in state_dict.items():
        if value.shape != own[name].shape or value.layout != own[name].layout:
            return f"{name} is of shape {list(value.shape)}, here of {list(own[name].shape)}"
        if value.dtype != own[name].dtype:
            return f"{name} is of type {value.dtype}, here of {own[name].dtype}"
        if name in learnt and not torch.isfinite(value).all():
            return f"{name} holds numbers that are not finite: the training had failed"
    return None


def wrong_other(other, model):
    """What keeps values beside the weights (of models that only count) from being a model's.

    Args:
        other (dict): name to value.
        model (torch.nn.Module): the model.

    Returns:
        str: a sentence about the first; None if all fit.
    """
    own = model.other_parameter()
    for name, value in other.items():
        if name not in own:
            return f"{name} is none of its values"
        here = own[name]
        if here is None or value is None:  # made when it is first asked for
            if not (value is None or isinstance(value, (int, float)) or hasattr(value, "shape")):
                return f"{name} is {shown(value)}, neither a number nor an array"
            continue
        sizes = [getattr(one, "shape", ()) for one in (here, value)]
        kinds = [isinstance(one, (int, float)) or type(one).__name__ for one in (here, value)]
        arrays = all(hasattr(one, "shape") for one in (here, value))
        if tuple(sizes[0]) != tuple(sizes[1]) or not (arrays or kinds[0] == kinds[1]):
            return f"{name} is {shown(value)}, here {shown(here)}"
    return None
