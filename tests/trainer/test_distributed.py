"""Several processes do what one does: the same rows, the same steps, the same metrics."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from several import Several as Processes
from several import command as run_command
from several import differing, evaluated, faulty, in_several, run, seeds, trained_by_content
from warm import until

from recbole_diffusion.data.batch_randomness import NOT_OURS
from recbole_diffusion.testing.laws import differences
from recbole_diffusion.trainer import checkpoint

REPOSITORY = Path(__file__).resolve().parents[2]

# What a model draws while it trains, but for levels and noise, turned off.
QUIET = {
    "SASRec": {"attn_dropout_prob": 0, "hidden_dropout_prob": 0},
    "GRU4Rec": {"dropout_prob": 0},
    "NARM": {"dropout_probs": [0, 0], "embedding_size": 8, "hidden_size": 8},
    "ICDDT": {"hidden_dropout_prob": 0, "embedding_dropout_prob": 0, "adam_betas": None},
    "DiffuRec": {"hidden_dropout_prob": 0, "embedding_dropout_prob": 0},
    "DreamRec": {"dropout_prob": 0, "guidance_dropout": 0},
    "DimeRec": {"dropout_prob": 0, "negatives": "batch"},
    "DiffRec": {},
    "TDiffRec": {},
    "LDiffRec": {},
    "LTDiffRec": {},
}
WALK = {"reweight": False, "noise_scale": 1.0, "steps": 3}  # losses of one size at all levels
FAST = ()


def slow_but(fast, names):
    return [pytest.param(n, marks=[] if n in fast else pytest.mark.slow, id=n) for n in names]


# ---------------------------------------------------------------- rows
def rows_of(loader, share):
    """The rows of each batch that a process gets, as texts; a row that is another's left out."""
    loader.share, order = share, loader.generator.get_state()
    batches = []
    for rows in loader:
        if NOT_OURS in rows:
            batches.append([])
            continue
        fields = [rows[name] for name in sorted(rows.columns)]
        # windows are padded to the longest of those beside them
        texts = [str([field[i].tolist() for field in fields]) for i in range(len(rows))]
        batches.append([text.replace(", 0", "") for text in texts])
    loader.share = (0, 1)
    loader.generator.set_state(order)
    return batches


def together(loader, processes):
    """The batches of all processes, rows put in turns."""
    parts = [rows_of(loader, (number, processes)) for number in range(processes)]
    turns = [[row for part in batch for row in part] for batch in zip(*parts)]
    return [sorted(rows) for rows in turns]


@pytest.mark.parametrize("model", ["SASRec", "DreamRec", "DiffRec"])
@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_processes_share_every_batch_without_dropped_or_repeated_rows(
    model, batch_size, shop, small, build_data
):
    settings = small(model, train_batch_size=batch_size, crop_history=False) | {"shuffle": True}
    _, _, (train, _, _) = build_data(shop / "dataset", model, "shop", **settings)
    whole = together(train, 1)
    assert len(whole) > 1 or batch_size == 64
    for processes in (2, 3):
        shared = together(train, processes)
        assert shared == whole
    shared[-1] = shared[-1][1:]
    assert shared != whole  # the control


