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
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import nn

from recbole_diffusion.diffusion.gaussian import BetaVarianceDiffusion
from recbole_diffusion.diffusion.reverse import ancestral
from recbole_diffusion.diffusion.schedules import SCHEDULES
from recbole_diffusion.diffusion.timesteps import Beta
from recbole_diffusion.model.layers.attention import DifferentialAttention
from recbole_diffusion.model.layers.basic import Dropout, sinusoid
from recbole_diffusion.model.layers.cross_entropy import full_cross_entropy

NORM_EPS = 1e-12
NOISE_SCHEDULES = ("trunc_lin", "linear", "pw_lin", "cosine", "sqrt", "trunc_cos")


class Conditions(NamedTuple):
    """What a batch is denoised under; the same at every level of a walk.

    Attributes:
        history (torch.Tensor): the interaction sequence H, newest last, shape: [B, n, D].
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
    """A block's modulation by the diffusion step, a row a level, shape: [T + 1, D] each."""

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


class ICDDT(SequentialRecommender):
    """Next-item prediction from interactions of several behaviours, or of one.

    Where the published program is not followed: padded keys are masked (there the rows of padded
    queries are), and the padding item is never a candidate.
    """

    input_type = InputType.POINTWISE
    behavior_input = True  # batches carry the behaviours
    croppable = True
    shorter_walk = "lowest"
    trainer = "recbole_diffusion.trainer.truncation:TruncationTrainer"

    def __init__(self, config, dataset):
        """Build the model, or say why there is none.

        Args:
            config (Config): the keys of ``ICDDT.yaml`` and of the host's sequential models;
                ``BEHAVIOR_FIELD`` None means one behaviour.
            dataset (Dataset): gives ``num(field)`` and, with behaviours, ``target_behavior_ids``.

        Raises:
            ValueError: for a setting no model can be built with, with the reason.
        """
        super().__init__(config, dataset)
        self.BEHAVIOR = config["BEHAVIOR_FIELD"]
        self.hidden_size = config["hidden_size"]
        self.n_layers = config["n_layers"]
        self.lambda_uncertainty = config["lambda_uncertainty"]
        steps = config["diffusion_steps"]
        schedule = config["noise_schedule"]
        if schedule not in NOISE_SCHEDULES:
            raise ValueError(
                f"noise_schedule {schedule!r} is unknown; known: {', '.join(NOISE_SCHEDULES)}"
            )
        if self.n_layers < 1:
            raise ValueError(f"n_layers {self.n_layers}; there must be at least 1")
        if self.hidden_size % 2:
            raise ValueError(
                f"hidden_size {self.hidden_size} is odd; half of the step embedding is cosines"
            )
        if self.lambda_uncertainty < 0:
            raise ValueError(
                f"lambda_uncertainty {self.lambda_uncertainty} is a standard deviation; "
                f"it cannot be negative"
            )

        self.diffusion = BetaVarianceDiffusion(SCHEDULES[schedule](steps))
        self.target_sampler = Beta(steps, config["target_alpha"], config["target_beta"])
        self.auxiliary_sampler = Beta(steps, config["auxiliary_alpha"], config["auxiliary_beta"])

        if self.BEHAVIOR is None:
            n_behaviors, target_behaviors = 2, [1]  # padding, and the one there is
        else:
            n_behaviors = dataset.num(self.BEHAVIOR)
            target_behaviors = dataset.target_behavior_ids
        is_target = torch.zeros(n_behaviors, dtype=torch.bool)
        is_target[target_behaviors] = True
        self.register_buffer("is_target", is_target, persistent=False)

        D = self.hidden_size
        self.item_embedding = nn.Embedding(self.n_items, D, padding_idx=0)
        self.behavior_embedding = nn.Embedding(n_behaviors, D, padding_idx=0)
        self.position_embedding = nn.Embedding(self.max_seq_length, D)
        self.history_norm = nn.LayerNorm(D, eps=NORM_EPS)
        self.history_dropout = Dropout(config["embedding_dropout_prob"])
        self.step_embedding = nn.Sequential(nn.Linear(D, 4 * D), nn.SiLU(), nn.Linear(4 * D, D))
        self.blocks = nn.ModuleList(
            ICDDTBlock(D, config["n_heads"], layer, config["hidden_dropout_prob"])
            for layer in range(1, self.n_layers + 1)
        )
        self.output_norm = nn.LayerNorm(D, eps=NORM_EPS)
        self.output_dropout = Dropout(config["hidden_dropout_prob"])
        self.apply(self._init_weights)

        time_input = torch.arange(-1, steps, dtype=torch.float64) * (1000 / steps)  # (t - 1)
        self.register_buffer("time_input", time_input.float(), persistent=False)  # [T + 1]
        walk_steps = self._walk_steps(config["truncation"], config["truncation_mass"])
        self.register_buffer("walk_steps", torch.tensor(walk_steps))

    @staticmethod
    def _init_weights(module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

    def _walk_steps(self, truncation, mass):
        """Number of steps to walk before any evidence; ``auto`` begins with all.

        Args:
            truncation (float or str): share of the levels in (0, 1], ``mass`` or ``auto``.
            mass (float): of the target behaviours' sampling distribution, in (0, 1].

        Returns:
            int: S in 1..T.

        Raises:
            ValueError: if the truncation or the mass is none of these.
        """
        steps = self.diffusion.steps
        if truncation == "auto":
            return steps
        if truncation == "mass":
            if not 0 < mass <= 1:
                raise ValueError(f"truncation_mass {mass} is no share; it must lie in (0, 1]")
            below = self.target_sampler.probabilities.double().cumsum(0) < mass - 1e-6
            return min(int(below.sum()), steps)
        is_number = isinstance(truncation, (int, float)) and not isinstance(truncation, bool)
        if is_number and 0 < truncation <= 1:
            return max(1, int(steps * truncation + 1e-9))  # 100 * 0.29 is 28.999...
        raise ValueError(
            f"truncation {truncation!r} is neither a share of the steps in (0, 1], nor 'mass', "
            f"nor 'auto'"
        )

    def inject(self, x_t, history):
        """Where x_t enters the network: ``lam x_t + H``, each lam drawn from N(delta, delta^2).

        Args:
            x_t (torch.Tensor): the target at level t, shape: [B, D].
            history (torch.Tensor): the interaction sequence H, shape: [B, n, D].

        Returns:
            torch.Tensor: shape: [B, n, D].
        """
        delta = self.lambda_uncertainty
        lam = torch.randn_like(history).mul_(delta).add_(delta)  # [B, n, D]
        return torch.addcmul(history, lam, x_t[:, None])

    def output_positions(self, layer, n):
        """How many of the last positions a block has to give: the last block only one.

        Args:
            layer (int): number of the block, from 1.
            n (int): positions there are.

        Returns:
            int: from 1 to n.
        """
        return 1 if layer == self.n_layers else n

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

    def step_tables(self):
        """Step conditions of every block for all levels at once.

        Returns:
            list[StepTables]: one a block.
        """
        c = self.step_embedding(sinusoid(self.time_input, self.hidden_size, self.hidden_size / 2))
        return [block.step_tables(c) for block in self.blocks]

    def align_right(self, sequence, length):
        """Move left-aligned sequences to the right, so that the newest is in the last column.

        Args:
            sequence (torch.Tensor): padded with 0 behind, shape: [B, n].
            length (torch.Tensor): shape: [B].

        Returns:
            torch.Tensor: padded with 0 in front, shape: [B, n].
        """
        n = sequence.shape[1]
        column = torch.arange(n, device=sequence.device) + length[:, None]
        return sequence.gather(1, column % n)

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
            return sequence, sequence.new_ones(len(sequence))
        suffix = self.ITEM_SEQ[len(self.ITEM_ID) :]
        return interaction[self.BEHAVIOR + suffix], interaction[self.BEHAVIOR]

    def conditions(self, interaction):
        """Everything the network needs besides x_t and t.

        Args:
            interaction (Interaction): histories, left-aligned, and behaviours.

        Returns:
            Conditions: of the batch.
        """
        length = interaction[self.ITEM_SEQ_LEN]
        item = self.align_right(interaction[self.ITEM_SEQ], length)  # [B, n]
        behavior, target_behavior = self.behaviors(interaction)
        behavior = self.align_right(behavior, length)
        n = item.shape[1]

        history = self.item_embedding(item) + self.position_embedding.weight[-n:]
        history = history + self.behavior_embedding(behavior)
        history = self.history_norm(self.history_dropout(history))  # [B, n, D]

        # position i asks for the behaviour of position i + 1
        asked = torch.cat([behavior[:, 1:], target_behavior[:, None]], dim=1)  # [B, n]
        queries = [
            self.behavior_query(
                block.behavior_attention, asked[:, -self.output_positions(layer, n) :]
            )
            for layer, block in enumerate(self.blocks, start=1)
        ]
        padded = item == 0
        padded[:, -1] = False  # an empty history sees its last padding: no softmax over nothing
        return Conditions(history, padded[:, None, None], queries, self.step_tables())

    def forward(self, x_t, t, conditions):
        """Estimate the clean target.

        Args:
            x_t (torch.Tensor): the target at level t, shape: [B, D].
            t (torch.Tensor): levels in 1..T, shape: [B].
            conditions (Conditions): of the batch.

        Returns:
            torch.Tensor: x0_hat, shape: [B, D].
        """
        h = self.inject(x_t, conditions.history)
        for block, query, steps in zip(self.blocks, conditions.queries, conditions.steps):
            h = block(h, query, conditions.padded, steps, t)
        return self.output_norm(self.output_dropout(h[:, -1]))

    def sample_t(self, interaction):
        """Levels to train on; target behaviours and the others have distributions of their own.

        Args:
            interaction (Interaction): the batch.

        Returns:
            torch.Tensor: levels in 1..T, shape: [B].
        """
        _, target_behavior = self.behaviors(interaction)
        target, _ = self.target_sampler.sample(len(target_behavior))
        auxiliary, _ = self.auxiliary_sampler.sample(len(target_behavior))
        return torch.where(self.is_target[target_behavior], target, auxiliary)

    def loss(self, x0_hat, item):
        """Cross-entropy of the scores of all items but the padding.

        Args:
            x0_hat (torch.Tensor): shape: [B, D].
            item (torch.Tensor): target items, shape: [B].

        Returns:
            torch.Tensor: mean over the batch, shape: [].
        """
        return full_cross_entropy(x0_hat, self.item_embedding.weight, item)

    def calculate_loss(self, interaction):
        """Diffuse the targets to random levels and rebuild them.

        Args:
            interaction (Interaction): the batch.

        Returns:
            torch.Tensor: training loss, shape: [].
        """
        item = interaction[self.POS_ITEM_ID]
        x0 = self.item_embedding(item)
        t = self.sample_t(interaction)
        x_t = self.diffusion.q_sample(x0, t, torch.randn_like(x0))
        return self.loss(self.forward(x_t, t, self.conditions(interaction)), item)

    @torch.no_grad()
    def generate(self, interaction, steps):
        """Walk from noise to a target embedding.

        Args:
            interaction (Interaction): histories and the behaviour that is asked for.
            steps (int): S, the level to start from, in 1..T.

        Returns:
            torch.Tensor: x_0, shape: [B, D].
        """
        conditions = self.conditions(interaction)
        x = torch.randn_like(conditions.history[:, 0])  # [B, D]
        return ancestral(self.diffusion, lambda x_t, t: self.forward(x_t, t, conditions), x, steps)

    @property
    def denoiser_calls(self):
        """Passes through the denoiser for a scored row: one a reverse step (int)."""
        return int(self.walk_steps)

    def predict(self, interaction):
        """Scores of the given items.

        Args:
            interaction (Interaction): the batch.

        Returns:
            torch.Tensor: shape: [B].
        """
        x0 = self.generate(interaction, int(self.walk_steps))
        return (x0 * self.item_embedding(interaction[self.ITEM_ID])).sum(dim=-1)

    def full_sort_predict(self, interaction):
        """Scores of all items, the padding in column 0.

        Args:
            interaction (Interaction): the batch.

        Returns:
            torch.Tensor: shape: [B, n_items].
        """
        return self.score_items(self.generate(interaction, int(self.walk_steps)))

    def score_items(self, x0):
        """Scores of all items for generated targets.

        Args:
            x0 (torch.Tensor): shape: [B, D].

        Returns:
            torch.Tensor: shape: [B, n_items].
        """
        return x0 @ self.item_embedding.weight.T
