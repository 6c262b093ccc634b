"""One run from settings to test metrics; the path that run, benchmark and tune share."""

import json
import os
import sys
from logging import getLogger
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import recbole
import torch
from recbole.data.dataloader import AbstractDataLoader
from recbole.utils import init_seed

from recbole_diffusion import ranks
from recbole_diffusion.config import traits
from recbole_diffusion.config.config import Config
from recbole_diffusion.config.files import write_json
from recbole_diffusion.config.foreign import vouch
from recbole_diffusion.config.names import refuse_what_does_not_run, told
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.data.choose import get_dataset
from recbole_diffusion.data.dataloader import prepare_data
from recbole_diffusion.data.digest import interactions
from recbole_diffusion.data.lines import DataError
from recbole_diffusion.data.loading import CheckedRows, DataNotFoundError
from recbole_diffusion.evaluator.divisors import over_all_rows, over_all_users
from recbole_diffusion.quick_start.data_line import data_line
from recbole_diffusion.quick_start.energy import metered
from recbole_diffusion.quick_start.explain import naming_columns, naming_settings
from recbole_diffusion.quick_start.item_clusters import item_clusters, wrong_clusters
from recbole_diffusion.quick_start.item_table import item_table
from recbole_diffusion.quick_start.log import begin_log, log_file
from recbole_diffusion.quick_start.protocol_line import measured, protocol_line, split_line
from recbole_diffusion.quick_start.split_seed import split_seed
from recbole_diffusion.trainer import checkpoint
from recbole_diffusion.trainer.choose import get_trainer
from recbole_diffusion.trainer.distributed import refuse_what_cannot_be_shared
from recbole_diffusion.trainer.fields import RUN
from recbole_diffusion.trainer.randomness import own_randomness
from recbole_diffusion.trainer.saving import newest_last
from recbole_diffusion.trainer.trainer import TrainerHooks

logger = getLogger(__name__)

MOST_INVERTED = 15_000  # items by items, as EASE does: 30,000 took 15 to 18 GB


def run_recbole_diffusion(
    model=None, dataset=None, config_file_list=None, config_dict=None, saved=True
):
    """Trains a model on a data set, selects on validation and tests once.

    The processes that ``torchrun`` starts share the work, and the first one writes the files.

    Args:
        model (str or type): a model's name (ours, RecBole's, ``recbole:NAME``,
            ``my_module:MyModel``) or class.
        dataset (str): the data set's name.
        config_file_list (list of str): YAML files of settings.
        config_dict (dict): settings, over those of the files.
        saved (bool): write checkpoints and test the best model; without, test the last one.

    Returns:
        dict: model, dataset, seed, device, recbole (its version), config, best_epoch, epochs,
        stopped_by, best_valid_result, curve (see `TrainerHooks`), walk (how few reverse steps were
        found to rank as all do, see `ShortWalkHooks.find_steps`; or None), protocol (split, rows,
        masking and device in words), test_result, test_result_all_users (None unless asked for),
        test_result_all_rows (None unless test rows without history were counted),
        never_trained_items (see `NeverTrainedAudit`; ``barred_all_rows`` are its metrics over all
        test rows), split, build_seconds (of the model, with what it trains first), train_seconds,
        valid_seconds, eval_seconds, peak_memory_mb, energy_wh (of building, training and
        validation; None unless asked for, and of a resumed run), parameters, checkpoint, log (its
        file; None where the program has a log of its own), and processes, how many shared the work
        (seconds, memory and energy are the first one's). ``result_file`` writes the same as JSON.

    Raises:
        ConfigError: on a setting that is unknown or out of range.
        DataError: if the data are missing or unusable.
        CheckpointError: if a checkpoint to resume from does not fit.
        ValueError: for an unknown model, or one of RecBole's kinds that are not supported.
    """
    vouch(config_dict)
    ranks.begin()
    config = Config(model, dataset, config_file_list, config_dict)
    fitted = fit(config, saved)
    trainer, test_data, split = fitted.trainer, fitted.test_data, fitted.split
    trainer.doing = "test"
    test_result = trainer.evaluate(
        test_data, load_best_model=saved, show_progress=config["show_progress"]
    )
    getLogger().info(f"test result: {test_result}")
    never = trainer.never_trained
    barred = over_all_rows(config, split, (never or {}).get("barred", {}))
    if barred:
        never["barred_all_rows"] = barred
    result = training_report(config, trainer) | {
        "protocol": protocol_line(measured(config, test_data._dataset)),
        "test_result": test_result,
        "test_result_all_users": over_all_users(config, test_data._dataset, test_result),
        "test_result_all_rows": over_all_rows(config, split, test_result),
        "never_trained_items": never,
        "split": split,
        "eval_seconds": round(trainer.eval_seconds, 2),
        "checkpoint": trainer.saved_model_file if saved else None,
        "log": log_file(),
    }
    if config["result_file"] and ranks.first():
        write_json(config["result_file"], result)
    return result


