"""Where do a model's item embeddings begin? In a file, or in another model trained first."""

from logging import getLogger
from pathlib import Path

import numpy as np
import torch

from recbole_diffusion.config.config import Config
from recbole_diffusion.config.foreign import refuse_unnamed
from recbole_diffusion.config.keys import of_kind
from recbole_diffusion.config.paths import properties_dir
from recbole_diffusion.config.values import ConfigError, as_texts, read_yaml
from recbole_diffusion.data.embeddings import read_item_embeddings
from recbole_diffusion.data.lines import DataError
from recbole_diffusion.quick_start.split_seed import split_seed
from recbole_diffusion.trainer import checkpoint
from recbole_diffusion.trainer.fields import RUN

logger = getLogger(__name__)

# RecBole's lists of the keys that both trainings have in common, as those of overall.yaml.
SHARED_LISTS = ("General", "Evaluation", "Dataset")


def item_table(config, dataset, fit):
    """The items' embeddings to begin with, as the configuration asks.

    Args:
        config (Config): keys ``item_embeddings`` (a file of vectors, or a checkpoint of ours whose
            model has an ``item_embedding``), ``pretrain`` (a model to train first, on the same
            data), ``pretrain_settings`` (its settings) and ``hidden_size``.
        dataset (Dataset): the built training data.
        fit (Callable): trains the run of a configuration, `quick_start.fit`.

    Returns:
        torch.Tensor: shape: [n_items, hidden_size], the padding's row 0; None if nothing is asked.

    Raises:
        ConfigError: if both are asked for, or ``pretrain_settings`` is not a dictionary.
        DataError: if the vectors are missing, malformed, or of another size.
    """
    file, pretrain = config["item_embeddings"], config["pretrain"]
    if file is not None and pretrain is not None:
        raise ConfigError(f"item_embeddings ({file}) and pretrain ({pretrain}) are both set")
    if pretrain is not None:
        file = train_first(config, fit)
    elif file is None:
        return None
    is_checkpoint = str(file).endswith(".pth")
    vectors = (_of_checkpoint if is_checkpoint else read_item_embeddings)(str(file), dataset)
    if vectors.shape[1] != config["hidden_size"]:
        raise DataError(
            f"{file} holds vectors of {vectors.shape[1]} numbers, but hidden_size is "
            f"{config['hidden_size']}"
        )
    return torch.from_numpy(np.pad(vectors, ((1, 0), (0, 0)))).float()


def _of_checkpoint(path, dataset):
    """Items but the padding in the order of their ids, shape: [n, width]."""
    state = checkpoint.load(path)
    checkpoint.check_fields(state, path, RUN)
    table = state["state_dict"].get("item_embedding.weight")
    if table is None:
        raise DataError(f"{path} holds a {state['model']}, which has no item_embedding")
    tokens = state["tokens"].get(dataset.iid_field, "").split("\n")
    place = {token: number for number, token in enumerate(tokens)}
    wanted = list(map(str, dataset.field2id_token[dataset.iid_field][1:]))
    missing = [token for token in wanted if token not in place]
    if missing:
        raise DataError(
            f"{path} has no vector for {len(missing)} of {len(wanted)} items: "
            f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}"
        )
    return table[[place[token] for token in wanted]].double().numpy()


def train_first(config, fit):
    """Trains the model of ``pretrain`` on the run's data, selected on validation.

    Args:
        config (Config): the run's configuration.
        fit (Callable): as of `item_table`.

    Returns:
        str: its best checkpoint.

    Raises:
        ConfigError: if ``pretrain_settings`` is not a dictionary, or only a file names the class.
    """
    own = config["pretrain_settings"] or {}
    if not isinstance(own, dict):
        raise ConfigError(f"pretrain_settings is {own!r}, not a dictionary of settings")
    shared = {key for name in SHARED_LISTS for key in config.parameters[name]}
    shared |= set(read_yaml(properties_dir() / "overall.yaml"))
    shared -= set(of_kind("one_training"))
    settings = {key: config[key] for key in shared if config[key] is not None}
    refuse_unnamed(config["pretrain"], "pretrain")
    settings["data_path"] = str(Path(config["data_path"]).parent)  # RecBole added the data's name
    same = {"hidden_size": config["hidden_size"], "split_seed": split_seed(config)}
    settings = as_texts(settings) | same | own
    logger.info(f"training {config['pretrain']} first, for the items' embeddings")
    trainer, *_ = fit(Config(config["pretrain"], config["dataset"], None, settings), saved=True)
    score = trainer.best_valid_score
    logger.info(f"{config['pretrain']}: validation {config['valid_metric']} {score:.6f}")
    return trainer.saved_model_file
