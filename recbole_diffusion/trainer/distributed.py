"""How do several processes train one model? Each on its rows of every batch, by torch's DDP.

RecBole's own way, with a process group of its own and samplers that repeat rows, stays off.
"""

import warnings
from contextlib import contextmanager

import torch
from recbole.trainer import TraditionalTrainer
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from recbole_diffusion import ranks
from recbole_diffusion.compat import without_tensorboard
from recbole_diffusion.config import traits
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.data.batch_randomness import NOT_OURS, seed_of
from recbole_diffusion.trainer.randomness import own_randomness


def refuse_what_cannot_be_shared(config, trainer):
    """Refuses a model whose batches several processes cannot divide.

    Args:
        config (Config): the run's configuration.
        trainer (type): the trainer of its model.

    Raises:
        ConfigError: naming the model and the reason.
    """
    if traits.of(config.model_class).mean_loss:
        return
    name, remedy = config["model"], "start it without torchrun"
    if issubclass(trainer, TraditionalTrainer):
        raise ConfigError(
            f"{name} is fitted in one pass, without gradients, which several processes cannot "
            f"share: {remedy}"
        )
    raise ConfigError(
        f"several processes divide a batch, which needs a loss that is a mean over its rows, and "
        f"of {name} that is not known: {remedy}, or declare mean_loss in a class of your own"
    )


@contextmanager
def sharing(loader):
    """Within the block a loader gives each process its share, see ``DrawnByBatch.share``."""
    loader.share = (ranks.rank(), ranks.count())
    try:
        yield
    finally:
        loader.share = (0, 1)


class _Loss(nn.Module):
    """What DDP calls, whose ``forward`` is the model's loss."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.unused = nn.Parameter(torch.zeros(()))  # without any, DDP says that it looked in vain

    def forward(self, interaction):
        return self.model.calculate_loss(interaction)


class _Silent:
    """A TensorBoard of a process that writes none."""

    def __getattr__(self, name):
        return lambda *arguments, **options: None


class SharedTraining:
    """Training by several processes; mixed in by `TrainerHooks`, and nothing for one process.

    All processes have the same model, optimiser, loaders and global random generators; what
    differs is drawn within an epoch, from the seed, the epoch and the process. So a checkpoint of
    the first one is one of all, and any number of processes can go on from it.
    """

    def __init__(self, config, model):
        if ranks.first():
            super().__init__(config, model)
        else:
            config["log_wandb"] = False
            with without_tensorboard():
                super().__init__(config, model)
            self.tensorboard = _Silent()
        self._parallel = None

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False):
        if ranks.count() == 1:
            return super()._train_epoch(train_data, epoch_idx, loss_func, show_progress)
        if self._parallel is None:
            # Settings may leave weights unused. And where DDP looks for them, it adds gradients in
            # the same order in every step; else in another one after the first, so that a run that
            # goes on would round otherwise. Buffers follow from the whole batch in every process.
            with warnings.catch_warnings():  # new names of what torch 2.6 has under this one
                warnings.simplefilter("ignore", FutureWarning)
                self._parallel = DistributedDataParallel(
                    _Loss(self.model), broadcast_buffers=False, find_unused_parameters=True
                )
        own = own_randomness(seed_of(self.config["seed"], epoch_idx, ranks.rank()))
        with own, sharing(self._train_data):
            return super()._train_epoch(train_data, epoch_idx, self._share_of_loss, show_progress)

    def _share_of_loss(self, interaction):
        """The loss of the whole batch, with the gradient of this process's rows.

        DDP takes the mean of the gradients over the processes, whatever rows they have; hence a
        loss that is a mean over n rows of N is weighed by n / N times the number of processes.

        Args:
            interaction (Interaction): this process's rows.

        Returns:
            torch.Tensor or tuple of it: shape: [].
        """
        n = self._terms(interaction)
        with ranks.with_empty_share(not n):
            losses = self._parallel(interaction)
        parts = losses if isinstance(losses, tuple) else (losses,)
        own = [n * part.item() if n else 0.0 for part in parts]
        total, *sums = ranks.summed([n, *own])
        weight = n * ranks.count() / total
        shares = [part * weight for part in parts]
        shares = tuple(x + (s / total - x).detach() for x, s in zip(shares, sums))
        return shares if isinstance(losses, tuple) else shares[0]

    def _terms(self, interaction):
        """Of how many terms the loss of some rows is a mean: one a row, or one a target (int)."""
        if NOT_OURS in interaction:
            return 0
        item = self.config["ITEM_ID_FIELD"]
        if item in interaction and interaction[item].dim() > 1:  # see ``positions.targets``
            return int((interaction[item] > 0).sum())
        return len(interaction)