def training_report(config, trainer):
    """What is known of a run but its test.

    Args:
        config (Config): the run's configuration.
        trainer (TrainerHooks): after `fit`.

    Returns:
        dict: plain values; seconds of wall time, memory in MiB.
    """
    return {
        "model": told(config["model"], config.model_class),
        "dataset": config["dataset"],
        "seed": config["seed"],
        "device": str(config["device"]),
        "processes": ranks.count(),
        "recbole": recbole.__version__,
        "best_epoch": trainer.best_epoch,
        "epochs": trainer.epochs_done,
        "stopped_by": trainer.stopped_by,
        "best_valid_result": trainer.best_valid_result,
        "curve": trainer.curve,
        "walk": trainer.walk_report,
        "build_seconds": round(trainer.build_seconds, 2),
        "train_seconds": round(trainer.train_seconds, 2),
        "valid_seconds": round(trainer.valid_seconds, 2),
        "peak_memory_mb": round(peak_memory_mb(config["device"]), 1),
        "energy_wh": trainer.energy_wh,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "config": json.loads(checkpoint.config_text(config)),
    }


class Fitted(NamedTuple):
    """A trained run.

    Attributes:
        trainer (TrainerHooks): with the trained model, ``model``, and ``saved_model_file``, the
            best.
        train_data (AbstractDataLoader): training rows.
        valid_data (AbstractDataLoader): validation rows, None if there are none.
        test_data (AbstractDataLoader): test rows.
        split (dict): the split report.
    """

    trainer: TrainerHooks
    train_data: AbstractDataLoader
    valid_data: AbstractDataLoader
    test_data: AbstractDataLoader
    split: dict


def fit(config, saved=True, after_validation=None):
    """Loads and splits the data and trains the model, selected on validation.

    Args:
        config (Config): the run's configuration.
        saved (bool): write checkpoints.
        after_validation (callable): called with the trainer after each validation, when what it has
            learnt so far is on disk.

    Returns:
        Fitted: the trainer, the loaders and the split report.

    Raises:
        ConfigError, DataError, CheckpointError, ValueError: as `run_recbole_diffusion` does.
    """
    refuse_what_does_not_run(config["model"], config.model_class)
    if ranks.count() > 1:
        refuse_what_cannot_be_shared(config, get_trainer(config))
    init_seed(config["seed"], config["reproducibility"])
    begin_log(config)
    getLogger().debug(config)

    data, (train_data, valid_data, test_data) = read_data(config)
    split = dict(getattr(data, "split_report", {}))
    getLogger().info("rows: " + ", ".join(f"{key} {value}" for key, value in split.items()))
    getLogger().info(f"device: {config['device']}")
    parts = [loader and loader._dataset for loader in (train_data, valid_data, test_data)]
    logger.info(f"split: {split_line(config, parts)}")
    if ranks.count() > 1:
        _refuse_differences(config, train_data._dataset)
        logger.info(f"{ranks.count()} processes share every batch")

    resume_file = ranks.from_first(lambda: _resume_file(config))
    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    with naming_settings(config), metered(config["measure_energy"]) as watt_hours:
        begin = monotonic()
        network = make_network(config, train_data._dataset, resume_file).to(config["device"])
        build_seconds = monotonic() - begin
        trainer = get_trainer(config)(config, network)
        trainer.attach(train_data._dataset)
        trainer.build_seconds = build_seconds
        count = sum(p.numel() for p in network.parameters())
        logger.info(
            f"{config['model']}, {count:,} parameters, made in {build_seconds:.1f} s; seed "
            f"{config['seed']}"
        )
        if resume_file:
            trainer.resume_checkpoint(resume_file)
        trainer.fit(
            train_data,
            valid_data,
            saved=saved,
            show_progress=config["show_progress"],
            callback_fn=after_validation and (lambda epoch, score: after_validation(trainer)),
        )
    trainer.energy_wh = round(watt_hours[0], 6) if watt_hours and not resume_file else None
    return Fitted(trainer, train_data, valid_data, test_data, split)


def read_data(config, look=None):
    """Reads and splits the data of a run; the caller's random generators are left as they were.

    Args:
        config (Config): the run's configuration.
        look (Callable): is shown the data set before it is split, when its rows are a table of ids
            with times in float64.

    Returns:
        tuple: the data set, and the loaders of training, validation and test rows.

    Raises:
        DataError: if the data are missing or unusable.
    """
    dataset_class = get_dataset(config)
    if not issubclass(dataset_class, CheckedRows) and not Path(config["data_path"]).exists():
        raise DataNotFoundError(
            f"there is no folder {config['data_path']}: data set '{config['dataset']}' has to be "
            "there, nothing is downloaded"  # RecBole would, and unpack it
        )
    with own_randomness(split_seed(config)), naming_columns(config):
        data = dataset_class(config)
        _refuse_what_does_not_fit(config, data)
        if look is not None:
            look(data)
        loaders = prepare_data(config, data)
    parts = [loader and loader._dataset for loader in loaders]
    parts[0].interactions = interactions(parts)  # checkpoints say what they were trained on
    return data, loaders


