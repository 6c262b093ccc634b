"""Are a model's settings of the right kind? Refused by name before anything is built."""

import math


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
            raise ValueError(f"{key} is {config[key]!r}, it must be a whole number above 0")


def check_widths(config, *keys):
    """Refuses settings that are not lists of whole numbers above 0; arguments as above.

    Raises:
        ValueError: naming the setting and its value.
    """
    for key in keys:
        if not isinstance(config[key], list) or not all(map(_is_whole, config[key])):
            raise ValueError(
                f"{key} is {config[key]!r}, it must be a list of whole numbers above 0, like [300]"
            )


def check_not_negative(config, *keys):
    """Refuses settings that are not finite numbers of at least 0; arguments as above.

    Raises:
        ValueError: naming the setting and its value.
    """
    for key in keys:
        value = config[key]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0 <= value < math.inf:
            raise ValueError(f"{key} is {value!r}, it must be a number of at least 0")


def _is_whole(value):
    return type(value) is int and value > 0
