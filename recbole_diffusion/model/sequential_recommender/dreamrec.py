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
from recbole.utils import InputType
from torch import nn

from recbole_diffusion.diffusion.affine import compose, guided
from recbole_diffusion.diffusion.gaussian import GaussianDiffusion
from recbole_diffusion.diffusion.reverse import ancestral, ddim, evenly_spaced
from recbole_diffusion.diffusion.schedules import SCHEDULES
from recbole_diffusion.diffusion.timesteps import PowerLaw
from recbole_diffusion.model.derived import Derived
from recbole_diffusion.model.generated_item import GeneratedItemRecommender
from recbole_diffusion.model.layers.basic import Dropout, sinusoid
from recbole_diffusion.model.layers.cross_entropy import full_cross_entropy
from recbole_diffusion.model.positions import at, targets
from recbole_diffusion.model.settings import (
    check_above_zero,
    check_flags,
    check_not_negative,
    check_shares,
    check_whole,
)

# the paper's names -> the names here
NOISE_SCHEDULES = {
    "linear": "linear_fixed",
    "exp": "exp",
    "cosine": "cosine_clipped",
    "sqrt": "sqrt",
}
NORM_EPS = 1e-5


class HistoryEncoder(nn.Module):
    """One causal self-attention layer and a position-wise feed-forward layer.

    Keys and values come from the sequence as it is, queries from its LayerNorm, to which the
    residual goes too; positions count from the left.
    """

    def __init__(self, hidden_size, max_length, dropout_prob):
        """Build the layers.

        Args:
            hidden_size (int): D.
            max_length (int): longest history.
            dropout_prob (float): of the sequence, the attention map and the feed-forward layer.
        """
        super().__init__()
        D = hidden_size
        self.position_embedding = nn.Embedding(max_length, D)
        self.dropout = Dropout(dropout_prob)
        self.query, self.key, self.value = (nn.Linear(D, D) for _ in range(3))
        self.inner, self.outer = nn.Linear(D, D), nn.Linear(D, D)
        names = ("query_norm", "attention_norm", "feed_forward_norm", "output_norm")
        for name in names:
            setattr(self, name, nn.LayerNorm(D, eps=NORM_EPS))

    def forward(self, x):
        """The state at every position, each of which sees itself and what is before it.

        Padding stands behind the items, so no item's state sees it.

        Args:
            x (torch.Tensor): item embeddings, left-aligned, shape: [B, n, D].

        Returns:
            torch.Tensor: shape: [B, n, D].
        """
        n = x.shape[1]
        x = self.dropout(x + self.position_embedding.weight[:n])
        normed = self.query_norm(x)
        score = self.query(normed) @ self.key(x).transpose(1, 2) / math.sqrt(x.shape[2])
        later = torch.ones(n, n, dtype=torch.bool, device=x.device).triu(1)
        attention = score.masked_fill(later, -math.inf).softmax(dim=2)  # [B, n, n]
        y = self.attention_norm(self.dropout(attention) @ self.value(x) + normed)
        y = self.feed_forward_norm(self.dropout(self.outer(F.relu(self.inner(y)))) + y)
        return self.output_norm(y)


