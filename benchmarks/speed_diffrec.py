"""How much faster are DiffRec and L-DiffRec here than RecBole's own?

Both sides have the same settings, untrained weights and the optimiser their trainer gives them.
Training takes whole batches of users, data and optimiser included; scoring asks for the scores of
all items without masking or metrics. Ours makes the factors of its walk within the measured time.
DiffRec is then trained with its published settings, to see how few steps rank as all do.
"""

import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from recbole.data.interaction import Interaction

from recbole_diffusion.config.config import Config
from recbole_diffusion.data.choose import get_dataset
from recbole_diffusion.data.dataloader import prepare_data
from recbole_diffusion.quick_start.quick_start import fit, make_network
from recbole_diffusion.saved_run import load_run
from recbole_diffusion.trainer.choose import get_trainer

ROWS = 50  # interactions a user of the large catalogue
LARGE_USERS, LARGE_ITEMS = 4_096, 34_000
HOST_EVAL_BATCH = 4_096  # RecBole's default eval_batch_size, which it divides by the items


def add_options(parser):
    """Adds what can be set to a parser."""
    parser.add_argument("--dataset", default="ml-1m-diffrec")
    parser.add_argument("--users", type=int, default=512, help="users per scoring batch")
    parser.add_argument("--repeats", type=int, default=3, help="passes of ours; the median counts")
    parser.add_argument("--batches", type=int, default=12, help="training batches")
    parser.add_argument("--walks", action="store_true", help="only the search for a shorter walk")
    parser.add_argument(
        "--checkpoint", help="of a trained DiffRec to search with, not to train one"
    )


def measure(arguments):
    """Prints rates and ratios; takes the parsed arguments."""
    print(f"{torch.get_num_threads()} threads, {arguments.users} users per scoring batch")
    if arguments.walks:
        short_walk("DiffRec", arguments)
        return
    published = _settings("DiffRec", arguments.dataset)
    beside_recboles("DiffRec", arguments.dataset, published, arguments, default_batch=True)
    latent = _settings("LDiffRec", arguments.dataset) | {"n_cate": 1}
    beside_recboles("LDiffRec", arguments.dataset, latent, arguments, default_batch=True)
    with tempfile.TemporaryDirectory() as folder:
        _write_large(Path(folder, "large"))
        settings = published | {"data_path": folder, "dims_dnn": [1000], "load_col": None}
        settings["benchmark_filename"] = None
        settings["eval_args"] = {"split": {"RS": [0.9, 0.05, 0.05]}, "order": "RO"}
        arguments.batches = 3
        beside_recboles("DiffRec", "large", settings, arguments, default_batch=False)
    short_walk("DiffRec", arguments)


def short_walk(name, arguments):
    """A trained model's search for a shorter walk, and how fast it then scores.

    Args:
        name (str): DiffRec or a kin.
        arguments (argparse.Namespace): the parsed arguments.
    """
    settings = {"data_path": arguments.data_path, "show_progress": False, "walk_steps": "auto"}
    if arguments.checkpoint:
        run = load_run(arguments.checkpoint, **settings)
        trainer, found = run.trainer, run.trainer.find_steps(run.valid_data)
    else:
        with tempfile.TemporaryDirectory() as folder:
            quiet = {"checkpoint_dir": folder, "state": "ERROR"}
            trainer = fit(Config(name, arguments.dataset, config_dict=settings | quiet)).trainer
        found = trainer.walk_report
    model = trainer.model
    print(
        f"\n{name} on {arguments.dataset}, best epoch {trainer.best_epoch}; the search for a "
        f"shorter walk took {found['seconds']:.0f} s"
    )
    for one in found["tried"]:
        print(
            f"{one['steps']} of {found['of']} steps: agreement of the top 20 "
            f"{one['agreement']:.4f}, validation {trainer.config['valid_metric']} "
            f"{one['valid_score']:.6f}, {one['seconds']:.2f} s with masking and metrics"
        )
    vae, _, _ = _build("MultiVAE", arguments.dataset, settings)
    users = torch.randperm(model.n_users - 1)[: 12 * arguments.users] + 1
    passes = {"MultiVAE": [], found["of"]: [], found["steps"]: []}
    for _ in range(arguments.repeats):  # in turn, so that a slow moment is one for all of them
        for what, rates in passes.items():
            if what != "MultiVAE":
                model.levels = model.levels_of(what)
            scored = vae if what == "MultiVAE" else model
            rates.append(scoring_rate(scored, users, arguments.users))
    base = median(passes.pop("MultiVAE"))
    print(f"scoring, MultiVAE: {base:.0f} users/s")
    for steps, rates in passes.items():
        rate = median(rates)
        print(f"scoring, {steps} steps: {rate:.0f} users/s, {base / rate:.2f} of MultiVAE's time")


