"""Every result says split, rows, masking and device in one line."""

import json

import pytest

from recbole_diffusion.cli.run import table
from recbole_diffusion.quick_start.protocol_line import measured, protocol_line

TIMES = {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}
RATIO = {"split": {"RS": [0.6, 0.2, 0.2]}, "order": "RO", "mode": "full", "group_by": "user"}


@pytest.fixture
def line(shop, small, build_data):
    """Gives a function from a model and settings to the line of its test rows."""

    def line(model, **settings):
        config, _, loaders = build_data("dataset", model, "shop", **small(model, **settings))
        return protocol_line(measured(config, loaders[2]._dataset)), len(loaders[2]._dataset)

    return line


def test_the_line_is_of_what_was_measured(line):
    assert line("ICDDT", eval_args=TIMES) == (
        "leave-one-out of buy in time order, 39 test interactions, history not masked, all items "
        "ranked, on the CPU",
        39,
    )
    general = {"BEHAVIOR_FIELD": None, "target_behavior": None}
    said, rows = line("Pop", eval_args=RATIO, **general)
    assert said == (
        f"0.6 : 0.2 : 0.2 of each user's interactions at random from seed 2020, {rows} test "
        "interactions of 40 users, history masked, all items ranked, on the CPU"
    )
    other, _ = line("Pop", eval_args=RATIO | {"group_by": None}, split_seed=3, **general)
    assert other.startswith("0.6 : 0.2 : 0.2 of all interactions at random from seed 3, ")
    sampled, _ = line("Pop", eval_args=TIMES | {"mode": "uni5"}, mask_history=False, **general)
    assert sampled.startswith("leave-one-out in time order, 40 test interactions, history not mask")
    assert "ranked among sampled items (uni5)" in sampled
    assert "trained items ranked" in line("ICDDT", candidates="trained")[0]


def test_what_is_ready_made_or_of_whole_sequences_is_said():
    found = {"eval_args": RATIO | {"order": "TO"}, "test_rows": 5, "mask_history": False}
    found |= {"candidates": "all", "split_sequences": "sequence", "device": "cuda:0"}
    assert protocol_line(found) == (
        "whole sequences held out by 0.6 : 0.2 : 0.2 in time order, 5 test interactions, history "
        "not masked, all items ranked, on cuda:0"
    )
    ready = protocol_line(found | {"split_files": ["train", "valid", "test"]})
    assert ready.startswith("ready-made split of whole sequences (train, valid, test), 5 test")


def test_a_run_says_it_in_its_table_and_its_json(run, shop):
    result = run("Pop", eval_args=TIMES, result_file="result.json")
    said = "leave-one-out of buy in time order, 39 test interactions, history masked"
    assert result["protocol"].startswith(said)
    assert json.loads((shop / "result.json").read_text())["protocol"] == result["protocol"]
    assert table(result).splitlines()[2] == result["protocol"]
