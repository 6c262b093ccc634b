"""Where settings come from, which keys exist, and what is refused."""

import ast
import inspect
import re
import sys
from pathlib import Path

import pytest
import recbole
import yaml
from recbole.config import Config as HostConfig
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.sequential_recommender import SASRec
from recbole.utils import argument_list

import recbole_diffusion
from recbole_diffusion.config import config as config_module
from recbole_diffusion.config import properties
from recbole_diffusion.config.config import Config
from recbole_diffusion.config.keys import of_kind
from recbole_diffusion.config.names import MODELS, get_model
from recbole_diffusion.config.paths import properties_dir
from recbole_diffusion.config.values import ConfigError, parse_value, read_yaml
from recbole_diffusion.model.sequential_recommender.icddt import ICDDT
from recbole_diffusion.trainer.checkpoint import run_name

PACKAGE = Path(recbole_diffusion.__file__).parent
HOST = Path(recbole.__file__).parent
SETTINGS = ("overall.yaml", "model/*.yaml", "dataset/*.yaml")  # the others are data
YAMLS = sorted(file for pattern in SETTINGS for file in properties_dir().glob(pattern))
ATTACK = "!!python/object/apply:os.system ['touch attacked']"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def keys_of(files):
    return {key for file in files for key in read_yaml(file)}


# ---------------------------------------------------------------- order
def test_each_source_of_settings_wins_over_those_before_it(tmp_path, monkeypatch):
    keys = (
        "seed epochs train_batch_size eval_step stopping_step eval_batch_size weight_decay "
        "learning_rate"
    ).split()
    sources = (
        "host overall.yaml model/SASRec.yaml dataset/tiny.yaml model/SASRec@tiny.yaml first.yaml "
        "second.yaml dictionary"
    ).split()
    settings = [  # key i is set in the sources up to number i, to 10 and the source's number
        {key: 10 + number for i, key in enumerate(keys) if i >= number}
        for number in range(len(sources))
    ]
    ours = read_yaml(properties_dir() / "overall.yaml")
    for number, source in enumerate(sources[1:-1], start=1):
        path = tmp_path / source
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump((ours if number == 1 else {}) | settings[number]))
    monkeypatch.setattr(config_module, "properties_dir", lambda: tmp_path)
    monkeypatch.setattr(properties, "properties_dir", lambda: tmp_path)
    config = Config("SASRec", "tiny", ["first.yaml", "second.yaml"], settings[-1])
    host = read_yaml(HOST / "properties" / "overall.yaml")
    expected = [host["seed"], *range(11, 10 + len(sources))]
    assert [config[key] for key in keys] == expected


@pytest.mark.parametrize("model", ["DreamRec", "my_module:Mine"])
def test_default_settings_leave_out_the_published_run_and_nothing_else(
    model, tmp_path, monkeypatch
):
    own = read_yaml(properties_dir() / "model" / "DreamRec.yaml")["guidance_weight"]
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_module", raising=False)
    (tmp_path / "my_module.py").write_text(
        "from recbole_diffusion.model.sequential_recommender.dreamrec import DreamRec\n\n\n"
        "class Mine(DreamRec):\n    pass\n"
    )

    def settings(*files, **given):
        return Config(model, "zhihu", list(files), given)

    published, default = settings(), settings(settings="default")
    assert published["guidance_weight"] == settings(settings="published")["guidance_weight"] == 4.0
    assert default["guidance_weight"] == own and default["SPLIT"] == "sequence"  # of zhihu.yaml
    assert (published["settings"], default["settings"]) == ("published", "default")
    (tmp_path / "default.yaml").write_text("settings: default\nce_weight: 0.5\n")
    of_a_file = settings("default.yaml")
    assert (of_a_file["guidance_weight"], of_a_file["ce_weight"]) == (own, 0.5)
    assert settings("default.yaml", settings="published")["guidance_weight"] == 4.0
    assert not published.warnings and not default.warnings
    assert run_name(published) == run_name(settings(settings="published")) != run_name(default)
    with pytest.raises(ConfigError, match="settings is 'paper', it must be one of publ"):
        settings(settings="paper")


def test_published_settings_that_are_asked_for_and_not_there_are_warned_of_once(caplog):
    said = "no published run of SASRec on zhihu is known: the default settings are taken"
    assert said in Config("SASRec", "zhihu", None, {"settings": "published"}).warnings[0]
    assert caplog.text.count(said) == 1
    assert not Config("SASRec", "zhihu").warnings  # the control: nobody asked
    assert not Config("SASRec", "zhihu", None, {"settings": "default"}).warnings
    assert not Config("DreamRec", "zhihu", None, {"settings": "published"}).warnings


