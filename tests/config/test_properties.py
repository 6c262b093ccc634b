"""Whose YAML files are whose: shipped classes', RecBole's, and those beside a stranger's module."""

import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from recbole_diffusion.config import names, properties
from recbole_diffusion.config.config import Config
from recbole_diffusion.config.names import get_model, resolve
from recbole_diffusion.config.paths import properties_dir
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.quick_start.quick_start import run_recbole_diffusion
from recbole_diffusion.quick_start.saved_run import load_run, trained_class
from recbole_diffusion.trainer.checkpoint import CheckpointError


def test_a_strangers_settings_space_and_ablations_stand_beside_its_module(stranger):
    config = Config(stranger, "shop")
    assert (config["score_factor"], config["hidden_size"]) == (2.0, 8)  # of the pair, over its own
    assert Config(stranger, "other")["hidden_size"] == 16
    assert config["crop_history"] is True
    model_class = resolve(stranger)[1]
    assert properties.space_file(model_class).is_file()
    assert properties.ablations(model_class) == {"no factor": {"score_factor": 1.0}}
    with pytest.raises(ConfigError, match="unknown setting 'score_facto'.*score_factor"):
        Config(stranger, "shop", config_dict={"score_facto": 1})


def test_a_strangers_key_in_a_shared_file_warns_other_models_and_refuses_none(stranger, caplog):
    shared = {"score_factor": 3.0}
    with pytest.raises(ConfigError, match="unknown setting 'score_factor'"):  # of nobody so far
        Config("SASRec", "shop", config_dict=shared)
    resolve(stranger)
    Config("SASRec", "shop", config_dict=shared)
    assert "'score_factor' is a key of Stranger; SASRec does not read it" in caplog.text


def test_a_model_of_an_installed_package_is_found_by_the_name_it_has_there(stranger, monkeypatch):
    point = EntryPoint("StrangerRec", stranger, names.GROUP)
    broken = EntryPoint("Broken", "no_such_module:Model", names.GROUP)
    monkeypatch.syspath_prepend(".")
    monkeypatch.setattr(names, "entry_points", lambda group: EntryPoints((point, broken)))
    assert resolve("stranger-rec")[0] == "Stranger"
    assert sys.modules["strange_module"].Stranger in names.strangers()
    with pytest.raises(ValueError, match="'Broken' of an installed package.*no_such_module"):
        resolve("broken")
    with pytest.raises(ValueError, match="did you mean StrangerRec"):
        resolve("StrangeRec")


def test_shipped_classes_and_recboles_have_the_files_of_this_package():
    assert properties.own_folder(get_model("ICDDT")) == properties_dir()
    assert [file.name for file in properties.model_files(get_model("LTDiffRec"))] == [
        "DiffRec.yaml", "LDiffRec.yaml", "LTDiffRec.yaml",
    ]  # fmt: skip
    host = get_model("recbole:DiffRec")
    assert properties.model_files(host) == [] and properties.ablations(host) == {}
    assert properties.space_file(host).name == "DiffRec.yaml"
    assert properties.ablations(get_model("DiffRec"))


def test_a_checkpoint_imports_nothing_and_says_which_model_to_give(stranger, small):
    settings = small(stranger, epochs=1, embedding_size=8)
    result = run_recbole_diffusion(stranger, "shop", config_dict=settings)
    file = result["checkpoint"]
    with pytest.raises(CheckpointError, match="--model=strange_module:Stranger"):
        load_run(file)
    found = load_run(file, stranger)
    assert found.trainer.evaluate(found.test_data) == result["test_result"]


def test_a_name_in_a_checkpoint_that_would_be_imported_is_refused(shop):
    (shop / "evil_module.py").write_text("raise SystemExit('imported')\n")
    for state in ({"model": "evil_module:X"}, {"model": "evil_module:X", "class": "a:b"}):
        with pytest.raises(CheckpointError, match="the name of no class"):
            trained_class(state)
    with pytest.raises(CheckpointError, match="--model=recbole:DiffRec"):
        trained_class(
            {"model": "DiffRec", "class": "recbole.model.general_recommender.diffrec:DiffRec"}
        )
    assert trained_class({"model": "DiffRec"}) == "DiffRec"
