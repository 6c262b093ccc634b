"""How is a trained model told what people had?"""

import numpy as np
import torch
from recbole.model.abstract_recommender import AutoEncoderMixin, SequentialRecommender
from recbole.utils import ModelType

from recbole_diffusion.config import traits
from recbole_diffusion.config.names import is_ours

# RecBole's models whose checkpoints were seen to hold all that they score with.
OF_THE_HOST = {
    **dict.fromkeys(
        ("SASRec", "GRU4Rec", "BERT4Rec", "NARM", "STAMP", "SRGNN", "GCSAN", "CORE"), "sequence"
    ),
    **dict.fromkeys(("MultiVAE", "MultiDAE", "RecVAE", "DiffRec", "EASE", "ItemKNN"), "row"),
    **dict.fromkeys(("BPR", "LightGCN"), "user"),
    "Pop": "nothing",
}


def reads(model_class, name):
    """What a model's scores for somebody are made of.

    Args:
        model_class (type): its class.
        name (str): its name.

    Returns:
        str: ``sequence``, ``row``, ``user`` or ``nothing``, see `traits.Traits`.

    Raises:
        ValueError: for a model of RecBole's of which it is not known that its checkpoint suffices.
    """
    if not is_ours(model_class):
        if name not in OF_THE_HOST:
            raise ValueError(
                f"recommending from a checkpoint is not known to work for RecBole's {name}; it is "
                f"for {', '.join(sorted(OF_THE_HOST))} and the models of this package"
            )
        return OF_THE_HOST[name]
    sequential = model_class.type == ModelType.SEQUENTIAL
    return traits.of(model_class).reads or ("sequence" if sequential else "user")


def give_histories(model, config, dataset):
    """Replaces the users' rows that a model of kind ``row`` was built with.

    Args:
        model (torch.nn.Module): the model.
        config (Config): of the run.
        dataset (recbole.data.dataset.Dataset): the rows, built.
    """
    if is_ours(type(model)):
        model.read_histories(config, dataset)
        model.to(config["device"])
    elif isinstance(model, AutoEncoderMixin):
        model.build_histroy_items(dataset)  # RecBole's spelling
    else:
        rows = dataset.inter_matrix(form="csr").astype(np.float32)
        if type(model).__name__ == "ItemKNN":  # it keeps the scores of all users
            model.pred_mat = rows.dot(model.w).tolil()
        else:
            model.interaction_matrix = rows


def item_vectors(model):
    """The embeddings of all items that a model ranks by inner products.

    Args:
        model (torch.nn.Module): the model.

    Returns:
        torch.Tensor: shape: [n, D]; None where it does not rank so.
    """
    says = traits.of(type(model))
    if says.generates:
        return model.items().detach()
    if says.inner_product:
        return model.item_embedding.weight.detach()
    if is_ours(type(model)):
        return None
    name = type(model).__name__
    if name == "LightGCN":
        return model.restore_item_e
    return model.item_embedding.weight.detach() if name == "BPR" else None


@torch.no_grad()
def user_vectors(model, batch):
    """The vectors whose inner products with `item_vectors` are the scores.

    Args:
        model (torch.nn.Module): a model that has `item_vectors`.
        batch (Interaction): B users or histories.

    Returns:
        torch.Tensor: shape: [B, D].
    """
    if traits.of(type(model)).generates:
        return model.generate(model.guidance(batch))
    if isinstance(model, SequentialRecommender):
        return model.forward(batch[model.ITEM_SEQ], batch[model.ITEM_SEQ_LEN])
    if type(model).__name__ == "LightGCN":
        return model.restore_user_e[batch[model.USER_ID]]
    return model.user_embedding(batch[model.USER_ID])
