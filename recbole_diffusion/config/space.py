"""Which values of which settings may a search try?

Two formats are read. Ours is YAML, a kind and its values for each setting::

    learning_rate: {loguniform: [5.0e-4, 3.0e-3]}
    dropout_prob: {choice: [0.1, 0.2, 0.3]}

RecBole's ``hyper.test`` is text, in which the ends of loguniform are exponents of e::

    learning_rate loguniform -8,0
    embedding_size choice [64, 96 , 128]
"""

import ast
import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import yaml

from recbole_diffusion.config.values import ConfigError, parse_value, read_yaml

# Kind -> how many numbers it takes; a choice takes any values.
KINDS = {"choice": None, "uniform": 2, "loguniform": 2, "randint": 2, "quniform": 3}


@dataclass(frozen=True)
class Domain:
    """The values that one setting may take.

    Args:
        kind (str): choice, uniform, loguniform (even in the logarithm), randint (whole numbers,
            both ends are in) or quniform (multiples of q, both ends are in).
        values (tuple): the choices; of the other kinds low and high, and q of quniform.

    Raises:
        ValueError: on an unknown kind, or on values that do not fit it.
    """

    kind: str
    values: tuple

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"'{self.kind}' is none of {', '.join(KINDS)}")
        if self.kind == "choice":
            if not self.values:
                raise ValueError("choice has nothing to choose from")
            return
        names = ("low", "high", "q")[: KINDS[self.kind]]
        allowed = (int,) if self.kind == "randint" else (int, float)
        fit = all(type(value) in allowed and math.isfinite(value) for value in self.values)
        if len(self.values) != len(names) or not fit:
            numbers = "whole numbers" if self.kind == "randint" else "numbers"
            raise ValueError(
                f"{self.kind} takes the {numbers} {', '.join(names)}, not {list(self.values)}"
            )
        low, high, *q = self.values
        if low >= high:
            raise ValueError(f"{self.kind} has low {low} and high {high}: low must be below high")
        if self.kind == "loguniform" and low <= 0:
            raise ValueError(f"loguniform has low {low}: it must be above 0")
        if q and q[0] <= 0:
            raise ValueError(f"quniform has q {q[0]}: it must be above 0")
        if q and any(not math.isclose(end / q[0], round(end / q[0])) for end in (low, high)):
            raise ValueError(f"quniform has ends {low} and {high} that are no multiples of {q[0]}")

    @property
    def members(self):
        """list: all values of a finite domain; None of uniform and loguniform."""
        if self.kind == "choice":
            return list(self.values)
        if self.kind == "randint":
            return list(range(self.values[0], self.values[1] + 1))
        if self.kind == "quniform":
            low, high, q = self.values
            return [_short(i * q) for i in range(round(low / q), round(high / q) + 1)]
        return None

    def __contains__(self, value):
        if self.kind == "choice":
            return value in self.values
        low, high = self.values[:2]
        if type(value) not in (int, float) or not low <= value <= high:
            return False
        return self.members is None or any(math.isclose(value, known) for known in self.members)

    def sample(self, generator):
        """Draws one value.

        Args:
            generator (numpy.random.Generator): source of randomness.

        Returns:
            object: a plain Python value; a float has 3 significant digits, if that is in range.
        """
        if self.members is not None:
            return self.members[int(generator.integers(len(self.members)))]
        low, high = self.values
        if self.kind == "loguniform":
            value = math.exp(generator.uniform(math.log(low), math.log(high)))
        else:
            value = float(generator.uniform(low, high))
        return self.short(value)

    def short(self, value):
        """A value as it is tried: a float of a range has 3 significant digits, if that is in it."""
        if self.members is not None:
            return value
        low, high = self.values
        return float(min(max(float(f"{value:.3g}"), low), high))

    def to_ray(self):
        """This domain in Ray Tune's words.

        Returns:
            ray.tune.search.sample.Domain: the same values.
        """
        from ray import tune

        if self.kind == "choice":
            return tune.choice(list(self.values))
        if self.kind == "randint":
            return tune.randint(self.values[0], self.values[1] + 1)  # Ray leaves high out
        if self.kind == "quniform" and all(type(value) is int for value in self.values):
            return tune.qrandint(*self.values)
        return getattr(tune, self.kind)(*self.values)


