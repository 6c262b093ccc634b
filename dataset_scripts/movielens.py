"""A MovieLens archive of GroupLens to a RecBole atomic file.

Raw files: ml-100k, ml-1m, ml-10m, ml-20m or ml-latest-small of
https://grouplens.org/datasets/movielens (for research; not to be redistributed without permission,
see the README in each): the zip as downloaded, the folder it unpacks to, or the file of ratings.
The name of that file says its form:

- ``u.data`` (ml-100k): user, item, rating and time, parted by tabs;
- ``ratings.dat`` (ml-1m, ml-10m): the same, parted by ``::``;
- ``ratings.csv`` (ml-20m, ml-latest-small): the same, parted by commas, under the header
  ``userId,movieId,rating,timestamp``.

Ratings are 0.5 to 5 in half stars, times are seconds. Rows are written by user id, then by time;
equal stamps stay in file order. All rows are held in memory, 20 million of them in about 2 GB.

An output named like an archive is compared with that archive's published counts, unless
``--min_rating`` leaves ratings out.

Usage::

    python dataset_scripts/movielens.py --input FILE_OR_FOLDER --output dataset/ml-1m
        [--min_rating X]
"""

import io
import re
import sys
from pathlib import Path

import atomic
import numpy as np
import pandas as pd

# File of ratings: what parts its columns, and its header.
FORMS = {
    "u.data": ("\t", None),
    "ratings.dat": ("::", None),
    "ratings.csv": (",", "userId,movieId,rating,timestamp"),
}
COLUMNS = {"user": np.int64, "item": np.int64, "rating": np.float32, "time": np.int64}
FIELDS = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
STARS = np.array([f"{k / 2:g}" for k in range(11)], dtype=object)
FULL = {
    "ml-100k": {"users": 943, "items": 1_682, "interactions": 100_000},
    "ml-1m": {"users": 6_040, "items": 3_706, "interactions": 1_000_209},
    "ml-10m": {"users": 69_878, "items": 10_677, "interactions": 10_000_054},
    "ml-20m": {"users": 138_493, "items": 26_744, "interactions": 20_000_263},
    "ml-latest-small": {"users": 610, "items": 9_724, "interactions": 100_836},
}

_WHOLE_NUMBER = "[0-9]{1,18}"
_PATTERNS = {name: _WHOLE_NUMBER for name in COLUMNS} | {
    "rating": r"0\.5|[1-4](?:\.[05])?|5(?:\.0)?"
}


def find_ratings(path):
    """Finds the file of ratings in an archive.

    Args:
        path (str or Path): a zip, a folder, or the file itself.

    Returns:
        tuple: the file to open (Path), and its name (str), which is one of ``FORMS``.

    Raises:
        atomic.InputError: there is no such file, or there are several.
    """
    path = Path(path)
    if not path.exists():
        raise atomic.InputError(f"{path}: no such file or folder")
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir())
    elif path.suffix == ".zip":
        names = atomic.zip_names(path)
    else:
        names = [path.name]
    found = [name.rsplit("/", 1)[-1] for name in names]
    found = [name for name in found if name in FORMS]
    if len(found) != 1:
        raise atomic.InputError(
            f"{path}: must be or hold one of {', '.join(FORMS)}, and holds "
            + (", ".join(found) or "none")
        )
    return path / found[0] if path.is_dir() else path, found[0]


def read_ratings(path, name, **reading):
    """Reads a file of ratings in blocks.

    Args:
        path (Path): the file, or the zip that holds it.
        name (str): which of ``FORMS`` it has.
        reading: ``block_bytes`` of :func:`atomic.read_blocks`.

    Yields:
        pandas.DataFrame: rows in file order, with the columns ``COLUMNS``.

    Raises:
        atomic.InputError: something in the file is malformed; names the first such line.
    """
    separator, header = FORMS[name]
    good = re.escape(separator).join(f"(?:{pattern})" for pattern in _PATTERNS.values())
    # Without ^ a search would begin at every character of a bad line.
    good_line = re.compile(b"^" + good.encode() + b"\n", re.MULTILINE)
    for line, block in atomic.read_body(path, header, name, **reading):
        # pandas would read 1.0 as a whole number and drop a fifth column.
        if good_line.sub(b"", block):
            _raise_for_first_bad_line(path, line, block, separator)
        yield pd.read_csv(
            io.BytesIO(block.replace(separator.encode(), b",")),
            header=None,
            names=list(COLUMNS),
            dtype=COLUMNS,
        )


def _raise_for_first_bad_line(path, line, block, separator):
    for number, text in enumerate(block.decode("utf-8", "replace").split("\n")[:-1], start=line):
        wrong = _what_is_wrong(text, separator)
        if wrong:
            raise atomic.InputError(f"{path}, line {number}: {wrong}")


def _what_is_wrong(text, separator):
    fields = text.split(separator)
    if len(fields) != len(COLUMNS):
        found = f"{len(fields)} columns" if text else "an empty line"
        return (
            f"expected {len(COLUMNS)} columns ({', '.join(COLUMNS)}) parted by {separator!r}, "
            f"found {found}"
        )
    for name, field in zip(COLUMNS, fields):
        if not field.strip():
            return f"the {name} is missing"
        if not re.fullmatch(_PATTERNS[name], field):
            kind = "0.5 to 5 in half stars" if name == "rating" else "a whole number"
            return f"{name} {field!r} is not {kind}"
    return None


def convert(input, output, min_rating=None, **sizes):
    """Writes ``<output>/<name>.inter`` and prints its counts.

    Args:
        input (str or Path): a zip or a folder with one of ``FORMS``, or that file.
        output (str or Path): folder to write; its last part names the data set.
        min_rating (float): the lowest rating to keep; None for all.
        sizes: ``block_bytes``, which changes no byte.

    Raises:
        atomic.InputError: the file is malformed (names the line), or no rating is left.
    """
    table = pd.concat(read_ratings(*find_ratings(input), **sizes), ignore_index=True)
    atomic.say("read", _counts(table))
    if min_rating is not None:
        table = table[table["rating"] >= min_rating]
        if table.empty:
            raise atomic.InputError(f"{input}: no rating is {min_rating:g} or more")
    # lexsort is stable: what ties in both stays in file order.
    table = table.iloc[np.lexsort((table["time"], table["user"]))]
    with atomic.output_folder(output) as (folder, _):
        stars = STARS[(2 * table["rating"].to_numpy()).astype(np.int8)]
        with atomic.atomic_file(folder / f"{folder.name}.inter", FIELDS) as write:
            write(
                table["user"].to_numpy(), table["item"].to_numpy(), stars, table["time"].to_numpy()
            )
        name = folder.name
    atomic.say("written", _counts(table))
    if min_rating is None and name in FULL:
        atomic.compare(f"{name} as published", _counts(table), FULL[name])


def _counts(table):
    n_users, n_items = (table[name].nunique() for name in ("user", "item"))
    return {"users": n_users, "items": n_items, "interactions": len(table)}


def main(argv=None):
    """Runs the command line and returns its exit code."""
    parser = atomic.Parser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--input", required=True, help="the zip, its folder, or the ratings in it")
    parser.add_argument("--output", required=True, help="folder to write, as in dataset/ml-1m")
    parser.add_argument("--min_rating", type=float, metavar="X", help="keep ratings of at least X")
    return atomic.run(convert, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
