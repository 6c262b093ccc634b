"""What stands in the columns of a table? Read as text, in pieces, whatever parts the columns."""

import codecs
import csv
import difflib
import io
import itertools
import operator
import re
from pathlib import Path
from typing import NamedTuple

import atomic
import numpy as np
import pandas as pd

BATCH = 1 << 12
QUOTING = {"csv": csv.QUOTE_MINIMAL, "none": csv.QUOTE_NONE}

_LINE_END = re.compile("\r\n|\r|\n")


class Form(NamedTuple):
    """How a text is written.

    Attributes:
        sep (str): what parts the columns; None for what the file's ending says.
        encoding (str): None for UTF-8.
        quoting (str): one of ``QUOTING``: whether quotation marks enclose a field, or are letters.
    """

    sep: str | None = None
    encoding: str | None = None
    quoting: str = "csv"


def read(path, names, form, bad):
    """Reads columns of a table.

    Args:
        path (str or Path): a text with a header, plain, ``.gz`` or ``.zip``; or a ``.parquet``.
        names (list of str): the columns to read.
        form (Form): how a text is written.
        bad (BadLines): is told of the lines that hold more or fewer columns, or cannot be read.

    Yields:
        tuple: the columns (list of sequences of str, "" for a missing value), and a callable that
        turns the 0-based number of a row into that of its line, and sorts what ``bad`` is told.

    Raises:
        atomic.InputError: the file or the form is not as it must be.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        if form != Form():
            raise atomic.InputError(f"{path}: --sep, --encoding and --quoting are for text")
        return _read_parquet(path, names)
    return _read_text(path, names, form, bad)


def noun(path):
    """What a line of a file is called."""
    return "row" if Path(path).suffix == ".parquet" else "line"


def _separator(path, sep):
    if sep is not None:
        sep = {"\\t": "\t", "tab": "\t"}.get(sep, sep)
        if len(sep) != 1 or sep in '"\r\n\0':
            raise atomic.InputError(
                f"--sep {sep!r}: must be one character that is no quotation mark or line end, as "
                "';', '|' or tab"
            )
        return sep
    kinds = [suffix for suffix in path.suffixes if suffix not in (".gz", ".zip")][-1:]
    # A zip is often named without the type of what it holds.
    if kinds == [".csv"] or (path.suffix == ".zip" and kinds != [".tsv"]):
        return ","
    if kinds == [".tsv"]:
        return "\t"
    raise atomic.InputError(
        f"{path}: must end in .csv, .tsv (also with .gz or .zip) or .parquet to be read, or --sep "
        "says what parts its columns"
    )


def _encoding(name):
    try:
        name = codecs.lookup(name or "utf-8").name
        "".encode(name)
    except (LookupError, UnicodeError):
        raise atomic.InputError(
            f"--encoding {name!r} is none that Python knows; usual ones are utf-8, latin-1, cp1252 "
            "and utf-16"
        ) from None
    return "utf-8-sig" if name == "utf-8" else name


def _read_text(path, names, form, bad):
    separator, encoding = _separator(path, form.sep), _encoding(form.encoding)
    with atomic.open_raw(path) as raw:
        # What is not UTF-8 is refused where it stands in a token, and does no harm elsewhere.
        text = io.TextIOWrapper(raw, encoding, errors="surrogateescape", newline="")
        quoting = QUOTING[form.quoting]
        reader = csv.reader(_lines(path, text), delimiter=separator, strict=True, quoting=quoting)
        try:
            header = next(reader, None)
        except csv.Error as error:
            raise atomic.InputError(f"{path}, line 1: {error}") from None
        if not header:
            raise atomic.InputError(f"{path}: is empty")
        pick = operator.itemgetter(*[_place(path, name, header, form.sep) for name in names])
        while True:
            start, records, error = reader.line_num, [], None
            try:
                records.extend(itertools.islice(reader, BATCH))  # keeps those before an error
            except csv.Error as found:
                error = found
            if not records and error is None:
                return
            piece = _Piece(start, records, reader.line_num)
            widths = np.fromiter(map(len, records), np.int64, len(records))
            wrong = widths != len(header)
            misfits = _Misfits(wrong, records, len(header))
            if wrong.any():
                records = list(itertools.compress(records, (~wrong).tolist()))
            columns = list(zip(*map(pick, records))) if records else [()] * len(names)
            yield columns, piece.line_of, misfits
            if error is not None:
                bad.add(piece.end + 1, _torn(error, piece.end + 1, reader.line_num))


class _Misfits(NamedTuple):
    """The rows of a piece that have more or fewer columns than the header."""

    rows: np.ndarray
    records: list
    n_columns: int

    def wrong(self, row):
        record = self.records[row]
        found = f"{len(record)} columns" if record else "an empty line"
        return f"expected {self.n_columns} columns, found {found}"


class _Piece:
    """Where the records of a piece begin: each takes one line, and one for each break in it."""

    def __init__(self, start, records, end):
        self.start, self.records, self.end = start, records, end
        self._before = None
        if end - start != len(records):
            self._count()
            self.end = start + int(self._before[-1])

    def _count(self):
        lines = [
            1 + sum(len(_LINE_END.findall(field)) for field in record if not field.isprintable())
            for record in self.records
        ]
        self._before = np.concatenate([[0], np.cumsum(lines, dtype=np.int64)])

    def line_of(self, row):
        return self.start + 1 + (row if self._before is None else int(self._before[row]))


def _torn(error, first, last):
    if last <= first:
        return str(error)
    return (
        f"{error} (a quotation mark opened there takes in the lines up to {last}; --quoting=none "
        "reads quotation marks as letters)"
    )


def _lines(path, text):
    number = 0
    while True:
        try:
            line = text.readline(atomic.LONGEST_LINE + 1)
        except UnicodeError as error:
            raise atomic.InputError(
                f"{path}, line {number + 1}: is not {text.encoding} ({error.reason}); "
                "--encoding names another"
                if isinstance(error, UnicodeDecodeError)
                else f"{path}, line {number + 1}: is not {text.encoding} ({error})"
            ) from None
        if not line:
            return
        number += 1
        if len(line) > atomic.LONGEST_LINE:
            raise atomic.InputError(
                f"{path}, line {number}: is longer than {atomic.LONGEST_LINE:,} characters"
            )
        yield line


def _read_parquet(path, names):
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise atomic.InputError(
            f'{path}: reading parquet needs pip install "recbole-diffusion[parquet]" ({error})'
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            kinds, texts = pyarrow.types, {}
            for name in names:
                _place(path, name, file.schema_arrow.names)
                kind = file.schema_arrow.field(name).type
                if kinds.is_nested(kind):
                    raise atomic.InputError(
                        f"{path}: column {name!r} holds {kind}, and not one value a row"
                    )
                if kinds.is_binary(kind) or kinds.is_large_binary(kind):  # text of older writers
                    texts[name] = pyarrow.large_string()
            rows = 0
            for batch in file.iter_batches(BATCH, columns=list(dict.fromkeys(names))):
                read = pyarrow.Table.from_batches([batch])
                for name, kind in texts.items():
                    place = read.schema.get_field_index(name)
                    read = read.set_column(place, name, read[name].cast(kind))
                frame = read.to_pandas(ignore_metadata=True, integer_object_nulls=True)
                columns = [_as_text(frame[name]) for name in names]
                yield columns, lambda row, rows=rows: rows + row + 1, None
                rows += len(frame)
    except FileNotFoundError:
        raise atomic.InputError(f"{path}: no such file") from None
    except pyarrow.ArrowException as error:
        reason = str(error).split("\n", 1)[0]
        raise atomic.InputError(f"{path}: cannot be read as parquet: {reason}") from None


def _as_text(column):
    def text(value):
        if isinstance(value, (float, np.floating)):
            return np.format_float_positional(value, trim="-")
        return value.isoformat() if isinstance(value, pd.Timestamp) else str(value)

    # Not tolist(), which would widen a float32 and give it more digits.
    values = column.to_numpy() if column.dtype.kind == "f" else column.tolist()
    return ["" if pd.isna(value) else text(value) for value in values]


def _place(path, name, header, sep=None):
    if header.count(name) == 1:
        return header.index(name)
    if name in header:
        raise atomic.InputError(f"{path}: has {header.count(name)} columns named {name!r}")
    near = difflib.get_close_matches(name, header, n=1, cutoff=0.4)
    other = [mark for mark in ";\t|," if mark in header[0]] if len(header) == 1 else []
    if header[0][:2] in ("\udcff\udcfe", "\udcfe\udcff"):
        raise atomic.InputError(f"{path}: is not UTF-8, --encoding=utf-16 reads it")
    if header[0].startswith("sep="):
        hint = ": line 1 is one that Excel writes, take it out"
    elif other and sep is None:
        hint = f", are they parted by {other[0]!r}? --sep={other[0]!r} says so"
    else:
        hint = f", did you mean {near[0]!r}?" if near else ""
    raise atomic.InputError(
        f"{path}: has no column {name!r}{hint} (its columns: {', '.join(header)})"
    )
