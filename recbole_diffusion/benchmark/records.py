"""What is a record of a journal? Its fields and what each of them must be.

A check takes a value and the words for its place and raises `Unfit`. Fields that are not named here
may be there too: later versions write more of them.
"""

import re

SHOWN = 60  # characters of a value in a message
PHASES = ("trial", "seed", "external")


class Unfit(ValueError):
    """A value that no benchmark writes, with its place."""


def _is(words, test):
    def check(value, where):
        if not test(value):
            raise Unfit(f"{where} is {_shown(value)}, not {words}")

    return check


def _shown(value):
    text = repr(value)
    if len(text) <= SHOWN:
        return text
    return f"{text[: SHOWN // 2]} ... {text[-SHOWN // 2 :]}"


def _is_number(value):
    return type(value) in (int, float) and abs(value) < 1e300  # neither NaN nor infinite


def _one_of(*values):
    return _is(f"one of {', '.join(values)}", lambda value: value in list(values))


def _or_none(check):
    def either(value, where):
        if value is not None:
            check(value, where)

    return either


def _list_of(check, least=0):
    is_list = _is(f"a list of at least {least}", lambda v: type(v) is list and len(v) >= least)

    def each(value, where):
        is_list(value, where)
        for number, one in enumerate(value):
            check(one, f"{where}[{number}]")

    return each


def _mapping_to(check):
    def each(value, where):
        a_mapping(value, where)
        for key, one in value.items():
            check(one, f"{where}.{key}")

    return each


def _fields(must, may=None):
    may = may or {}

    def each(value, where):
        a_mapping(value, where)
        for key, check in (must | may).items():
            if key in value:
                check(value[key], f"{where}.{key}" if where else key)
            elif key in must:
                raise Unfit(f"{where + '.' if where else ''}{key} is missing")

    return each


a_mapping = _is("a mapping", lambda value: type(value) is dict)
text = _is("a text", lambda value: type(value) is str)
flag = _is("true or false", lambda value: type(value) is bool)
number = _is("a finite number", _is_number)
cost = _is("a number of at least 0", lambda value: _is_number(value) and value >= 0)
whole = _is("a whole number", lambda value: type(value) is int and abs(value) < 2**63)
count = _is("a whole number of at least 0", lambda v: type(v) is int and 0 <= v < 2**63)
metrics = _mapping_to(number)
figures = _mapping_to(_or_none(number))
users_file = _is(
    "a file of users/",
    lambda value: type(value) is str and re.fullmatch(r"users/[\w.-]+\.parquet", value),
)

eval_args = _fields(
    {},
    {
        "split": a_mapping,
        "order": text,
        "group_by": _or_none(text),
        "mode": _is("a mode of ranking", lambda value: type(value) in (str, dict)),
    },
)
config = _fields(
    {},
    {
        "prepare_hint": _or_none(text),
        "eval_args": eval_args,
        "benchmark_filename": _or_none(_list_of(text)),
        "SPLIT": _or_none(text),
    },
)


def _never_trained(value, where):
    a_mapping(value, where)
    for key, one in value.items():
        check = figures if key.startswith("barred") else number
        _or_none(check)(one, f"{where}.{key}")


def _steps(value, where):
    steps = {"name": text, "x": _list_of(number, 1), "values": _list_of(metrics)}
    _fields(steps, {"own": _or_none(number)})(value, where)
    if len(value["x"]) != len(value["values"]):
        raise Unfit(f"{where} has {len(value['x'])} steps and {len(value['values'])} values")


def _point(value, where):
    _list_of(number)(value, where)
    if len(value) != 3:
        raise Unfit(f"{where} is {_shown(value)}, not epoch, seconds and score")


