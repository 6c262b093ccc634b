"""Which rows are trained on, held out and seen as history."""

import numpy as np
import pytest
import torch
from recbole.data.dataset import Dataset, SequentialDataset

from recbole_diffusion.config.config import Config
from recbole_diffusion.data.choose import get_dataset
from recbole_diffusion.data.lines import DataError

SEQUENTIAL = ("ICDDT", "SASRec", "GRU4Rec", "MarkovChain")
GENERAL = ("MultiVAE", "Pop")


def by(split, order="TO", group_by="user"):
    return {"split": split, "order": order, "group_by": group_by, "mode": "full"}


LAST = by({"LS": "valid_and_test"})
RATIO = by({"RS": [0.6, 0.2, 0.2]})
TIME = by({"TS": [0.6, 0.2, 0.2]})
BUYS = {"BEHAVIOR_FIELD": "behavior", "target_behavior": "buy", "eval_args": LAST}
PARTS = ("train", "valid", "test")


# ------------------------------------------------------------------ without behaviours


def columns(part):
    """All rows of a built data set with everything a batch of them holds, as RecBole pads it."""
    rows = part.inter_feat
    if hasattr(part, "store") and isinstance(part, SequentialDataset):
        rows = part[np.arange(len(part))]
    return {name: values for name, values in rows.interaction.items() if name != "position"}


def same(ours, host):
    return ours.keys() == host.keys() and all(torch.equal(ours[name], host[name]) for name in host)


def both_splits(folder, dataset, model, **settings):
    """Our three data sets and RecBole's of the same configuration."""
    config = Config(
        model,
        dataset,
        config_dict={
            "data_path": str(folder),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "crop_history": False,
        }
        | settings,
    )
    built = []
    host = SequentialDataset if model in SEQUENTIAL else Dataset
    for data_class in (get_dataset(config), host):
        torch.manual_seed(5)
        built.append(data_class(config).build())
    return built


SLOW = pytest.mark.slow
SPLITS = [
    ("MultiVAE", LAST),
    ("MultiVAE", by({"LS": "test_only"})),
    ("MultiVAE", by({"LS": "valid_only"}, order="RO")),
    ("MultiVAE", RATIO),
    ("MultiVAE", by({"RS": [0.8, 0.1, 0.1]}, order="RO")),
    ("MultiVAE", by({"RS": [0.8, 0.1, 0.1]}, group_by=None)),
    ("MultiVAE", TIME),
    ("SASRec", LAST),
    ("SASRec", by({"LS": "test_only"})),
    ("SASRec", RATIO),
    ("SASRec", by({"RS": [0.8, 0.1, 0.1]}, group_by=None)),
    ("SASRec", TIME),
]


@pytest.mark.parametrize("model, eval_args", SPLITS)
def test_without_behaviours_the_split_is_recboles_row_for_row(
    model, eval_args, tmp_path, write_inter, random_log
):
    log = random_log()
    if model == "MultiVAE" and "LS" in eval_args["split"] and eval_args["order"] == "TO":
        # of shorter histories RecBole holds out more for general models than for sequential ones
        log = [row for row in log if int(row[0][1:]) > 2]
    write_inter(tmp_path, "tiny", log)
    settings = {"eval_args": eval_args, "MAX_ITEM_LIST_LENGTH": 4}
    ours, host = both_splits(tmp_path, "tiny", model, **settings)
    for our_part, host_part in zip(ours, host, strict=True):
        assert same(columns(our_part), columns(host_part))
    assert sum(map(len, ours)) > 60


@pytest.mark.slow
@pytest.mark.parametrize(
    "model, eval_args",
    [
        SPLITS[0],
        SPLITS[9],
        *(pytest.param(*SPLITS[k], marks=pytest.mark.slow) for k in (4, 5, 6, 7)),
    ],
)
def test_on_ml_100k_too_the_split_is_recboles_row_for_row(model, eval_args, ranked_ml):
    ours, host = both_splits(ranked_ml, "ranked", model, eval_args=eval_args)
    for our_part, host_part in zip(ours, host, strict=True):
        assert same(columns(our_part), columns(host_part))
    assert sum(map(len, ours)) > 99_000


