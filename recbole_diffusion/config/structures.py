"""What do settings with a form of their own look like: intervals, columns, splits, devices?

Each is a kind with a name, for declarations as `kinds` has them.
"""

import codecs
import math
import re

from recbole_diffusion.config.kinds import fields, name_kind, parse, shown

LARGEST = 100_000  # of a size or a width: more is a slip, and would be looked for in memory first

_PART = re.compile(r"[\[(]([^\[\](),;]+),([^\[\](),;]+)[\])]$")
_MODE = re.compile(r"(full|labeled|(uni|pop)0*[1-9]\d{0,8})$")
_TEXTS = "list of str or list of int or list of float"


def is_interval(value):
    """Whether a value is an interval of RecBole's, or several: ``[5,inf)``, ``[1,2];(4,5]``."""
    if isinstance(value, list):  # [1, 5] as YAML reads it; RecBole reads its text
        return parse("list of 2 float").fault(value) is None and value[0] <= value[1]
    if not isinstance(value, str):
        return False
    for part in value.split(";"):
        ends = _PART.match(part.strip())
        try:
            low, high = float(ends[1]), float(ends[2])
        except (TypeError, ValueError):
            return False
        if math.isnan(low) or math.isnan(high) or low > high:
            return False
    return True


def _is_separator(value):
    """One character, or several that a regular expression takes as they are."""
    if not isinstance(value, str) or not value:
        return False
    if any(c.isalnum() or c in "\"'\r\n\0_:" for c in value) and value != "::":
        return False
    return len(value) == 1 or re.escape(value) == value


def _is_between(value):
    """What parts the entries of a sequence, taken as it is."""
    return (
        isinstance(value, str)
        and bool(value)
        and not any(c.isalnum() or c in "\r\n\0" for c in value)
    )


def _is_codec(value):
    if not isinstance(value, str):
        return False
    try:
        return codecs.lookup(value)._is_text_encoding and "a".encode(value) != b""
    except (LookupError, ValueError, AttributeError):
        return False


def _is_name(value):
    return isinstance(value, str) and bool(value.strip()) and not set(value) & set("\0\n\r\t")


def _split(value):
    """What is wrong with ``split`` of ``eval_args``."""
    form = "{RS: [0.8, 0.1, 0.1]} or {LS: valid_and_test}"
    if not isinstance(value, dict) or len(value) != 1:
        return f"{form}, with a space after the colon"
    found = fields(value, {"RS": "shares", "LS": "last", "TS": "list of float"})
    return found and f"{form}: {found}"


def _shares(value):
    numbers = parse("list of 3 float at least 0").fault(value) is None
    return not (numbers and value[0] > 0 and sum(value) < math.inf)


def _mode(value):
    words = "full, labeled, or uniN or popN with a number N above 0"
    if isinstance(value, str):
        return None if _MODE.match(value) else words
    if isinstance(value, dict):
        found = fields(value, {"valid": "eval_mode", "test": "eval_mode"})
        return found if found or value else words
    return words


def _eval_args(value):
    return fields(
        value,
        {
            "split": "split or ~",
            "order": "str in [RO, TO] or ~",
            "group_by": "str in [user] or str like [none] or ~",
            "mode": "eval_modes or ~",
        },
    )


def _negatives(value):
    found = fields(
        value,
        {
            "distribution": "str in [uniform, popularity] or ~",
            "sample_num": "int in [1, 100000]",
            "alpha": "float",
            "dynamic": "bool",
            "candidate_num": "int in [0, 100000]",
        },
    )
    if found is None and value.get("dynamic") and not value.get("candidate_num"):
        return "a mapping with candidate_num above 0 where dynamic is True"
    return found


def _gradient(value):
    kinds = {"max_norm": "float above 0", "norm_type": "order", "error_if_nonfinite": "bool"}
    return fields(value, kinds | {"foreach": "bool or ~"}, required=["max_norm"])


