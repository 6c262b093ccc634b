"""A setting is taken and the run ends with finite metrics, or it is refused by its name."""

import contextlib
import json
import math
import os
import shutil
from pathlib import Path

import pytest
import yaml
from fuzzing import RUN_LEAVES, Broken, accepted, attempt, command, inputs, own_folder
from hypothesis import given
from hypothesis import strategies as st

from recbole_diffusion.cli.parsing import one_line
from recbole_diffusion.config.config import Config
from recbole_diffusion.testing.made_up import chain, write

MODELS = ["Pop", "MarkovChain", "SASRec", "DiffRec", "ICDDT", "DreamRec", "DimeRec", "DiffuRec"]
MODELS += ["LDiffRec", "LTDiffRec", "LightGCN", "BERT4Rec", "GRU4Rec", "MultiVAE", "EASE"]
BASE = {
    "data_path": ".",
    "use_gpu": False,
    "show_progress": False,
    "topk": [3],
    "valid_metric": "NDCG@3",
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
    "hidden_size": 8,
    "inner_size": 8,
    "n_layers": 1,
    "n_heads": 1,
    "dims_dnn": [8],
    "steps": 2,
    "diffusion_steps": 4,
    "sampling_steps": 2,
    "n_negatives": 3,
    "embedding_size": 8,
    "latent_dimension": 4,
    "mlp_hidden_size": [8],
    "in_dims": [4],
    "n_cate": 2,
    "cluster_epochs": 1,
    "MAX_ITEM_LIST_LENGTH": 5,
    "epochs": 1,
    "result_file": "result.json",
}
# Values that have to be taken, as they are written in YAML.
LEGAL = {
    "seed": ["0", "2020", "4294967295"],
    "epochs": ["1", "2"],
    "train_batch_size": ["1", "7", "4096"],
    "eval_users_per_batch": ["1", "3", "100000"],
    "learning_rate": ["0.01", "1e-3", "1"],
    "weight_decay": ["0", "0.1"],
    "stopping_step": ["1", "10"],
    "eval_step": ["1", "2"],
    "clip_grad_norm": ["~", "{max_norm: 1}"],
    "learner": ["adam", "sgd", "adagrad"],
    "metrics": ["[Hit]", "[NDCG, MRR, Hit]", "NDCG"],
    "topk": ["[3]", "[3, 5]", "3"],
    "valid_metric": ["NDCG@3", "ndcg@3", "Hit@3"],
    "metric_decimal_place": ["0", "2", "6"],
    "mask_history": ["~", "True", "False"],
    "candidates": ["all", "trained"],
    "train_rows": ["all", "last"],
    "length_buckets": ["True", "False"],
    "all_users": ["True", "False"],
    "max_train_seconds": ["~", "100", "0.5"],
    "reproducibility": ["True", "False"],
    "MAX_ITEM_LIST_LENGTH": ["1", "5", "50"],
    "hidden_dropout_prob": ["0.0", "0.5"],
    "user_inter_num_interval": ["'[2,inf)'", "~"],
    "rm_dup_inter": ["first", "last", "~"],
    "checkpoint_dir": ["kept", "a/b"],
    "state": ["INFO", "error"],
    "target_behavior": ["buy", "[buy]"],
    "eval_args": [
        "{split: {LS: valid_and_test}, order: TO, mode: full}",
        "{split: {RS: [0.6, 0.2, 0.2]}, order: TO, mode: full, group_by: user}",
    ],
}
# Texts of which each is wrong for most keys, and some for none.
ODD = st.sampled_from(
    ["-1", "0", "1", "2", "3", "0.5", "-0.5", "1e-3", "1e30", "1e400", ".nan", ".inf", "-.inf", "~"]
    + [
        "",
        "''",
        "' '",
        "x",
        "yes",
        "no",
        "on",
        "True",
        "false",
        "None",
        "null",
        "nan",
        "1:30",
        "0x10",
    ]
    + ["0o7", "010", "1_000", "2017-11-25", "12:30:45", "[]", "[1]", "[1, 2]", "[x]", "[[]]", "[~]"]
    + ["{}", "{a: 1}", "{a: {b: [1]}}", "{1: 2}", "{LS: 3}", "'[1,2]'", "'(1,2)'", "'5'", "@x", "%"]
    + ["&a [*a]", "*a", "!!python/name:os.system", "!!binary aGk=", "!!set {a}", "!x y", "|", ">-"]
    + ["[", "{", "'", '"', "👍", "é" * 200, '"a\\nb"', '"\\0"', "../..", "/", ".", "a:b", "a: b"]
    + ["[3, 3]", "[0]", "[-1]", "[1.5]", "[10]", "NDCG", "NDCG@9", "Hit@3", "[hit, ndcg]", "[foo]"]
    + [
        "cuda",
        "full",
        "uni100",
        "{LS: valid_only}",
        "{RS: [8, 1, 1]}",
        "{RS: [1]}",
        "{split: {RS: 1}}",
    ]
    + [
        "{split: ~}",
        "{mode: labeled}",
        "{order: XX}",
        "__import__('os').mkdir('evil')",
        "evilmod:X",
    ]
    + ["9" * 30, "-" + "9" * 30, "9" * 5000, "adam", "adma", "gelu", "BPR", "CE", "user_id", "buy"]
)
TRAINED = ("training loss", "scores")  # of refusals when training has begun
NOT_TRIED = {  # what waits for other machines, or cannot end soon
    "log_wandb", "wandb_project", "nproc", "world_size", "ip", "port", "offset", "local_rank",
    "device", "gpu_id", "use_gpu",
    "result_file",  # where these tests look; command lines have it
}  # fmt: skip
LONG = {"epochs", "pretrain_epochs", "train_epochs", "pretrain_item_epochs"}  # the ends of big ones


