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
        if not _is_number(config[key]) or not 0 <= config[key] < math.inf:
            raise ValueError(f"{key} is {config[key]!r}, it must be a number of at least 0")


def check_above_zero(config, *keys):
    """Refuses settings that are not finite numbers above 0; arguments as above.

    Raises:
        ValueError: naming the setting and its value.
    """
    for key in keys:
        if not _is_number(config[key]) or not 0 < config[key] < math.inf:
            raise ValueError(f"{key} is {config[key]!r}, it must be a number above 0")


def check_shares(config, *keys):
    """Refuses settings that are not numbers from 0 to below 1; arguments as above.

    Raises:
        ValueError: naming the setting and its value.
    """
    for key in keys:
        if not _is_number(config[key]) or not 0 <= config[key] < 1:
            raise ValueError(f"{key} is {config[key]!r}, it must be a number from 0 to below 1")


def check_flags(config, *keys):
    """Refuses settings that are neither True nor False; arguments as above.

    Raises:
        ValueError: naming the setting and its value.
    """
    for key in keys:
        if not isinstance(config[key], bool):
            raise ValueError(f"{key} is {config[key]!r}, it must be True or False")


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value):
    return type(value) is int and value > 0