def read_space(path):
    """Reads a search space, in our YAML or in RecBole's ``hyper.test`` text.

    Args:
        path (str or Path): the file.

    Returns:
        dict: setting to `Domain`, in the file's order; empty for an empty file.

    Raises:
        ConfigError: if the file is missing or a line of it has no meaning; the message names the
            file and the key.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read the search space {path}: {error.strerror}") from error
    lines = [line.split(maxsplit=2) for line in text.splitlines()]
    lines = [line for line in lines if line and not line[0].startswith(("#", "---"))]
    ours = not lines or ":" in lines[0][0]
    pairs = _pairs(path, text) if ours else [_words(path, line) for line in lines]
    space = {}
    for key, kind, values in pairs:
        if key in space:
            raise ConfigError(f"{path}: {key} is there twice")
        try:
            space[key] = Domain(kind, tuple(values))
        except ValueError as error:
            raise ConfigError(f"{path}: {key}: {error}") from error
    return space


def _pairs(path, text):
    """Keys, kinds and values of our format."""
    spec = read_yaml(path)
    # A YAML mapping keeps the last of two equal keys; its nodes still have both.
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for key in [pair[0].value for pair in node.value] if node else []:
        value = spec[key]
        if not isinstance(value, dict) or len(value) != 1:
            raise ConfigError(f"{path}: {key} is {value!r}, not one {{kind: [values]}}")
        kind, values = next(iter(value.items()))
        if not isinstance(values, list):
            raise ConfigError(f"{path}: {key}: {kind} has {values!r}, not a [list of values]")
        yield key, kind, values


def _words(path, line):
    """Key, kind and values of a line of RecBole's text."""
    if len(line) < 3:
        raise ConfigError(f"{path}: '{' '.join(line)}' is no `setting kind values` line")
    key, kind, text = line
    if kind == "choice":
        try:  # RecBole calls eval here; this reads the same plain values and runs nothing
            values = ast.literal_eval(text)
        except (ValueError, SyntaxError) as error:
            raise ConfigError(f"{path}: {key}: {text} is not a list of values") from error
        if not isinstance(values, list | tuple):
            raise ConfigError(f"{path}: {key}: {text} is not a list of values")
        return key, kind, [list(v) if isinstance(v, tuple) else v for v in values]
    values = [parse_value(part.strip()) for part in text.split(",")]
    if kind == "loguniform" and all(type(value) in (int, float) for value in values):
        values = [math.exp(value) for value in values]
    return key, kind, values


def sample(space, generator):
    """Draws settings at random.

    Args:
        space (dict): setting to `Domain`.
        generator (numpy.random.Generator): source of randomness.

    Returns:
        dict: setting to a plain Python value, floats with 3 significant digits.
    """
    return {key: domain.sample(generator) for key, domain in space.items()}


def grid(space):
    """All combinations of a finite space.

    Args:
        space (dict): setting to `Domain`.

    Returns:
        list of dict: settings; one empty dict for an empty space.

    Raises:
        ConfigError: if a setting has a continuous range.
    """
    for key, domain in space.items():
        if domain.members is None:
            raise ConfigError(
                f"{key} is {domain.kind}, which has no end of values: a grid takes choice, randint "
                "and quniform"
            )
    members = [domain.members for domain in space.values()]
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*members)]


def to_ray(space):
    """A search space in Ray Tune's words.

    Args:
        space (dict): setting to `Domain`.

    Returns:
        dict: setting to a domain of Ray.
    """
    return {key: domain.to_ray() for key, domain in space.items()}


def _short(value):
    """A multiple of q without the dust of binary fractions: 0.3, not 0.30000000000000004."""
    return value if isinstance(value, int) else float(f"{value:.12g}")
