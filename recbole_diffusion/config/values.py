"""How are settings written? YAML of plain values."""

import math
import re
from pathlib import Path

import yaml


class _Loader(yaml.SafeLoader):
    """Plain values only, with 1e-3 read as a number and None as nothing."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?"
        r"|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$|^[-+]\.(?:inf|Inf|INF)$"
    ),
    list("-+0123456789."),
)


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^[Nn]one$"), list("Nn"))


class ConfigError(ValueError):
    """A setting is unknown, contradictory or out of range; the message says which."""


def read_yaml(path):
    """Reads one YAML file of settings.

    Args:
        path (str or Path): the file.

    Returns:
        dict: its settings, empty for an empty file.

    Raises:
        ConfigError: if the file is missing, is no YAML or holds no mapping.
    """
    try:
        settings = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise ConfigError(f"cannot read the config file {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if settings is not None and not isinstance(settings, dict):
        raise ConfigError(f"{path} holds a {type(settings).__name__}, not `key: value` lines")
    return settings or {}


def parse_value(text):
    """A command-line value as YAML reads it; text that is no YAML stays text.

    Nothing is evaluated: ``os.system`` is a string.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        return text


def as_texts(settings):
    """Settings of which `Config` makes the same values again.

    Args:
        settings (dict): key to plain value.

    Returns:
        dict: with texts quoted, because Config reads them as YAML, where a space, say, is nothing.
    """
    return {k: _quoted(v) if isinstance(v, str) else v for k, v in settings.items()}


def _quoted(text):
    # Not JSON's quotes, in which YAML reads a character beyond U+FFFF as two.
    return yaml.dump(text, Dumper=yaml.SafeDumper, default_style='"', width=math.inf).rstrip("\n")