def test_the_command_line_of_the_process_is_never_read(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["program", "--epochs=7", "--nonsense=1", "--model=Pop"])
    assert Config("ICDDT", "tiny")["epochs"] == 300
    assert HostConfig("BPR", "tiny")["epochs"] == 7  # the control: RecBole reads it


def test_model_and_data_set_may_stand_in_the_settings():
    config = Config(config_dict={"model": "sasrec", "dataset": "tiny"})
    assert (config["model"], config["dataset"]) == ("SASRec", "tiny")
    with pytest.raises(ConfigError, match="no dataset given"):
        Config("SASRec")


# ---------------------------------------------------------------- keys
def test_every_key_of_our_yamls_is_read_by_our_code_or_recboles():
    def text(folder, outside=()):
        files = [f for f in folder.rglob("*.py") if not set(outside) & set(f.parts)]
        return "\n".join(file.read_text(encoding="utf-8") for file in files)

    not_shared = ["sequential_recommender", "general_recommender", "host_kinds.py"]
    shared = text(PACKAGE, not_shared)
    shared += text(HOST, ["model"])

    def is_read(key, code):
        return f'"{key}"' in code or f"'{key}'" in code

    for file in YAMLS:
        code = shared
        if file.parent.name == "model":
            classes = inspect.getmro(get_model(file.stem.partition("@")[0]))
            modules = {inspect.getmodule(cls) for cls in classes[:-1]}
            code += "".join(inspect.getsource(m) for m in modules if m.__name__ != "builtins")
        unread = [key for key in read_yaml(file) if not is_read(key, code)]
        assert not unread, f"{file.name}: nothing reads {unread}"
    assert not is_read("n_layers", shared)  # the control: a model's key is not read by all


def test_every_key_our_code_reads_is_declared():
    declared = keys_of(YAMLS) | set(of_kind("host"))
    for model in MODELS:
        declared |= set(Config(model, "tiny").final_config_dict)

    def undeclared(code):
        reads = set()
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
                name = getattr(node.value, "attr", getattr(node.value, "id", None))
                if name == "config" and isinstance(node.slice.value, str):
                    reads.add(node.slice.value)
        return reads - declared

    for file in PACKAGE.rglob("*.py"):
        assert not undeclared(file.read_text(encoding="utf-8")), file.name
    assert undeclared('self.config["no_such_key"]') == {"no_such_key"}  # the control


def test_the_keys_known_besides_all_lists_are_read_by_recbole():
    code = "\n".join(file.read_text(encoding="utf-8") for file in HOST.rglob("*.py"))
    unread = [key for key in of_kind("host") if not re.search(rf"[\"']{key}[\"']", code)]
    assert not unread


def test_an_unknown_key_is_refused_with_the_nearest_known_one():
    with pytest.raises(ConfigError, match="'learning_rat' for ICDDT; did you mean 'learning_rate'"):
        Config("ICDDT", "tiny", config_dict={"learning_rat": 1})
    with pytest.raises(ConfigError, match="'difusion_steps'.*'diffusion_steps'"):
        Config("ICDDT", "tiny", config_dict={"difusion_steps": 1})
    with pytest.raises(ConfigError, match="unknown setting 'xyzzy' for ICDDT$"):
        Config("ICDDT", "tiny", config_dict={"xyzzy": 1})
    with pytest.raises(ConfigError, match="unknown setting 'True'"):
        Config("ICDDT", "tiny", config_dict={True: 1})


def test_a_key_of_an_earlier_version_is_read_with_a_warning_that_names_the_new_one():
    old = Config("DreamRec", "tiny", None, {"sampling_noise": False})
    assert old["reverse_noise"] is False and old["sampling_noise"] is None
    assert old.warnings == ["'sampling_noise' of DreamRec is called 'reverse_noise' now"]
    both = Config("DreamRec", "tiny", None, {"sampling_noise": False, "reverse_noise": True})
    assert both["reverse_noise"] is True
    # the control: DiffRec's key of that name is RecBole's, and stays
    assert Config("DiffRec", "tiny", None, {"sampling_noise": True})["sampling_noise"] is True