def test_with_behaviours_the_split_is_not_recboles(tmp_path, write_inter, random_log):
    write_inter(tmp_path, "tiny", random_log())
    columns_loaded = {"inter": ["user_id", "item_id", "behavior", "timestamp"]}
    for model in ("MultiVAE", "SASRec"):
        ours, host = both_splits(tmp_path, "tiny", model, **BUYS, load_col=columns_loaded)
        held_out = [columns(split[2])["item_id"].tolist() for split in (ours, host)]
        assert held_out[0] != held_out[1]


@pytest.mark.parametrize("size, rows", [(1, "000"), (2, "100"), (3, "101"), (4, "111")])
def test_a_short_history_gives_a_sequential_model_the_rows_it_gives_in_recbole(
    size, rows, tmp_path, write_inter
):
    log = [("long", f"i{time}", "view", time) for time in range(9)]
    log += [("short", f"i{time}", "view", time) for time in range(size)]
    write_inter(tmp_path, "tiny", log)
    ours, host = both_splits(tmp_path, "tiny", "SASRec", eval_args=LAST)
    short = ours[0].token2id("user_id", "short")
    for parts in (ours, host):
        assert [int((part.inter_feat["user_id"] == short).sum()) for part in parts] == [
            int(count) for count in rows
        ]


def test_without_behaviours_a_ready_made_split_is_recboles_row_for_row_for_general_models(
    tmp_path, write_inter, random_log
):
    for seed, part in enumerate(PARTS):
        write_inter(tmp_path, "tiny", random_log(seed=seed), part=part)
    settings = {"benchmark_filename": list(PARTS), "allow_overlap": True}
    ours, host = both_splits(tmp_path, "tiny", "MultiVAE", **settings)
    for our_part, host_part in zip(ours, host, strict=True):
        assert same(columns(our_part), columns(host_part))
    assert not same(columns(ours[0]), columns(host[1]))


# ------------------------------------------------------------------ leave-one-out with behaviours


def in_tokens(part):
    """Rows as (user, its history's items, target item), sorted; no history for general models."""
    rows = part[np.arange(len(part))].numpy()
    users = part.id2token("user_id", rows["user_id"])
    items = part.id2token("item_id", rows["item_id"])
    if "item_length" not in rows:
        return sorted(zip(users, items))
    histories = [
        tuple(part.id2token("item_id", history[:length]))
        for history, length in zip(rows["item_id_list"], rows["item_length"])
    ]
    return sorted(zip(users, histories, items))


def expected(histories, target=("buy",), longest=50):
    """The split by its definition: three lists of (user, items before, item)."""
    parts = ([], [], [])
    for user, events in histories.items():
        items = [item for item, _, _ in events]
        targets = [place for place, event in enumerate(events) if event[1] in target]
        held_out = targets[1:][-2:]  # a user's first one stays in training
        first = min(held_out, default=len(events))
        places = [range(1, first), held_out[:-1], held_out[-1:]]
        for part, chosen in zip(parts, places):
            part += [(user, tuple(items[max(k - longest, 0) : k]), items[k]) for k in chosen]
    return [sorted(part) for part in parts]


@pytest.mark.parametrize("model", SEQUENTIAL)
def test_the_last_target_interaction_is_test_and_the_one_before_is_validation(
    model, tmp_path, write_inter, random_log, in_order, build_data
):
    log = random_log(n_users=20)
    write_inter(tmp_path, "tiny", log)
    _, data, loaders = build_data(tmp_path, model, **BUYS, MAX_ITEM_LIST_LENGTH=6)
    wanted = expected(in_order(log), longest=6)
    assert [in_tokens(loader._dataset) for loader in loaders] == wanted
    counts = [data.split_report[f"{part}_rows"] for part in PARTS]
    assert counts == [len(part) for part in wanted] and min(counts) > 10
    without_buys = [all(b != "buy" for _, b, _ in rows) for rows in in_order(log).values()]
    assert data.split_report["users_without_target"] == sum(without_buys) > 0
    # Control: by its position alone another row would be held out.
    assert wanted[2] != expected(in_order(log), ("view", "cart", "buy"), longest=6)[2]


