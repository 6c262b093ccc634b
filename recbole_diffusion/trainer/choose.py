"""Which trainer class does a run need?"""

from recbole.trainer import Trainer
from recbole.utils import get_trainer as get_host_trainer

from recbole_diffusion.config.names import class_named_by, host_base
from recbole_diffusion.trainer.trainer import DiffusionTrainer, TrainerHooks


def get_trainer(config):
    """The trainer class of a run: the one its model names, else RecBole's with our hooks.

    Args:
        config (Config): the run's configuration.

    Returns:
        type: a trainer class with our checkpoints, budget and audit.

    Raises:
        ValueError: if the class that the model names is missing or has not our hooks.
    """
    model = config.model_class
    trainer = class_named_by(model, "trainer")
    if trainer is not None:
        if not issubclass(trainer, TrainerHooks):
            raise ValueError(
                f"{model.__name__}.trainer is {model.trainer!r}, which does not derive from "
                "recbole_diffusion.trainer.TrainerHooks"
            )
        return trainer
    host = get_host_trainer(config["MODEL_TYPE"], host_base(model))
    if host is Trainer:
        return DiffusionTrainer
    return type(host.__name__, (TrainerHooks, host), {})
