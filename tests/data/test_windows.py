"""Histories are cut out of one stored log when a batch is drawn."""

import numpy as np
import pytest
import torch
from recbole.data.dataset import SequentialDataset

LAST = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
BUYS = {"BEHAVIOR_FIELD": "behavior", "target_behavior": "buy", "eval_args": LAST}


def naive_window(events, place, longest, first=0):
    """The history of the event at a place of a user's list, by a plain loop."""
    window = []
    for earlier in range(place):
        if earlier >= place - longest and earlier >= first:
            window.append(events[earlier])
    return window


@pytest.mark.parametrize(
    "longest, train_rows", [(1, "all"), (3, "all"), (3, "last"), (50, "all"), (50, "last")]
)
@pytest.mark.parametrize("crop", [True, False])
def test_windows_are_those_of_a_plain_loop(
    longest, crop, train_rows, tmp_path, write_inter, random_log, in_order, build_data
):
    log = random_log(distinct=True)
    write_inter(tmp_path, "tiny", log)
    settings = {"MAX_ITEM_LIST_LENGTH": longest, "crop_history": crop, "train_rows": train_rows}
    _, data, loaders = build_data(tmp_path, "ICDDT", **BUYS, **settings)
    histories = in_order(log)
    checked = 0
    for loader in loaders:
        part = loader._dataset
        rows = part[np.arange(len(part))].numpy()
        trained = {}  # how many training interactions a user has
        for user, item in zip(rows["user_id"], rows["item_id"]):
            events = histories[data.id2token("user_id", user)]
            place = [event[0] for event in events].index(data.id2token("item_id", item))
            trained[user] = max(trained.get(user, 0), place + 1)
        width = max(rows["item_length"]) if crop else longest
        for row, user in enumerate(rows["user_id"]):
            events = histories[data.id2token("user_id", user)]
            token = data.id2token("item_id", rows["item_id"][row])
            place = [event[0] for event in events].index(token)
            last = train_rows == "last" and loader is loaders[0]
            first = max(trained[user] - longest, 0) if last else 0
            window = naive_window(events, place, longest, first)
            assert rows["item_length"][row] == len(window) > 0
            for column, field in enumerate(("item_id", "behavior", "timestamp")):
                values = rows[f"{field}_list"][row]
                assert len(values) == width
                assert not values[len(window) :].any()  # zeros after the newest
                values = values[: len(window)]
                if field != "timestamp":
                    values = data.id2token(field, values)
                assert list(values) == [event[column] for event in window]
            checked += 1
    assert checked > 40


def test_a_batch_is_as_wide_as_its_longest_history(tmp_path, write_inter, random_log, build_data):
    write_inter(tmp_path, "tiny", random_log())
    settings = BUYS | {"train_batch_size": 4, "MAX_ITEM_LIST_LENGTH": 9}
    widths = {}
    for crop in (True, False):
        _, _, (train, _, _) = build_data(tmp_path, "ICDDT", **settings, crop_history=crop)
        batches = list(train)
        assert all(len(batch["item_id_list"].shape) == 2 for batch in batches)
        widths[crop] = [
            (batch["behavior_list"].shape[1], int(batch["item_length"].max())) for batch in batches
        ]
    assert all(width == longest for width, longest in widths[True])
    assert {width for width, _ in widths[False]} == {9}
    assert len({width for width, _ in widths[True]}) > 2


def test_the_lengths_of_all_rows_are_those_of_their_windows(
    tmp_path, write_inter, random_log, build_data
):
    write_inter(tmp_path, "tiny", random_log())
    for train_rows in ("all", "last"):
        settings = {"MAX_ITEM_LIST_LENGTH": 4, "train_rows": train_rows}
        _, _, loaders = build_data(tmp_path, "ICDDT", **BUYS, **settings)
        for loader in loaders:
            data = loader._dataset
            rows = data[np.arange(len(data))]
            assert torch.equal(data.lengths(), rows["item_length"])
            assert torch.equal(data.lengths(), (rows["item_id_list"] > 0).sum(1))


def test_a_column_of_sequences_is_cut_as_recbole_cuts_it(tmp_path, write_inter, build_data):
    tags = ["a b", "c", "", "a c d", "b", "d a"]
    log = [(f"u{user}", f"i{time}", time, tags[time]) for user in (0, 1) for time in range(6)]
    columns = "user_id:token item_id:token timestamp:float tags:token_seq"
    write_inter(tmp_path, "tiny", log, columns)
    settings = {"eval_args": LAST, "crop_history": False, "MAX_ITEM_LIST_LENGTH": 4}
    config, _, loaders = build_data(tmp_path, "SASRec", **settings)
    for loader, host in zip(loaders, SequentialDataset(config).build()):
        rows = loader._dataset[np.arange(len(loader._dataset))]
        for field in ("tags", "tags_list", "item_id_list", "timestamp_list"):
            assert torch.equal(rows[field], host.inter_feat[field])
    assert rows["tags_list"].shape == (2, 4, 3)


def tensors_of(data):
    """All tensors and arrays that a data set keeps, however nested."""
    found, waiting, seen = [], [vars(data)], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            found.append(value.numel())
        elif isinstance(value, np.ndarray):
            found.append(value.size)
        elif isinstance(value, dict):
            waiting += list(value.values())
        elif isinstance(value, (list, tuple)):
            waiting += list(value)
        elif type(value).__name__ == "Interaction":
            waiting.append(value.interaction)
    return found


def test_memory_grows_with_the_interactions_and_not_with_the_length_of_the_windows(
    tmp_path, write_inter, build_data
):
    log = [(f"u{user}", f"i{time % 40}", "buy", time) for user in range(20) for time in range(100)]
    write_inter(tmp_path, "tiny", log)
    kept = {}
    for longest in (5, 80):
        settings = BUYS | {"MAX_ITEM_LIST_LENGTH": longest}
        config, data, (train, _, _) = build_data(tmp_path, "ICDDT", **settings)
        sizes = tensors_of(data) + tensors_of(train._dataset)
        assert max(sizes) <= len(log)
        kept[longest] = sum(sizes)
    assert kept[80] == kept[5] < 30 * len(log)
    host = SequentialDataset(config).build()[0]
    assert max(tensors_of(host)) > 50 * len(log)  # control: RecBole keeps every window
