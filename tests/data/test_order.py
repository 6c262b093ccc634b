"""In which order do interactions stand?"""

import numpy as np
import pytest
import torch
from recbole.data.dataset import Dataset, SequentialDataset

from recbole_diffusion.config.config import Config
from recbole_diffusion.data.choose import get_dataset
from recbole_diffusion.data.loading import STAMP

LAST = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
RATIO = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO", "group_by": "user", "mode": "full"}
BUYS = {"BEHAVIOR_FIELD": "behavior", "target_behavior": "buy", "eval_args": LAST}
MAY_2015 = 1_430_622_004_384  # a stamp in milliseconds; float32 has one value in 131,072 there


def last_history(loader, user):
    """Items before a user's test row, in order, and the row's item."""
    data = loader._dataset
    rows = data[np.arange(len(data))].numpy()
    row = rows["user_id"].tolist().index(data.token2id("user_id", user))
    history = rows["item_id_list"][row, : rows["item_length"][row]]
    return "".join(data.id2token("item_id", [*history, rows["item_id"][row]]))


@pytest.mark.parametrize("settings", [BUYS, {"eval_args": LAST}], ids=["behaviours", "plain"])
def test_ties_keep_the_order_of_the_file(settings, tmp_path, write_inter, build_data):
    log = [("u", item, "buy", 7) for item in "hbeacgdf"]
    write_inter(tmp_path, "tiny", log)
    write_inter(tmp_path, "reversed", log[::-1])
    _, _, (_, _, test) = build_data(tmp_path, "SASRec", **settings)
    assert last_history(test, "u") == "hbeacgdf"
    _, _, (_, _, test) = build_data(tmp_path, "SASRec", "reversed", **settings)
    assert last_history(test, "u") == "fdgcaebh"


def test_ties_between_users_keep_the_order_of_the_file_in_a_split_over_all_users(
    tmp_path, write_inter, build_data
):
    # Ten interactions at one stamp: the last two of the file are validation and test.
    log = [(f"u{place % 2}", f"i{place}", "buy", 7) for place in range(10)]
    write_inter(tmp_path, "tiny", log)
    settings = BUYS | {"eval_args": RATIO | {"group_by": None}}
    for model in ("SASRec", "MultiVAE"):
        _, data, (_, valid, test) = build_data(tmp_path, model, **settings)
        for loader, item in ((valid, "i8"), (test, "i9")):
            assert loader._dataset.inter_feat["item_id"].tolist() == [
                data.token2id("item_id", item)
            ]


@pytest.mark.parametrize("settings", [BUYS, {"eval_args": LAST}], ids=["behaviours", "plain"])
def test_milliseconds_are_ordered_as_written(settings, tmp_path, write_inter, build_data):
    items = "abcdefghij"
    log = [("u", item, "buy", MAY_2015 + 1000 * place) for place, item in enumerate(items)]
    shuffled = [log[line] for line in np.random.default_rng(3).permutation(len(log))]
    write_inter(tmp_path, "tiny", shuffled)
    config, _, (_, _, test) = build_data(tmp_path, "SASRec", **settings)
    assert last_history(test, "u") == items
    # Control: in float32 the ten stamps are one, and RecBole's order is that of the file.
    host = SequentialDataset(config).build()[2]
    history = host.inter_feat["item_id_list"][0, : len(items) - 1]
    assert "".join(host.id2token("item_id", history.numpy())) != items[:-1]


def token_rows(parts):
    """Each part's pairs of user and item in order."""
    return [
        [
            (str(user), str(item))
            for user, item in zip(
                part.id2token("user_id", part.inter_feat["user_id"].numpy()),
                part.id2token("item_id", part.inter_feat["item_id"].numpy()),
            )
        ]
        for part in parts
    ]


@pytest.mark.slow
@pytest.mark.parametrize("eval_args", [LAST, RATIO], ids=["LS", "RS"])
def test_stamps_beyond_float32_are_split_as_recbole_splits_their_ranks(eval_args, ranked_ml):
    split = {}
    for name in ("raw", "ranked"):
        settings = {"data_path": str(ranked_ml), "eval_args": eval_args}
        config = Config("MultiVAE", name, config_dict=settings)
        split["ours", name] = token_rows(get_dataset(config)(config).build())
        split["host", name] = token_rows(Dataset(config).build())
    assert split["ours", "raw"] == split["ours", "ranked"] == split["host", "ranked"]
    assert split["host", "raw"] != split["host", "ranked"]  # 64 seconds are one stamp in float32


