"""L-DiffRec's auto-encoder of the items, one for each cluster."""

import torch
from torch import nn

from recbole_diffusion.model.layers.interaction_rows import weighted_sums
from recbole_diffusion.model.layers.perceptron import mlp


class ClusterVAE(nn.Module):
    """Variational auto-encoder of interaction rows with an encoder for each cluster of items.

    Each encoder gives mu and log-variance of its share of the latents, in proportion to the size
    of its cluster; its last layer too ends in the activation. Items stand cluster by cluster.

    Source: Wang et al., "Diffusion Recommender Model", SIGIR 2023, section 4.1.

    Letters: n items, C clusters, d latents.
    """

    def __init__(self, sizes, in_dims, out_dims, activation):
        """Build the network.

        Args:
            sizes (list of int): items of each cluster.
            in_dims (list of int): widths of all encoders together, the latents first; d is the
                first.
            out_dims (list of int): hidden widths of all decoders together (RecBole takes the
                encoders' widths with several clusters, whatever the numbers); without any, one
                linear map leads from all latents to all items.
            activation (str): a name of RecBole's ``activation_layer``.

        Raises:
            ValueError: if a width is too small to be shared among the clusters.
        """
        super().__init__()
        inner = [_shares(sizes, dim, "in_dims") for dim in reversed(in_dims)]  # layers x C
        outer = [_shares(sizes, dim, "out_dims") for dim in out_dims]
        self.latents = inner[-1]
        # mu and log-variance leave the encoder together
        widths = [sizes, *inner[:-1], [2 * d for d in self.latents]]
        self.encoders = nn.ModuleList(mlp(w, activation, True) for w in zip(*widths))
        if out_dims:
            widths = zip(self.latents, *outer, sizes)
        else:
            widths = [(sum(self.latents), sum(sizes))]
        self.decoders = nn.ModuleList(mlp(w, activation, False) for w in widths)

    def encode(self, bags):
        """The latents' distribution, from sparse rows.

        Args:
            bags (Bags): interactions, items in the order of the clusters.

        Returns:
            tuple of torch.Tensor: mu and log-variance, shape: [B, d] each.
        """
        first = [encoder[0] for encoder in self.encoders]
        table = torch.block_diag(*(layer.weight.T for layer in first))  # [n, widths together]
        h = weighted_sums(bags, table) + torch.cat([layer.bias for layer in first])
        parts = h.split([layer.out_features for layer in first], dim=1)
        both = [encoder[1:](part).chunk(2, dim=1) for encoder, part in zip(self.encoders, parts)]
        mu, log_variance = (torch.cat(values, dim=1) for values in zip(*both))
        return mu, log_variance

    def decode(self, latent):
        """Scores of all items.

        Args:
            latent (torch.Tensor): shape: [B, d].

        Returns:
            torch.Tensor: items in the order of the clusters, shape: [B, n].
        """
        if len(self.decoders) == 1:
            return self.decoders[0](latent)
        parts = latent.split(self.latents, dim=1)
        return torch.cat([net(part) for net, part in zip(self.decoders, parts)], dim=1)


def _shares(sizes, dim, name):
    """A width in shares that go with the sizes of the clusters; the last one takes the rest.

    Raises:
        ValueError: if nothing is left for the last one, as every cluster has at least 1.
    """
    shares = [max(1, int(size / sum(sizes) * dim)) for size in sizes[:-1]]
    rest = dim - sum(shares)
    if rest < 1:
        raise ValueError(
            f"{name} {dim} leaves nothing for the last of {len(sizes)} clusters, which hold "
            f"{sizes} items: widen it or take fewer clusters"
        )
    return [*shares, rest]
