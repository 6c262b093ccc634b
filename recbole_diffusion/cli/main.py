"""The command line, ``recbole-diffusion COMMAND ...``."""

import difflib
import os
import sys

from recbole_diffusion import __version__, ranks
from recbole_diffusion.cli.benchmark import benchmark
from recbole_diffusion.cli.completion import answer, completion
from recbole_diffusion.cli.data import WAYS, data
from recbole_diffusion.cli.doctor import doctor
from recbole_diffusion.cli.estimate import estimate
from recbole_diffusion.cli.explore import explore
from recbole_diffusion.cli.export import export
from recbole_diffusion.cli.models import models
from recbole_diffusion.cli.parsing import one_line
from recbole_diffusion.cli.pictures import pictures
from recbole_diffusion.cli.recommend import recommend
from recbole_diffusion.cli.run import run
from recbole_diffusion.cli.serve import serve
from recbole_diffusion.cli.settings import settings
from recbole_diffusion.cli.signals import is_sigterm, sigterm_as_interrupt
from recbole_diffusion.cli.tune import tune
from recbole_diffusion.config.paths import how_to_install, too_old

GROUPS = {
    "Train and compare": {
        "run": (run, "one model on one data set: train, select on validation, test once"),
        "benchmark": (benchmark, "many models and seeds under one protocol, with a report"),
        "tune": (tune, "search for the settings that are best on validation"),
    },
    "Use a trained model": {
        "recommend": (recommend, "lists for everybody of a file"),
        "serve": (serve, "lists over HTTP"),
        "explore": (explore, "try it out on a page: history, list, reverse walk"),
        "export": (export, "for other programs: onnx, torchscript, safetensors"),
        "pictures": (pictures, "draw items, guidance and reverse steps"),
    },
    "Data": {
        "data": (data, "list, describe and prepare data sets"),
        "estimate": (estimate, "time, memory and disk of a run before it starts"),
    },
    "Look up": {
        "models": (models, "every model that can be run, and what it reads"),
        "settings": (settings, "every setting of a model: default, values, meaning"),
        "doctor": (doctor, "versions, device and data folders of this machine"),
        "completion": (completion, "the TAB key: a script for bash, zsh or fish"),
    },
}
COMMANDS = {name: function for group in GROUPS.values() for name, (function, _) in group.items()}
HELP = """\
Without a data set of your own: recbole-diffusion run --model=SASRec --epochs=3
`recbole-diffusion COMMAND --help` explains a command and shows examples."""


def usage():
    """What ``--help`` prints.

    Returns:
        str: every command with a line, by what it is for.
    """
    lines = ["usage: recbole-diffusion COMMAND ..."]
    for title, group in GROUPS.items():
        lines += ["", title]
        lines += [f"  {name:10} {words}" for name, (_, words) in group.items()]
    return "\n".join([*lines, "", HELP])


def main(arguments=None):
    """Entry point of ``recbole-diffusion``.

    Args:
        arguments (list of str): without the program's name; None reads the command line.

    Returns:
        int: exit code; 2 for a mistake of the user, said in one line.
    """
    if "_ARGCOMPLETE" in os.environ:
        try:
            answer()
        except ImportError:  # a shell has the script, and the library is gone
            return 1
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    ranks.begin()
    if ranks.count() > 1 and arguments[:1] != ["run"]:
        if ranks.speaks():
            what = f"'{arguments[0]}'" if arguments else "this"
            print(
                f"recbole-diffusion: torchrun starts several processes of 'run'; {one_line(what)} "
                "needs one: leave torchrun out",
                file=sys.stderr,
            )
        return 2
    if too_old():
        print(too_old(), file=sys.stderr)
        return 2
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    if arguments[0] == "--version":
        print(__version__)
        return 0
    command = COMMANDS.get(arguments[0])
    if command is None:
        known = {name: name for name in COMMANDS} | {way: f"data {way}" for way in WAYS}
        near = difflib.get_close_matches(arguments[0], known, n=1, cutoff=0.7)
        said = f"no command '{arguments[0]}'; "
        said += f"did you mean '{known[near[0]]}'? " if near else ""
        said += f"there are {', '.join(COMMANDS)}"
        print(f"recbole-diffusion: {one_line(said)}", file=sys.stderr)
        return 2
    try:
        from recbole_diffusion.config.foreign import vouch

        vouch(*arguments[1:])
        return sigterm_as_interrupt(command, arguments[1:])
    except KeyboardInterrupt as stop:
        how = str(stop) or "the same command with --resume goes on after the last whole epoch"
        word, code = ("terminated", 143) if is_sigterm(stop) else ("interrupted", 130)
        if ranks.speaks():
            print(f"recbole-diffusion: {word}; {how}", file=sys.stderr)
        return code
    except RuntimeError as error:
        if not ranks.is_lost(error):
            raise
        if ranks.speaks():
            print(
                f"recbole-diffusion: another process of the run is gone: {one_line(str(error))}",
                file=sys.stderr,
            )
        return 1
    except BrokenPipeError:  # the reader of the output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError, ImportError) as error:
        if "state=DEBUG" in " ".join(arguments):
            raise
        if not ranks.speaks():
            return 2
        hint = ""
        if isinstance(error, ModuleNotFoundError) and error.name in ("torch", "recbole"):
            hint = f": the libraries are not installed for this Python; {how_to_install()}"
        elif isinstance(error, ImportError) and "pip install" not in str(error):
            hint = "; `recbole-diffusion doctor` says what is missing or too old"
        print(f"recbole-diffusion: {one_line(str(error))}{hint}", file=sys.stderr)
        return 2
