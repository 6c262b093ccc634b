"""With ``held_out_items: new`` no user had a held-out item before."""

import numpy as np
import pytest
import torch

from recbole_diffusion.config.config import Config
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.data.choose import get_dataset
from recbole_diffusion.data.lines import DataError

PARTS = ("train", "valid", "test")
FILES = (*PARTS, "history")


def by(split, group_by="user", order="TO"):
    return {"eval_args": {"split": split, "order": order, "group_by": group_by, "mode": "full"}}


LAST = by({"LS": "valid_and_test"})
SPLITS = {
    "LS": LAST,
    "test only": by({"LS": "test_only"}),
    "valid only": by({"LS": "valid_only"}),
    "RS": by({"RS": [0.5, 0.2, 0.3]}),
    "RS of all": by({"RS": [0.5, 0.2, 0.3]}, group_by=None),
    "TS": by({"TS": [0.5, 0.2, 0.3]}),
    "files": {"benchmark_filename": list(PARTS), "allow_overlap": True},
    "files with history": {"benchmark_filename": list(FILES), "allow_overlap": True},
}
BUYS = {"BEHAVIOR_FIELD": "behavior", "target_behavior": "buy"}
LONG = {"MAX_ITEM_LIST_LENGTH": 99}


@pytest.fixture(scope="module")
def logs(tmp_path_factory, random_log, write_inter):
    """Folder with a log in which items come again, as one file and as ready-made ones."""
    folder = tmp_path_factory.mktemp("logs")
    write_inter(folder, "tiny", random_log(n_users=24, n_items=9))
    for seed, part in enumerate(("train", "history", "valid", "test")):  # in order of time
        log = random_log(n_items=20, seed=seed)
        rows = [(*row[:3], row[3] + 1_000 * seed) for row in log]
        if part in PARTS[1:]:
            rows = [row for row in rows if row[2] == "buy"]
        write_inter(folder, "tiny", rows, part=part)
    return folder


@pytest.fixture
def built(logs, build_data):
    """Gives a function from a model and settings to its data and the three built data sets."""

    def build(model, **settings):
        torch.manual_seed(5)
        config = Config(model, "tiny", config_dict={"data_path": str(logs), **settings})
        data = get_dataset(config)(config)
        return data, data.build()

    return build


# ------------------------------------------------------------------ the split on lists


def lines(logs, part=None):
    file = logs / "tiny" / (f"tiny.{part}.inter" if part else "tiny.inter")
    return [line.split("\t") for line in file.read_text().splitlines()[1:]]


def histories(rows, behaviors):
    """User to its (item, behaviour) in order of time, then line; repeated lines count once."""
    once, found = {}, {}
    for user, item, behavior, time in rows:
        key = (user, item, behavior, time) if behaviors else (user, item, time)
        once.setdefault(key, (user, item, behavior, time))
    rows = list(once.values())
    for user, item, behavior, _ in sorted(rows, key=lambda row: float(row[3])):
        found.setdefault(user, []).append((item, behavior))
    return found


def left_out(events, parts, may):
    """The leave-one-out of one user by its definition.

    Returns the places that are left, and the part to the place that is held out.
    """
    left, held_out, end = list(range(len(events))), {}, len(events)
    for part in parts:
        places = [place for place in left if place < end and place in may]
        if len(places) < 2:
            break
        held_out[part] = end = places[-1]
        item = events[end][0]
        left = [place for place in left if place >= end or events[place][0] != item]
    return left, held_out


def wanted_of_last(logs, mode, behaviors):
    """Train, valid and test as sorted (user, items before, item), and the rows that are gone."""
    parts, gone = {part: [] for part in PARTS}, 0
    order = {"valid_and_test": ("test", "valid"), "valid_only": ("valid",), "test_only": ("test",)}
    for user, events in histories(lines(logs), behaviors).items():
        may = {k for k, (_, behavior) in enumerate(events) if behavior == "buy"}
        may = may if behaviors else set(range(1, len(events)))
        left, held_out = left_out(events, order[mode], may)
        gone += len(events) - len(left)
        first = min(held_out.values(), default=len(events))
        places = {"train": [place for place in left if place < first]}
        places |= {part: [place] for part, place in held_out.items()}
        for part, some in places.items():
            for place in some:
                before = tuple(events[k][0] for k in left if k < place)
                parts[part] += [(user, before, events[place][0])] if before else []
    return [sorted(rows) for rows in parts.values()], gone


def in_tokens(part):
    """Rows of a built data set as sorted (user, items before, item)."""
    rows = part[np.arange(len(part))].numpy()
    name = part.id2token
    return sorted(
        (
            str(name("user_id", user)),
            tuple(map(str, name("item_id", items[:length]))) if length else (),
            str(name("item_id", item)),
        )
        for user, items, length, item in zip(
            rows["user_id"], rows["item_id_list"], rows["item_length"], rows["item_id"]
        )
    )