walk = _fields(
    {"steps": count, "of": count, "draws": flag, "needed": number, "seconds": cost}
    | {
        "tried": _list_of(
            _fields({"steps": count, "agreement": number, "valid_score": number, "seconds": cost}),
            1,
        )
    }
)
RESULT = {
    "model": _or_none(text),
    "recbole": _or_none(text),
    "config": _or_none(config),
    "best_epoch": whole,
    "epochs": whole,
    "stopped_by": text,
    "curve": _or_none(_list_of(_point)),
    "samplings": _list_of(metrics, 1),
    "samples": flag,
    "beyond": _or_none(figures),
    "never_trained": _or_none(_never_trained),
    "all_rows": _or_none(figures),
    "steps": _or_none(_steps),
    "walk": _or_none(walk),
    "users_file": _or_none(users_file),
    "users_hash": text,
    "agreement": _or_none(number),
}
RESULT |= {
    key: _or_none(cost)
    for key in (
        "build_seconds",
        "train_seconds",
        "valid_seconds",
        "eval_seconds",
        "ms_per_user",
        "denoiser_calls",
        "parameters",
        "peak_memory_mb",
        "energy_wh",
    )
}
NEEDED = {  # of the result of a run, by its phase
    "trial": {"best_valid_result": metrics},
    "seed": {"best_valid_result": metrics, "test": metrics},
    "external": {"test": metrics},
}


def _run(record, where):
    place = {"id": text, "label": text, "phase": _one_of(*PHASES), "number": count}
    how = {"status": _one_of("done", "failed"), "settings": a_mapping, "wall_seconds": cost}
    _fields(place | how | {"seed": _or_none(whole)}, {"config": text})(record, where)
    if record["phase"] != "external" and record["seed"] is None:
        raise Unfit("seed is missing")
    if record["status"] == "failed":
        _fields({"error": text})(record, where)
        return
    needed = NEEDED[record["phase"]]
    _fields({"result": _fields(needed, RESULT)})(record, where)
    result = record["result"]
    if "epochs" in result:
        _fields({"best_epoch": whole, "stopped_by": text})(result, "result")
    draws = result.get("samplings", ())
    for number, draw in enumerate(draws):
        if set(draw) != set(draws[0]):
            raise Unfit(f"result.samplings[{number}] has other metrics than the first")


def _seeds(value, where):
    _list_of(whole, 1)(value, where)
    if len(set(value)) < len(value):
        raise Unfit(f"{where} is {_shown(value)}, in which one is there twice")


entry = _fields(
    {}, {key: _or_none(text) for key in ("model", "ablates", "change")} | {"settings": a_mapping}
)
plan = _fields(
    {
        "dataset": text,
        "models": _mapping_to(entry),
        "seeds": _seeds,
        "tune": count,
        "sampling_seeds": count,
        "jobs": count,
        "threads": count,
        "settings": a_mapping,
        "metric": text,
    },
    {
        "external": _mapping_to(text),
        "max_train_seconds": _or_none(cost),
        "version": _or_none(text),
        "command": text,
    },
)
protocol = _fields(
    {
        "dataset": text,
        "held_out_hash": text,
        "unit": _one_of("users", "rows"),
        "test_rows": count,
        "valid_rows": count,
        "users": count,
        "items": count,
        "n_train_rows": count,
        "train_rows": text,
        "train_behaviors": text,
        "mask_history": flag,
        "candidates": text,
        "seen_before": number,
        "rows_without_history": count,
        "eval_args": eval_args,
    },
    {
        "valid_hash": text,
        "valid_seen_before": number,
        "test_targets": count,
        "split_files": _or_none(_list_of(text)),
        "split_sequences": _or_none(text),
        "split_seed": _or_none(whole),
        "held_out_items": text,
        "device": text,
        "topk": _list_of(count, 1),
        "metrics": _list_of(text, 1),
        "valid_metric": text,
    },
)
machine = _fields(
    {
        "processor": _or_none(text),
        "cores": _or_none(count),
        "memory_gib": _or_none(cost),
    }
)
KINDS = {
    "sitting": _fields(
        {"format": count, "date": text, "commit": _or_none(text), "machine": machine}
        | {"versions": _mapping_to(_or_none(text))}
    ),
    "plan": _fields({"plan": plan}),
    "protocol": _fields({"protocol": protocol}),
    "refused": _fields({"reasons": _mapping_to(text)}),
    "config": _fields({"id": text, "label": text, "config": config}),
    "run": _run,
    "outdated": _fields({"label": text, "phase": _one_of(*PHASES), "number": count}),
}


def check_record(record):
    """Checks the kinds of all fields that are read.

    Args:
        record (object): what stands in a line.

    Raises:
        Unfit: with the field, its value and what it must be.
    """
    a_mapping(record, "the record")
    kind = record.get("kind")
    if type(kind) is not str or kind not in KINDS:
        raise Unfit(f"kind is {_shown(kind)}, not one of {', '.join(KINDS)}")
    KINDS[kind](record, "")
