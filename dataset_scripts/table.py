"""Your own table to a RecBole atomic file.

Raw file: any ``.csv``, ``.tsv`` (either also as ``.gz`` or ``.zip``) or ``.parquet`` with a header,
a row per interaction; you know where it comes from and what its licence allows.

Without ``--behavior`` there is no behaviour column. Without ``--time`` the rows are numbered 0, 1,
... in file order. Numbers in the time column are written as they are; ISO dates (``2017-11-25``,
``2017-11-25T08:00:00+08:00``; UTC where no zone is given) become seconds since 1970. Which of the
two a column holds is decided by its first row.

Rows are written by user in order of first appearance, then by time. If all behaviours are among
view, favorite, cart and buy, equal stamps are ordered that way; other ties stay in file order.

Usage::

    python dataset_scripts/table.py --input FILE --output dataset/mydata --user COL --item COL
        [--behavior COL] [--time COL]
"""

import argparse
import contextlib
import csv
import difflib
import io
import itertools
import re
import sys
from decimal import Decimal
from pathlib import Path

import atomic
import numpy as np
import pandas as pd

RANKED = ("view", "favorite", "cart", "buy")
# RecBole reads with pandas, which takes these words for missing values; [PAD] is RecBole's own.
MISREAD = {
    "#N/A",
    "#N/A N/A",
    "#NA",
    "-1.#IND",
    "-1.#QNAN",
    "-NaN",
    "-nan",
    "1.#IND",
    "1.#QNAN",
    "<NA>",
    "N/A",
    "NA",
    "NULL",
    "NaN",
    "None",
    "n/a",
    "nan",
    "null",
    "[PAD]",
}
BATCH = 1 << 12
LONGEST_TOKEN = 1 << 12

# What else than a line feed ends a line for some programs is refused when the data set is read.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")


def read_columns(path, names):
    """Reads columns of a table as text.

    Args:
        path (str or Path): the table.
        names (list of str): the columns to read.

    Returns:
        tuple: the columns (lists of str, "" for a missing value), and a callable that turns the
        0-based number of a row into words that say where it is.

    Raises:
        atomic.InputError: the file, a column or a row is not as it must be.
    """
    path = Path(path)
    kinds = [suffix for suffix in path.suffixes if suffix not in (".gz", ".zip")][-1:]
    if path.suffix == ".parquet":
        return _read_parquet(path, names)
    # A zip is often named without the type of what it holds.
    if kinds == [".csv"] or (path.suffix == ".zip" and kinds != [".tsv"]):
        return _read_text(path, names, ",")
    if kinds == [".tsv"]:
        return _read_text(path, names, "\t")
    raise atomic.InputError(
        f"{path}: must end in .csv, .tsv (also with .gz or .zip) or .parquet to be read"
    )


def _read_text(path, names, delimiter):
    def where(row):
        return f"{path}, line {_line_of(path, delimiter, row)}"

    columns, rows = [[] for _ in names], 0
    # One string for equal words: a column of users has few words and many rows.
    same = [{} for _ in names]
    try:
        with _records(path, delimiter) as reader:
            header = next(reader, None)
            if not header:
                raise atomic.InputError(f"{path}: is empty")
            places = [_place(path, name, header) for name in names]
            while batch := list(itertools.islice(reader, BATCH)):
                if set(map(len, batch)) != {len(header)}:
                    bad = next(i for i, record in enumerate(batch) if len(record) != len(header))
                    found = f"{len(batch[bad])} columns" if batch[bad] else "an empty line"
                    raise atomic.InputError(
                        f"{where(rows + bad)}: expected {len(header)} columns, found {found}"
                    )
                for column, place, words in zip(columns, places, same):
                    fields = [record[place] for record in batch]
                    column.extend(map(words.setdefault, fields, fields))
                rows += len(batch)
    except csv.Error as error:
        raise atomic.InputError(f"{path}, line {_line_of(path, delimiter)}: {error}") from None
    return columns, where


@contextlib.contextmanager
def _records(path, delimiter):
    with atomic.open_raw(path) as raw:
        # What is not UTF-8 is refused where it stands in a token, and does no harm elsewhere.
        text = io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="")
        yield csv.reader(_lines(path, text), delimiter=delimiter, strict=True)


