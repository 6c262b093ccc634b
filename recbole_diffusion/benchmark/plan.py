"""What is to be run? Models with their settings, seeds and trials, and in which order."""

import difflib
import hashlib
import json
import re
import zlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recbole_diffusion.benchmark.protocol import SHARED
from recbole_diffusion.config.foreign import refuse_unnamed, vouch
from recbole_diffusion.config.keys import of_kind
from recbole_diffusion.config.names import resolve
from recbole_diffusion.config.paths import properties_dir
from recbole_diffusion.config.properties import ablations, space_file
from recbole_diffusion.config.space import read_space, sample
from recbole_diffusion.config.values import ConfigError, parse_value, read_yaml

FIRST_SEED = 2020
# What a file may hold beside the keys of properties/benchmark.yaml.
OPTIONS = {"models", "dataset", "config_files", "external"}
OF_A_MODEL = {"model", "config_files", "settings", "space", "ablates", "change"}


class Entry(NamedTuple):
    """A row of the table to be.

    Attributes:
        label (str): the row's name.
        model (str): the model as people type it.
        settings (dict): of this model, over those of all; of an ablation, those of its base too.
        space (str): file of its search space; None is ``properties/tune/<Model>.yaml``.
        ablates (str): label of the row that it is a variant of, or None.
        change (str): what the variant changes, in words, or None.
        own (dict): of an ablation, the settings that stay whatever the trials of its base choose,
            else None.
    """

    label: str
    model: str
    settings: dict
    space: str = None
    ablates: str = None
    change: str = None
    own: dict = None


class Run(NamedTuple):
    """One training.

    Attributes:
        entry (Entry): what is trained.
        phase (str): ``trial`` or ``seed``.
        number (int): from 0, which of the entry's trials or seeds it is.
        seed (int): the run's seed.
    """

    entry: Entry
    phase: str
    number: int
    seed: int


class Plan(NamedTuple):
    """A whole benchmark.

    Attributes:
        dataset (str): the data set.
        entries (list of Entry): rows, in the order given; ablations follow what they ablate.
        seeds (list of int): seeds of every row.
        tune (int): trials of every row that is not an ablation.
        sampling_seeds (int): test evaluations of a model that draws when scoring.
        jobs, threads (int): runs at a time, and threads of each.
        gpus, memory_gib (float): that a run asks of a cluster.
        settings (dict): of every run.
        external (dict): label to the file of another program's lists.
    """

    dataset: str
    entries: list
    seeds: list
    tune: int
    sampling_seeds: int
    jobs: int
    threads: int
    settings: dict
    external: dict
    gpus: float = 0
    memory_gib: float = 0

    def record(self):
        """dict: plain values, as the journal has them."""
        entries = {}
        for label, *parts in self.entries:
            named = zip(Entry._fields[1:], parts)
            entries[label] = {key: value for key, value in named if value is not None}
        return self._asdict() | {
            "entries": None,
            "models": entries,
            "metric": str(self.settings["valid_metric"]).lower(),
            "max_train_seconds": self.settings["max_train_seconds"],
        }

    def runs(self):
        """All trainings in order: every row's trials and first seed, then every second seed, ...

        Trials have a seed that no row has.

        Returns:
            list of Run: the trainings.
        """
        runs = []
        for number, seed in enumerate(self.seeds):
            for entry in self.entries:
                if number == 0 and not entry.ablates:
                    before = min(self.seeds) - 1
                    # Where there is nothing to choose, one trial says all.
                    trials = min(self.tune, 1)
                    if self.tune > 1 and space_of(entry):
                        trials = self.tune
                    runs += [Run(entry, "trial", trial, before) for trial in range(trials)]
                runs.append(Run(entry, "seed", number, seed))
        return runs

    def sampled(self, entry, number):
        """What a trial changes: nothing in the first, random values of the search space in others.

        Args:
            entry (Entry): the row.
            number (int): which trial.

        Returns:
            dict: settings.
        """
        space = space_of(entry)
        if number == 0 or not space:
            return {}
        generator = np.random.default_rng([number, zlib.crc32(entry.label.encode())])
        return sample(space, generator)


def space_of(entry):
    """The search space of a row.

    Args:
        entry (Entry): the row.

    Returns:
        dict: setting to `space.Domain`.

    Raises:
        ConfigError: if there is no file for its model.
    """
    name, model_class = resolve(entry.model)
    file = entry.space or space_file(model_class)
    if file is None:
        raise ConfigError(f"no search space comes with {name}: give one with `space: FILE`")
    return _read_space(str(file))


_read_space = lru_cache(read_space)