def test_several_behaviours_can_be_targets(tmp_path, write_inter, random_log, in_order, build_data):
    log = random_log()
    write_inter(tmp_path, "tiny", log)
    settings = BUYS | {"target_behavior": ["cart", "buy"]}
    _, _, loaders = build_data(tmp_path, "ICDDT", **settings)
    wanted = expected(in_order(log), ("cart", "buy"))
    assert [in_tokens(loader._dataset) for loader in loaders] == wanted
    assert wanted != expected(in_order(log), ("buy",))


HAND = [
    ("three", "a", "buy"), ("three", "b", "view"), ("three", "c", "buy"), ("three", "d", "view"),
    ("three", "e", "buy"), ("three", "f", "view"),
    ("two", "a", "view"), ("two", "b", "buy"), ("two", "c", "view"), ("two", "d", "buy"),
    ("two", "e", "view"),
    ("one", "a", "view"), ("one", "b", "buy"), ("one", "c", "view"),
    ("none", "a", "view"), ("none", "b", "view"),
]  # fmt: skip


@pytest.fixture
def hand_made(tmp_path, write_inter):
    write_inter(tmp_path, "tiny", [(*row, time) for time, row in enumerate(HAND)])
    return tmp_path


def test_users_with_three_two_one_and_no_target_interactions(hand_made, build_data):
    _, data, loaders = build_data(hand_made, "ICDDT", **BUYS)
    train, valid, test = (in_tokens(loader._dataset) for loader in loaders)
    assert valid == [("three", ("a", "b"), "c")]
    # d lies between the held-out rows: history of the test row, never a target of training.
    assert test == [("three", ("a", "b", "c", "d"), "e"), ("two", ("a", "b", "c"), "d")]
    assert train == sorted(
        [
            ("three", ("a",), "b"),
            ("two", ("a",), "b"), ("two", ("a", "b"), "c"),
            ("one", ("a",), "b"), ("one", ("a", "b"), "c"),
            ("none", ("a",), "b"),
        ]
    )  # fmt: skip
    # f of three and e of two come after the test row: nowhere.
    everything = [row for loader in loaders for row in in_tokens(loader._dataset)]
    assert not any(user == "three" and "f" in (*past, item) for user, past, item in everything)
    assert not any(user == "two" and "e" in (*past, item) for user, past, item in everything)
    assert data.split_report["users_without_target"] == 1


def test_leaving_out_the_test_row_only_trains_on_what_lies_before_it(hand_made, build_data):
    settings = BUYS | {"eval_args": by({"LS": "test_only"})}
    _, _, (train, valid, test) = build_data(hand_made, "SASRec", **settings)
    assert valid is None
    assert [(user, item) for user, _, item in in_tokens(test._dataset)] == [
        ("three", "e"),
        ("two", "d"),
    ]
    assert ("three", ("a", "b", "c"), "d") in in_tokens(train._dataset)


def test_a_batch_holds_the_behaviours_of_the_history_and_of_the_target(hand_made, build_data):
    _, data, (train, _, test) = build_data(hand_made, "ICDDT", **BUYS)
    rows = next(iter(test))[0].numpy()
    words = {
        user: (*data.id2token("behavior", history), data.id2token("behavior", target))
        for user, history, target in zip(
            data.id2token("user_id", rows["user_id"]), rows["behavior_list"], rows["behavior"]
        )
    }
    assert words == {
        "three": ("buy", "view", "buy", "view", "buy"),
        "two": ("view", "buy", "view", "[PAD]", "buy"),
    }
    assert {"behavior", "behavior_list"} <= set(next(iter(train)).columns)


