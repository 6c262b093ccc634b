"""Every key has a kind where it is declared: defaults and legal settings pass, others do not."""

import re
import shlex
from pathlib import Path

import pytest
import recbole
import yaml
from recbole.model import general_recommender as general
from recbole.model import sequential_recommender as sequential

from recbole_diffusion.cli.parsing import parse_settings
from recbole_diffusion.config.config import Config
from recbole_diffusion.config.declared import declared, in_comments
from recbole_diffusion.config.host_kinds import OF_MODELS, SHARED
from recbole_diffusion.config.keys import of_kind
from recbole_diffusion.config.kinds import parse
from recbole_diffusion.config.names import MODELS, get_model, host_names
from recbole_diffusion.config.paths import properties_dir
from recbole_diffusion.config.properties import model_files
from recbole_diffusion.config.space import read_space
from recbole_diffusion.config.values import ConfigError, parse_value, read_yaml

ROOT = Path(__file__).resolve().parents[2]
HOST = Path(recbole.__file__).parent / "properties"
SETTINGS = ("overall.yaml", "model/*.yaml", "dataset/*.yaml")
YAMLS = sorted(file for pattern in SETTINGS for file in properties_dir().glob(pattern))
# Those of RecBole that rank.
RANKERS = sorted(name for name in host_names().values() if hasattr(general, name))
RANKERS += sorted(name for name in host_names().values() if hasattr(sequential, name))
QUIET = {"use_gpu": False, "show_progress": False}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# ---------------------------------------------------------------- declarations
@pytest.mark.parametrize("file", YAMLS, ids=lambda file: file.stem)
def test_every_key_of_a_yaml_declares_its_kind_beside_it_and_its_default_is_of_it(file):
    values, comments = read_yaml(file), in_comments(file)
    assert set(comments) == set(values), "every top-level key has `# (kind) Sentence.`"
    lines = file.read_text(encoding="utf-8").splitlines()
    said = [line for line in lines if re.match(r"[\w-]+:", line)]
    assert all(
        line.endswith(".") and "  #" in line or "\t#" in line or " #" in line for line in said
    )
    for key, value in values.items():
        if value is not None:
            assert parse(comments[key]).fault(value) is None, f"{key}: {value!r}"


@pytest.mark.parametrize("name", [*MODELS, *(f"recbole:{name}" for name in RANKERS)])
def test_the_defaults_of_every_model_are_of_the_kinds_declared_for_it(name):
    cls = get_model(name)
    files = [properties_dir() / "overall.yaml", *model_files(cls)]
    kinds, optional = declared(cls, files)
    config = Config(cls, "tiny", config_dict=QUIET)
    made = {*of_kind("made"), *of_kind("pickled")}
    for key, value in config.internal_config_dict.items():
        if key in made or (value is None and key in optional) or value == "None":
            continue
        assert parse(kinds[key]).fault(value) is None, f"{key}: {value!r}, {kinds[key]}"


def test_every_declaration_of_the_hosts_table_has_a_meaning_and_a_model():
    for kinds in (SHARED, *OF_MODELS.values()):
        assert all(parse(words) for words in kinds.values())
    assert set(OF_MODELS) <= set(host_names().values())
    for name, kinds in OF_MODELS.items():
        code = Path(get_model(f"recbole:{name}").__module__.replace(".", "/") + ".py")
        text = (HOST.parent.parent / code).read_text(encoding="utf-8")
        shared = text + "".join(f.read_text() for f in (HOST.parent / "data").glob("*.py"))
        shared += (HOST.parent / "trainer/trainer.py").read_text()
        base = (HOST.parent / "model/general_recommender/diffrec.py").read_text()
        unread = [key for key in kinds if f'"{key}"' not in shared + base]
        assert not unread, f"{name} reads no {unread}"


