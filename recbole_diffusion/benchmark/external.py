"""How good are another program's lists? Measured on our held-out rows, by RecBole's own metrics.

Letters: n users with a test row, K the largest of ``topk``.
"""

import csv
import itertools
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from recbole.evaluator.collector import DataStruct

from recbole_diffusion.data.lines import DataError, read_lines, shown
from recbole_diffusion.evaluator.ranked_rows import beyond_accuracy, per_row, topk_metrics

COLUMNS = ["user", "item", "rank"]
RANK = re.compile("[1-9][0-9]{0,8}")
BATCH = 1 << 14


@dataclass
class ExternalRow:
    """What one file of lists reaches.

    Attributes:
        test (dict): metric name to mean over users, as a trainer's ``evaluate`` gives it; without
            metrics of scores, which lists do not have.
        beyond (dict): of `rows.beyond_accuracy`; None where a list is missing or short.
        per_user (pandas.DataFrame): ``user`` (token), ``row`` (0), and a column for each top-k
            metric and k, six decimals; in the order of the loader.
        counts (dict): lists (measured), users_without_list (test users, counted as misses),
            unknown_users (tokens that are not in the data), untested_users (known ones without a
            test row), unknown_items (tokens; misses in their places), short_lists (measured lists
            of fewer than K items after masking, not counting absent ones).
    """

    test: dict
    beyond: dict
    per_user: pd.DataFrame
    counts: dict


