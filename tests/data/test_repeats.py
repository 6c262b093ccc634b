"""An interaction counts once, and what is held out is not trained on: or it is said with counts."""

import re

import numpy as np
import pytest

from recbole_diffusion.config.config import Config
from recbole_diffusion.data.choose import get_dataset
from recbole_diffusion.data.lines import DataError

TIMED = "user_id:token item_id:token timestamp:float"
ACTED = "user_id:token item_id:token behavior:token timestamp:float"
PAIRS = "user_id:token item_id:token"
LAST = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
LOT = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": "user", "mode": "full"}
BUYS = {"BEHAVIOR_FIELD": "behavior", "target_behavior": "buy"}
PARTS = ["train", "valid", "test"]
LOG = [(f"u{user}", f"i{(3 * user + time) % 9}", time) for user in range(6) for time in range(8)]


# ------------------------------------------------------------------ one file
@pytest.mark.parametrize("model", ["SASRec", "Pop", "ICDDT", "FEARec"])
def test_a_repeated_line_counts_once_in_every_data_set(model, tmp_path, write_inter):
    later = [(user, item, time + 100) for user, item, time in LOG[:3]]  # the control: other stamps
    write_inter(tmp_path, "clean", [*LOG, *later], TIMED)
    write_inter(tmp_path, "tiny", [*LOG, LOG[0], *later, LOG[5], LOG[5]], TIMED)
    sizes, reports = {}, {}
    for name in ("clean", "tiny"):
        settings = {"data_path": str(tmp_path), "use_gpu": False, "eval_args": LAST}
        config = Config(model, name, config_dict=settings)
        data = get_dataset(config)(config)
        sizes[name], reports[name] = len(data.inter_feat), data.split_report
    assert sizes["tiny"] == sizes["clean"] == len(LOG) + 3
    assert reports["tiny"]["repeated_lines_dropped"] == 3
    assert "repeated_lines_dropped" not in reports["clean"]


def test_without_stamps_a_second_line_stays_and_is_counted(tmp_path, write_inter, build_data):
    log = [(user, item) for user, item, _ in LOG[:40]]
    write_inter(tmp_path, "tiny", [*log, log[0], log[3]], PAIRS)
    settings = {"load_col": {"inter": "*"}, "eval_args": LOT}
    _, data, _ = build_data(tmp_path, "MultiVAE", **settings)
    assert data.split_report["repeated_pairs_kept"] == 2
    assert len(data.inter_feat) == 42
    _, data, _ = build_data(tmp_path, "MultiVAE", **settings, rm_dup_inter="first")
    assert "repeated_pairs_kept" not in data.split_report and len(data.inter_feat) == 40


# ------------------------------------------------------------------ ready-made splits
def cut(log):
    """Each user's last row for test, the one before for validation."""
    parts = {part: [] for part in PARTS}
    for row in log:
        parts[{7: "test", 6: "valid"}.get(row[-1], "train")].append(row)
    return parts


@pytest.fixture
def load(tmp_path, write_inter, build_data):
    """Gives a function from the rows of each part to the built data set."""

    def run(parts, model="SASRec", columns=TIMED, **settings):
        for part, rows in parts.items():
            write_inter(tmp_path, "tiny", rows, columns, part=part)
        files = {"benchmark_filename": list(parts), "MAX_ITEM_LIST_LENGTH": 5}
        return build_data(tmp_path, model, **files | settings)[1]

    return run


MODELS = ["SASRec", "ICDDT", "MultiVAE", "Pop"]


@pytest.mark.parametrize("model", MODELS)
def test_a_clean_split_is_taken_without_a_count(model, load):
    data = load(cut(LOG), model)
    assert not [name for name in data.split_report if re.search("_in_|_before_history", name)]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "source, target", [("valid", "train"), ("test", "train"), ("test", "valid")]
)
def test_an_interaction_in_two_files_is_refused_with_both_places(source, target, model, load):
    parts = cut(LOG)
    parts[target] += parts[source][2:4]
    number = len(parts[target])
    with pytest.raises(DataError) as refusal:
        load(parts, model)
    words = str(refusal.value)
    assert (
        f"interaction of tiny.{source}.inter line 4 is that of tiny.{target}.inter line {number}"
        in words
    )
    assert f"{source}_rows_in_{target}: 2" in words and "allow_overlap: True" in words
    data = load(parts, model, allow_overlap=True)
    assert data.split_report[f"{source}_rows_in_{target}"] == 2