class DreamRec(GeneratedItemRecommender):
    """Ranks by the inner product with a generated embedding.

    The defaults are not the published settings, which are in ``DreamRec@<dataset>.yaml``: with the
    squared error alone the items' embeddings shrink towards one point and little is learnt.
    ``normalize``, ``ce_weight``, ``level_power``, ``embedding_std``, ``item_embeddings`` and
    ``pretrain`` are not in the paper.

    Where the published program is not followed: dropout is off when scoring, every row is ranked,
    the padding is no candidate, and the model is selected on validation.
    """

    input_type = InputType.POINTWISE
    causal = True  # the state at a position is the guidance of the prefix
    croppable = True
    item_table = True  # the embeddings that items begin with are handed to the constructor
    fused_adam = True
    weighs_guidance = True
    shorter_walk = "sampler"
    collapse_advice = (
        "the squared error alone is smallest when all items are one point: set normalize: True, a "
        "ce_weight such as 0.1, or fixed embeddings (item_embeddings or pretrain)"
    )

    def __init__(self, config, dataset, item_table=None):
        """Build the model, or say why there is none.

        Args:
            config (Config): the keys of ``DreamRec.yaml`` and of the host's sequential models.
            dataset (Dataset): the built training data.
            item_table (torch.Tensor): the items' first embeddings, brought to a root mean square of
                ``embedding_std``, shape: [n_items, D]; None draws them.

        Raises:
            ValueError: for a setting no model can be built with, with the reason.
        """
        super().__init__(config, dataset)
        check_whole(config, "hidden_size", "diffusion_steps", "sampling_steps")
        check_not_negative(config, "guidance_weight", "noise_min", "noise_max", "ce_weight")
        check_above_zero(config, "embedding_std", "level_power")
        check_shares(config, "dropout_prob", "guidance_dropout")
        check_flags(config, "sampling_noise", "normalize", "train_items", "ablate_x_t")
        D = config["hidden_size"]
        if D % 2 or D < 4:
            raise ValueError(f"hidden_size is {D}; half of the step embedding is sines: 4, 6, ...")
        self.hidden_size = D
        self.guidance_weight = config["guidance_weight"]
        self.guidance_dropout = config["guidance_dropout"]
        self.sampling_noise = config["sampling_noise"]
        self.diffusion = GaussianDiffusion(self._betas(config))
        self.timesteps = PowerLaw(self.diffusion.steps, config["level_power"])
        self.sampler, self.levels = self._sampler(config)

        self.normalize, self.ce_weight = config["normalize"], config["ce_weight"]
        self.ablate_x_t = config["ablate_x_t"]
        self.item_embedding = nn.Embedding(self.n_items, D, padding_idx=0)
        with torch.no_grad():
            if item_table is not None:
                self.item_embedding.weight.copy_(item_table / item_table[1:].square().mean().sqrt())
            self.item_embedding.weight.mul_(config["embedding_std"])
        self.item_embedding.weight.requires_grad_(config["train_items"])
        self.no_guidance = nn.Parameter(torch.randn(D))
        self.encoder = HistoryEncoder(D, self.max_seq_length, config["dropout_prob"])
        self.step_embedding = nn.Sequential(nn.Linear(D, 2 * D), nn.GELU(), nn.Linear(2 * D, D))
        if config["denoiser"] == "linear":
            self.denoiser = nn.Linear(3 * D, D)
        else:
            self.denoiser = nn.Sequential(nn.Linear(3 * D, 2 * D), nn.GELU(), nn.Linear(2 * D, D))
        self.steps = Derived(self._make_steps, self.step_embedding)
        self.closed_walk = Derived(self._make_closed_walk, self)

    @staticmethod
    def _betas(config):
        name, steps = config["noise_schedule"], config["diffusion_steps"]
        if name not in NOISE_SCHEDULES:
            raise ValueError(
                f"noise_schedule {name!r} is unknown; known: {', '.join(NOISE_SCHEDULES)}"
            )
        bounds = (config["noise_min"], config["noise_max"]) if name == "exp" else ()
        return SCHEDULES[NOISE_SCHEDULES[name]](steps, *bounds)

    def _sampler(self, config):
        """The sampler's name and the levels it visits.

        Raises:
            ValueError: for an unknown name, or ``exact`` where the denoiser is not linear.
        """
        denoiser, sampler = config["denoiser"], config["sampler"]
        if denoiser not in ("linear", "mlp"):
            raise ValueError(f"denoiser {denoiser!r} is neither linear nor mlp")
        if sampler is None:
            sampler = "exact" if denoiser == "linear" else "ddim"
        if sampler not in ("exact", "ddim", "ancestral"):
            raise ValueError(f"sampler {sampler!r} is neither exact nor ddim nor ancestral")
        if sampler == "exact" and denoiser != "linear":
            raise ValueError(f"sampler exact needs the linear denoiser, not {denoiser}: take ddim")
        count = config["sampling_steps"] if sampler == "ddim" else self.diffusion.steps
        return sampler, evenly_spaced(self.diffusion.steps, count)

    def train(self, mode=True):
        """As ``nn.Module.train``, which ``eval`` calls too; what is derived is made anew."""
        self.steps.forget()
        self.closed_walk.forget()
        return super().train(mode)

    # ---------------------------------------------------------------- network
    def items(self):
        """Embeddings of all items; with ``normalize`` each of length sqrt(D), as noise has.

        Returns:
            torch.Tensor: shape: [n_items, D].
        """
        weight = self.item_embedding.weight
        return F.normalize(weight) * math.sqrt(self.hidden_size) if self.normalize else weight

    def embed_steps(self, t):
        """Embeddings of levels.

        Args:
            t (torch.Tensor): levels, shape: [B].

        Returns:
            torch.Tensor: shape: [B, D].
        """
        D = self.hidden_size
        return self.step_embedding(sinusoid(t - 1, D, D / 2 - 1, sin_first=True))

    def _make_steps(self):
        """Embeddings of all levels, shape: [T + 1, D]."""
        return self.embed_steps(torch.arange(self.diffusion.steps + 1, device=self.device))

    def guidance(self, interaction):
        """The state at the last item.

        Args:
            interaction (Interaction): histories, left-aligned.

        Returns:
            torch.Tensor: h, shape: [B, D].
        """
        state = self.states(interaction)
        return self.gather_indexes(state, interaction[self.ITEM_SEQ_LEN] - 1)

    def states(self, interaction):
        """The guidance of every prefix, shape: [B, n, D]; argument as above."""
        return self.encoder(F.embedding(interaction[self.ITEM_SEQ], self.items()))

    def forward(self, x_t, h, step):
        """Estimate the clean embedding.

        Args:
            x_t (torch.Tensor): the target at level t, shape: [B, D].
            h (torch.Tensor): guidance, shape: [B, D].
            step (torch.Tensor): embedding of t, shape: [B, D].

        Returns:
            torch.Tensor: x0_hat, shape: [B, D].
        """
        if self.ablate_x_t:
            x_t = torch.zeros_like(x_t)
        return self.denoiser(torch.cat([x_t, h, step], dim=1))

    def guided(self, x_t, h, step):
        """``(1 + w) f(x, h, t) - w f(x, none, t)``, both in one call; shapes as in ``forward``."""
        none = self.no_guidance.expand_as(h)
        both = self.forward(x_t.repeat(2, 1), torch.cat([h, none]), step.repeat(2, 1))
        with_h, without = both.chunk(2)
        return (1 + self.guidance_weight) * with_h - self.guidance_weight * without

    # ---------------------------------------------------------------- training
    def calculate_loss(self, interaction):
        """Squared error of the rebuilt targets; its gradient reaches a target both ways.

        ``ce_weight``, which the paper does not have, adds a cross-entropy of the rebuilt target's
        inner products with all items, over sqrt(D). Its length is free there, also with
        ``normalize``: cosines over a fixed temperature (.03 to .25) were worse on validation.

        Args:
            interaction (Interaction): the batch, a row a prefix or a window with a target at every
                position, see ``positions.targets``.

        Returns:
            torch.Tensor: shape: [].
        """
        items, length = self.items(), interaction[self.ITEM_SEQ_LEN]
        row, position, target = targets(interaction[self.POS_ITEM_ID], length)
        x0 = F.embedding(target, items)
        h = at(self.states(interaction), row, position)  # [M, D]
        drop = torch.rand(len(h), 1, device=h.device) < self.guidance_dropout
        h = torch.where(drop, self.no_guidance, h)
        t, _ = self.timesteps.sample(len(h))
        x_t = self.diffusion.q_sample(x0, t, torch.randn_like(x0))
        levels, level = t.unique(return_inverse=True)  # many rows share one
        step = F.embedding(level, self.embed_steps(levels))
        x0_hat = self.forward(x_t, h, step)
        loss = F.mse_loss(x0_hat, x0)
        if self.ce_weight:
            scaled = x0_hat / math.sqrt(self.hidden_size)
            loss = loss + self.ce_weight * full_cross_entropy(scaled, items, target)
        return loss

    # ---------------------------------------------------------------- scoring
    def _make_closed_walk(self):
        """The guided walk of the linear denoiser in closed form."""
        w_x, w_h, w_s = self.denoiser.weight.split(self.hidden_size, dim=1)
        w_x = torch.zeros_like(w_x) if self.ablate_x_t else w_x
        prediction = guided(
            w_x.double(),
            w_h.double(),
            w_s.double(),
            self.denoiser.bias.double(),
            self.steps().double(),
            self.no_guidance.double(),
            self.guidance_weight,
        )
        walk = compose(self.diffusion, prediction, self.diffusion.steps)
        return type(walk)(*(part.float() for part in walk))

    @property
    def denoiser_calls(self):
        """Passes through the denoiser for a scored row (int).

        Two a level, with the history and without; none in closed form.
        """
        return 0 if self.sampler == "exact" else 2 * (len(self.levels) - 1)

    @torch.no_grad()
    def generate(self, h):
        """The next item's embedding.

        Without ``sampling_noise`` walks start from 0 and add nothing: the exact one gives its mean,
        and the ancestral one the same mean step by step.

        Args:
            h (torch.Tensor): guidance, shape: [B, D].

        Returns:
            torch.Tensor: x_0, shape: [B, D].
        """
        noise = torch.randn_like(h) if self.sampling_noise else torch.zeros_like(h)
        if self.sampler == "exact":
            return self.closed_walk().sample(h, noise)

        def predict_x0(x_t, t):
            return self.guided(x_t, h, F.embedding(t, self.steps()))

        if self.sampler == "ddim":
            return ddim(self.diffusion, predict_x0, noise, self.levels, eta=0.0)
        steps = self.diffusion.steps
        return ancestral(self.diffusion, predict_x0, noise, steps, noise=self.sampling_noise)
