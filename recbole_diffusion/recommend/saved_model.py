"""Which model lies in a checkpoint? Built without its data, with all that it scores with."""

import pandas as pd
import torch

from recbole_diffusion.config import traits
from recbole_diffusion.recommend.histories import dataset_of
from recbole_diffusion.trainer.checkpoint import CheckpointError
from recbole_diffusion.trainer.fields import wrong_weights
from recbole_diffusion.trainer.randomness import own_randomness


def saved_model(config, state, tokens, path):
    """The model of a checkpoint.

    Args:
        config (SavedConfig): of the run.
        state (dict): of `checkpoint.load`.
        tokens (dict of str to list of str): by field its ids in order, the padding first.
        path (str or Path): of the checkpoint, for messages.

    Returns:
        torch.nn.Module: in evaluation mode, on the device of ``config``.

    Raises:
        CheckpointError: if the checkpoint does not hold all that the model scores with.
    """
    lost = [name for name, value in state["other_parameter"].items() if value is None]
    if lost:
        raise CheckpointError(
            f"{path} holds no {lost[0]}, which {config['model']} scores with: it is there after a "
            "validation, so train with validation rows"
        )
    # What a constructor makes of this row is replaced by what the checkpoint holds.
    row = {config["USER_ID_FIELD"]: [1], config["ITEM_ID_FIELD"]: [1]}
    row |= {field: [1] for field in tokens}
    data = dataset_of(config, tokens, tokens[config["USER_ID_FIELD"]][1:], pd.DataFrame(row))
    given = {}
    if traits.of(config.model_class).item_clusters:
        given["cluster_ids"] = state["state_dict"]["cluster_ids"]
    with own_randomness(config["seed"]):
        model = config.model_class(config, data, **given).to(config["device"])
    wrong = wrong_weights(state["state_dict"], model)
    if wrong:
        raise CheckpointError(f"the weights of {path} do not fit the model: {wrong}")
    model.load_state_dict(state["state_dict"])
    other = {
        name: value.to(config["device"]) if isinstance(value, torch.Tensor) else value
        for name, value in state["other_parameter"].items()
    }
    try:
        model.load_other_parameter(other)
    except ValueError as error:
        raise CheckpointError(f"the other_parameter of {path} do not fit: {error}") from error
    return model.eval()
