"""What do the rows of an atomic file say, and which are trained on and held out? In plain Python.

An independent reading, one line and one user after the other, for files of a user, an item, a time
and perhaps a behaviour. Three answers: the rows; that they have to be refused; and that they may
be, where a reader could honestly do either.
"""

import re
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
TYPES = {
    "user_id": "token",
    "item_id": "token",
    "behavior": "token",
    "timestamp": "float",
    "rating": "float",
    "tags": "token_seq",
    "vector": "float_seq",
}
MISSING_WORDS = {
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null", "[PAD]",
}  # fmt: skip
PLAIN = re.compile(r"[\w.:-]+", re.ASCII)


class Row(NamedTuple):
    user: str
    item: str
    behavior: str
    time: float


class Reading(NamedTuple):
    """What a file says.

    Attributes:
        rows (list of Row): its rows in file order; None where they have to be refused.
        must (bool): nothing in the file is a reason to refuse it.
    """

    rows: list
    must: bool


REFUSED = Reading(None, False)


def read(content, behaviors):
    """Reads a file.

    Args:
        content (bytes): of the file.
        behaviors (bool): whether a behaviour is asked for.

    Returns:
        Reading: its rows with "" as the behaviour where none is asked for.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return REFUSED
    must = not text.startswith("\ufeff")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if "\n" not in text:  # as old Macs wrote lines: a reader may know them
        must = must and "\r" not in text
        text = text.replace("\r", "\n")
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    if not lines or any(re.search("[\0-\x08\x0b-\x1f\x7f]", line) for line in lines):
        return REFUSED
    must = must and not re.search("[\x80-\x9f\u2028\u2029]", text)
    columns = []
    for column in lines[0].split("\t"):
        name, _, kind = column.partition(":")
        if kind not in TYPES.values() or TYPES.get(name, kind) != kind:
            return REFUSED
        columns.append(name)
    needed = ["user_id", "item_id", "timestamp", *(["behavior"] if behaviors else [])]
    if len(set(columns)) < len(columns) or not set(needed) <= set(columns):
        return REFUSED
    rows = []
    for line in lines[1:]:
        fields = line.split("\t")
        if not line.strip():
            must = False
            continue
        if len(fields) > len(columns):
            return REFUSED
        must = must and len(fields) == len(columns)
        found = dict(zip(columns, fields + [""] * len(columns)))
        if any(not found[name] for name in needed):
            return REFUSED
        stamp = found["timestamp"]
        if not NUMBER.fullmatch(stamp.strip(" ")) or not np.isfinite(float(stamp)):
            return REFUSED
        must = must and stamp == stamp.strip(" ")
        for name in set(columns) - {"timestamp"}:
            if name in ("rating", "vector"):
                parts = found[name].split(" ")
                must = must and all(NUMBER.fullmatch(part) for part in parts)
            else:
                word = found[name]
                must = must and word not in MISSING_WORDS and word == word.strip()
        behavior = found["behavior"] if behaviors else ""
        rows.append(Row(found["user_id"], found["item_id"], behavior, float(stamp)))
    return Reading(rows, must) if rows else REFUSED


def once(rows):
    """The rows without those that stood before: same user, item, behaviour and stamp."""
    return list(dict.fromkeys(rows))


def histories(rows):
    """Each user's rows in order of time; ties keep the order of the file."""
    found = {}
    for row in sorted(rows, key=lambda row: row.time):
        found.setdefault(row.user, []).append(row)
    return found


def leave_one_out(rows, target, sequential):
    """Which rows are trained on and held out, by leave-one-out in time order.

    A user's first interaction and one more stay in training; with behaviours, the first of those
    that are held out and what stands before it.

    Args:
        rows (list of Row): of the log, in file order.
        target (str): the behaviour that is held out; None where there are none.
        sequential (bool): for a model that reads histories: a first row is no row.

    Returns:
        list: for train, valid and test a list of (user, rows before, row).
    """
    parts = [], [], []
    for user, history in histories(once(rows)).items():
        places = [n for n, row in enumerate(history) if target is None or row.behavior == target]
        if target is None:
            places = places[1:]
        held = places[1:][-2:]  # the first stays in training
        part = dict(zip(reversed(held), (2, 1)))
        for place, row in enumerate(history):
            if sequential and place == 0:
                continue
            if place in part:
                parts[part[place]].append((user, history[:place], row))
            elif not held or place < held[0]:
                parts[0].append((user, history[:place], row))
    return parts


# ---------------------------------------------------------------- files with odd things in them
QUIET_WORDS = ['"', '""', '"""', 'a"b', '"u1"', "'", "1", "01", "1.0", "1e3", "-", "+1", "👍", "é"]
QUIET_WORDS += ["e\u0301", "日本", "a b", "#x", "u1,u2", "\\", "\\t", "True", "u" * 300]
LOUD_WORDS = [
    "NA",
    "nan",
    "None",
    "null",
    "[PAD]",
    " u1",
    "u1 ",
    "a\0b",
    "a\x1bb",
    "a\x0bb",
    "a\x85b",
]
LOUD_WORDS += ["a\u2028b", "\ufeffu1", "a\rb", "", " "]
ODD_WORDS = st.sampled_from(QUIET_WORDS) | st.sampled_from(QUIET_WORDS + LOUD_WORDS)
ODD_STAMPS = st.sampled_from(
    ["", "nan", "inf", "-inf", "1e400", "0x10", "1_000", "١", "1,5", "5.", ".5", "+3", "-4", "1e3"]
    + [" 5", "5 ", "five", "2017-11-25", "1e", "--1", "1e-3", "00", "-0", "9007199254740993", "0.1"]
    + ["1234567890123", "1234567890124", "True", '"5"', "5L", "1d", "Infinity", "5\0"]
)


