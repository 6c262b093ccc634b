"""The split of data sets that say nothing: one for all kinds of models, and it is said which."""

import numpy as np
import pytest
import torch

from recbole_diffusion.config import splits
from recbole_diffusion.config.config import Config
from recbole_diffusion.data.choose import get_dataset
from recbole_diffusion.data.lines import DataError

GENERAL = ("Pop", "MultiVAE", "BPR", "DiffRec", "TDiffRec")
SEQUENTIAL = ("SASRec", "MarkovChain", "ICDDT")
BUYS = {"BEHAVIOR_FIELD": "behavior", "target_behavior": "buy"}
WITHOUT_TIME = "user_id:token item_id:token"
LAST = {"LS": "valid_and_test"}
RATIO = {"RS": [0.8, 0.1, 0.1]}
FULL = {"valid": "full", "test": "full"}


@pytest.fixture
def own(tmp_path, write_inter, random_log):
    """Folder with a data set ``tiny``, of users of 1 to 14 rows with ties, and without times."""
    log = random_log(distinct=True)
    write_inter(tmp_path, "tiny", log)
    write_inter(tmp_path, "timeless", [row[:2] for row in log], WITHOUT_TIME)
    return tmp_path


@pytest.fixture
def configured(own):
    """Gives a function from a model and settings to its configuration on these data."""

    def make(model="Pop", dataset="tiny", **settings):
        return Config(model, dataset, config_dict={"data_path": str(own)} | settings)

    return make


def rows_of(config):
    """Held-out rows of the built data sets as sorted (user, item, time), and what was said."""
    data = get_dataset(config)(config)
    parts = data.build()
    columns = ("user_id", "item_id", "timestamp")
    held_out = [
        sorted(zip(*(part.inter_feat[name].tolist() for name in columns))) for part in parts[1:]
    ]
    return held_out, data.split_report


# ------------------------------------------------------------------ one split


@pytest.mark.parametrize("behaviors", [{}, BUYS], ids=["plain", "buys"])
def test_all_kinds_of_models_hold_out_the_same_rows(behaviors, configured):
    found = {model: rows_of(configured(model, **behaviors)) for model in GENERAL + SEQUENTIAL}
    held_out, report = found["SASRec"]
    assert min(map(len, held_out)) > 5
    for model, (theirs, said) in found.items():
        assert theirs == held_out, model
        of_buys = " of buy" if behaviors else ""
        assert said["split"] == report["split"] == f"leave-one-out{of_buys} in time order"
    random = {"eval_args": {"split": RATIO, "order": "RO"}}
    assert rows_of(configured("Pop", **behaviors, **random))[0] != held_out  # the control


