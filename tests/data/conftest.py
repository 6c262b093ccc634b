"""Logs that the tests of the data sets share: random ones, and real ones as scripts write them."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import recbole

SCRIPTS = Path(__file__).resolve().parents[2] / "dataset_scripts"


@pytest.fixture(scope="session")
def random_log():
    """Gives a function that draws a log with ties, in a shuffled order of lines.

    Users have 1, 2, 3, .. interactions. With ``distinct`` no item occurs twice, so that an item
    tells which interaction it is of.
    """

    def draw(n_users=14, n_items=40, seed=0, distinct=False):
        random = np.random.default_rng(seed)
        rows = []
        for user in range(n_users):
            for time in np.sort(random.integers(0, 3 * user + 3, user + 1)):
                item = len(rows) if distinct else random.integers(n_items)
                behavior = random.choice(["view", "cart", "buy"], p=[0.4, 0.2, 0.4])
                rows.append((f"u{user}", f"i{item}", str(behavior), int(time)))
        rows = list(dict.fromkeys(rows))  # a repeated line would count once
        return [rows[line] for line in random.permutation(len(rows))]

    return draw


@pytest.fixture(scope="session")
def in_order():
    """Gives a function from the lines of a log to each user's (item, behaviour, time) in order."""

    def sort(rows):
        histories = {}
        for user, *rest in sorted(rows, key=lambda row: row[3]):  # stable, so ties keep their order
            histories.setdefault(user, []).append(tuple(rest))
        return histories

    return sort


@pytest.fixture(scope="session")
def ranked_ml(tmp_path_factory):
    """Folder with ml-100k twice: its ``raw`` stamps, and ``ranked`` ones, exact in float32."""
    folder = tmp_path_factory.mktemp("ml")
    source = Path(recbole.__file__).parent / "dataset_example/ml-100k/ml-100k.inter"
    table = pd.read_csv(source, sep="\t")
    time = "timestamp:float"
    for name, stamps in (("raw", table[time]), ("ranked", table[time].rank(method="dense"))):
        (folder / name).mkdir()
        table[time] = stamps.astype(np.int64)
        table.to_csv(folder / name / f"{name}.inter", sep="\t", index=False)
    return folder


@pytest.fixture(scope="session")
def prepare(tmp_path_factory):
    """Gives a function that runs a dataset script and returns the folder of its data set."""
    sys.path.insert(0, str(SCRIPTS))

    def run(name, **arguments):
        folder = tmp_path_factory.mktemp("prepared")
        __import__(name).convert(output=folder / name, **arguments)
        return folder

    yield run
    sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="session")
def jd(prepare, shared_path):
    """Folder with JD as its script writes it."""
    return prepare("jd", input=shared_path("data/jd"))


@pytest.fixture(scope="session")
def retail(prepare, shared_path):
    """Folder with RetailRocket as its script writes it."""
    return prepare("retail", events=shared_path("data/retail/events.csv.gz"))
