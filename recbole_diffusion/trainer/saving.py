"""What of a run is kept, when, and how does it go on from there?"""

from logging import getLogger
from pathlib import Path
from time import monotonic

import torch
from torch import nn

from recbole_diffusion import ranks
from recbole_diffusion.trainer import checkpoint
from recbole_diffusion.trainer.evaluation import floats
from recbole_diffusion.trainer.fields import RUN, TRAINING, wrong_other, wrong_weights
from recbole_diffusion.trainer.randomness import random_states
from recbole_diffusion.trainer.training_state import (
    Unfit,
    check_random,
    restore_counters,
    restore_optimizers,
    restore_schedulers,
)

logger = getLogger(__name__)


class SavingHooks:
    """Checkpoints of a trainer: the best model, and the last state; mixed in by `TrainerHooks`."""

    def _end_of_epoch(self, epoch):
        if self._saved:
            self._save_last(epoch)

    def _state(self, epoch):
        named = checkpoint.tokens(self.dataset)
        return {
            "model": self.config["model"],
            "class": checkpoint.class_text(type(self.model)),
            "dataset": self.config["dataset"],
            "config": checkpoint.config_text(self.config),
            "fingerprint": checkpoint.fingerprint(named),
            "tokens": named,
            "item_counts": self.item_counts,
            "interactions": getattr(self.dataset, "interactions", None),
            "epoch": epoch,
            "best_epoch": self.best_epoch,
            "best_valid_score": float(self.best_valid_score),
            "best_valid_result": floats(self.best_valid_result),
            "state_dict": self.model.state_dict(),
            "other_parameter": {
                name: value
                for name, value in self.model.other_parameter().items()
                if not isinstance(value, nn.Module)  # its weights are in the state_dict
            },
        }

    def _save_checkpoint(self, epoch, verbose=True, **kwargs):
        if epoch < 0 and self._resumed is not None:
            return  # nothing left to train: the best model is on disk already
        self.best_epoch = epoch + 1
        self.best_valid_result = self._valid_result  # RecBole sets it after saving
        path = kwargs.get("saved_model_file", self.saved_model_file)
        checkpoint.save(path, self._state(epoch))
        if verbose:
            self.logger.info(f"best model so far: {path}")
        if not self._has_validation:
            self._end_of_epoch(epoch)

    def save_pretrained_model(self, epoch, saved_model_file):
        """Stores a stage of RaCT or S3Rec in our format; RecBole would pickle its Config."""
        checkpoint.save(saved_model_file, self._state(epoch))
        self.saved_model_file = saved_model_file

    def _save_last(self, epoch):
        state = self._state(epoch)
        state.update(
            optimizers={name: value.state_dict() for name, value in self._optimizers().items()},
            # what a host model counts outside its state_dict (MultiVAE's annealing step)
            counters={k: v for k, v in vars(self.model).items() if type(v) in (int, float)},
            schedulers={name: value.state_dict() for name, value in self.schedulers.items()},
            cur_step=self.cur_step,
            random=random_states(),
            loaders=[generator.get_state() for generator in self._generators()],
            seconds=[self.train_seconds, self.valid_seconds],
            curve=self.curve,
            budget_seconds=self.seconds_before + monotonic() - self._begin,
            stopped_by=self.stopped_by,
        )
        checkpoint.save(self.last_file, state)

    def resume_checkpoint(self, resume_file):
        """Goes on from a ``last`` checkpoint as if training had not been interrupted.

        Args:
            resume_file (str or Path): the file.

        Raises:
            CheckpointError: if it is of another model, of other data or of other settings, cannot
                be read, or is not beside its best model.
        """
        state = checkpoint.load(resume_file)
        if "optimizers" not in state or not str(resume_file).endswith(".last.pth"):
            raise checkpoint.CheckpointError(
                f"{resume_file} holds a model but no training state; resume from a .last.pth file"
            )
        for fields in (RUN, TRAINING):
            checkpoint.check_fields(state, resume_file, fields)
        best = str(resume_file).removesuffix(".last.pth") + ".best.pth"
        if state["best_epoch"] and not ranks.from_first(Path(best).is_file):
            raise checkpoint.CheckpointError(f"{best}, the run's best model so far, is not there")
        if state["best_epoch"]:  # else a damaged one would be found when all is trained
            checkpoint.check_fields(checkpoint.load(best), best, RUN)
        self._load_weights(resume_file, state)
        checkpoint.check_settings(state, self.config, resume_file)
        try:
            restore_optimizers(self._optimizers(), state["optimizers"])
            restore_schedulers(self.schedulers, state["schedulers"])
            restore_counters(self.model, state["counters"])
            check_random(state["random"], state["loaders"])
        except Unfit as error:
            raise checkpoint.CheckpointError(f"{resume_file} does not fit: {error}") from error
        self.start_epoch = self.epochs_done = state["epoch"] + 1
        self.cur_step = state["cur_step"]
        self.best_epoch = state["best_epoch"]
        self.best_valid_score = state["best_valid_score"]
        self.best_valid_result = state["best_valid_result"]
        self.train_seconds, self.valid_seconds = state["seconds"]
        self.curve = state.get("curve", [])  # of a checkpoint that is older than curves: none
        self.seconds_before = state["budget_seconds"]
        seconds = self.config["max_train_seconds"]
        self._budget_spent = (
            state["best_epoch"] > 0 and seconds is not None and self.seconds_before >= seconds
        )
        if self._out_of_patience():
            self.start_epoch = self.epochs
        self.last_file, self.saved_model_file = str(resume_file), best
        self._resumed = state
        logger.info(f"resumed from {resume_file} after epoch {state['epoch'] + 1}")

    def _load_weights(self, path, state=None):
        state = checkpoint.load(path) if state is None else state
        checkpoint.check_fields(state, path, RUN)
        if state["model"] != self.config["model"]:
            raise checkpoint.CheckpointError(
                f"{path} holds a {state['model']}, not a {self.config['model']}"
            )
        if self.dataset is not None:
            checkpoint.check_data(state, self.dataset, path)
        wrong = wrong_weights(state["state_dict"], self.model)
        if wrong:
            raise checkpoint.CheckpointError(
                f"the weights of {path} do not fit this model; its settings were others, or it is "
                f"damaged: {wrong}"
            )
        wrong = wrong_other(state["other_parameter"], self.model)
        if wrong:
            raise checkpoint.CheckpointError(f"the other_parameter of {path} do not fit: {wrong}")
        self.model.load_state_dict(state["state_dict"])
        other = {
            name: value.to(self.device) if isinstance(value, torch.Tensor) else value
            for name, value in state["other_parameter"].items()
        }
        try:
            self.model.load_other_parameter(other)
        except ValueError as error:
            raise checkpoint.CheckpointError(
                f"the other_parameter of {path} do not fit: {error}"
            ) from error


def newest_last(config, as_before=False):
    """The newest ``last`` checkpoint of this model, data set and configuration, or None.

    With ``as_before`` it is that of a run of an earlier version, see ``checkpoint.run_name``.
    """
    folder = Path(config["checkpoint_dir"])
    files = folder.glob(f"{checkpoint.run_name(config, as_before)}-*.last.pth")
    return max(files, key=lambda file: file.stat().st_mtime, default=None)
