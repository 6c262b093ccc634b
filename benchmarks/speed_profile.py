"""Where does the time of a training step go, for each model here on its published setting?

The step is timed without the profiler first. Then the same number of steps runs under
`torch.profiler`: each kind of operation has its share of the seconds that operations take, and what
is left of the step's seconds is Python and the calls themselves.
"""

import re
import time

import torch
from torch.profiler import ProfilerActivity, profile

from recbole_diffusion.config.config import Config
from recbole_diffusion.data.choose import get_dataset
from recbole_diffusion.data.dataloader import prepare_data
from recbole_diffusion.trainer.choose import get_trainer

SETTINGS = {
    "ICDDT": "retail",
    "DreamRec": "zhihu",
    "DimeRec": "zhihu",
    "DiffuRec": "beauty",
    "DiffRec": "ml-1m-diffrec",
    "TDiffRec": "ml-1m-diffrec",
    "LDiffRec": "ml-1m-diffrec",
    "LTDiffRec": "ml-1m-diffrec",
}
# A kind of operation and what torch calls those that belong to it; the first one that fits counts.
KINDS = {
    "optimiser": r"adam|_foreach|lerp|addcmul|addcdiv",
    "products": r"mm$|bmm|linear|matmul|einsum|addmv|::mv$|::dot$",
    "softmax, norms, loss": r"softmax|norm|logsumexp|nll|cross_entropy|gelu|silu|tanh|mish|erf",
    "random numbers": r"dropout|bernoulli|normal_|rand|multinomial|uniform|exponential",
    "looking up": r"embedding|index|gather|scatter|nonzero|take|sort|unique|searchsorted|bincount",
    "copies": r"copy|cat|clone|fill|zero|contiguous|stack|empty|ones|full|arange|resize|to$",
    "element by element": r"",
}


def add_options(parser):
    """Adds what can be set to a parser."""
    parser.add_argument("--models", default=",".join(SETTINGS), help="names, parted by commas")
    parser.add_argument("--batches", type=int, default=30, help="training batches")


def step(model, rows, optimizer):
    """One training step."""
    optimizer.zero_grad()
    model.calculate_loss(rows).backward()
    optimizer.step()


def batches(loader, n):
    """The first batches of a loader, which begins anew where it ends, and seconds to make them."""
    found, begin = [], time.perf_counter()
    while len(found) < n:
        for rows in loader:
            found.append(rows)
            if len(found) == n:
                break
    return found, time.perf_counter() - begin


def kind_of(operation):
    """The kind of an operation of torch, by its name."""
    name = operation.lower()
    return next(kind for kind, words in KINDS.items() if re.search(words, name))


def shares(name, dataset, arguments):
    """Milliseconds of a step, and the shares of what they go to.

    Returns:
        tuple: rows a batch (int), milliseconds (float), dict of str to float, shares that add up to
        1: data, each kind of `KINDS`, and ``calls``, Python and the calls of operations.
    """
    settings = {"data_path": arguments.data_path, "show_progress": False, "state": "ERROR"}
    config = Config(name, dataset, config_dict=settings)
    train, _, _ = prepare_data(config, get_dataset(config)(config))
    torch.manual_seed(0)
    model = config.model_class(config, train.dataset)
    optimizer = get_trainer(config)(config, model).optimizer
    model.train()
    rows, data_seconds = batches(train, arguments.batches + 2)
    data_seconds *= arguments.batches / len(rows)
    for warm in rows[:2]:
        step(model, warm, optimizer)
    rows = rows[2:]
    begin = time.perf_counter()
    for some in rows:
        step(model, some, optimizer)
    seconds = time.perf_counter() - begin
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for some in rows:
            step(model, some, optimizer)
    by_kind = dict.fromkeys(KINDS, 0.0)
    for event in found.key_averages():
        if event.key.startswith("aten::"):
            by_kind[kind_of(event.key)] += event.self_cpu_time_total / 1e6
    # The profiler itself takes time; an operation's share is of the seconds without it.
    whole = seconds + data_seconds
    arithmetic = sum(by_kind.values())
    by_kind["calls"] = max(seconds - arithmetic, 0.0)
    scale = seconds / sum(by_kind.values())
    parts = {"data": data_seconds} | {kind: value * scale for kind, value in by_kind.items()}
    size = sum(map(len, rows)) // len(rows)
    return size, 1000 * whole / len(rows), {kind: value / whole for kind, value in parts.items()}


def measure(arguments):
    """Prints a table, a line a model; takes the parsed arguments."""
    kinds = ["data", *KINDS, "calls"]
    print(f"{torch.get_num_threads()} threads\n")
    print("| model, data | rows a batch | ms a step | " + " | ".join(kinds) + " |")
    print("|---|" + "--:|" * (2 + len(kinds)))
    for name in arguments.models.split(","):
        size, milliseconds, found = shares(name, SETTINGS[name], arguments)
        cells = " | ".join(f"{found[kind]:.0%}" for kind in kinds)
        print(f"| {name}, {SETTINGS[name]} | {size} | {milliseconds:.1f} | {cells} |", flush=True)
