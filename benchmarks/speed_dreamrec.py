"""What do DreamRec's closed-form walk and training on all positions save, and DimeRec's cost?

The plain walk is the same model with ``sampler: ancestral``: 500 levels, guided and unguided in one
call of the network, steps embedded once. Making the closed form counts as scoring; for generation
alone it is shown apart. Training is timed with data and optimiser, scoring without masking and
metrics.
"""

import time
from statistics import median

import torch
from speed_diffrec import training_rate

from recbole_diffusion.config.config import Config
from recbole_diffusion.data.choose import get_dataset
from recbole_diffusion.data.dataloader import prepare_data
from recbole_diffusion.trainer.choose import get_trainer

# DreamRec as its authors run it on Zhihu, whatever the defaults
PUBLISHED = {
    "guidance_weight": 4.0, "level_power": 1.0, "normalize": False, "ce_weight": 0.0,
    "embedding_std": 1.0, "dropout_prob": 0.1, "learning_rate": 0.01,
}  # fmt: skip
SEQUENCES = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO", "mode": "full"}


def add_options(parser):
    """Adds what can be set to a parser."""
    parser.add_argument("--dataset", default="beauty")
    parser.add_argument("--repeats", type=int, default=3, help="passes; the median counts")
    parser.add_argument("--batches", type=int, default=200, help="training batches")
    parser.add_argument("--scoring", action="store_true", help="only scoring, beside SASRec")
    parser.add_argument("--plain_batches", type=int, default=4, help="scoring batches, plain walk")


def build(name, arguments, **settings):
    """A model with seed 0, its loaders and its optimiser.

    Returns:
        tuple: model, training loader, batches of validation histories (list of Interaction),
        optimiser.
    """
    settings |= {"data_path": arguments.data_path, "show_progress": False, "SPLIT": "sequence"}
    settings |= {"eval_args": SEQUENCES, "MAX_ITEM_LIST_LENGTH": 10}
    if name == "DreamRec":
        settings = PUBLISHED | settings
    config = Config(name, arguments.dataset, config_dict=settings)
    train, valid, _ = prepare_data(config, get_dataset(config)(config))
    torch.manual_seed(0)
    model = config.model_class(config, train.dataset)
    optimizer = get_trainer(config)(config, model).optimizer
    return model, train, [rows for rows, *_ in valid], optimizer


@torch.no_grad()
def seconds_a_row(score, model, batches, repeats, composed=False):
    """Seconds that ``score(batch)`` takes a row, after one batch to warm up; the median of passes.

    What the model derives from its weights is made again in every pass, within the measured time
    unless it is to be ``composed`` before.
    """
    model.eval()
    score(batches[0])
    times = []
    for _ in range(repeats):
        model.eval()
        if composed:
            score(batches[0])
        begin = time.perf_counter()
        for batch in batches:
            score(batch)
        times.append(time.perf_counter() - begin)
    return median(times) / sum(map(len, batches))


def walks(arguments):
    """DreamRec: the exact walk beside the plain one of the same weights."""
    exact, _, batches, _ = build("DreamRec", arguments)
    plain, *_ = build("DreamRec", arguments, sampler="ancestral")
    plain.load_state_dict(exact.state_dict())
    print(
        f"\nDreamRec on {arguments.dataset}: {sum(map(len, batches))} validation rows, "
        f"{exact.n_items - 1} items, D {exact.hidden_size}, T {exact.diffusion.steps}"
    )
    few = batches[: arguments.plain_batches]
    guidance = [exact.eval().guidance(batch).detach() for batch in batches]
    plain_seconds = seconds_a_row(plain.generate, plain, guidance[: len(few)], 1)
    seconds = seconds_a_row(exact.generate, exact, guidance, arguments.repeats, composed=True)
    whole = seconds_a_row(exact.generate, exact, guidance, arguments.repeats)
    composing = (whole - seconds) * sum(map(len, batches))
    print(
        f"generation alone: exact {1 / seconds:.0f} rows/s, plain {1 / plain_seconds:.0f} rows/s, "
        f"ratio {plain_seconds / seconds:.0f}; composing the walk, once a set of weights, takes "
        f"{1000 * composing:.0f} ms (with it the ratio is {plain_seconds / whole:.0f})"
    )
    seconds = seconds_a_row(exact.full_sort_predict, exact, batches, arguments.repeats)
    plain_seconds = seconds_a_row(plain.full_sort_predict, plain, few, 1)
    print(
        f"with history encoding, ranking and composing: exact {1 / seconds:.0f} rows/s, plain "
        f"{1 / plain_seconds:.0f} rows/s, ratio {plain_seconds / seconds:.0f}"
    )


PATHS = {
    "all positions at once": {"all_positions": True},
    "one row per prefix": {"all_positions": False},
    # as RecBole's data set and loader give them
    "one row per prefix, padded to L, in any order": {
        "all_positions": False, "crop_history": False, "length_buckets": False,
    },
}  # fmt: skip


def training(name, batch, arguments):
    """Targets trained on a second, in all ways."""
    base = None
    for what, settings in PATHS.items():
        model, train, _, optimizer = build(name, arguments, train_batch_size=batch, **settings)
        rate = training_rate(model, train, optimizer, arguments.batches)
        if settings["all_positions"]:
            rate *= train.n_targets / train.sample_size
        base = base or rate
        ratio = "" if base == rate else f", ratio {base / rate:.2f}"
        print(f"training {name}, batch {batch}, {what}: {rate:.0f} targets/s{ratio}")


def scoring(arguments):
    """All models with the same batches."""
    base = None
    for name, settings in (
        ("SASRec", {}),
        ("DreamRec", {}),
        ("DreamRec", {"sampler": "ddim"}),
        ("DreamRec", {"sampler": "ddim", "walk_steps": 8}),  # as walk_steps: auto found on zhihu
        ("DimeRec", {}),
    ):
        model, _, batches, _ = build(name, arguments, **settings)
        seconds = seconds_a_row(model.full_sort_predict, model, batches, arguments.repeats)
        base = base or seconds
        how = ", ".join(f"{key} {value}" for key, value in settings.items() if key == "sampler")
        if name == "DimeRec" or settings:
            how = f"{how}, {len(model.levels) - 1} levels".strip(", ")
        print(
            f"scoring {name}{f' ({how})' if how else ''}: {1 / seconds:.0f} rows/s, "
            f"{seconds / base:.2f} of SASRec's time"
        )


def measure(arguments):
    """Prints rates and ratios; takes the parsed arguments."""
    print(f"{torch.get_num_threads()} threads, 512 rows per scoring batch")
    if not arguments.scoring:
        walks(arguments)
        for name, batch in (("DreamRec", 256), ("DreamRec", 2048), ("DimeRec", 512)):
            training(name, batch, arguments)
    scoring(arguments)