# ------------------------------------------------------------------ ratio and time with behaviours


@pytest.mark.parametrize("eval_args", [RATIO, by(RATIO["split"], group_by=None), TIME])
def test_ratio_and_time_splits_hold_out_recboles_rows_that_are_of_the_target_behaviour(
    eval_args, tmp_path, write_inter, random_log, build_data
):
    log = random_log(n_users=24, distinct=True)  # an item tells its behaviour
    write_inter(tmp_path, "tiny", log)
    settings = BUYS | {"eval_args": eval_args}
    _, host = both_splits(tmp_path, "tiny", "MultiVAE", eval_args=eval_args)
    bought = {(user, item) for user, item, behavior, _ in log if behavior == "buy"}
    first = {}  # a user's first interaction has no history
    for user, item, *_ in sorted(log, key=lambda row: row[3]):
        first.setdefault(user, item)
    for model in (*SEQUENTIAL, *GENERAL):
        _, _, loaders = build_data(tmp_path, model, **settings)
        for loader, host_part in zip(loaders[1:], host[1:]):
            pairs = {(row[0], row[-1]) for row in in_tokens(loader._dataset)}
            wanted = set(in_tokens(host_part)) & bought - set(first.items())
            assert pairs == wanted
            assert 10 < len(pairs) < len(host_part)
        pairs = {(row[0], row[-1]) for row in in_tokens(loaders[0]._dataset)}
        gone = set(first.items()) if model in SEQUENTIAL else set()
        assert pairs == set(in_tokens(host[0])) - gone


def test_a_random_ratio_split_with_behaviours_holds_out_targets_only(
    tmp_path, write_inter, random_log, build_data
):
    log = random_log(distinct=True)
    write_inter(tmp_path, "tiny", log)
    settings = BUYS | {"eval_args": by({"RS": [0.6, 0.2, 0.2]}, order="RO")}
    _, _, (train, *held_out) = build_data(tmp_path, "MultiVAE", **settings)
    bought = {(user, item) for user, item, behavior, _ in log if behavior == "buy"}
    for loader in held_out:
        assert set(in_tokens(loader._dataset)) < bought
    assert not set(in_tokens(train._dataset)) <= bought


# ------------------------------------------------------------------ one split for all models


def test_single_behaviour_models_see_the_same_rows_as_icddt_and_never_a_behaviour(
    tmp_path, write_inter, random_log, build_data
):
    write_inter(tmp_path, "tiny", random_log())
    _, _, icddt = build_data(tmp_path, "ICDDT", **BUYS)
    for model in ("SASRec", "GRU4Rec"):
        _, _, loaders = build_data(tmp_path, model, **BUYS)
        for loader, reference in zip(loaders, icddt):
            assert in_tokens(loader._dataset) == in_tokens(reference._dataset)
            plain, full = (side[np.arange(5)] for side in (loader._dataset, reference._dataset))
            assert set(full.columns) - set(plain.columns) == {"behavior", "behavior_list"}
            assert not [name for name in plain.columns if "behavior" in name]


@pytest.mark.parametrize("model", GENERAL)
def test_general_models_hold_out_the_rows_of_the_sequential_ones_and_train_on_a_pair_once(
    model, tmp_path, write_inter, random_log, in_order, build_data
):
    log = random_log(n_items=16)  # few items, so that pairs repeat
    write_inter(tmp_path, "tiny", log)
    _, _, (train, *held_out) = build_data(tmp_path, model, **BUYS)
    wanted = expected(in_order(log))
    for loader, part in zip(held_out, wanted[1:]):
        assert in_tokens(loader._dataset) == [(user, item) for user, _, item in part]
    pairs = [(user, item) for user, _, item in wanted[0]]
    pairs += [(user, events[0][0]) for user, events in in_order(log).items()]  # need no history
    assert in_tokens(train._dataset) == sorted(set(pairs))
    assert len(set(pairs)) < len(pairs)
    last = {}
    for user, events in in_order(log).items():
        trained = [item for owner, _, item in wanted[0] if owner == user]
        for position, (item, *_) in enumerate(events[: len(trained) + 1]):
            last[user, item] = position
    rows = train._dataset
    kept = rows.inter_feat["position"].tolist()
    assert dict(zip(in_tokens_of_rows(rows), kept)) == last, "each pair where it was last"


