"""Windows in which every item is a target once, and their batches beside one row per prefix."""

import pytest
import torch

from recbole_diffusion.data.all_positions import AllPositionsTrainDataLoader, cut_windows
from recbole_diffusion.data.dataloader import BucketTrainDataLoader

RATIO = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO", "group_by": "user", "mode": "full"}
LAST = RATIO | {"split": {"LS": "valid_and_test"}}


def used(n_items, length):
    """Of each window: its sequence, and (target, how many items it sees) of those that count."""
    windows = []
    for sequence, first, held, skipped in zip(*cut_windows(torch.tensor(n_items), length)):
        pairs = [((first + i + 1).item(), i + 1) for i in range(skipped, held)]
        windows.append((sequence.item(), pairs))
    return windows


@pytest.mark.parametrize("length", [1, 2, 3, 7, 10])
def test_every_item_but_the_first_is_a_target_once(length):
    n_items = list(range(40))
    targets = [(sequence, target) for sequence, w in used(n_items, length) for target, _ in w]
    assert sorted(targets) == [(n, target) for n in n_items for target in range(1, n)]
    assert all(pairs for _, pairs in used(n_items, length))


@pytest.mark.parametrize("length", [1, 2, 3, 7, 10])
def test_a_target_sees_half_a_window_or_all_there_is(length):
    for sequence, pairs in used(list(range(60)), length):
        for target, seen in pairs:
            assert seen <= length and (seen == target or seen >= length / 2), (sequence, target)


def test_sequences_up_to_a_window_and_its_target_are_one_window():
    windows = used([5, 11, 12], 10)
    assert [sequence for sequence, _ in windows] == [0, 1, 2, 2]
    assert windows[1][1] == [(target, target) for target in range(1, 11)]
    # the last window ends with the sequence, so its only target sees as much as it can
    assert windows[3][1] == [(11, 10)]


def test_few_windows_are_enough():
    (long,) = [[w for w in used([n], 10)] for n in [1001]]
    assert len(long) == 1 + -(-(1000 - 10) // 6)  # six of ten targets see five items


@pytest.fixture
def folder(tmp_path, write_inter, random_log):
    write_inter(tmp_path, "tiny", random_log(n_users=25, distinct=True))
    return tmp_path


def loaders(build_data, folder, **settings):
    """The loader of windows and that of prefixes, over the same training rows."""
    settings = {"eval_args": RATIO, "MAX_ITEM_LIST_LENGTH": 6, "shuffle": False} | settings
    both = []
    for all_positions in (True, False):
        _, _, parts = build_data(folder, "DreamRec", all_positions=all_positions, **settings)
        both.append(parts[0])
    return both


def prefixes(loader):
    """What is trained on: user, items seen, target."""
    rows = []
    for batch in loader:
        target, items = batch["item_id"], batch["item_id_list"]
        for row, length in enumerate(batch["item_length"].tolist()):
            held = items[row, :length].tolist()
            assert 0 not in held and not items[row, length:].any()
            user = batch["user_id"][row].item()
            if target.dim() == 1:
                rows.append((user, held, target[row].item()))
                continue
            assert not target[row, length:].any()
            for i in target[row].nonzero().flatten().tolist():
                rows.append((user, held[: i + 1], target[row, i].item()))
    return sorted(rows, key=lambda row: row[2])  # no item occurs twice


BUYS = {"BEHAVIOR_FIELD": "behavior", "target_behavior": "buy", "eval_args": LAST}


@pytest.mark.parametrize(
    "settings",
    [
        {"MAX_ITEM_LIST_LENGTH": 30},
        {"MAX_ITEM_LIST_LENGTH": 30, "eval_args": LAST},
        {"MAX_ITEM_LIST_LENGTH": 30, "train_batch_size": 7},
        {"MAX_ITEM_LIST_LENGTH": 30} | BUYS,
        {"MAX_ITEM_LIST_LENGTH": 30, "train_behaviors": "target"} | BUYS,
        {"MAX_ITEM_LIST_LENGTH": 6, "train_rows": "last", "eval_args": LAST},
        {"MAX_ITEM_LIST_LENGTH": 30, "SPLIT": "sequence"},
    ],
)
def test_windows_hold_the_prefixes_that_are_rows(settings, folder, build_data):
    windows, rows = loaders(build_data, folder, **settings)
    assert isinstance(windows, AllPositionsTrainDataLoader)
    assert isinstance(rows, BucketTrainDataLoader)
    assert prefixes(windows) == prefixes(rows)
    assert windows.sample_size < rows.sample_size == windows.n_targets


@pytest.mark.parametrize("length", [1, 2, 5])
def test_long_sequences_have_the_same_targets_and_ends_of_the_same_histories(
    length, folder, build_data
):
    windows, rows = loaders(build_data, folder, MAX_ITEM_LIST_LENGTH=length)
    seen, wanted = prefixes(windows), prefixes(rows)
    assert [(user, target) for user, _, target in seen] == [(u, t) for u, _, t in wanted]
    for (_, short, _), (_, long, _) in zip(seen, wanted):
        assert short == long[len(long) - len(short) :]
        assert len(short) >= min(length / 2, len(long))
    assert length == 1 or seen != wanted


def test_batches_hold_as_many_targets_on_average_as_rows(folder, build_data):
    windows, rows = loaders(build_data, folder, train_batch_size=32, MAX_ITEM_LIST_LENGTH=30)
    counts = [(batch["item_id"] > 0).sum().item() for batch in windows]
    assert sum(counts) == windows.n_targets == rows.sample_size
    assert abs(len(windows) - len(rows)) <= 2


def test_shuffled_windows_come_in_another_order_every_epoch(folder, build_data):
    windows, _ = loaders(build_data, folder, shuffle=True, train_batch_size=16)
    first, second = ([batch["user_id"].tolist() for batch in windows] for _ in range(2))
    assert first != second
    assert sorted(sum(first, [])) == sorted(sum(second, []))


def test_models_that_are_not_causal_have_one_row_a_prefix(folder, build_data):
    for model in ("recbole:SASRec", "ICDDT", "NARM"):
        settings = {"all_positions": True, "eval_args": RATIO}
        _, _, (train, _, _) = build_data(folder, model, **settings)
        assert isinstance(train, BucketTrainDataLoader)


def test_a_window_without_a_target_is_left_out(folder, build_data):
    settings = {"MAX_ITEM_LIST_LENGTH": 1, "train_behaviors": "target"} | BUYS
    windows, rows = loaders(build_data, folder, **settings)
    assert all((batch["item_id"] > 0).any(dim=1).all() for batch in windows)
    assert windows.sample_size == rows.sample_size  # of one target each
