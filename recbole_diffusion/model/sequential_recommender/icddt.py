r"""
ICDDT
################################################
Reference:
    "Target Item-Oriented Conditional Diffusion Differential Transformer for Next-Item
    Prediction." in CIKM 2025. doi 10.1145/3746252.3761395

The embedding of the target item is diffused; the reverse process rebuilds it from noise under three
conditions: the interactions so far, the behaviour that is asked for, and the step.

Letters: B batch size, n positions in the batch, D hidden size, H heads, d = D / H, T diffusion
steps, S steps of the walk.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from recbole_diffusion.diffusion.gaussian import BetaVarianceDiffusion
from recbole_diffusion.diffusion.reverse import ancestral
from recbole_diffusion.diffusion.row_noise import normal_like
from recbole_diffusion.diffusion.schedules import PLAIN_SCHEDULES
from recbole_diffusion.diffusion.timesteps import Beta
from recbole_diffusion.model.layers.attention import DifferentialAttention
from recbole_diffusion.model.layers.basic import Dropout, StepEmbedding, init_normal
from recbole_diffusion.model.layers.sampled_softmax import ItemLoss
from recbole_diffusion.model.positions import align_right
from recbole_diffusion.model.settings import check_not_negative, check_whole, noise_betas
from recbole_diffusion.model.truncated import TruncatedWalk

NORM_EPS = 1e-12


class Conditions(NamedTuple):
    """What a batch is denoised under; the same at every level of a walk.

    Attributes:
        history (torch.Tensor): the embedded interactions, newest last, shape: [B, n, D].
        padded (torch.Tensor): True where a key must not be seen, shape: [B, 1, 1, n].
        queries (list[torch.Tensor]): projected behaviour queries of each block for the positions it
            has to give, shape: [B, 2H, n or 1, d].
        steps (list[StepTables]): step conditions of each block.
    """

    history: torch.Tensor
    padded: torch.Tensor
    queries: list
    steps: list


class StepTables(NamedTuple):
    """A block's modulation by the diffusion step, one row per level, shape: [T + 1, D] each."""

    shift: torch.Tensor
    scale: torch.Tensor
    gate: torch.Tensor


class ICDDTBlock(nn.Module):
    """Self-attention under the step, attention of the behaviours, feed-forward."""

    def __init__(self, hidden_size, n_heads, layer, dropout_prob):
        """Build the parts.

        Args:
            hidden_size (int): D.
            n_heads (int): H.
            layer (int): number of the block, from 1.
            dropout_prob (float): for all dropouts.
        """
        super().__init__()
        self.attention = DifferentialAttention(hidden_size, n_heads, layer, dropout_prob, NORM_EPS)
        self.behavior_attention = DifferentialAttention(
            hidden_size, n_heads, layer, dropout_prob, NORM_EPS
        )
        self.behavior_norm = nn.LayerNorm(hidden_size, eps=NORM_EPS)
        self.feed_forward_norm = nn.LayerNorm(hidden_size, eps=NORM_EPS)
        self.feed_forward = nn.Sequential(
            nn.Linear(hidden_size, 4 * hidden_size),
            nn.GELU(approximate="tanh"),
            Dropout(dropout_prob),
            nn.Linear(4 * hidden_size, hidden_size),
        )
        self.shift_scale = nn.Linear(hidden_size, 2 * hidden_size)
        self.gate = nn.Linear(hidden_size, hidden_size)
        self.dropout = Dropout(dropout_prob)
        # the attention's dropout and the residual's, one after the other, are one
        self.attention_dropout = Dropout(1 - (1 - dropout_prob) ** 2)

    def step_tables(self, c):
        """What the step does to this block.

        Args:
            c (torch.Tensor): step conditions, shape: [T + 1, D].

        Returns:
            StepTables: shift, scale and gate.
        """
        c = F.silu(c)
        return StepTables(*self.shift_scale(c).chunk(2, dim=-1), self.gate(c))

    def forward(self, h, query, padded, steps, t):
        """Let the last positions of h see all of it; as many as there are queries.

        Args:
            h (torch.Tensor): shape: [B, n, D].
            query (torch.Tensor): projected behaviours of the last n_q positions, shape:
                [B, 2H, n_q, d].
            padded (torch.Tensor): True where a key must not be seen, shape: [B, 1, 1, n].
            steps (StepTables): shift, scale and gate.
            t (torch.Tensor): levels, shape: [B].

        Returns:
            torch.Tensor: the last n_q positions, shape: [B, n_q, D].
        """
        shift, scale, gate = (F.embedding(t, table)[:, None] for table in steps)  # [B, 1, D]
        m = F.layer_norm(h, h.shape[-1:], eps=NORM_EPS) * scale + shift
        h = h + self.attention_dropout(self.attention(m, m, padded))

        n_q = query.shape[2]
        attention = self.behavior_attention
        attend = attention.attend_few if n_q == 1 else attention.attend
        seen = attend(query, self.behavior_norm(h), padded)  # [B, n_q, D]
        h = h[:, -n_q:] + self.attention_dropout(seen)

        h = h + self.dropout(gate * self.feed_forward(self.feed_forward_norm(h)))
        return self.dropout(h)