def in_tokens_of_rows(part):
    """User and item of the rows of a built data set, in their order."""
    fields = (part.uid_field, part.iid_field)
    columns = [part.id2token(field, part.inter_feat[field]) for field in fields]
    return list(zip(*(column.tolist() for column in columns)))


@pytest.mark.parametrize(
    "behaviors", [{}, {"BEHAVIOR_FIELD": "behavior", "target_behavior": "buy"}]
)
def test_a_model_that_reads_the_order_gets_the_places_of_a_random_split(
    behaviors, tmp_path, write_inter, random_log, in_order, build_data
):
    log = random_log(distinct=True)
    write_inter(tmp_path, "tiny", log)
    settings = behaviors | {"eval_args": by({"RS": [0.6, 0.2, 0.2]}, order="RO"), "seed": 3}
    built = {}
    for model in ("DiffRec", "TDiffRec"):
        torch.manual_seed(5)
        _, _, built[model] = build_data(tmp_path, model, **settings)
    for plain, ordered in zip(built["DiffRec"], built["TDiffRec"]):
        assert in_tokens(plain._dataset) == in_tokens(ordered._dataset), "the split is the same"
        assert "position" not in plain._dataset.inter_feat
    train = built["TDiffRec"][0]._dataset
    place = {
        (user, item): position
        for user, events in in_order(log).items()
        for position, (item, *_) in enumerate(events)
    }
    rows = dict(zip(in_tokens_of_rows(train), train.inter_feat["position"].tolist()))
    assert rows and all(place[pair] == position for pair, position in rows.items())


def test_a_model_that_reads_the_order_needs_a_time(tmp_path, write_inter, build_data):
    rows = [(f"u{user}", f"i{item}") for user in range(5) for item in range(user, user + 4)]
    write_inter(tmp_path, "tiny", rows, "user_id:token item_id:token")
    settings = {"eval_args": by({"RS": [0.6, 0.2, 0.2]}, order="RO")}
    build_data(tmp_path, "LDiffRec", **settings)  # the control
    with pytest.raises(DataError, match="column 'timestamp' is not among the loaded columns"):
        build_data(tmp_path, "LTDiffRec", **settings)


@pytest.mark.parametrize("model", ["ICDDT", "MultiVAE"])
def test_training_on_target_behaviours_keeps_the_targets_and_the_held_out_rows(
    model, tmp_path, write_inter, random_log, build_data
):
    log = random_log(distinct=True)
    write_inter(tmp_path, "tiny", log)
    bought = {(user, item) for user, item, behavior, _ in log if behavior == "buy"}
    _, _, everything = build_data(tmp_path, model, **BUYS)
    _, _, targets = build_data(tmp_path, model, **BUYS, train_behaviors="target")
    rows = in_tokens(everything[0]._dataset)
    wanted = [row for row in rows if (row[0], row[-1]) in bought]
    assert in_tokens(targets[0]._dataset) == wanted and 0 < len(wanted) < len(rows)
    for loader, reference in zip(targets[1:], everything[1:]):
        assert in_tokens(loader._dataset) == in_tokens(reference._dataset)


# ------------------------------------------------------------------ no leak


def seen_by(data):
    """Items in the rows of a built data set, as targets and in histories."""
    batch = data[np.arange(len(data))]
    seen = set(batch["item_id"].tolist())
    if "item_length" in batch:
        seen |= set(batch["item_id_list"].flatten().tolist())
    return seen - {0}


