"""Code in files of settings, data and weights is not run; a control shows that it could be."""

import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import recbole
import torch

from recbole_diffusion import doors
from recbole_diffusion.benchmark.plan import make_plan
from recbole_diffusion.cli.main import main
from recbole_diffusion.config import foreign
from recbole_diffusion.config.config import Config
from recbole_diffusion.config.names import check_class, resolve
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.pictures import draw
from recbole_diffusion.quick_start.quick_start import run_recbole_diffusion
from recbole_diffusion.quick_start.saved_run import load_run
from recbole_diffusion.trainer import checkpoint
from recbole_diffusion.trainer.checkpoint import CheckpointError
from recbole_diffusion.tune.search import plan

SECURITY = Path(__file__).parents[1] / "SECURITY.md"
QUIET = {"use_gpu": False, "show_progress": False}
OUTSIDE = """
import pathlib

pathlib.Path("attacked").touch()
from recbole.model.sequential_recommender import GRU4Rec


class X(GRU4Rec):
    pass
"""


class Attack:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("attacked"),)


@pytest.fixture(autouse=True)
def _nobody_is_vouched_for(monkeypatch):
    monkeypatch.setenv(foreign.NAMED, "")


@pytest.fixture
def outside(shop, monkeypatch):
    """A module in the working directory whose import makes the file ``attacked``."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (shop / "evilmod.py").write_text(OUTSIDE)
    yield "evilmod:X"
    sys.modules.pop("evilmod", None)


def fired():
    """Whether the code was run; if it was, it can be run again."""
    there = Path("attacked").exists()
    Path("attacked").unlink(missing_ok=True)
    return there


# ---------------------------------------------------------------- classes that a file names
FILES = {
    "model": "model: evilmod:X\ndataset: shop\n",
    "pretrain": "model: DreamRec\ndataset: shop\npretrain: evilmod:X\n",
    "pretrain of pretrain": "model: DreamRec\ndataset: shop\npretrain: DreamRec\n"
    "pretrain_settings: {pretrain: 'evilmod:X'}\n",
    "text in a text": "model: DreamRec\ndataset: shop\npretrain: DreamRec\n"
    "pretrain_settings: {pretrain: \"'evilmod:X'\", pretrain_settings: '{model: evilmod:X}'}\n",
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_of_settings_imports_no_class(kind, outside, small, capsys):
    Path("a.yaml").write_text(FILES[kind])
    settings = small("DreamRec", epochs=1)
    option = "pretrain" if kind == "pretrain" else "model"
    with pytest.raises(ConfigError, match=f"names the class evilmod:X.*--{option}=evilmod:X"):
        run_recbole_diffusion(None, None, ["a.yaml"], settings)
    assert not fired()
    if kind == "model":
        assert main(["run", "--config_files=a.yaml"]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "a.yaml: model names the class evilmod:X" in said
        with pytest.raises(ConfigError, match="names the class evilmod:X"):
            plan(None, None, None, 1, "random", "none", ["a.yaml"], {}, 1)
        assert not fired()
        resolve("evilmod:X")  # the control
        assert fired()


def test_a_name_that_a_person_gives_is_taken(outside, small):
    Path("a.yaml").write_text(FILES["model"])
    for given in ("evilmod:X", None):  # named, and then imported already
        assert Config(given, None, ["a.yaml"], QUIET)["model"] == "X"
    assert fired()
    sys.modules.pop("evilmod")
    assert main(["run", "--model=evilmod:X", "--config_files=a.yaml", "--epochs=0"]) == 2
    assert fired()  # the mistake was another one
    assert Config("DreamRec", "shop", ["a.yaml"], QUIET)["model"] == "DreamRec"


def test_what_a_package_was_installed_for_may_be_named_in_a_file(outside, monkeypatch):
    class Point:
        value = "evilmod:X"

    monkeypatch.setattr(foreign, "entry_points", lambda group: [Point])
    foreign.refuse_unnamed("evilmod:X", "a file")
    with pytest.raises(ConfigError, match="a file names the class evilmod:Y"):
        foreign.refuse_unnamed("evilmod:Y", "a file")
    foreign.refuse_unnamed("recbole:DiffRec", "a file")
    foreign.refuse_unnamed(None, "a file")


BENCHMARKS = {
    "models": "dataset: shop\nmodels: ['evilmod:X']\n",
    "model of a row": "dataset: shop\nmodels: {mine: {model: 'evilmod:X'}}\n",
    "model of an ablation": "dataset: shop\nmodels:\n  SASRec:\n"
    "  it: {ablates: SASRec, model: 'evilmod:X'}\n",
    "pretrain": "dataset: shop\nmodels: [DreamRec]\nsettings: {pretrain: 'evilmod:X'}\n",
    "pretrain of a row": "dataset: shop\nmodels: {DreamRec: {settings: {pretrain: 'evilmod:X'}}}\n",
}


@pytest.mark.parametrize("kind", BENCHMARKS)
def test_a_file_of_a_benchmark_imports_no_class(kind, outside):
    Path("b.yaml").write_text(BENCHMARKS[kind])
    assert main(["benchmark", "--config=b.yaml"]) == 2
    with pytest.raises(ConfigError, match="names the class evilmod:X"):
        make_plan({}, "b.yaml")
    assert not fired() and not Path("results").exists()
    foreign.vouch("--model=evilmod:X")  # as the command line does
    assert make_plan({}, "b.yaml").entries
    assert fired() == ("model" in kind)


def test_a_checkpoint_imports_no_class(outside, run, capsys):
    file = run("DreamRec", epochs=1)["checkpoint"]
    state = checkpoint.load(file)
    config = state["config"].replace('"model": "DreamRec"', '"model": "evilmod:X"')
    for changed in (
        {"model": outside, "config": config},
        {"model": outside},
        {"class": outside},
        {"model": outside, "class": outside, "config": config},
    ):
        checkpoint.save("evil.best.pth", state | changed)
        for use in (load_run, draw):
            with pytest.raises(CheckpointError, match="evil.best.pth"):
                use("evil.best.pth")
        assert main(["pictures", "--checkpoint=evil.best.pth"]) == 2
        assert not fired()
    with pytest.raises(ValueError, match="holds a"):  # named by a person, so it is imported
        load_run("evil.best.pth", "evilmod:X")
    assert fired()


# ---------------------------------------------------------------- RecBole's own doors
def test_the_teacher_of_kd_dagfm_is_a_name_and_no_program(outside):
    attack = "__import__('pathlib').Path('attacked').touch() or CrossNet"
    module = sys.modules[resolve("KD_DAGFM")[1].__module__]
    for text in (attack, "torch.load", "KD_DAGFM", "nn.Module", "", 5):
        with pytest.raises(ValueError, match="teacher is .*not one of CIN, CrossNet, DAGFM"):
            module.eval(text)
    assert not fired()
    assert module.eval("CrossNet") is module.CrossNet
    eval(attack, vars(module) | {"eval": None})  # the control
    assert fired()


def test_the_item_vectors_of_recboles_ldiffrec_are_not_unpickled(shop, small):
    vectors = shop / "dataset" / "shop" / "item_emb.npy"
    settings = small("LDiffRec", epochs=1, BEHAVIOR_FIELD=None) | {"n_cate": 2}
    del settings["cluster_epochs"]
    np.save(vectors, np.array([Attack()], dtype=object), allow_pickle=True)
    for content in (vectors.read_bytes(), pickle.dumps(Attack()), b""):
        vectors.write_bytes(content)
        with pytest.raises(ValueError, match="item_emb.npy is not a file of numbers"):
            run_recbole_diffusion("recbole:LDiffRec", "shop", config_dict=settings)
        assert not fired()
    np.save(vectors, np.array([Attack()], dtype=object), allow_pickle=True)
    np.load(vectors, allow_pickle=True)  # the control
    assert fired()


WEIGHTS = {
    "ConvNCF": "pre_model_path",
    "NAIS": "pretrain_path",
    "NeuMF": "mf_pretrain_path",
    "RaCT": "pre_model_path",
    "S3Rec": "pre_model_path",
    "KD_DAGFM": "warm_up",
}


@pytest.mark.parametrize("model", WEIGHTS)
def test_files_of_weights_are_not_unpickled(model, shop, monkeypatch):
    module = sys.modules[resolve(f"recbole:{model}")[1].__module__]
    # By this torch reads pickles where nothing else is asked for.
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    torch.save({"state_dict": Attack()}, "evil.pth")
    with pytest.raises(ValueError, match="evil.pth is not a file of weights"):
        module.torch.load("evil.pth", map_location="cpu")
    assert not fired()
    torch.load("evil.pth")  # the control
    assert fired()
    torch.save({"state_dict": {"a": torch.ones(2)}}, "good.pth")
    assert torch.equal(module.torch.load("good.pth")["state_dict"]["a"], torch.ones(2))
    with pytest.raises(FileNotFoundError):
        module.torch.load("nowhere.pth")


def test_an_own_class_on_one_of_recboles_has_its_doors_shut_too(monkeypatch):
    base = resolve("recbole:NAIS")[1]
    module = sys.modules[base.__module__]
    monkeypatch.setattr(module, "torch", torch)
    monkeypatch.setattr(doors, "already_shut", set())
    own = type("Own", (base,), {"__module__": "my_module"})
    assert module.torch.load is torch.load  # the control
    assert check_class(own) is own
    assert module.torch.load is not torch.load


def test_a_request_for_several_processes_opens_no_port():
    settings = {"local_rank": 0, "nproc": 1, "world_size": 1, "offset": 0}
    with pytest.raises(ConfigError, match="local_rank"):
        Config("Pop", "tiny", config_dict=settings | {"ip": "0.0.0.0", "port": 29500})


def test_nothing_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def opened(*args):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("urllib.request.urlopen", opened)
    for model in ("SASRec", "FEARec", "FM"):
        with pytest.raises(ValueError, match="ml-1m"):
            run_recbole_diffusion(model, "ml-1m", config_dict=QUIET | {"data_path": "nowhere"})


# ---------------------------------------------------------------- the list is whole
LOADS = re.compile(
    r"(?:torch|np|numpy|pickle|joblib|yaml)\.load\(|(?<![\w.])(?:eval|exec)\(|__import__\(|"
    r"import_module\(|os\.system|subprocess\.|urlopen\(|wandb\.init\(|init_process_group\("
)


def test_every_place_of_recbole_that_reads_more_than_data_is_known():
    """Another release of RecBole may have others: they belong into SECURITY.md."""
    root = Path(recbole.__file__).parent
    found = set()
    for file in sorted(root.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if LOADS.search(text):
            found.add(str(file.relative_to(root)))
    text = SECURITY.read_text(encoding="utf-8")
    unknown = [name for name in found if f"`{name}`" not in text]
    assert not unknown
    for door in doors.DOORS:
        assert f"`{door.where.partition(':')[0]}`" in text
    assert len(found) > 10