@pytest.mark.parametrize("mode", ["valid_and_test", "valid_only", "test_only"])
@pytest.mark.parametrize("behaviors", [BUYS, {}], ids=["buys", "plain"])
@pytest.mark.parametrize("model", ["SASRec", "ICDDT"])
def test_leave_one_out_is_that_of_plain_lists(mode, behaviors, model, logs, built):
    settings = behaviors | LONG | by({"LS": mode})
    data, parts = built(model, held_out_items="new", **settings)
    wanted, gone = wanted_of_last(logs, mode, behaviors)
    assert [in_tokens(part) for part in parts] == wanted
    assert data.split_report["rows_of_held_out_items_dropped"] == gone > 0
    assert min(len(rows) for rows in wanted if rows) > 5
    _, parts = built(model, **settings)  # the control
    assert [in_tokens(part) for part in parts][0] != wanted[0]


def item_at(part):
    """(user, position) to item of the rows of a built data set, several at one position."""
    user, position, item = (
        part.inter_feat[name].tolist() for name in ("user_id", "position", "item_id")
    )
    return list(zip(user, position, item))


@pytest.mark.parametrize("behaviors", [BUYS, {}], ids=["buys", "plain"])
@pytest.mark.parametrize(
    "split", [name for name in SPLITS if name not in ("LS", "test only", "valid only")]
)
def test_other_splits_lose_the_earlier_rows_of_held_out_items(split, behaviors, built):
    settings = behaviors | LONG | SPLITS[split]
    data, before = built("SASRec", **settings)
    events = {}
    for user, item in zip(data.store["user_id"].tolist(), data.store["item_id"].tolist()):
        events.setdefault(user, []).append(item)
    rows = [item_at(part) for part in before]
    gone = {
        (user, place)
        for user, position, item in rows[1] + rows[2]
        for place, earlier in enumerate(events[user][:position])
        if earlier == item
    }
    wanted = []
    for number, part in enumerate(rows):
        stored = number == 0 or not split.startswith("files")
        some = []
        for user, position, item in part:
            past = [events[user][k] for k in range(position) if (user, k) not in gone]
            if past and not (stored and (user, position) in gone):
                some.append((user, tuple(past), item))
        wanted.append(sorted(some))
    _, after = built("SASRec", held_out_items="new", **settings)
    found = []
    for part in after:
        batch = part[np.arange(len(part))].numpy()
        found.append(
            sorted(
                (user, tuple(items[:length].tolist()), item)
                for user, items, length, item in zip(
                    batch["user_id"].tolist(), batch["item_id_list"],
                    batch["item_length"], batch["item_id"].tolist(),
                )
            )
        )  # fmt: skip
    assert found == wanted and gone
    assert min(map(len, found)) > 5


# ------------------------------------------------------------------ the laws


def repeats(parts):
    """Held-out rows whose user had the item before: in the stored rows, and in training."""
    train, *held_out = parts
    pairs = set(zip(*(train.inter_feat[name].tolist() for name in ("user_id", "item_id"))))
    matrix = train.inter_matrix()
    pairs |= set(zip(matrix.row.tolist(), matrix.col.tolist()))
    stored = trained = 0
    for part in held_out:
        for user, position, item in item_at(part):
            first = int(part.start[user])
            stored += item in part.store["item_id"][first : first + position].tolist()
            trained += (user, item) in pairs
    return stored, trained


@pytest.mark.parametrize("model", ["ICDDT", "Pop"])
@pytest.mark.parametrize("behaviors", [BUYS, {}], ids=["buys", "plain"])
@pytest.mark.parametrize("split", SPLITS)
def test_no_held_out_item_was_had_before_in_histories_or_in_training(
    split, behaviors, model, built
):
    settings = behaviors | SPLITS[split]
    data, parts = built(model, held_out_items="new", **settings)
    assert repeats(parts) == (0, 0) and sum(map(len, parts[1:])) > 10
    shares = {name: share for name, share in data.split_report.items() if "seen_before" in name}
    assert shares and set(shares.values()) == {0}
    data, parts = built(model, **settings)  # the control
    assert min(repeats(parts)) > 0
    assert max(data.split_report[name] for name in shares) > 0
    assert "rows_of_held_out_items_dropped" not in data.split_report