def trained_on(data):
    """The same, and what the training data tell a model in other ways."""
    seen = seen_by(data) | set(data.inter_matrix().col.tolist())
    return seen | set(torch.nonzero(data.trained_items()).flatten().tolist())


@pytest.mark.parametrize("eval_args", [LAST, RATIO, TIME], ids=["LS", "RS", "TS"])
@pytest.mark.parametrize(
    "model, behaviors",
    [("ICDDT", True), ("SASRec", True), ("SASRec", False), ("MultiVAE", True), ("MultiVAE", False)],
)
@pytest.mark.parametrize("extra", [{}, {"train_rows": "last"}, {"train_behaviors": "target"}])
def test_nothing_from_a_held_out_row_on_is_seen_in_training(
    model, eval_args, behaviors, extra, tmp_path, write_inter, random_log, in_order, build_data
):
    log = random_log(distinct=True)  # an item tells which interaction it is of
    write_inter(tmp_path, "tiny", log)
    settings = BUYS if behaviors else {}
    settings = settings | {"eval_args": eval_args, "MAX_ITEM_LIST_LENGTH": 5} | extra
    _, data, (train, valid, test) = build_data(tmp_path, model, **settings)
    held_out = set(valid._dataset.inter_feat["item_id"].tolist())
    held_out |= set(test._dataset.inter_feat["item_id"].tolist())
    barred = set()
    for events in in_order(log).values():
        items = [data.token2id("item_id", item) for item, _, _ in events]
        places = [place for place, item in enumerate(items) if item in held_out]
        barred |= set(items[min(places, default=len(items)) :])
    trained = trained_on(train._dataset)
    assert len(held_out) > 9 and len(trained) > 9
    assert not trained & barred
    assert seen_by(test._dataset) & barred  # control: what the test rows show is barred


@pytest.mark.parametrize("extra", [{}, {"train_rows": "last"}, {"train_behaviors": "target"}])
def test_the_trained_items_are_those_of_the_training_batches(
    extra, tmp_path, write_inter, random_log, build_data
):
    write_inter(tmp_path, "tiny", random_log(distinct=True))
    for model in ("ICDDT", "MultiVAE"):
        settings = BUYS | {"MAX_ITEM_LIST_LENGTH": 4} | extra
        _, _, (train, _, _) = build_data(tmp_path, model, **settings)
        data = train._dataset
        trained = set(torch.nonzero(data.trained_items()).flatten().tolist())
        assert trained == seen_by(data) == set(data.inter_matrix().col.tolist())
        assert len(trained) < data.item_num - 1


# ------------------------------------------------------------------ train_rows


def test_train_rows_last_keeps_the_last_training_interactions_of_each_user(
    tmp_path, write_inter, build_data
):
    log = [("u", f"{time}", "buy", time) for time in range(8)]  # 6 is validation, 7 test
    write_inter(tmp_path, "tiny", log)
    settings = BUYS | {"MAX_ITEM_LIST_LENGTH": 3}
    _, _, (train, valid, test) = build_data(tmp_path, "ICDDT", **settings, train_rows="last")
    assert in_tokens(train._dataset) == [("u", ("3",), "4"), ("u", ("3", "4"), "5")]
    assert in_tokens(valid._dataset) == [("u", ("3", "4", "5"), "6")]
    assert in_tokens(test._dataset) == [("u", ("4", "5", "6"), "7")]
    _, _, (train, _, _) = build_data(tmp_path, "MultiVAE", **settings, train_rows="last")
    assert in_tokens(train._dataset) == [("u", "3"), ("u", "4"), ("u", "5")]
    _, _, (train, _, _) = build_data(tmp_path, "ICDDT", **settings, train_rows="all")
    assert in_tokens(train._dataset)[0] == ("u", ("0",), "1")
    assert ("u", ("2", "3", "4"), "5") in in_tokens(train._dataset)


