"""What do the columns of an atomic file hold? Read as they stand: the format has no quoting."""

import itertools
import math
import re
from typing import NamedTuple

import numpy as np
import pandas as pd
from recbole.utils.enum_type import FeatureSource, FeatureType

from recbole_diffusion.data.lines import DataError, is_plain, read_lines, shown

KINDS = [kind.value for kind in FeatureType]
LONGEST_TOKEN = 1 << 12  # characters; RecBole keeps every token in the memory of the longest one

# Words that stand for a gap, as RecBole's reader (pandas) takes them.
MISSING = {
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
}
NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


class Form(NamedTuple):
    """How the atomic files of a data set are written.

    Attributes:
        separator (str): what parts the columns.
        seq_separator (str): what parts the elements of a sequence.
        encoding (str): of the file; None for UTF-8.
    """

    separator: str
    seq_separator: str
    encoding: str


class ReadAsWritten:
    """Reading of atomic files to the letter; mixed in before a RecBole data set.

    RecBole reads them with a reader of CSV files: a quotation mark that begins a field swallows
    lines up to the next one, and marks around a token vanish.
    ``config`` keys read: ``field_separator``, ``seq_separator``, ``encoding``, ``seq_len``,
    ``load_col``, ``unload_col``.
    """

    def _form(self):
        config = self.config
        return Form(config["field_separator"], config["seq_separator"], config["encoding"])

    def _load_feat(self, filepath, source):
        """Reads a file and declares its columns.

        Args:
            filepath (str): the file.
            source (FeatureSource or str): what it is about.

        Returns:
            pandas.DataFrame: the columns asked for; None if no column is.

        Raises:
            DataError: if the file is malformed, with the line.
        """
        load, unload = self._get_load_and_unload_col(source)
        if load == set():
            return None
        kinds, columns = read_columns(
            filepath,
            self._form(),
            lambda name: (load is None or name in load) and name not in (unload or ()),
        )
        for name, kind in kinds.items():
            if isinstance(source, FeatureSource) or source != "link":
                self.field2source[name] = source
                self.field2type[name] = kind
                if kind in (FeatureType.FLOAT, FeatureType.FLOAT_SEQ):
                    self.field2bucketnum[name] = 2
            longest = 1
            if kind in (FeatureType.TOKEN_SEQ, FeatureType.FLOAT_SEQ):
                limit = (self.config["seq_len"] or {}).get(name)
                columns[name] = [sequence[:limit] for sequence in columns[name]]
                longest = max(map(len, columns[name]))
            self.field2seqlen[name] = longest
        return pd.DataFrame(columns) if columns else None


def read_columns(path, form, wanted=lambda name: True):
    """Reads columns of an atomic file.

    Lines are parted by Python's own ``str.split``: 10 million in half the time of pandas' reader in
    C (results/speed.md), which would also take a quotation mark or a byte-order mark for its own.
    An empty line is no row, wherever it stands. A field is what stands between two separators,
    spaces and quotation marks too. Numbers are plain decimal ones of ASCII digits, like ``-1.5e3``.

    Args:
        path (str or Path): the file.
        form (Form): how it is written.
        wanted (callable): whether to read a column, given its name.

    Returns:
        tuple: kinds (dict of str to FeatureType), and columns (dict of str to values of all rows):
        a pandas.Series of texts for ``token``, NaN for a word of ``MISSING``; a numpy.ndarray for
        ``float``, NaN ditto; a list of numpy.ndarray for sequences.

    Raises:
        DataError: with the file and the line: if it is no text, its first line does not name the
            columns with their types, a line has more or fewer fields, a number is none or not
            finite, a token is too long or RecBole's own ``[PAD]``; or if it has no rows.
    """
    separator = form.separator
    if not separator or "\n" in separator or "\r" in separator:
        raise DataError(f"field_separator: {separator!r} cannot part the columns of a line")
    names, parts = None, []
    for number, lines in read_lines(path, form.encoding, separator + form.seq_separator):
        if names is None:
            names = _header(path, lines[0], separator)
            words = {name: dict.fromkeys(MISSING, math.nan) for name in names}
            lines, number = ["", *lines[1:]], 1
        rows = [line for line in lines if line] if "" in lines else lines
        if not rows:
            continue

        def where(row, lines=lines, number=number):
            full = [place for place, line in enumerate(lines) if line]
            return f"{path} line {number + full[row]}"

        counts = list(map(str.count, rows, itertools.repeat(separator)))
        if set(counts) != {len(names) - 1}:
            row = next(row for row, count in enumerate(counts) if count != len(names) - 1)
            raise DataError(
                f"{where(row)}: {counts[row] + 1} fields under the {len(names)} columns of line 1"
            )
        fields = separator.join(rows).split(separator)
        part = {}
        for place, (name, kind) in enumerate(names.items()):
            if wanted(name):
                column = _Column(f"{name}:{kind.value}", fields[place :: len(names)], where)
                part[name] = column.read(kind, form.seq_separator, words[name])
        parts.append(part)
    if not parts:
        raise DataError(f"{path} holds no interactions" + (", only a header" if names else ""))
    kinds = {name: names[name] for name in parts[0]}
    return kinds, {name: _join(kind, [p.pop(name) for p in parts]) for name, kind in kinds.items()}