def _lines(path, text):
    number = 0
    while line := text.readline(atomic.LONGEST_LINE + 1):
        number += 1
        if len(line) > atomic.LONGEST_LINE:
            raise atomic.InputError(
                f"{path}, line {number}: is longer than {atomic.LONGEST_LINE:,} characters"
            )
        yield line


def _line_of(path, delimiter, row=None):
    """Returns the line on which a row begins; without ``row``, the first one csv cannot read."""
    end = 0
    with _records(path, delimiter) as reader, contextlib.suppress(csv.Error):
        for _ in itertools.islice(reader, None if row is None else row + 1):
            end = reader.line_num
    return end + 1


def _read_parquet(path, names):
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise atomic.InputError(
            f'{path}: reading parquet needs pip install "recbole-diffusion[parquet]" ({error})'
        ) from None
    try:
        header = parquet.read_schema(path).names
        for name in names:
            _place(path, name, header)
        table = parquet.read_table(path, columns=list(dict.fromkeys(names)))
    except FileNotFoundError:
        raise atomic.InputError(f"{path}: no such file") from None
    except pyarrow.ArrowException as error:
        reason = str(error).split("\n", 1)[0]
        raise atomic.InputError(f"{path}: cannot be read as parquet: {reason}") from None
    frame = table.to_pandas(ignore_metadata=True)
    return [_as_text(frame[name]) for name in names], lambda row: f"{path}, row {row + 1}"


def _as_text(column):
    def text(value):
        if isinstance(value, (float, np.floating)):
            return np.format_float_positional(value, trim="-")
        return value.isoformat() if isinstance(value, pd.Timestamp) else str(value)

    # Not tolist(), which would widen a float32 and give it more digits.
    values = column.to_numpy() if column.dtype.kind == "f" else column.tolist()
    return ["" if pd.isna(value) else text(value) for value in values]


def _place(path, name, header):
    if header.count(name) == 1:
        return header.index(name)
    if name in header:
        raise atomic.InputError(f"{path}: has {header.count(name)} columns named {name!r}")
    near = difflib.get_close_matches(name, header, n=1, cutoff=0.4)
    raise atomic.InputError(
        f"{path}: has no column {name!r}"
        + (f", did you mean {near[0]!r}?" if near else "")
        + f" (its columns: {', '.join(header)})"
    )


def tokens_to_codes(column, name, where):
    """Numbers the tokens of a column by first appearance.

    Args:
        column (list of str): the tokens.
        name (str): what the column holds, for the message.
        where (callable): see :func:`read_columns`.

    Returns:
        tuple: codes (numpy.ndarray, shape: [n_rows]) and the tokens (list of str).

    Raises:
        atomic.InputError: a token is missing, or RecBole would not read it back as it is.
    """
    number = {}
    codes = np.fromiter(
        (number.setdefault(token, len(number)) for token in column), np.int64, len(column)
    )
    for token, code in number.items():
        wrong = _what_is_wrong(token)
        if wrong:
            row = int(np.argmax(codes == code))
            raise atomic.InputError(f"{where(row)}: the {name} {wrong}")
    return codes, list(number)


def _what_is_wrong(token):
    if not token.strip():
        return "is missing"
    if _CONTROL.search(token):
        return f"{token!r} holds a tab or another control character"
    if len(token) > LONGEST_TOKEN:
        return f"{token!r} has more than {LONGEST_TOKEN:,} characters"
    if token in MISREAD:
        return f"{token!r} would be read back as a missing value"
    if not token.isascii() and re.search("[\ud800-\udfff]", token):
        return f"{token!r} is not UTF-8"
    return None