def test_the_nearest_declaration_counts_and_bare_types_leave_the_bounds(tmp_path):
    near, far = tmp_path / "near.yaml", tmp_path / "far.yaml"
    far.write_text("knob: 1  # (int above 0) A knob.\nlever: 1  # (int above 0) A lever.\n")
    near.write_text(
        "knob: 5  # (int) A knob.\nlever: 0.5  # (float) A lever.\nodd: 1  # (odd) No.\n"
    )
    kinds = declared(get_model("BPR"), [far, near]).kinds
    assert kinds["knob"] == "int above 0" and kinds["lever"] == "int above 0"
    near.write_text("knob: 5  # (int at least 0) A knob.\nlever: 1  # No brackets.\n")
    kinds = declared(get_model("BPR"), [far, near]).kinds
    assert kinds["knob"] == "int at least 0" and "odd" not in kinds
    assert get_model("LightGCN").__name__ == "LightGCN"  # the control: one name, two kinds
    assert declared(get_model("LightGCN"), []).kinds["n_layers"] == "int in [0, 1000]"
    assert declared(get_model("SASRec"), []).kinds["n_layers"] == "layers"


# ---------------------------------------------------------------- legal settings
def accepted(model, dataset="tiny", **settings):
    return Config(model, dataset, config_dict=QUIET | settings)


LEGAL = [
    ("LightGCN", {"n_layers": 0}),
    ("LightGCN", {"learner": "AdamW", "reg_weight": 0}),
    ("SASRec", {"learning_rate": 1, "weight_decay": 0}),
    ("SASRec", {"learning_rate": "1e-3", "hidden_act": "swish", "seed": 0}),
    ("SASRec", {"topk": 5, "valid_metric": "ndcg@5"}),
    ("SASRec", {"metrics": "Recall", "valid_metric": "recall@10"}),
    ("SASRec", {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "popularity"}}),
    ("SASRec", {"lr_scheduler": None, "adam_betas": None, "encoding": "latin1"}),
    ("SASRec", {"user_inter_num_interval": "[5,inf)", "item_inter_num_interval": None}),
    ("SASRec", {"user_inter_num_interval": "[5,10]"}),  # YAML reads a list of two numbers
    ("SASRec", {"val_interval": {"timestamp": "[0,5)"}}),
    ("SASRec", {"val_interval": {"item_id": ["a", "b"]}}),
    ("SASRec", {"target_behavior": 4, "BEHAVIOR_FIELD": "behavior"}),
    ("SASRec", {"eval_args": {"mode": {"valid": "uni100", "test": "full"}}}),
    ("SASRec", {"clip_grad_norm": {"max_norm": 5, "norm_type": 2}}),
    ("SASRec", {"state": "debug", "gpu_id": "", "topk": [10]}),
    ("SASRec", {"field_separator": ",", "seq_separator": " | "}),
    ("SASRec", {"field_separator": "\t", "seq_separator": " "}),
    ("SASRec", {"user_inter_num_interval": "[5,inf]"}),
    ("SASRec", {"data_path": Path("data"), "checkpoint_dir": "1e3"}),
    ("SASRec", {"valid_metric_bigger": True, "device": "cpu"}),
    ("BPR", {"eval_args": {"split": {"RS": [8, 1, 1]}, "group_by": None}}),
    ("BPR", {"eval_args": {"split": {"RS": [0.8, 0, 0.2]}, "group_by": "none"}}),
    ("BPR", {"eval_args": {"split": None, "order": None, "mode": None, "group_by": None}}),
    ("SASRec", {"benchmark_filename": ["a", "b", "c"], "eval_args": {"mode": None}}),
    ("BPR", {"eval_args": None}),
    ("BPR", {"reg_weight": [0.1, 0.2]}),  # another model's, in a file for several
    ("MultiVAE", {"total_anneal_steps": 0.5, "mlp_hidden_size": []}),
    ("SGL", {"n_layers": 2.0, "type": "RW"}),
    ("DMF", {"inter_matrix_type": "01"}),
    ("recbole:DiffRec", {"w_max": 0.5, "mlp_act_func": "ReLU"}),
    ("DiffRec", {"mlp_act_func": "tanh", "noise_scale": 0, "steps": 1}),
    ("LDiffRec", {"anneal_steps": 0.5, "out_dims": [], "lr1": 1e-3}),
    ("ICDDT", {"truncation": 1, "lr_scheduler": None}),
    ("ICDDT", {"truncation": "mass", "BEHAVIOR_FIELD": "behavior", "target_behavior": "buy"}),
    ("DimeRec", {"walk_scale": 2, "negatives": "batch"}),
    ("DreamRec", {"sampler": "ddim", "pretrain_settings": {"epochs": 3}}),
    ("Pop", {"train_batch_size": 1}),
    ("Pop", {"tail_ratio": 0.1, "metrics": ["TailPercentage"], "valid_metric": "TailPercentage@5"}),
]


