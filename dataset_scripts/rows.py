"""What is done with rows in memory before they are written? Shared by the scripts here."""

import numpy as np
import pandas as pd
import tokens


def encode(column, noun, number, where):
    """Numbers the tokens of a block by their first appearance in the file.

    Args:
        column (list of str): the tokens.
        noun (str): what the column holds, for the message.
        number (dict of str to int): the numbers so far; new tokens are added.
        where (callable): turns the 0-based number of a row into words that say where it is.

    Returns:
        numpy.ndarray: the numbers, shape: [n_rows].

    Raises:
        atomic.InputError: RecBole would not read a token back as it is.
    """
    codes, distinct = tokens.tokens_to_codes(column, noun, where)
    return np.array([number.setdefault(token, len(number)) for token in distinct])[codes]


def k_core(users, items, min_user, min_item):
    """Finds the largest set of rows in which users and items have enough of them.

    Args:
        users (numpy.ndarray): the users' numbers from 0 on, shape: [n_rows].
        items (numpy.ndarray): ditto of the items.
        min_user (int): the rows that every user must have.
        min_item (int): ditto of every item.

    Returns:
        numpy.ndarray: the numbers of the rows, rising; empty if there is no such set.
    """
    kept = np.arange(len(users))
    while True:
        user, item = users[kept], items[kept]
        enough = (np.bincount(user)[user] >= min_user) & (np.bincount(item)[item] >= min_item)
        if enough.all():
            return kept
        kept = kept[enough]


def sort_rows(rows):
    """Sorts rows by user and time; what ties in both stays in file order.

    Args:
        rows (numpy.ndarray): has the columns ``user`` and ``time``.

    Returns:
        tuple: the sorted rows, and how many of them repeat the user, item and time of another.
    """
    rows = rows[np.lexsort((rows["time"], rows["user"]))]
    same = (np.diff(rows["user"]) == 0) & (np.diff(rows["time"]) == 0)
    # Only these can be duplicates: a table of all rows would take as much memory again.
    tied = rows[np.append(same, False) | np.append(False, same)]
    frame = pd.DataFrame({name: tied[name] for name in ("user", "item", "time")})
    return rows, int(frame.duplicated().sum())


def count(rows):
    """Counts the users, items and interactions of rows."""
    users, items = (len(pd.unique(rows[name])) for name in ("user", "item"))
    return {"users": users, "items": items, "interactions": len(rows)}
