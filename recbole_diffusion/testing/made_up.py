"""Which data have a known answer? A chain for sequential models, a checkerboard for general ones.

A row is a user, an item, a behaviour and a time.
"""

from pathlib import Path

import numpy as np

COLUMNS = "user_id:token item_id:token behavior:token timestamp:float"


def chain(n_users=60, n_items=12, length=8, follow=1.0, seed=0):
    """Users who go from an item to the next one in a circle, or anywhere.

    Args:
        n_users (int): number of users.
        n_items (int): number of items in the circle.
        length (int): interactions of each user.
        follow (float): probability of the next item; otherwise it is drawn from all items. With 0
            there is nothing to learn.
        seed (int): of the draws.

    Returns:
        list of tuple: rows in order of user and time. The last two of a user are buys.
    """
    draw = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        item = draw.integers(n_items)
        for time in range(length):
            behavior = "buy" if time >= length - 2 else draw.choice(["view", "buy"])
            rows.append((f"u{user}", f"i{item}", behavior, time))
            item = (item + 1) % n_items if draw.random() < follow else draw.integers(n_items)
    return rows


def checkerboard(n_users=60, n_items=20, shuffled=False, seed=0):
    """Even users have even items and odd users odd ones.

    Args:
        n_users (int): number of users.
        n_items (int): number of items; each user has half of them.
        shuffled (bool): each user has any half of the items, so that there is nothing to learn.
        seed (int): of the draws.

    Returns:
        list of tuple: rows in order of user and time, the items of a user in random order.
    """
    draw = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        items = draw.permutation(np.arange(user % 2, n_items, 2))
        if shuffled:
            items = draw.permutation(n_items)[: len(items)]
        rows += [(f"u{user}", f"i{item}", "buy", time) for time, item in enumerate(items)]
    return rows


def write(folder, name, rows, columns=COLUMNS, part=None):
    """Writes rows as a data set that a run can read.

    Args:
        folder (str or Path): the folder of data sets, ``data_path``.
        name (str): the data set's name.
        rows (list of tuple): a tuple a row.
        columns (str): their names and types, parted by spaces.
        part (str): which part of a ready-made split the rows are; None is all of them.

    Returns:
        pathlib.Path: the file, ``folder/name/name[.part].inter``.
    """
    path = Path(folder, name, f"{name}.{part}.inter" if part else f"{name}.inter")
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [columns.split(), *rows]
    path.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines), encoding="utf-8")
    return path
