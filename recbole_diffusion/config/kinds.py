"""What values may a setting have? Its kind, in the words that stand beside the key in its YAML.

::

    int, float, str, bool, list, dict, any        a plain value; a float may be a whole number too
    int above 0, float at least 0, int below 5    with a bound
    int in [1, 9], float in [0, 1)                in an interval, its ends as in mathematics
    str in [all, last], str like [adam, sgd]      one of these words; like: in any case
    list of int above 0, nonempty list of float, list of 2 float, dict of name
    float above 0 or str in [auto]                either; ~ stands for nothing

Numbers are finite, and whole ones fit into 64 bits. A word that is none of these names a kind that
was given to `name_kind`.
"""

import math
import re
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

LONGEST = 80  # letters of a value that a message shows

_PLAIN = {
    "int": ("whole number", int),
    "float": ("number", (int, float)),
    "str": ("text", str),
    "bool": ("True or False", bool),
    "list": ("a list", list),
    "dict": ("a mapping", dict),
}
_BOUND = re.compile(r"(above|at least|below) (\S+)$")
_INTERVAL = re.compile(r"in ([\[(])(\S+), (\S+)([\])])$")
_WORDS = re.compile(r"(in|like) \[(.+)\]$")
_MANY = re.compile(r"(nonempty )?list of (\d+ )?(.+)$")
_named = {}


class Kind(NamedTuple):
    """What values a setting may have.

    Attributes:
        words (str): what they are: "a whole number above 0".
        fault (Callable): from a value to None, or to words on what it must be.
        container (type): list or dict, where such a value gets further; None elsewhere.
        text (bool): whether any text fits, so that a number may be one.
    """

    words: str
    fault: Callable
    container: type = None
    text: bool = False


