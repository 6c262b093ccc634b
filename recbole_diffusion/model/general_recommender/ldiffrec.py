r"""
L-DiffRec
################################################

Reference:
    Wenjie Wang, Yiyan Xu, Fuli Feng, Xinyu Lin, Xiangnan He, Tat-Seng Chua. "Diffusion Recommender
    Model." in SIGIR 2023. arXiv:2304.04971, section 4.1

Items are clustered, each cluster's part of a user's row is encoded, and all latents together are
diffused and denoised before they are decoded.

Letters: B users of a batch, n items without the padding, d latents.
"""

import torch
import torch.nn.functional as F

from recbole_diffusion.model.general_recommender.diffrec import DiffRec
from recbole_diffusion.model.layers.basic import dropout
from recbole_diffusion.model.layers.cluster_vae import ClusterVAE
from recbole_diffusion.model.settings import check_not_negative, check_widths

DROPOUT = 0.1  # of the interactions that are encoded; RecBole has no key for it


def places(cluster_ids):
    """Where each item stands when items stand cluster by cluster.

    Args:
        cluster_ids (torch.Tensor): shape: [n].

    Returns:
        torch.Tensor: shape: [n].
    """
    order = cluster_ids.argsort(stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    return place


class LDiffRec(DiffRec):
    """Ranks by a row decoded from denoised latents."""

    time_aware_name = "LTDiffRec"
    item_clusters = True
    trainer = "recbole_diffusion.trainer.ldiffrec:LDiffRecTrainer"

    def __init__(self, config, dataset, cluster_ids):
        """Build the model, or say why there is none.

        Args:
            config (Config): the keys of ``LDiffRec.yaml``: those of RecBole's LDiffRec, and
                ``item_embeddings``, ``cluster_epochs``, ``anneal_unit``, ``lr1`` and ``lr2``.
            dataset (Dataset): the built training data.
            cluster_ids (torch.Tensor): the cluster of each item but the padding, shape: [n].

        Raises:
            ValueError: for a setting no model can be built with, with the reason.
        """
        check_widths(config, "in_dims", "out_dims")
        check_not_negative(config, "lamda", "anneal_cap", "anneal_steps")
        check_not_negative(config, "vae_anneal_cap", "vae_anneal_steps")
        super().__init__(config, dataset)
        self.reparam = config["reparam"]
        self.lamda = config["lamda"]
        self.anneal_cap, self.anneal_steps = config["anneal_cap"], config["anneal_steps"]
        self.anneal_unit = config["anneal_unit"]
        if self.anneal_unit not in ("batch", "epoch"):
            raise ValueError(f"anneal_unit {self.anneal_unit!r} is neither batch nor epoch")
        self.vae_anneal_cap = config["vae_anneal_cap"]
        self.vae_anneal_steps = config["vae_anneal_steps"]
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))  # trained on so far
        self.register_buffer("epochs", torch.zeros((), dtype=torch.long))  # LDiffRecTrainer counts
        self.learning_rates = [
            config["learning_rate"] if config[key] is None else config[key]
            for key in ("lr1", "lr2")
        ]

        self.register_buffer("cluster_ids", cluster_ids)
        self.register_buffer("place", places(cluster_ids), persistent=False)
        sizes = torch.bincount(cluster_ids).tolist()
        self.autoencoder = ClusterVAE(
            sizes, config["in_dims"], config["out_dims"], config["ae_act_func"]
        )

    def diffused_size(self, config):
        """Size of what is diffused: the latents.

        Raises:
            ValueError: if there are none.
        """
        if not config["in_dims"]:
            raise ValueError("in_dims is empty; its first number is that of the latents")
        return config["in_dims"][0]

    def _load_from_state_dict(self, *args, **kwargs):
        super()._load_from_state_dict(*args, **kwargs)
        self.place = places(self.cluster_ids)  # the clusters may be others now

    def parameter_groups(self):
        """The parameters with their learning rates, for one optimiser.

        Returns:
            list of dict: ``params`` and ``lr`` of the auto-encoder (lr1) and the denoiser (lr2).
        """
        parts = (self.autoencoder, self.denoiser)
        return [
            {"params": list(part.parameters()), "lr": rate}
            for part, rate in zip(parts, self.learning_rates)
        ]

    # ---------------------------------------------------------------- training
    def annealed(self):
        """The weights of the diffusion's loss and of the KL divergence now.

        ``lamda`` falls to ``anneal_cap`` over ``anneal_steps`` batches (RecBole) or epochs (the
        published program); the KL divergence's rises to ``vae_anneal_cap`` over batches.

        Returns:
            tuple of float: lamda and anneal.
        """
        lamda = self.lamda
        if self.anneal_steps > 0:
            count = self.batches if self.anneal_unit == "batch" else self.epochs
            lamda = (1 - int(count) / self.anneal_steps) * lamda
        anneal = self.vae_anneal_cap
        if self.vae_anneal_steps > 0:
            anneal = min(anneal, int(self.batches) / self.vae_anneal_steps)
        return max(lamda, self.anneal_cap), anneal

    def calculate_loss(self, interaction):
        """``lamda L_diff + L_vae``, and ``L_diff + lamda L_vae`` without ``reweight``.

        RecBole's LDiffRec has the first form for both.

        Args:
            interaction (Interaction): users, shape: [B].

        Returns:
            torch.Tensor: shape: [].
        """
        bags = self.bags(interaction[self.USER_ID])
        kept = bags._replace(weight=dropout(bags.weight, DROPOUT, self.training))
        mu, log_variance = self.autoencoder.encode(kept)
        latent = mu
        if self.reparam and self.training:
            latent = mu + (log_variance / 2).exp() * torch.randn_like(mu)
        diffusion_loss, denoised = self.diffusion_loss(latent)

        logits = self.autoencoder.decode(denoised)  # [B, n]
        # -mean sum x0 log_softmax(logits), by the entries of x0. RecBole: x0 after dropout; here
        # the whole row, so that what was dropped is to be rebuilt.
        logits = logits.float()  # under enable_amp too
        total = logits.new_zeros(len(logits)).index_add_(0, bags.row, bags.weight)  # [B]
        hit = (logits[bags.row, bags.item] * bags.weight).sum()
        likelihood = ((total * logits.logsumexp(dim=1)).sum() - hit) / len(logits)
        kl = -0.5 * (1 + log_variance - mu.square() - log_variance.exp()).sum(dim=1).mean()
        lamda, anneal = self.annealed()
        self.batches += 1
        vae_loss = likelihood + anneal * kl
        if self.reweight:
            return lamda * diffusion_loss + vae_loss
        return diffusion_loss + lamda * vae_loss

    def bags(self, user):
        """Interactions of some users, items numbered as the network has them, see ``histories``."""
        bags = self.histories.bags(user)
        return bags._replace(item=self.place[bags.item])

    # ---------------------------------------------------------------- scoring
    def scores(self, user):
        """Scores of all items, the padding in column 0; shapes: [B] and [B, n + 1]."""
        latent, _ = self.autoencoder.encode(self.bags(user))
        if self.walks_without_items:
            h = self.walk_factored(F.linear(latent, self.denoiser.data_in.weight))
            denoised = self.denoiser.out(h)
        else:
            denoised = self.walk_plain(latent)
        return F.pad(self.autoencoder.decode(denoised)[:, self.place], (1, 0))
