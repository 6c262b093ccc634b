"""A damaged checkpoint gives the scores that were stored, or a refusal that names the file."""

import io
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from fuzzing import RUN_LEAVES, Broken, accepted, attempt, inputs, own_folder
from hypothesis import given
from hypothesis import strategies as st

from recbole_diffusion.quick_start.quick_start import run_recbole_diffusion
from recbole_diffusion.quick_start.saved_run import load_run
from recbole_diffusion.testing.made_up import chain, write
from recbole_diffusion.trainer.content import digest_of

SETTINGS = {
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
    "MAX_ITEM_LIST_LENGTH": 5,
    "train_batch_size": 16,
    "epochs": 2,
}


def scores(found):
    """The scores of all test rows, as bytes: equal ones are equal bit for bit."""
    with torch.no_grad():
        rows = [found.trainer.model.full_sort_predict(batch) for batch, *_ in found.test_data]
    return torch.cat(rows).numpy().tobytes()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with data and a run, its files, its scores and what it comes to when it goes on."""
    before = os.getcwd()
    folder = tmp_path_factory.mktemp("run")
    os.chdir(folder)
    write(".", "log", chain(8, 9, 6))
    run_recbole_diffusion("SASRec", "log", config_dict=SETTINGS)
    files = {name: next(Path("saved").glob(f"*.{name}.pth")) for name in ("best", "last")}
    content = {name: file.read_bytes() for name, file in files.items()}
    right = scores(load_run(files["best"]))
    on = run_recbole_diffusion(
        "SASRec", "log", config_dict=SETTINGS | {"resume": str(files["last"]), "epochs": 3}
    )
    os.chdir(before)
    names = {name: file.name for name, file in files.items()}
    return folder, names, content, right, on["test_result"]


def beside(trained, **changed):
    """The run's files in the working directory, some of them with other content."""
    folder, names, content, *_ = trained
    shutil.copytree(folder / "log", "log")
    Path("saved").mkdir()
    for part, name in names.items():
        Path("saved", name).write_bytes(changed.get(part, content[part]))
    return {part: Path("saved", name) for part, name in names.items()}


# ---------------------------------------------------------------- damage
class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def _pickle():
    file = io.BytesIO()
    torch.save({"format": 1, "model": Evil()}, file)
    return file.getvalue()


@st.composite
def damages(draw):
    """A function that damages the bytes of a checkpoint."""
    name = draw(
        st.sampled_from(
            ["nothing", "cut", "byte", "byte", "bytes in", "bytes out", "end", "zeros", "empty"]
            + ["text", "pickle", "twice", "swap"]
        )
    )
    where, other = draw(st.floats(0, 1)), draw(st.floats(0, 1))
    new = draw(st.binary(min_size=1, max_size=4))

    def damage(content):
        place, second = int(where * (len(content) - 1)), int(other * (len(content) - 1))
        return {
            "nothing": lambda: content,
            "cut": lambda: content[:place],
            "byte": lambda: content[:place] + new[:1] + content[place + 1 :],
            "bytes in": lambda: content[:place] + new + content[place:],
            "bytes out": lambda: content[:place] + content[place + len(new) :],
            "end": lambda: content + new,
            "zeros": lambda: content[:place] + b"\0" * len(content[place:second]) + content[
                max(place, second) :
            ],
            "empty": lambda: b"",
            "text": lambda: b"hit@10 : 0.5\n",
            "pickle": _pickle,
            "twice": lambda: content + content,
            "swap": lambda: content[second:] + content[:second],
        }[name]()  # fmt: skip

    return damage


ODD_VALUES = st.sampled_from(
    [None, True, 0, -1, 1.5, float("nan"), float("inf"), 2**70, "", "x", "\0", [], {}, "DiffRec"]
    + ["evilmod:X", torch.zeros(0), torch.full((3,), torch.nan), torch.zeros(2, 2).long(), [[]]]
)