def shown(value):
    """A value as a message shows it, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a whole number of thousands of digits; a list in itself
        text = f"a {type(value).__name__} that is too long to write"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def name_kind(name, words, fault, container=None, text=False):
    """Gives a kind that is not plain a name for use in declarations.

    Args:
        name (str): one word.
        words (str): what its values are.
        fault (Callable): from a value to whether it does not fit; or to None, or words on what it
            must be.
        container (type): list or dict, if its values are such.
        text (bool): whether any text fits.
    """

    def of(value):
        found = fault(value)
        return words if found is True else found or None

    _named[name] = Kind(words, of, container, text)


@cache
def parse(declaration):
    """The kind that a declaration names.

    Args:
        declaration (str): as in the head of this file.

    Returns:
        Kind: its words and its check.

    Raises:
        ValueError: if it has no meaning.
    """
    kinds = [_one(part.strip()) for part in declaration.split(" or ")]
    if len(kinds) == 1:
        return kinds[0]
    words = " or ".join(kind.words for kind in kinds)

    def fault(value):
        found = [kind.fault(value) for kind in kinds]
        if None in found:
            return None
        deeper = [f for kind, f in zip(kinds, found) if kind.container is type(value)]
        return deeper[0] if deeper else words

    container = next((kind.container for kind in kinds if kind.container), None)
    return Kind(words, fault, container, any(kind.text for kind in kinds))


def is_bare(declaration):
    """Whether a declaration names types only, and so leaves the bounds to others."""
    return all(part.strip() in _PLAIN for part in declaration.split(" or "))


def _one(text):
    """The kind of a declaration without ``or``."""
    if text == "~":
        return Kind("~", lambda value: None if value is None else "~")
    if text == "any":
        return Kind("anything", lambda value: None, text=True)
    if text in _named:
        return _named[text]
    if many := _MANY.match(text):
        return _list(parse(many[3]), bool(many[1]), int(many[2]) if many[2] else None)
    if text.startswith("dict of "):
        return _dict(parse(text[len("dict of ") :]))
    name, _, rest = text.partition(" ")
    if name not in _PLAIN:
        raise ValueError(f"'{text}' is no kind of value")
    if name in ("int", "float"):
        return _number(text, name, rest)
    if name == "str" and rest:
        return _choice(text, rest)
    words, types = _PLAIN[name]
    if rest:
        raise ValueError(f"'{text}': {name} has no bounds")
    container = types if types in (list, dict) else None

    def fault(value):
        return None if isinstance(value, types) else words

    return Kind(words, fault, container, text=name == "str")


def _number(text, name, rest):
    word, types = _PLAIN[name]
    low, high, open_low, open_high = -math.inf, math.inf, False, False
    if bound := _BOUND.match(rest):
        end = float(bound[2])
        words = f"{bound[1]} {bound[2]}" if bound[1] != "at least" else f"of at least {bound[2]}"
        if bound[1] == "below":
            high, open_high = end, True
        else:
            low, open_low = end, bound[1] == "above"
    elif interval := _INTERVAL.match(rest):
        low, high = float(interval[2]), float(interval[3])
        open_low, open_high = interval[1] == "(", interval[4] == ")"
        words = f"{'above' if open_low else 'from'} {interval[2]} "
        words += f"{'to below' if open_high else 'up to' if open_low else 'to'} {interval[3]}"
    elif rest:
        raise ValueError(f"'{text}': '{rest}' is no bound")
    words = f"a {word} {words}" if rest else f"a {word}"

    def fault(value):
        if isinstance(value, bool) or not isinstance(value, types):
            return words
        if isinstance(value, int) and abs(value) >= 2**63:
            return f"{words}, and below 2^63"
        if not math.isfinite(value):
            return f"{words}, and finite"
        inside = (value > low if open_low else value >= low) and (
            value < high if open_high else value <= high
        )
        return None if inside else words

    return Kind(words, fault)


def _choice(text, rest):
    found = _WORDS.match(rest)
    if not found:
        raise ValueError(f"'{text}': '{rest}' is no list of words")
    known = [word.strip() for word in found[2].split(",")]
    words = f"one of {', '.join(known)}" if len(known) > 1 else known[0]
    plain = str.lower if found[1] == "like" else str
    allowed = {plain(word) for word in known}

    def fault(value):
        return None if isinstance(value, str) and plain(value) in allowed else words

    return Kind(words, fault)


def _list(of, nonempty, size):
    words = re.sub(r"^an? (\w+ )?number", r"\1numbers", of.words)
    words = f"a list of {words}" if words != of.words else f"a list, each of it {of.words}"
    if size is not None:
        words = words.replace("a list of", f"a list of {size}", 1)
    elif nonempty:
        words += ", at least one"

    def fault(value):
        if not isinstance(value, list) or (nonempty and not value):
            return words
        if size is not None and len(value) != size:
            return words
        return next((words for entry in value if of.fault(entry) is not None), None)

    return Kind(words, fault, list)


def _dict(of):
    words = f"a mapping, each value of it {of.words}"

    def fault(value):
        if not isinstance(value, dict):
            return words
        if not all(type(key) in (str, int) for key in value):
            return f"{words}, and each key text"
        if any(":" in str(key) and entry is None for key, entry in value.items()):
            return f"{words}, with a space after the colon"
        return next((words for entry in value.values() if of.fault(entry) is not None), None)

    return Kind(words, fault, dict)


def fields(value, declared, required=()):
    """What is wrong with the entries of a mapping.

    Args:
        value (dict): the mapping.
        declared (dict): declaration of each entry it may have.
        required (Iterable): entries that it must have.

    Returns:
        str: what it must be, None where nothing is wrong.
    """
    if not isinstance(value, dict):
        return f"a mapping of {', '.join(declared)}"
    for key, entry in value.items():
        if key not in declared:
            space = "; write a space after the colon" if ":" in str(key) else ""
            return f"a mapping of {', '.join(declared)}, without {shown(key)}{space}"
        found = parse(declared[key]).fault(entry)
        if found is not None:
            return f"a mapping whose {key} is {found}, not {shown(entry)}"
    missing = [key for key in required if key not in value]
    if missing:
        return f"a mapping with {', '.join(missing)}"
    return None
