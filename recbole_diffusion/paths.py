"""Where the shipped YAML files are."""

from pathlib import Path


def properties_dir():
    """Finds ``properties/``: inside an installed wheel, beside the package in a checkout.

    Returns:
        pathlib.Path: the folder with ``overall.yaml``, ``model/`` and ``dataset/``.

    Raises:
        FileNotFoundError: if neither place has it (a broken installation).
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "properties", package.parent / "properties"):
        if (folder / "overall.yaml").is_file():
            return folder
    raise FileNotFoundError(
        f"no properties/ folder in {package} or beside it: the installation is incomplete, "
        "reinstall recbole-diffusion"
    )
