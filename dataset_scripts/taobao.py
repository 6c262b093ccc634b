"""Taobao's UserBehavior.csv to a RecBole atomic file.

Raw file: "User Behavior Data from Taobao for Recommendation",
https://tianchi.aliyun.com/dataset/649 (the licence stands on that page); plain, gzipped, or the zip
as downloaded. No header; ``user,item,category,behaviour,timestamp`` in seconds; pv, fav, cart and
buy are written as view, favorite, cart and buy, the category is left out.

The file has 100 million rows. It is read in blocks and sorted a range of users at a time, so memory
stays below 1 GB; beside the output, 50 bytes a row (5 GB for the full file) are needed while it
runs. Some stamps of the raw file lie outside its nine days, some before 1970: they are kept, and
counted in what is printed.

Usage::

    python dataset_scripts/taobao.py --input UserBehavior.csv --output dataset/taobao
        [--users N] [--min_item K]
"""

import sys

import atomic
import numpy as np

COLUMNS = ("user", "item", "category", "behavior", "time")
CODES = ("pv", "fav", "cart", "buy")
TOKENS = ("view", "favorite", "cart", "buy")
FULL = {
    "users": 987_994,
    "items": 4_162_024,
    "interactions": 100_150_807,
    "view": 89_716_264,
    "favorite": 2_888_258,
    "cart": 5_530_446,
    "buy": 2_015_839,
}
# 2017-11-25 00:00 and 2017-12-04 00:00 in Beijing (UTC+8).
FIRST, AFTER_LAST = 1_511_539_200, 1_512_316_800


def convert(input, output, users=None, min_item=1, **sizes):
    """Writes ``<output>/<name>.inter`` and prints its counts.

    Args:
        input (str or Path): UserBehavior.csv, plain, ``.gz`` or ``.zip``.
        output (str or Path): folder to write; its last part names the data set.
        users (int): how many users to keep; None for all.
        min_item (int): see :func:`atomic.write_sorted_log`.
        sizes: ``block_bytes`` and ``bucket_rows``, which bound the memory and change no byte.

    Raises:
        atomic.InputError: the file is malformed; names the line.
    """
    reading = {"block_bytes": sizes.pop("block_bytes", atomic.BLOCK_BYTES)}
    outside = 0

    def log():
        nonlocal outside
        for table in atomic.read_log(
            input, COLUMNS, CODES, member="UserBehavior.csv", signed_time=True, **reading
        ):
            time = table["time"]
            outside += np.count_nonzero((time < FIRST) | (time >= AFTER_LAST))
            yield table

    read, written = atomic.write_sorted_log(
        log(), output, TOKENS, users=users, min_item=min_item, **sizes
    )
    atomic.say("read", read)
    print(f"  {outside:,} stamps read lie outside 2017-11-25..2017-12-03 (Beijing time)")
    atomic.say("written", written)
    atomic.compare("the full UserBehavior.csv", read, FULL)


def main(argv=None):
    """Runs the command line and returns its exit code."""
    parser = atomic.Parser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--input", required=True, help="UserBehavior.csv, plain, .gz or .zip")
    parser.add_argument("--output", required=True, help="folder to write, as in dataset/taobao")
    atomic.add_subset_options(parser)
    return atomic.run(convert, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
