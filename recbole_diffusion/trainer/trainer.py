"""Trainers: RecBole's, with checkpoints that resume, a time budget, and an honest evaluation."""

import math
import secrets
from contextlib import contextmanager
from functools import partial
from logging import getLogger
from pathlib import Path
from time import monotonic, strftime

import torch
from recbole.trainer import TraditionalTrainer, Trainer

from recbole_diffusion import ranks
from recbole_diffusion.config import traits
from recbole_diffusion.evaluator.gathering import GatheringCollector
from recbole_diffusion.trainer import checkpoint
from recbole_diffusion.trainer.collapse import CollapseWatch
from recbole_diffusion.trainer.distributed import SharedTraining
from recbole_diffusion.trainer.evaluation import EvaluationHooks
from recbole_diffusion.trainer.randomness import set_random_states
from recbole_diffusion.trainer.saving import SavingHooks
from recbole_diffusion.trainer.scoring import ScoresError, cause
from recbole_diffusion.trainer.short_walks import ShortWalkHooks
from recbole_diffusion.trainer.telling import TellingHooks

logger = getLogger(__name__)


class BudgetSpent(Exception):
    """Raised inside ``fit`` when ``max_train_seconds`` have passed."""


class LossError(ValueError):
    """The training loss is not finite: there is nothing to go on with."""


class WatchedLoader:
    """A training loader that counts its batches and ends the epoch when time is up.

    ``bar`` gives, within its block, a function to call after each batch. One batch is always given,
    so that there is a loss. Of several processes the first one whose time is up ends it for all.
    """

    def __init__(self, loader, deadline, bar):
        self.loader, self.deadline, self.bar = loader, deadline, bar
        self.batch, self.cut = -1, False

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        with self.bar(len(self)) as done:
            for rows in self.loader:
                self.batch += 1
                yield rows
                done()
                if self.deadline < math.inf and any(ranks.summed([monotonic() >= self.deadline])):
                    self.cut = True
                    return

    def __getattr__(self, name):
        return getattr(self.loader, name)


