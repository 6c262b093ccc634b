"""Which of the settings is behind an error of a library, or of mathematics, that names none?"""

import traceback
from contextlib import contextmanager
from pathlib import Path

import recbole

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
    except (AssertionError, NotImplementedError) as error:
        if not _by_the_host(error):
            raise
        words = f"{config['model']} does not take its settings: {_line(error)}"
        raise ConfigError(f"{words}{_words(_given(config))}") from error
    except (MemoryError, RuntimeError, IndexError) as error:
        cause = _cause(config, error)
        if cause is None:
            raise
        raise ConfigError(cause) from error


@contextmanager
def naming_columns(config):
    """Gives errors of RecBole's reading of data the names of the settings that steer it.

    Where none of these was given, errors go through as they are.

    Args:
        config (Config): of the data that are read within.

    Raises:
        ConfigError: for an error behind which such a setting may be.
    """
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, NotImplementedError) as error:
        given = {
            key: value
            for key, value in config.external_config_dict.items()
            if key in config.parameters["Dataset"] or key in of_kind("reading")
        }
        words = isinstance(error, ValueError)
        named = words and any(key in str(error) for key in given)
        if not given or named or (words and type(error) is not ValueError):  # it says which line
            raise
        line = _line(error) if words else repr(error)
        raise ConfigError(f"the data cannot be read: {line}{_words(given)}") from error


def _cause(config, error):
    """What an error of torch says about settings, None if nothing."""
    line = _line(error)
    if isinstance(error, MemoryError) or "allocate" in line or "out of memory" in line:
        return f"{config['model']} does not fit into memory ({line}){_words(_given(config))}"
    if "SparseAdam" in line:
        return f"learner is {config['learner']}, but {config['model']} has no sparse gradients"
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return f"compile is True, but the loss of {config['model']} cannot be compiled here: {line}"
    if config["enable_amp"]:
        return (
            f"enable_amp is True, but {config['model']} does not train in mixed precision on "
            f"{config['device']}: {line}"
        )
    given = _given(config)
    if given and _in_a_model_of_the_host(error):
        return f"{config['model']} ended with {type(error).__name__}: {line}{_words(given)}"
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


def _files(error):
    return [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]


def _by_the_host(error):
    """Whether RecBole's code raised an error."""
    return Path(recbole.__file__).parent in _files(error)[-1].parents


def _in_a_model_of_the_host(error):
    """Whether an error comes out of a model of RecBole's."""
    return any(Path(recbole.__file__).parent / "model" in file.parents for file in _files(error))


def _line(error):
    """The first line of an error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
