"""Several processes of one run, as torchrun starts them, with the libraries imported."""

import os
import signal
import socket
import sys
from pathlib import Path

import torch
from warm import Process, until

from recbole_diffusion import ranks
from recbole_diffusion.config.files import write_json
from recbole_diffusion.diffusion.timesteps import LossSecondMoment, TimestepSampler
from recbole_diffusion.model.general_recommender import diffrec, ldiffrec
from recbole_diffusion.model.sequential_recommender.sasrec import SASRec
from recbole_diffusion.quick_start.quick_start import run_recbole_diffusion
from recbole_diffusion.saved_run import load_run
from recbole_diffusion.trainer import checkpoint


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Several:
    """Calls of a function in new processes that know each other.

    Args:
        count (int): how many.
        function (callable): of a module that a new process can import.
        arguments: of the function.
    """

    def __init__(self, count, function, *arguments):
        port, self.processes = free_port(), []
        for rank in range(count):
            known = {
                "TORCHELASTIC_RUN_ID": "test",
                "WORLD_SIZE": str(count),
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "OMP_NUM_THREADS": "1",
            }
            process = Process()
            process.file = Path(f"said-by-{rank}").resolve()
            process.file.write_bytes(b"")
            process.start(function, arguments, None, str(process.file), os.environ | known)
            self.processes.append(process)

    def end(self):
        """Their exit codes, when all have ended (list of int)."""
        until(lambda: all(one.poll() is not None for one in self.processes))
        return [one.returncode for one in self.processes]

    def said(self):
        """What each said (list of str)."""
        return [one.file.read_text() for one in self.processes]


def in_several(count, function, *arguments):
    """Calls a function in several processes and waits until they have ended, all of them well."""
    several = Several(count, function, *arguments)
    assert several.end() == [0] * count, "\n".join(several.said())
    return several


def run(model, settings):
    """A run, whose result the first process writes to ``result_file``."""
    run_recbole_diffusion(model, "shop", config_dict=settings)


def seeds(settings):
    """A run of SASRec that says which seed each training batch finds."""
    loss = SASRec.calculate_loss

    def saying(self, rows):
        print("seed", torch.initial_seed())
        return loss(self, rows)

    SASRec.calculate_loss = saying
    run("SASRec", settings)


def differing(arguments):
    """A command with another learning rate in each process."""
    command([*arguments, f"--learning_rate=0.{os.environ['RANK']}1"])


def evaluated(file, result_file, settings):
    """Validation and test metrics of a checkpoint, with never-trained items barred too."""
    ranks.begin()
    saved = load_run(file, **settings)
    saved.trainer.eval_collector.data_collect(saved.train_data)  # as ``fit`` does
    found = {}
    for name, data in (("valid", saved.valid_data), ("test", saved.test_data)):
        found[name] = saved.trainer.evaluate(data, load_best_model=False)
        found[f"{name} audit"] = saved.trainer.never_trained
    if ranks.first():
        write_json(result_file, found)


def trained_by_content(model, settings, file, level=None):
    """Trains with noise that follows from the data alone, and writes the weights.

    Levels follow from the place in the batch, or are all the same.
    """

    def levels(self, batch_size):
        t = torch.full((batch_size,), level or 1)
        if level is None:
            place = torch.arange(batch_size) * ranks.count() + ranks.rank()
            t = place % self.steps + 1
        learns = isinstance(self, LossSecondMoment)
        return t, 1 / (self.steps * self.probabilities[t]) if learns else torch.ones(batch_size)

    diffrec.DROPOUT = ldiffrec.DROPOUT = 0.0  # they have no key
    torch.randn_like = lambda x: (37 * x.detach()).sin() + 0.1
    TimestepSampler.sample = levels
    result = run_recbole_diffusion(model, "shop", config_dict=settings)
    last = checkpoint.load(result["checkpoint"].replace(".best.", ".last."))
    if ranks.first():
        torch.save({"weights": last["state_dict"], "score": last["best_valid_score"]}, file)


def faulty(fault, arguments):
    """A command with SASRec, in which something happens to the second process."""
    loss, scores = SASRec.calculate_loss, SASRec.full_sort_predict

    def faulty_loss(self, rows):
        if ranks.rank() == 1 and fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        factor = torch.nan if ranks.rank() == 1 and fault == "loss" else 1.0
        return loss(self, rows) * factor

    def faulty_scores(self, rows):
        factor = torch.nan if ranks.rank() == 1 and fault == "scores" else 1.0
        return scores(self, rows) * factor

    SASRec.calculate_loss, SASRec.full_sort_predict = faulty_loss, faulty_scores
    command(arguments)


def command(arguments):
    """A command line; its exit code is the process's."""
    from recbole_diffusion.cli.main import main

    sys.exit(main(arguments))