@st.composite
def words(draw, prefix, count, odd):
    """Tokens of users or items, most of them plain."""
    plain = [f"{prefix}{n}" for n in range(count)]
    if not odd:
        return plain
    return plain + draw(st.lists(ODD_WORDS, max_size=2))


@st.composite
def logs(draw, odd=True, behaviors=None):
    """The lines of a log, as lists of fields, with a header.

    Args:
        odd (bool): odd tokens and stamps occur.
        behaviors (bool): whether there is a behaviour column; None draws it.

    Returns:
        tuple: header (list of str) and lines (list of list of str).
    """
    odd_words = odd and draw(st.booleans())
    odd_stamps = odd and draw(st.sampled_from([False] * 5 + [True]))
    users = draw(words("u", draw(st.integers(2, 5)), odd_words))
    items = draw(words("i", 12, odd_words))
    if behaviors is None:
        behaviors = draw(st.booleans())
    columns = ["user_id", "item_id", "timestamp"] + ["behavior"] * behaviors
    columns += draw(st.sampled_from([[], [], ["rating"], ["tags"], ["vector"]])) if odd else []
    columns = draw(st.permutations(columns)) if odd else columns
    stamps = st.integers(0, draw(st.sampled_from([3, 50, 10**9]))).map(str)
    if odd_stamps:
        stamps = st.one_of(stamps, stamps, stamps, ODD_STAMPS)
    fields = {
        "user_id": st.sampled_from(users),
        "item_id": st.sampled_from(items),
        "timestamp": stamps,
        "behavior": st.sampled_from(["buy", "buy", "view"]),
        "rating": st.sampled_from(["1", "2.5", "-3"]),
        "tags": st.sampled_from(["a", "a b", "c"]),
        "vector": st.sampled_from(["1 2", "0.5 3"]),
    }
    line = st.tuples(*(fields[name] for name in columns)).map(list)
    lines = draw(st.lists(line, min_size=draw(st.sampled_from([1, 15, 30])), max_size=45))
    if draw(st.booleans()):
        lines += [list(line) for line in draw(st.lists(st.sampled_from(lines), max_size=4))]
    header = [f"{name}:{TYPES[name]}" for name in columns]
    return header, lines


DAMAGE = st.sampled_from(
    [None] * 32
    + ["header type", "header gone", "header twice", "more fields", "fewer fields", "blank line"]
    + ["spaces line", "other column", "no rows", "not utf-8", "bom", "empty file", "half a line"]
    + ["seq id", "tab at end", "quote opens", "nul bytes"]
)


@st.composite
def contents(draw, behaviors=None):
    """The content of an .inter file, often with something wrong in it."""
    header, lines = draw(logs(behaviors=behaviors))
    damage = draw(DAMAGE)
    where = draw(st.integers(0, len(lines) - 1))
    if damage == "header type":
        wrong = ["item_id:tok", "item_id", ":token", "user_id:token_seq", "", "x:float"]
        header[draw(st.integers(0, len(header) - 1))] = draw(st.sampled_from(wrong))
    elif damage == "seq id":
        header = [name.replace("item_id:token", "item_id:token_seq") for name in header]
    elif damage == "header gone":
        header = lines.pop(0)
    elif damage == "header twice":
        lines.insert(0, header)
    elif damage == "other column":
        header[-1], header[0] = header[0], header[0]
    elif damage == "more fields":
        lines[where] = lines[where] + [draw(st.sampled_from(["x", "", "3"]))]
    elif damage == "fewer fields":
        lines[where] = lines[where][:-1]
    elif damage in ("blank line", "spaces line"):
        lines.insert(where, [""] if damage == "blank line" else [" "])
    elif damage == "no rows":
        lines = []
    elif damage == "tab at end":
        lines = [[*line, ""] for line in lines]
    elif damage == "quote opens":
        lines[where] = ['"' + lines[where][0], *lines[where][1:]]
    end = draw(st.sampled_from(["\n", "\n", "\n", "\r\n", "\r"]))
    text = "".join("\t".join(line) + end for line in [header, *lines])
    if draw(st.booleans()):
        text = text.removesuffix(end)
    content = text.encode("utf-8")
    if damage == "not utf-8":
        content = content.replace(b"i1", b"i\xff", 1)
    elif damage == "bom":
        content = b"\xef\xbb\xbf" + content
    elif damage == "empty file":
        content = b""
    elif damage == "half a line":
        content = content[: draw(st.integers(0, len(content)))]
    elif damage == "nul bytes":
        place = draw(st.integers(0, len(content)))
        content = content[:place] + b"\0\0" + content[place:]
    return content
