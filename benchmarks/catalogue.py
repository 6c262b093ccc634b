"""What do an evaluation and a training step take with a catalogue of a million items?

    python benchmarks/catalogue.py
    python benchmarks/catalogue.py --users 10000 --budgets 512
    python benchmarks/catalogue.py --part train --models ICDDT DimeRec --losses full sampled
    python benchmarks/catalogue.py --part bytes --items 200000

The data are made up: five interactions a user with items by Zipf's law, the other items in a file
of items, and so never trained. Models are not trained either. ``evaluate`` ranks all items for the
users' last interactions, without a budget and with each of ``--budgets``, ``eval_memory_mb``;
``train`` makes some steps with each loss; ``bytes`` is what a user of an evaluation adds to the
peak of memory, for an item. Each runs in a process of its own. Memory is what it holds at its peak
beyond what it held before, in MB; seconds are those of the processor.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from recbole_diffusion.config.config import Config
from recbole_diffusion.quick_start.quick_start import make_network, read_data
from recbole_diffusion.trainer.choose import get_trainer

EACH = 5  # interactions of a user
MB = 2**20


def made_up(folder, items, users):
    """Writes the files of a data set.

    Args:
        folder (Path): where.
        items (int): in the catalogue.
        users (int): how many.

    Returns:
        str: the name of the data set.
    """
    name = f"catalogue-{items}-{users}"
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    weight = np.cumsum(1 / np.arange(1, items + 1))
    drawn = np.random.default_rng(0).random((users, EACH)) * weight[-1]
    lines = [
        f"u{user}\ti{item}\t{time}\n"
        for user, row in enumerate(np.searchsorted(weight, drawn))
        for time, item in enumerate(row)
    ]
    head = "user_id:token\titem_id:token\ttimestamp:float\n"
    (path / f"{name}.inter").write_text(head + "".join(lines))
    rows = "".join(f"i{item}\n" for item in range(items))
    (path / f"{name}.item").write_text("item_id:token\n" + rows)
    return name


def memory(field):
    """``VmRSS``, what the process holds, or ``VmHWM``, its peak, in MB (float)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {field}")


class Measured:
    """Seconds of the processor and memory of a block, in ``seconds`` and ``MB``."""

    def __enter__(self):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        self.before, self.begin = memory("VmRSS"), time.process_time()
        return self

    def __exit__(self, *_):
        self.seconds = time.process_time() - self.begin
        self.MB = memory("VmHWM") - self.before


def assembled(arguments, **settings):
    """A fresh trainer and its loaders."""
    settings |= json.loads(arguments.settings)
    config = Config(
        arguments.model,
        arguments.name,
        config_dict={
            "data_path": arguments.folder,
            "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]},
            "eval_args": {"split": {"LS": "test_only"}, "order": "TO", "mode": "full"},
            "checkpoint_dir": f"{arguments.folder}/saved",
            "show_progress": False,
            "use_gpu": False,
            **settings,
        },
    )
    loaders = read_data(config)[1]
    train = loaders[0]._dataset
    torch.manual_seed(0)
    trainer = get_trainer(config)(config, make_network(config, train, None))
    trainer.attach(train)
    return trainer, loaders


def evaluated(arguments):
    """One evaluation: dict of seconds, MB, users at once, and a metric to compare."""
    budget = {} if arguments.budget == 0 else {"eval_memory_mb": arguments.budget}
    trainer, (_, _, test) = assembled(arguments, eval_users_per_batch=arguments.batch, **budget)
    with Measured() as measured:
        result = trainer.evaluate(test, load_best_model=False)
    return {
        "seconds": measured.seconds,
        "MB": measured.MB,
        "at once": test.step,
        "result": [result, trainer.never_trained],
    }


def trained(arguments):
    """Steps of training: dict of seconds a step, MB, rows a second."""
    size = {"train_batch_size": arguments.batch, "n_negatives": arguments.negatives}
    trainer, (train, _, _) = assembled(arguments, loss=arguments.loss, **size)
    model, optimizer = trainer.model.train(), trainer.optimizer
    seconds, rows = [], 0
    with Measured() as measured:
        for step, batch in zip(range(arguments.steps + 1), train):
            begin = time.process_time()
            optimizer.zero_grad()
            model.calculate_loss(batch).backward()
            optimizer.step()
            if step:  # the first makes what the optimiser keeps
                seconds.append(time.process_time() - begin)
                rows += int((batch["item_id"] > 0).sum())
    return {
        "seconds a step": sum(seconds) / len(seconds),
        "rows/s": rows / sum(seconds),
        "MB": measured.MB,
    }


def bytes_an_item(arguments):
    """What a user of an evaluation adds to the peak, for an item: dict."""
    peak = {}
    for users in (8, 40):
        trainer, (_, _, test) = assembled(arguments, eval_users_per_batch=users)
        with Measured() as measured:
            trainer.evaluate(test, load_best_model=False)
        peak[users] = measured.MB
    return {"bytes": (peak[40] - peak[8]) * MB / 32 / arguments.items}


PARTS = {"evaluate": evaluated, "train": trained, "bytes": bytes_an_item}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, default="evaluate")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--models", nargs="+", default=["ICDDT", "DimeRec"])
    parser.add_argument("--batch", type=int, default=512, help="users or rows at once")
    parser.add_argument("--budgets", nargs="+", type=float, default=[0, 2048, 512, 128])
    parser.add_argument("--losses", nargs="+", default=["full", "sampled"])
    parser.add_argument("--negatives", type=int, default=512)
    parser.add_argument("--steps", type=int, default=3, help="of training, after a first one")
    parser.add_argument("--settings", default='{"walk_steps": 1}', help="more of them, as JSON")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    for name in ("model", "name", "loss"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    parser.add_argument("--budget", type=float, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.model:
        print("FOUND " + json.dumps(PARTS[arguments.part](arguments)))
        return
    ways = {"evaluate": arguments.budgets, "train": arguments.losses, "bytes": [0]}
    print(f"{arguments.items} items, {arguments.users} users, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as folder:
        name = made_up(Path(folder), arguments.items, arguments.users)
        for model in arguments.models:
            first = None
            for way in ways[arguments.part]:
                key = "--loss" if arguments.part == "train" else "--budget"
                command = [sys.executable, __file__, *sys.argv[1:], f"--folder={folder}"]
                command += [f"--model={model}", f"--name={name}", f"{key}={way}"]
                run = subprocess.run(command, capture_output=True, text=True)
                if run.returncode:
                    print(f"{model} {way}: {run.stderr.strip().splitlines()[-1:]}", flush=True)
                    continue
                found = json.loads(run.stdout.split("FOUND ")[1])
                result = found.pop("result", None)
                first = first or result
                same = "" if result is None else f", same figures: {result == first}"
                shown = ", ".join(f"{value:.4g} {name}" for name, value in found.items())
                print(f"{model} {way}: {shown}{same}", flush=True)


if __name__ == "__main__":
    main()