@pytest.mark.parametrize("behaviors", [BUYS, {}], ids=["buys", "plain"])
def test_general_models_hold_out_the_rows_of_the_sequential_ones(behaviors, built):
    settings = behaviors | LAST | {"held_out_items": "new"}
    held_out = {}
    for model in ("SASRec", "ICDDT", "MultiVAE", "TDiffRec"):
        data, parts = built(model, **settings)
        held_out[model] = [sorted(item_at(part)) for part in parts[1:]]
        pairs = [row[::2] for row in item_at(parts[0])]
        if model == "MultiVAE" and behaviors:
            assert len(set(pairs)) == len(pairs)
    assert all(rows == held_out["SASRec"] for rows in held_out.values())


def test_the_shares_and_ties_of_the_report_are_those_of_the_rows(logs, built):
    data, parts = built("ICDDT", **BUYS, **LAST, **LONG)
    for name, part in zip(PARTS[1:], parts[1:]):
        rows = in_tokens(part)
        share = np.mean([item in history for _, history, item in rows])
        assert data.split_report[f"{name}_targets_seen_before"] == pytest.approx(share, abs=5e-5)
        assert 0 < share < 1


def test_a_tie_is_counted_with_the_row_that_is_left(tmp_path, write_inter, build_data):
    log = [("u", "a", "view", 1), ("u", "b", "buy", 2), ("u", "c", "cart", 3), ("u", "c", "buy", 3)]
    log += [
        ("v", "a", "view", 1),
        ("v", "b", "buy", 2),
        ("v", "b", "cart", 3),
        ("v", "c", "buy", 3),
    ]
    write_inter(tmp_path, "tiny", log)
    ties = {}
    for items in ("any", "new"):
        _, data, _ = build_data(tmp_path, "ICDDT", **BUYS, **LAST, held_out_items=items)
        ties[items] = data.split_report["test_rows_tied"]
    assert ties == {"any": 2, "new": 1}


@pytest.mark.parametrize("behaviors", [BUYS, {}], ids=["buys", "plain"])
def test_who_has_no_other_item_has_no_history_and_is_counted(
    behaviors, tmp_path, write_inter, build_data
):
    log = [("only", "a", "view", 1), ("only", "a", "buy", 2), ("only", "a", "buy", 3)]
    log += [
        ("more", "c", "view", 0),
        ("more", "b", "view", 1),
        ("more", "a", "buy", 2),
        ("more", "b", "buy", 3),
    ]
    log += [("other", "d", "view", 1), ("other", "e", "view", 2)]
    write_inter(tmp_path, "tiny", log)
    for model in ("ICDDT", "Pop"):
        _, data, (_, _, test) = build_data(
            tmp_path, model, **behaviors, **LAST, held_out_items="new"
        )
        assert data.split_report["test_rows_without_history"] == 1
        assert data.split_report["rows_of_held_out_items_dropped"] == 3
        name = test._dataset.id2token("user_id", test._dataset.inter_feat["user_id"].numpy())
        assert list(name) == ["more"]
        assert data.user_num == 4


# ------------------------------------------------------------------ settings


def test_any_is_the_default_and_new_that_of_retail():
    assert Config("ICDDT", "mine")["held_out_items"] == "any"
    assert Config("ICDDT", "jd")["held_out_items"] == "any"
    assert Config("ICDDT", "retail")["held_out_items"] == "new"
    retail = Config("ICDDT", "retail", config_dict={"held_out_items": "any"})
    assert retail["held_out_items"] == "any"


def test_what_has_no_earlier_rows_is_refused(logs, built):
    with pytest.raises(ConfigError, match="held_out_items is 'old', it must be one of any, new"):
        Config("ICDDT", "tiny", config_dict={"held_out_items": "old"})
    with pytest.raises(ConfigError, match="use held_out_items: any"):
        Config("SASRec", "tiny", config_dict={"held_out_items": "new", "SPLIT": "sequence"})
    with pytest.raises(DataError, match="held_out_items: new .* needs eval_args order: TO, not RO"):
        built("Pop", held_out_items="new", **by({"RS": [0.8, 0.1, 0.1]}, order="RO"))
    with pytest.raises(ConfigError, match="does not know held_out_items: new"):
        get_dataset(Config("FEARec", "tiny", config_dict={"held_out_items": "new"}))


def test_on_retail_both_tasks_are_one(retail, build_data):
    reports = {}
    for items in ("new", "any"):
        _, data, _ = build_data(retail, "SASRec", "retail", held_out_items=items)
        reports[items] = data.split_report
    new, old = reports["new"], reports["any"]
    assert (new["valid_targets_seen_before"], new["test_targets_seen_before"]) == (0, 0)
    assert (old["valid_targets_seen_before"], old["test_targets_seen_before"]) == (0.9469, 0)
    assert (new["valid_rows"], new["test_rows"]) == (885, 2_174)
    assert new["train_rows"] == 85_292 and old["train_rows"] == 86_697