@pytest.mark.parametrize("model", ["SASRec", "DiffRec"])
def test_processes_take_turns_at_whole_batches_of_an_evaluation(model, shop, small, build_data):
    settings = small(model, eval_users_per_batch=5)
    _, _, (_, _, test) = build_data(shop / "dataset", model, "shop", **settings)

    def batches(share):
        test.share = share
        return [positives.tolist() for _, _, _, positives in test]

    whole = batches((0, 1))
    assert len(whole) > 5
    for processes in (2, 3, 50):
        parts = [batches((number, processes)) for number in range(processes)]
        assert [parts[n % processes][n // processes] for n in range(len(whole))] == whole
        assert sum(map(len, parts)) == len(whole)


# ---------------------------------------------------------------- training
@pytest.mark.parametrize("model", slow_but(FAST, QUIET))
def test_several_processes_take_the_steps_of_one(model, shop, small):
    settings = small(model, learner="sgd", learning_rate=0.1, train_batch_size=30, epochs=3)
    settings |= QUIET[model] | (WALK if "DiffRec" in model else {})
    level = 2 if model in ("DreamRec", "DimeRec") else None  # their targets are of no fixed place
    found = []
    for processes in (1, 2) if model in FAST else (1, 2, 3):
        in_several(processes, trained_by_content, model, settings, "found.pt", level)
        found.append(torch.load("found.pt"))
    one, *others = found
    for other in others:
        torch.testing.assert_close(other["weights"], one["weights"], rtol=1e-5, atol=2e-6)
        assert other["score"] == one["score"]


KEPT = ("state_dict", "optimizers", "random", "loaders", "best_valid_score", "epoch")


def last_state(folder):
    """What the last checkpoint in a folder holds that is not of the clock."""
    (file,) = folder.glob("*.last.pth")
    state = checkpoint.load(file)
    return checkpoint.encode({key: state[key] for key in KEPT})


@pytest.mark.slow
@pytest.mark.parametrize("begun, others", [(2, (1, 3)), (3, ())])  # sums of three have an order
def test_a_run_goes_on_bit_by_bit_with_as_many_processes_and_goes_on_with_others(
    begun, others, shop, small
):
    in_several(begun, run, "DiffRec", small("DiffRec", checkpoint_dir="whole", epochs=4))
    whole = last_state(shop / "whole")
    for processes in (begun, *others):
        cut = small("DiffRec", checkpoint_dir=f"cut{processes}", epochs=2)
        in_several(begun, run, "DiffRec", cut)
        in_several(processes, run, "DiffRec", cut | {"epochs": 4, "resume": True})
        state = last_state(shop / f"cut{processes}")
        assert bool(differences(whole, state)) == (processes != begun)
        assert state["epoch"] == 3
        assert not differences(whole["loaders"], state["loaders"])  # the same rows, in one order


@pytest.mark.slow
def test_each_process_draws_numbers_of_its_own_in_each_epoch(shop, small):
    said = in_several(2, seeds, small("SASRec", train_batch_size=10_000)).said()
    found = [line for text in said for line in text.splitlines() if line.startswith("seed ")]
    assert len(found) == len(set(found)) == 4  # two processes, two epochs of a batch


@pytest.mark.slow
def test_all_end_when_the_time_of_one_is_up(shop, small):
    settings = small("SASRec", epochs=10_000, stopping_step=10_000, max_train_seconds=2.0)
    in_several(2, run, "SASRec", settings | {"result_file": "result.json"})
    assert json.loads((shop / "result.json").read_text())["stopped_by"] == "max_train_seconds"


# ---------------------------------------------------------------- evaluation
EVALUATED = {
    "SASRec": {"metrics": ["Hit", "NDCG", "GAUC", "ItemCoverage", "AveragePopularity"]},
    "ICDDT": {},
    "DiffuRec": {},
    "DreamRec": {"reverse_noise": True},
    "DimeRec": {"reverse_noise": True},
    "DiffRec": {"sampling_noise": True, "noise_scale": 1.0},
    "LDiffRec": {"sampling_steps": 3, "noise_scale": 1.0},
    "TDiffRec": {"candidates": "trained"},
    "LTDiffRec": {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "uni9"}},
}


@pytest.mark.slow
@pytest.mark.parametrize("model", EVALUATED)
def test_metrics_of_several_processes_are_those_of_one_to_the_last_digit(model, shop, small):
    with open("dataset/shop/shop.inter", "a") as file:  # items that nobody has in training
        file.writelines(f"u{user}\ti20\tbuy\t99\n" for user in range(0, 40, 3))
    settings = small(model, epochs=1, **EVALUATED[model]) | {"metric_decimal_place": 16}
    in_several(1, run, model, settings)
    (best,) = shop.glob("saved/*.best.pth")
    found = []
    for processes in (1, 2, 3):
        in_several(processes, evaluated, best, "found.json", {"eval_users_per_batch": 7})
        found.append(json.loads((shop / "found.json").read_text()))
    assert found[1] == found[0]
    assert found[2] == found[0]
    assert found[0]["valid"] != found[0]["test"]  # the control
    if model != "LTDiffRec":  # whose candidates are drawn
        assert found[0]["test audit"]["items"] == 1


# ---------------------------------------------------------------- files, words, ends
@pytest.mark.slow
def test_one_process_writes_the_files_and_speaks(shop, small):
    several = in_several(2, run, "SASRec", small("SASRec", result_file="result.json"))
    assert len(list(shop.glob("log/SASRec/*.log"))) == 1
    assert len(list(shop.glob("log_tensorboard/*"))) == 1
    assert len(list(shop.glob("saved/*"))) == 2
    assert json.loads((shop / "result.json").read_text())["processes"] == 2
    first, second = several.said()
    assert "epoch 2 of 2: loss" in first
    assert second == ""


def outcome(several):
    """Exit codes, and what was said of the end."""
    codes = several.end()
    lines = [line for text in several.said() for line in text.splitlines()]
    assert not any("Traceback" in line for line in lines), lines
    return codes, [line for line in lines if line.startswith("recbole-diffusion: ")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments, words",
    [
        (("run", "--model=EASE", "--dataset=shop"), "fitted in one pass"),
        (("run", "--model=MarkovChain", "--dataset=shop"), "fitted in one pass"),
        (("run", "--model=LightGCN", "--dataset=shop"), "mean_loss"),
        (("run", "--model=SASRec", "--dataset=shop", "--no_such_key=1"), "no_such_key"),
        (("run", "--model=SASRec", "--dataset=nowhere"), "nowhere"),
        (("run", "--model=SASRec", "--dataset=shop", "--resume=no.last.pth"), "no.last.pth"),
        (("benchmark", "plan.yaml"), "leave torchrun out"),
    ],
)
def test_a_mistake_is_said_once(arguments, words, shop):
    codes, lines = outcome(Processes(2, run_command, list(arguments)))
    assert codes == [2, 2]
    (line,) = lines
    assert words in line


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault, code, words",
    [
        ("loss", 2, "training loss is nan"),
        ("scores", 2, "scores of SASRec are not finite"),
        ("killed", -signal.SIGKILL, "another process of the run is gone"),
    ],
)
def test_what_happens_to_one_process_ends_all_and_is_said_once(fault, code, words, shop, small):
    settings = small("SASRec", eval_users_per_batch=7)
    arguments = [f"--{key}={value}" for key, value in settings.items()]
    several = Processes(2, faulty, fault, ["run", "--model=SASRec", "--dataset=shop", *arguments])
    codes, lines = outcome(several)
    assert codes[1] == code and codes[0] in (1, 2)
    (line,) = lines
    assert words in line


