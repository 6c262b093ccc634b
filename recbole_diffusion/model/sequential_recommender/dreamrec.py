r"""
DreamRec
################################################
Reference:
    Zhengyi Yang, Jiancan Wu, Zhicai Wang, Xiang Wang, Yancheng Yuan, Xiangnan He. "Generate What
    You Prefer: Reshaping Sequential Recommendation via Guided Diffusion." in NeurIPS 2023.
    arXiv:2310.20453

The embedding of the next item is generated from noise under the guidance of the history; no
negative samples. What training never saw keeps its initial norm and ranks first for everybody:
look at the metrics with never-trained items barred (``candidates``), which every result holds.

Letters: B rows of a batch, n positions in the batch, M targets, D hidden size, T number of levels.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from recbole_diffusion.diffusion.affine import compose, guided
from recbole_diffusion.diffusion.gaussian import GaussianDiffusion
from recbole_diffusion.diffusion.reverse import ancestral, ddim, walk
from recbole_diffusion.diffusion.row_noise import normal_like
from recbole_diffusion.diffusion.timesteps import PowerLaw
from recbole_diffusion.model import settings
from recbole_diffusion.model.derived import Derived
from recbole_diffusion.model.layers.attention import CausalEncoder
from recbole_diffusion.model.layers.basic import StepEmbedding
from recbole_diffusion.model.next_item import NextItemDiffusion
from recbole_diffusion.model.positions import at

# the paper's names of its schedules -> the names here
SCHEDULE_NAMES = {
    "linear": "linear_fixed",
    "exp": "exp",
    "cosine": "cosine_clipped",
    "sqrt": "sqrt",
}


class DreamRec(NextItemDiffusion):
    """Ranks by the inner product with a generated embedding.

    The defaults are not the published settings, which are in ``DreamRec@<dataset>.yaml``: with the
    squared error alone the items' embeddings shrink towards one point and little is learnt.
    ``normalize``, ``ce_weight``, ``level_power``, ``embedding_std``, ``item_embeddings`` and
    ``pretrain`` are not in the paper.

    Where the published program is not followed: dropout is off when scoring, every row is ranked,
    the padding is not a candidate, and the model is selected on validation.
    """

    causal = True  # the state at a position is the guidance of the prefix
    croppable = True
    item_table = True  # the embeddings that items begin with are handed to the constructor
    fused_adam = True
    weighs_guidance = True
    renamed = {"sampling_noise": "reverse_noise"}
    shorter_walk = "sampler"
    collapse_advice = (
        "the squared error alone is smallest when all items are one point: set normalize: True, a "
        "ce_weight such as 0.1, or fixed embeddings (item_embeddings or pretrain)"
    )

    def __init__(self, config, dataset, item_table=None):
        """Build the model, or say why there is none.

        Args:
            config (Config): the keys of ``DreamRec.yaml`` and of RecBole's sequential models.
            dataset (Dataset): the built training data.
            item_table (torch.Tensor): the items' first embeddings, brought to a root mean square of
                ``embedding_std``, shape: [n_items, D]; None draws them.

        Raises:
            ValueError: for a setting no model can be built with, with the reason.
        """
        super().__init__(config, dataset)
        settings.check_whole(config, "sampling_steps")
        settings.check_not_negative(
            config, "guidance_weight", "noise_min", "noise_max", "ce_weight"
        )
        settings.check_above_zero(config, "embedding_std", "level_power")
        settings.check_shares(config, "dropout_prob", "guidance_dropout")
        settings.check_flags(config, "reverse_noise", "normalize", "train_items")
        settings.check_known(config, "denoiser", ("linear", "mlp"))
        if config["sampler"] is not None:
            settings.check_known(config, "sampler", ("exact", "ddim", "ancestral"))
        D = self.hidden_size
        if D % 2 or D < 4:
            raise ValueError(f"hidden_size is {D}; half of the step embedding is sines: 4, 6, ...")
        self.guidance_weight = config["guidance_weight"]
        self.guidance_dropout = config["guidance_dropout"]
        self.reverse_noise = config["reverse_noise"]
        self.normalize, self.ce_weight = config["normalize"], config["ce_weight"]

        bounds = (config["noise_min"], config["noise_max"])
        bounds = bounds if config["noise_schedule"] == "exp" else ()
        self.diffusion = GaussianDiffusion.from_betas(
            settings.noise_betas(config, SCHEDULE_NAMES, *bounds)
        )
        self.timesteps = PowerLaw(self.diffusion.steps, config["level_power"])
        linear = config["denoiser"] == "linear"
        self.sampler = config["sampler"] or ("exact" if linear else "ddim")
        if self.sampler == "exact" and not linear:
            raise ValueError("sampler exact needs the linear denoiser, not mlp: take ddim")
        if self.sampler != "ddim":
            if self.wanted_steps not in (None, "auto"):
                raise ValueError(
                    f"walk_steps {self.wanted_steps}: the sampler {self.sampler} takes no fewer "
                    "steps; set sampler: ddim"
                )
            self.wanted_steps = None
        count = config["sampling_steps"] if self.sampler == "ddim" else self.diffusion.steps
        self.levels = self.levels_of(count)

        with torch.no_grad():
            if item_table is not None:
                self.item_embedding.weight.copy_(item_table / item_table[1:].square().mean().sqrt())
            self.item_embedding.weight.mul_(config["embedding_std"])
        self.item_embedding.weight.requires_grad_(config["train_items"])
        self.no_guidance = nn.Parameter(torch.randn(D))
        self.encoder = CausalEncoder(D, self.max_seq_length, config["dropout_prob"])
        self.step_embedding = StepEmbedding(D, 2 * D, nn.GELU(), gaps=D / 2 - 1, sin_first=True)
        if linear:
            self.denoiser = nn.Linear(3 * D, D)
        else:
            self.denoiser = nn.Sequential(nn.Linear(3 * D, 2 * D), nn.GELU(), nn.Linear(2 * D, D))
        self.closed_walk = Derived(self._make_closed_walk, self)

    def train(self, mode=True):
        """As ``nn.Module.train``, which ``eval`` calls too; what is derived is made again."""
        self.closed_walk.forget()
        return super().train(mode)

    # ---------------------------------------------------------------- network
    def items(self):
        """Of all items, [n_items, D]; with ``normalize`` each of length sqrt(D), as noise has."""
        weight = self.item_embedding.weight
        return F.normalize(weight) * math.sqrt(self.hidden_size) if self.normalize else weight

    def states(self, interaction):
        """The guidance of every prefix, shape: [B, n, D]."""
        return self.encoder(self.embed(interaction[self.ITEM_SEQ]))

    def guidance(self, interaction):
        """The state at the last item, h, shape: [B, D]."""
        return self.gather_indexes(self.states(interaction), interaction[self.ITEM_SEQ_LEN] - 1)

    def guidance_at(self, interaction, row, position):
        """The states of the prefixes; some are replaced by the learnt vector for none."""
        h = at(self.states(interaction), row, position)  # [M, D]
        drop = torch.rand(len(h), 1, device=h.device) < self.guidance_dropout
        return torch.where(drop, self.no_guidance, h)

    def forward(self, x_t, t, h):
        """``x0_hat = f(x_t, t, h)``, shape: [M, D]; h is the guidance, shape: [M, D]."""
        return self.denoiser(torch.cat([x_t, h, self.step_embedding(t)], dim=1))

    def guided(self, x_t, t, h):
        """``(1 + w) f(x, t, h) - w f(x, t, none)``, both in one call; shapes as in ``forward``."""
        both = torch.cat([h, self.no_guidance.expand_as(h)])
        with_h, without = self.denoise(x_t.repeat(2, 1), t.repeat(2), both).unflatten(0, (2, -1))
        return (1 + self.guidance_weight) * with_h - self.guidance_weight * without

    # ---------------------------------------------------------------- training
    def losses(self, x0_hat, x0, target):
        """Squared error of the rebuilt targets; its gradient reaches a target both ways.

        ``ce_weight``, which the paper does not have, adds a cross-entropy of the rebuilt target's
        inner products with all items, over sqrt(D). Its length is free there, also with
        ``normalize``: cosines over a fixed temperature (.03 to .25) were worse on validation.
        """
        losses = (x0_hat - x0).square().mean(dim=1)
        if self.ce_weight:
            scaled = x0_hat / math.sqrt(self.hidden_size)
            losses = losses + self.ce_weight * super().losses(scaled, x0, target)
        return losses

    # ---------------------------------------------------------------- scoring
    def _make_closed_walk(self):
        """The guided walk of the linear denoiser in closed form."""
        w_x, w_h, w_s = self.denoiser.weight.double().split(self.hidden_size, dim=1)
        levels = torch.arange(self.diffusion.steps + 1, device=self.device)
        prediction = guided(
            torch.zeros_like(w_x) if self.ablate_x_t else w_x,
            w_h,
            w_s,
            self.denoiser.bias.double(),
            self.step_embedding(levels).double(),
            self.no_guidance.double(),
            self.guidance_weight,
        )
        walked = compose(self.diffusion, prediction, self.diffusion.steps)
        return type(walked)(*(part.float() for part in walked))

    @property
    def step(self):
        """The step of the plain walks (Callable)."""
        if self.sampler == "ddim":
            return ddim(self.diffusion, eta=0.0)
        return ancestral(self.diffusion, noise=self.reverse_noise)

    @property
    def denoiser_calls(self):
        """Two a step, with the history and without; none in closed form (int)."""
        return 0 if self.sampler == "exact" else 2 * super().denoiser_calls

    @torch.no_grad()
    def generate(self, h):
        """The next item's embedding.

        Without ``reverse_noise`` walks start from 0 and add nothing: the exact one gives its mean,
        and the ancestral one the same mean step by step.

        Args:
            h (torch.Tensor): guidance, shape: [B, D].

        Returns:
            torch.Tensor: x_0, shape: [B, D].
        """
        noise = normal_like(h) if self.reverse_noise else torch.zeros_like(h)
        if self.sampler == "exact":
            return self.closed_walk().sample(h, noise)
        start = self.diffusion.start(noise)
        return walk(lambda x, t: self.guided(x, t, h), start, self.levels, self.step)
