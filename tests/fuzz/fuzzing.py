"""What is every input held to? Correct, or one clear line; nothing else on disk; no wait.

An input is tried in an empty folder of its own, which is the working directory. Each test says what
an input may name in a refusal, and compares what was accepted with a reading of its own.
"""

import contextlib
import io
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import torch._dynamo  # noqa: F401  (the first optimiser imports it, which takes seconds)
import yaml
from hypothesis import HealthCheck, settings

from recbole_diffusion.cli.main import main

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")
ROOT = Path(__file__).resolve().parents[2]
OURS = (str(ROOT / "recbole_diffusion"), str(ROOT / "dataset_scripts"))
SECONDS = 10.0
LONGEST_LINE = 1000
RUN_LEAVES = ("log/", "log_tensorboard/", "saved/")  # what a run may leave in its folder

tried = Counter()  # (kind, outcome) to how many inputs

settings.register_profile(
    "quick",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
settings.register_profile(
    "long",
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
settings.load_profile(PROFILE)


def inputs(quick, long):
    """Decorates a test: how many inputs it tries in each profile."""
    return settings(max_examples=quick if PROFILE == "quick" else long)


class Broken(AssertionError):
    """An input that was neither read correctly nor refused with one clear line."""


class Refused(ValueError):
    """What a command said in one line with exit code 2."""


@contextlib.contextmanager
def own_folder():
    """An empty working directory for one input; gone afterwards."""
    before = os.getcwd()
    folder = Path(tempfile.mkdtemp(prefix="fuzz"))
    os.chdir(folder)
    try:
        with (
            patch.dict(os.environ),
            patch.dict(sys.modules),
            patch.object(sys, "path", [*sys.path]),
        ):
            yield folder
    finally:
        sys.modules.pop("evilmod", None)
        os.chdir(before)
        shutil.rmtree(folder)


def on_disk():
    """Every file and folder below the working directory; of a file its content."""
    found = {}
    for folder, folders, files in os.walk("."):
        for name in folders:
            found[os.path.relpath(os.path.join(folder, name)) + "/"] = None
        for name in files:
            path = os.path.join(folder, name)
            found[os.path.relpath(path)] = Path(path).read_bytes()
    return found


def attempt(kind, act, names=(), leaves=(), leaves_refused=()):
    """Does what an input asks for and holds it to the law, but for what is correct.

    Args:
        kind (str): of the input, for the table.
        act (callable): reads the input; it raises what the user would be told.
        names (tuple of str): a refusal holds one of them.
        leaves (tuple of str): what may be written if it is accepted: beginnings of paths.
        leaves_refused (tuple of str): the same if it is refused.

    Returns:
        tuple: what ``act`` returned, or None; and what it was refused with, or None.

    Raises:
        Broken: if the law does not hold.
    """
    before = on_disk()
    cpu, wall = time.process_time(), time.monotonic()
    value = said = None
    try:
        try:
            value = act()
        except Broken:
            raise
        except Exception as error:
            said = _refusal(error)
            one_line(said, names)
        # Of a loaded machine only what this process used counts.
        if time.process_time() - cpu > SECONDS or time.monotonic() - wall > 6 * SECONDS:
            raise Broken(f"took {time.monotonic() - wall:.0f} s")
        only_left(before, leaves if said is None else leaves_refused)
    except Broken:
        tried[kind, "else"] += 1
        raise
    if said is not None:
        tried[kind, "refused"] += 1
    return value, said


def accepted(kind, correct, message):
    """Counts an accepted input, or raises `Broken` with the message if it is not correct."""
    tried[kind, "correct" if correct else "else"] += 1
    if not correct:
        raise Broken(message)


def _refusal(error):
    """The message of an error that was raised on purpose, by the package or a script."""
    if isinstance(error, Refused):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    mine = type(error).__module__.startswith(("recbole_diffusion", "atomic"))
    if isinstance(error, ValueError) and (mine or type(error) is ValueError):
        if last.startswith(OURS):
            return str(error)
    raise Broken(f"a traceback: {type(error).__name__}: {error}") from error


def one_line(said, names):
    """Raises `Broken` if words to a user are not one clear line that names something."""
    if not said.strip() or "\n" in said or len(said) > LONGEST_LINE:
        raise Broken(f"not one clear line: {said!r}")
    if names and not any(name in said for name in names):
        raise Broken(f"names none of {list(names)}: {said!r}")


def only_left(before, leaves):
    """Raises `Broken` if something was changed or left, but for paths that begin with these."""
    after = on_disk()
    changed = [
        path
        for path in sorted(before.keys() | after.keys())
        if before.get(path, 0) != after.get(path, 0)
        and not path.startswith(leaves or ("\0",))
        or path.endswith(".writing")
    ]
    if changed:
        raise Broken(f"left or changed on disk: {changed}")


def command(*arguments):
    """Runs the command line in this process.

    Returns:
        str: what it printed.

    Raises:
        Refused: with the one line, if it ends with 2.
        Broken: if it ends in another way than it may.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(arguments))
    lines = [line for line in err.getvalue().splitlines() if line.startswith("recbole-diffusion: ")]
    if code == 0 and not lines:
        return out.getvalue()
    if code == 2 and len(lines) == 1 and "Traceback" not in err.getvalue():
        if not lines[0].isprintable():
            raise Broken(f"not printable: {lines[0]!r}")
        raise Refused(lines[0].removeprefix("recbole-diffusion: "))
    raise Broken(f"exit code {code}: {err.getvalue()!r}")


def remember_long_yaml():
    """Gives a `yaml.load` that parses a long text once: the package's own files, for every run."""
    load, known = yaml.load, {}

    def load_once(text, Loader):  # noqa: N803
        if not isinstance(text, str) or len(text) < 400:
            return load(text, Loader)
        key = text, Loader.__name__
        if key not in known:
            known[key] = load(text, Loader)
        return _copy(known[key])

    return load_once


def _copy(value):
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def table():
    """The table of what was tried: a line a kind."""
    kinds = sorted({kind for kind, _ in tried})
    rows = [(kind, *(tried[kind, how] for how in ("correct", "refused", "else"))) for kind in kinds]
    rows.append(("together", *(sum(row[i] for row in rows) for i in (1, 2, 3))))
    lines = ["| inputs tried | inputs | correct | refused | else |", "|---|--:|--:|--:|--:|"]
    lines += [
        f"| {kind} | {sum(counts):,} | " + " | ".join(f"{count:,}" for count in counts) + " |"
        for kind, *counts in rows
    ]
    return "\n".join(lines)