class TrainerHooks(SavingHooks, ShortWalkHooks, EvaluationHooks, TellingHooks, SharedTraining):
    """What every trainer here does beyond RecBole's; mixed in before a RecBole trainer.

    ``config`` keys read: ``lr_scheduler``, ``adam_betas``, ``max_train_seconds``, ``resume``,
    ``candidates``, ``seed``, ``compile``.

    Attributes:
        saved_model_file (str): the best model.
        last_file (str): the state after the last epoch.
        best_epoch (int): epoch of the best model, from 1; 0 before there is one.
        epochs_done (int): epochs begun so far; the last one may be cut by the budget.
        stopped_by (str): what ended training: epochs, early stopping or max_train_seconds.
        build_seconds, train_seconds, valid_seconds, eval_seconds (float): wall time of building the
            model, of training, of validation, and of the last call of `evaluate`.
        never_trained (dict): the audit of the last evaluation, see `NeverTrainedAudit`.
        curve (list of list): epoch, seconds of training and validation so far, and validation
            score, one a validation.
        evaluation_seed (int): of the random generator that evaluations have for themselves.
        walk_report (dict): why scoring takes as many reverse steps as were found, see
            `ShortWalkHooks.find_steps`; or None.
        doing (str): what is ranked now, in words, for a bar.
        search_ends (float): when a search for a shorter walk is over at the latest, of `monotonic`;
            None where none is going on.
        observer: what else looks at the ranked rows, with ``collect`` as the audit has it; or None.
    """

    def __init__(self, config, model):
        Path(config["checkpoint_dir"]).mkdir(parents=True, exist_ok=True)  # two runs at once
        super().__init__(config, model)
        self.eval_collector = GatheringCollector(config)
        # Two runs of one command in one second have names of their own.
        when = f"{strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        name = ranks.from_first(lambda: f"{checkpoint.run_name(config)}-{when}")
        self.saved_model_file = str(Path(self.checkpoint_dir, f"{name}.best.pth"))
        self.last_file = str(Path(self.checkpoint_dir, f"{name}.last.pth"))
        self.schedulers = {}
        if config["lr_scheduler"] is not None:
            try:
                self.schedulers = {
                    name: torch.optim.lr_scheduler.ReduceLROnPlateau(
                        optimizer, **config["lr_scheduler"]
                    )
                    for name, optimizer in self._optimizers().items()
                }
            except TypeError as error:
                raise ValueError(f"lr_scheduler {config['lr_scheduler']}: {error}") from error
        self.eval_step = min(self.eval_step, self.epochs)  # epochs is 1 for models that only count
        self.best_epoch = self.epochs_done = 0
        self.build_seconds = 0.0  # known to who built the model
        self.train_seconds = self.valid_seconds = self.eval_seconds = 0.0
        self.seconds_before = 0.0  # of the budget, spent before a resume
        self.stopped_by = None
        self.never_trained = None
        self.curve = []
        self.evaluation_seed = config["seed"]
        self.observer = None
        self.doing = "ranking"
        self.search_ends = None
        self._ranked = None
        self._has_validation = False
        self.walk_report = None
        self.item_counts = self.trained_items = None
        self.dataset = None
        self._valid_result = None
        self._resumed = None
        self._watched = None
        self._budget_spent = False

    def _build_optimizer(self, **kwargs):
        optimizer = super()._build_optimizer(**kwargs)
        changes = {}
        if self.config["adam_betas"] is not None:
            changes["betas"] = tuple(self.config["adam_betas"])
        if traits.of(type(self.model)).fused_adam and isinstance(optimizer, torch.optim.Adam):
            changes["fused"] = True  # AdamW is one too
        for group in optimizer.param_groups:
            group.update(changes)
        return optimizer

    def attach(self, dataset):
        """Tells the trainer what it trains on.

        Args:
            dataset (recbole.data.dataset.Dataset): the built training data; its tokens go into the
                checkpoints, its items are the trained ones.
        """
        self.dataset = dataset
        if hasattr(dataset, "trained_items"):
            self.trained_items, self.item_counts = dataset.trained_items(), dataset.item_counts()
        self.collapse = CollapseWatch(self.model, self.trained_items, self.logger)

    # ---------------------------------------------------------------- training
    def fit(
        self,
        train_data,
        valid_data=None,
        verbose=True,
        saved=True,
        show_progress=False,
        callback_fn=None,
    ):
        """Trains as RecBole does, within the budget, with a ``last`` checkpoint every epoch.

        Args:
            train_data (DataLoader): training rows.
            valid_data (DataLoader): validation rows; None trains without selection.
            verbose (bool): log every epoch.
            saved (bool): write checkpoints.
            show_progress (bool): progress bars.
            callback_fn (callable): called with (epoch, score) after each validation.

        Returns:
            tuple: best validation score (float) and its metrics (dict).

        Raises:
            LossError: if the loss is not finite, with epoch, batch and likely cause.
            ScoresError: if scores of validation are not. The best model so far stays on disk.
        """
        if self.dataset is None:
            self.attach(train_data._dataset)
        self._saved = saved
        self._has_validation = bool(valid_data) and self.eval_step > 0
        self._train_data = train_data
        show_progress = show_progress and ranks.first()
        self._begin = monotonic()
        if self._resumed is not None:
            set_random_states(self._resumed["random"])
            generators, states = self._generators(), self._resumed["loaders"]
            if len(generators) != len(states):
                raise checkpoint.CheckpointError(
                    f"{self.last_file} holds the states of {len(states)} loaders, here there are "
                    f"{len(generators)}"
                )
            for generator, state in zip(generators, states):
                generator.set_state(state.cpu())

        def after_validation(epoch, score):
            self._tell_epoch(epoch, score)
            self._end_of_epoch(epoch)
            if callback_fn:
                callback_fn(epoch, score)
            if self._budget_spent:
                raise BudgetSpent

        try:
            with self._compiled():
                super().fit(train_data, valid_data, verbose, saved, show_progress, after_validation)
        except BudgetSpent:
            logger.info(
                f"max_train_seconds = {self.config['max_train_seconds']} are over: training ends "
                f"in epoch {self.epochs_done}"
            )
        except (LossError, ScoresError) as error:
            raise type(error)(f"{error}{self._what_is_kept()}") from error
        self.stopped_by = "early stopping" if self._out_of_patience() else "epochs"
        if self._budget_spent:
            self.stopped_by = "max_train_seconds"
        if saved and self.epochs_done:
            self._save_last(self.epochs_done - 1)
        self._after_fit(valid_data, show_progress)
        return self.best_valid_score, self.best_valid_result

    @contextmanager
    def _compiled(self):
        """Within the block the model's loss is compiled, if that is asked for."""
        if not self.config["compile"]:
            yield
            return
        # dynamic: batches have histories of other lengths
        self.model.calculate_loss = torch.compile(self.model.calculate_loss, dynamic=True)
        try:
            yield
        finally:
            del self.model.calculate_loss  # which hid the one of the class

    def _what_is_kept(self):
        if not (self._saved and self.best_epoch and Path(self.saved_model_file).is_file()):
            return ""
        return f"; the best model so far, of epoch {self.best_epoch}, is {self.saved_model_file}"

    def _out_of_patience(self):
        return self.cur_step > self.stopping_step

    def _generators(self):
        """Random generators of the training loader; RecBole's knowledge loader has two inside."""
        inner = ("general_dataloader", "kg_dataloader")
        loaders = [self._train_data, *(getattr(self._train_data, name, None) for name in inner)]
        return [loader.generator for loader in loaders if hasattr(loader, "generator")]

    def _optimizers(self):
        """The optimisers by attribute.

        RecBole's RecVAE has one for the encoder and one for the decoder, and ``optimizer`` is only
        the name of the one in use.
        """
        named = {
            name: value
            for name, value in vars(self).items()
            if isinstance(value, torch.optim.Optimizer)
        }
        if len(named) > 1:
            del named["optimizer"]
        return named

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False):
        deadline = float("inf")
        if self.config["max_train_seconds"] is not None:
            left = self.config["max_train_seconds"] - self.seconds_before
            deadline = self._begin + left
        if self._budget_spent:
            raise BudgetSpent  # here where there is no validation, else after it
        self._epoch_begin = begin = monotonic()
        self._epoch = epoch_idx
        bar = partial(self._bar_of_epoch, show_progress=show_progress)
        self._watched = WatchedLoader(train_data, deadline, bar)
        loss = super()._train_epoch(self._watched, epoch_idx, loss_func, False)
        self.train_seconds += monotonic() - begin
        self.epochs_done = epoch_idx + 1
        if self._watched.cut:
            self._budget_spent = True
            self.eval_step = min(self.eval_step, 1)  # evaluate what there is
        else:
            total = sum(loss) if isinstance(loss, tuple) else loss
            for scheduler in self.schedulers.values():
                scheduler.step(total / len(train_data))
        return loss

    def _check_nan(self, loss):
        if torch.isfinite(loss).all():
            return
        what = "the data of this batch, and at the loss of the model"
        raise LossError(
            f"the training loss is {loss.item()} in epoch {self._epoch}, batch "
            f"{self._watched.batch if self._watched else '?'} "
            f"with learning_rate {self.learning_rate}; {cause(self.model, what)}"
        )

    def _valid_epoch(self, valid_data, show_progress=False):
        begin = monotonic()
        self.doing = f"validation after epoch {self._epoch + 1}"
        score, result = super()._valid_epoch(valid_data, show_progress)
        self._valid_result = result
        self.valid_seconds += monotonic() - begin
        seconds = round(self.train_seconds + self.valid_seconds, 3)
        self.curve.append([self._epoch + 1, seconds, float(score)])
        for metric, value in result.items():
            self.tensorboard.add_scalar(f"Valid/{metric}", value, self._epoch)
        for name, value in self.collapse.look().items():
            self.tensorboard.add_scalar(f"Embedding/{name}", value, self._epoch)
        return score, result

    def _add_train_loss_to_tensorboard(self, epoch_idx, losses, tag="Loss/Train"):
        super()._add_train_loss_to_tensorboard(epoch_idx, losses, tag)
        rate = self.optimizer.param_groups[0]["lr"]
        self.tensorboard.add_scalar("Train/learning_rate", rate, epoch_idx)
        self.tensorboard.add_scalar("Train/seconds", self.train_seconds, epoch_idx)
        # Called after every epoch, before its validation; what ends with one is stored after it.
        if self._has_validation and (epoch_idx + 1) % self.eval_step == 0:
            return
        self._tell_epoch(epoch_idx)
        if self._has_validation:
            self._end_of_epoch(epoch_idx)


class DiffusionTrainer(TrainerHooks, Trainer):
    """RecBole's plain trainer with our hooks: of our models and of most of RecBole's."""


class CountingTrainer(TrainerHooks, TraditionalTrainer):
    """Of models that are fitted when they are built: one epoch, nothing to learn."""