class ICDDT(TruncatedWalk):
    """Next-item prediction from interactions of several behaviours, or of one.

    Where the published program is not followed: padded keys are masked (there the rows of padded
    queries are), and the padding item is never a candidate.
    """

    behavior_input = True  # batches carry the behaviours
    croppable = True

    def __init__(self, config, dataset):
        """Build the model, or say why there is none.

        Args:
            config (Config): the keys of ``ICDDT.yaml`` and of RecBole's sequential models;
                ``BEHAVIOR_FIELD`` None means one behaviour.
            dataset (Dataset): gives ``num(field)`` and, with behaviours, ``target_behavior_ids``.

        Raises:
            ValueError: for a setting no model can be built with, with the reason.
        """
        super().__init__(config, dataset)
        check_whole(config, "n_layers")
        check_not_negative(config, "lambda_uncertainty")
        D, T, self.n_layers = self.hidden_size, config["diffusion_steps"], config["n_layers"]
        if D % 2:
            raise ValueError(f"hidden_size {D} is odd; half of the step embedding is cosines")
        self.BEHAVIOR = config["BEHAVIOR_FIELD"]
        self.lambda_uncertainty = config["lambda_uncertainty"]
        self.item_loss = ItemLoss(config, dataset)

        self.diffusion = BetaVarianceDiffusion.from_betas(noise_betas(config, PLAIN_SCHEDULES))
        self.step = ancestral(self.diffusion)
        self.timesteps = Beta(T, config["target_alpha"], config["target_beta"])
        self.auxiliary_timesteps = Beta(T, config["auxiliary_alpha"], config["auxiliary_beta"])
        self.truncate(config["truncation"], self._steps_of_mass(config["truncation_mass"]))

        if self.BEHAVIOR is None:
            n_behaviors, target_behaviors = 2, [1]  # padding, and the one there is
        else:
            n_behaviors = dataset.num(self.BEHAVIOR)
            target_behaviors = dataset.target_behavior_ids
        is_target = torch.zeros(n_behaviors, dtype=torch.bool)
        is_target[target_behaviors] = True
        self.register_buffer("is_target", is_target, persistent=False)

        self.behavior_embedding = nn.Embedding(n_behaviors, D, padding_idx=0)
        self.position_embedding = nn.Embedding(self.max_seq_length, D)
        self.history_norm = nn.LayerNorm(D, eps=NORM_EPS)
        self.history_dropout = Dropout(config["embedding_dropout_prob"])
        self.step_embedding = StepEmbedding(D, 4 * D, nn.SiLU(), scale=1000 / T)
        self.blocks = nn.ModuleList(
            ICDDTBlock(D, config["n_heads"], layer, config["hidden_dropout_prob"])
            for layer in range(1, self.n_layers + 1)
        )
        self.output_norm = nn.LayerNorm(D, eps=NORM_EPS)
        self.output_dropout = Dropout(config["hidden_dropout_prob"])
        self.apply(init_normal)

    def _steps_of_mass(self, mass):
        """The lowest levels that hold this share of the target behaviours' training (int)."""
        if not 0 < mass <= 1:
            raise ValueError(f"truncation_mass {mass} is not a share; it must lie in (0, 1]")
        below = self.timesteps.probabilities.double().cumsum(0) < mass - 1e-6
        return min(int(below.sum()), self.diffusion.steps)

    # ---------------------------------------------------------------- conditions
    def behaviors(self, interaction):
        """Behaviours of the history and of the target; 1 for all where there is only one.

        Args:
            interaction (Interaction): the batch.

        Returns:
            tuple[torch.Tensor, torch.Tensor]: history, left-aligned, shape: [B, n]; target, shape:
            [B].
        """
        if self.BEHAVIOR is None:
            sequence = (interaction[self.ITEM_SEQ] != 0).long()
            return sequence, sequence.new_ones(sequence.shape[0])
        suffix = self.ITEM_SEQ[len(self.ITEM_ID) :]
        return interaction[self.BEHAVIOR + suffix], interaction[self.BEHAVIOR]

    def behavior_query(self, attention, behavior):
        """Projected behaviours; the few rows of the table are projected, not every position.

        Args:
            attention (DifferentialAttention): whose queries they are.
            behavior (torch.Tensor): behaviour ids, shape: [B, n_q].

        Returns:
            torch.Tensor: shape: [B, 2H, n_q, d].
        """
        table = attention.query(self.behavior_embedding.weight)  # [n_behaviors, 2D]
        return attention.split(F.embedding(behavior, table))

    def output_positions(self, layer, n):
        """How many of the last of n positions a block has to give (int); the last block one."""
        return 1 if layer == self.n_layers else n

    def guidance(self, interaction):
        """The conditions: everything the network needs besides x_t and t.

        Args:
            interaction (Interaction): histories, left-aligned, and behaviours.

        Returns:
            Conditions: of the batch.
        """
        length = interaction[self.ITEM_SEQ_LEN]
        item = align_right(interaction[self.ITEM_SEQ], length)  # [B, n]
        behavior, target_behavior = self.behaviors(interaction)
        behavior = align_right(behavior, length)
        n = item.shape[1]
        history = self.item_embedding(item) + self.position_embedding.weight[-n:]
        history = history + self.behavior_embedding(behavior)  # [B, n, D]

        # position i asks for the behaviour of position i + 1
        asked = torch.cat([behavior[:, 1:], target_behavior[:, None]], dim=1)  # [B, n]
        queries = []
        for layer, block in enumerate(self.blocks, start=1):
            n_q = self.output_positions(layer, n)
            queries.append(self.behavior_query(block.behavior_attention, asked[:, -n_q:]))
        padded = item == 0
        padded[:, -1] = False  # an empty history sees its last padding: no softmax over nothing
        c = self.step_embedding(torch.arange(self.diffusion.steps + 1, device=item.device))
        steps = [block.step_tables(c) for block in self.blocks]
        return Conditions(history, padded[:, None, None], queries, steps)

    # ---------------------------------------------------------------- network
    def inject(self, x_t, H):
        """Where x_t enters the network: ``lam x_t + H``, each lam drawn from N(delta, delta^2).

        Args:
            x_t (torch.Tensor): the target at level t, shape: [B, D].
            H (torch.Tensor): the interaction sequence, shape: [B, n, D].

        Returns:
            torch.Tensor: shape: [B, n, D].
        """
        delta = self.lambda_uncertainty
        lam = normal_like(H, padded_in_front=True).mul_(delta).add_(delta)  # [B, n, D]
        return torch.addcmul(H, lam, x_t[:, None])

    def forward(self, x_t, t, conditions):
        """x0_hat, shape: [B, D]; arguments as in ``NextItemDiffusion.forward``."""
        h = self.inject(x_t, self.history_norm(self.history_dropout(conditions.history)))
        for block, query, steps in zip(self.blocks, conditions.queries, conditions.steps):
            h = block(h, query, conditions.padded, steps, t)
        return self.output_norm(self.output_dropout(h[:, -1]))

    # ---------------------------------------------------------------- training
    def sample_t(self, interaction, row):
        """Levels to train on; target behaviours and the others have distributions of their own.

        Args:
            interaction (Interaction): the batch.
            row (torch.Tensor): the row of each target, shape: [B].

        Returns:
            tuple[torch.Tensor, torch.Tensor]: levels in 1..T and the factors of their losses, 1;
            shape: [B] each.
        """
        behavior = self.behaviors(interaction)[1]
        target, factor = self.timesteps.sample(len(row))
        auxiliary, _ = self.auxiliary_timesteps.sample(len(row))
        return torch.where(self.is_target[behavior], target, auxiliary), factor
