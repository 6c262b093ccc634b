"""How is a comma-separated file of typed columns read? Shared by the scripts here.

Every field must fit its pattern; the first line that does not is refused with its number.
"""

import io
import re
from typing import NamedTuple

import atomic
import numpy as np
import pandas as pd


class Field(NamedTuple):
    """What a column must hold: a pattern, words for it, and the type to read it as (or None)."""

    pattern: str
    kind: str
    dtype: type | None


WHOLE_NUMBER = Field("[0-9]{1,18}", "a whole number", np.int64)
UNREAD = Field(r"[^,\x00-\x1f]*", "free of control characters", None)


def read_fields(path, fields, header=None, member=None, **reading):
    """Reads a comma-separated file in blocks; every field of it must fit its pattern.

    Args:
        path (str or Path): the raw file.
        fields (dict of str to Field): the file's columns in order.
        header (str): the first line, for files that have one.
        member (str): see :func:`atomic.open_raw`.
        reading: ``block_bytes`` of :func:`atomic.read_blocks`.

    Yields:
        tuple: 1-based number of the block's first line, and its rows (pandas.DataFrame, with the
        columns that have a type).

    Raises:
        atomic.InputError: something in the file is malformed; names the first such line.
    """
    good = ",".join(f"(?:{field.pattern})" for field in fields.values())
    # Without ^ a search would begin at every character of a bad line.
    good_line = re.compile(b"^" + good.encode() + b"\n", re.MULTILINE)
    # The texts of pandas 3 hold UTF-8 alone, objects any text.
    dtypes = {
        name: object if field.dtype is str else field.dtype
        for name, field in fields.items()
        if field.dtype is not None
    }
    for line, block in atomic.read_body(path, header, member, **reading):
        if good_line.sub(b"", block):
            _raise_for_first_bad_line(path, line, block, fields)
        yield (
            line,
            pd.read_csv(
                io.BytesIO(block),
                header=None,
                names=list(fields),
                usecols=list(dtypes),
                dtype=dtypes,
                na_filter=False,
                quoting=3,
                float_precision="round_trip",
                # What is not UTF-8 is refused where it stands in a token.
                encoding_errors="surrogateescape",
            ),
        )


def _raise_for_first_bad_line(path, line, block, fields):
    for number, text in enumerate(block.decode("utf-8", "replace").split("\n")[:-1], start=line):
        wrong = _what_is_wrong(text, fields)
        if wrong:
            raise atomic.InputError(f"{path}, line {number}: {wrong}")


def _what_is_wrong(text, fields):
    words = text.split(",")
    if len(words) != len(fields):
        found = f"{len(words)} columns" if text else "an empty line"
        return f"expected {len(fields)} columns ({', '.join(fields)}), found {found}"
    for (name, field), word in zip(fields.items(), words):
        if not re.fullmatch(field.pattern, word):
            return f"{name} {word!r} is not {field.kind}" if word else f"the {name} is missing"
    return None
