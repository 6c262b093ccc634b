"""A run out of its checkpoint: it measures what it measured, or says why it cannot."""

import json
from pathlib import Path

import pytest
import torch

from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.model.sequential_recommender.dreamrec import DreamRec
from recbole_diffusion.quick_start import quick_start, saved_run
from recbole_diffusion.quick_start.quick_start import run_recbole_diffusion
from recbole_diffusion.quick_start.saved_run import load_run
from recbole_diffusion.trainer import checkpoint
from recbole_diffusion.trainer.checkpoint import CheckpointError

RANDOM_SPLIT = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "mode": "uni5"}


class Mine(DreamRec):
    """A user's own model."""


@pytest.mark.parametrize(
    "model, settings",
    [
        ("DreamRec", {}),
        ("SASRec", {}),
        ("BERT4Rec", {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1}),
        ("LDiffRec", {}),
        ("MultiVAE", {"eval_args": RANDOM_SPLIT, "BEHAVIOR_FIELD": None}),
        ("recbole:DiffRec", {"dims_dnn": "[8]"}),
        (Mine, {"hidden_size": 8, "diffusion_steps": 4}),
    ],
)
def test_a_loaded_run_measures_what_it_measured(model, settings, run):
    result = run(model, result_file="r.json", checkpoint_dir="kept", **settings)
    Path("r.json").unlink()
    Path("kept").rename("moved")
    file = Path("moved", Path(result["checkpoint"]).name)
    logs = sorted(Path("log_tensorboard").rglob("*"))
    found = load_run(file, None if model in ("DreamRec", "SASRec") else model)
    assert sorted(Path("log_tensorboard").rglob("*")) == logs
    assert not found.trainer.model.training
    evaluate = found.trainer.evaluate
    assert evaluate(found.test_data, load_best_model=False) == result["test_result"]
    assert found.trainer.never_trained == result["never_trained_items"]
    assert evaluate(found.valid_data, load_best_model=False) == result["best_valid_result"]
    assert found.trainer.best_valid_result == result["best_valid_result"]
    assert found.trainer.best_epoch == result["best_epoch"]
    assert not any(Path(name).exists() for name in ("saved", "kept", "r.json"))
    with torch.no_grad():  # the control
        for weight in found.trainer.model.parameters():
            weight.normal_()
    assert evaluate(found.test_data, load_best_model=False) != result["test_result"]
    assert evaluate(found.test_data) == result["test_result"]  # which loads the checkpoint again


@pytest.mark.parametrize(
    "model, settings",
    [
        ("ICDDT", {"lr_scheduler": {"factor": 0.5}, "valid_metric": "mrr@5"}),
        ("SASRec", {"seq_separator": " | ", "user_inter_num_interval": "[2,inf)"}),
        ("GRU4Rec", {"loss_type": "BPR", "train_neg_sample_args": {"sample_num": 2}}),
        ("Pop", {}),
    ],
)
def test_the_configuration_is_that_of_the_run(model, settings, run):
    result = run(model, epochs=1, result_file="r.json", **settings)
    state = checkpoint.load(result["checkpoint"])
    found = load_run(result["checkpoint"]).config
    then, now = json.loads(state["config"]), json.loads(checkpoint.config_text(found))
    different = {key for key in then.keys() | now.keys() if then.get(key) != now.get(key)}
    assert different == {"result_file"} and now["result_file"] is None
    assert now["settings"] == "published" and not found.warnings  # nobody asked for it
    assert checkpoint.run_name(found) in result["checkpoint"]


def test_the_last_model_is_loaded_too(run):
    result = run("DreamRec")
    last = result["checkpoint"].replace(".best.", ".last.")
    model = load_run(last).trainer.model
    state = checkpoint.load(last)["state_dict"]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_what_a_model_is_built_from_comes_from_the_checkpoint(run, monkeypatch):
    def clusters(config, dataset):
        raise RuntimeError("the items are clustered again")

    result = run("LDiffRec")
    monkeypatch.setattr(quick_start, "item_clusters", clusters)
    found = load_run(result["checkpoint"])
    assert found.trainer.evaluate(found.test_data) == result["test_result"]
    with pytest.raises(RuntimeError, match="clustered again"):  # the control
        run("LDiffRec")


def test_settings_go_over_those_of_the_run(run, shop):
    result = run("DreamRec", guidance_weight=2.0)
    (shop / "dataset").rename(shop / "elsewhere")
    with pytest.raises(ValueError, match="shop"):
        load_run(result["checkpoint"])
    settings = {"data_path": "elsewhere", "guidance_weight": "1e-3", "topk": [5, 20]}
    found = load_run(result["checkpoint"], **settings)
    assert found.trainer.model.guidance_weight == 1e-3 and found.config["topk"] == [5, 20]
    assert found.config["hidden_size"] == 8  # the run's, not the default


