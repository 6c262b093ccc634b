"""Parts that networks are built of.

Letters: B batch size, L positions, n positions of a batch, D hidden size, H heads, d = D / H size
of a head.
"""

import math

import torch
import torch.nn.functional as F
from recbole.model.layers import activation_layer
from torch import nn

from recbole_diffusion.data.runs import weighted_sums


def sinusoid(t, dim, gaps, sin_first=False):
    """The sinusoidal embedding of a number, frequencies 10000^(-i / gaps) for i = 0..dim // 2 - 1.

    Three forms are in use: ``gaps`` dim/2 (ICDDT, DiffRec) or dim/2 - 1 with ``sin_first``
    (DreamRec). They are fed t - 1, as the published networks number levels from 0.

    Args:
        t (torch.Tensor): numbers, shape: [B].
        dim (int): size of the embedding; if odd, the last column is 0.
        gaps (float): number of steps from frequency 1 to 1/10000.
        sin_first (bool): the sines before the cosines.

    Returns:
        torch.Tensor: shape: [B, dim].
    """
    i = torch.arange(dim // 2, dtype=torch.float32, device=t.device)
    angle = t[:, None].float() * torch.exp(-math.log(10000) * i / gaps)  # [B, dim // 2]
    parts = [angle.sin(), angle.cos()] if sin_first else [angle.cos(), angle.sin()]
    return F.pad(torch.cat(parts, dim=-1), (0, dim % 2))


def lambda_init(layer):
    """Where lambda of differential attention starts: 0.8 - 0.6 exp(-0.3 (layer - 1)).

    Args:
        layer (int): number of the layer, from 1.

    Returns:
        float: 0.2 in the first layer, towards 0.8 in the last.
    """
    return 0.8 - 0.6 * math.exp(-0.3 * (layer - 1))


def dropout(x, p, training):
    """``F.dropout``, in less than half the time on a CPU.

    Args:
        x (torch.Tensor): shape: [...].
        p (float): probability of a zero.
        training (bool): otherwise x comes back as it is.

    Returns:
        torch.Tensor: shape: [...].
    """
    if not training or p == 0:
        return x
    return x * torch.rand_like(x).ge_(p).div_(1 - p)


class Dropout(nn.Dropout):
    """``nn.Dropout`` by ``dropout``."""

    def forward(self, x):
        """As the host's; shape of x and result: [...]."""
        return dropout(x, self.p, self.training)


class _CrossEntropy(torch.autograd.Function):
    """``full_cross_entropy``: the gradients are made along with the loss, a slice at a time."""

    @staticmethod
    def forward(ctx, x, weight, target, slice_size):
        grad_x, grad_weight = torch.empty_like(x), torch.zeros_like(weight)
        total = x.new_zeros(())
        for rows in torch.arange(len(x), device=x.device).split(slice_size):
            part, index = x[rows], target[rows, None]
            score = part @ weight.T  # [slice, n_items]
            score[:, 0] = -math.inf
            highest = score.amax(dim=1, keepdim=True)
            hit = score.gather(1, index)
            mass = score.sub_(highest).exp_().sum(dim=1, keepdim=True)
            total += (mass.log() + highest - hit).sum()
            # from here on the gradient: probabilities, less 1 at the target
            score.div_(mass).scatter_add_(1, index, -torch.ones_like(hit))
            grad_weight.addmm_(score.T, part)
            grad_x[rows] = score @ weight
        ctx.save_for_backward(grad_x.div_(len(x)), grad_weight.div_(len(x)))
        return total / len(x)

    @staticmethod
    def backward(ctx, grad):
        grad_x, grad_weight = ctx.saved_tensors
        return grad * grad_x, grad * grad_weight, None, None


def full_cross_entropy(x, weight, target):
    """Cross-entropy of the scores ``x weight^T`` over all items but the padding, item 0.

    Equal to ``F.cross_entropy`` over the columns from 1, in 60% of its time on a CPU: the scores
    of all rows are never held at once, so a slice is still in the cache when it is needed again.

    Args:
        x (torch.Tensor): shape: [B, D].
        weight (torch.Tensor): the item table, shape: [n_items, D].
        target (torch.Tensor): target items, none of them 0, shape: [B].

    Returns:
        torch.Tensor: mean over the batch, shape: [].
    """
    with torch.autocast(x.device.type, enabled=False):
        return _CrossEntropy.apply(x.float(), weight, target, 128)


class DifferentialAttention(nn.Module):
    r"""The difference of two attention maps, which cancels what both see.

    ``A = softmax(Q1 K1^T / sqrt d) - lambda softmax(Q2 K2^T / sqrt d)`` per head, with
    ``lambda = exp(lq1 . lk1) - exp(lq2 . lk2) + lambda_init(layer)``; ``A V`` goes through a
    LayerNorm a head, times ``1 - lambda_init(layer)``, and one Linear.

    Sources: Ye et al., "Differential Transformer", arXiv 2410.05258, equations 1 to 3, as ICDDT
    uses it (LayerNorm for the head norm, biases everywhere).

    Q1 and Q2 are one Linear; K1, K2 and V another. Queries are projected apart from ``attend``, so
    that those that do not change over a walk are projected once.
    """

    def __init__(self, hidden_size, n_heads, layer, dropout_prob, eps):
        """Build the projections.

        Args:
            hidden_size (int): D.
            n_heads (int): H.
            layer (int): number of the layer, from 1.
            dropout_prob (float): for the attention map.
            eps (float): of the LayerNorm a head.

        Raises:
            ValueError: if the heads do not divide the hidden size.
        """
        super().__init__()
        if hidden_size % n_heads:
            raise ValueError(
                f"hidden_size {hidden_size} cannot be divided among n_heads {n_heads}; "
                f"it must be a multiple"
            )
        self.n_heads = n_heads
        self.head_size = hidden_size // n_heads
        self.lambda_init = lambda_init(layer)
        self.query = nn.Linear(hidden_size, 2 * hidden_size)
        self.key_value = nn.Linear(hidden_size, 4 * hidden_size)
        # lq1, lq2 and lk1, lk2
        self.lambda_q = nn.Parameter(torch.empty(2, n_heads, self.head_size))
        self.lambda_k = nn.Parameter(torch.empty(2, n_heads, self.head_size))
        self.norm = nn.LayerNorm(2 * self.head_size, eps=eps)
        self.output = nn.Linear(2 * hidden_size, hidden_size)
        self.dropout = Dropout(dropout_prob)
        nn.init.normal_(self.lambda_q, std=0.1)
        nn.init.normal_(self.lambda_k, std=0.1)

    def difference_weight(self):
        """Weight lambda of the second map, a head, shape: [H]."""
        first, second = (self.lambda_q * self.lambda_k).sum(dim=-1).exp()
        return first - second + self.lambda_init

    def split(self, projected):
        """Projected queries or keys by map and head.

        Args:
            projected (torch.Tensor): shape: [B, L, 2D].

        Returns:
            torch.Tensor: shape: [B, 2H, L, d].
        """
        return projected.unflatten(-1, (2 * self.n_heads, self.head_size)).transpose(1, 2)

    def difference(self, score, hidden_key):
        """The attention map A of scores that are scaled.

        Args:
            score (torch.Tensor): shape: [B, 2H, L_q, L_k].
            hidden_key (torch.Tensor): True where a key must not be seen, shape: [B, 1, 1, L_k].

        Returns:
            torch.Tensor: shape: [B, H, L_q, L_k].
        """
        first, second = score.masked_fill(hidden_key, -math.inf).softmax(dim=-1).chunk(2, dim=1)
        weight = self.difference_weight()[:, None, None]  # [H, 1, 1]
        return self.dropout(first - weight * second)

    def combine(self, seen):
        """From what the heads have seen to the hidden size.

        Args:
            seen (torch.Tensor): ``A V``, shape: [B, H, L_q, 2d].

        Returns:
            torch.Tensor: shape: [B, L_q, D].
        """
        seen = self.norm(seen) * (1 - self.lambda_init)
        return self.output(seen.transpose(1, 2).flatten(2))

    def attend(self, query, key_value, hidden_key):
        """Attention of projected queries to positions.

        Args:
            query (torch.Tensor): shape: [B, 2H, L_q, d].
            key_value (torch.Tensor): shape: [B, L_k, D].
            hidden_key (torch.Tensor): True where a key must not be seen, shape: [B, 1, 1, L_k].

        Returns:
            torch.Tensor: shape: [B, L_q, D].
        """
        key, value = self.key_value(key_value).chunk(2, dim=-1)  # [B, L_k, 2D] each
        value = value.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)  # [B, H, L_k, 2d]
        # the queries are scaled, since there are fewer of them than scores
        query = query / math.sqrt(self.head_size)
        score = query @ self.split(key).transpose(-1, -2)  # [B, 2H, L_q, L_k]
        return self.combine(self.difference(score, hidden_key) @ value)

    def attend_few(self, query, key_value, hidden_key):
        """The same as ``attend``, faster for few queries: no position is projected.

        ``q . (W_k h + b_k)`` is ``(W_k^T q) . h`` plus what is equal for all keys, which the
        softmax does not see; and ``sum_j A_j (W_v h_j + b_v)`` is
        ``W_v sum_j A_j h_j + b_v sum_j A_j``.

        Args:
            query (torch.Tensor): shape: [B, 2H, L_q, d].
            key_value (torch.Tensor): shape: [B, L_k, D].
            hidden_key (torch.Tensor): True where a key must not be seen, shape: [B, 1, 1, L_k].

        Returns:
            torch.Tensor: shape: [B, L_q, D].
        """
        heads = self.n_heads
        key_weight, value_weight = self.key_value.weight.chunk(2)  # [2D, D] each
        value_bias = self.key_value.bias.chunk(2)[1].view(heads, 1, -1)  # [H, 1, 2d]
        query = query / math.sqrt(self.head_size)
        # einsum, because a broadcast product would copy the weights for every row of the batch
        key_weight = key_weight.unflatten(0, (2 * heads, -1))  # [2H, d, D]
        query = torch.einsum("bhqd,hde->bhqe", query, key_weight)  # [B, 2H, L_q, D]
        score = query.flatten(1, 2) @ key_value.transpose(1, 2)  # [B, 2H * L_q, L_k]
        attention = self.difference(score.unflatten(1, (2 * heads, -1)), hidden_key)
        seen = attention.flatten(1, 2) @ key_value  # [B, H * L_q, D]
        seen = seen.unflatten(1, (heads, -1))  # [B, H, L_q, D]
        value_weight = value_weight.unflatten(0, (heads, -1))  # [H, 2d, D]
        seen = torch.einsum("bhqe,hde->bhqd", seen, value_weight)  # [B, H, L_q, 2d]
        return self.combine(seen + attention.sum(dim=-1, keepdim=True) * value_bias)

    def forward(self, query, key_value, hidden_key):
        """Attention of positions to positions.

        Args:
            query (torch.Tensor): shape: [B, L_q, D].
            key_value (torch.Tensor): shape: [B, L_k, D].
            hidden_key (torch.Tensor): True where a key must not be seen, shape: [B, 1, 1, L_k].

        Returns:
            torch.Tensor: shape: [B, L_q, D].
        """
        return self.attend(self.split(self.query(query)), key_value, hidden_key)


