"""How are settings written? YAML of plain values."""

import copy
import math
import os
import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import yaml


class _Loader(yaml.SafeLoader):
    """Plain values only, numbers as YAML 1.2 has them, and None as nothing.

    PyYAML reads YAML 1.1, in which 1:30 is 90, 017 is 15, 1_000 is 1000 and 2017-11-25 a date: here
    they are text, 17, text and text. yes, no, on and off stay True and False, as in RecBole's
    files.
    """

    def construct_mapping(self, node, deep=False):
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key, _ in node.value:
                name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
                if name in seen and key.tag != "tag:yaml.org,2002:merge":
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value} is there twice", key.start_mark
                    )
                seen |= {name} - {None}
        return super().construct_mapping(node, deep=deep)

    def construct_whole(self, node):
        """A whole number."""
        text = self.construct_scalar(node)
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        try:
            return int(text[2:] if base != 10 else text, base)
        except ValueError as error:  # thousands of digits
            message = f"a number of {len(text)} digits"
            raise yaml.constructor.ConstructorError(None, None, message, node.start_mark) from error


_REPLACED = ("int", "float", "timestamp", "value")
_Loader.yaml_implicit_resolvers = {
    first: [rule for rule in rules if rule[0].rpartition(":")[2] not in _REPLACED]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PLAIN = ("null", "bool", "int", "float", "str", "seq", "map")  # no dates, sets and bytes
_Loader.yaml_constructors = {
    tag: build
    for tag, build in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in _PLAIN
}
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_whole)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^[Nn]one$"), list("Nn"))


# What yaml raises on text that is no YAML, or lists in lists in lists; on a tag that fits no value.
_NOT_READ = (yaml.YAMLError, RecursionError, ValueError, TypeError, AttributeError)


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
        settings = _parsed(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the config file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text in UTF-8: {error}") from error
    except _NOT_READ as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if settings is not None and not isinstance(settings, dict):
        raise ConfigError(f"{path} holds a {type(settings).__name__}, not `key: value` lines")
    return copy.deepcopy(settings) or {}


@lru_cache(maxsize=64)  # every Config reads the files of the package again
def _parsed(text):
    return yaml.load(text, Loader=_Loader)


def parse_value(text):
    """A command-line value as YAML reads it; text that is no YAML stays text.

    Nothing is evaluated: ``os.system`` is a string.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except _NOT_READ:
        return text


def plain(value):
    """A value of Python or numpy as YAML would have it: paths are text, tuples are lists."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, tuple):
        return [plain(entry) for entry in value]
    return value


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
