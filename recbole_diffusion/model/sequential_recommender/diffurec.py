r"""
DiffuRec
################################################
Reference:
    Zihao Li, Aixin Sun, Chenliang Li. "DiffuRec: A Diffusion Model for Sequential Recommendation."
    in TOIS 2023. arXiv:2304.00686

The noised target enters every position of the history; a Transformer gives it back at the last one.

Letters: B rows of a batch, n positions, D hidden size, T diffusion steps.
"""

from typing import NamedTuple

import torch
from torch import nn

from recbole_diffusion.diffusion.gaussian import GaussianDiffusion
from recbole_diffusion.diffusion.reverse import ancestral
from recbole_diffusion.diffusion.row_noise import normal_like
from recbole_diffusion.diffusion.schedules import PLAIN_SCHEDULES
from recbole_diffusion.diffusion.timesteps import Uniform
from recbole_diffusion.model import settings
from recbole_diffusion.model.layers.basic import Dropout, StepEmbedding, init_normal
from recbole_diffusion.model.layers.sampled_softmax import ItemLoss
from recbole_diffusion.model.truncated import TruncatedWalk


class History(NamedTuple):
    """Items' embeddings [B, n, D], where there is none [B, n], and the last one's place [B]."""

    e: torch.Tensor
    padded: torch.Tensor
    last: torch.Tensor


class DiffuRec(TruncatedWalk):
    """Ranks by the inner product with the rebuilt target.

    x_t enters every position, so a target would be shown to the other prefixes of its sequence:
    training takes one row per prefix. The Transformer sees no positions, as in the paper.
    """

    croppable = True

    def __init__(self, config, dataset):
        """Build the model from the keys of ``DiffuRec.yaml``; a wrong one is a ValueError."""
        super().__init__(config, dataset)
        settings.check_whole(config, "n_layers")
        settings.check_heads(config)
        settings.check_not_negative(config, "lambda_uncertainty")
        settings.check_shares(config, "hidden_dropout_prob", "embedding_dropout_prob")
        D, dropout = self.hidden_size, config["hidden_dropout_prob"]
        self.diffusion = GaussianDiffusion.from_betas(settings.noise_betas(config, PLAIN_SCHEDULES))
        self.timesteps, self.step = Uniform(self.diffusion.steps), ancestral(self.diffusion)
        self.truncate(config["truncation"])
        self.item_loss = ItemLoss(config, dataset)

        self.delta = config["lambda_uncertainty"]
        self.step_embedding = StepEmbedding(D, 4 * D, nn.SiLU())
        self.dropout, self.norm = Dropout(config["embedding_dropout_prob"]), nn.LayerNorm(D)
        block = nn.TransformerEncoderLayer(
            D, config["n_heads"], 4 * D, dropout, activation="gelu", batch_first=True
        )
        block.dropout = block.dropout1 = block.dropout2 = Dropout(dropout)
        self.blocks = nn.TransformerEncoder(block, config["n_layers"], enable_nested_tensor=False)
        self.apply(init_normal)

    def guidance(self, interaction):
        """The history, a ``History``."""
        item, length = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        padded = torch.arange(item.shape[1], device=item.device) >= length.clamp(min=1)[:, None]
        return History(self.item_embedding(item), padded, length.clamp(min=1) - 1)

    def forward(self, x_t, t, history):
        """``z_i = e_i + lambda_i (x_t + d_t)``, lambda_i ~ N(delta, delta^2), and Transformer."""
        lam = self.delta * (1 + normal_like(history.e[..., :1]))  # [B, n, 1]
        z = history.e + lam * (x_t + self.step_embedding(t))[:, None]
        z = self.blocks(self.norm(self.dropout(z)), src_key_padding_mask=history.padded)
        return self.gather_indexes(z, history.last)