@pytest.mark.slow
@pytest.mark.parametrize(
    "rows, count, mean", [("last", 245_227, 16.4965), ("all", 300_296, 22.6405)]
)
def test_jd_gives_the_published_number_of_training_rows(rows, count, mean, jd, build_data):
    settings = {"train_rows": rows, "MAX_ITEM_LIST_LENGTH": 50}
    _, _, (train, valid, test) = build_data(jd, "ICDDT", "jd", **settings)
    assert [len(loader._dataset) for loader in (train, valid, test)] == [count, 2_609, 1_297]
    lengths = train._dataset.lengths()
    assert lengths.float().mean().item() == pytest.approx(mean, abs=5e-5)
    batch = next(iter(train))
    assert batch["item_length"].max() <= 50


# ------------------------------------------------------------------ ready-made splits


READY = {
    "train": [("u", "a", "view", 0), ("u", "b", "buy", 1), ("u", "c", "view", 2),
              ("v", "a", "view", 0), ("v", "c", "view", 1)],
    "valid": [("u", "d", "buy", 3), ("w", "a", "buy", 0)],
    "test": [("u", "f", "buy", 5), ("v", "g", "buy", 3)],
    "history": [("u", "d", "buy", 3), ("u", "e", "view", 4), ("v", "h", "view", 2)],
}  # fmt: skip


@pytest.fixture
def ready_made(tmp_path, write_inter):
    for part, rows in READY.items():
        write_inter(tmp_path, "tiny", rows, part=part)
    return tmp_path


def test_the_history_file_precedes_test_rows_only(ready_made, build_data):
    settings = BUYS | {"benchmark_filename": list(READY)}
    for model in ("ICDDT", "SASRec"):
        _, data, loaders = build_data(ready_made, model, **settings)
        train, valid, test = (in_tokens(loader._dataset) for loader in loaders)
        assert train == [("u", ("a",), "b"), ("u", ("a", "b"), "c"), ("v", ("a",), "c")]
        assert valid == [("u", ("a", "b", "c"), "d")]
        assert test == [("u", ("a", "b", "c", "d", "e"), "f"), ("v", ("a", "c", "h"), "g")]
        assert data.split_report["valid_rows_without_history"] == 1  # w is in valid only
        trained = data.id2token("item_id", np.flatnonzero(loaders[0]._dataset.trained_items()))
        assert set(trained) == {"a", "b", "c"}


def test_without_a_history_file_test_rows_follow_train(ready_made, build_data):
    settings = BUYS | {"benchmark_filename": list(PARTS)}
    _, _, (_, _, test) = build_data(ready_made, "ICDDT", **settings)
    assert in_tokens(test._dataset) == [("u", ("a", "b", "c"), "f"), ("v", ("a", "c"), "g")]


def test_general_models_train_on_the_train_file_and_rank_the_held_out_files(ready_made, build_data):
    settings = BUYS | {"benchmark_filename": list(READY)}
    _, _, loaders = build_data(ready_made, "MultiVAE", **settings)
    train, valid, test = (in_tokens(loader._dataset) for loader in loaders)
    assert train == sorted(row[:2] for row in READY["train"])
    assert valid == [("u", "d")] and test == [("u", "f"), ("v", "g")]


@pytest.mark.slow
def test_jd_rows_have_the_histories_of_the_files(jd, build_data, in_order):
    _, data, loaders = build_data(jd, "ICDDT", "jd", MAX_ITEM_LIST_LENGTH=2000)
    files = {}
    for part in ("train", "valid", "test", "history"):
        lines = (jd / "jd" / f"jd.{part}.inter").read_text().splitlines()[1:]
        rows = [line.split("\t") for line in lines]
        files[part] = in_order([(*row[:3], float(row[3])) for row in rows])
    for name, loader in zip(("valid", "test"), loaders[1:]):
        for user, history, item in in_tokens(loader._dataset):
            past = files["train"].get(user, []) + (
                files["history"].get(user, []) if name == "test" else []
            )
            assert list(history) == [event[0] for event in past]
            assert item in [event[0] for event in files[name][user]]