def read_times(column, where):
    """Reads a column of numbers or of ISO dates.

    Args:
        column (list of str): the times.
        where (callable): see :func:`read_columns`.

    Returns:
        tuple: a key to sort by (numpy.ndarray, shape: [n_rows]) and the text to write (ditto).

    Raises:
        atomic.InputError: a time is missing, negative, or neither a number nor a date.
    """
    text = pd.Series(column, dtype=object)
    # Whole numbers stay whole: as floats they would not be exact beyond 2^53.
    if re.fullmatch("(?:[0-9]{1,18}\n)*", "\n".join([*column, ""])):
        return text.astype(np.int64).to_numpy(), text.to_numpy()
    text = text.str.strip()
    numbers = np.array([float(t) if _NUMBER.fullmatch(t) else np.nan for t in text])
    if np.isfinite(numbers[0]):
        finite = np.isfinite(numbers)
        _check_times(text, finite, numbers < 0, "a number (as the first row is)", where)
        plain = text.str.fullmatch(r"[0-9]+(?:\.[0-9]+)?").to_numpy(bool)
        text[~plain] = [format(Decimal(value), "f") for value in text[~plain]]
        return numbers, text.to_numpy()
    nanoseconds = atomic.read_dates(text)
    dated = nanoseconds != atomic.NO_DATE
    kind = "an ISO date" if dated[0] else "a number or an ISO date"
    _check_times(text, dated, nanoseconds < 0, kind, where)
    seconds = [_seconds(n) for n in nanoseconds.tolist()]
    return nanoseconds, np.array(seconds, dtype=object)


def _seconds(nanoseconds):
    whole, rest = divmod(nanoseconds, 10**9)
    return f"{whole}.{rest:09d}".rstrip("0") if rest else str(whole)


def _check_times(text, fitting, negative, kind, where):
    bad = ~fitting | negative
    if bad.any():
        row = int(np.argmax(bad))
        if not text.iloc[row]:
            wrong = "is missing"
        elif fitting[row]:
            wrong = f"{text.iloc[row]!r} is negative (before 1970)"
        else:
            wrong = f"{text.iloc[row]!r} is not {kind}"
        raise atomic.InputError(f"{where(row)}: the time {wrong}")


def convert(input, output, user, item, behavior=None, time=None):
    """Writes ``<output>/<name>.inter`` and prints its counts.

    Args:
        input (str or Path): the table.
        output (str or Path): folder to write; its last part names the data set.
        user (str): name of the column of users.
        item (str): name of the column of items.
        behavior (str): name of the column of behaviours; None for none.
        time (str): name of the column of times; None to number the rows.

    Raises:
        atomic.InputError: the table is malformed; names the line.
    """
    names = {"user": user, "item": item, "behavior": behavior, "time": time}
    names = {noun: name for noun, name in names.items() if name is not None}
    columns, where = read_columns(input, list(names.values()))
    columns = dict(zip(names, columns))
    n_rows = len(columns["user"])
    if not n_rows:
        raise atomic.InputError(f"{input}: holds a header and no rows")
    codes, tokens = {}, {}
    for noun in [noun for noun in columns if noun != "time"]:
        codes[noun], tokens[noun] = tokens_to_codes(columns.pop(noun), noun, where)
    if time is None:
        key = stamp = np.arange(n_rows)
    else:
        key, stamp = read_times(columns.pop("time"), where)

    rank = np.zeros(n_rows, np.int64)
    if behavior is not None and set(tokens["behavior"]) <= set(RANKED):
        rank = np.array([RANKED.index(t) for t in tokens["behavior"]])[codes["behavior"]]
    order = np.lexsort((rank, key, codes["user"]))
    duplicates = int(pd.DataFrame({**codes, "time": key}).duplicated().sum())
    per_behavior = {None: n_rows}
    if behavior is not None:
        per_behavior = dict(zip(tokens["behavior"], np.bincount(codes["behavior"])))
    counts = atomic.summary(len(tokens["user"]), len(tokens["item"]), per_behavior)
    counts.pop(None, None)

    with atomic.output_folder(output) as (folder, _):
        path = folder / f"{folder.name}.inter"
        with atomic.inter_file(path, behavior=behavior is not None) as write:
            text = [np.array(tokens[noun], dtype=object)[codes[noun][order]] for noun in codes]
            write(*text, stamp[order])
    atomic.say("written", {**counts, atomic.DUPLICATES: duplicates})


def main(argv=None):
    """Runs the command line and returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--input", required=True, help="a .csv, .tsv or .parquet with a header")
    parser.add_argument("--output", required=True, help="folder to write, as in dataset/mydata")
    parser.add_argument("--user", required=True, metavar="COL", help="column of users")
    parser.add_argument("--item", required=True, metavar="COL", help="column of items")
    parser.add_argument("--behavior", metavar="COL", help="column of behaviours")
    parser.add_argument("--time", metavar="COL", help="column of times: numbers or ISO dates")
    return atomic.run(convert, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