@pytest.mark.parametrize("mode", ["valid_and_test", "valid_only", "test_only"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_a_short_history_is_cut_by_one_rule(size, mode, tmp_path, write_inter):
    log = [("long", f"i{time}", time) for time in range(9)]
    log += [("short", f"i{time}", time) for time in range(size)]
    write_inter(tmp_path, "tiny", log, "user_id:token item_id:token timestamp:float")
    settings = {"data_path": str(tmp_path), "eval_args": {"split": {"LS": mode}}}
    items = {}
    for model in ("Pop", "SASRec"):
        config = Config(model, "tiny", config_dict=settings)
        data = get_dataset(config)(config)
        short = data.token2id("user_id", "short")
        items[model] = [
            sorted(
                data.id2token(
                    "item_id",
                    part.inter_feat["item_id"][part.inter_feat["user_id"] == short].numpy(),
                )
            )
            for part in data.build()
        ]
    train, *held_out = items["Pop"]
    assert held_out == items["SASRec"][1:]
    assert train == sorted(["i0", *items["SASRec"][0]])  # it needs no history
    assert sum(map(len, items["Pop"])) == size, "no row is lost"


# ------------------------------------------------------------------ which one is taken


def parts_of(config):
    args = config["eval_args"]
    return args["split"], args["order"], args["group_by"], args["mode"]


@pytest.mark.parametrize("model", ["Pop", "MultiVAE", "SASRec", "ICDDT"])
@pytest.mark.parametrize(
    "said, split, order",
    [
        (None, LAST, "TO"),
        ({}, LAST, "TO"),
        ({"mode": "full"}, LAST, "TO"),
        ({"order": "TO"}, LAST, "TO"),
        ({"order": "RO"}, RATIO, "RO"),
        ({"split": LAST}, LAST, "TO"),
        ({"split": None}, LAST, "TO"),
        ({"split": {"RS": [6, 2, 2]}}, {"RS": [6, 2, 2]}, "TO"),
        ({"split": {"RS": [6, 2, 2]}, "order": "RO"}, {"RS": [6, 2, 2]}, "RO"),
    ],
    ids=str,
)
def test_what_eval_args_leaves_out_is_filled_in(model, said, split, order, configured):
    settings = {} if said is None else {"eval_args": said}
    assert parts_of(configured(model, **settings)) == (split, order, "user", FULL)


def test_what_is_said_is_taken(configured):
    said = {"split": {"RS": [7, 2, 1]}, "order": "RO", "group_by": None}
    said["mode"] = {"valid": "uni5", "test": "full"}
    assert configured("Pop", eval_args=said)["eval_args"] == said
    for model, dataset in (("Pop", "ml-100k"), ("Pop", "retail"), ("SASRec", "beauty")):
        assert parts_of(Config(model, dataset)) == (LAST, "TO", "user", FULL)
        assert not Config(model, dataset).split_not_said
    random = Config("Pop", "ml-100k", config_dict={"eval_args": said})
    assert random["eval_args"] == said
    mode = {"mode": "uni5", "split": None}
    mode = Config("Pop", "ml-100k", config_dict={"eval_args": mode})
    assert parts_of(mode) == (LAST, "TO", "user", {"valid": "uni5", "test": "uni5"})


def test_without_times_general_models_are_split_at_random_and_sequential_ones_refused(configured):
    config = configured("Pop", "timeless")
    assert parts_of(config) == (RATIO, "RO", "user", FULL)
    torch.manual_seed(1)
    data = get_dataset(config)(config)
    assert min(map(len, data.build())) > 5
    assert data.split_report["split"] == "0.8 : 0.1 : 0.1 of each user's interactions at random"
    with pytest.raises(DataError, match="column 'timestamp' is not among the loaded columns"):
        rows_of(configured("SASRec", "timeless"))
    last = configured("Pop", "timeless", eval_args={"split": LAST})
    assert parts_of(last) == (LAST, "RO", "user", FULL)


@pytest.mark.parametrize(
    "settings, times",
    [
        ({}, True),
        ({"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}, True),
        ({"load_col": None}, True),
        ({"load_col": {"inter": ["user_id", "item_id"]}}, False),
        ({"unload_col": {"inter": ["timestamp"]}, "load_col": None}, False),
        ({"TIME_FIELD": "when"}, False),
        ({"TIME_FIELD": "behavior"}, False),  # a token
    ],
    ids=str,
)
def test_times_are_there_where_they_are_loaded(settings, times, configured):
    config = configured("Pop", **settings)
    assert config["eval_args"]["order"] == ("TO" if times else "RO")
    get_dataset(config)(config).build()


def test_ready_made_files_are_as_before(configured):
    files = {"benchmark_filename": ["train", "valid", "test"]}
    assert parts_of(configured("Pop", **files)) == (RATIO, "RO", "user", FULL)
    assert parts_of(configured("SASRec", **files)) == (LAST, "TO", "user", FULL)
    assert not configured("Pop", **files).split_not_said


def test_models_that_rate_rows_keep_recboles_split(configured):
    label = {"load_col": None, "metrics": ["AUC"], "valid_metric": "AUC", "topk": 5}
    assert parts_of(configured("FM", **label))[:2] == (RATIO, "RO")


# ------------------------------------------------------------------ it is said


def test_the_default_is_told_once_and_what_is_said_is_not(configured, caplog):
    rows_of(configured("Pop"))
    told = [record.message for record in caplog.records if "eval_args sets no" in record.message]
    assert told == [
        "eval_args sets no split and order; the default is taken, leave-one-out in time order"
    ]
    caplog.clear()
    _, report = rows_of(configured("Pop", eval_args={"split": RATIO, "order": "TO"}))
    assert "eval_args sets no" not in caplog.text
    assert report["split"] == "0.8 : 0.1 : 0.1 of each user's interactions in time order"


def by(split, order="TO", group_by="user"):
    return {"split": split, "order": order, "group_by": group_by, "mode": FULL}


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([by(LAST)], "leave-one-out in time order"),
        ([by(LAST, "RO")], "leave-one-out at random"),
        ([by({"LS": "test_only"})], "leave-one-out for test alone in time order"),
        ([by({"RS": [8, 1, 1]}, "RO", None)], "8 : 1 : 1 of all interactions at random"),
        ([by({"TS": [8, 1, 1]})], "split at the times 8 : 1 : 1 in time order"),
        ([by(LAST), ["train", "valid", "test"]], "ready-made split (train, valid, test)"),
        ([by(RATIO), None, "sequence"],
         "whole sequences held out by 0.8 : 0.1 : 0.1 in time order"),
        ([by(LAST), None, None, ["buy", "cart"], True],
         "leave-one-out of buy and cart of items new to their user in time order"),
        ([by(LAST, "RO"), None, None, None, False, 7], "leave-one-out at random from seed 7"),
    ],
    ids=str,
)  # fmt: skip
def test_splits_have_words(arguments, words):
    assert splits.describe(*arguments) == words


def test_random_data_with_ties_hold_out_the_same_rows_whatever_the_order_of_lines(
    tmp_path, write_inter, random_log
):
    for seed in range(4):
        log = random_log(n_items=7, seed=seed)
        write_inter(tmp_path, "tiny", np.random.default_rng(seed).permutation(log).tolist())
        found = [
            rows_of(Config(model, "tiny", config_dict={"data_path": str(tmp_path)}))[0]
            for model in ("Pop", "SASRec")
        ]
        assert found[0] == found[1]


@pytest.mark.parametrize(
    "settings",
    [
        {"encoding": "no-such"},
        {"field_separator": ""},
        {"field_separator": 3},
        {"load_col": "all"},
        {"data_path": 3},
    ],
    ids=str,
)
def test_settings_of_a_wrong_kind_are_not_stumbled_over(settings, own):
    """They are refused where they are checked or used, not where the header is looked at."""
    header = {"data_path": str(own), "TIME_FIELD": "timestamp", "field_separator": "\t"}
    assert splits.has_times(header | settings, "tiny")
    assert not splits.has_times(header, "timeless")  # the control
    assert splits.complete([{"split": 3}], False)[0]["order"] == "RO"
