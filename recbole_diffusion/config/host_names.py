"""Which models does RecBole have? Read from its folders, without importing it."""

from importlib.util import find_spec
from pathlib import Path


def plain(name):
    """A name in small letters without marks.

    Args:
        name (str): as somebody types it.

    Returns:
        str: as names are compared.
    """
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")


def host_folder():
    """The folder of RecBole's package (pathlib.Path).

    Raises:
        ModuleNotFoundError: if RecBole is not installed.
    """
    found = find_spec("recbole")
    if found is None:
        raise ModuleNotFoundError("No module named 'recbole'", name="recbole")
    return Path(found.submodule_search_locations[0])


def host_names(kind="_recommender"):
    """Names of RecBole's models.

    Args:
        kind (str): what the folders' names end with, ``sequential_recommender``; all by default.

    Returns:
        dict of str to str: the name in small letters without marks, and as RecBole writes it.

    Raises:
        ModuleNotFoundError: if RecBole is not installed.
    """
    names = {}
    for file in sorted((host_folder() / "model").glob(f"*{kind}/__init__.py")):
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith("from recbole.model.") and " import " in line:
                for name in line.split(" import ")[1].split(","):
                    names[plain(name.strip())] = name.strip()
    return names