def _header(path, line, separator):
    names = {}
    for column in line.split(separator):
        name, _, kind = column.partition(":")
        if not name or kind not in KINDS:
            raise DataError(
                f"{path} line 1: {shown(column)} is not name:type with a type of {KINDS}; the "
                f"first line names the columns, parted by {separator!r}, each like user_id:token"
            )
        if name in names:
            raise DataError(f"{path} line 1: two columns have the name '{name}'")
        names[name] = FeatureType(kind)
    return names


def _join(kind, parts):
    if kind == FeatureType.FLOAT:
        return np.concatenate(parts)
    if kind != FeatureType.TOKEN:
        return list(itertools.chain.from_iterable(parts))
    # Python's strings, each distinct one once: pandas 3 would copy every row's text into a column
    # of its own `str`, and out again wherever RecBole asks for an array.
    return pd.Series(np.concatenate(parts), dtype=object)


class _Column:
    """The fields of one column in some lines.

    Args:
        title (str): name and type, for messages.
        fields (list of str): the fields.
        where (callable): gives file and line of a field, for messages.
    """

    def __init__(self, title, fields, where):
        self.title, self.fields, self.where = title, fields, where

    def read(self, kind, separator, words):
        if kind == FeatureType.TOKEN:
            return self._tokens(words)
        if kind == FeatureType.FLOAT:
            return self._numbers(self.fields, range(len(self.fields)), gaps=MISSING)
        cells = [
            [] if field in MISSING else list(filter(None, field.split(separator)))
            for field in self.fields
        ]
        flat = list(itertools.chain.from_iterable(cells))
        if kind == FeatureType.TOKEN_SEQ:
            self._refuse_tokens(
                set(flat), lambda token: [token in cell for cell in cells].index(True)
            )
            return [np.array(cell) for cell in cells]
        ends = np.cumsum([len(cell) for cell in cells])
        row_of = np.repeat(np.arange(len(cells)), [len(cell) for cell in cells])
        return np.split(self._numbers(flat, row_of, gaps=()), ends[:-1])

    def _tokens(self, words):
        known, count = len(words), len(self.fields)
        values = np.fromiter(map(words.setdefault, self.fields, self.fields), object, count)
        self._refuse_tokens(list(itertools.islice(words, known, None)), self.fields.index)
        return values

    def _refuse_tokens(self, tokens, find):
        if "[PAD]" in tokens:
            raise DataError(
                f"{self.where(find('[PAD]'))}: {self.title} holds '[PAD]', which is RecBole's name "
                "for no token"
            )
        long = [token for token in tokens if len(token) > LONGEST_TOKEN]
        if long:
            row = min(map(find, long))
            raise DataError(
                f"{self.where(row)}: {self.title} holds a token of more than {LONGEST_TOKEN:,} "
                "characters"
            )

    def _numbers(self, fields, row_of, gaps):
        text = "".join(fields)
        if is_plain(text):
            try:
                values = np.array(list(map(float, fields)), dtype=np.float64)
            except ValueError:
                pass
            else:
                if np.isfinite(values).all():
                    return values
        return np.array([self._number(*pair, gaps) for pair in zip(fields, row_of)])

    def _number(self, field, row, gaps):
        if field in gaps:
            return math.nan
        value = float(field) if NUMBER.fullmatch(field) else None
        if value is None or not math.isfinite(value):
            wrong = "not a plain decimal number" if value is None else "too large"
            raise DataError(f"{self.where(row)}: {self.title} holds {shown(field)}, {wrong}")
        return value