def test_the_callers_random_numbers_stay_as_they_were(run):
    result = run("DreamRec")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    load_run(result["checkpoint"])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_key_that_this_version_does_not_know_is_left_out(run):
    result = run("DreamRec")
    state = checkpoint.load(result["checkpoint"])
    state["config"] = json.dumps(json.loads(state["config"]) | {"of_old": 1})
    checkpoint.save("old.best.pth", state)
    found = load_run("old.best.pth")
    assert found.config["of_old"] is None
    assert found.trainer.evaluate(found.test_data) == result["test_result"]
    with pytest.raises(ConfigError, match="unknown setting 'of_old'"):  # the control
        load_run("old.best.pth", of_old=1)


def test_other_data_other_models_and_other_files_are_refused(run, shop, write_inter, monkeypatch):
    file = run("DreamRec")["checkpoint"]
    with pytest.raises(CheckpointError, match="holds a DreamRec, not a SASRec"):
        load_run(file, "SASRec", hidden_size=8, n_heads=1)
    with pytest.raises(CheckpointError, match="there is no checkpoint nowhere.best.pth"):
        load_run("nowhere.best.pth")
    with pytest.raises(ConfigError, match="guidance_weigth"):
        load_run(file, guidance_weigth=1)
    checkpoint.save("half.pth", {"model": "DreamRec", "state_dict": {}})
    with pytest.raises(CheckpointError, match="half.pth is not the checkpoint of a run: it holds"):
        load_run("half.pth")
    rows = [line.split("\t") for line in Path("dataset/shop/shop.inter").read_text().splitlines()]
    write_inter("other", "shop", [(user, item + "x", *rest) for user, item, *rest in rows[1:]])
    with pytest.raises(CheckpointError, match="was trained on other data"):
        load_run(file, data_path="other")
    # Its network would have been built in vain.
    monkeypatch.setattr(saved_run, "make_network", None)
    with pytest.raises(CheckpointError, match="was trained on other data"):
        load_run(file, data_path="other")


def rows_of_the_shop():
    lines = Path("dataset/shop/shop.inter").read_text().splitlines()[1:]
    return [line.split("\t") for line in lines]


@pytest.fixture
def other_shops(shop, write_inter):
    """Other interactions of the same users and items; gives their folders and what differs."""
    rows = rows_of_the_shop()
    last = {user: max(int(row[3]) for row in rows if row[0] == user) for user, *_ in rows}
    turned = [(user, item, kind, last[user] - int(time)) for user, item, kind, time in rows]
    fewer = [row for number, row in enumerate(rows) if number < 30 or number % 3]
    write_inter("fewer", "shop", fewer)
    write_inter("turned", "shop", turned)
    write_inter("same", "shop", rows)
    return {"fewer": "rows and .* here", "turned": "other data"}


@pytest.mark.parametrize(
    "model, settings",
    [("DreamRec", {}), ("DiffRec", {}), ("MultiVAE", {"eval_args": RANDOM_SPLIT})],
)
def test_other_interactions_of_the_same_users_and_items_are_refused(
    model, settings, run, small, other_shops, caplog
):
    """A third of the rows gone, the times of every user reversed: neither resumes nor loads."""
    settings = small(model, **settings)
    if model == "MultiVAE":
        settings["BEHAVIOR_FIELD"] = None
    result = run_recbole_diffusion(model, "shop", config_dict=settings)
    last = result["checkpoint"].replace(".best.", ".last.")
    for folder, words in other_shops.items():
        elsewhere = {"data_path": folder}
        with pytest.raises(CheckpointError, match=words):
            load_run(result["checkpoint"], **elsewhere)
        with pytest.raises(CheckpointError, match=words):
            run_recbole_diffusion(
                model, "shop", config_dict=settings | elsewhere | {"resume": last}
            )
    ranked = {"eval_users_per_batch": 3, "topk": [5, 10, 20]}
    again = load_run(result["checkpoint"], data_path="same", **ranked)
    assert again.trainer.best_valid_result == result["best_valid_result"]
    state = checkpoint.load(result["checkpoint"])
    assert state.pop("interactions")["rows"][0] == len(again.train_data._dataset)
    checkpoint.save("older.best.pth", state)  # by a version that did not store them
    caplog.clear()
    load_run("older.best.pth", data_path="fewer")
    assert "does not say on which interactions it was trained" in caplog.text
