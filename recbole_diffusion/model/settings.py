"""Are a model's settings of the right kind? Refused by name before anything is built."""

import math

from recbole_diffusion.diffusion.schedules import SCHEDULES


def refuse(config, key, must):
    """Refuses a setting; where it has no value, says where to give it one.

    Args:
        config (Config): the configuration.
        key (str): name of the setting.
        must (str): what it must be, in words.

    Raises:
        ValueError: naming the setting and its value.
    """
    hint = ""
    if config[key] is None:
        hint = f"; give it a default in properties/model/{config['model']}.yaml"
    raise ValueError(f"{key} is {config[key]!r}, it must be {must}{hint}")


def check_whole(config, *keys):
    """Refuses settings that are not whole numbers above 0.

    Args:
        config (Config): the configuration.
        keys (str): names of settings.

    Raises:
        ValueError: naming the setting and its value.
    """
    for key in keys:
        if not _is_whole(config[key]):
            refuse(config, key, "a whole number above 0")


def check_widths(config, *keys):
    """Refuses settings that are not lists of whole numbers above 0; arguments as above.

    Raises:
        ValueError: naming the setting and its value.
    """
    for key in keys:
        if not isinstance(config[key], list) or not all(map(_is_whole, config[key])):
            refuse(config, key, "a list of whole numbers above 0, like [300]")


def check_not_negative(config, *keys):
    """Refuses settings that are not finite numbers of at least 0; arguments as above.

    Raises:
        ValueError: naming the setting and its value.
    """
    for key in keys:
        if not _is_number(config[key]) or not 0 <= config[key] < math.inf:
            refuse(config, key, "a number of at least 0")


def check_above_zero(config, *keys):
    """Refuses settings that are not finite numbers above 0; arguments as above.

    Raises:
        ValueError: naming the setting and its value.
    """
    for key in keys:
        if not _is_number(config[key]) or not 0 < config[key] < math.inf:
            refuse(config, key, "a number above 0")


def check_shares(config, *keys):
    """Refuses settings that are not numbers from 0 to below 1; arguments as above.

    Raises:
        ValueError: naming the setting and its value.
    """
    for key in keys:
        if not _is_number(config[key]) or not 0 <= config[key] < 1:
            refuse(config, key, "a number from 0 to below 1")


def check_flags(config, *keys):
    """Refuses settings that are neither True nor False; arguments as above.

    Raises:
        ValueError: naming the setting and its value.
    """
    for key in keys:
        if not isinstance(config[key], bool):
            refuse(config, key, "True or False")


def check_heads(config):
    """Refuses a ``hidden_size`` that ``n_heads`` attention heads cannot share.

    Raises:
        ValueError: naming both.
    """
    check_whole(config, "hidden_size", "n_heads")
    if config["hidden_size"] % config["n_heads"]:
        raise ValueError(
            f"hidden_size {config['hidden_size']} cannot be divided among n_heads "
            f"{config['n_heads']}; it must be a multiple"
        )


def check_known(config, key, known):
    """Refuses a setting that is not one of the known values.

    Args:
        config (Config): the configuration.
        key (str): name of the setting.
        known (Iterable): its values.

    Raises:
        ValueError: naming the setting, its value and the known ones.
    """
    if config[key] not in known:
        if config[key] is None:
            refuse(config, key, f"one of {', '.join(known)}")
        raise ValueError(f"{key} {config[key]!r} is unknown; known: {', '.join(known)}")


def noise_betas(config, names, *parameters):
    """The betas of the setting ``noise_schedule`` over ``diffusion_steps`` levels.

    Args:
        config (Config): the configuration.
        names (dict or Iterable): names a model gives to ``SCHEDULES``, or names out of these.
        *parameters: what the schedule takes besides T.

    Returns:
        numpy.ndarray: beta_1 .. beta_T, shape: [T].

    Raises:
        ValueError: for an unknown name, or betas that no process can have.
    """
    check_known(config, "noise_schedule", names)
    name = config["noise_schedule"]
    name = names[name] if isinstance(names, dict) else name
    return SCHEDULES[name](config["diffusion_steps"], *parameters)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value):
    return type(value) is int and value > 0
