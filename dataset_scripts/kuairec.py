"""KuaiRec's big_matrix.csv to a RecBole atomic file.

Raw file: ``big_matrix.csv`` of KuaiRec, https://kuairec.com (the licence stands on that page);
plain, gzipped, or the zip as downloaded. Columns ``user_id,video_id,play_duration,video_duration,
time,date,timestamp,watch_ratio``, of which the users, the videos, the timestamp (seconds, with
decimals) and the watch ratio (time played / length of the video) are kept.

``--min_watch_ratio X`` keeps the rows with a watch ratio of at least X; the default of 0 keeps all.
Rows are written by user id, then by time; equal stamps stay in file order. All rows are held in
memory, 13 million of them in about 1.5 GB.

Usage::

    python dataset_scripts/kuairec.py --input big_matrix.csv --output dataset/kuairec
        [--min_watch_ratio X]
"""

import sys

import atomic
import numpy as np
from columns import UNREAD, WHOLE_NUMBER, Field, read_fields
from rows import count, sort_rows

DECIMAL = Field(
    r"[0-9]{1,15}(?:\.[0-9]{1,25})?(?:e-[0-9]{1,2})?", "a number of 0 or more", np.float64
)
COLUMNS = {
    "user_id": WHOLE_NUMBER,
    "video_id": WHOLE_NUMBER,
    "play_duration": UNREAD,
    "video_duration": UNREAD,
    "time": UNREAD,
    "date": UNREAD,
    "timestamp": DECIMAL,
    "watch_ratio": DECIMAL,
}
KEPT = ("user_id", "video_id", "watch_ratio", "timestamp")
ROW = np.dtype([("user", "<i8"), ("item", "<i8"), ("ratio", "<f8"), ("time", "<f8")])
FIELDS = ["user_id:token", "item_id:token", "watch_ratio:float", "timestamp:float"]
FULL = {"users": 7_176, "items": 10_728, "interactions": 12_530_806}


def convert(input, output, min_watch_ratio=0, **sizes):
    """Writes ``<output>/<name>.inter`` and prints its counts.

    Args:
        input (str or Path): big_matrix.csv, plain, ``.gz`` or ``.zip``.
        output (str or Path): folder to write; its last part names the data set.
        min_watch_ratio (float): the lowest watch ratio to keep.
        sizes: ``block_bytes``, which changes no byte.

    Raises:
        atomic.InputError: the file is malformed (names the line), or no row is left.
    """
    blocks, member = [], "big_matrix.csv"
    for _, frame in read_fields(input, COLUMNS, ",".join(COLUMNS), member, **sizes):
        block = np.empty(len(frame), dtype=ROW)
        for name, column in zip(ROW.names, KEPT):
            block[name] = frame[column]
        blocks.append(block)
    rows = np.concatenate(blocks)
    del blocks
    read = count(rows)
    atomic.say("read", read)
    rows = rows[rows["ratio"] >= min_watch_ratio]
    if not len(rows):
        raise atomic.InputError(f"{input}: no watch_ratio is {min_watch_ratio:g} or more")
    rows, duplicates = sort_rows(rows)
    with atomic.output_folder(output) as (folder, _):
        with atomic.atomic_file(folder / f"{folder.name}.inter", FIELDS) as write:
            write(*(rows[name] for name in ROW.names))
    atomic.say("written", {**count(rows), atomic.DUPLICATES: duplicates})
    atomic.compare("the full big_matrix.csv", read, FULL)


def main(argv=None):
    """Runs the command line and returns its exit code."""
    parser = atomic.Parser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--input", required=True, help="big_matrix.csv, or the zip it comes in")
    parser.add_argument("--output", required=True, help="folder to write, as in dataset/kuairec")
    parser.add_argument(
        "--min_watch_ratio",
        type=float,
        default=0,
        metavar="X",
        help="keep rows with a watch ratio of at least X (default 0: all)",
    )
    return atomic.run(convert, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