def _init_as_published(layer, fan_in):
    """Weights from N(0, 2 / (fan_in + fan_out)), biases from N(0, 0.001^2), as DiffRec's.

    Args:
        layer (nn.Linear): the layer.
        fan_in (int): inputs of the whole layer, of which this one may be a part.
    """
    nn.init.normal_(layer.weight, std=math.sqrt(2 / (fan_in + layer.out_features)))
    if layer.bias is not None:
        nn.init.normal_(layer.bias, std=0.001)


def mlp(sizes, activation, last_activation):
    """Linear layers with an activation between them.

    Args:
        sizes (list of int): widths, inputs first.
        activation (str): a name of RecBole's ``activation_layer``.
        last_activation (bool): whether the last layer ends in the activation too.

    Returns:
        nn.Sequential: the network, initialised as DiffRec's.

    Raises:
        ValueError: for an activation that has no name.
    """
    layers = []
    for fan_in, fan_out in zip(sizes, sizes[1:]):
        linear = nn.Linear(fan_in, fan_out)
        _init_as_published(linear, fan_in)
        layers += [linear, _activation(activation)]
    return nn.Sequential(*layers[: None if last_activation or not layers else -1])


def _activation(name):
    known = ("sigmoid", "tanh", "relu", "leakyrelu", "none")
    if str(name).lower() not in known:
        raise ValueError(f"activation {name!r} is unknown; known: {', '.join(known)}")
    return activation_layer(name) or nn.Identity()


