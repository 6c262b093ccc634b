"""Which models are there, and which settings does one have?"""

import inspect
import re
from pathlib import Path
from typing import NamedTuple

import recbole
from recbole.utils import ModelType

from recbole_diffusion.config import properties, traits
from recbole_diffusion.config.config import Config
from recbole_diffusion.config.kinds import parse
from recbole_diffusion.config.names import MODELS, host_base, host_names, installed, resolve
from recbole_diffusion.config.paths import properties_dir
from recbole_diffusion.config.values import read_yaml

NO_DATASET = "a-data-set"  # a name of which no YAML file says anything
_HOST = Path(recbole.__file__).parent / "properties"
_SENTENCE = re.compile(r"([\w-]+):.*?\s# \(.+?\) ([A-Z].*\S)")


class Setting(NamedTuple):
    """A setting of a model.

    Attributes:
        key (str): its name.
        value (object): what it is if nobody sets it.
        kind (str): what values it may have; None where nothing is declared.
        sentence (str): what it does; None where no file says it.
        source (str): the file that sets it.
        derived (bool): whether the value is made out of that and other settings.
    """

    key: str
    value: object
    kind: str
    sentence: str
    source: str
    derived: bool


def settings_of(model, dataset=None):
    """The settings of a model.

    Args:
        model (str or type): as of `Config`.
        dataset (str): the data set whose settings count too; None leaves them out.

    Returns:
        list of Setting: those of the files nearest to the model first.

    Raises:
        ConfigError: on a model that cannot be configured.
        ValueError: on an unknown model.
    """
    config = Config(model, dataset or NO_DATASET)
    files = _files(config, dataset)
    said, sentences = {}, {}  # a later file counts more
    for place, file in enumerate(files):
        values = read_yaml(file)
        said |= {key: (place, value) for key, value in values.items() if key in config.known}
        lines = file.read_text(encoding="utf-8").splitlines()
        sentences |= dict(found.groups() for found in map(_SENTENCE.match, lines) if found)
    kinds = config.declared.kinds
    return [
        Setting(
            key,
            value if key == "data_path" else config[key],  # a run adds the data set's name
            parse(kinds[key]).words if key in kinds else None,
            sentences.get(key),
            _name(files[place]),
            key != "data_path" and config[key] != value,
        )
        for key, (place, value) in sorted(said.items(), key=lambda pair: -pair[1][0])
    ]


def _files(config, dataset):
    """The files that settings come from, the one that counts most last."""
    folder, model_class = properties_dir(), config.model_class
    files = [_HOST / "overall.yaml", _HOST / "dataset" / "sample.yaml"]
    files += [_HOST / "model" / f"{host_base(model_class)}.yaml", folder / "overall.yaml"]
    files += properties.model_files(model_class)
    if dataset is not None:
        files.append(folder / "dataset" / f"{dataset}.yaml")
        files += properties.model_files(model_class, dataset)
    return [file for file in files if file.is_file()]


def _name(file):
    """A file as it is named in a listing."""
    place = "/".join(file.parts[-2:]) if file.parent.name != "properties" else file.name
    return f"RecBole's {place}" if file.is_relative_to(_HOST) else f"properties/{place}"


class Listed(NamedTuple):
    """A model in a list of models.

    Attributes:
        name (str): as it is given to ``--model``.
        kind (str): ``sequential`` or ``general``.
        about (str): what it does, a sentence.
        needs (str): what it reads.
    """

    name: str
    kind: str
    about: str
    needs: str


_READ = {
    "sequence": "each user's items in order of time",
    "row": "each user's set of items",
    "user": "users who are in the training data",
    "nothing": "counts of the items",
}


def models():
    """The diffusion models and baselines of this package, and models of other installed packages.

    Returns:
        list of Listed: in the order of `names.MODELS`.
    """
    found = []
    for name in [*MODELS, *(point.name for point in installed())]:
        _, model_class = resolve(name)
        says = traits.of(model_class)
        sequential = model_class.type == ModelType.SEQUENTIAL
        needs = _READ[says.reads or ("sequence" if sequential else "user")]
        more = {
            "their behaviours, where there are several": says.behavior_input,
            "order of time": says.ordered_history and not sequential,
            "item embeddings to cluster": says.item_clusters,
            "if wanted, item embeddings to begin with": says.item_table,
        }
        about = inspect.getdoc(model_class).split("\n\n")[0].replace("\n", " ")
        needs = "; ".join([needs, *(words for words, wanted in more.items() if wanted)])
        found.append(Listed(name, "sequential" if sequential else "general", about, needs))
    return found


def host_models():
    """Models of RecBole's that rank items for a user.

    Returns:
        dict of str to list of str: by kind, ``general`` and ``sequential``.
    """
    return {
        kind: sorted(host_names(f"{kind}_recommender").values())
        for kind in ("general", "sequential")
    }
