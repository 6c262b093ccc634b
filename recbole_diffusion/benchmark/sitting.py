"""When, by which code and on what machine does a benchmark run?"""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from recbole_diffusion import __version__
from recbole_diffusion.config.paths import PACKAGE

LIBRARIES = ("recbole", "torch", "numpy")


def describe():
    """What a start of the runner says of itself; nothing of it names a person or a computer.

    Returns:
        dict: plain values: ``date`` (UTC, ISO 8601), ``commit`` (of `commit`), ``machine``
        (``processor``, ``cores`` and ``memory_gib``, None where it is not known) and ``versions``
        (python, recbole-diffusion and ``LIBRARIES``).
    """
    versions = {"python": platform.python_version(), "recbole-diffusion": __version__}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(PACKAGE),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gib": _memory_gib(),
        },
        "versions": versions | {name: _version(name) for name in LIBRARIES},
    }


def _version(library):
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:  # on the path, but not installed
        return None


def commit(package):
    """The commit of a package that is used out of its git checkout.

    Args:
        package (str or Path): the folder of the package.

    Returns:
        str: the hash, with ``-dirty`` where files of the package or of its ``properties/`` are
        changed; None where the package is installed, also if that is within another repository, or
        where there is no git.
    """
    package = Path(package).resolve()
    tracked = _git(package, "ls-files", "--error-unmatch", "__init__.py")
    found = tracked and _git(package, "rev-parse", "HEAD")
    if not found:
        return None
    places = (str(package), str(package.parent / "properties"))
    return found + ("-dirty" if _git(package, "status", "--porcelain", "--", *places) else "")


def _git(folder, *arguments):
    """What git says, None where it fails."""
    # A hook of git sets these, of the repository it is in.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        said = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True
        )
    except OSError:
        return None
    return said.stdout.strip() if said.returncode == 0 else None


def _processor():
    """The model of the processor; not `platform.uname`, which has the computer's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine() or None


def _memory_gib():
    try:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
    return round(size / 2**30, 1)
