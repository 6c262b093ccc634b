"""The configuration of a run: where settings come from, and which keys exist.

Order, later wins: RecBole's defaults and ``properties/overall.yaml``, ``model/<Model>.yaml``,
``dataset/<dataset>.yaml``, ``model/<Model>@<dataset>.yaml`` (the published run of that pair;
``settings: default`` leaves it out), the user's files, dictionary and command line. A key that
nothing reads is an error.
"""

import difflib
import inspect
import re
from functools import lru_cache
from logging import getLogger
from pathlib import Path

import recbole
import yaml
from recbole.config import Config as HostConfig
from recbole.utils import ModelType

from recbole_diffusion import compat
from recbole_diffusion.config import contradictions, device, properties, splits, traits
from recbole_diffusion.config.declared import declared
from recbole_diffusion.config.foreign import refuse_unnamed, vouch
from recbole_diffusion.config.keys import of_kind
from recbole_diffusion.config.kinds import parse, shown
from recbole_diffusion.config.names import (
    check_class,
    host_base,
    resolve,
    strangers,
    told,
)
from recbole_diffusion.config.paths import properties_dir
from recbole_diffusion.config.values import ConfigError, parse_value, plain, read_yaml

# Models that rank items for a user; RecBole's others have columns and metrics of their own kind.
RANKERS = (ModelType.GENERAL, ModelType.SEQUENTIAL, ModelType.TRADITIONAL)

_KEY = re.compile(r"""config(?:\.get\(|\[)\s*["']([\w-]+)["']""")