@pytest.mark.parametrize("model", MODELS)
def test_a_held_out_row_that_is_older_than_its_history_is_refused(model, load):
    parts = cut(LOG)
    parts["train"][9] = ("u1", "i8", 6.5)  # after its validation row, before its test row
    with pytest.raises(DataError) as refusal:
        load(parts, model)
    words = str(refusal.value)
    assert "tiny.valid.inter line 3 is older than tiny.train.inter line 11" in words
    assert "valid_rows_before_history: 1)" in words
    assert load(parts, model, allow_overlap=True).split_report["valid_rows_before_history"] == 1
    parts["train"][9] = ("u1", "i8", 6)  # a tie is no proof
    assert "valid_rows_before_history" not in load(parts, model).split_report


def test_the_history_file_may_hold_what_validation_does_and_not_what_test_does(load):
    rows = [(user, item, "buy", time) for user, item, time in LOG]
    parts = cut(rows) | {"history": []}
    parts["history"] = list(parts["valid"])
    settings = {"columns": ACTED, **BUYS}
    data = load(parts, "ICDDT", **settings)
    assert not [name for name in data.split_report if re.search("_in_|_before_history", name)]
    leak = parts | {"history": [*parts["valid"], parts["test"][0]]}
    with pytest.raises(DataError, match=r"test_rows_in_history: 1\)"):
        load(leak, "ICDDT", **settings)
    late = parts | {"history": [*parts["valid"], ("u3", "i1", "view", 7.5)]}
    with pytest.raises(DataError, match=r"tiny\.test\.inter line 5 is older than tiny\.history"):
        load(late, "ICDDT", **settings)
    with pytest.raises(DataError, match=r"test_rows_before_history: 1\)"):
        load(late, "ICDDT", **settings)


def test_another_behaviour_or_another_stamp_is_another_interaction(load):
    rows = [(user, item, "buy", time) for user, item, time in LOG]
    parts = cut(rows)
    user, item, _, time = parts["test"][0]
    parts["train"] += [(user, item, "view", 0), (user, item, "buy", 1)]
    data = load(parts, "ICDDT", columns=ACTED, **BUYS)
    assert not [name for name in data.split_report if re.search("_in_|_before_history", name)]
    parts["train"] += [(user, item, "buy", time)]  # the control
    with pytest.raises(DataError, match="test_rows_in_train: 1"):
        load(parts, "ICDDT", columns=ACTED, **BUYS)


def test_without_stamps_pairs_are_refused_where_pairs_are_learnt_and_counted_elsewhere(load):
    parts = {part: [row[:2] for row in rows] for part, rows in cut(LOG).items()}
    clean = load(parts, "MultiVAE", columns=PAIRS).split_report
    parts["train"] += parts["test"][:2]
    with pytest.raises(DataError, match=r"test_rows_in_train: 2\)"):
        load(parts, "MultiVAE", columns=PAIRS)
    data = load(parts, "MultiVAE", columns=PAIRS, allow_overlap=True)
    assert data.split_report["test_rows_in_train"] == 2 and "test_rows_in_train" not in clean
    assert load(parts, "SASRec", columns=PAIRS).split_report["test_pairs_in_train"] == 2


def test_the_rule_finds_what_a_walk_over_all_rows_finds(load):
    draw = np.random.default_rng(3)
    for _ in range(6):

        def rows(n):
            return [(f"u{u}", f"i{i}", t) for u, i, t in draw.integers([3, 2, 2], size=(n, 3))]

        parts = {"train": [*rows(5), ("u9", "i9", 0)], "valid": rows(2), "test": rows(2)}
        data = load(parts, "Pop", allow_overlap=True)
        for held_out, others in (("valid", ["train"]), ("test", ["train", "valid"])):
            for other in others:
                count = sum(row in parts[other] for row in parts[held_out])
                assert data.split_report.get(f"{held_out}_rows_in_{other}", 0) == count
            count = sum(
                any(user == past[0] and time < past[2] for past in parts["train"])
                for user, _, time in parts[held_out]
            )
            assert data.split_report.get(f"{held_out}_rows_before_history", 0) == count


def test_whole_sequences_are_in_one_file_and_not_compared(load):
    users = {"train": ("u0", "u1", "u2"), "valid": ("u3", "u4"), "test": ("u5",)}
    parts = {part: [row for row in LOG if row[0] in users[part]] for part in PARTS}
    data = load(parts, "ICDDT", SPLIT="sequence")
    assert not [name for name in data.split_report if re.search("_in_|_before_history", name)]
