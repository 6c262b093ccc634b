"""What an estimate looks at stands for the whole run, and the run itself is left alone."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_diffusion.cli.estimate import table
from recbole_diffusion.cli.main import main
from recbole_diffusion.config import Config
from recbole_diffusion.quick_start.estimate import TIMED, estimate, sample, size

WIDE = {"train_batch_size": 8, "all_positions": False}


def of(small, model, **settings):
    return estimate(Config(model, "shop", config_dict=small(model, **settings)))


@pytest.mark.parametrize(
    "model",
    [
        "ICDDT",
        "DiffRec",
        *(pytest.param(m, marks=pytest.mark.slow) for m in ("DreamRec", "SASRec")),
        *(pytest.param(m, marks=pytest.mark.slow) for m in ("LDiffRec", "RecVAE")),
    ],
)
def test_checkpoints_are_as_large_as_those_of_a_run(model, run, small, shop):
    found = of(small, model, epochs=1)
    result = run(model, epochs=1)
    best = Path(result["checkpoint"])
    files = {"best": best, "last": Path(str(best).replace(".best.", ".last."))}
    for kind, file in files.items():
        true = file.stat().st_size / 2**20
        assert found["checkpoint_mb"][kind] == pytest.approx(true, rel=0.1), kind
    assert found["parameters"] == result["parameters"]
    assert min(found[f"{of}_seconds"] for of in ("epoch", "valid", "test", "run")) > 0


def test_nothing_is_left_behind(small, shop):
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    wanted = torch.rand(1), random.random(), np.random.rand()
    before = sorted(shop.rglob("*"))
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    config = Config("ICDDT", "shop", config_dict=small("ICDDT"))
    settings = dict(config.final_config_dict)
    estimate(config)
    assert (torch.rand(1), random.random(), np.random.rand()) == wanted
    assert sorted(shop.rglob("*")) == before and Path.cwd() == shop
    assert config.final_config_dict == settings


def test_more_epochs_take_more_time_and_a_budget_bounds_it(small, shop):
    found = of(small, "DreamRec", epochs=1000)
    known = found["read_seconds"] + found["build_seconds"] + found["test_seconds"]
    assert found["run_seconds"] > known + 1000 * (found["epoch_seconds"] + found["valid_seconds"])
    bounded = of(small, "DreamRec", epochs=10**6, max_train_seconds=5)
    known = bounded["read_seconds"] + bounded["build_seconds"] + bounded["test_seconds"]
    assert bounded["run_seconds"] == pytest.approx(known + 5)


def test_chosen_batches_are_small_middle_and_large(shop, small, build_data):
    _, _, (train, _, _) = build_data("dataset", "DreamRec", "shop", **small("DreamRec") | WIDE)
    sizes = [size(rows) for rows in train]
    few = sample(train)
    largest, *chosen = [size(rows) for rows in few]
    assert len(chosen) == TIMED and len(few) == len(train)
    assert largest == max(sizes) and chosen == sorted(chosen)
    assert min(sizes) <= chosen[0] < chosen[-1]  # the control: batches do differ
    assert few.given <= TIMED * 8 and few.seconds > 0


def test_time_that_grows_with_size_is_found_whatever_the_batches(
    tmp_path, small, build_data, write_inter, monkeypatch
):
    """A clock that goes by numbers: the last, incomplete batch of sorted rows has the longest."""
    lengths = [4] * 12 + [30] * 11
    rows = [
        (f"u{user}", f"i{(user + time) % 40}", "buy", time)
        for user, length in enumerate(lengths)
        for time in range(length)
    ]
    write_inter(tmp_path, "uneven", rows)
    settings = small("DreamRec") | WIDE | {"eval_users_per_batch": 12, "MAX_ITEM_LIST_LENGTH": 40}
    _, _, (train, valid, _) = build_data(tmp_path, "DreamRec", "uneven", **settings)
    of_valid = [size(rows) for rows in valid]
    assert len(of_valid) == 2 and of_valid[1] > 3 * of_valid[0]  # the control: whole ones mislead
    clock = [0.0]
    monkeypatch.setattr("recbole_diffusion.quick_start.estimate.monotonic", lambda: clock[0])
    for loader, within in ((valid, 0.01), (train, 0.15)):
        few = sample(loader)
        for rows in few:
            clock[0] += size(rows)
        assert few.seconds == pytest.approx(sum(map(size, loader)), rel=within)


def test_models_of_one_go_are_not_made(small, shop, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("the model was made")

    monkeypatch.setattr("recbole_diffusion.quick_start.estimate.make_network", refuse)
    found = of(small, "EASE")
    assert found["epoch_seconds"] is None
    assert "inverts a matrix of 21 x 21 items" in table(found)
    assert "inverts" not in table(of(small, "Pop"))
    with pytest.raises(AssertionError, match="was made"):  # the control
        of(small, "DreamRec")


def test_what_would_be_trained_before_is_named(small, shop):
    found = of(small, "DreamRec", pretrain="LightGCN")
    assert "without the training of LightGCN" in table(found)
    assert not of(small, "DreamRec")["notes"]
    assert "epochs of LightGCN" in table(of(small, "LDiffRec"))


@pytest.mark.parametrize(
    "words, said",
    [
        (["--dataset=shopp"], "shopp"),
        (["--dataset=shop", "--hiden_size=3"], "hidden_size"),
        (["--dataset=shop", "--model=SASRek"], "SASRec"),
        (["--dataset=shop", "--BEHAVIOR_FIELD=kind", "--target_behavior=buy"], "kind"),
    ],
)
def test_mistakes_are_answered_in_a_line(words, said, capsys, shop):
    assert main(["estimate", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