class MLPDenoiser(nn.Module):
    """x_0 (or eps) from x_t and t by a perceptron over ``[x_t, Linear(sinusoid(t - 1))]``.

    The first layer's part of x_t and its part of the time are two modules, so that what is linear
    in x_t can be had alone: ``V hidden(W x_t, t) + v`` with W ``data_in.weight`` and V, v ``out``.

    Source: Wang et al., "Diffusion Recommender Model", SIGIR 2023, section 3.

    Letters: n size of x_t, H and H_last first and last hidden width.
    """

    def __init__(self, n, hidden, time_size, activation, norm, dropout_prob):
        """Build the network.

        Args:
            n (int): size of x_t.
            hidden (list of int): widths of the hidden layers, from x_t on.
            time_size (int): size of the sinusoid.
            activation (str): a name of RecBole's ``activation_layer``.
            norm (bool): scale x_t to length 1 first.
            dropout_prob (float): for x_t, in training.

        Raises:
            ValueError: if there is no hidden layer, or the activation has no name.
        """
        super().__init__()
        if not hidden:
            raise ValueError("dims_dnn is empty; the denoiser needs a hidden layer")
        self.time_size, self.norm = time_size, norm
        self.time_embedding = nn.Linear(time_size, time_size)
        _init_as_published(self.time_embedding, time_size)
        self.dropout = Dropout(dropout_prob)
        self.data_in = nn.Linear(n, hidden[0])
        self.time_in = nn.Linear(time_size, hidden[0], bias=False)
        for layer in (self.data_in, self.time_in):
            _init_as_published(layer, n + time_size)
        self.inner = nn.Sequential(_activation(activation), *mlp(hidden, activation, True))
        self.out = nn.Linear(hidden[-1], n)
        _init_as_published(self.out, hidden[-1])

    def time(self, t):
        """What the first layer adds for the time and as bias.

        Args:
            t (torch.Tensor): levels, shape: [B].

        Returns:
            torch.Tensor: shape: [B, H].
        """
        embedding = self.time_embedding(sinusoid(t - 1, self.time_size, self.time_size / 2))
        return self.time_in(embedding) + self.data_in.bias

    def forward(self, x_t, t):
        """Denoise.

        Args:
            x_t (torch.Tensor): data at level t, shape: [B, n].
            t (torch.Tensor): levels in 1..T, shape: [B].

        Returns:
            torch.Tensor: shape: [B, n].
        """
        if self.norm:
            x_t = F.normalize(x_t)
        u = F.linear(self.dropout(x_t), self.data_in.weight)  # [B, H]
        return self.out(self.inner(u + self.time(t)))


