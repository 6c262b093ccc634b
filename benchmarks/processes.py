"""Two processes on two cores against one process with two threads: how fast does each train?

``python benchmarks/processes.py`` trains each model on a made-up log, the ways in turn and
several times over, and prints targets a second of both and their ratio. One process with one thread
is measured too: on a machine that others use, two threads wait for each other.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from recbole_diffusion.testing.made_up import chain, write

REPOSITORY = Path(__file__).resolve().parents[1]
COMMON = {
    "dataset": "log",
    "data_path": ".",
    "use_gpu": False,
    "show_progress": False,
    "MAX_ITEM_LIST_LENGTH": 50,
    "hidden_size": 64,
    "eval_step": 0,
    "state": "ERROR",
    "result_file": "result.json",
}
MODELS = {
    "ICDDT": {"train_batch_size": 512, "n_layers": 2, "n_heads": 2, "truncation": 1.0},
    "SASRec": {"train_batch_size": 512, "n_layers": 2, "n_heads": 2, "inner_size": 256},
    "DreamRec": {"train_batch_size": 512},
}
ONE = [sys.executable]
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
WAYS = (ONE, 2), (ONE, 1), (TWO, 1)  # with how many threads


def seconds(start, threads, settings, folder):
    """Seconds that a run trains, as its result has them."""
    paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    subprocess.run(
        [*start, str(REPOSITORY / "run_recbole_diffusion.py")]
        + [f"--{key}={value}" for key, value in settings.items()],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return json.loads((folder / "result.json").read_text())["train_seconds"]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--items", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=2)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, "log", chain(asked.users, asked.items, 50, follow=0.5))
        targets = asked.users * 47 * asked.epochs  # all but the first, and two held out
        print(f"{asked.users} users with 50 interactions, {asked.items} items, D 64, L 50")
        for model in asked.models.split(","):
            settings = COMMON | MODELS[model] | {"model": model, "epochs": asked.epochs}
            found = []
            for _ in range(asked.times):
                took = [seconds(*way, settings, folder) for way in WAYS]
                found.append(took)
                print(f"{model}:", *took, "s", file=sys.stderr, flush=True)
            rates = [targets / median(took) for took in zip(*found)]
            ratios = [[took[way] / took[-1] for took in found] for way in (0, 1)]
            shown = [", ".join(f"{ratio:.2f}" for ratio in sorted(each)) for each in ratios]
            print(
                f"{model}: one process {rates[0]:.0f} targets/s, with one thread {rates[1]:.0f}, "
                f"two processes {rates[2]:.0f}\n"
                f"  two to one {median(ratios[0]):.2f} ({shown[0]}), with one thread "
                f"{median(ratios[1]):.2f} ({shown[1]})",
                flush=True,
            )


if __name__ == "__main__":
    main()
