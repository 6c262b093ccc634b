"""Which model is checked, on which data, and how it is trained for a check?"""

from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from recbole.utils import ModelType

from recbole_diffusion.config import traits
from recbole_diffusion.config.config import Config
from recbole_diffusion.config.names import check_class, resolve
from recbole_diffusion.quick_start.quick_start import make_network, read_data
from recbole_diffusion.testing.made_up import chain, checkerboard, write
from recbole_diffusion.trainer.choose import get_trainer
from recbole_diffusion.trainer.randomness import own_randomness

EPOCHS = 3  # of the runs that are repeated, interrupted and resumed
# Settings of every check; those that the caller gives win.
SETTINGS = {
    "seed": 1,
    "use_gpu": False,
    "show_progress": False,
    "MAX_ITEM_LIST_LENGTH": 8,
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
    "metrics": ["Hit"],
    "topk": [1],
    "valid_metric": "Hit@1",
    "train_batch_size": 64,
    "learning_rate": 0.01,
    "epochs": 20,
}


class Interrupted(Exception):
    """Ends a training after an epoch, as a kill would."""


class Subject:
    """A model with the data and settings it is checked with.

    Args:
        model (str or type): the model's name or class.
        folder (str or Path): for data and checkpoints; None makes one.
        settings (dict): over ``SETTINGS``.

    Raises:
        ValueError: for an unknown model, or one that is neither general nor sequential.
    """

    def __init__(self, model, folder, settings):
        if not isinstance(model, type):
            model = resolve(str(model))[1]
        self.model_class, self.name = check_class(model), model.__name__
        if model.type not in (ModelType.GENERAL, ModelType.SEQUENTIAL, ModelType.TRADITIONAL):
            raise ValueError(
                f"{self.name} is a {model.type.name.lower()} model; the checks have data for "
                "general and sequential models"
            )
        self.sequential = model.type == ModelType.SEQUENTIAL
        self._temporary = TemporaryDirectory() if folder is None else None
        self.folder = Path(folder or self._temporary.name).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings = SETTINGS | {"data_path": str(self.folder / "data")} | settings
        if self.sequential and traits.of(model).behavior_input:
            behaviors = {"BEHAVIOR_FIELD": "behavior", "target_behavior": "buy"}
            self.settings = behaviors | self.settings

    def demand(self, holds, law, found=""):
        """Raises AssertionError with the model's name, the law and what was found, or passes."""
        if not holds:
            raise AssertionError(f"{self.name}: {law}" + (f": {found}" if str(found) else ""))

    def config(self, dataset="known", **settings):
        """Config: of the data set with a known answer, or of the ``random`` one."""
        rows = {"known": self._known, "random": self._random}[dataset]
        if not Path(self.settings["data_path"], dataset).is_dir():
            write(self.settings["data_path"], dataset, rows())
        return Config(self.model_class, dataset, config_dict=self.settings | settings)

    def _known(self):
        return chain() if self.sequential else checkerboard()

    def _random(self):
        return chain(follow=0.0) if self.sequential else checkerboard(shuffled=True)

    def loaders(self, config):
        """The data set's loaders of training, validation and test rows."""
        with own_randomness(config["seed"]):
            return read_data(config)[1]

    def network(self, config, dataset, seed=0, checkpoint_file=None):
        """The model, built under a seed, in evaluation mode."""
        with own_randomness(seed):
            return make_network(config, dataset, checkpoint_file).eval()

    @cached_property
    def fresh(self):
        """Fresh: an untrained model and its data."""
        config = self.config(checkpoint_dir=str(self.folder / "fresh"))
        train, _, test = self.loaders(config)
        with own_randomness(0):
            rows, batch = next(iter(train)), next(iter(test))[0]
        return Fresh(config, train._dataset, self.network(config, train._dataset), rows, batch)

    def train(self, folder, stop_after=None, resume=None, **settings):
        """A trainer after a training with checkpoints in a folder.

        Args:
            folder (str): for its checkpoints.
            stop_after (int): number of the epoch that is the last one, as by a kill.
            resume (str): the checkpoint to go on from.
            **settings: of the run.

        Returns:
            tuple: the trainer and the loader of test rows.
        """
        config = self.config(checkpoint_dir=str(self.folder / folder), **settings)
        train, valid, test = self.loaders(config)

        def stop(epoch, score):
            if epoch + 1 == stop_after:
                raise Interrupted

        with own_randomness(config["seed"]):
            network = make_network(config, train._dataset, resume)
            trainer = get_trainer(config)(config, network)
            trainer.attach(train._dataset)
            if resume:
                trainer.resume_checkpoint(resume)
            try:
                trainer.fit(train, valid, verbose=False, callback_fn=stop)
            except Interrupted:
                pass
        return trainer, test

    @cached_property
    def trained(self):
        """A short training that nothing interrupts: trainer and loader of test rows."""
        return self.train("whole", epochs=EPOCHS, eval_step=1)

    @property
    def fitted_at_once(self):
        """Whether the model is fitted when it is built, as one that only counts (bool)."""
        return self.trained[0].epochs_done < EPOCHS

    def hits(self, dataset):
        """Share of the test rows whose item comes first, before and after training (float)."""
        config = self.config(dataset, eval_step=self.settings["epochs"], stopping_step=10**6)
        train, valid, test = self.loaders(config)
        with own_randomness(config["seed"]):
            trainer = get_trainer(config)(config, make_network(config, train._dataset, None))
            trainer.attach(train._dataset)
            found = [trainer.evaluate(test, load_best_model=False)["hit@1"]]
            trainer.fit(train, valid, verbose=False, saved=False)
            found.append(trainer.evaluate(test, load_best_model=False)["hit@1"])
        return found


class Fresh(NamedTuple):
    """An untrained model with its data.

    Attributes:
        config (Config): its configuration.
        dataset (Dataset): the built training data.
        network (torch.nn.Module): the model in evaluation mode.
        rows (Interaction): a batch of training rows.
        batch (Interaction): a batch of test rows.
    """

    config: object
    dataset: object
    network: object
    rows: object
    batch: object
