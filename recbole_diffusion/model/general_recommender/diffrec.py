r"""
DiffRec
################################################

Reference:
    Wenjie Wang, Yiyan Xu, Fuli Feng, Xinyu Lin, Xiangnan He, Tat-Seng Chua. "Diffusion Recommender
    Model." in SIGIR 2023. arXiv:2304.04971

A user's row of interactions is mildly corrupted and denoised; the denoised row ranks the items.

Letters: B users of a batch, n items without the padding, T levels, H and H_last first and last
hidden width of the denoiser.
"""

from collections import namedtuple

import numpy as np
import torch
import torch.nn.functional as F
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType

from recbole_diffusion.diffusion.gaussian import GaussianDiffusion
from recbole_diffusion.diffusion.reverse import (
    ancestral,
    extrapolated,
    factored,
    walk,
)
from recbole_diffusion.diffusion.row_noise import normal_like, of_rows
from recbole_diffusion.diffusion.schedules import SCHEDULES, with_first_beta
from recbole_diffusion.diffusion.timesteps import LossSecondMoment
from recbole_diffusion.model.derived import Derived
from recbole_diffusion.model.layers.interaction_rows import UserHistories
from recbole_diffusion.model.layers.perceptron import MLPDenoiser
from recbole_diffusion.model.settings import check_not_negative, check_whole, check_widths
from recbole_diffusion.model.walk_steps import WalkSteps

# RecBole's names -> the names here
NOISE_SCHEDULES = {
    "linear": "linear_beta",
    "linear-var": "linear_variance",
    "cosine": "cosine",
    "binomial": "binomial",
}
DROPOUT = 0.5  # of x_t; RecBole has no key for it
UNIFORM_SHARE = 0.001  # of the distribution of levels
FIRST_BETA = 1e-5  # beta_1 with beta_fixed

# What a walk in the coordinates W x_t needs, made once for all batches of an evaluation.
# data_in: W^T, shape: [n, H]; time: what the first layer adds at each level, shape: [T + 1, H];
# loop, loop_bias: W V, shape: [H, H_last], and W v, shape: [H]; out, out_bias: V and v with a row
# for the padding in front, shape: [n + 1, H_last] and [n + 1].
Factors = namedtuple("Factors", "data_in time loop loop_bias out out_bias")


def noise_betas(config):
    """The betas that a configuration asks for.

    Args:
        config (Config): keys ``noise_schedule``, ``noise_scale``, ``noise_min``, ``noise_max``,
            ``steps`` and ``beta_fixed``. With a noise_scale of 0 no schedule corrupts anything.

    Returns:
        numpy.ndarray: float64, shape: [T].

    Raises:
        ValueError: for an unknown schedule, or one that leaves (0, 1].
    """
    name = config["noise_schedule"]
    if name not in NOISE_SCHEDULES:
        raise ValueError(f"noise_schedule {name!r} is unknown; known: {', '.join(NOISE_SCHEDULES)}")
    steps, scale = config["steps"], config["noise_scale"]
    if scale == 0:
        return np.zeros(steps)
    schedule = SCHEDULES[NOISE_SCHEDULES[name]]
    if name in ("linear", "linear-var"):
        betas = schedule(steps, scale, config["noise_min"], config["noise_max"])
    else:
        betas = schedule(steps)
    return with_first_beta(betas, FIRST_BETA) if config["beta_fixed"] else betas


def loss_weights(betas, mean_type):
    """The weight of each level's squared error with ``reweight: True``, 1 at t = 1.

    For x0 ``SNR(t-1) - SNR(t)`` with SNR = alpha_bar / (1 - alpha_bar) (DiffRec, equations 11 and
    12); for eps ``(1 - alpha_bar_t) / ((1 - alpha_bar_{t-1})^2 (1 - beta_t))``.

    Args:
        betas (numpy.ndarray): float64, shape: [T].
        mean_type (str): ``x0`` or ``eps``.

    Returns:
        torch.Tensor: 0 in row 0, and all 1 where nothing is corrupted, shape: [T + 1].
    """
    weight = np.ones(len(betas) + 1)
    weight[0] = 0
    if betas.any():
        alpha_bar = np.cumprod(1 - betas)
        now, before = alpha_bar[1:], alpha_bar[:-1]
        if mean_type == "x0":
            weight[2:] = before / (1 - before) - now / (1 - now)
        else:
            weight[2:] = (1 - now) / ((1 - before) ** 2 * (1 - betas[1:]))
    return torch.from_numpy(weight).float()


