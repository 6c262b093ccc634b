"""Which data set class does a run read its rows with?"""

from functools import lru_cache

from recbole.data.dataset import Dataset, KnowledgeBasedDataset
from recbole.utils import ModelType

from recbole_diffusion.config.names import class_named_by
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.data.dataset import GeneralDataset, LazySequentialDataset
from recbole_diffusion.data.repeats import WholeRows
from recbole_diffusion.data.splits import BehaviorData

OF_A_KIND = {
    ModelType.GENERAL: GeneralDataset,
    ModelType.TRADITIONAL: GeneralDataset,
    ModelType.SEQUENTIAL: LazySequentialDataset,
    ModelType.KNOWLEDGE: KnowledgeBasedDataset,
}  # others have RecBole's Dataset


def get_dataset(config):
    """The data set class of a run.

    Args:
        config (Config): the run's configuration.

    Returns:
        type: the one that the model names, else the one for its kind of model; counts repeated
        lines once.

    Raises:
        ConfigError: if it is one of RecBole's and is asked to read behaviours or whole
            sequences, or to drop rows of held-out items.
        ValueError: if the class that the model names is missing.
    """
    found = class_named_by(config.model_class, "dataset_class")
    found = found or OF_A_KIND.get(config["MODEL_TYPE"], Dataset)
    if issubclass(found, BehaviorData):
        return found
    if config["BEHAVIOR_FIELD"] is not None:
        raise ConfigError(
            f"{config['model']} needs a data set of its own in RecBole and cannot run on "
            "behaviours: unset BEHAVIOR_FIELD"
        )
    if config["SPLIT"] == "sequence":
        raise ConfigError(
            f"{config['model']} needs a data set of its own in RecBole, which does not know SPLIT: "
            "sequence"
        )
    if config["held_out_items"] == "new":
        raise ConfigError(
            f"{config['model']} needs a data set of its own in RecBole, which does not know "
            "held_out_items: new"
        )
    return found if issubclass(found, WholeRows) else _whole(found)


@lru_cache
def _whole(found):
    return type(found.__name__, (WholeRows, found), {})
