"""Amazon ratings or reviews to a RecBole atomic file.

Raw files: one category of the Amazon product data, https://jmcauley.ucsd.edu/data/amazon (2014) or
https://nijianmo.github.io/amazon (2018); no licence is stated. The name of the file says its form,
plain, gzipped or zipped:

- ``.csv`` (ratings only): ``user,item,rating,timestamp`` a line, no header. The files of 2018 begin
  with the item: give ``--item_first``;
- ``.json`` (reviews): a JSON object a line, of which ``reviewerID``, ``asin``, ``overall`` and
  ``unixReviewTime`` are read.

Ratings are 0 to 5 whole stars, times are seconds (of a whole day, so most histories hold ties).
``--min_rating`` is applied first, then ``--core K``: what is left is the largest set of rows in
which every user and every item has at least K. Repeated rows count as often as they stand there
(the data set keeps one of each on loading).
Rows are written by user in order of first appearance, then by time; equal stamps stay in file
order. All rows are held in memory, 20 million of them in about 3 GB.

An output named beauty, with K = 5 and no ``--min_rating``, is compared with the known 5-core.

Usage::

    python dataset_scripts/amazon.py --input ratings_Beauty.csv --output dataset/beauty
        [--core K] [--min_rating X] [--item_first]
"""

import json
import re
import sys
from pathlib import Path

import atomic
import numpy as np
from columns import WHOLE_NUMBER, Field, read_fields
from rows import count, encode, k_core, sort_rows

WORD = Field(r'[^,"\x00-\x20][^,\x00-\x20]*', "a word without spaces and quotation marks", str)
STARS = Field(r"[0-5](?:\.0)?", "0 to 5 whole stars", np.float64)

COLUMNS = {"user": WORD, "item": WORD, "rating": STARS, "time": WHOLE_NUMBER}
KEYS = {"user": "reviewerID", "item": "asin", "rating": "overall", "time": "unixReviewTime"}
ASIN_LENGTH = 10
ROW = np.dtype([("user", "<i4"), ("item", "<i4"), ("rating", "i1"), ("time", "<i8")])
FIELDS = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
FULL = {"beauty": {"users": 22_363, "items": 12_101, "interactions": 198_502}}


# ---------------------------------------------------------------------------------------- reading


def read_ratings(path, item_first=False, **reading):
    """Reads ratings or reviews in blocks.

    Args:
        path (str or Path): a ``.csv`` or ``.json``, also with ``.gz`` or ``.zip``.
        item_first (bool): whether a line of the ``.csv`` begins with the item.
        reading: ``block_bytes`` of :func:`atomic.read_blocks`.

    Yields:
        tuple: 1-based number of the block's first line, and its columns: ``user`` and ``item``
        (lists of str), ``rating`` and ``time`` (lists of numbers).

    Raises:
        atomic.InputError: something in the file is malformed; names the line.
    """
    suffixes = [suffix for suffix in Path(path).suffixes if suffix not in (".gz", ".zip")]
    form = suffixes[-1] if suffixes else None
    if form not in (".csv", ".json") or (item_first and form != ".csv"):
        kinds = ".csv" if item_first else ".csv or .json"
        option = " with --item_first" if item_first else ""
        raise atomic.InputError(f"{path}: must end in {kinds} (also with .gz or .zip){option}")
    if form == ".json":
        for line, block in atomic.read_blocks(path, **reading):
            yield line, _parse_reviews(path, line, block)
        return
    names = ("item", "user", "rating", "time") if item_first else tuple(COLUMNS)
    for line, frame in read_fields(path, {name: COLUMNS[name] for name in names}, **reading):
        yield line, {name: frame[name].tolist() for name in COLUMNS}