def _plateau(value):
    return fields(
        value,
        {
            "mode": "str in [min, max]",
            "factor": "float in [0, 1)",
            "patience": "int at least 0",
            "threshold": "float at least 0",
            "threshold_mode": "str in [rel, abs]",
            "cooldown": "int at least 0",
            "min_lr": "float at least 0 or list of float at least 0",
            "eps": "float at least 0",
            "verbose": "bool",
        },
    )


def _discretization(value):
    if not isinstance(value, dict):
        return True
    for column, how in value.items():
        found = fields(how, {"method": "str in [ED, LD]", "bucket": "int above 0"}, ["method"])
        if found is None and how["method"] == "ED" and "bucket" not in how:
            found = "a mapping with a bucket where the method is ED"
        if found:
            return f"a mapping of columns, and {shown(column)} {found}"
    return None


def _value_interval(value):
    if isinstance(value, list) and value and all(isinstance(entry, str) for entry in value):
        return False  # the tokens that stay
    return not is_interval(value)


def _behavior_from(value):
    kinds = {"field": "name", "values": "dict of interval"}
    return fields(value, kinds, required=list(kinds))


def _one_entry(value):
    found = parse("dict of float").fault(value)
    return found or len(value) != 1


def _even(value):
    return parse("size").fault(value) is not None or value % 2 == 1


def _order(value):
    return value != math.inf and parse("float above 0").fault(value) is not None


def _columns(value):
    return value != "*" and parse("list of name").fault(value) is not None


_size = parse(f"int in [1, {LARGEST}]")
name_kind("size", _size.words, _size.fault)
name_kind("even", f"an even whole number from 2 to {LARGEST}", _even)
_count = parse("int in [1, 1000]")
name_kind("layers", _count.words, _count.fault)
name_kind("share", "a number from 0 to below 1", parse("float in [0, 1)").fault)
name_kind("weight", "a number of at least 0", parse("float at least 0").fault)
name_kind("name", "text that is not blank, in one line", lambda v: not _is_name(v), text=True)
name_kind("codec", "a text encoding, like utf-8", lambda v: not _is_codec(v))
name_kind(
    "separator",
    "one character that is no letter, digit, quotation mark, _ or :",
    lambda value: not _is_separator(value),
)
name_kind("between", "text without letters and digits", lambda value: not _is_between(value))
name_kind("interval", "an interval like [5,inf) or (0,10]", lambda value: not is_interval(value))
name_kind(
    "value_interval",
    "an interval like [5,inf) for numbers, or a list of tokens that stay",
    _value_interval,
)
name_kind("columns", "'*' for all, or a list of names of columns", _columns)
name_kind("split", "", _split, dict)
name_kind("shares", "three numbers of at least 0, the first above 0", _shares, list)
name_kind("last", "one of valid_and_test, valid_only, test_only",
          parse("str in [valid_and_test, valid_only, test_only]").fault)  # fmt: skip
name_kind("eval_mode", "", lambda value: None if isinstance(value, str) and _MODE.match(value) else
          "full, labeled, or uniN or popN with a number N above 0")  # fmt: skip
name_kind("eval_modes", "", _mode, dict)
name_kind("eval_args", "a mapping of split, order, group_by and mode", _eval_args, dict)
name_kind("negatives", "a mapping of distribution, sample_num, alpha, dynamic and candidate_num",
          _negatives, dict)  # fmt: skip
name_kind("gradient", "a mapping of max_norm and norm_type", _gradient, dict)
name_kind("order", "a number above 0, or .inf", _order)
name_kind("plateau", "a mapping of arguments of ReduceLROnPlateau", _plateau, dict)
name_kind("buckets", "a mapping of columns to a method (ED or LD) and a bucket",
          _discretization, dict)  # fmt: skip
name_kind("behaviors", "a mapping of field and values", _behavior_from, dict)
name_kind("label", "a mapping of one column to a number", _one_entry, dict)
name_kind("tokens", "a token or a list of tokens", lambda value: not (
    parse("name or int or float").fault(value) is None
    or (value and parse("list of name or list of int or list of float").fault(value) is None)
), text=True)  # fmt: skip
