"""YooChoose's clicks to a RecBole atomic file.

Raw file: ``yoochoose-clicks.dat`` of the RecSys Challenge 2015 (YooChoose; its licence, CC BY-NC-ND
4.0, is in the archive); plain, gzipped or zipped (unpack a .7z first). No header;
``session,timestamp,item,category`` a line, the timestamp in ISO 8601 with milliseconds and Z, as
in ``2014-04-07T10:51:09.277Z``. The category is left out.

A session becomes a user; the timestamp becomes seconds since 1970 and keeps its milliseconds. Rows
are written by session id, then by time; equal stamps stay in file order.

``--min_session`` and ``--min_item`` are 1 as long as they are not given, so that nothing is left
out. With both, what is left is the largest set of clicks in which every session has at least
``--min_session`` and every item at least ``--min_item`` of them. Papers differ in both: look up
those of the paper you compare with.

All rows are held in memory, 33 million of them in about 3 GB.

Usage::

    python dataset_scripts/yoochoose.py --input yoochoose-clicks.dat --output dataset/yoochoose
        [--min_session K] [--min_item K]
"""

import sys

import atomic
import numpy as np
import pandas as pd
from columns import UNREAD, WHOLE_NUMBER, Field, read_fields
from rows import count, k_core, sort_rows

STAMP = Field(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,3})?Z",
    "a time like 2014-04-07T10:51:09.277Z",
    str,
)
COLUMNS = {"session": WHOLE_NUMBER, "time": STAMP, "item": WHOLE_NUMBER, "category": UNREAD}
ROW = np.dtype([("user", "<i8"), ("item", "<i8"), ("time", "<i8")])
FULL = {"users": 9_249_729, "items": 52_739, "interactions": 33_003_944}


def read_clicks(path, **reading):
    """Reads the clicks in blocks.

    Args:
        path (str or Path): the raw file.
        reading: ``block_bytes`` of :func:`atomic.read_blocks`.

    Yields:
        numpy.ndarray: rows of type ``ROW`` in file order, the time in milliseconds since 1970.

    Raises:
        atomic.InputError: something in the file is malformed; names the line.
    """
    for line, frame in read_fields(path, COLUMNS, member="yoochoose-clicks.dat", **reading):
        nanoseconds = atomic.read_dates(frame["time"])
        if nanoseconds.min() < 0:
            row = int(np.argmax(nanoseconds < 0))
            wrong = "is no date" if nanoseconds[row] == atomic.NO_DATE else "is before 1970"
            raise atomic.InputError(
                f"{path}, line {line + row}: time {frame['time'].iloc[row]!r} {wrong}"
            )
        rows = np.empty(len(frame), dtype=ROW)
        rows["user"], rows["item"] = frame["session"], frame["item"]
        rows["time"] = nanoseconds // 10**6
        yield rows


def convert(input, output, min_session=1, min_item=1, **sizes):
    """Writes ``<output>/<name>.inter`` and prints its counts.

    Args:
        input (str or Path): yoochoose-clicks.dat, plain, ``.gz`` or ``.zip``.
        output (str or Path): folder to write; its last part names the data set.
        min_session (int): the clicks that every session must have.
        min_item (int): the clicks that every item must have.
        sizes: ``block_bytes``, which changes no byte.

    Raises:
        atomic.InputError: the file is malformed (names the line), or no click is left.
    """
    rows = np.concatenate(list(read_clicks(input, **sizes)))
    read = count(rows)
    atomic.say("read", read)
    if max(min_session, min_item) > 1:
        codes = (pd.factorize(rows[name])[0].astype(np.int32) for name in ("user", "item"))
        rows = rows[k_core(*codes, min_session, min_item)]
        if not len(rows):
            raise atomic.InputError(
                f"{input}: no click is left with min_session = {min_session} and "
                f"min_item = {min_item}"
            )
    rows, duplicates = sort_rows(rows)
    with atomic.output_folder(output) as (folder, _):
        with atomic.inter_file(folder / f"{folder.name}.inter", behavior=False) as write:
            write(rows["user"], rows["item"], rows["time"] / 1000)
    atomic.say("written", {**count(rows), atomic.DUPLICATES: duplicates})
    atomic.compare("the full yoochoose-clicks.dat", read, FULL)


def main(argv=None):
    """Runs the command line and returns its exit code."""
    parser = atomic.Parser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--input", required=True, help="yoochoose-clicks.dat, plain, .gz or .zip")
    parser.add_argument("--output", required=True, help="folder to write, as in dataset/yoochoose")
    parser.add_argument(
        "--min_session",
        type=atomic.at_least_one,
        default=1,
        metavar="K",
        help="keep sessions with at least K clicks (default 1: all)",
    )
    parser.add_argument(
        "--min_item",
        type=atomic.at_least_one,
        default=1,
        metavar="K",
        help="keep items with at least K clicks (default 1: all); applied until both hold",
    )
    return atomic.run(convert, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