class Config(HostConfig):
    """RecBole's Config with our models, safe values, a stated order and strict keys.

    Args:
        model (str or type): model name (see `resolve`) or class.
        dataset (str): data set name.
        config_file_list (list of str): YAML files of settings.
        config_dict (dict): settings; strings are read as YAML values.

    Raises:
        ConfigError: on an unknown key, with the nearest known one, or on a value out of range.
        ValueError: on an unknown model.

    Attributes:
        warnings (list of str): what was warned of.
        known (set of str): every key that something reads.
        declared (Declared): kind and emptiness of every key that is declared.
        texts (dict): what was given as text, before YAML was read out of it.
        made (dict): what was given for keys that a Config makes itself.
        split_not_said (list of str): which of ``split`` and ``order`` no eval_args says, so that
            the default was taken.
    """

    def __init__(self, model=None, dataset=None, config_file_list=None, config_dict=None):
        self.warnings = []
        self.texts, self.made = {}, {}
        self.split_not_said = []
        self._file_of = {}
        if isinstance(model, str):
            vouch(model)
        super().__init__(model, dataset, config_file_list, config_dict)
        self._check_keys()
        self._check_made()
        contradictions.check(self)

    # ---------------------------------------------------------------- sources
    def compatibility_settings(self):
        compat.apply()  # this is the first thing that RecBole's Config does
        super().compatibility_settings()

    def _init_parameters_category(self):
        super()._init_parameters_category()
        # RecBole adds keys of a data set's YAML to lists that all its Configs share.
        self.parameters = {name: list(keys) for name, keys in self.parameters.items()}

    def _build_yaml_loader(self):
        rules = super()._build_yaml_loader()  # libyaml, where it is, reads ten times as fast
        fast = getattr(yaml, "CFullLoader", yaml.FullLoader)
        return type("Loader", (fast,), {"yaml_implicit_resolvers": rules.yaml_implicit_resolvers})

    def _load_cmd_line(self):
        return {}  # the command line is parsed once, in cli/

    def _load_config_files(self, file_list):
        settings = {}
        for file in file_list or []:
            found = read_yaml(file)
            self._file_of.update(dict.fromkeys(found, file))
            settings.update(found)
        return settings

    def _convert_config_dict(self, config_dict):
        self.texts = {key: value for key, value in config_dict.items() if isinstance(value, str)}
        return {
            key: parse_value(value) if isinstance(value, str) else plain(value)
            for key, value in config_dict.items()
        }

    def _get_model_and_dataset(self, model, dataset):
        if "local_rank" in self.external_config_dict:  # RecBole would open a port
            raise ConfigError(
                "local_rank is set, but torchrun numbers the processes of a run: leave it out and "
                "start torchrun --nproc_per_node=2 run_recbole_diffusion.py ..."
            )
        for key in of_kind("class"):
            given = key in self.variable_config_dict or (key == "model" and model is not None)
            if key in self._file_of and not given:
                refuse_unnamed(self.file_config_dict[key], f"{self._file_of[key]}: {key}", key)
        model = model if model is not None else self.external_config_dict.get("model")
        dataset = dataset if dataset is not None else self.external_config_dict.get("dataset")
        for name, value in (("model", model), ("dataset", dataset)):
            if value is None or not str(value).strip():
                raise ConfigError(f"no {name} given: set --{name}=... or `{name}:` in a file")
            if isinstance(value, bool | list | dict | float):
                raise ConfigError(f"{name} is {shown(value)}, it must be a name")
        dataset = str(dataset)
        if set(dataset) & set("/\\\0\n") or dataset in (".", "..") or len(dataset) > 200:
            raise ConfigError(
                f"dataset is {shown(dataset)}, it must be the name of a folder in data_path"
            )
        if isinstance(model, type):
            return model.__name__, check_class(model), dataset
        return *resolve(str(model)), dataset

    def _load_internal_config_dict(self, model, model_class, dataset):
        # A name RecBole does not have keeps RecBole's YAML for a model of the same name out of
        # ours.
        super()._load_internal_config_dict(host_base(model_class), model_class, dataset)
        folder = properties_dir()
        ours = read_yaml(folder / "overall.yaml")
        if self.internal_config_dict["MODEL_TYPE"] not in RANKERS:
            for key in of_kind("ranking"):
                ours.pop(key)
        files = properties.model_files(model_class)
        if (folder / "dataset" / f"{dataset}.yaml").is_file():
            files.append(folder / "dataset" / f"{dataset}.yaml")
        for file in files:
            ours.update(read_yaml(file))
        if (ours | self.external_config_dict)["settings"] == "published":
            published = properties.model_files(model_class, dataset)
            files += published
            for file in published:
                ours.update(read_yaml(file))
            if not published and "settings" in self.file_config_dict | self.variable_config_dict:
                self._warn(
                    f"settings is published, but no published run of {model} on {dataset} is "
                    "known: the default settings are taken"
                )
        self._mode = self.internal_config_dict["eval_args"]["mode"]  # RecBole's for the model
        self._said_of_data = ours.get("eval_args") or {}
        self.internal_config_dict.update(ours)
        self.known = self._known_keys()
        self.declared = declared(model_class, [folder / "overall.yaml", *files])

    def _get_final_config_dict(self):
        external = self.external_config_dict
        for old, new in traits.of(self.model_class).renamed.items():
            if old in external:
                self._warn(f"'{old}' of {self.model} is called '{new}' now")
                external.setdefault(new, external.pop(old))
        for key in (set(of_kind("made")) - set(of_kind("which_run"))) & set(external):
            self.made[key] = external.pop(key)
        self._check_kinds()
        settings = super()._get_final_config_dict()
        if settings["MODEL_TYPE"] == ModelType.SEQUENTIAL and (
            "train_neg_sample_args" not in external
        ):
            # RecBole's own defaults make cross-entropy models refuse to start.
            if settings.get("loss_type") == "CE":
                settings["train_neg_sample_args"] = None
            elif settings.get("loss_type") == "BPR" and settings["train_neg_sample_args"] is None:
                # a YAML of ours meant for CE
                settings["train_neg_sample_args"] = _host_default("train_neg_sample_args")
        self._leave_out_unread(settings)
        self._complete_split(settings)
        says = traits.of(self.model_class)
        settings.update(behavior_input=says.behavior_input, ordered_history=says.ordered_history)
        # Pop ranks the rows of the sequential models; it counts first interactions too, once.
        counts = settings["SPLIT"] == "sequence" and host_base(self.model_class) == "Pop"
        settings["trains_on_first_rows"] = counts
        if counts:
            settings.update(MODEL_TYPE=ModelType.SEQUENTIAL, repeatable=True, epochs=1)
        if settings["crop_history"] is None:
            settings["crop_history"] = says.croppable
        return settings

    def _leave_out_unread(self, settings):
        """Drops what the data set's YAML says of columns that the user's ``load_col`` leaves out.

        RecBole's own configuration files name the columns of ml-100k they need, without the rating
        that the behaviours here are made of, or without times.
        """
        said = self.external_config_dict
        if settings["MODEL_TYPE"] not in RANKERS or not {*of_kind("loaded")} & set(said):
            return
        keys = of_kind("behaviors")
        source = (settings["behavior_from"] or {}).get("field")
        if source and not set(keys) & set(said) and not splits.is_loaded(said, source):
            settings.update(dict.fromkeys(keys))
            self._warn(
                f"load_col leaves out '{source}', of which the behaviours of {self.dataset} are "
                "made: all interactions are read as of one kind"
            )
        if not splits.is_loaded(said, settings["TIME_FIELD"]):
            self._said_of_data = {}

    def _complete_split(self, settings):
        """Fills in what ``eval_args`` leaves out, the same for all kinds of ranking models."""
        said = self.external_config_dict.get("eval_args") or {}
        settings["eval_args"] = {  # a part that is nothing is not said
            part: value
            for part, value in (settings["eval_args"] or {}).items()
            if value is not None or part == "group_by"
        }
        if (
            settings["MODEL_TYPE"] not in RANKERS
            or settings.get("benchmark_filename") is not None  # the split is that of the files
        ):
            return
        times = settings["MODEL_TYPE"] == ModelType.SEQUENTIAL or splits.has_times(
            settings, self.dataset
        )
        settings["eval_args"], missing = splits.complete(
            [self._said_of_data, said], times, settings["SPLIT"] == "sequence", self._mode
        )
        self.split_not_said = [part for part in missing if part in ("split", "order")]

    def _set_default_parameters(self):
        try:
            super()._set_default_parameters()
        except (NotImplementedError, RuntimeError, TypeError) as error:  # wrong metrics or topk
            if self.final_config_dict["MODEL_TYPE"] not in RANKERS:
                raise ConfigError(
                    f"{self.model} rates rows one by one, with metrics like AUC: it needs a label "
                    f"and eval_args with mode: labeled ({error})"
                ) from error
            metrics = self.final_config_dict["metrics"]
            raise ConfigError(
                f"metrics is {metrics}: {error}{contradictions.near_metric(metrics)}"
            ) from error

    def _init_device(self):
        device.settle(self.final_config_dict, self.external_config_dict)
        super()._init_device()
        warning = device.check(self, self.external_config_dict)
        if warning:
            self._warn(warning)

    # ---------------------------------------------------------------- checks
    def _check_kinds(self):
        """Refuses values that are not of the kind that is declared for their key."""
        given, kinds = self.external_config_dict, self.declared.kinds
        for key, value in given.items():
            if key not in kinds or key not in self.known:  # it may be another model's
                continue
            if value is not None or key not in self.declared.optional:
                given[key] = self._of_kind(key, value, parse(kinds[key]))

    def _of_kind(self, key, value, kind):
        """A value that was given, if it is of a kind; 1e3 as a name is the text that was typed."""
        fault, text = kind.fault(value), self.texts.get(key)
        if text is not None and kind.fault(text) is None:
            number = isinstance(value, bool | int | float)
            lost = value is None and not text.strip()  # a space that parts columns
            form = isinstance(value, list | dict) and not kind.text  # [5,inf] is no list
            if fault and (number or lost or form or value == ""):
                return text
            if number and kind.text and str(value) != text:
                return text
        if fault:
            optional = key in self.declared.optional and not fault.endswith(" or ~")
            nothing = " or ~" if optional else ""
            raise ConfigError(f"{key} is {shown(value)}, it must be {fault}{nothing}")
        return value

    def _check_made(self):
        """Refuses a value of a key that a Config makes itself, if it makes another."""
        for key, given in self.made.items():
            if given is not None and str(given) != str(self[key]):
                raise ConfigError(
                    f"{key} is {shown(given)}, but it follows from the other settings, which make "
                    f"it {shown(self[key])}: leave it out"
                )

    def _warn(self, message):
        self.warnings.append(message)
        getLogger().warning(message)

    def _known_keys(self):
        """Keys that something reads."""
        keys = {key for group in self.parameters.values() for key in group}
        keys |= set(of_kind("host"))
        keys |= _yaml_keys(properties_dir() / "overall.yaml")
        keys |= _host_yaml_keys("overall.yaml", "dataset/sample.yaml", "quick_start_config/*.yaml")
        for file in properties_dir().glob("dataset/*.yaml"):
            keys |= _yaml_keys(file)
        return keys | _model_keys(self.model_class)

    def _check_keys(self):
        known = self.known
        unknown = [key for key in self.external_config_dict if key not in known]
        if not unknown:
            return
        owners = _owners_of_keys()
        for key in unknown:
            if key in owners:
                self._warn(
                    f"'{key}' is a key of {', '.join(sorted(owners[key])[:3])}; "
                    f"{told(self.model, self.model_class)} does not read it"
                )
                continue
            if compat.too_new(key):
                raise ConfigError(f"{key} {compat.too_new(key)}")
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.6)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ConfigError(f"unknown setting '{key}' for {self.model}{hint}")


