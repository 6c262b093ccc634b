"""Which YAML files belong to a model? Those of each class it is made of, base first.

Shipped classes and RecBole's have theirs in ``properties/`` of this package, any other class in a
folder ``properties/`` beside its module, in the same format: ``model/<Class>.yaml``,
``model/<Class>@<dataset>.yaml``, ``tune/<Class>.yaml`` and ``ablations.yaml``.
"""

import inspect
from pathlib import Path

from recbole_diffusion.config.names import MODELS, is_ours, is_shipped
from recbole_diffusion.config.paths import properties_dir
from recbole_diffusion.config.values import read_yaml


def own_folder(cls):
    """The folder of a class's YAML files.

    Args:
        cls (type): a model class or one that it derives from.

    Returns:
        pathlib.Path: None where it has none.
    """
    if is_shipped(cls):
        return properties_dir()
    if not is_ours(cls):  # RecBole's, unless a shipped class has that name
        return None if cls.__name__ in MODELS else properties_dir()
    try:
        folder = Path(inspect.getfile(cls)).parent / "properties"
    except (OSError, TypeError):  # typed at a prompt, or built in
        return None
    return folder if folder.is_dir() else None


def parts(model_class):
    """The classes whose settings a model has, each with its folder, base first.

    Args:
        model_class (type): the model's class.

    Returns:
        list of tuple: folder (pathlib.Path) and name of the class (str). RecBole's bases are not
        among them: RecBole reads their settings itself.
    """
    bases = [cls for cls in inspect.getmro(model_class)[:0:-1] if is_ours(cls)]
    found = [(own_folder(cls), cls.__name__) for cls in [*bases, model_class]]
    return [(folder, name) for folder, name in found if folder is not None]


def model_files(model_class, dataset=None):
    """The YAML files of a model's settings that are there, base first.

    Args:
        model_class (type): the model's class.
        dataset (str): for the files of the model on this data set; None is for those on any.

    Returns:
        list of pathlib.Path: the files.
    """
    suffix = "" if dataset is None else f"@{dataset}"
    files = [folder / "model" / f"{name}{suffix}.yaml" for folder, name in parts(model_class)]
    return [file for file in files if file.is_file()]


def keys(model_class):
    """The keys that a model's YAML files declare, those for single data sets too.

    Args:
        model_class (type): the model's class.

    Returns:
        set of str: the keys.
    """
    found = set()
    for folder, name in parts(model_class):
        for pattern in (f"{name}.yaml", f"{name}@*.yaml"):
            for file in (folder / "model").glob(pattern):
                found |= set(read_yaml(file))
    return found


def space_file(model_class):
    """The file of a model's search space.

    Args:
        model_class (type): the model's class.

    Returns:
        pathlib.Path: ``tune/<Class>.yaml`` of the class itself, whether it is there or not; None
        where the class has no folder.
    """
    folder = own_folder(model_class) if is_ours(model_class) else properties_dir()
    return folder and folder / "tune" / f"{model_class.__name__}.yaml"


def ablations(model_class):
    """What a model can be without, by ``ablations.yaml``.

    Args:
        model_class (type): the model's class.

    Returns:
        dict: change to the settings that make it; empty where there are none.
    """
    folder = own_folder(model_class) if is_ours(model_class) else None
    file = folder and folder / "ablations.yaml"
    if not file or not file.is_file():
        return {}
    return read_yaml(file).get(model_class.__name__) or {}
