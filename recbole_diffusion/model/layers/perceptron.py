"""Perceptrons of DiffRec: plain ones, and the one that denoises.

Letters: B batch size.
"""

import math

import torch.nn.functional as F
from recbole.model.layers import activation_layer
from torch import nn

from recbole_diffusion.model.layers.basic import Dropout, sinusoid


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