class DiffRec(WalkSteps, GeneralRecommender):
    """Ranks by a denoised row of interactions.

    Scoring walks without the items wherever that is exact (see ``factored``): the walk costs one
    sparse product with the history, T small steps and one product with all items, instead of 2 T
    products with all items. ``norm``, ``sampling_noise`` and ``mean_type: eps`` take the plain
    walk.
    """

    input_type = InputType.LISTWISE
    reads = "row"
    corrupts_history = True
    user_batches = True  # trained on batches of users, see UserTrainDataLoader
    croppable = True  # it reads no histories
    fused_adam = True
    time_aware_name = "TDiffRec"

    def __init__(self, config, dataset):
        """Build the model, or say why there is none.

        Args:
            config (Config): the keys of ``DiffRec.yaml``, which are those of RecBole's DiffRec.
            dataset (Dataset): the built training data.

        Raises:
            ValueError: for a setting no model can be built with, with the reason.
        """
        super().__init__(config, dataset)
        if config["time-aware"]:
            raise ValueError(
                f"time-aware: True is a model of its own here: --model={self.time_aware_name}"
            )
        check_whole(config, "steps", "history_num_per_term", "embedding_size")
        check_widths(config, "dims_dnn")
        check_not_negative(config, "noise_scale", "noise_min", "noise_max")
        self.mean_type = config["mean_type"]
        if self.mean_type not in ("x0", "eps"):
            raise ValueError(f"mean_type {self.mean_type!r} is neither x0 nor eps")
        if self.mean_type == "eps" and config["noise_scale"] == 0:
            raise ValueError("mean_type eps with noise_scale 0: without noise there is no eps")
        betas = noise_betas(config)
        self.diffusion = GaussianDiffusion.from_betas(betas)
        self.levels = self.levels_of(self.diffusion.steps)
        self.sampling_noise = config["sampling_noise"]
        self.sampling_steps = config["sampling_steps"]
        if self.sampling_steps not in range(self.diffusion.steps + 1):
            raise ValueError(
                f"sampling_steps {self.sampling_steps} is not in 0..{self.diffusion.steps} (steps)"
            )
        self.timesteps = LossSecondMoment(
            self.diffusion.steps, config["history_num_per_term"], UNIFORM_SHARE
        )
        self.reweight = config["reweight"]
        weight = loss_weights(betas, self.mean_type)
        self.register_buffer("loss_weight", weight, persistent=False)

        self.read_histories(config, dataset)
        self.denoiser = MLPDenoiser(
            self.diffused_size(config),
            config["dims_dnn"],
            config["embedding_size"],
            config["mlp_act_func"],
            config["norm"],
            DROPOUT,
        )
        self.walks_without_items = (
            self.mean_type == "x0" and not config["norm"] and not self.sampling_noise
        )
        self.factors = Derived(self._make_factors, self.denoiser)

    def read_histories(self, config, dataset):
        """Takes the users' rows of a built data set, in place of those there were.

        Args:
            config (Config): of the run.
            dataset (Dataset): of any users and of the items of training.
        """
        self.histories = UserHistories(dataset, self.interaction_weights(config, dataset))

    def interaction_weights(self, config, dataset):
        """What stands in a user's row for each interaction; None is 1 for all."""
        return None

    def diffused_size(self, config):
        """Size of what is diffused: all items but the padding."""
        return self.n_items - 1

    # ---------------------------------------------------------------- training
    def diffusion_loss(self, x0):
        """Corrupt to random levels, denoise, and weigh the squared errors.

        Args:
            x0 (torch.Tensor): clean data, shape: [B, n].

        Returns:
            tuple of torch.Tensor: the loss, shape: []; the estimate of x0, shape: [B, n].
        """
        t, factor = self.timesteps.sample(len(x0))
        eps = torch.randn_like(x0)
        x_t = self.diffusion.q_sample(x0, t, eps)
        predicted = self.denoiser(x_t, t)
        target, x0_hat = x0, predicted
        if self.mean_type == "eps":
            target, x0_hat = eps, self.diffusion.x0_from_eps(x_t, t, predicted)
        loss = F.mse_loss(predicted, target, reduction="none").mean(dim=1)  # [B]
        if self.reweight:
            if self.mean_type == "eps":
                likelihood = F.mse_loss(x0_hat, x0, reduction="none").mean(dim=1) / 2
                loss = torch.where(t == 1, likelihood, loss)
            loss = loss * self.loss_weight[t]
        self.timesteps.update(t, loss)
        return (loss * factor).mean(), x0_hat

    def calculate_loss(self, interaction):
        """Mean squared error of the denoised rows, weighted by level.

        Args:
            interaction (Interaction): users, shape: [B].

        Returns:
            torch.Tensor: shape: [].
        """
        loss, _ = self.diffusion_loss(self.histories.dense(interaction[self.USER_ID]))
        return loss

    # ---------------------------------------------------------------- scoring
    def _make_factors(self):
        """What the walk without the items needs, of the denoiser as it is."""
        W, V, v = self.denoiser.data_in.weight, self.denoiser.out.weight, self.denoiser.out.bias
        levels = torch.arange(self.diffusion.steps + 1, device=W.device)
        return Factors(
            W.T.contiguous(),
            self.denoiser.time(levels),
            W @ V,
            W @ v,
            F.pad(V, (0, 0, 1, 0)),
            F.pad(v, (1, 0)),
        )

    def train(self, mode=True):
        """As ``nn.Module.train``, which ``eval`` calls too; ``factors`` are made again after it."""
        self.factors.forget()
        return super().train(mode)

    def levels_of(self, count):
        """As ``short_levels``: a walk over fewer levels always stands for that over all."""
        return self.short_levels(count)

    @property
    def denoiser_calls(self):
        """Passes through the denoiser's hidden layers for a scored row: one per step (int)."""
        return len(self.levels) - 1

    @torch.no_grad()
    def walk_factored(self, u):
        """The walk without the items.

        Args:
            u (torch.Tensor): W x0, shape: [B, H].

        Returns:
            torch.Tensor: h with ``V h + v`` the end of the walk, shape: [B, H_last].
        """
        factors = self.factors()
        if self.sampling_steps:
            noise = normal_like(u.new_empty(u.shape[0], len(factors.data_in))) @ factors.data_in
            u = self.diffusion.q_sample(u, self._starts(u), noise)
        return factored(
            self.diffusion,
            lambda u_t, t: self.denoiser.inner(u_t + F.embedding(t, factors.time)),
            lambda h: F.linear(h, factors.loop, factors.loop_bias),
            u,
            self.levels,
        )

    @torch.no_grad()
    def walk_plain(self, x0):
        """Corrupt to level ``sampling_steps``, then walk back over ``levels``: ALL of them, or
        fewer by ``walk_steps``.

        Args:
            x0 (torch.Tensor): clean data, shape: [B, n].

        Returns:
            torch.Tensor: the denoised data, shape: [B, n].
        """
        x = x0
        if self.sampling_steps:
            x = self.diffusion.q_sample(x0, self._starts(x0), normal_like(x0))

        def predict_x0(x_t, t):
            predicted = self.denoiser(x_t, t)
            if self.mean_type == "eps":
                return self.diffusion.x0_from_eps(x_t, t, predicted)
            return predicted

        step = ancestral(self.diffusion, noise=self.sampling_noise)
        if not self.sampling_noise:
            predict_x0 = extrapolated(predict_x0, self.levels)
        return walk(predict_x0, x, self.levels, step)

    def _starts(self, x):
        return torch.full(x.shape[:1], self.sampling_steps, device=x.device)

    def full_sort_predict(self, interaction):
        """Scores of all items, the padding in column 0.

        Args:
            interaction (Interaction): users, shape: [B].

        Returns:
            torch.Tensor: shape: [B, n + 1].
        """
        return self.scores(interaction[self.USER_ID])

    def scores(self, user):
        """Scores of all items, the padding in column 0; shapes: [B] and [B, n + 1]."""
        if not self.walks_without_items:
            return F.pad(self.walk_plain(self.histories.dense(user)), (1, 0))
        factors = self.factors()
        h = self.walk_factored(self.histories.project(user, factors.data_in))
        return F.linear(h, factors.out, factors.out_bias)

    def predict(self, interaction):
        """Scores of the given items.

        Args:
            interaction (Interaction): users and items, shape: [B].

        Returns:
            torch.Tensor: shape: [B].
        """
        user, row = interaction[self.USER_ID].unique(return_inverse=True)  # each is walked once
        place = torch.arange(len(row), device=row.device)
        with of_rows(torch.empty_like(user).scatter_(0, row, place)):
            return self.scores(user)[row, interaction[self.ITEM_ID]]
