"""Which class, trainer and data set a name means."""

import importlib
import sys

import pytest
import recbole.data.dataset as host_datasets
from recbole.data.dataset import Dataset, SequentialDataset
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.model.general_recommender import LDiffRec, Pop
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import RecVAETrainer, TraditionalTrainer, Trainer

from recbole_diffusion.config import properties, traits
from recbole_diffusion.config.config import Config
from recbole_diffusion.config.names import (
    get_model,
    host_names,
    is_ours,
    is_shipped,
    resolve,
    told,
)
from recbole_diffusion.data.choose import get_dataset
from recbole_diffusion.data.dataset import GeneralDataset, LazySequentialDataset
from recbole_diffusion.data.repeats import WholeRows
from recbole_diffusion.model.general_recommender import ldiffrec
from recbole_diffusion.model.sequential_recommender.icddt import ICDDT
from recbole_diffusion.trainer.choose import get_trainer
from recbole_diffusion.trainer.ldiffrec import LDiffRecTrainer
from recbole_diffusion.trainer.trainer import CountingTrainer, DiffusionTrainer, TrainerHooks


@pytest.mark.parametrize(
    "typed, name",
    [
        ("ICDDT", "ICDDT"),
        ("icddt", "ICDDT"),
        ("markov-chain", "MarkovChain"),
        ("Markov_Chain", "MarkovChain"),
        ("MultVAE", "MultiVAE"),
        ("Mult-VAE", "MultiVAE"),
        ("multvae", "MultiVAE"),
        ("multivae", "MultiVAE"),
        ("MostPop", "Pop"),
        ("sasrec", "SASRec"),
        ("SAS Rec", "SASRec"),
        ("L-DiffRec", "LDiffRec"),
        ("recbole:sasrec", "SASRec"),
        ("RecBole:l-diffrec", "LDiffRec"),
    ],
)
def test_a_name_resolves_as_people_type_it(typed, name):
    found, model_class = resolve(typed)
    assert found == name == model_class.__name__
    assert get_model(typed) is model_class


