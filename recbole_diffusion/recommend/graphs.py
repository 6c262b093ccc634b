"""How does a model's scoring become a graph that needs no Python, noise an input of it?

Letters: B rows of a batch, L positions of the histories, n items without the padding.
"""

import copy
from typing import NamedTuple

import torch
from recbole.utils import ModelType
from torch import nn
from torch.overrides import TorchFunctionMode

from recbole_diffusion.config import traits
from recbole_diffusion.config.names import is_ours
from recbole_diffusion.model.derived import Derived
from recbole_diffusion.model.general_recommender.diffrec import DiffRec
from recbole_diffusion.model.general_recommender.ldiffrec import LDiffRec
from recbole_diffusion.model.layers.basic import StepEmbedding

OF_THE_HOST = ("SASRec", "GRU4Rec")  # RecBole's models whose graphs were seen to be right
LONGEST = 100  # passes through a denoiser that a graph may hold, one after the other
BATCH, LENGTH = "batch", "length"  # what a graph leaves open


class GraphError(ValueError):
    """A model cannot become a graph; the message says why."""


class Input(NamedTuple):
    """What a graph reads.

    Attributes:
        name (str): of the input.
        type (str): ``int64`` or ``float32``.
        shape (tuple): numbers, ``batch`` and ``length``.
        meaning (str): a sentence.
    """

    name: str
    type: str
    shape: tuple
    meaning: str


class Drawn(TorchFunctionMode):
    """Looks at the normal numbers that a block draws.

    Attributes:
        shapes (list of tuple of int): of each draw.
    """

    def __init__(self):
        super().__init__()
        self.shapes = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if function in (torch.randn, torch.randn_like):
            self.shapes.append(tuple(found.shape))
        return found


class Given(TorchFunctionMode):
    """Gives a block normal numbers instead of drawing them.

    Args:
        draws (list of torch.Tensor): one draw after the other.
    """

    def __init__(self, draws):
        super().__init__()
        self.draws = iter(draws)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (torch.randn, torch.randn_like):
            return next(self.draws).clone()  # who draws may change what was drawn
        return function(*args, **(kwargs or {}))


class Table(nn.Module):
    """Rows of a table, in place of a module that is asked for levels alone."""

    def __init__(self, rows):
        super().__init__()
        self.register_buffer("rows", rows)

    def forward(self, t):
        return nn.functional.embedding(t, self.rows)


class Kept:
    """Stands for ``Derived`` where the weights stay as they are."""

    def __init__(self, value):
        self.value = value

    def forget(self):
        """There is nothing to make anew."""

    def __call__(self):
        return self.value


class GivenRows(nn.Module):
    """Stands for ``UserHistories`` where the users are their rows."""

    def dense(self, row):
        return row

    def project(self, row, table):
        return row @ table


def settled(model):
    """A copy of a model in which what follows from its weights is there already.

    Args:
        model (torch.nn.Module): in evaluation mode.

    Returns:
        torch.nn.Module: gives the same scores.
    """
    model = copy.deepcopy(model).eval()
    model.requires_grad_(False)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, StepEmbedding):
                levels = torch.arange(model.diffusion.steps + 1, device=model.device)
                setattr(parent, name, Table(child(levels)))
    if "walk_steps" in model._buffers:  # a number from here on
        model.walk_steps = int(model._buffers.pop("walk_steps"))
    for name, value in list(vars(model).items()):
        if isinstance(value, Derived):
            setattr(model, name, Kept(value()))
    return model


