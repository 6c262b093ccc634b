"""Runs of earlier versions, in which SASRec was RecBole's class and trained one row a prefix."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch

from recbole_diffusion.config.names import get_model
from recbole_diffusion.quick_start.saved_run import load_run
from recbole_diffusion.trainer import checkpoint
from recbole_diffusion.trainer.checkpoint import CheckpointError

NAMES = ("SASRec", pytest.param("GRU4Rec", marks=pytest.mark.slow))


@pytest.fixture
def before(run, small):
    """Gives a function from a name and epochs to the ``last`` file of a run of before."""

    def before(name, epochs):
        sizes = {key: small(name)[key] for key in small(name).keys() - small("Pop").keys()}
        made = run(f"recbole:{name}", epochs=epochs, checkpoint_dir="old", **sizes)
        file = Path(made["checkpoint"].replace(".best.", ".last."))
        state = checkpoint.load(file)
        assert state["class"].startswith("recbole.model.") and state["model"] == name
        assert "all_positions" not in json.loads(state["config"])
        return file

    return before


def weights(file):
    return checkpoint.load(file)["state_dict"]


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def went_on(run, name, file, **settings):
    """The ``last`` weights of a run that goes on with a copy of a file."""
    shutil.copytree(file.parent, "copy", dirs_exist_ok=True)
    run(name, epochs=4, resume=str(Path("copy") / file.name), checkpoint_dir="copy", **settings)
    return weights(Path("copy") / file.name)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_of_before_goes_on_with_one_row_a_prefix(name, run, before):
    whole = weights(before(name, 4))
    shutil.rmtree("old")
    file = before(name, 2)
    assert not same(whole, weights(file))  # the control
    assert same(whole, went_on(run, name, file, all_positions=False))


@pytest.mark.parametrize("name", NAMES)
def test_who_goes_on_otherwise_is_told_what_to_set(name, run, before):
    file = before(name, 1)
    with pytest.raises(CheckpointError, match="all_positions = False, here it is True"):
        went_on(run, name, file)
    ours = Path(run(name, epochs=1)["checkpoint"].replace(".best.", ".last."))
    with pytest.raises(CheckpointError, match="all_positions = True, here it is False"):
        went_on(run, name, ours, all_positions=False)


def test_resume_finds_a_run_of_before_or_says_how(run, before, caplog):
    file = before("SASRec", 2)
    shutil.copytree("old", "kept")
    with caplog.at_level(logging.WARNING):
        run("SASRec", epochs=1, resume=True, checkpoint_dir="old")
    assert f"To go on with {file} set all_positions: False" in caplog.text
    shutil.rmtree("old")
    shutil.copytree("kept", "old")
    run("SASRec", epochs=4, resume=True, checkpoint_dir="old", all_positions=False)
    assert [path.name for path in Path("old").glob("*.last.pth")] == [file.name]


def test_the_hint_names_the_settings_that_are_other_ones(run, caplog):
    file = Path(run("ICDDT", epochs=1)["checkpoint"].replace(".best.", ".last."))
    with caplog.at_level(logging.WARNING):
        run("ICDDT", epochs=1, resume=True, loss="sampled", n_negatives=7)
    assert f"To go on with {file} set loss: full, n_negatives: 512" in caplog.text
    assert "all_positions" not in caplog.text.partition("To go on with")[2]


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_of_before_opens_as_what_it_was(name, run, before):
    file = before(name, 1)
    found = load_run(file)
    assert type(found.trainer.model) is get_model(f"recbole:{name}")
    ours = load_run(file, name)
    assert type(ours.trainer.model) is get_model(name)
    lists = [each.trainer.evaluate(each.test_data, load_best_model=False) for each in (found, ours)]
    assert lists[0] == lists[1]
    assert type(load_run(run(name, epochs=1)["checkpoint"]).trainer.model) is get_model(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_on_all_positions_goes_on_bit_by_bit(name, run):
    whole = weights(run(name, epochs=4)["checkpoint"].replace(".best.", ".last."))
    shutil.rmtree("saved")
    file = Path(run(name, epochs=2)["checkpoint"].replace(".best.", ".last."))
    assert same(whole, went_on(run, name, file))
