"""How fast is each model, and how much memory does it take, beside RecBole's or the plain path?

A line a model: ours, then in a process of its own what it is compared with, with the same settings.
That is RecBole's model of the same name where there is one; else the plain path: one row per
prefix, padded to L, in any order, with a walk step by step over all items. Training is timed with
data and optimiser, scoring without masking and metrics, both until the time is up. Memory is the
peak of the process, with libraries and data.
"""

import json
import resource
import subprocess
import sys
import time

import torch
from speed_icddt import PlainICDDT

from recbole_diffusion.config.config import Config
from recbole_diffusion.data.choose import get_dataset
from recbole_diffusion.data.dataloader import prepare_data
from recbole_diffusion.quick_start.quick_start import make_network
from recbole_diffusion.trainer.choose import get_trainer

ROWS = {"all_positions": False, "crop_history": False, "length_buckets": False}
# Model, data, settings of both, then what it is compared with: another model, other settings.
PAIRS = [
    ("ICDDT", "jd", {"walk_steps": None}, "PlainICDDT", ROWS),
    ("DreamRec", "zhihu", {}, "DreamRec", ROWS | {"sampler": "ancestral"}),
    ("DimeRec", "zhihu", {}, "DimeRec", ROWS),
    ("DiffuRec", "beauty", {}, "DiffuRec", ROWS),
    ("DiffRec", "ml-1m-diffrec", {}, "recbole:DiffRec", {}),
    ("TDiffRec", "ml-1m-diffrec", {}, "TDiffRec", {}),
    ("LDiffRec", "ml-1m-diffrec", {"n_cate": 1}, "recbole:LDiffRec", {"n_cate": 1}),
    ("LTDiffRec", "ml-1m-diffrec", {"n_cate": 1}, "LTDiffRec", {}),
    ("SASRec", "ml-1m", {"MAX_ITEM_LIST_LENGTH": 200}, "recbole:SASRec", {}),
    ("GRU4Rec", "ml-1m", {"MAX_ITEM_LIST_LENGTH": 200}, "recbole:GRU4Rec", {}),
    ("MarkovChain", "jd", {}, None, {}),
]
OF_BOTH = (  # settings of the published runs that RecBole's model is given too
    "noise_schedule", "noise_scale", "noise_min", "noise_max", "beta_fixed", "steps", "dims_dnn",
    "train_batch_size", "in_dims", "out_dims",
)  # fmt: skip


def add_options(parser):
    """Adds what can be set to a parser."""
    parser.add_argument("--seconds", type=float, default=20, help="of training, and of scoring")
    parser.add_argument("--models", help="names, parted by commas; all by default")


def n_targets(rows, config):
    """How many targets a batch has: one a row, or one an item that is followed by another."""
    items = rows[config["ITEM_ID_FIELD"]] if config["ITEM_ID_FIELD"] in rows else None
    return len(rows) if items is None or items.dim() == 1 else int((items > 0).sum())


def until(seconds, work, things):
    """Rows a second that ``work`` does, which takes a thing and says how many; two to warm up."""
    done, begin, count = 0, time.perf_counter(), 0
    while True:
        for thing in things:
            n = work(thing)
            count += 1
            if count == 2:
                done, begin = 0, time.perf_counter()
                continue
            done += n
            passed = time.perf_counter() - begin
            if count > 3 and passed > seconds:
                return done / passed


def side(name, dataset, settings, seconds, data_path, plain):
    """One model, in this process.

    Args:
        name (str): the model; PlainICDDT is that of speed_icddt.py.
        dataset (str), settings (dict): what it has.
        seconds (float): how long to train and to score.
        data_path (str): where the data are.
        plain (bool): whether models of rows walk over all items.

    Returns:
        dict of str to float: ``training`` and ``scoring``, rows a second; ``memory``, MiB.
    """
    settings = {"data_path": data_path, "show_progress": False, "state": "ERROR"} | settings
    config = Config(PlainICDDT if name == "PlainICDDT" else name, dataset, config_dict=settings)
    train, valid, _ = prepare_data(config, get_dataset(config)(config))
    torch.manual_seed(0)
    model = make_network(config, train.dataset, None)
    optimizer = get_trainer(config)(config, model).optimizer
    if plain and hasattr(model, "walks_without_items"):
        model.walks_without_items = False

    def step(rows):
        optimizer.zero_grad()
        model.calculate_loss(rows).backward()
        optimizer.step()
        return n_targets(rows, config)

    def score(batch):
        with torch.no_grad():
            model.full_sort_predict(batch[0])
        return len(batch[0])

    training = None
    if name != "MarkovChain":  # it counts
        model.train()
        training = until(seconds, step, train)
    model.eval()
    scoring = until(seconds, score, valid)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"training": training, "scoring": scoring, "memory": memory}


def measured(*arguments):
    """`side` in a process of its own."""
    command = [sys.executable, __file__, json.dumps(arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(arguments):
    """Prints a table, a line a model; takes the parsed arguments."""
    print(f"{torch.get_num_threads()} threads\n")
    print(
        "| model, data | training, targets or users/s | ratio | scoring, rows/s | ratio "
        "| peak MiB | compared with (its training, scoring, MiB) |\n|---|--:|--:|--:|--:|--:|---|"
    )
    for name, dataset, settings, other, changes in PAIRS:
        if arguments.models and name not in arguments.models.split(","):
            continue
        ours = measured(name, dataset, settings, arguments.seconds, arguments.data_path, False)
        cells, words = ["", ""], "nothing"
        if other is not None:
            given = settings | changes
            if other.startswith("recbole:"):
                config = Config(name, dataset)
                given |= {key: config[key] for key in OF_BOTH if config[key] is not None}
            theirs = measured(other, dataset, given, arguments.seconds, arguments.data_path, True)
            cells = [f"{ours[what] / theirs[what]:.2f}" for what in ("training", "scoring")]
            label = other if other.startswith("recbole:") else "the plain path"
            words = (
                f"{label} ({theirs['training']:.0f}, {theirs['scoring']:.0f}, "
                f"{theirs['memory']:.0f})"
            )
        training = "" if ours["training"] is None else f"{ours['training']:.0f}"
        print(
            f"| {name}, {dataset} | {training} | {cells[0]} | {ours['scoring']:.0f} | {cells[1]} "
            f"| {ours['memory']:.0f} | {words} |",
            flush=True,
        )


if __name__ == "__main__":
    print(json.dumps(side(*json.loads(sys.argv[1]))))
