"""Which kind of value is declared for which key of a model? By the YAMLs, and for RecBole's keys.

A key is declared beside its default, ``key: value  # (kind) Sentence.``, and the words in the
brackets are the check. The declaration that stands nearest to the model is the one that counts; one
that names types only (``(int)``) leaves the bounds to those before it. For RecBole's keys there is
`host_kinds`, and where that has nothing, the type of RecBole's default.
"""

import inspect
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import recbole

from recbole_diffusion.config import structures  # noqa: F401  (gives its kinds their names)
from recbole_diffusion.config.host_kinds import OF_MODELS, SHARED
from recbole_diffusion.config.kinds import is_bare, parse
from recbole_diffusion.config.names import is_ours
from recbole_diffusion.config.values import read_yaml

_LINE = re.compile(r"([\w-]+):.*?\s# \((.+?)\) [A-Z]")
_HOST = Path(recbole.__file__).parent / "properties"
_OF_ALL = ("overall.yaml", "dataset/sample.yaml")


class Declared(NamedTuple):
    """What is declared for the keys of a model.

    Attributes:
        kinds (dict): key to declaration, in the words of `kinds`.
        optional (set of str): keys that some file leaves at nothing, so that nothing is a value.
    """

    kinds: dict
    optional: set


def in_comments(path):
    """The declarations that a YAML file's comments hold.

    Args:
        path (str or Path): the file.

    Returns:
        dict: key to declaration, of those that have one.
    """
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return dict(match.groups() for match in map(_LINE.match, lines) if match)


def _stamped(file):
    return _read(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=512)
def _read(path, _):
    """Declarations and keys without a value of a file, as it was at a time."""
    empty = {key for key, value in read_yaml(path).items() if value is None}
    return {key: words for key, words in in_comments(path).items() if _has_meaning(words)}, empty


def _has_meaning(words):
    """Whether a comment declares a kind; those of other packages may have another form."""
    try:
        parse(words)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=128)
def _of_host(name):
    """What is known of the keys of a RecBole model: ours to say, else the types of its defaults."""
    file = _HOST / f"model/{name}.yaml"
    defaults = read_yaml(file) if file.is_file() else {}
    kinds = {key: _type(value) for key, value in defaults.items() if key not in SHARED}
    return kinds | OF_MODELS.get(name, {}), {k for k, value in defaults.items() if value is None}


def _type(value):
    """A declaration that a default implies."""
    if value is None:
        return "any"
    if isinstance(value, list):
        types = {type(entry).__name__ for entry in value}
        return f"list of {'float' if 'float' in types else types.pop()}" if types else "list"
    return type(value).__name__


def declared(model_class, files):
    """What is declared for the keys of a model.

    Args:
        model_class (type): the model's class.
        files (list of Path): YAML files of settings, the one nearest to the model last.

    Returns:
        Declared: of every key that is declared.
    """
    kinds = dict(SHARED)
    optional = set().union(*(_stamped(_HOST / name)[1] for name in _OF_ALL))
    bases = [cls.__name__ for cls in inspect.getmro(model_class) if not is_ours(cls)]
    for name in reversed(bases):
        known, empty = _of_host(name)
        # BERT4Rec needs the transform that others leave at nothing.
        kinds, optional = kinds | known, (optional - set(OF_MODELS.get(name, {}))) | empty
    for file in files:
        found, empty = _stamped(file)
        optional |= empty
        for key, words in found.items():
            if key not in kinds or not is_bare(words):
                kinds[key] = words
    return Declared(kinds, optional)