@lru_cache(maxsize=256)
def _source_keys(cls):
    """Keys that a class and its bases read, from their source."""
    keys = set()
    for base in inspect.getmro(cls):
        if base.__module__.startswith(("torch", "builtins")):
            continue
        try:
            keys |= set(_KEY.findall(inspect.getsource(base)))
        except (OSError, TypeError):
            continue
    return keys


def _yaml_keys(file):
    """Keys of a YAML file, which is read again when it has changed."""
    return _keys_at(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=512)
def _keys_at(file, _):
    return frozenset(read_yaml(file))


def _host_yaml_keys(*patterns):
    folder = Path(recbole.__file__).parent / "properties"
    return {key for p in patterns for file in folder.glob(p) for key in _yaml_keys(file)}


def _host_default(key):
    return read_yaml(Path(recbole.__file__).parent / "properties/overall.yaml")[key]


def _model_keys(model_class):
    """Keys that a model's source reads, or a YAML of its declares."""
    of_the_host = _host_yaml_keys(f"model/{host_base(model_class)}.yaml")
    return _source_keys(model_class) | of_the_host | properties.keys(model_class)


@lru_cache(maxsize=1)
def _owners_of_shipped_keys():
    """Which models of ours and of RecBole's have a key, from every model's YAML."""
    owners = {}
    folders = (properties_dir(), Path(recbole.__file__).parent / "properties")
    for folder in folders:
        for file in folder.glob("model/*.yaml"):
            for key in read_yaml(file):
                owners.setdefault(key, set()).add(file.stem.partition("@")[0])
    return owners


def _owners_of_keys():
    """Which models have a key, those of other packages and modules too."""
    owners = {key: set(names) for key, names in _owners_of_shipped_keys().items()}
    for cls in strangers():
        for key in _source_keys(cls) | properties.keys(cls):
            owners.setdefault(key, set()).add(cls.__name__)
    return owners
