"""Which of the settings is behind an error of a library, or of mathematics, that names none?"""

from contextlib import contextmanager

from recbole_diffusion.config.keys import of_kind
from recbole_diffusion.config.kinds import shown
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.trainer.scoring import ScoresError
from recbole_diffusion.trainer.trainer import LossError

MOST = 8  # settings that a message names


@contextmanager
def naming_settings(config):
    """Gives errors of a model and its training the names of settings.

    What is no question of settings goes through as it is.

    Args:
        config (Config): of the model that is built or trained within.

    Raises:
        LossError, ScoresError: as they were, with the settings.
        ConfigError: for an error of a value, of memory, of mixed precision or of an optimiser.
    """
    try:
        yield
    except ValueError as error:
        given = _given(config)
        overflow = isinstance(error, (LossError, ScoresError))
        of_its_own = type(error) is not ValueError and not overflow
        if of_its_own or any(key in str(error) for key in given):
            raise
        kind = type(error) if overflow else ConfigError
        raise kind(f"{_line(error)}{_words(given)}") from error
    except (OverflowError, ZeroDivisionError) as error:
        raise ConfigError(f"{_line(error)}{_words(_given(config))}") from error
    except (MemoryError, RuntimeError) as error:
        cause = _cause(config, error)
        if cause is None:
            raise
        raise ConfigError(cause) from error


def _cause(config, error):
    """What an error of torch says about settings, None if nothing."""
    line = _line(error)
    if isinstance(error, MemoryError) or "allocate" in line or "out of memory" in line:
        return f"{config['model']} does not fit into memory ({line}){_words(_given(config))}"
    if "SparseAdam" in line:
        return f"learner is {config['learner']}, but {config['model']} has no sparse gradients"
    if config["enable_amp"]:
        return (
            f"enable_amp is True, but {config['model']} does not train in mixed precision on "
            f"{config['device']}: {line}"
        )
    return None


def _given(config):
    """The settings that were given and are of the model or its training."""
    of_others = {*of_kind("not_of_a_run"), *of_kind("which_run"), *of_kind("column")}
    given = config.external_config_dict.items()
    return {key: value for key, value in given if key not in of_others}


def _words(given):
    if not given:
        return ""
    said = ", ".join(f"{key} = {shown(value)}" for key, value in list(given.items())[-MOST:])
    return f"; given were {said}"


def _line(error):
    """The first line of an error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