class AttentionInterests(nn.Module):
    """A few interests out of a history, each a mean of its items with learnt weights.

    ``A = softmax over positions of MLP(H + P)``, P learnt positions counted from the left, the MLP
    D -> 4D -> K with tanh between; the interests are ``A^T H``.

    Source: Li et al., "DimeRec", WSDM 2025, arXiv 2408.12153, guidance extraction, after Cen et
    al., "Controllable Multi-Interest Framework for Recommendation", KDD 2020.

    Letters: K number of interests, q prefixes of a sequence that are looked at.
    """

    def __init__(self, hidden_size, n_interests, max_length):
        """Build the layers.

        Args:
            hidden_size (int): D.
            n_interests (int): K.
            max_length (int): L.
        """
        super().__init__()
        D = hidden_size
        self.position_embedding = nn.Embedding(max_length, D)
        nn.init.normal_(self.position_embedding.weight, std=0.02)
        self.weigh = nn.Sequential(nn.Linear(D, 4 * D), nn.Tanh(), nn.Linear(4 * D, n_interests))

    def forward(self, H, seen):
        """Extract the interests of prefixes.

        Args:
            H (torch.Tensor): embeddings of the items, left-aligned, shape: [B, n, D].
            seen (torch.Tensor): bool, which positions each prefix holds, at least one, shape:
                [B, q, n].

        Returns:
            torch.Tensor: shape: [B, q, K, D].
        """
        score = self.weigh(H + self.position_embedding.weight[: H.shape[1]])  # [B, n, K]
        score = score.transpose(1, 2)[:, None].masked_fill(~seen[:, :, None], -math.inf)
        return score.softmax(dim=3) @ H[:, None]  # [B, q, K, n] @ [B, 1, n, D]


class LastInterests(nn.Module):
    """The last K items themselves, the newest one last, as interests.

    A learnt vector stands for those that a shorter history lacks. Source as above, the rule-based
    guidance.
    """

    def __init__(self, hidden_size, n_interests):
        """Build the vector for none; arguments as in ``AttentionInterests``."""
        super().__init__()
        self.n_interests = n_interests
        self.none = nn.Parameter(0.02 * torch.randn(hidden_size))

    def forward(self, H, seen):
        """As ``AttentionInterests.forward``."""
        B, q, n = seen.shape
        back = torch.arange(self.n_interests - 1, -1, -1, device=H.device)
        position = seen.sum(dim=2)[:, :, None] - 1 - back  # [B, q, K]
        row = torch.arange(B, device=H.device)[:, None, None]
        item = H[row, position.clamp(min=0)]  # [B, q, K, D]
        return torch.where(position[..., None] < 0, self.none, item)


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