@st.composite
def edits(draw):
    """A function that changes one thing in what a checkpoint holds, with a hash of three kinds."""
    what = draw(
        st.sampled_from(["gone", "value", "value", "nan", "shape", "kind", "config", "more"])
    )
    hashed = draw(st.sampled_from(["as it was", "none", "anew"]))
    steps, value = draw(st.randoms()), draw(ODD_VALUES)

    def edit(content):
        state = torch.load(io.BytesIO(content), weights_only=True)
        digest = state.pop("digest", None)
        if what == "config":
            settings = json.loads(state["config"])
            key = steps.choice(sorted(settings))
            settings[key] = value if not isinstance(value, torch.Tensor) else None
            state["config"] = json.dumps(settings)
        elif what == "more":
            state["more"] = value
        elif what in ("gone", "value"):
            holder, key = _somewhere(state, steps)
            if what == "gone":
                del holder[key]
            else:
                holder[key] = value
        else:
            weights = state["state_dict"]
            key = steps.choice(sorted(weights))
            weights[key] = {
                "nan": lambda w: torch.full_like(w, torch.nan),
                "shape": lambda w: w[..., :-1].clone(),
                "kind": lambda w: w.double(),
            }[what](weights[key])
        if hashed == "as it was":
            state["digest"] = digest
        elif hashed == "anew":
            state["digest"] = digest_of(state)
        file = io.BytesIO()
        torch.save(state, file)
        return file.getvalue(), hashed

    return edit


def _somewhere(state, steps):
    """A container within a state and one of its keys or indices."""
    holder = state
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = steps.choice(keys)
        if not (isinstance(holder[key], (dict, list)) and holder[key]) or steps.random() < 0.1:
            return holder, key
        holder = holder[key]


# ---------------------------------------------------------------- the laws
@inputs(quick=30, long=900)
@given(damage=damages(), part=st.sampled_from(["best", "last"]))
def test_a_damaged_checkpoint_gives_the_stored_scores_or_a_refusal(trained, damage, part):
    kind = "checkpoint"
    with own_folder():
        files = beside(trained, **{part: damage(trained[2][part])})
        found, said = attempt(kind, lambda: scores(load_run(files[part])), (files[part].name,))
        if Path("evil").exists():
            raise Broken("code of a checkpoint was run")
        if said is None:
            accepted(kind, part == "last" or found == trained[3], "other scores than were stored")
        elif damage(trained[2][part]) == trained[2][part]:
            raise Broken(f"a whole checkpoint is refused: {said}")


@inputs(quick=8, long=250)
@given(damage=damages(), part=st.sampled_from(["best", "last", "last"]))
def test_a_run_goes_on_from_a_damaged_checkpoint_as_it_was_or_not_at_all(trained, damage, part):
    kind = "checkpoint to resume from"
    with own_folder():
        files = beside(trained, **{part: damage(trained[2][part])})
        settings = SETTINGS | {"resume": str(files["last"]), "epochs": 3}
        found, said = attempt(
            kind,
            lambda: run_recbole_diffusion("SASRec", "log", config_dict=settings),
            (files["last"].name, files["best"].name),
            leaves=RUN_LEAVES,
            leaves_refused=("log/", "log_tensorboard/"),
        )
        if said is None:
            right = found["test_result"] == trained[4]
            accepted(kind, right, f"{found['test_result']}, undamaged {trained[4]}")


@inputs(quick=30, long=700)
@given(edit=edits(), part=st.sampled_from(["best", "last"]), resume=st.booleans())
def test_an_edited_checkpoint_is_opened_or_refused_in_one_line(trained, edit, part, resume):
    with own_folder():
        content, hashed = edit(trained[2][part])
        kind = "edited checkpoint, " + {
            "as it was": "its old hash", "none": "no hash", "anew": "a new hash"
        }[hashed]  # fmt: skip
        files = beside(trained, **{part: content})

        def open_it():
            if not resume:
                found = load_run(files[part])
                return scores(found), found.trainer.evaluate(found.test_data, load_best_model=False)
            settings = SETTINGS | {"resume": str(files["last"]), "epochs": 3}
            return None, run_recbole_diffusion("SASRec", "log", config_dict=settings)["test_result"]

        found, said = attempt(
            kind,
            open_it,
            (files["last"].name, files["best"].name),
            leaves=RUN_LEAVES if resume else (),
            leaves_refused=RUN_LEAVES if resume else (),
        )
        if said is None:
            finite = all(0 <= value <= 1 for value in found[1].values())
            same = hashed != "as it was" or resume or part == "last" or found[0] == trained[3]
            accepted(kind, finite and same, f"{found[1]} out of an edited checkpoint")