class Graph(nn.Module):
    """Scores of the n items, of what the model reads as tensors.

    Attributes:
        inputs (list of Input): of ``forward``, in order.
    """

    def __init__(self, model, config, batches):
        """Take a model.

        Args:
            model (torch.nn.Module): in evaluation mode.
            config (Config): of the run.
            batches (list of Interaction): two, of other sizes and, where there are histories, other
                lengths; what is drawn for them shows what the graph is to be given.

        Raises:
            GraphError: if it cannot become a graph, with the reason.
        """
        super().__init__()
        refuse(model, config)
        self.source, self.fields = [model], {}  # a list: not a part of the graph
        self.sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
        self.inputs = self._read(model, config)
        sizes, drawn = [], []
        for batch in batches:
            with Drawn() as look, torch.no_grad():
                model.full_sort_predict(batch)
            sizes.append(self.values(batch)[0].shape)
            drawn.append(look.shapes)
        self.draws = _open(sizes, drawn)
        kinds = list(dict.fromkeys(self.draws))
        names = {kind: "history_noise" if LENGTH in kind else "noise" for kind in kinds}
        if len(set(names.values())) < len(kinds):
            raise GraphError(f"{config['model']} draws noise of several shapes: {kinds}")
        self.noise = names
        for kind in kinds:
            shape = (BATCH, self.draws.count(kind), *kind[1:])
            says = "standard normal numbers: what the model draws, one draw after the other"
            self.inputs.append(Input(names[kind], "float32", shape, says))
        self.model = settled(model)
        if not self.sequential:
            self.model.histories = GivenRows()

    def _read(self, model, config):
        if not self.sequential:
            self.fields = {"row": model.USER_ID}
            says = "what each user had: a weight where there was an item (1, or as in training)"
            return [Input("row", "float32", (BATCH, model.n_items - 1), says)]
        self.fields = {"item": model.ITEM_SEQ, "item_length": model.ITEM_SEQ_LEN}
        says = "histories, oldest first, 0 behind them; an item is its line in items.txt, from 1"
        found = [
            Input("item", "int64", (BATCH, LENGTH), says),
            Input("item_length", "int64", (BATCH,), "items of each history, at least 1"),
        ]
        behavior = config["BEHAVIOR_FIELD"]
        if traits.of(type(model)).behavior_input and behavior is not None:
            suffix = model.ITEM_SEQ[len(model.ITEM_ID) :]
            self.fields |= {"behavior": behavior + suffix, "target_behavior": behavior}
            says = "behaviours of the histories; a behaviour is its line in behaviors.txt, from 1"
            found.append(Input("behavior", "int64", (BATCH, LENGTH), says))
            says = "the behaviour that the next item will have"
            found.append(Input("target_behavior", "int64", (BATCH,), says))
        return found

    def values(self, batch):
        """What the graph reads of a batch besides noise (list of torch.Tensor)."""
        if not self.sequential:
            return [self.source[0].histories.dense(batch[self.fields["row"]])]
        return [batch[field] for field in self.fields.values()]

    def normals(self, batch, generator):
        """Noise for a batch (list of torch.Tensor)."""
        shape = self.values(batch)[0].shape
        known = {BATCH: shape[0], LENGTH: shape[-1]}
        return [
            torch.randn([known.get(size, size) for size in one.shape], generator=generator)
            for one in self.inputs[len(self.fields) :]
        ]

    def drawn(self, noise):
        """The draws one after the other, of noise as the graph is given it (list)."""
        given = dict(zip([one.name for one in self.inputs[len(self.fields) :]], noise))
        count, found = dict.fromkeys(given, 0), []
        for kind in self.draws:
            name = self.noise[kind]
            found.append(given[name][:, count[name]])
            count[name] += 1
        return found

    def forward(self, *values):
        """Scores.

        Args:
            *values (torch.Tensor): the ``inputs``.

        Returns:
            torch.Tensor: shape: [B, n].
        """
        batch = dict(zip(self.fields.values(), values))
        with Given(self.drawn(values[len(self.fields) :])):
            scores = self.model.full_sort_predict(batch)
        return scores[:, 1:]

    @torch.no_grad()
    def expected(self, batch, noise):
        """What the model itself gives, of noise as the graph is given it, shape: [B, n]."""
        with Given(self.drawn(noise)):
            scores = self.source[0].full_sort_predict(batch)
        return scores.view(len(batch), -1)[:, 1:]


def refuse(model, config):
    """Refuses a model that cannot become a graph.

    Raises:
        GraphError: with the reason.
    """
    name, kind = config["model"], type(model)
    if not is_ours(kind):
        if kind.__name__ not in OF_THE_HOST:
            raise GraphError(
                f"no graph is made of RecBole's {name}: it is of {' and '.join(OF_THE_HOST)} and "
                "of the models of this package; format safetensors takes all"
            )
        return
    calls = traits.denoiser_calls(model) or 0
    if isinstance(model, DiffRec):
        if isinstance(model, LDiffRec):
            raise GraphError(
                f"no graph is made of {name}: it encodes the interactions of a row cluster by "
                "cluster, as many as there are; format safetensors takes it"
            )
    elif config["MODEL_TYPE"] != ModelType.SEQUENTIAL or not (
        traits.of(kind).generates or traits.of(kind).inner_product
    ):
        raise GraphError(
            f"no graph is made of {name}: it neither ranks by an embedding that it makes of a "
            "history nor denoises a row; format safetensors takes it"
        )
    if calls > LONGEST:
        raise GraphError(
            f"no graph is made of {name} here: its walk passes {calls} times through the network, "
            f"and a graph holds at most {LONGEST}; train with fewer steps, or take format "
            "safetensors"
        )


def _open(sizes, drawn):
    """Which sizes of the draws are those of the batch and of its histories.

    Args:
        sizes (list of torch.Size): of the first input of two batches.
        drawn (list of list of tuple of int): shapes of what was drawn for each.

    Returns:
        list of tuple: a shape a draw, with ``batch`` and ``length``.
    """
    found = []
    for one, other in zip(*drawn, strict=True):
        shape = [BATCH]
        for here, there in zip(one[1:], other[1:], strict=True):
            shape.append(here if here == there else LENGTH)
        if (one[0], other[0]) != (sizes[0][0], sizes[1][0]):
            raise GraphError(f"noise of shape {list(one)} is not drawn by row")
        found.append(tuple(shape))
    return found
