"""What do all models share that generate the embedding of the next item?"""

import torch
import torch.nn.functional as F
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import nn

from recbole_diffusion.diffusion.reverse import walk
from recbole_diffusion.diffusion.row_noise import normal_like
from recbole_diffusion.model.layers.cross_entropy import full_cross_entropy
from recbole_diffusion.model.positions import targets
from recbole_diffusion.model.settings import check_flags, check_whole
from recbole_diffusion.model.walk_steps import WalkSteps


class NextItemDiffusion(WalkSteps, SequentialRecommender):
    """Corrupts the embedding of the next item, rebuilds it from the history, and ranks by what a
    reverse walk generates.

    A subclass sets four attributes in its constructor and gives two methods:

    - ``diffusion``, a process such as ``GaussianDiffusion``; ``timesteps``, a ``TimestepSampler``;
      ``levels``, the levels a walk visits, the last one 0; ``step``, a step for ``reverse.walk``;
    - ``guidance(interaction)`` and ``forward(x_t, t, guidance)``.

    It overrides ``losses``, ``items``, ``guidance_at``, ``sample_t`` or ``generate`` where it
    differs from what is here. Letters: B rows of a batch, M targets of a batch, D hidden size.
    """

    input_type = InputType.POINTWISE
    mean_loss = True
    generates = True

    def __init__(self, config, dataset):
        """Build the items' embeddings, ``item_embedding``.

        Args:
            config (Config): with ``hidden_size``, ``diffusion_steps``, ``ablate_x_t`` and the keys
                of RecBole's sequential models, ``train_neg_sample_args: ~`` among them.
            dataset (Dataset): the built training data.

        Raises:
            ValueError: for a setting of these that no model can be built with, with the reason.
        """
        super().__init__(config, dataset)
        check_whole(config, "hidden_size", "diffusion_steps")
        check_flags(config, "ablate_x_t")
        if config["train_neg_sample_args"]["distribution"] != "none":
            raise ValueError(
                f"train_neg_sample_args draws random items, on which {type(self).__name__} would "
                "train as on targets: set `train_neg_sample_args: ~` in properties/model/"
                f"{config['model']}.yaml"
            )
        self.hidden_size, self.ablate_x_t = config["hidden_size"], config["ablate_x_t"]
        self.item_embedding = nn.Embedding(self.n_items, self.hidden_size, padding_idx=0)
        self.item_loss = full_cross_entropy  # or an ``ItemLoss``, of a model that has its keys

    # ---------------------------------------------------------------- what a subclass gives
    def guidance(self, interaction):
        """What is known of the histories; the same at every level of a walk.

        Args:
            interaction (Interaction): histories, left-aligned.

        Returns:
            torch.Tensor or tuple: a tensor with one row per history, shape: [B, ...], or a tuple
            whose first part is such a tensor.
        """
        raise NotImplementedError(f"{type(self).__name__}.guidance")

    def forward(self, x_t, t, guidance):
        """Estimate the clean embedding.

        Args:
            x_t (torch.Tensor): the target at level t, shape: [M, D].
            t (torch.Tensor): levels in 1..T, shape: [M].
            guidance (torch.Tensor or tuple): of the targets' histories.

        Returns:
            torch.Tensor: x0_hat, shape: [M, D].
        """
        raise NotImplementedError(f"{type(self).__name__}.forward")

    # ---------------------------------------------------------------- what it may give
    def items(self):
        """Embeddings of all items, shape: [n_items, D]."""
        return self.item_embedding.weight

    def embed(self, item):
        """Embeddings of the given items, shapes: [M] and [M, D]."""
        return F.embedding(item, self.items())

    def losses(self, x0_hat, x0, target):
        """Cross-entropy of the inner products with all items but the padding, or with a sample.

        Args:
            x0_hat (torch.Tensor): the rebuilt embeddings, shape: [M, D].
            x0 (torch.Tensor): the targets' embeddings, shape: [M, D].
            target (torch.Tensor): target items, shape: [M].

        Returns:
            torch.Tensor: one loss per target, shape: [M].
        """
        return self.item_loss(x0_hat, self.items(), target)

    def guidance_at(self, interaction, row, position):
        """The guidance of the targets' histories in training.

        Here that of the whole histories: a model that trains on all positions at once (the trait
        ``causal``) gives that of the prefixes which end at the given positions.

        Args:
            interaction (Interaction): the batch.
            row (torch.Tensor): the row of each target, shape: [M].
            position (torch.Tensor): the last position of its history, shape: [M].

        Returns:
            torch.Tensor or tuple: as of ``guidance``, one row per target.
        """
        return self.guidance(interaction)

    def sample_t(self, interaction, row):
        """Levels to train on; arguments as in ``guidance_at``.

        Returns:
            tuple[torch.Tensor, torch.Tensor]: levels and the factors of their losses, shape: [M].
        """
        return self.timesteps.sample(len(row))

    # ---------------------------------------------------------------- training
    def denoise(self, x_t, t, guidance):
        """``forward``, with 0 in place of x_t if ``ablate_x_t``: what is the diffusion worth?"""
        return self.forward(torch.zeros_like(x_t) if self.ablate_x_t else x_t, t, guidance)

    def rebuild(self, target, t, guidance):
        """Corrupt the targets to level t and estimate them.

        Args:
            target (torch.Tensor): target items, shape: [M].
            t (torch.Tensor): levels in 1..T, shape: [M].
            guidance (torch.Tensor or tuple): of the targets' histories.

        Returns:
            tuple[torch.Tensor, torch.Tensor]: x0_hat and x0, shape: [M, D] each.
        """
        x0 = self.embed(target)
        x_t = self.diffusion.q_sample(x0, t, torch.randn_like(x0))
        return self.denoise(x_t, t, guidance), x0

    def calculate_loss(self, interaction):
        """The mean of ``losses`` over the targets, times the factors of their levels.

        Args:
            interaction (Interaction): the batch, one row per prefix, or windows with a target at
                every position, see ``positions.targets``.

        Returns:
            torch.Tensor: shape: [].
        """
        length = interaction[self.ITEM_SEQ_LEN]
        row, position, target = targets(interaction[self.POS_ITEM_ID], length)
        guidance = self.guidance_at(interaction, row, position)
        t, factor = self.sample_t(interaction, row)
        losses = self.losses(*self.rebuild(target, t, guidance), target)
        self.timesteps.update(t, losses)
        return (factor * losses).mean()

    # ---------------------------------------------------------------- scoring
    @property
    def denoiser_calls(self):
        """Passes through the denoiser for a scored row: one per step of the walk (int)."""
        return len(self.levels) - 1

    @torch.no_grad()
    def generate(self, guidance):
        """The next item's embedding, by a walk from noise.

        Args:
            guidance (torch.Tensor or tuple): as of ``guidance``.

        Returns:
            torch.Tensor: x_0, shape: [B, D].
        """
        first = guidance[0] if isinstance(guidance, tuple) else guidance
        empty = torch.empty(first.shape[0], self.hidden_size, device=first.device)
        start = self.diffusion.start(normal_like(empty))
        return walk(lambda x, t: self.denoise(x, t, guidance), start, self.levels, self.step)

    def full_sort_predict(self, interaction):
        """Scores of all items, the padding in column 0.

        Args:
            interaction (Interaction): the batch.

        Returns:
            torch.Tensor: shape: [B, n_items].
        """
        return self.generate(self.guidance(interaction)) @ self.items().T

    def predict(self, interaction):
        """Scores of the given items.

        Args:
            interaction (Interaction): the batch.

        Returns:
            torch.Tensor: shape: [B].
        """
        x0 = self.generate(self.guidance(interaction))
        return (x0 * self.embed(interaction[self.ITEM_ID])).sum(dim=1)
