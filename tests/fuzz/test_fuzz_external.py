"""Lists of another program have the hits that a count by hand gives, or are refused by line."""

import csv
import io
import os
import re
from pathlib import Path

import pytest
from atomic_files import ODD_WORDS
from fuzzing import Broken, accepted, attempt, inputs, own_folder
from hypothesis import given
from hypothesis import strategies as st

from recbole_diffusion.benchmark import external
from recbole_diffusion.config.config import Config
from recbole_diffusion.quick_start.quick_start import read_data
from recbole_diffusion.testing.made_up import chain, write

USERS, TOP = 6, 3
QUIET = {
    "data_path": ".",
    "use_gpu": False,
    "show_progress": False,
    "metrics": ["Hit", "MRR"],
    "topk": [1, TOP],
    "valid_metric": "MRR@1",
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
}


@pytest.fixture(scope="module")
def test_rows(tmp_path_factory):
    """Configuration, training data and test loader of a small log, and each user's test item."""
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("log"))
    rows = chain(USERS, 9, 6)
    write(".", "log", rows)
    config = Config("SASRec", "log", config_dict=QUIET)
    _, (train, _, test) = read_data(config)
    os.chdir(before)
    return config, train._dataset, test, {user: item for user, item, *_ in rows}


@st.composite
def list_files(draw):
    rows = []
    for user in draw(
        st.lists(st.sampled_from(range(USERS + 2)), unique=True, min_size=1, max_size=USERS + 2)
    ):
        items = draw(st.lists(st.integers(0, 10), unique=True, min_size=1, max_size=5))
        rows += [[f"u{user}", f"i{item}", str(n)] for n, item in enumerate(items, start=1)]
    rows = draw(st.permutations(rows)) if draw(st.booleans()) else rows
    header = draw(st.permutations(["user", "item", "rank"]))
    odd = draw(
        st.sampled_from(
            [None] * 8
            + ["rank", "word", "twice", "column", "gone", "more", "fewer", "blank", "byte", "cut"]
            + ["bom", "quote", "header", "nul", "cr", "text"]
        )
    )
    place = {name: n for n, name in enumerate(["user", "item", "rank"])}
    if rows and odd == "rank":
        rank = ["0", "-1", "1.0", "x", "", " 1", "1e0", "9999999999", "２", "5", "1"]
        draw(st.sampled_from(rows))[2] = draw(st.sampled_from(rank))
    elif rows and odd == "word":
        draw(st.sampled_from(rows))[draw(st.integers(0, 1))] = draw(ODD_WORDS)
    elif rows and odd == "twice":
        rows = [*rows, list(draw(st.sampled_from(rows)))]
    rows = [[row[place[name]] for name in header] for row in rows]
    if odd == "column":
        header, rows = [*header, "score"], [[*row, "0.5"] for row in rows]
    elif odd == "gone":
        header = header[:-1]
        rows = [row[:-1] for row in rows]
    elif rows and odd == "more":
        draw(st.sampled_from(rows)).append("x")
    elif rows and odd == "fewer":
        draw(st.sampled_from(rows)).pop()
    elif odd == "header":
        header = [draw(st.sampled_from(["user", "User", " user", ""])), *header[1:]]
    text = io.StringIO(newline="")
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    csv.writer(text, lineterminator="\n", quoting=quoting).writerows([header, *rows])
    content = text.getvalue().encode("utf-8", "surrogatepass")
    cut = draw(st.integers(0, len(content)))
    if odd == "blank":
        content += b"\n"
    elif odd == "byte":
        content = content[:cut] + draw(st.binary(min_size=1, max_size=3)) + content[cut:]
    elif odd == "cut":
        content = content[:cut]
    elif odd == "bom":
        content = b"\xef\xbb\xbf" + content
    elif odd == "quote":
        content = content[:cut] + b'"' + content[cut:]
    elif odd == "nul":
        content = content[:cut] + b"\0" + content[cut:]
    elif odd == "cr":
        content = content.replace(b"\n", draw(st.sampled_from([b"\r\n", b"\r"])))
    elif odd == "text":
        content = draw(st.binary(max_size=30))
    return content


def read(content):
    """Each user's items by rank; None where the file has to be refused; and whether it may be."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None, True
    may_be_refused = "\ufeff" in text or bool(re.search("\r(?!\n)", text))
    text = text.removeprefix("\ufeff")
    try:
        records = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error:
        return None, True
    if len(records) < 2 or any(len(record) != len(records[0]) for record in records[1:]):
        return None, True
    header = records[0]
    may_be_refused |= len(set(header)) < len(header) or "\n" in "".join(header)
    if any(header.count(name) != 1 for name in ("user", "item", "rank")):
        return None, True
    lists = {}
    for record in records[1:]:
        user, item, rank = (record[header.index(name)] for name in ("user", "item", "rank"))
        if not user or not item or not re.fullmatch("[1-9][0-9]{0,8}", rank, re.ASCII):
            return None, True
        if re.search("[\0-\x1f\x7f]", user + item):
            return None, True
        may_be_refused |= not (user + item).isprintable()
        own = lists.setdefault(user, {})
        if int(rank) in own or item in own.values():
            return None, True
        own[int(rank)] = item
    if any(max(own) > len(own) for own in lists.values()):
        return None, True
    return lists, may_be_refused


@inputs(quick=150, long=1000)
@given(content=list_files())
@pytest.mark.slow
def test_lists_have_the_hits_of_a_count_by_hand(test_rows, content):
    kind = "external lists"
    config, train, test, wanted = test_rows
    with own_folder():
        Path("lists.csv").write_bytes(content)
        names = ("lists.csv",)
        found, said = attempt(
            kind, lambda: external.measure("lists.csv", config, train, test), names
        )
        lists, may_be_refused = read(content)
        tested = lists is not None and set(lists) & set(wanted)
        if said is not None:
            if tested and not may_be_refused:
                raise Broken(f"legal lists are refused: {said}: {content!r}")
            return
        if not tested:
            accepted(kind, False, f"accepted: {content!r}")
        ranks = []
        for user, item in wanted.items():
            own = {token: rank for rank, token in lists.get(user, {}).items()}
            ranks.append(own.get(item, 10**9))
        want = {f"hit@{k}": sum(rank <= k for rank in ranks) / USERS for k in (1, TOP)}
        want |= {f"mrr@{k}": sum(1 / r for r in ranks if r <= k) / USERS for k in (1, TOP)}
        right = found.test == pytest.approx(want, abs=1e-6)
        accepted(kind, right, f"{found.test}, by hand {want}")
