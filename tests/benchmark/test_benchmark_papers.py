"""Our figures beside published ones: when they may be compared, and what comes out."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from recbole_diffusion.benchmark.protocol import held_out_hash
from recbole_diffusion.benchmark.report import papers
from recbole_diffusion.config.names import resolve
from recbole_diffusion.config.paths import properties_dir
from recbole_diffusion.config.values import ConfigError

SCRIPTS = Path(__file__).resolve().parents[2] / "dataset_scripts"
HELD_OUT = "0123456789abcdef"


def protocol_of(**changes):
    """What a table of ours measured, as the published `TABLE` did."""
    same = {
        "dataset": "shop",
        "held_out_hash": HELD_OUT,
        "unit": "rows",
        "mask_history": False,
        "candidates": "all",
        "eval_args": {"mode": {"valid": "full", "test": "full"}},
        "rows_without_history": 0,
        "train_rows": "all",
        "settings": {"MAX_ITEM_LIST_LENGTH": 10},
    }
    return same | changes


def row_of(**changes):
    """A row of our table."""
    same = {
        "label": "ours",
        "model": "SASRec",
        "test": {"hit@10": 0.1234},
        "sd": {"hit@10": 0.002},
        "all_rows": None,
        "seeds": 3,
    }
    return same | changes


TABLE = {
    "source": {"name": "Some", "venue": "SIGIR", "year": 2023, "arxiv": "2301.00001"},
    "kind": "paper",
    "dataset": "shop",
    "protocol": {
        "held_out": HELD_OUT,
        "divided_by": "rows_with_history",
        "mask_history": False,
        "candidates": "all",
        "settings": {"train_rows": "all", "MAX_ITEM_LIST_LENGTH": 10},
    },
    "figures": {"SASRec": {"hit@10": 0.1234}},
}


@pytest.fixture
def tables(tmp_path):
    """Gives a function that writes one table with some parts changed and reads it."""

    def read(protocol=None, value=0.1234, **changes):
        table = TABLE | {"figures": {"SASRec": {"hit@10": value}}} | changes
        table["protocol"] = TABLE["protocol"] | (protocol or {})
        (tmp_path / "some.yaml").write_text(yaml.safe_dump(table, sort_keys=False))
        return papers.read_tables(tmp_path)

    return read


@pytest.fixture
def verdict(tables):
    """Gives a function from changes of our protocol, our row and theirs to the one verdict."""

    def of(value, ours=None, row=None, theirs=None):
        rows = [row_of(**(row or {}))]
        (found,) = papers.check(protocol_of(**(ours or {})), rows, tables(theirs, value))
        return found["verdict"]

    return of


# ---------------------------------------------------------------- verdicts
@pytest.mark.parametrize(
    "value, expected",
    [
        (0.1234, "within one standard deviation"),
        (0.1253, "within one standard deviation"),
        (0.1215, "within one standard deviation"),
        (0.1255, "below by 0.0021"),
        (0.1213, "above by 0.0021"),
    ],
)
def test_the_verdict_is_that_of_the_distance_in_standard_deviations(verdict, value, expected):
    assert verdict(value) == expected


def test_a_published_standard_deviation_widens_the_range(verdict):
    assert verdict(0.1270) == "below by 0.0036"
    assert verdict([0.1270, 0.003]) == "within one standard deviation"  # sqrt(.002^2 + .003^2)
    assert verdict([0.1271, 0.003]) == "below by 0.0037"


def test_everything_a_reader_needs_is_in_the_result(tables):
    figures = {"SASRec": {"hit@10": 0.12, "ndcg@10": 0.06}, "MultVAE": {"hit@10": 0.11}}
    rows = [
        row_of(test={"hit@10": 0.13, "ndcg@10": 0.06}, sd={"hit@10": 0.002, "ndcg@10": 0.0}),
        row_of(label="auto-encoder", model="multivae", test={"hit@10": 0.1}),
        row_of(label="counts", model="Pop"),
        row_of(label="outside", model=None),
        row_of(label="no such model", model="Elsewhere9"),
        row_of(label="own", model="recbole.model.sequential_recommender:SASRec"),
        row_of(label="RecBole's", model="recbole:sasrec", test={"hit@10": 0.12}),
    ]
    found = papers.check(protocol_of(), rows, tables(figures=figures))
    columns = "label model source metric published ours verdict".split()
    assert [[line[column] for column in columns] for line in found] == [
        ["ours", "SASRec", "Some, SIGIR 2023", "hit@10", 0.12, 0.13, "above by 0.0100"],
        ["ours", "SASRec", "Some, SIGIR 2023", "ndcg@10", 0.06, 0.06]
        + ["within one standard deviation"],
        ["auto-encoder", "MultiVAE", "Some, SIGIR 2023", "hit@10", 0.11, 0.1, "below by 0.0100"],
        ["RecBole's", "SASRec", "Some, SIGIR 2023", "hit@10", 0.12, 0.12]
        + ["within one standard deviation"],
        ["RecBole's", "SASRec", "Some, SIGIR 2023", "ndcg@10", 0.06, None]
        + ["not comparable, because this table has no ndcg@10"],
    ]


def test_tables_of_other_data_give_nothing(tables):
    assert papers.check(protocol_of(dataset="mall"), [row_of()], tables()) == []
    assert papers.check(protocol_of(), [row_of()], tables()) != []


def test_a_source_says_its_table_and_who_ran_the_program(tables):
    source = TABLE["source"] | {"table": "Table 2"}
    names = [
        papers.source_name(table)
        for kind in ("paper", "program", "rerun")
        for table in tables(source=source, kind=kind)
    ]
    assert names == [
        "Some, SIGIR 2023, Table 2",
        "Some, SIGIR 2023, Table 2, the authors' program",
        "Some, SIGIR 2023, Table 2, a rerun",
    ]


# ---------------------------------------------------------------- what may be compared
# Changes of our protocol, of our row and of the table, and the reason; an earlier one comes first.
REASONS = [
    ({"held_out_hash": "f" * 16}, {}, {}, "other held-out rows"),
    ({"unit": "users"}, {}, {}, "the paper gives means over rows, this table over users"),
    ({}, {}, {"mask_history": True}, "the paper masks history, this table does not"),
    ({"mask_history": True}, {}, {}, "this table masks history, the paper does not"),
    ({}, {}, {"candidates": 100}, "the paper ranks among 100 sampled items"),
    (
        {"eval_args": {"mode": {"valid": "full", "test": "uni100"}}},
        {},
        {},
        "this table ranks among sampled items (uni100), the paper does not",
    ),
    (
        {"candidates": "trained"},
        {},
        {},
        "the candidates of the paper are all items, those of this table trained",
    ),
    ({"train_rows": "last"}, {}, {}, "train_rows is all in the paper and last in this table"),
    (
        {"settings": {"MAX_ITEM_LIST_LENGTH": 50}},
        {},
        {},
        "MAX_ITEM_LIST_LENGTH is 10 in the paper and 50 in this table",
    ),
    (
        {"settings": {}},
        {},
        {},
        "MAX_ITEM_LIST_LENGTH is 10 in the paper and not stated in this table",
    ),
    (
        {"rows_without_history": 7},
        {},
        {"divided_by": "all_rows"},
        "the paper divides by all rows, this table by those with a history",
    ),
    ({}, {"test": {"hit@20": 0.1}}, {}, "this table has no hit@10"),
    ({}, {"seeds": 1, "sd": None}, {}, "one seed: no standard deviation, difference +0.0034"),
    ({}, {"seeds": 1}, {}, "one seed: no standard deviation, difference +0.0034"),
    ({}, {"sd": {}}, {}, "3 seeds: no standard deviation, difference +0.0034"),
]


@pytest.mark.parametrize("ours, row, theirs, reason", REASONS, ids=[r[-1] for r in REASONS])
def test_what_was_measured_otherwise_is_not_compared(verdict, ours, row, theirs, reason):
    assert verdict(0.12) == "above by 0.0034"  # the control
    assert verdict(0.12, ours, row, theirs) == f"not comparable, because {reason}"


def test_of_several_reasons_the_first_is_given(verdict):
    ours, row, theirs = {}, {"seeds": 1}, {}
    others = [reason for reason in REASONS if "this table masks" not in reason[-1]]
    for more_ours, _, more_theirs, reason in reversed(others[:9]):
        ours, theirs = ours | more_ours, theirs | more_theirs
        assert verdict(0.12, ours, row, theirs) == f"not comparable, because {reason}"


def test_rows_that_are_not_known_are_not_compared(tmp_path):
    unknown = TABLE | {"protocol": {"settings": {"MAX_ITEM_LIST_LENGTH": 10}}}
    (tmp_path / "some.yaml").write_text(yaml.safe_dump(unknown, sort_keys=False))
    (found,) = papers.check(protocol_of(), [row_of()], papers.read_tables(tmp_path))
    reason = "it is not known which rows the paper held out"
    assert found["verdict"] == f"not comparable, because {reason}"
    assert found["ours"] == 0.1234


def test_a_paper_that_divides_by_all_rows_is_held_against_such_figures(tables):
    row = row_of(test={"hit@10": 0.12}, all_rows={"hit@10": 0.06}, sd={"hit@10": 0.01})

    def found(value, rows_without_history=7, **protocol):
        ours = protocol_of(rows_without_history=rows_without_history)
        (line,) = papers.check(ours, [row], tables(protocol, value))
        return line["ours"], line["verdict"]

    # The spread of the seeds shrinks with the figure.
    within, all_rows = "within one standard deviation", {"divided_by": "all_rows"}
    assert found(0.0640, **all_rows) == (0.06, within)
    assert found(0.0660, **all_rows) == (0.06, "below by 0.0060")
    assert found(0.0660) == (0.12, "above by 0.0540")
    assert found(0.1299, rows_without_history=0, **all_rows) == (0.12, within)


def test_a_paper_that_divides_by_all_users_is_held_against_such_figures(tables):
    users = {"divided_by": "all_users", "users": {"with_test": 30, "all": 40}}
    row = row_of(test={"hit@10": 0.12}, sd={"hit@10": 0.01})
    ours = protocol_of(unit="users")
    (found,) = papers.check(ours, [row], tables(users, 0.08))
    assert (round(found["ours"], 9), found["verdict"]) == (0.09, "above by 0.0100")
    (found,) = papers.check(ours, [row], tables(users, 0.0826))
    assert found["verdict"] == "within one standard deviation"  # .0074 < .01 * 30 / 40


# ---------------------------------------------------------------- held-out rows
@pytest.fixture
def held_out(tmp_path, write_inter, build_data):
    """Gives a function from rows of four users to the hash of what is held out."""

    def of(rows, model="SASRec", **settings):
        write_inter(tmp_path, "tiny", rows, "user_id:token item_id:token timestamp:float")
        given = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
        split = {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}
        given |= {"eval_args": split, "topk": [2], "valid_metric": "Hit@2"}
        _, _, loaders = build_data(tmp_path, model, **given | settings)
        return held_out_hash(loaders[2]._dataset)

    return of


SEEN = [(f"u{user}", f"i{(user + time) % 6}", time) for user in range(4) for time in range(5)]


def test_the_hash_is_that_of_the_sorted_lines(held_out):
    # printf 'u0\ti4\nu1\ti5\nu2\ti0\nu3\ti1\n' | sha256sum
    assert held_out(SEEN) == "d1499a982ed0dff5"


def test_the_hash_is_that_of_the_rows_not_of_order_or_kind_of_model(held_out):
    expected = held_out(SEEN)
    shuffled = random.Random(1).sample(SEEN, len(SEEN))
    assert held_out(shuffled) == expected
    assert held_out(SEEN, "Pop") == expected
    assert held_out(SEEN, length_buckets=False) == expected
    other = [*SEEN[:-1], ("u3", "i2", 4)]
    assert held_out(other) != expected
    renamed = [(user.replace("u3", "u9"), item, time) for user, item, time in SEEN]
    assert held_out(renamed) != expected


# Data set: a model that runs on it, the script that prepares it, and what that reads.
OFFICIAL = {
    "zhihu": ("SASRec", "zhihu.py", "data/zhihu/sequences.txt"),
    "jd": ("ICDDT", "jd.py", "data/jd"),
    "ml-1m-diffrec": ("DiffRec", "diffrec.py", "data/ml-1m-diffrec"),
}


@pytest.mark.slow
@pytest.mark.parametrize("dataset", OFFICIAL)
def test_the_held_out_rows_of_the_official_splits_are_those_of_the_tables(
    dataset, shared_path, tmp_path, build_data
):
    model, script, raw = OFFICIAL[dataset]
    command = [sys.executable, str(SCRIPTS / script), "--input", str(shared_path(raw))]
    subprocess.run([*command, "--output", str(tmp_path / dataset)], check=True, capture_output=True)
    tables = [table for table in papers.read_tables() if table["dataset"] == dataset]
    known = {table["protocol"].get("held_out") for table in tables} - {None}
    _, _, loaders = build_data(tmp_path, model, dataset)
    assert known == {held_out_hash(loaders[2]._dataset)}
    assert known != {held_out_hash(loaders[1]._dataset)}  # the control


# ---------------------------------------------------------------- files
SHIPPED = sorted((properties_dir() / "papers").glob("*.yaml"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_shipped_table_says_where_it_is_from_and_what_it_holds(file, tmp_path):
    (tmp_path / file.name).write_text(file.read_text())
    (table,) = papers.read_tables(tmp_path)
    source = table["source"]
    assert source["venue"] and 2020 < source["year"] < 2030
    unknown = {"TA-Rec": {"authors", "title"}, "ICDDT": {"authors"}}.get(source["name"], set())
    assert {"authors", "title"} - set(source) == unknown
    assert (properties_dir() / "dataset" / f"{table['dataset']}.yaml").is_file()
    for model, figures in table["figures"].items():
        assert resolve(model)[0] == model
        for metric, (value, sd) in figures.items():
            assert 0 < value < 1 and (sd is None or 0 < sd < value), metric
        # More is found among more items.
        for name in {metric.split("@")[0] for metric in figures}:
            by_k = sorted((int(m.split("@")[1]), v) for m, (v, _) in figures.items() if name in m)
            assert [v for _, v in by_k] == sorted(v for _, v in by_k)


def test_the_figures_of_the_papers_are_there():
    figures = {
        (papers.source_name(table), table["dataset"]): table["figures"]
        for table in papers.read_tables()
    }
    diffrec = figures["DiffRec, SIGIR 2023", "ml-1m-diffrec"]
    assert set(diffrec) == {"MultiVAE", "LightGCN", "DiffRec", "LDiffRec"}
    assert diffrec["DiffRec"]["recall@20"] == (0.1787, None)
    assert figures["DreamRec, NeurIPS 2023", "zhihu"]["DreamRec"]["hit@20"] == (0.0226, None)
    assert figures["TA-Rec, arXiv 2025", "zhihu"]["DimeRec"]["ndcg@20"] == (0.0078, None)


MALFORMED = [
    ({"source": {"name": "Some"}}, "source lacks year"),
    ({"source": {"name": "Some", "year": 2023}}, "source has neither arxiv nor doi"),
    ({"source": TABLE["source"] | {"year": "2023"}}, "year is '2023', not a number"),
    ({"source": TABLE["source"] | {"arxiv": 2301.1}}, "arxiv is 2301.1, not text"),
    ({"source": TABLE["source"] | {"author": "A"}}, "source has the unknown author"),
    ({"source": "Some 2023"}, "source is 'Some 2023', not `key: value` lines"),
    ({"kind": "blog"}, "kind is 'blog', not one of ['paper', 'program', 'rerun']"),
    ({"dataset": None}, "dataset is None, not text"),
    ({"tabel": 1}, "the file has the unknown tabel"),
    ({"protocol": {"held_out": HELD_OUT}}, "protocol lacks candidates, mask_history"),
    ({"protocol": {"held_out": 12}}, "protocol lacks candidates, mask_history"),
    (
        {"protocol": TABLE["protocol"] | {"held_out": None}},
        "held_out is None, not 16 digits in quotes; leave out what is unknown",
    ),
    (
        {"protocol": {"divided_by": "users"}},
        "divided_by is 'users', not one of "
        "['users_with_test', 'all_users', 'rows_with_history', 'all_rows']",
    ),
    ({"protocol": {"mask_history": "no"}}, "mask_history is 'no', not one of [True, False]"),
    (
        {"protocol": {"candidates": True}},
        "candidates is True, not all, trained or a number of sampled items",
    ),
    ({"protocol": {"settings": [10]}}, "settings is [10], not `key: value` lines"),
    ({"protocol": {"divided_by": "all_users"}}, "protocol users is None, not `key: value` lines"),
    (
        {"protocol": {"divided_by": "all_users", "users": {"with_test": 5, "all": 4}}},
        "5 users with a test row of 4 in all",
    ),
    ({"protocol": {"topk": 10}}, "protocol has the unknown topk"),
    ({"figures": {}}, "figures are missing"),
    ({"figures": {"SASRecc": {"hit@10": 0.1}}}, "no model is called 'SASRecc'; did you mean"),
    ({"figures": {"SASRec": 0.1}}, "SASRec has no `metric: value` lines"),
    (
        {"figures": {"MultVAE": {"hit@10": 0.1}, "MultiVAE": {"hit@10": 0.1}}},
        "figures has MultiVAE twice",
    ),
    ({"figures": {"SASRec": {"hr@10": 0.1}}}, "SASRec has 'hr@10', no metric@k of ['hit', "),
    ({"figures": {"SASRec": {"hit": 0.1}}}, "SASRec has 'hit', no metric@k of ['hit', "),
    (
        {"figures": {"SASRec": {"hit@10": 1.62}}},
        "SASRec hit@10 is 1.62, not a share between 0 and 1",
    ),
    (
        {"figures": {"SASRec": {"hit@10": [0.1, None]}}},
        "SASRec hit@10 is [0.1, None], not a share between 0 and 1",
    ),
]


@pytest.mark.parametrize("change, message", MALFORMED, ids=[m[-1][:40] for m in MALFORMED])
def test_a_malformed_table_is_refused_with_the_file_and_the_reason(change, message, tmp_path):
    file = tmp_path / "some.yaml"
    file.write_text(yaml.safe_dump(TABLE, sort_keys=False))
    assert len(papers.read_tables(tmp_path)) == 1  # the control
    file.write_text(yaml.safe_dump(TABLE | change, sort_keys=False))
    with pytest.raises(ConfigError) as refused:
        papers.read_tables(tmp_path)
    assert str(refused.value).startswith(f"{file}: {message}")
    assert "\n" not in str(refused.value)