def _refuse_differences(config, dataset):
    """Refuses processes that do not do the same thing.

    Raises:
        ConfigError: if they have other settings, data or kinds of devices than the first one.
    """
    own = {
        "settings": checkpoint.run_name(config),
        "data": dataset.interactions,
        "devices": config["device"].type,
    }
    of_first, *others = ranks.of_all(own)
    for number, other in enumerate(others, start=2):
        for what, value in other.items():
            if value != of_first[what]:
                raise ConfigError(
                    f"process {number} of {ranks.count()} has other {what} than the first one: "
                    "start all with the same command, and the same data on every machine"
                )


def _refuse_what_does_not_fit(config, data):
    getLogger().info(data)
    logger.info(data_line(config, data))
    _cut_topk(config, data.item_num - 1)  # without the padding
    if traits.of(config.model_class).inverts_items and data.item_num > MOST_INVERTED:
        raise DataError(
            f"{config['model']} inverts a dense matrix of {data.item_num} x {data.item_num} items, "
            f"which takes tens of GB and up to an hour: it is not run above {MOST_INVERTED} items"
        )


def _cut_topk(config, items):
    """Leaves out the k of the metrics that are more than there are items.

    Raises:
        DataError: if there are no items.
    """
    topk, metric = config["topk"], config["valid_metric"]
    if max(topk) <= items:
        return
    if items < 1:
        raise DataError(f"{config['dataset']} has no items")
    config["topk"] = [k for k in topk if k <= items] or [items]
    said = f"topk is {topk}, but there are {items} items: it is cut to {config['topk']}"
    name, at, k = str(metric).partition("@")
    if at and int(k) not in config["topk"]:
        config["valid_metric"] = f"{name}@{config['topk'][-1]}"
        said += f", and valid_metric to {config['valid_metric']}"
    config.warnings.append(said)
    getLogger().warning(said)


def _resume_file(config):
    """The checkpoint to go on from, or None.

    Raises:
        CheckpointError: if there is none of the name that was given.
    """
    wanted = config["resume"]
    if not wanted:
        return None
    path = newest_last(config) if wanted is True else wanted
    if path is not None and not os.path.isfile(path):  # False too for a name that is too long
        raise checkpoint.CheckpointError(f"there is no checkpoint {path}")
    if path is None:
        before = newest_last(config, as_before=True)
        old = checkpoint.before(config["model"])
        old = ", ".join(f"{key}: {value}" for key, value in old.items() if config[key] != value)
        getLogger().warning(
            f"nothing to resume: {config['checkpoint_dir']} holds no last checkpoint of this "
            "model, data set and configuration; training starts from the beginning"
            + (f". To go on with {before} set {old}" if before else "")
        )
    return path


def make_network(config, dataset, checkpoint_file):
    """Builds the model; what decides its shape comes from the checkpoint if there is one.

    Args:
        config (Config): the run's configuration.
        dataset (Dataset): the built training data.
        checkpoint_file (str or Path): whose weights the model will be given, or None.

    Returns:
        torch.nn.Module: the model, without the checkpoint's weights.

    Raises:
        CheckpointError: if the checkpoint is damaged or was trained on other data.
    """
    says, given = traits.of(config.model_class), {}
    if says.item_table and checkpoint_file is None:
        with own_randomness(config["seed"]):
            table = ranks.from_first(lambda: item_table(config, dataset, fit))
            given["item_table"] = table
    if says.item_clusters:
        given["cluster_ids"] = None
        if checkpoint_file:
            state = checkpoint.load(checkpoint_file)
            checkpoint.check_fields(state, checkpoint_file, RUN)
            if state["model"] == config["model"]:  # else the trainer refuses it
                checkpoint.check_data(state, dataset, checkpoint_file)
                found = state["state_dict"].get("cluster_ids")
                wrong = wrong_clusters(found, dataset.item_num - 1, config["n_cate"])
                if wrong:
                    raise checkpoint.CheckpointError(
                        f"the cluster_ids of {checkpoint_file} {wrong}"
                    )
                given["cluster_ids"] = found
        if given["cluster_ids"] is None:
            given["cluster_ids"] = ranks.from_first(lambda: item_clusters(config, dataset))
    return config.model_class(config, dataset, **given)


def peak_memory_mb(device):
    """Most memory used so far: of the GPU if there is one, else of the process.

    Args:
        device (torch.device): of the run.

    Returns:
        float: MiB.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss begins with the peak of the process that started this one
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 2**10
    import resource  # not on Windows, where the package is not tested

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