def test_a_key_of_another_model_is_a_warning_that_names_it(caplog):
    config = Config("SASRec", "tiny", config_dict={"truncation_mass": 0.3, "hidden_size": 8})
    assert "'truncation_mass' is a key of ICDDT" in caplog.text
    assert "hidden_size" not in caplog.text
    assert config["hidden_size"] == 8


def test_a_missing_key_is_none_for_host_code():
    assert Config("ICDDT", "tiny")["typo"] is None


def test_keys_that_a_users_class_reads_are_known():
    class Own(SASRec):
        def __init__(self, config, dataset):
            super().__init__(config, dataset)
            self.knob = config["my_knob"]

    assert Config(Own, "tiny", config_dict={"my_knob": 3})["my_knob"] == 3
    with pytest.raises(ConfigError, match="my_nob"):
        Config(Own, "tiny", config_dict={"my_nob": 3})


def test_the_lists_of_known_keys_are_not_shared_between_configurations(tmp_path, monkeypatch):
    before = list(argument_list.dataset_arguments)
    Config("Pop", "ml-100k").parameters["Dataset"].append("leak")
    assert argument_list.dataset_arguments == before


# ---------------------------------------------------------------- values
@pytest.mark.parametrize(
    "text, value",
    [
        ("os.system", "os.system"),
        ("__import__('os').system('touch attacked')", "__import__('os').system('touch attacked')"),
        (ATTACK, ATTACK),
        ("1e-3", 0.001),
        ("1.0E+3", 1000.0),
        ("5", 5),
        ("True", True),
        ("None", None),
        ("~", None),
        ("[10,20]", [10, 20]),
        ("{a: None, b: 1e-4}", {"a": None, "b": 0.0001}),
        ("{'RS':[0.8,0.1,0.1]}", {"RS": [0.8, 0.1, 0.1]}),
        ("Nonesuch", "Nonesuch"),
        ("[unclosed", "[unclosed"),
    ],
)
def test_text_is_read_as_yaml_and_never_evaluated(text, value, tmp_path):
    read = parse_value(text)
    assert read == value and type(read) is type(value)
    if isinstance(value, str):
        settings, read = {"prepare_hint": text}, text
    else:
        settings, read = {"pretrain_settings": "{a: " + text + "}"}, {"a": value}
    assert Config("DreamRec", "tiny", config_dict=settings)[next(iter(settings))] == read
    assert not (tmp_path / "attacked").exists()


def test_a_config_file_cannot_build_objects(tmp_path):
    (tmp_path / "bad.yaml").write_text(f"prepare_hint: {ATTACK}\n")
    with pytest.raises(ConfigError, match="bad.yaml is not valid YAML"):
        Config("Pop", "tiny", ["bad.yaml"])
    assert not (tmp_path / "attacked").exists()
    yaml.unsafe_load((tmp_path / "bad.yaml").read_text())  # the control: the attack works
    assert (tmp_path / "attacked").exists()


def test_a_file_that_is_missing_or_no_mapping_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the config file nowhere.yaml"):
        read_yaml("nowhere.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="list.yaml holds a list"):
        read_yaml("list.yaml")
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read_yaml("empty.yaml") == {}


@pytest.mark.parametrize("key", of_kind("pickled"))
def test_paths_of_pickled_files_are_refused(key):
    with pytest.raises(ConfigError, match=f"{key} is not supported: .*pickle"):
        Config("Pop", "tiny", config_dict={key: "x.pth"})
    Config("Pop", "tiny", config_dict={key: False})


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"train_rows": "first"}, "train_rows is 'first', it must be one of all, last"),
        ({"train_behaviors": "buy"}, "train_behaviors is 'buy'"),
        ({"candidates": "seen"}, "candidates is 'seen'"),
        ({"mask_history": "yes please"}, "mask_history is 'yes please'"),
        ({"epochs": 0}, "epochs is 0, it must be a whole number above 0"),
        ({"epochs": True}, "epochs is True"),
        ({"train_batch_size": 1e3}, "train_batch_size is 1000.0"),
        ({"behavior_from": {"field": "rating", "values": {}}}, "BEHAVIOR_FIELD"),
        ({"adam_betas": [0.9]}, "adam_betas is"),
        ({"adam_betas": [0.9, 1.0]}, "adam_betas is"),
        ({"adam_betas": [0.9, 0.98], "learner": "sgd"}, "learner is sgd"),
        ({"valid_metric": "NDCG@7"}, "valid_metric NDCG@7 is not among metrics"),
        ({"valid_metric": "NDCG@ten"}, "valid_metric NDCG@ten is not among metrics"),
        ({"valid_metric": "Precision@10"}, "valid_metric Precision@10 is not among metrics"),
        ({"metrics": ["HR"]}, "no metric named 'HR'; did you mean Hit.; there are AUC, "),
        ({"metrics": ["NDGC"]}, "no metric named 'NDGC'; did you mean NDCG"),
        ({"metrics": ["F1"]}, "no metric named 'F1'; there are AUC, "),
        ({"metrics": ["Hit", "AUC"]}, "Ranking metrics and value metrics"),
        ({"topk": "ten"}, "topk"),
        ({"result_file": "."}, "is a folder"),
    ],
    ids=str,
)
def test_a_value_out_of_range_is_refused_with_the_value(settings, message):
    with pytest.raises(ConfigError, match=message):
        Config("Pop", "tiny", config_dict=settings)