def measure(path, config, train_set, test_data):
    """Measures the lists of a CSV file on the test rows of a model of ours.

    What a loader of ours bars from a model's ranking (``mask_history``) is dropped from the lists,
    with ``candidates: trained`` items that were never trained on too; the rest moves up. Metrics of
    the recommended items (coverage, popularity and the like) take lists of K known items for every
    test user, because RecBole would count padding as an item: else they are None.

    Args:
        path (str or Path): CSV file in UTF-8, fields quoted as CSV files are, with a header that
            has user, item and rank (any order, other columns are ignored): tokens of the data set,
            and ranks 1, 2, 3, ... for each user.
        config (Config): the configuration of the loaders; its keys ``metrics``, ``topk``,
            ``candidates`` and ``eval_args`` are read.
        train_set (Dataset): the built training data.
        test_data (FullRankDataLoader): the test loader, which knows positives and history.

    Returns:
        ExternalRow: means, values of each user, and counts.

    Raises:
        DataError: if the file cannot be read or holds malformed lists, with the line; if none of
            its users is tested; if the test is not a full ranking, or ranks several rows of a user
            one by one.
    """
    mode = config["eval_args"]["mode"]["test"]
    if mode != "full":
        raise DataError(
            f"{path}: lists are rankings of all items, but eval_args mode is {mode} at test"
        )
    users, seen, positive = _tested(path, test_data)
    test_set = test_data._dataset
    lists = _read(path)
    ids = {}  # 0, the padding's, is that of unknown tokens
    for name, field in (("user", test_set.uid_field), ("item", test_set.iid_field)):
        known = dict(test_set.field2token_id[field])
        ids[name] = lists[name].map(known).fillna(0).to_numpy(dtype=np.int64)
    row_of = np.full(test_set.user_num, -1)
    row_of[users] = np.arange(len(users))
    row = row_of[ids["user"]]
    counts = {
        "lists": len(np.unique(row[row >= 0])),
        "users_without_list": len(users) - len(np.unique(row[row >= 0])),
        "unknown_users": lists["user"][ids["user"] == 0].nunique(),
        "untested_users": lists["user"][(ids["user"] > 0) & (row < 0)].nunique(),
        "unknown_items": lists["item"][ids["item"] == 0].nunique(),
    }
    if counts["lists"] == 0:
        token = test_set.id2token(test_set.uid_field, users[0])
        raise DataError(
            f"{path}: none of its users, like {shown(lists['user'].iloc[0])}, has a test row; "
            f"users of this data set are called like {shown(token)}"
        )
    item = ids["item"]
    pair = row * test_set.item_num + item
    dropped = np.isin(pair, seen)
    if config["candidates"] == "trained":
        dropped |= ~train_set.trained_items().numpy()[item] & (item > 0)
    kept = pd.DataFrame({"row": row, "rank": lists["rank"], "item": item, "pair": pair})
    kept = kept[(row >= 0) & ~dropped].sort_values(["row", "rank"])
    place = kept.groupby("row").cumcount().to_numpy()
    top = max(config["topk"])
    kept, place = kept[place < top], place[place < top]
    counts["short_lists"] = counts["lists"] - int((place == top - 1).sum())

    where = kept["row"].to_numpy(), place
    items = np.zeros((len(users), top), dtype=np.int64)  # [n, K]
    items[where] = kept["item"]
    hits = np.zeros((len(users), top + 1), dtype=np.int32)  # [n, K + 1], the last: positives
    hits[where] = np.isin(kept["pair"], positive)
    hits[:, top] = np.bincount(positive // test_set.item_num, minlength=len(users))

    struct = DataStruct()
    struct.set("rec.topk", torch.from_numpy(hits))
    test = {}
    for metric in topk_metrics(config):
        test |= {name: float(mean) for name, mean in metric.calculate_metric(struct).items()}
    complete = (items > 0).all()
    return ExternalRow(
        test=test,
        beyond=beyond_accuracy(config, items, train_set) if complete else None,
        per_user=per_row(config, struct, torch.from_numpy(users), test_set),
        counts=counts,
    )


def _tested(path, test_data):
    """Whom the loader ranks for, and what it bars and wants.

    Returns:
        tuple of numpy.ndarray: user of each row, shape: [n]; barred and positive pairs, each as
        row * n_items + item, shape: [n_barred] and [n_positives].
    """
    users, seen, positive = [], [np.empty(0, dtype=np.int64)], []
    first, items = 0, test_data._dataset.item_num
    for rows, history, positive_u, positive_i in test_data:
        user = rows[test_data._dataset.uid_field].numpy()
        users.append(user)
        positive.append((positive_u.numpy() + first) * items + positive_i.numpy())
        if history is not None:
            seen.append((history[0].numpy() + first) * items + history[1].numpy())
        first += len(user)
    users = np.concatenate(users)
    if len(np.unique(users)) < len(users):
        raise DataError(
            f"{path}: the {len(users)} test rows of {len(np.unique(users))} users are ranked one "
            "by one, which a list for each user cannot tell apart"
        )
    return users, np.concatenate(seen), np.concatenate(positive)


def _read(path):
    """The file's user, item and rank, checked; the index is the line in the file."""
    columns, numbers = columns_of(path)
    if not numbers:
        raise DataError(f"{path} holds no lists, only a header")
    lists = pd.DataFrame(columns, index=numbers)

    def refuse(wrong, message):
        if wrong.any():
            line = wrong.idxmax()
            row = {name: shown(str(value)) for name, value in lists.loc[line].items()}
            raise DataError(f"{path} line {line}: " + message.format(**row))

    refuse(lists[["user", "item"]].eq("").any(axis=1), "user {user}, item {item}: one is empty")
    ranks = {text: int(text) for text in set(columns["rank"]) if RANK.fullmatch(text)}
    refuse(~lists["rank"].isin(ranks), "rank {rank} is not a whole number from 1")
    lists["rank"] = [ranks[text] for text in columns["rank"]]
    refuse(lists.duplicated(["user", "item"]), "item {item} is in the list of {user} twice")
    refuse(lists.duplicated(["user", "rank"]), "user {user} has rank {rank} twice")
    # Of different ranks from 1 those up to their count leave no gap.
    gap = lists["rank"] > lists.groupby("user")["rank"].transform("size")
    refuse(gap, "user {user} has rank {rank}, but a rank below it is missing")
    return lists


def columns_of(path):
    """The texts of the file's columns, as lists by name, and the line on which each row begins."""
    header, places = [], []
    columns, numbers = {name: [] for name in COLUMNS}, []
    words = {}  # one string for equal tokens
    for lines, rows in _rows(path):
        if not header:
            header, places = rows[0], _places(path, rows[0])
            lines, rows = lines[1:], rows[1:]
        if any(len(row) != len(header) for row in rows):
            line, row = next(pair for pair in zip(lines, rows) if len(pair[1]) != len(header))
            found = f"{len(row)} fields" if row else "an empty line"
            raise DataError(
                f"{path} line {line}: {found} under the {len(header)} columns of the header"
            )
        for name, place in zip(COLUMNS, places):
            fields = [row[place] for row in rows]
            columns[name].extend(map(words.setdefault, fields, fields))
        numbers += lines
    if not header:
        _places(path, header)
    return columns, numbers


def _places(path, header):
    for name in COLUMNS:
        if header.count(name) != 1:
            kind = "several columns" if name in header else "no column"
            names = shown(", ".join(header))
            raise DataError(f"{path} line 1: has {kind} {name}; its header has {names}")
    return [header.index(name) for name in COLUMNS]


def _rows(path):
    """Yields the lines on which some rows of a CSV file begin, and these rows (lists of str)."""
    blocks = read_lines(path, "utf-8")
    for first, lines in blocks:
        if '"' in "".join(lines):
            yield from _quoted_rows(path, first, itertools.chain([lines], (b for _, b in blocks)))
            return
        for start in range(0, len(lines), BATCH):
            rows = [line.split(",") if line else [] for line in lines[start : start + BATCH]]
            yield range(first + start, first + start + len(rows)), rows


def _quoted_rows(path, first, blocks):
    lines = (line + "\n" for line in itertools.chain.from_iterable(blocks))
    reader = csv.reader(lines, strict=True)
    begin, batch = first, []
    try:
        for row in reader:
            batch.append((begin, row))
            begin = first + reader.line_num
            if len(batch) == BATCH:
                yield tuple(zip(*batch))
                batch = []
    except csv.Error as error:
        raise DataError(f"{path} line {begin}: {error}") from None
    if batch:
        yield tuple(zip(*batch))