@pytest.mark.parametrize("model, settings", LEGAL, ids=str)
def test_a_legal_value_is_never_refused(model, settings):
    config = accepted(model, **settings)
    for key, value in settings.items():
        text = isinstance(value, str) and "separator" in key
        assert config[key] == value if text else key in config


@pytest.mark.parametrize("file", sorted(properties_dir().glob("tune/*.yaml")), ids=lambda f: f.stem)
def test_every_value_of_every_search_space_is_legal(file):
    for key, domain in read_space(file).items():
        for value in domain.members or domain.values:
            accepted(file.stem, **{key: value})


@pytest.mark.parametrize(
    "file", sorted(ROOT.glob("results/*/benchmark.yaml")), ids=lambda f: f.parent.name
)
def test_every_setting_of_the_published_tables_is_legal(file):
    plan = read_yaml(file)
    shared = dict(plan.get("settings") or {})
    for label, entry in plan["models"].items():
        settings = shared | ((entry or {}).get("settings") or {})
        if "settings" in shared and not isinstance(shared["settings"], str):
            settings.pop("settings")
        model = (entry or {}).get("model", label)
        if ":" in str(model) and not str(model).startswith("recbole:"):
            continue
        accepted(str(model), plan["dataset"], **settings)


def commands():
    """Settings of every command that the pages show for a single run."""
    pages = [*sorted((ROOT / "results").glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
    for page in (ROOT / "README.md", *pages):
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in text.splitlines():
            found = re.search(
                r"(?:run_recbole_diffusion\.py|recbole-diffusion run|\$run) (--.*)", line
            )
            if found and "$" not in found[1]:
                words = re.split(r"`| #", found[1])[0].strip()
                words = words.removesuffix('"') if words.count('"') % 2 else words
                yield pytest.param(words, id=f"{page.stem}: {words[:60]}")


@pytest.mark.parametrize("words", commands())
def test_every_command_that_the_pages_show_is_legal(words):
    settings = parse_settings(shlex.split(words))
    files = settings.pop("config_files", None)
    if files or ":" in settings.get("model", ""):
        return
    model, dataset = settings.pop("model", "ICDDT"), settings.pop("dataset", "ml-100k")
    accepted(model, dataset, **settings)


# ---------------------------------------------------------------- wrong settings
WRONG = [
    ({"learner": -1}, "learner is -1, it must be one of adam, adamw, sgd, "),
    ({"learner": "adma"}, "learner is 'adma', it must be one of adam"),
    ({"metrics": []}, r"metrics is \[\], it must be a list"),
    ({"eval_args": "{split:{LS:valid_and_test}}"}, "eval_args is .* write a space after the colon"),
    ({"load_col": "{inter:5}"}, "load_col is .* space after the colon"),
    ({"eval_args": {"order": "XO"}}, "eval_args is .* whose order is one of RO, TO or ~, not 'XO'"),
    ({"hidden_size": -4}, "hidden_size is -4, it must be a whole number from 1 to"),
    ({"hidden_size": 0}, "hidden_size is 0"),
    ({"hidden_size": 10**9}, "hidden_size is 1000000000, it must be a whole number from 1 to"),
    ({"hidden_size": 63}, "hidden_size 63 cannot be divided among n_heads 2"),
    ({"n_layers": 0}, "n_layers is 0, it must be a whole number from 1"),
    ({"discretization": "2017-11-25"}, "discretization is '2017-11-25', it must be a mapping"),
    ({"learning_rate": 1000}, "learning_rate is 1000, it must be a number above 0 up to 100"),
    ({"learning_rate": 0}, "learning_rate is 0"),
    ({"learning_rate": float("nan")}, "learning_rate is nan, .* finite"),
    ({"learning_rate": "fast"}, "learning_rate is 'fast'"),
    ({"learning_rate": 10**400}, "learning_rate is a? ?1000.*, it must be a number"),
    ({"stopping_step": -1}, "stopping_step is -1, it must be a whole number of at least 0"),
    ({"metric_decimal_place": -3}, "metric_decimal_place is -3"),
    ({"max_train_seconds": float("nan")}, "max_train_seconds is nan"),
    ({"max_train_seconds": 0}, "max_train_seconds is 0, it must be a number above 0 or ~"),
    ({"max_train_seconds": -1}, "max_train_seconds is -1"),
    ({"max_train_seconds": float("inf")}, "max_train_seconds is inf"),
    ({"user_inter_num_interval": 5}, r"user_inter_num_interval is 5, .* like \[5,inf\)"),
    ({"item_inter_num_interval": "5"}, "item_inter_num_interval is 5, .* an interval"),
    ({"val_interval": {"timestamp": "5"}}, r"val_interval is .* an interval like \[5,inf\)"),
    ({"epochs": "1:30"}, "epochs is '1:30', it must be a whole number above 0"),
    ({"epochs": "1_000"}, "epochs is '1_000'"),
    ({"epochs": "1e1"}, "epochs is 10.0"),
    ({"epochs": True}, "epochs is True"),
    ({"epochs": None}, "epochs is None, it must be a whole number above 0$"),
    ({"seed": -1}, "seed is -1"),
    ({"seed": 2**32}, "seed is 4294967296"),
    ({"attn_dropout_prob": 1}, "attn_dropout_prob is 1, it must be a number from 0 to below 1"),
    ({"worker": -1}, "worker is -1"),
    ({"topk": [5, 0]}, r"topk is \[5, 0\]"),
    ({"topk": []}, r"topk is \[\]"),
    ({"valid_metric": "NDCG"}, "valid_metric NDCG is not among .* written with a k"),
    ({"encoding": "utf-99"}, "encoding is 'utf-99', it must be a text encoding"),
    ({"field_separator": "5"}, "field_separator is"),
    ({"USER_ID_FIELD": ""}, "USER_ID_FIELD is None, it must be text"),
    ({"USER_ID_FIELD": "item_id"}, "USER_ID_FIELD and ITEM_ID_FIELD are both 'item_id'"),
    ({"load_col": {"inter": "user_id"}}, "load_col is .* names of columns"),
    ({"rm_dup_inter": False}, "rm_dup_inter is False"),
    ({"clip_grad_norm": 5}, "clip_grad_norm is 5, it must be a mapping of max_norm"),
    ({"lr_scheduler": {"gamma": 0.5}}, "lr_scheduler is .* without 'gamma'"),
    ({"train_neg_sample_args": {"sample_num": 0}}, "train_neg_sample_args is .* whose sample_num"),
    ({"use_gpu": "maybe"}, "use_gpu is 'maybe', it must be True or False"),
    ({"gpu_id": "abc"}, "gpu_id is 'abc', it must be the number of a GPU"),
    ({"device": "abacus"}, "device is 'abacus', it must be one of cpu, cuda"),
    ({"checkpoint_dir": "a" * 10_000 + "\0"}, "checkpoint_dir is 'aaa.*, it must be text"),
    ({"MODEL_TYPE": 5}, "MODEL_TYPE is 5, but it follows from the other settings"),
    ({"world_size": 2}, "world_size is 2, but it follows"),
    ({"valid_metric_bigger": False}, "valid_metric_bigger is False, but it follows"),
    ({"state": "loud"}, "state is 'loud', it must be one of debug, info"),
    ({"repeatable": "👍"}, "repeatable is '👍', it must be True or False"),
    ({"loss_type": "ce"}, "loss_type is 'ce', it must be one of CE, BPR"),
]  # fmt: skip


@pytest.mark.parametrize("settings, message", WRONG, ids=lambda part: str(part)[:60])
def test_a_wrong_value_is_refused_with_key_value_and_what_is_allowed(settings, message):
    with pytest.raises(ConfigError, match=message) as refusal:
        accepted("SASRec", **settings)
    assert len(str(refusal.value)) < 400 and "\n" not in str(refusal.value)


def test_what_one_model_cannot_do_without_is_not_optional_in_it():
    with pytest.raises(ConfigError, match="transform is None, it must be mask_itemseq$"):
        accepted("BERT4Rec", transform=None)
    accepted("SASRec", transform=None)  # the control


@pytest.mark.parametrize("name", ["model", "dataset"])
@pytest.mark.parametrize("value", ["", " ", None, True, [], 0.5])
def test_an_empty_model_or_data_set_is_refused(name, value):
    given = {"model": "Pop", "dataset": "tiny"} | {name: value}
    with pytest.raises(ConfigError, match=f"no {name} given|{name} is"):
        Config(**given)
    Config("Pop", "tiny")  # the control


@pytest.mark.parametrize("dataset", ["a/b", "..", "a\0b", "a" * 300])
def test_a_data_set_is_the_name_of_one_folder(dataset):
    with pytest.raises(ConfigError, match="dataset is .* it must be the name of a folder"):
        Config("Pop", dataset)


def test_numbers_are_read_as_yaml_1_2_reads_them(tmp_path):
    texts = {
        "1:30": "1:30", "1_000": "1_000", "017": 17, "0o17": 15, "0x1F": 31, "1e3": 1000.0,
        "+5": 5, "1.": 1.0, "2017-11-25": "2017-11-25", "=": "=", "0b1": "0b1", "-.5": -0.5,
        "yes": True, "off": False,
    }  # fmt: skip
    for text, value in texts.items():
        read = parse_value(text)
        assert read == value and type(read) is type(value)
        (tmp_path / "a.yaml").write_text(f"key: {text}\n")
        assert read_yaml("a.yaml") == {"key": value}
    assert yaml.safe_load("1:30") == 90  # the control


@pytest.mark.parametrize(
    "text", ["9" * 5000, "[" * 3000, "a: 1\na: 2", "a: !!binary x", "a: !!set {b}", "a: !!int x"]
)
def test_text_that_yaml_cannot_read_stays_text_and_is_refused_in_a_file(text, tmp_path):
    assert parse_value(text) == text
    (tmp_path / "a.yaml").write_text(f"b: {text}" if text[0] in "9[" else text)
    with pytest.raises(ConfigError, match="a.yaml is not valid YAML"):
        read_yaml("a.yaml")


def test_a_file_that_is_no_utf_8_is_refused_by_name(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(ConfigError, match="a.yaml is no text in UTF-8"):
        read_yaml("a.yaml")


def test_text_of_digits_stays_text_where_a_name_is_meant():
    config = accepted("Pop", checkpoint_dir="017", BEHAVIOR_FIELD="b", target_behavior="1e3")
    assert config["checkpoint_dir"] == "017" and config["target_behavior"] == "1e3"
    assert accepted("Pop", BEHAVIOR_FIELD="b", target_behavior="4")["target_behavior"] == 4


# ---------------------------------------------------------------- where the result goes
def test_a_result_file_that_cannot_be_written_is_found_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    for wrong, words in {
        ".": "is a folder",
        "file/result.json": "cannot be written: Not a directory",
        "a" * 300: "cannot be written: File name too long",
    }.items():
        with pytest.raises(ConfigError, match=f"result_file '{wrong[:70]}.* {words}"):
            accepted("Pop", result_file=wrong)
    accepted("Pop", result_file="new/folder/result.json")
    assert not (tmp_path / "new").exists()


def test_a_stranger_that_declares_nothing_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "properties" / "model").mkdir(parents=True)
    settings = "knob: 1\nlever: 1  # (strange kind) A lever.\nwheel: 1  # (int above 0) A wheel.\n"
    (tmp_path / "properties" / "model" / "Odd.yaml").write_text(settings)
    (tmp_path / "odd_module.py").write_text(
        "from recbole.model.general_recommender import BPR\n\n\nclass Odd(BPR):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    model = "odd_module:Odd"
    assert accepted(model, knob=0.5, lever="x")["knob"] == 0.5
    with pytest.raises(ConfigError, match="wheel is 0.5, it must be a whole number above 0"):
        accepted(model, wheel=0.5)


@pytest.mark.parametrize(
    "transform, needed",
    [("mask_itemseq", "mask_ratio"), ("crop_itemseq", "eta"), ("reorder_itemseq", "beta")],
)
def test_a_transform_needs_its_share(transform, needed):
    with pytest.raises(ConfigError, match=f"transform is {transform}, which needs {needed}"):
        Config("SASRec", "mine", config_dict={"transform": transform})
    given = {"transform": transform, needed: 0.5, "all_positions": False}
    assert Config("SASRec", "mine", config_dict=given)[needed] == 0.5
    with pytest.raises(ConfigError, match="transform is 'user_defined', it must be one of"):
        Config("SASRec", "mine", config_dict={"transform": "user_defined"})
