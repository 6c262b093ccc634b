"""What does a run take before it starts: time, memory and disk?"""

import copy
import logging
from contextlib import chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import numpy as np
import torch
from recbole.utils import ModelType

from recbole_diffusion.config import traits
from recbole_diffusion.config.names import refuse_what_does_not_run
from recbole_diffusion.quick_start.explain import naming_settings
from recbole_diffusion.quick_start.quick_start import make_network, peak_memory_mb, read_data
from recbole_diffusion.trainer.choose import get_trainer
from recbole_diffusion.trainer.randomness import own_randomness

MOST_LOOKED_AT = 200  # batches of an epoch whose size is looked at
TIMED = 3
EPOCH_OF_LOG = 1000  # bytes that an epoch adds to the log and to TensorBoard's file, each


class Sample:
    """Gives a few batches of a loader that stand for all of them; mixed in before its class.

    Up to ``MOST_LOOKED_AT`` batches, evenly spread, are sorted by their size, the numbers that they
    hold, and cut into three groups. The middle one of each is timed, and its seconds per number are
    those of the group: evaluated rows are in order of length, so that the last batch, which is
    seldom whole, has the longest. A batch that comes before the three is not counted.

    Attributes:
        largest (bool): what comes before is the largest batch, so that memory is as high as it
            gets; else it is the middle one of the three, whose second time shows what the first had
            to do once.
        seconds (float): of a pass over all batches, summed over the passes so far.
        once (float): of what the first batch did that later ones need not.
        spent (float): on what was given, and on choosing it.
        given (int): rows, without those that came before.
    """

    largest = True

    def __iter__(self):
        begin = monotonic()
        super().__iter__()  # draws the order of the epoch
        batches = list(self.batch_sampler)
        places = np.linspace(0, len(batches) - 1, min(len(batches), MOST_LOOKED_AT)).astype(int)
        looked_at = [batches[place] for place in places]
        sizes = np.array([size(self.collate_fn(index)) for index in looked_at])
        order = np.argsort(sizes, kind="stable")
        groups = [group for group in np.array_split(order, TIMED) if len(group)]
        chosen = [group[len(group) // 2] for group in groups]
        first = order[-1] if self.largest else chosen[len(chosen) // 2]
        self.spent += monotonic() - begin
        taken = []
        for place in [first, *chosen]:
            start = monotonic()
            yield self.collate_fn(looked_at[place])
            taken.append(monotonic() - start)
        self.spent += sum(taken)
        self.given += sum(len(looked_at[place]) for place in chosen)
        if not self.largest:
            self.once = max(0.0, taken[0] - taken[1 + len(chosen) // 2])
        rates = [seconds / sizes[place] for seconds, place in zip(taken[1:], chosen)]
        total = sum(rate * sizes[group].sum() for rate, group in zip(rates, groups))
        self.seconds += float(total) * self.sample_size / sum(map(len, looked_at))


def sample(loader, largest=True):
    """A loader that gives a few batches of another.

    Args:
        loader (AbstractDataLoader): of a run.
        largest (bool): as of `Sample`.

    Returns:
        Sample: a copy, of the loader's class too; its length is the loader's.
    """
    few = copy.copy(loader)
    few.__class__ = type(type(loader).__name__, (Sample, type(loader)), {})
    del vars(few)["collate_fn"]  # it is bound to the original
    few.largest, few.num_workers = largest, 0
    few.seconds = few.once = few.spent = 0.0
    few.given = 0
    return few


def size(batch):
    """How many numbers a batch holds, on which its time depends."""
    rows = batch[0] if isinstance(batch, tuple) else batch
    return sum(values.numel() for values in rows.interaction.values())


def estimate(config):
    """Times a few batches of a run; nothing that they change is kept.

    Random generators are left as they were, and the files that a run writes go to a folder that is
    removed.

    Args:
        config (Config): the run's configuration.

    Returns:
        dict: model, dataset, device, epochs, rows (of ``train``, ``valid`` and ``test``), batches,
        parameters, read_seconds, build_seconds, epoch_seconds, valid_seconds (one validation),
        test_seconds, run_seconds, peak_memory_mb (of this process so far, in MiB, or of its GPU),
        checkpoint_mb (``best`` and ``last``), logs_mb, disk_mb (MiB) and notes (list of str). For a
        model that is fitted in one go epoch_seconds is None, and what follows from it is missing.

    Raises:
        ConfigError, DataError, ValueError: as `run_recbole_diffusion` does.
    """
    refuse_what_does_not_run(config["model"], config.model_class)
    with own_randomness(config["seed"]):
        begin = monotonic()
        _, (train_data, valid_data, test_data) = read_data(config)
        parts = {"train": train_data, "valid": valid_data, "test": test_data}
        found = {
            "model": config["model"],
            "dataset": config["dataset"],
            "device": str(config["device"]),
            "epochs": config["epochs"],
            "rows": {name: len(part._dataset) if part else 0 for name, part in parts.items()},
            "read_seconds": monotonic() - begin,
            "epoch_seconds": None,
            "notes": [],
        }
        if config["MODEL_TYPE"] == ModelType.TRADITIONAL:
            found["notes"] = _of_one_go(config, train_data._dataset)
        else:
            with naming_settings(config), TemporaryDirectory() as folder:
                found |= _timed(config, train_data, valid_data, test_data, folder, found)
        found["peak_memory_mb"] = peak_memory_mb(config["device"])
    return found


def _of_one_go(config, dataset):
    """What can be said of a model that is fitted when it is made."""
    items = dataset.item_num
    notes = [f"{config['model']} is fitted in one go when it is made, which is not timed"]
    if traits.of(config.model_class).inverts_items:
        gigabytes = 4 * items**2 / 2**30
        notes.append(
            f"it inverts a matrix of {items:,} x {items:,} items: {gigabytes:.2g} GiB in float32, "
            f"and up to five times as much while it does"
        )
    return notes


def _timed(config, train_data, valid_data, test_data, folder, found):
    """Times the batches of a gradient model; all that is written goes into ``folder``."""
    begin = monotonic()
    network, notes = _network(config, train_data._dataset)
    network = network.to(config["device"])
    build_seconds = monotonic() - begin
    # The folders of a run are named by its settings and from where it is started.
    with _changed(config, checkpoint_dir=folder, max_train_seconds=None), chdir(folder):
        trainer = get_trainer(config)(config, network)
        trainer.attach(train_data._dataset)
        trainer.epochs = 1
        few = sample(train_data)
        begin = monotonic()
        with _quiet():  # of what it could not do without validation rows
            trainer.fit(few, None, verbose=False, saved=True)
        around = monotonic() - begin - few.spent  # mostly the checkpoints
        trainer.tensorboard.close()
        trainer.evaluate(sample(test_data), load_best_model=False)  # not timed
        valid, test = (_ranking(trainer, part) for part in (valid_data, test_data))
        kinds = ("best", "last")
        sizes = {kind: _size(Path(folder).glob(f"*.{kind}.pth")) for kind in kinds}
        logs = 2 * _size(Path(folder, "log_tensorboard").rglob("*"))
    steps = min(config["eval_step"], config["epochs"])
    validations = config["epochs"] // steps if valid_data and steps > 0 else 0
    epochs = config["epochs"] * (few.seconds + around) + validations * valid
    if config["max_train_seconds"] is not None:
        epochs = min(epochs, config["max_train_seconds"])
    if valid_data and traits.seeks_steps(trainer.model):
        epochs += 3 * valid
        notes.append("the search for fewer reverse steps ranks the validation rows at least three")
        notes.append("times more; the test then takes fewer steps than it is counted with here")
    logs += 2 * EPOCH_OF_LOG * config["epochs"] / 2**20
    return {
        "batches": len(train_data),
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "build_seconds": build_seconds,
        "epoch_seconds": few.seconds,
        "valid_seconds": valid,
        "test_seconds": test,
        "run_seconds": found["read_seconds"] + build_seconds + epochs + test,
        "checkpoint_mb": sizes,
        "logs_mb": logs,
        "disk_mb": sum(sizes.values()) + logs,
        "notes": notes,
    }


def _ranking(trainer, loader):
    """Seconds of ranking all rows of a loader and measuring; 0 where there are none."""
    if not loader:
        return 0.0
    trainer.model.train()  # what was made for ranking is made anew
    few, begin = sample(loader, largest=False), monotonic()
    trainer.evaluate(few, load_best_model=False)
    metrics = monotonic() - begin - few.spent
    return few.seconds + few.once + metrics * loader.sample_size / few.given


def _network(config, dataset):
    """The model, with stand-ins for what would be trained before it, and a note of that."""
    says, given, notes = traits.of(config.model_class), {}, []
    if says.item_table and config["pretrain"] is not None:
        given["item_table"] = None
        notes.append(f"without the training of {config['pretrain']} before it: estimate that too")
    if says.item_clusters and config["n_cate"] > 1 and config["item_embeddings"] is None:
        given["cluster_ids"] = torch.arange(dataset.item_num - 1) % config["n_cate"]
        epochs = config["cluster_epochs"]
        notes.append(f"without the {epochs} epochs of LightGCN that cluster the items before it")
    if not given:
        return make_network(config, dataset, None), notes
    return config.model_class(config, dataset, **given), notes


def _size(paths):
    """MiB of some files."""
    return sum(path.stat().st_size for path in paths if path.is_file()) / 2**20


@contextmanager
def _quiet():
    """Warnings are not said in a block."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _changed(config, **settings):
    """A configuration with other values for a block."""
    before = {name: config[name] for name in settings}
    for name, value in settings.items():
        config[name] = value
    try:
        yield
    finally:
        for name, value in before.items():
            config[name] = value