@pytest.mark.parametrize(
    "typed, near",
    [
        ("SASRecc", "SASRec"),
        ("icdt", "ICDDT"),
        ("markov", "MarkovChain"),
        ("recbole:GRU4Re", "GRU4Rec"),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones(typed, near):
    with pytest.raises(ValueError, match=f"no model is called .*did you mean .*{near}"):
        resolve(typed)


def test_a_name_like_none_is_answered_with_ours():
    with pytest.raises(ValueError, match="ours are .*ICDDT.*MarkovChain.*module:Class"):
        resolve("xq7")


def test_every_model_of_recbole_is_found_under_its_own_name():
    def is_model(found):
        return isinstance(found, type) and issubclass(found, AbstractRecommender)

    names = set()
    for kind in ("general", "sequential", "context_aware", "knowledge_aware"):
        folder = importlib.import_module(f"recbole.model.{kind}_recommender")
        names |= {name for name, found in vars(folder).items() if is_model(found)}
    assert {"SASRec", "MultiVAE", "EASE", "FM", "KGAT"} <= names
    for name in names:
        found, model_class = resolve(f"recbole:{name}")
        assert found == name == model_class.__name__
        assert not is_ours(model_class)


def test_ours_wins_and_the_prefix_reaches_recboles():
    assert get_model("l-diffrec") is ldiffrec.LDiffRec is not LDiffRec
    assert get_model("recbole:LDiffRec") is LDiffRec


def test_our_settings_and_trainer_stay_with_ours_when_recbole_has_the_name_too():
    assert [name for _, name in properties.parts(ldiffrec.LDiffRec)] == [
        "WalkSteps",
        "DiffRec",
        "LDiffRec",
    ]
    assert properties.parts(LDiffRec) == []
    assert get_trainer(Config("LDiffRec", "tiny")) is LDiffRecTrainer
    theirs = Config("recbole:LDiffRec", "tiny")
    assert not issubclass(get_trainer(theirs), LDiffRecTrainer)
    assert theirs["anneal_unit"] is None and Config("LDiffRec", "tiny")["anneal_unit"] == "batch"


@pytest.mark.parametrize("name", ["DiffRec", "TDiffRec", "LDiffRec", "LTDiffRec"])
def test_a_variant_has_the_trainer_and_the_settings_of_its_base(name):
    config = Config(name, "tiny")
    assert issubclass(get_trainer(config), LDiffRecTrainer) == ("L" in name)
    assert config["history_num_per_term"] == 10  # of DiffRec.yaml
    assert (config["in_dims"] is not None) == ("L" in name)
    assert (config["w_min"] is not None) == ("T" in name)


def test_a_class_of_ones_own_is_found_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_models_7.py").write_text(
        "from recbole.model.sequential_recommender import GRU4Rec\n\n\n"
        "class Mine(GRU4Rec):\n    pass\n\n\ndef function():\n    pass\n"
    )
    name, model_class = resolve("my_models_7:Mine")
    assert name == "Mine" and is_ours(model_class)
    assert not is_shipped(model_class) and is_shipped(ICDDT)
    for typed, message in (
        ("my_models_7:Yours", "has no attribute 'Yours'"),
        ("my_models_8:Mine", "No module named 'my_models_8'"),
        ("my_models_7:function", "is not a class of a recommender"),
    ):
        with pytest.raises(ValueError, match=message):
            resolve(typed)


def test_a_class_that_is_no_recommender_is_refused():
    with pytest.raises(ValueError, match="is not a class of a recommender"):
        Config(dict, "tiny")


def test_every_trainer_has_our_hooks_on_the_one_the_model_needs():
    def trainer(model):
        found = get_trainer(Config(model, "tiny"))
        assert issubclass(found, TrainerHooks)
        return found

    def own(base):
        return type("Own", (base,), {"__module__": "my_module"})

    assert trainer("ICDDT") is trainer(own(ICDDT)) is DiffusionTrainer
    assert trainer("MarkovChain") is CountingTrainer
    assert trainer("SASRec") is trainer(own(SASRec)) is DiffusionTrainer
    assert issubclass(trainer("Pop"), TraditionalTrainer)
    assert issubclass(trainer(own(Pop)), TraditionalTrainer)
    assert issubclass(trainer("RecVAE"), RecVAETrainer)
    assert not issubclass(trainer("MultiVAE"), TraditionalTrainer)
    same_name = type("ICDDT", (SASRec,), {"__module__": "my_module"})
    assert trainer(same_name) is DiffusionTrainer
    assert issubclass(DiffusionTrainer, Trainer)


def test_the_data_set_is_ours_unless_a_model_of_recbole_needs_its_own():
    def dataset(model, **settings):
        return get_dataset(Config(model, "tiny", config_dict=settings))

    assert dataset("ICDDT") is dataset("SASRec") is LazySequentialDataset
    assert dataset("Pop") is dataset("MultiVAE") is GeneralDataset
    assert dataset("DIEN").__name__ == "DIENDataset"
    assert dataset("FM").__bases__ == (WholeRows, Dataset)
    assert dataset("FEARec").__bases__ == (WholeRows, SequentialDataset)
    assert dataset("FM") is dataset("FFM")
    own = type("DIEN", (SASRec,), {"__module__": "my_module"})  # of that name, but not RecBole's
    assert dataset(own) is LazySequentialDataset
    with pytest.raises(ValueError, match="DIEN needs a data set of its own.*unset BEHAVIOR_FIELD"):
        dataset("DIEN", BEHAVIOR_FIELD="behavior", target_behavior="buy")


def test_a_class_of_ones_own_names_its_data_set():
    def dataset(name, **settings):
        own = type("Own", (SASRec,), {"__module__": "my_module", "dataset_class": name})
        return get_dataset(Config(own, "tiny", config_dict=settings))

    behaviors = {"BEHAVIOR_FIELD": "behavior", "target_behavior": "buy"}
    host = dataset("recbole.data.dataset:SequentialDataset")
    assert host.__bases__ == (WholeRows, SequentialDataset)
    assert dataset("recbole_diffusion.data.dataset:GeneralDataset", **behaviors) is GeneralDataset
    with pytest.raises(ValueError, match="Own needs a data set of its own.*unset BEHAVIOR_FIELD"):
        dataset("recbole.data.dataset:SequentialDataset", **behaviors)
    with pytest.raises(ValueError, match="Own.dataset_class is 'nowhere:Data': No module named"):
        dataset("nowhere:Data")


def test_the_data_sets_that_recbole_finds_by_name_stand_in_the_table_of_traits():
    named = [name for name in vars(host_datasets) if name.endswith("Dataset")]
    found = {name.removesuffix("Dataset") for name in named} & set(host_names().values())
    assert "DIEN" in found
    for name in found:
        named = traits.of(get_model(f"recbole:{name}")).dataset_class
        assert named == f"recbole.data.dataset:{name}Dataset"


@pytest.mark.parametrize("name", ["XGBoost", "recbole:LightGBM"])
def test_decision_trees_are_refused_whether_their_library_is_there_or_not(name):
    with pytest.raises(ValueError, match="does not run here: decision trees need a loader"):
        Config(name, "ml-100k")


def test_a_host_class_of_a_name_that_is_also_ours_is_told_with_its_prefix(caplog):
    for name in ("SASRec", "recbole:SASRec", "recbole:Pop"):
        config = Config(name, "ml-100k", config_dict={"all_positions": False})
        assert told(config["model"], config.model_class) == name.replace("recbole:Pop", "Pop")
        unread = f"{name.removeprefix('recbole:') if 'Pop' in name else name} does not read it"
        assert (unread in caplog.text) == (name != "SASRec")