# ---------------------------------------------------------------- models of RecBole
@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "BERT4Rec", "NARM", "STAMP"])
def test_cross_entropy_models_of_recbole_start_without_further_settings(model):
    config = Config(model, "tiny")
    assert config["loss_type"] == "CE"
    assert config["train_neg_sample_args"]["distribution"] == "none"
    with pytest.raises(ValueError, match="train_neg_sample_args"):  # the control
        HostConfig(model, "tiny")


@pytest.mark.parametrize("model", ["SASRec", "NARM"])
def test_their_pairwise_loss_keeps_its_negative_samples(model):
    config = Config(model, "tiny", config_dict={"loss_type": "BPR"})
    assert config["train_neg_sample_args"]["distribution"] == "uniform"


def test_recboles_settings_of_a_name_do_not_leak_into_a_users_model_of_that_name():
    class DiffRec(GeneralRecommender):
        input_type = get_model("BPR").input_type

    host = set(read_yaml(HOST / "properties" / "model" / "DiffRec.yaml")) - {"learning_rate"}
    own = Config(DiffRec, "tiny")
    assert {key for key in host if own[key] is not None} == set()
    theirs = Config("recbole:DiffRec", "tiny")  # the control
    assert {key for key in host if theirs[key] is not None}
    assert theirs["model"] == "DiffRec"


def test_our_settings_of_a_name_do_not_leak_into_other_models_of_that_name():
    own = type("ICDDT", (SASRec,), {"__module__": "my_module"})
    assert Config(own, "tiny")["diffusion_steps"] is None
    host = {"__module__": "recbole.model.any", "input_type": ICDDT.input_type}
    theirs = type("ICDDT", (SASRec,), host)
    assert Config(theirs, "tiny")["diffusion_steps"] is None
    with pytest.raises(ConfigError, match="learning_rat"):
        Config(own, "tiny", config_dict={"learning_rat": 1})
    derived = type("ICDDT", (ICDDT,), {"__module__": "my_module"})  # the control
    assert Config(derived, "tiny")["diffusion_steps"] == 16


def test_a_subclass_starts_from_the_settings_of_its_base():
    ours = type("Mine", (ICDDT,), {"__module__": "my_module"})
    assert Config(ours, "tiny")["diffusion_steps"] == Config("ICDDT", "tiny")["diffusion_steps"]
    theirs = type("Mine", (SASRec,), {"__module__": "my_module"})
    assert Config(theirs, "tiny")["inner_size"] == Config("SASRec", "tiny")["inner_size"]


def test_models_that_classify_rows_keep_recboles_metrics():
    config = Config("FM", "tiny")
    assert config["metrics"] == ["AUC", "LogLoss"] and config["valid_metric"] == "AUC"
    assert Config("BPR", "tiny")["metrics"][0] == "Hit"


def test_batches_are_cropped_only_for_models_seen_to_be_equal():
    assert Config("ICDDT", "tiny")["crop_history"] is True
    assert Config("SASRec", "tiny")["crop_history"] is True
    assert Config("Caser", "tiny")["crop_history"] is False
    assert Config("SASRec", "tiny", config_dict={"crop_history": False})["crop_history"] is False
    own = type("SASRec", (SASRec,), {"__module__": "my_module"})
    assert Config(own, "tiny")["crop_history"] is False
    derived = type("Mine", (ICDDT,), {"__module__": "my_module"})
    assert Config(derived, "tiny")["crop_history"] is True
