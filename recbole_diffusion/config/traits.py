"""What does a model say of itself? One table; who wants to know asks `of`.

A trait is a class attribute of the model. A class that says nothing has the defaults. What only an
instance knows has a reader of its own below.
"""

from typing import NamedTuple

WALKS = ("levels", "sampler")
READS = ("sequence", "row", "user", "nothing")


class Traits(NamedTuple):
    """What a model class says of itself, each with its default.

    Attributes:
        causal (bool): its state at a position is that of the prefix that ends there, so that it can
            train on all positions of a sequence at once (``all_positions``).
        inner_product (bool): its scores are the inner products of ``forward(item_seq,
            item_seq_len)`` and ``item_embedding``.
        behavior_input (bool): its batches carry the behaviours of the history.
        ordered_history (bool): its training rows carry their place in the user's history, also
            where the split has no order.
        user_batches (bool): it trains on batches of users instead of interactions.
        croppable (bool): loss and scores are the same on batches that are cropped to their longest
            history.
        mean_loss (bool): its loss is a mean over the rows of a batch, or over its targets where it
            trains on all positions, so that several processes can divide the batch (torchrun).
        item_table (bool): its constructor takes ``item_table``, the embeddings that items begin
            with (``item_embeddings``, ``pretrain``).
        item_clusters (bool): its constructor takes ``cluster_ids``, the cluster of each item, and
            its weights hold them under that name.
        fused_adam (bool): Adam steps in one pass over the weights; pays where the largest of them
            grow with the items.
        trainer (str): its trainer, ``module:Class``; the class derives from
            ``recbole_diffusion.trainer.TrainerHooks``. None takes RecBole's for the model, with our
            hooks.
        dataset_class (str): its data set, ``module:Class``. None takes the one of this package for
            its kind of model, or RecBole's where there is none.
        inverts_items (bool): it inverts a dense matrix of items by items, and is refused where
            there are very many.
        renamed (dict): keys of earlier versions and what they are called now; read with a warning.
        collapse_advice (str): what to do when the items' embeddings collapse; None does not warn.
        generates (bool): it ranks ``items()``, the embeddings of all items, by the one that
            ``generate(guidance)`` makes of ``guidance(interaction)``.
        weighs_guidance (bool): it weighs its guidance by ``guidance_weight``, which can be
            changed after training.
        shorter_walk (str): how its reverse walk takes fewer steps over the levels of ``diffusion``:
            ``levels``, over its list ``levels``, which can be set to ``levels_of(count)``;
            ``sampler``, the same where its ``sampler`` is ``ddim``, while other samplers visit all
            levels. None is not at all. With ``model.walk_steps.WalkSteps``, which ours and
            ``NextItemDiffusion`` have, their number can be set and found (``walk_steps``).
        corrupts_history (bool): its walk begins with what somebody had, corrupted to the level
            ``sampling_steps`` of ``diffusion``, which can be changed after training.
        reads (str): what its scores for somebody are made of: ``sequence``, a sequence of items;
            ``row``, a set of items, which it is told with ``read_histories(dataset)``; ``user``, a
            vector learnt for each user; ``nothing``, the same scores for all. None is ``sequence``
            for sequential models and ``user`` for others.
    """

    causal: bool = False
    inner_product: bool = False
    behavior_input: bool = False
    ordered_history: bool = False
    user_batches: bool = False
    croppable: bool = False
    mean_loss: bool = False
    item_table: bool = False
    item_clusters: bool = False
    fused_adam: bool = False
    trainer: str = None
    dataset_class: str = None
    inverts_items: bool = False
    renamed: dict = {}
    collapse_advice: str = None
    generates: bool = False
    weighs_guidance: bool = False
    shorter_walk: str = None
    corrupts_history: bool = False
    reads: str = None


# What RecBole's classes do not say themselves. Croppable: seen to give the same loss and scores on
# cropped batches. Not STAMP: it averages the padding's embedding in. Mean loss: seen to take the
# same steps by two processes as by one. The data sets: those that RecBole finds by their names;
# FEARec reads the prefixes that RecBole's stores, unlike ours.
OF_THE_HOST = {
    **dict.fromkeys(
        ("SASRec", "GRU4Rec", "NARM"), Traits(croppable=True, mean_loss=True, inner_product=True)
    ),
    "STAMP": Traits(inner_product=True),
    **dict.fromkeys(
        ("BERT4Rec", "SRGNN", "GCSAN", "CORE", "FPMC", "TransRec"), Traits(croppable=True)
    ),
    "DIEN": Traits(dataset_class="recbole.data.dataset:DIENDataset"),
    "GRU4RecKG": Traits(dataset_class="recbole.data.dataset:GRU4RecKGDataset"),
    "KSR": Traits(dataset_class="recbole.data.dataset:KSRDataset"),
    "FEARec": Traits(dataset_class="recbole.data.dataset:SequentialDataset"),
    "EASE": Traits(inverts_items=True),
}


def of(model_class):
    """The traits of a model class.

    Args:
        model_class (type): the class.

    Returns:
        Traits: its own, its bases' or the defaults.

    Raises:
        ValueError: if a trait is of another type than it must be, or names no known walk.
    """
    if model_class.__module__.startswith("recbole."):
        return OF_THE_HOST.get(model_class.__name__, Traits())
    default = Traits()._asdict()
    found = {name: getattr(model_class, name, value) for name, value in default.items()}
    for name, value in found.items():
        kind = Traits.__annotations__[name]
        if not isinstance(value, kind) and not (value is None and default[name] is None):
            raise ValueError(
                f"{model_class.__name__}.{name} is {value!r}, not of type {kind.__name__}"
            )
    walk = found["shorter_walk"]
    if walk not in (None, *WALKS):
        raise ValueError(
            f"{model_class.__name__}.shorter_walk is {walk!r}, not one of {', '.join(WALKS)}"
        )
    if found["reads"] not in (None, *READS):
        raise ValueError(
            f"{model_class.__name__}.reads is {found['reads']!r}, not one of {', '.join(READS)}"
        )
    return Traits(**found)


def item_embedding(model):
    """The table of item embeddings that a model trains.

    Args:
        model (torch.nn.Module): ours and RecBole's call it ``item_embedding``.

    Returns:
        torch.nn.Module: None where there is none of that name.
    """
    return getattr(model, "item_embedding", None)


def seeks_steps(model):
    """Whether its number of reverse steps is to be found after training (bool).

    Args:
        model (torch.nn.Module): ours say it themselves, as ``wanted_steps``.
    """
    return getattr(model, "wanted_steps", None) == "auto"


def denoiser_calls(model):
    """Passes through the denoiser for a scored row.

    Args:
        model (torch.nn.Module): ours say it themselves, as ``denoiser_calls``; RecBole's DiffRec
            and LDiffRec walk all their ``steps``.

    Returns:
        int: 0 in closed form; None where there is no denoiser.
    """
    calls = getattr(model, "denoiser_calls", None)
    if calls is None and hasattr(model, "p_sample"):
        calls = model.steps
    return calls