def _parse_reviews(path, line, block):
    columns = {name: [] for name in COLUMNS}
    for number, text in enumerate(block.split(b"\n")[:-1], start=line):
        try:
            review = json.loads(text.decode("utf-8"))
        # Brackets without end are a RecursionError.
        except (ValueError, RecursionError) as error:
            reason = error if text else "it is empty"
            raise atomic.InputError(f"{path}, line {number}: is not JSON: {reason}") from None
        if not isinstance(review, dict):
            raise atomic.InputError(f"{path}, line {number}: is not a JSON object")
        for name, key in KEYS.items():
            value = review.get(key)
            if not _fits(name, value):
                wrong = f"{key} {value!r} is not {COLUMNS[name].kind}"
                wrong = wrong if key in review else f"has no {key}"
                raise atomic.InputError(f"{path}, line {number}: {wrong}")
            columns[name].append(value)
    return columns


def _fits(name, value):
    if name in ("user", "item"):
        return isinstance(value, str) and re.fullmatch(COLUMNS[name].pattern, value) is not None
    # bool is an int to Python.
    if name == "rating":
        return type(value) in (int, float) and value in range(6)
    return type(value) is int and 0 <= value < 10**18


# ------------------------------------------------------------------------------------- converting


def convert(input, output, core=5, min_rating=None, item_first=False, **sizes):
    """Writes ``<output>/<name>.inter`` and prints its counts.

    Args:
        input (str or Path): see :func:`read_ratings`.
        output (str or Path): folder to write; its last part names the data set.
        core (int): the ratings that every user and every item must have.
        min_rating (float): the lowest rating to keep; None for all.
        item_first (bool): see :func:`read_ratings`.
        sizes: ``block_bytes``, which changes no byte.

    Raises:
        atomic.InputError: the file is malformed (names the line), or no rating is left.
    """
    number, blocks = {"user": {}, "item": {}}, []
    for line, columns in read_ratings(input, item_first, **sizes):
        rows = np.empty(len(columns["time"]), dtype=ROW)
        for name, column in columns.items():
            if name in number:
                column = encode(
                    column, name, number[name], lambda row, line=line: f"{input}, line {line + row}"
                )
            rows[name] = column
        blocks.append(rows)
    rows = np.concatenate(blocks)
    del blocks
    _refuse_swapped(input, item_first, number)
    atomic.say("read", count(rows))
    if min_rating is not None:
        rows = rows[rows["rating"] >= min_rating]
    rows = rows[k_core(rows["user"], rows["item"], core, core)]
    if not len(rows):
        rating = "" if min_rating is None else f" and min_rating = {min_rating:g}"
        raise atomic.InputError(f"{input}: no rating is left with core = {core}{rating}")
    rows, duplicates = sort_rows(rows)
    users, items = (
        np.array(list(number[name]), dtype=object)[rows[name]] for name in ("user", "item")
    )
    with atomic.output_folder(output) as (folder, _):
        with atomic.atomic_file(folder / f"{folder.name}.inter", FIELDS) as write:
            write(users, items, rows["rating"], rows["time"])
        name = folder.name
    found = count(rows)
    atomic.say("written", {**found, atomic.DUPLICATES: duplicates})
    if core == 5 and min_rating is None and name in FULL:
        atomic.compare(f"the 5-core of {name}", found, FULL[name])


def _refuse_swapped(path, item_first, number):
    """An item's number has ten characters in all of these files, a user's mostly more."""
    of_user, of_item = ({len(token) == ASIN_LENGTH for token in number[n]} for n in number)
    if of_user == {True} and False in of_item:
        remedy = "leave --item_first out" if item_first else "give --item_first"
        raise atomic.InputError(f"{path}: its first two columns look swapped; {remedy}")


def main(argv=None):
    """Runs the command line and returns its exit code."""
    parser = atomic.Parser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--input", required=True, help="ratings .csv or reviews .json, also .gz")
    parser.add_argument("--output", required=True, help="folder to write, as in dataset/beauty")
    parser.add_argument(
        "--core",
        type=atomic.at_least_one,
        default=5,
        metavar="K",
        help="keep users and items that have at least K ratings of each other (default 5)",
    )
    parser.add_argument("--min_rating", type=float, metavar="X", help="keep ratings of at least X")
    parser.add_argument(
        "--item_first", action="store_true", help="a line of the .csv begins with the item (2018)"
    )
    return atomic.run(convert, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
