"""A run out of its checkpoint: the same configuration, data, loaders and model."""

import inspect
import json
from pathlib import Path
from typing import NamedTuple

from recbole.data.dataloader import AbstractDataLoader

from recbole_diffusion.compat import without_tensorboard
from recbole_diffusion.config.config import Config
from recbole_diffusion.config.keys import of_kind
from recbole_diffusion.config.names import resolve
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.quick_start.quick_start import make_network, read_data
from recbole_diffusion.trainer import checkpoint
from recbole_diffusion.trainer.choose import get_trainer
from recbole_diffusion.trainer.fields import RUN
from recbole_diffusion.trainer.randomness import own_randomness
from recbole_diffusion.trainer.trainer import TrainerHooks


class SavedConfig(Config):
    """The configuration of a run, as its checkpoint has it, and settings over it.

    Args:
        state (dict): of `checkpoint.load`.
        model (str or type): the model's name or class; None takes the name in the checkpoint.
        settings (dict): settings over those of the run; strings are read as YAML values.

    Raises:
        ConfigError: on a setting of ``settings`` that is unknown, or on a value out of range.
        ValueError: on an unknown model.
    """

    def __init__(self, state, model, settings):
        self._saved = settings_of(state)
        settings = dict(settings)
        dataset = settings.pop("dataset", state["dataset"])
        super().__init__(model or trained_class(state), dataset, config_dict=settings)

    def _load_internal_config_dict(self, model, model_class, dataset):
        # Here the model is known, and nothing is merged yet. Keys that data or other versions of
        # this package set are none that a user may give.
        known = self._known_keys() - set(of_kind("not_again"))
        saved = {key: value for key, value in self._saved.items() if key in known}
        self.external_config_dict = saved | self.external_config_dict
        super()._load_internal_config_dict(model, model_class, dataset)


def settings_of(state):
    """The settings that a run's configuration was made of, out of its checkpoint.

    Args:
        state (dict): of `checkpoint.load`.

    Returns:
        dict: key to value, as a user gives them.
    """
    saved = json.loads(state["config"])
    settings = {key: value for key, value in saved.items() if key not in of_kind("made")}
    settings["data_path"] = saved["data_path"].removesuffix(saved["dataset"])  # RecBole joins them
    negatives = saved["train_neg_sample_args"]
    if negatives["distribution"] == "none":  # RecBole's form of None, which it does not read
        settings["train_neg_sample_args"] = None
    return settings


def trained_class(state):
    """The name of a checkpoint's model, where it leads to the class that was trained.

    Nothing that the checkpoint names is imported.

    Args:
        state (dict): of `checkpoint.load`.

    Returns:
        str: the name.

    Raises:
        CheckpointError: if the name leads nowhere or to another class, with the name to give.
    """
    name, trained = state["model"], state.get("class")  # none in checkpoints of before
    if ":" in name:  # a run's is the name of a class; this would be imported
        raise checkpoint.CheckpointError(
            f"it calls its model {name!r}, which is the name of no class"
        )
    if trained is None:
        return name
    try:
        found = resolve(name)[1]
    except ValueError:
        found = None
    texts = [checkpoint.class_text(cls) for cls in inspect.getmro(found)] if found else []
    if trained.startswith("recbole.") and trained in texts[1:]:
        return f"recbole:{name}"  # the class that ours of this name trains in another way
    if trained not in texts[:1]:
        given = f"recbole:{name}" if trained.startswith("recbole.") else trained
        raise checkpoint.CheckpointError(
            f"it holds a {name!r} of {trained!r}, which the name alone does not lead to: "
            f"give it with --model={given}"
        )
    return name


def saved_config(checkpoint_file, state, model, settings):
    """The configuration of a run, out of its checkpoint.

    Args:
        checkpoint_file (str or Path): of messages, and beside which checkpoints lie.
        state (dict): of `checkpoint.load`, with the fields of a run.
        model (str or type): as of `load_run`.
        settings (dict): over those of the run.

    Returns:
        SavedConfig: the configuration.

    Raises:
        CheckpointError, ConfigError, ValueError: as of `load_run`.
    """
    beside = {"checkpoint_dir": str(Path(checkpoint_file).parent)}  # RecBole makes the folder
    try:
        return SavedConfig(state, model, beside | settings)
    except (ConfigError, checkpoint.CheckpointError) as error:
        raise type(error)(f"{checkpoint_file}: {error}") from error
    except (TypeError, KeyError, AttributeError, IndexError, AssertionError) as error:
        raise checkpoint.CheckpointError(
            f"{checkpoint_file} is damaged: its settings are not those of a run ({error!r})"
        ) from error


class SavedRun(NamedTuple):
    """A run that can be evaluated again.

    Attributes:
        config (SavedConfig): its configuration.
        trainer (TrainerHooks): its trainer with the loaded model in evaluation mode, ``model``.
        train_data (AbstractDataLoader): training rows.
        valid_data (AbstractDataLoader): validation rows.
        test_data (AbstractDataLoader): test rows.
    """

    config: SavedConfig
    trainer: TrainerHooks
    train_data: AbstractDataLoader
    valid_data: AbstractDataLoader
    test_data: AbstractDataLoader


def load_run(checkpoint_file, model=None, **settings):
    """Rebuilds a run from a checkpoint, on the data it was trained on.

    The caller's random generators are left as they were.

    Args:
        checkpoint_file (str or Path): a best or last checkpoint.
        model (str or type): the model where its name alone does not say which:
            ``recbole:DiffRec``, ``my_module:MyModel`` or a class.
        **settings: settings over those of the run, like ``data_path``.

    Returns:
        SavedRun: configuration, trainer and the three loaders.

    Raises:
        CheckpointError: if the file is missing, is not a checkpoint of a run, or was trained on
            other data or as another model.
        ConfigError: on a setting that is unknown or out of range.
        DataError: if the data are missing or unusable.
        ValueError: on an unknown model.
    """
    state = checkpoint.load(checkpoint_file)
    checkpoint.check_fields(state, checkpoint_file, RUN)
    config = saved_config(checkpoint_file, state, model, settings)
    with own_randomness(config["seed"]):  # as a run is seeded before it splits
        _, (train_data, valid_data, test_data) = read_data(config)
        checkpoint.check_data(state, train_data._dataset, checkpoint_file)
    with own_randomness(config["seed"] + config["local_rank"]):
        network = make_network(config, train_data._dataset, checkpoint_file)
        with without_tensorboard():
            trainer = get_trainer(config)(config, network.to(config["device"]))
    trainer.attach(train_data._dataset)
    trainer._load_weights(checkpoint_file, state)
    trainer.saved_model_file = str(checkpoint_file)  # what evaluate loads unless told not to
    trainer.best_epoch = state["best_epoch"]
    trainer.best_valid_score = state["best_valid_score"]
    trainer.best_valid_result = state["best_valid_result"]
    network.eval()
    return SavedRun(config, trainer, train_data, valid_data, test_data)