def test_retailrocket_is_in_the_order_of_its_stamps_and_would_not_be_in_float32(retail, build_data):
    _, data, _ = build_data(retail, "ICDDT", "retail", held_out_items="any")  # all rows
    user, time = data.store["user_id"].numpy(), data.store_time
    assert (np.diff(time)[user[1:] == user[:-1]] >= 0).all()
    lines = np.random.default_rng(0).permutation(len(user))  # a log whose lines are in no order
    rounded = lines[np.lexsort((time.astype(np.float32)[lines], user[lines]))]
    misordered = np.unique(user[time[rounded] != time])
    assert len(misordered) > 0.8 * (data.user_num - 1)


def tied_rows(histories, parts):
    """Held-out rows whose stamp is that of the row before, by definition."""
    counts = []
    for part in parts:
        tied = 0
        for user, _, item in part:
            times = [time for _, _, time in histories[user]]
            place = [event[0] for event in histories[user]].index(item)
            tied += times[place] == times[place - 1]
        counts.append(tied)
    return counts


def test_the_report_counts_held_out_rows_that_tie_with_the_row_before(
    tmp_path, write_inter, random_log, in_order, build_data
):
    log = random_log(n_users=24, distinct=True)
    write_inter(tmp_path, "tiny", log)
    write_inter(tmp_path, "spread", [(*row, line) for line, (*row, _) in enumerate(log)])
    for model in ("ICDDT", "MultiVAE"):
        for settings in (BUYS, {"eval_args": LAST}):
            _, data, loaders = build_data(tmp_path, model, **settings)
            parts = []
            for loader in loaders[1:]:
                rows = token_rows([loader._dataset])[0]
                parts.append([(user, None, item) for user, item in rows])
            report = [data.split_report[f"{part}_rows_tied"] for part in ("valid", "test")]
            assert report == tied_rows(in_order(log), parts) and min(report) > 0
            assert STAMP not in loaders[0]._dataset[np.arange(2)]
        _, data, _ = build_data(tmp_path, model, "spread", **BUYS)
        assert data.split_report["test_rows_tied"] == 0


def test_ties_of_a_ready_made_split_are_counted_where_it_has_times(
    tmp_path, write_inter, build_data
):
    parts = {
        "train": [("u", "a", "view", 1), ("u", "b", "buy", 2), ("v", "a", "view", 1)],
        "valid": [("u", "c", "buy", 2), ("v", "b", "buy", 3)],
        "test": [("u", "d", "buy", 4), ("v", "c", "buy", 9)],
        "history": [("u", "c", "buy", 2), ("u", "e", "view", 4)],
    }
    for part, rows in parts.items():
        write_inter(tmp_path, "tiny", rows, part=part)
        columns = "user_id:token item_id:token behavior:token"
        write_inter(tmp_path, "timeless", [row[:3] for row in rows], columns, part=part)
    settings = BUYS | {"benchmark_filename": list(parts)}
    _, data, _ = build_data(tmp_path, "ICDDT", **settings)
    assert (data.split_report["valid_rows_tied"], data.split_report["test_rows_tied"]) == (1, 1)
    _, data, (_, _, test) = build_data(tmp_path, "ICDDT", "timeless", **settings)
    assert not [key for key in data.split_report if "tied" in key]
    assert last_history(test, "u") == "abced"  # the order of the files


def test_a_random_order_is_drawn_from_the_rows_of_the_file(tmp_path, write_inter, random_log):
    log = random_log(distinct=True)
    write_inter(tmp_path, "tiny", log)
    settings = {"data_path": str(tmp_path), "eval_args": RATIO | {"order": "RO"}}
    config = Config("MultiVAE", "tiny", config_dict=settings)
    parts = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        parts.append(token_rows(get_dataset(config)(config).build()))
    assert parts[0] == parts[1] != parts[2]
    assert sorted(sum(parts[0], [])) == sorted((user, item) for user, item, *_ in log)