def keys_of(model):
    """Every key that a run of a model may be given."""
    config = Config(model, "log", config_dict={"data_path": "."})
    return sorted(set(map(str, config.known)) - NOT_TRIED)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A folder with a small log, and the keys of each model."""
    before = os.getcwd()
    folder = tmp_path_factory.mktemp("log")
    write(folder, "log", chain(8, 9, 6))
    os.chdir(folder)
    keys = {model: keys_of(model) for model in MODELS}
    os.chdir(before)
    return folder, keys


@st.composite
def lines(draw, keys):
    """One or two settings as lines of YAML, and whether they have to be taken."""
    legal = draw(st.sampled_from([True, False, False]))
    chosen = draw(
        st.lists(
            st.sampled_from([key for key in keys if key in LEGAL or not legal]),
            min_size=1,
            max_size=2,
            unique=True,
        )
    )
    values = {}
    for key in chosen:
        mine = st.sampled_from(LEGAL.get(key, ["x"]))
        odd = st.one_of(ODD, ODD, mine) if key in LEGAL else ODD
        if key in LONG:
            odd = odd.filter(lambda text: not text.isdigit() or len(text) == 1)
        values[key] = draw(mine if legal else odd)
    return values, legal and len(chosen) == 1


def finite(result):
    """Whether all metrics of a result are numbers a ranking can have."""
    sets = [result["test_result"], result["best_valid_result"] or {}]
    values = [value for found in sets for value in found.values()]
    return bool(result["test_result"]) and all(
        isinstance(value, (int, float)) and math.isfinite(value) and value >= 0 for value in values
    )


def a_run(*arguments):
    command("run", *arguments)
    return json.loads(Path("result.json").read_text())


@inputs(quick=40, long=800)
@given(data=st.data(), model=st.sampled_from(MODELS), typed=st.booleans())
def test_a_setting_is_taken_and_used_or_refused_by_its_name(log, data, model, typed):
    kind = "settings, typed" if typed else "settings, in a file"
    folder, keys = log
    values, must = data.draw(lines(keys[model]))
    base = BASE | ({"BEHAVIOR_FIELD": "behavior"} if "target_behavior" in values else {})
    with own_folder():
        shutil.copytree(folder / "log", "log")
        Path("base.yaml").write_text(yaml.safe_dump(base))
        text = "".join(f"{key}: {value}\n" for key, value in values.items())
        Path("own.yaml").write_text(text)
        arguments = [f"--model={model}", "--dataset=log"]
        if typed:
            arguments += ["--config_files=base.yaml"]
            arguments += [f"--{key}={value}" for key, value in values.items()]
        else:
            arguments += ["--config_files=base.yaml own.yaml"]
        result, said = attempt(
            kind,
            lambda: a_run(*arguments),
            (*values, "own.yaml", "log.inter", "split leaves", "there is no checkpoint", *TRAINED),
            leaves=(*RUN_LEAVES, "result.json", *_places(values.get("checkpoint_dir", "~"))),
            leaves_refused=(*RUN_LEAVES, *_places(values.get("checkpoint_dir", "~"))),
        )
        if said is not None and Path("saved").exists() and not any(map(said.count, TRAINED)):
            raise Broken(f"left saved/, and training never began: {said}")
        if Path("evil").exists():
            raise Broken("code of a setting was run")
        if said is None:
            accepted(kind, finite(result), f"{result['test_result']} with {values}")
        elif must and "valid_metric" not in said:
            raise Broken(f"a legal value is refused: {said}")


def _places(text):
    """The beginnings of a path that stands in YAML, as it is read or as it is written."""
    paths = [text.strip()]
    with contextlib.suppress(yaml.YAMLError, ValueError):
        paths.append(str(yaml.safe_load(text)).strip())
    return tuple(path.partition("/")[0] + "/" for path in paths if path)


# ---------------------------------------------------------------- command lines
WORDS = st.sampled_from(
    [
        "--topk=3",
        "--topk=[3]",
        "--topk",
        "--epochs=1",
        "--epochs",
        "1",
        "--seed=5",
        "--seed=5 6",
        "--",
    ]
    + ["-x", "x", "--=3", "--seed==5", "--model=", "--dataset=", "--model", "--dataset=nowhere", ""]
    + ["--model=Nope", "--model=pop", "--model=SASREC", "--model=evilmod:X", "--model=a:b:c"]
    + [
        "--model=👍",
        "--dataset=../log",
        "--dataset=log/",
        "--dataset=/",
        "--config_files=none.yaml",
    ]
    + [
        "--config_files=log",
        "--config_files=evil.yaml",
        "--config_files=pretrain.yaml",
        "--result_file=log",
        "--help ",
    ]
    + ["--result_file=a/b.json", "--result_file=", "--resume=none.pth", "--resume", "--resume=log"]
    + [
        "--checkpoint_dir=base.yaml",
        "--checkpoint_dir=",
        "--data_path=none",
        "--data_path=base.yaml",
    ]
    + [
        "--learnin_rate=1",
        "--a\0b=1",
        "--seed=\x1b[31m",
        "--topk=\udcff",
        "--é=1",
        "--SEED=5",
        "- -",
    ]
    + ["--device=cuda", "--gpu_id=abc", "--use_gpu=maybe", "--settings=publish", "--load_col=x"]
    + ["--topk [3] [4]", "--metrics", "[Hit]", "NDCG", "--eval_args={split:{LS:valid_and_test}}"]
    + ["--pretrain=evilmod:X", "--benchmark_filename=[a,b,c]", "--config_dict=1", "--state=info"]
)


@inputs(quick=40, long=900)
@given(
    words=st.lists(WORDS, max_size=3, unique_by=lambda word: word.partition("=")[0]),
    given_model=st.sampled_from([True, True, True, True, False]),
    place=st.integers(0, 3),
)
def test_a_command_line_runs_or_is_refused_in_one_line(log, words, given_model, place):
    kind = "command lines"
    folder, _ = log
    with own_folder():
        shutil.copytree(folder / "log", "log")
        Path("evilmod.py").write_text("import os\nos.mkdir('evil')\n")
        Path("evil.yaml").write_text("model: evilmod:X\ndataset: log\n")
        Path("pretrain.yaml").write_text("model: DreamRec\ndataset: log\npretrain: evilmod:X\n")
        Path("base.yaml").write_text(yaml.safe_dump(BASE | {"result_file": None}))
        mine = ["--config_files=base.yaml", "--model=Pop", "--dataset=log"][: 1 + 2 * given_model]
        keys = {word.partition("=")[0] for word in words}
        mine = [word for word in mine if word.partition("=")[0] not in keys]
        arguments = [*mine[:place], *words, *mine[place:]]
        names = [part for word in words for part in _parts(word)]
        result, said = attempt(
            kind,
            lambda: command("run", *arguments),
            ("--model", "model", "dataset", *names),
            leaves=(*RUN_LEAVES, "a/", "evil", "__pycache__"),
            leaves_refused=("log/", "log_tensorboard/", "evil", "__pycache__"),
        )
        named = any(word.endswith("=evilmod:X") for word in words)  # by the person who types
        evil = Path("evil").exists() and not named
        if said is None:
            accepted(kind, not evil and ": test" in result, f"{result} of {arguments}")
        elif evil:
            raise Broken(f"a module was imported: {arguments}")


def _parts(word):
    """What of a word a refusal may name, as it is printed."""
    key, _, value = word.partition("=")
    return [part for part in map(one_line, (key.lstrip("-"), value, repr(word))) if part]
