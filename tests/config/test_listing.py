"""What is listed of models and settings is what a run takes."""

import pytest

from recbole_diffusion.cli.main import main
from recbole_diffusion.config import Config
from recbole_diffusion.config.listing import models, settings_of
from recbole_diffusion.config.names import MODELS


def by_key(model, dataset=None):
    return {setting.key: setting for setting in settings_of(model, dataset)}


@pytest.mark.parametrize("model", [*MODELS, "SASRec", "EASE", "recbole:DiffRec"])
def test_listed_values_are_those_of_a_run(model):
    config = Config(model, "ml-100k")
    listed = by_key(model, "ml-100k")
    listed.pop("data_path")  # of which a run takes the folder of its data set
    assert all(config[key] == setting.value for key, setting in listed.items())
    assert len(listed) > 80


def test_the_file_that_counts_most_is_named():
    alone, published = by_key("DreamRec"), by_key("DreamRec", "zhihu")
    assert alone["ce_weight"].source == "properties/model/DreamRec.yaml"
    assert published["ce_weight"].source == "properties/model/DreamRec@zhihu.yaml"
    assert (alone["ce_weight"].value, published["ce_weight"].value) == (1.0, 0.0)
    assert published["SPLIT"].source == "properties/dataset/zhihu.yaml"
    assert alone["SPLIT"].source == "properties/overall.yaml"
    assert alone["stopping_step"].source == "RecBole's overall.yaml"
    assert next(iter(published.values())).source == "properties/model/DreamRec@zhihu.yaml"


def test_what_a_run_makes_itself_is_marked():
    listed = by_key("EASE")
    assert listed["eval_args"].derived and not listed["reg_weight"].derived


def test_every_key_of_ours_has_a_kind_and_a_sentence():
    for model in MODELS:
        for setting in settings_of(model):
            if setting.source.startswith("properties/"):
                assert setting.kind and setting.sentence, (model, setting.key)


def test_settings_are_printed_with_their_files(capsys):
    assert main(["settings", "DreamRec", "--key", "sampling_st"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "properties/model/DreamRec.yaml\n  sampling_steps: 20\n      (a whole number"
    )
    assert "Levels that ddim visits." in out and "hidden_size" not in out


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["settings", "DreamRek"], "did you mean DreamRec"),
        (["settings", "DreamRec", "--key=zzz"], "no setting of DreamRec has 'zzz' in its name"),
        (["settings"], "model"),
        (["models", "ICDDT"], "ICDDT"),
    ],
)
def test_what_cannot_be_listed_is_said_in_a_line(arguments, words, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_models_are_listed_with_what_they_read(capsys):
    assert [model.name for model in models()][: len(MODELS)] == list(MODELS)
    listed = {model.name: model for model in models()}
    assert "behaviours" in listed["ICDDT"].needs and "behaviours" not in listed["DreamRec"].needs
    assert listed["DiffRec"].kind == "general" and "set of items" in listed["DiffRec"].needs
    assert "order of time" not in listed["DiffRec"].needs
    assert "order of time" in listed["TDiffRec"].needs
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert "SASRec" in out.split("RecBole's sequential models")[1]
    assert "LightGCN" in out.split("RecBole's general models")[1].split("RecBole's seq")[0]
