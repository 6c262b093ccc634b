"""RetailRocket's events.csv to a RecBole atomic file.

Raw file: ``events.csv`` of the "Retailrocket recommender system dataset",
https://www.kaggle.com/datasets/retailrocket/ecommerce-dataset (licence CC BY-NC-SA 4.0); plain,
gzipped, or the zip as downloaded. Columns ``timestamp,visitorid,event,itemid,transactionid``, time
in milliseconds; view, addtocart and transaction are written as view, cart and buy.

Usage::

    python dataset_scripts/retail.py --input events.csv --output dataset/retail
        [--users N] [--min_item K]
"""

import sys

import atomic

HEADER = "timestamp,visitorid,event,itemid,transactionid"
COLUMNS = ("time", "user", "behavior", "item", "transaction")
EVENTS = ("view", "addtocart", "transaction")
TOKENS = ("view", "cart", "buy")
FULL = {
    "users": 1_407_580,
    "items": 235_061,
    "interactions": 2_756_101,
    "view": 2_664_312,
    "cart": 69_332,
    "buy": 22_457,
}


def convert(events, output, users=None, min_item=1, **sizes):
    """Writes ``<output>/<name>.inter`` and prints its counts.

    Args:
        events (str or Path): events.csv, plain, ``.gz`` or ``.zip``.
        output (str or Path): folder to write; its last part names the data set.
        users (int): how many users to keep; None for all.
        min_item (int): see :func:`atomic.write_sorted_log`.
        sizes: ``block_bytes`` and ``bucket_rows``, which bound the memory and change no byte.

    Raises:
        atomic.InputError: the file is malformed; names the line.
    """
    reading = {"block_bytes": sizes.pop("block_bytes", atomic.BLOCK_BYTES)}
    log = atomic.read_log(events, COLUMNS, EVENTS, header=HEADER, member="events.csv", **reading)
    read, written = atomic.write_sorted_log(
        log, output, TOKENS, users=users, min_item=min_item, **sizes
    )
    atomic.say("read", read)
    atomic.say("written", written)
    atomic.compare("the full RetailRocket events.csv", read, FULL)


def main(argv=None):
    """Runs the command line and returns its exit code."""
    parser = atomic.Parser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--input",
        "--events",
        dest="events",
        metavar="FILE",
        required=True,
        help="events.csv, plain, .gz or .zip",
    )
    parser.add_argument("--output", required=True, help="folder to write, as in dataset/retail")
    atomic.add_subset_options(parser)
    return atomic.run(convert, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