@pytest.mark.slow
def test_processes_that_do_not_do_the_same_are_refused(shop):
    arguments = [
        "run",
        "--model=SASRec",
        "--dataset=shop",
        "--use_gpu=False",
        "--data_path=dataset",
    ]
    codes, lines = outcome(Processes(2, differing, arguments))
    assert codes == [2, 2]
    assert "process 2 of 2 has other settings than the first one" in lines[0] and len(lines) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "model, settings",
    [
        ("DreamRec", {"pretrain": "SASRec", "pretrain_settings": {"inner_size": 8, "n_heads": 1}}),
        ("ICDDT", {"truncation": "auto", "eval_users_per_batch": 7}),
    ],
)
def test_what_stands_beside_the_training_is_done_with_several_processes_too(
    model, settings, shop, small
):
    several = in_several(2, run, model, small(model, **settings))
    first, second = several.said()
    assert second == ""
    assert ("steps from here on" if model == "ICDDT" else "training SASRec first") in first


# ---------------------------------------------------------------- torchrun itself
def torchrun(count, *arguments):
    """A command of torchrun, as a process."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    program = REPOSITORY / "run_recbole_diffusion.py"
    paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [*command, f"--nproc_per_node={count}", str(program), "--dataset=shop", *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_one_process_of_torchrun_is_a_run_without_it_bit_by_bit(shop, small):
    settings = small("DreamRec")
    run("DreamRec", settings | {"checkpoint_dir": "without"})
    arguments = [f"--{key}={value}" for key, value in settings.items()]
    process = torchrun(1, "--model=DreamRec", "--checkpoint_dir=with", *arguments)
    said, _ = process.communicate(timeout=900)
    assert process.returncode == 0, said
    for kind in ("best", "last"):
        states = [
            checkpoint.load(next(shop.glob(f"{f}/*.{kind}.pth"))) for f in ("without", "with")
        ]
        for state in states:
            for of_the_clock in ("config", "seconds", "budget_seconds", "curve"):
                state.pop(of_the_clock, None)
        assert not differences(*map(checkpoint.encode, states))


@pytest.mark.slow
def test_torchrun_trains_and_a_sigterm_ends_it_so_that_it_can_go_on(shop, small):
    settings = small("SASRec", epochs=100_000, stopping_step=100_000)
    arguments = [f"--{key}={value}" for key, value in settings.items()]
    process = torchrun(2, "--model=SASRec", *arguments)
    until(lambda: list(shop.glob("saved/*.last.pth")) or process.poll() is not None)
    process.terminate()
    said, _ = process.communicate(timeout=900)
    assert said.count("recbole-diffusion: terminated") == 1, said
    assert process.returncode != 0
    (last,) = shop.glob("saved/*.last.pth")
    done = checkpoint.load(last)["epoch"] + 1
    arguments.remove("--epochs=100000")
    more = ["--resume", f"--epochs={done + 2}", "--result_file=result.json"]
    process = torchrun(2, "--model=SASRec", *arguments, *more)
    said, _ = process.communicate(timeout=900)
    assert process.returncode == 0, said
    result = json.loads((shop / "result.json").read_text())
    assert (result["epochs"], result["processes"]) == (done + 2, 2)
