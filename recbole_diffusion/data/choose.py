"""Which data set class does a run read its rows with?"""

from recbole.utils import ModelType

from recbole_diffusion.config.names import is_ours
from recbole_diffusion.config.values import ConfigError

# Host models that read the prefixes that RecBole's data set stores, which ours does not make.
READS_STORED_HISTORIES = {"FEARec"}


def get_dataset(config):
    """The data set class of a run.

    Args:
        config (Config): the run's configuration.

    Returns:
        type: our lazy sequential or general data set, or RecBole's where its model needs its own.

    Raises:
        ConfigError: if such a model is asked to run on behaviours or whole sequences.
    """
    import recbole.data.dataset as host

    from recbole_diffusion.data.dataset import GeneralDataset, LazySequentialDataset

    own = getattr(host, config["model"] + "Dataset", None)
    if config["model"] in READS_STORED_HISTORIES and not is_ours(config.model_class):
        own = host.SequentialDataset
    ours = {
        ModelType.GENERAL: GeneralDataset,
        ModelType.TRADITIONAL: GeneralDataset,
        ModelType.SEQUENTIAL: LazySequentialDataset,
    }
    if (own is None or is_ours(config.model_class)) and config["MODEL_TYPE"] in ours:
        return ours[config["MODEL_TYPE"]]
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
    if own is not None:
        return own
    return (
        host.KnowledgeBasedDataset if config["MODEL_TYPE"] == ModelType.KNOWLEDGE else host.Dataset
    )
