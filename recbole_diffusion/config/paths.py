"""Where is the package, and how is it installed? Works on any Python 3, with nothing installed."""

import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = (3, 11)


def properties_dir():
    """Finds ``properties/``: inside an installed wheel, beside the package in a checkout.

    Returns:
        pathlib.Path: the folder with ``overall.yaml``, ``model/`` and ``dataset/``.

    Raises:
        FileNotFoundError: if neither place has it (a broken installation).
    """
    for folder in (PACKAGE / "properties", PACKAGE.parent / "properties"):
        if (folder / "overall.yaml").is_file():
            return folder
    raise FileNotFoundError(
        f"no properties/ folder in {PACKAGE} or beside it: the installation is incomplete, "
        "reinstall recbole-diffusion"
    )


def scripts_dir():
    """Finds ``dataset_scripts/``, where `properties_dir` finds ``properties/``.

    Returns:
        pathlib.Path: the folder of the scripts that prepare data sets.
    """
    inside = PACKAGE / "dataset_scripts"
    return inside if inside.is_dir() else PACKAGE.parent / "dataset_scripts"


def how_to_install():
    """The commands that make an environment in which the package runs.

    Returns:
        str: for a shell; with pip, and in a checkout with uv too.
    """
    running = sys.version_info[:2]
    python = "python{}.{}".format(*(running if running >= OLDEST_PYTHON else (3, 13)))
    made = python + " -m venv .venv && .venv/bin/pip install "
    if (PACKAGE.parent / "pyproject.toml").is_file():
        script = "run_recbole_diffusion.py"
        return made + f". && .venv/bin/python {script}, or with uv: uv run {script}"
    return made + "recbole-diffusion"


def too_old():
    """What a person is told whose Python is too old.

    Returns:
        str: a line; None for a Python that will do.
    """
    if sys.version_info[:2] >= OLDEST_PYTHON:
        return None
    return "recbole-diffusion needs Python {}.{} or later, this is {}.{}: {}".format(
        *OLDEST_PYTHON, *sys.version_info[:2], how_to_install()
    )