def run_id(run, dataset, settings, sampling_seeds):
    """Names a training by all that its result depends on.

    Args:
        run (Run): the training.
        dataset (str): the data set.
        settings (dict): all settings of the run.
        sampling_seeds (int): test evaluations.

    Returns:
        str: label and ten hexadecimal characters.
    """
    # Which split it is, the hash of the held-out rows says; older journals do not have the key.
    settings = {key: value for key, value in settings.items() if key != "split_seed"}
    parts = [run.entry.label, run.entry.model, dataset, run.phase, run.number, run.seed, settings]
    if run.phase == "seed":
        parts.append(sampling_seeds)
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:10]
    plain = re.sub(r"[^\w.-]+", "-", run.entry.label).strip("-")[:40]
    return f"{plain}-{run.phase}{run.number}-{digest}"


def make_plan(options, file=None):
    """Makes a plan of a file and what is given over it.

    Args:
        options (dict): keys of ``properties/benchmark.yaml``, ``models`` (a list of names, or label
            to ``model``, ``config_files``, ``settings`` and ``space``, or of an ablation to
            ``ablates``, the label of another row, and ``change``, in words; ``settings`` may be the
            one word of the key of that name, published or default), ``dataset``, ``config_files``
            (YAML files of settings of every run), ``external`` (name to file), and any other key as
            a setting of every run; texts are read as YAML.
        file (str or Path): YAML with the same keys.

    Returns:
        Plan: what is to be run.

    Raises:
        ConfigError: on a key or value that has no meaning, with the nearest that has.
        ValueError: on an unknown model.
    """
    defaults = read_yaml(properties_dir() / "benchmark.yaml")
    settings = defaults.pop("settings")
    known = set(defaults) | OPTIONS
    of_all = set(settings)  # a file may name them without `settings:`, as the command line does
    given = read_yaml(file) if file else {}
    for key in given:
        if key not in known | of_all | {"settings"}:
            near = difflib.get_close_matches(str(key), known | of_all, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "settings of runs go to `settings:`"
            raise ConfigError(f"{file}: a benchmark has no '{key}'; {hint}")
    vouch(options)
    options = {k: parse_value(v) if isinstance(v, str) else v for k, v in options.items()}
    settings |= _files(given.get("config_files")) | _settings(given.get("settings"))
    settings |= {key: given[key] for key in of_all & given.keys()}
    settings |= _files(options.get("config_files"))
    settings |= {key: value for key, value in options.items() if key not in known}
    values = defaults | given | {key: value for key, value in options.items() if key in known}
    limit = settings["max_train_seconds"]
    if limit is not None and (type(limit) not in (int, float) or not limit > 0):
        raise ConfigError(f"max_train_seconds is {limit!r}, not a number above 0")
    if type(settings["split_seed"]) is not int:
        raise ConfigError(
            f"split_seed is {settings['split_seed']!r}, not a whole number: all rows and seeds of "
            "a benchmark share one split"
        )
    own = set(of_kind("benchmark")) & set(settings)
    if own:
        raise ConfigError(f"{sorted(own)[0]} is set by the benchmark itself")
    if not values.get("dataset"):
        raise ConfigError("no dataset given: set --dataset=... or `dataset:` in the file")
    external = values.get("external") or {}
    if not isinstance(external, dict):
        raise ConfigError(f"external is {external!r}, not a mapping of names to files")
    entries = _entries(values.get("models"))
    if type(values["ablate"]) is not bool:
        raise ConfigError(f"ablate is {values['ablate']!r}, neither True nor False")
    if values["ablate"]:
        entries = _with_ablations(entries)
    for entry in entries:
        refuse_unnamed((settings | entry.settings).get("pretrain"), "pretrain of a file", "classes")
    labels = [entry.label for entry in entries] + list(external)
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise ConfigError(f"two rows are called '{twice[0]}'")
    for key, least in (("tune", 0), ("sampling_seeds", 1), ("jobs", 1), ("threads", 1)):
        if type(values[key]) is not int or values[key] < least:
            raise ConfigError(f"{key} is {values[key]!r}, not a whole number of at least {least}")
    for key in ("gpus", "memory_gib"):
        if type(values[key]) not in (int, float) or not 0 <= values[key] < float("inf"):
            raise ConfigError(f"{key} is {values[key]!r}, not a number of at least 0")
    plan = Plan(
        dataset=str(values["dataset"]),
        entries=entries,
        seeds=_seeds(values["seeds"]),
        settings=settings,
        external={str(name): str(path) for name, path in external.items()},
        **{key: values[key] for key in Plan._fields if key in defaults and key != "seeds"},
    )
    if plan.tune:
        for entry in entries:
            if not entry.ablates:
                # Refuses now what would be refused after hours.
                same = {*of_kind("benchmark"), *of_kind("all_rows"), *SHARED}
                own = same & set(space_of(entry))
                if own:
                    raise ConfigError(
                        f"model {entry.label}: {sorted(own)[0]} is the same for all rows, and its "
                        "search space changes it"
                    )
    return plan


def _files(files):
    """Settings of some YAML files; a text is several parted by spaces."""
    settings = {}
    for file in files.split() if isinstance(files, str) else files or []:
        settings |= read_yaml(file)
    return settings


def _settings(given):
    """What stands under ``settings`` in a file: settings, or the word of the key of that name."""
    if isinstance(given, str):
        return {"settings": given}
    if not isinstance(given, dict | None):
        raise ConfigError(f"settings is {given!r}, neither `key: value` lines nor a word")
    return given or {}


def _seeds(seeds):
    if type(seeds) is int and seeds > 0:
        return list(range(FIRST_SEED, FIRST_SEED + seeds))
    if isinstance(seeds, list) and seeds and all(type(seed) is int for seed in seeds):
        if len(set(seeds)) == len(seeds):
            return seeds
    raise ConfigError(f"seeds is {seeds!r}, neither a number above 0 nor a list of different ones")


def _entries(models):
    """Rows of what a user wrote under ``models``, each followed by its ablations."""
    if isinstance(models, str):
        models = [name.strip() for name in models.split(",") if name.strip()]
    if isinstance(models, list):
        names = list(map(str, models))
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ConfigError(f"two rows are called '{twice[0]}'")
        models = {name: {} for name in names}
    if not isinstance(models, dict) or not models:
        raise ConfigError("no models given: set --models=A,B or `models:` in the file")
    bases, ablations = {}, []
    for label, parts in models.items():
        label, parts = str(label), parts or {}
        unknown = set(parts) - OF_A_MODEL if isinstance(parts, dict) else {str(parts)}
        if unknown:
            raise ConfigError(
                f"model {label} has '{sorted(unknown)[0]}', which is none of {sorted(OF_A_MODEL)}"
            )
        settings = _files(parts.get("config_files")) | _settings(parts.get("settings"))
        own = {*of_kind("benchmark"), *of_kind("all_rows")} & set(settings)
        if own:
            raise ConfigError(f"model {label}: {sorted(own)[0]} is the same for all rows")
        if "ablates" in parts:
            ablations.append((label, parts, settings))
            continue
        if "change" in parts:
            raise ConfigError(f"model {label} has a change, but not the row that it ablates")
        if label in bases:  # 1 and "1"
            raise ConfigError(f"two rows are called '{label}'")
        name = str(parts.get("model", label))
        _resolve(name)
        space = parts.get("space")
        bases[label] = [Entry(label, name, settings, space and str(Path(space)))]
    for label, parts, settings in ablations:
        base = _base(label, parts, bases, {name for name, *_ in ablations})
        name = str(parts.get("model", base.model))
        _resolve(name)
        change = parts.get("change")
        bases[base.label].append(_ablation(base, label, change and str(change), settings, name))
    return [entry for rows in bases.values() for entry in rows]


def _resolve(name):
    refuse_unnamed(
        name, "the benchmark's file", "classes"
    )  # what the command line names was vouched for
    resolve(name)


def _base(label, parts, bases, ablations):
    """The row that an ablation of a file is a variant of."""
    wanted = str(parts["ablates"])
    if wanted in ablations:
        raise ConfigError(f"model {label} ablates '{wanted}', which is an ablation itself")
    if wanted not in bases:
        near = difflib.get_close_matches(wanted, bases, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(bases) or 'none'}"
        raise ConfigError(f"model {label} ablates '{wanted}', which is not a row; {hint}")
    if "space" in parts:
        raise ConfigError(
            f"model {label} has a search space, but an ablation has no trials: it takes what those "
            f"of {wanted} choose"
        )
    return bases[wanted][0]


def _ablation(base, label, change, settings, model):
    """A variant of a row: the settings of that, and its own over them."""
    return Entry(label, model, base.settings | settings, None, base.label, change, settings)


def _with_ablations(entries):
    """The rows, each followed by its variants in its model's ``ablations.yaml``."""
    result = []
    for entry in entries:
        result.append(entry)
        if entry.ablates:
            continue
        for change, settings in ablations(resolve(entry.model)[1]).items():
            label = f"{entry.label} ({change})"
            result.append(_ablation(entry, label, change, settings, entry.model))
    return result
