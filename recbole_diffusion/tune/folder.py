"""Whose is a folder? Of one search, and of one process at a time."""

import json
import os
from contextlib import contextmanager
from pathlib import Path

from recbole_diffusion.config.files import write_json
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.tune.trial import read_json

LOCK = ".lock"


@contextmanager
def alone_in(folder):
    """Holds a folder for this process; the lock of a process that ended, however, holds nothing.

    Args:
        folder (Path): made if it is not there.

    Raises:
        ConfigError: if another process holds it.
    """
    import fcntl  # not on Windows, where the package is not tested

    Path(folder).mkdir(parents=True, exist_ok=True)
    file = os.open(Path(folder, LOCK), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"another search is running in {folder}: wait for it, or give another --output"
            ) from None
        yield
    finally:
        os.close(file)


def refuse_other(output, study):
    """Refuses a folder that holds another search or something else; nothing is written.

    Args:
        output (Path): the folder.
        study (dict): of `plan`.

    Raises:
        ConfigError: with what differs.
    """
    path = output / "study.json"
    if path.is_file():
        study = json.loads(json.dumps(study, default=str))
        then = read_json(path)
        for group in ("space", "settings"):
            old, new = then.get(group), study[group]
            old = old if isinstance(old, dict) else {}
            for key in sorted(old.keys() | new.keys()):
                _refuse_other(output, key, old.get(key), new.get(key))
        for key in study:
            _refuse_other(output, key, then.get(key), study[key])
    elif output.exists() and (
        not output.is_dir() or any(file.name != LOCK for file in output.iterdir())
    ):
        raise ConfigError(f"{output} is there and holds no search: give another --output")


def claim(output, study):
    """Writes down what a folder's search is, or refuses if it is another's.

    Args:
        output (Path): the folder.
        study (dict): of `plan`.

    Raises:
        ConfigError: as `refuse_other` does.
    """
    refuse_other(output, study)
    if not (output / "study.json").is_file():
        write_json(output / "study.json", json.loads(json.dumps(study, default=str)))


def _refuse_other(output, key, then, now):
    if then != now:
        raise ConfigError(
            f"{output} holds another search, in which {key} is {then}, not {now}: give another "
            "--output, or delete the folder"
        )
