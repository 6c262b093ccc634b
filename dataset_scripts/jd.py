"""The JD log in the split of ICDDT's authors to RecBole benchmark files.

Raw files: ``train.txt``, ``valid.txt``, ``extra_for_test.txt`` and ``test.txt``, as published with
the code of ICDDT (in-context diffusion for multi-behaviour sequential recommendation); the log
itself is from a JD.com contest. No licence is stated. No header; ``user,item,behaviour`` a line, in
time order within a user, without a time.

Behaviours 1 to 4 are written as click, comment, favorite and buy. Their meaning is inferred: valid
and test hold 4 only, and of the pairs of user and item that have a 2 and a 4, the 4 comes first in
96%.

The split is kept: ``<name>.train.inter``, ``<name>.valid.inter``, ``<name>.history.inter`` (from
extra_for_test) and ``<name>.test.inter``, each in file order. The history of a validation target is
the user's train; that of a test target is train, then history, which holds the validation buys too.
The timestamp is the user's running number along such a road: train from 0, valid and history both
go on from there, test comes after history. Repeated lines differ by it, so none is dropped on
loading.

Usage::

    python dataset_scripts/jd.py --input DIR --output dataset/jd
"""

import sys
from pathlib import Path

import atomic
import numpy as np
import pandas as pd

COLUMNS = ("user", "item", "behavior")
CODES = ("1", "2", "3", "4")
TOKENS = ("click", "comment", "favorite", "buy")
# Part of the split: raw file, and the parts that come before it in time.
PARTS = {
    "train": ("train.txt", ()),
    "valid": ("valid.txt", ("train",)),
    "history": ("extra_for_test.txt", ("train",)),
    "test": ("test.txt", ("train", "history")),
}
FULL = {
    "users": 10_690,
    "items": 12_820,
    "interactions": 343_540,
    "train": 310_986,
    "valid": 2_609,
    "history": 28_648,
    "test": 1_297,
}


def convert(input, output):
    """Writes the four files of the split and prints their counts.

    Args:
        input (str or Path): folder with the authors' four files.
        output (str or Path): folder to write; its last part names the data set.

    Raises:
        atomic.InputError: a file is missing or malformed; names the line.
    """
    logs = {
        part: np.concatenate(list(atomic.read_log(Path(input) / file, COLUMNS, CODES)))
        for part, (file, _) in PARTS.items()
    }
    rows_of_user = {part: pd.Series(log["user"]).value_counts() for part, log in logs.items()}
    with atomic.output_folder(output) as (folder, _):
        for part, (_, before) in PARTS.items():
            log = logs[part]
            user = pd.Series(log["user"])
            number = user.groupby(user).cumcount()
            for earlier in before:
                number += user.map(rows_of_user[earlier]).fillna(0).astype(np.int64)
            behavior = np.array(TOKENS, dtype=object)[log["behavior"]]
            with atomic.inter_file(folder / f"{folder.name}.{part}.inter") as write:
                write(log["user"], log["item"], behavior, number.to_numpy())
    for part, log in logs.items():
        atomic.say(part, _counts(log))
    whole = np.concatenate(list(logs.values()))
    found = _counts(whole)
    atomic.say("together", found)
    atomic.compare("the authors' split", {**found, **{p: len(x) for p, x in logs.items()}}, FULL)


def _counts(log):
    per_behavior = np.bincount(log["behavior"], minlength=len(TOKENS))
    n_users, n_items = (len(np.unique(log[name])) for name in ("user", "item"))
    return atomic.summary(n_users, n_items, dict(zip(TOKENS, per_behavior)))


def main(argv=None):
    """Runs the command line and returns its exit code."""
    parser = atomic.Parser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--input", required=True, help="folder with the authors' four files")
    parser.add_argument("--output", required=True, help="folder to write, as in dataset/jd")
    return atomic.run(convert, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
