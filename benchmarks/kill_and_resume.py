"""Is a training that was killed, again and again, the training it would have been?

Every model trains on a small made-up data set. The process is killed by SIGKILL: at any moment, in
the middle of an evaluation, and in the middle of writing a checkpoint; then the same command goes
on with ``--resume``. At its end the weights of the last and of the best model, all metrics and the
curve are compared, bit for bit, with those of a run left alone::

    python benchmarks/kill_and_resume.py --kills=20
    python benchmarks/kill_and_resume.py --models=ICDDT,SASRec --kills=5

Exit code 1 if anything differs. The processes are forked from this one, whose libraries are loaded,
so that a start takes a moment; POSIX only.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import recbole.model.general_recommender  # noqa: F401
import recbole.model.sequential_recommender  # noqa: F401
import torch
import torch._dynamo  # noqa: F401 - the first optimiser imports it

from recbole_diffusion.quick_start.quick_start import run_recbole_diffusion
from recbole_diffusion.testing.made_up import chain, write
from recbole_diffusion.trainer import checkpoint
from recbole_diffusion.trainer.content import digest_of
from recbole_diffusion.trainer.evaluation import EvaluationHooks

ATTENTION = {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1}
CLUSTERS = {"dims_dnn": [8], "in_dims": [4], "n_cate": 2, "cluster_epochs": 1}
MODELS = {
    "ICDDT": {"hidden_size": 8, "n_layers": 1, "diffusion_steps": 4, "truncation": 1.0},
    "DreamRec": {"hidden_size": 8, "diffusion_steps": 4, "lr_scheduler": {"patience": 0}},
    "DimeRec": {"hidden_size": 8, "diffusion_steps": 4, "sampling_steps": 2, "n_negatives": 5},
    "DiffuRec": {"hidden_size": 8, "n_layers": 1, "n_heads": 1, "diffusion_steps": 4},
    "DiffRec": {"dims_dnn": [8]},
    "LDiffRec": CLUSTERS,
    "TDiffRec": {"dims_dnn": [8]},
    "LTDiffRec": CLUSTERS,
    "MarkovChain": {},
    "SASRec": ATTENTION,
    "LightGCN": {"embedding_size": 8, "n_layers": 1},
    "BERT4Rec": ATTENTION,
}
MOMENTS = ("any", "evaluation", "writing")
SETTINGS = {
    "epochs": 8,
    "eval_step": 1,
    "stopping_step": 100,
    "train_batch_size": 64,
    "eval_users_per_batch": 16,
    "MAX_ITEM_LIST_LENGTH": 6,
    "BEHAVIOR_FIELD": "behavior",
    "target_behavior": "buy",
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
    "use_gpu": False,
    "show_progress": False,
    "state": "ERROR",
    "resume": True,  # from the newest checkpoint, if there is one
}
LONGEST = 300  # seconds of one process; more is counted as a hang


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_evaluation(batch):
    """Has this process die when it ranks its ``batch``-th batch."""
    ranks, left = EvaluationHooks._full_sort_batch_eval, [batch]

    def watched(self, rows):
        left[0] -= 1
        if left[0] == 0:
            die()
        return ranks(self, rows)

    EvaluationHooks._full_sort_batch_eval = watched


def die_while_writing(which, share):
    """Has this process die when a share of its ``which``-th checkpoint is written."""
    save, left = torch.save, [which]

    class Dying:
        def __init__(self, file, size):
            self.file, self.left = file, size

        def write(self, data):
            if len(data) >= self.left:
                self.file.write(bytes(data)[: self.left])
                self.file.flush()
                die()
            self.left -= len(data)
            return self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

    def watched(content, file):
        left[0] -= 1
        if left[0] == 0:
            sizes = [value.nbytes for value in content["state_dict"].values()]
            file = Dying(file, max(1, int(share * (sum(sizes) + 1000))))
        save(content, file)

    torch.save = watched


def train(model, folder, moment=None, numbers=()):
    """What a process does: it trains, or goes on training, and writes down what came out."""
    os.chdir(folder)
    said = os.open("said.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    if moment == "evaluation":
        die_in_evaluation(*numbers)
    elif moment == "writing":
        die_while_writing(*numbers)
    try:
        result = run_recbole_diffusion(model, "chain", config_dict=SETTINGS | MODELS[model])
        Path("result.json").write_text(json.dumps(outcome(result)))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def outcome(result):
    """What has to be equal of two runs."""
    best = Path(result["checkpoint"])
    states = [checkpoint.load(file) for file in (best, str(best).replace(".best.", ".last."))]
    parts = ("state_dict", "other_parameter", "tokens", "interactions", "epoch", "best_epoch")
    return {
        "test": result["test_result"],
        "valid": result["best_valid_result"],
        "epochs": [result["best_epoch"], result["epochs"], result["stopped_by"]],
        "curve": [[epoch, score] for epoch, _, score in states[1]["curve"]],
        "contents": [
            digest_of([checkpoint.encode(state[part]) for part in parts]) for state in states
        ],
        "random": digest_of(checkpoint.encode([states[1]["random"], states[1]["loaders"]])),
    }


def ended(process, seconds=None):
    """Waits for a process, kills it after some seconds, and says how it ended."""
    process.join(seconds or LONGEST)
    hung = process.is_alive()
    if hung:
        process.kill()
        process.join()
    return "hung" if hung and seconds is None else process.exitcode


class Series:
    """Trainings of a model that are killed until there were so many kills.

    Attributes:
        kills (dict): how many at each kind of moment.
        resumed (int): kills after which there was a checkpoint to go on from.
        trainings (int): that came to their end.
        faults (list of str): what differed.
    """

    def __init__(self, model, folder, seed):
        self.model, self.folder = model, Path(folder)
        self.draw = random.Random(f"{model} {seed}")
        self.kills, self.resumed, self.trainings = dict.fromkeys(MOMENTS, 0), 0, 0
        self.faults = []

    def begin(self, name, *arguments):
        """Starts a process in a folder of the series."""
        folder = self.folder / name
        if not folder.is_dir():
            folder.mkdir(parents=True)
            write(folder / "dataset", "chain", chain(n_users=80, n_items=30, follow=0.8))
        context = multiprocessing.get_context("fork")
        process = context.Process(target=train, args=(self.model, folder, *arguments))
        process.start()
        return process

    def run(self, kills):
        """Trains once without a kill, and then until there were so many."""
        start = time.monotonic()
        if ended(self.begin("alone")) != 0:
            self.faults.append((self.folder / "alone" / "said.log").read_text()[-500:])
            return
        whole = time.monotonic() - start
        alone = json.loads((self.folder / "alone" / "result.json").read_text())
        while sum(self.kills.values()) < kills and not self.faults:
            self.until_the_end(f"killed-{self.trainings}", kills, whole, alone)

    def until_the_end(self, name, kills, whole, alone):
        """One training, killed and continued until it is over."""
        folder = self.folder / name
        while True:
            moment, numbers, seconds = None, (), None
            if sum(self.kills.values()) < kills:
                moment = min(MOMENTS, key=lambda kind: (self.kills[kind], self.draw.random()))
                if moment == "any":
                    seconds = self.draw.uniform(0.02, 0.6) * whole
                elif moment == "evaluation":
                    numbers = (self.draw.randrange(1, 12),)
                else:
                    numbers = (self.draw.randrange(1, 5), self.draw.random())
            code = ended(self.begin(name, moment, numbers), seconds)
            if code == 0:
                break
            if code != -signal.SIGKILL:
                said = (folder / "said.log").read_text()[-500:]
                self.faults.append(f"after {self.kills} a process ended with {code}: {said}")
                return
            self.kills[moment] += 1
            self.resumed += any(folder.glob("saved/*.last.pth"))
        self.trainings += 1
        found = json.loads((folder / "result.json").read_text())
        self.faults += [f"{key} differs in {name}" for key in alone if found[key] != alone[key]]
        if list(folder.glob("saved/*.writing")):
            self.faults.append(f"{name} left a half-written file")

    def row(self):
        """str: the row of the table."""
        counts = " | ".join(str(self.kills[kind]) for kind in MOMENTS)
        equal = "yes" if not self.faults else "NO: " + " ".join(self.faults[0].split())[-200:]
        total = sum(self.kills.values())
        return (
            f"| {self.model} | {total} | {counts} | {self.resumed} | {self.trainings} | {equal} |"
        )


def main(arguments=None):
    """Prints a table, a row a model.

    Returns:
        int: exit code; 1 if a run that was killed differs from the one left alone.
    """
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="of each model; default: 20")
    parser.add_argument("--models", default=",".join(MODELS), help="default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments; default: 0")
    parser.add_argument("--folder", help="for the runs' files; default: a temporary one")
    options = parser.parse_args(arguments)
    names = options.models.split(",")
    unknown = set(names) - set(MODELS)
    if unknown:
        parser.error(f"no model {sorted(unknown)[0]} here; there are {', '.join(MODELS)}")
    torch.set_num_threads(1)
    torch.autograd.set_detect_anomaly(False)  # RecBole's SINE turns it on for every model
    os.environ["OMP_NUM_THREADS"] = "1"
    print(
        "| model | kills | at any moment | in evaluation | while writing | with a checkpoint |"
        " whole trainings | equal bit for bit |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    failed = False
    with contextlib.ExitStack() as stack:
        folder = options.folder or stack.enter_context(tempfile.TemporaryDirectory())
        for name in names:
            series = Series(name, Path(folder, name), options.seed)
            shutil.rmtree(series.folder, ignore_errors=True)
            series.run(options.kills)
            failed = failed or bool(series.faults)
            print(series.row(), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