def beside_recboles(name, dataset, settings, arguments, default_batch):
    """Measures one model of ours, RecBole's and MultiVAE on one data set.

    Args:
        name (str): DiffRec or LDiffRec.
        dataset (str): the data set.
        settings (dict): of both.
        arguments (argparse.Namespace): the parsed arguments.
        default_batch (bool): whether to score with RecBole's default batch too.
    """
    settings = {"data_path": arguments.data_path, "show_progress": False} | settings
    ours, train, optimizer = _build(name, dataset, settings)
    theirs, their_train, their_optimizer = _build(f"recbole:{name}", dataset, settings)
    users = torch.randperm(train.dataset.user_num - 1)[: 12 * arguments.users] + 1
    print(
        f"\n{name} on {dataset}: {len(users)} users scored, {ours.n_items - 1} items, T "
        f"{ours.diffusion.steps}, dims_dnn {settings['dims_dnn']}, batch {train.step}"
    )
    batch = _batch(users[: arguments.users])
    print(f"largest difference of a score from the plain walk: {_difference(ours, batch):.1e}")

    rate = training_rate(ours, train, optimizer, arguments.batches)
    their_rate = training_rate(theirs, their_train, their_optimizer, arguments.batches)
    _say("training", "users", rate, their_rate)

    rate = median(scoring_rate(ours, users, arguments.users) for _ in range(arguments.repeats))
    few = users[: 2 * arguments.users]
    _say("scoring", "users", rate, scoring_rate(theirs, few, arguments.users))
    if default_batch:
        size = max(1, HOST_EVAL_BATCH // ours.n_items)
        their_rate = scoring_rate(theirs, users[: 100 * size], size)
        _say(f"scoring, RecBole's by its default of {size} at once", "users", rate, their_rate)
    vae, _, _ = _build("MultiVAE", dataset, {k: settings[k] for k in _DATA if k in settings})
    vae_rate = median(scoring_rate(vae, users, arguments.users) for _ in range(arguments.repeats))
    print(f"scoring, MultiVAE: {vae_rate:.0f} users/s, {vae_rate / rate:.1f} times ours")


_DATA = ("data_path", "show_progress", "load_col", "benchmark_filename", "eval_args")


def _say(what, unit, rate, their_rate):
    print(
        f"{what}: ours {rate:.0f} {unit}/s, RecBole's {their_rate:.1f} {unit}/s, "
        f"ratio {rate / their_rate:.2f}"
    )


def _settings(name, dataset):
    """The published settings of a pair, for RecBole's model too."""
    config = Config(name, dataset)
    keys = ("noise_schedule", "noise_scale", "noise_min", "noise_max", "beta_fixed", "steps")
    keys += ("dims_dnn", "train_batch_size", "in_dims", "out_dims")
    return {key: config[key] for key in keys if config[key] is not None}


def _build(name, dataset, settings):
    """The model, its training loader and its optimiser."""
    config = Config(name, dataset, config_dict=settings)
    train, _, _ = prepare_data(config, get_dataset(config)(config))
    torch.manual_seed(0)
    model = make_network(config, train.dataset, None).to(config["device"])
    return model, train, get_trainer(config)(config, model).optimizer


def _batch(users):
    return Interaction({"user_id": users})


def training_rate(model, loader, optimizer, batches):
    """Rows of the loader trained on a second, two batches to warm up left out."""
    model.train()
    done, begin = 0, None
    while True:
        for rows in loader:
            if done == 2:
                begin = time.perf_counter()
            optimizer.zero_grad()
            model.calculate_loss(rows).backward()
            optimizer.step()
            done += 1
            if done == batches + 2:
                return batches * loader.step / (time.perf_counter() - begin)


@torch.no_grad()
def scoring_rate(model, users, size):
    """Users scored a second, ``size`` at once, after a batch to warm up."""
    model.eval()
    model.full_sort_predict(_batch(users[:size]))
    model.eval()  # what ours keeps for an evaluation is made again
    begin = time.perf_counter()
    for some in users.split(size):
        model.full_sort_predict(_batch(some))
    return len(users) / (time.perf_counter() - begin)


@torch.no_grad()
def _difference(model, batch):
    model.eval()
    scores = model.full_sort_predict(batch)
    model.walks_without_items = False
    plain = model.full_sort_predict(batch)
    model.walks_without_items = True
    return (scores - plain).abs().max().item()


def _write_large(folder):
    """Random rows over a large catalogue, in which every item occurs."""
    folder.mkdir()
    draw = torch.Generator().manual_seed(0)
    rounds = -(-LARGE_USERS * ROWS // LARGE_ITEMS)
    items = torch.cat([torch.randperm(LARGE_ITEMS, generator=draw) for _ in range(rounds)])
    items = items[: LARGE_USERS * ROWS].tolist()
    lines = ["user_id:token\titem_id:token"]
    lines += [f"{row // ROWS}\t{item}" for row, item in enumerate(items)]
    (folder / f"{folder.name}.inter").write_text("\n".join(lines) + "\n")
