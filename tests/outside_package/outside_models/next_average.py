"""A model of another package: one file, and one YAML beside it."""

import torch
from torch import nn

from recbole_diffusion.diffusion.gaussian import GaussianDiffusion
from recbole_diffusion.diffusion.reverse import ddim
from recbole_diffusion.diffusion.timesteps import PowerLaw
from recbole_diffusion.model.next_item import NextItemDiffusion
from recbole_diffusion.model.settings import check_shares, check_whole, noise_betas


class NextAverage(NextItemDiffusion):
    """An average of the history, where later items weigh more, guides the denoiser."""

    croppable = True

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        check_whole(config, "walk_levels")
        check_shares(config, "memory")
        D = self.hidden_size
        self.diffusion = GaussianDiffusion.from_betas(noise_betas(config, ("cosine", "sqrt")))
        self.timesteps = PowerLaw(self.diffusion.steps, 10.0)
        self.levels = self.levels_of(config["walk_levels"])
        self.step = ddim(self.diffusion, eta=0.0)
        self.memory = config["memory"]
        self.denoiser = nn.Sequential(nn.Linear(2 * D + 1, 2 * D), nn.GELU(), nn.Linear(2 * D, D))

    def guidance(self, interaction):
        """The average, shape: [B, D]."""
        item, length = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        age = length[:, None] - 1 - torch.arange(item.shape[1], device=item.device)  # [B, n]
        weight = torch.where(age >= 0, self.memory ** age.clamp(min=0), 0.0)
        return torch.einsum("bn,bnd->bd", weight, self.embed(item))

    def forward(self, x_t, t, guidance):
        """The estimate of the next item's embedding, shape: [M, D]."""
        level = t[:, None] / self.diffusion.steps
        return self.denoiser(torch.cat([x_t, guidance, level], dim=1))
