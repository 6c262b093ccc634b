r"""
T-DiffRec
################################################

Reference:
    Wenjie Wang, Yiyan Xu, Fuli Feng, Xinyu Lin, Xiangnan He, Tat-Seng Chua. "Diffusion Recommender
    Model." in SIGIR 2023. arXiv:2304.04971, section 4.2

DiffRec on rows in which later interactions weigh more.
"""

import torch

from recbole_diffusion.data.loading import POSITION
from recbole_diffusion.model.general_recommender.diffrec import DiffRec
from recbole_diffusion.model.settings import check_not_negative


class TimeAwareHistory:
    """Weights of a user's interactions that grow with time; mixed in before DiffRec or LDiffRec.

    The m-th of M interactions in time weighs ``w_min + (m-1)/(M-1) (w_max - w_min)``, an only one
    w_max (w_min in RecBole). An item that a user had several times weighs as the last of them.
    """

    ordered_history = True  # rows must carry their place in the user's history

    def interaction_weights(self, config, dataset):
        """The weights of the training rows.

        Args:
            config (Config): keys ``w_min`` and ``w_max``.
            dataset (Dataset): the built training data.

        Returns:
            torch.Tensor: shape: [n_rows].

        Raises:
            ValueError: if the weights do not grow from at least 0.
        """
        check_not_negative(config, "w_min", "w_max")
        w_min, w_max = config["w_min"], config["w_max"]
        if w_min > w_max:
            raise ValueError(f"w_min {w_min} is above w_max {w_max}")
        user = dataset.inter_feat[dataset.uid_field]
        position = dataset.inter_feat[POSITION]
        order = (user * (position.max() + 1) + position).argsort()
        count = torch.bincount(user, minlength=dataset.user_num)  # M, [n_users]
        before = torch.empty_like(user)  # m - 1, [n_rows]
        before[order] = torch.arange(len(user)) - (count.cumsum(0) - count)[user[order]]
        share = before / (count[user] - 1).clamp(min=1)
        share[count[user] == 1] = 1.0
        return w_min + share * (w_max - w_min)


class TDiffRec(TimeAwareHistory, DiffRec):
    """DiffRec with time-aware rows."""
