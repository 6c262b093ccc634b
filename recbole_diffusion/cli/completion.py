"""``recbole-diffusion completion``: what the TAB key offers in a shell.

argcomplete asks this program, so that models of other packages and data sets of this folder are
offered too, and nothing has to be made again after an upgrade. Nothing heavy is imported here: a
person waits for it.
"""

import importlib
import os
import re
from importlib.metadata import entry_points
from pathlib import Path

from recbole_diffusion.cli.parsing import OneLineParser
from recbole_diffusion.config.foreign import GROUP
from recbole_diffusion.config.host_names import host_folder, host_names
from recbole_diffusion.config.paths import properties_dir

SHELLS = ("bash", "zsh", "fish")
PARSERS = (
    "tune", "recommend", "serve", "explore", "export", "pictures", "models", "settings", "doctor",
)  # fmt: skip
OF_RUN = ("quiet", "verbose", "model", "dataset", "config_files")
OF_BENCHMARK = (
    "models", "config", "compare", "output", "seeds", "tune", "jobs", "threads", "address", "gpus",
    "memory_gib", "sampling_seeds", "ablate", "external", "classes", "retry", "report", "quiet",
    "dataset", "model", "config_files",
)  # fmt: skip
SEVERAL = ("compare", "config_files")  # values, parted by spaces
OF_PREPARE = (
    "input", "user", "item", "time", "behavior", "sep", "encoding", "time_format", "on_bad",
    "time_zone", "quoting", "script", "data_path", "output",
)  # fmt: skip
KINDS = ("general", "sequential")  # of RecBole's models that rank items
_KEY = re.compile(r"^([A-Za-z_][\w-]*):(?:.*?\s# \((bool|str (?:in|like) \[([^\]]*)\]))?")


def options():
    """The options of ``recbole-diffusion completion`` (OneLineParser)."""
    made = OneLineParser(
        prog="recbole-diffusion completion",
        examples=["completion bash", "completion zsh", "completion fish"],
        description="a script for a shell, after which the TAB key completes commands, options, "
        'models and data sets: eval "$(recbole-diffusion completion bash)" in ~/.bashrc, the same '
        "with zsh in ~/.zshrc after compinit, and recbole-diffusion completion fish | source in "
        "~/.config/fish/config.fish",
    )
    made.add_argument("shell", choices=SHELLS, help="which one reads the script")
    return made


def completion(arguments):
    """``recbole-diffusion completion``: prints a script for a shell.

    Args:
        arguments (list of str): the shell.

    Returns:
        int: exit code.

    Raises:
        ImportError: if argcomplete is missing, with the command that installs it.
    """
    shell = options().parse_args(arguments).shell
    print(_argcomplete().shellcode(["recbole-diffusion"], shell=shell))
    return 0


def _argcomplete():
    try:
        return importlib.import_module("argcomplete")
    except ImportError as error:
        raise ImportError(
            f'completion needs argcomplete: pip install "recbole-diffusion[completion]" ({error})'
        ) from error


def answer():
    """Answers a shell that asks what the TAB key offers, and ends the process.

    Raises:
        ImportError: if argcomplete is missing.
    """
    line = os.environ.get("COMP_LINE", "")
    _argcomplete().autocomplete(
        whole_parser(line), always_complete_options="long", default_completer=offered
    )


def whole_parser(line=""):
    """All commands with their options and, where they take settings, the settings.

    Args:
        line (str): what was typed; a model that it names adds its settings.

    Returns:
        OneLineParser: for argcomplete; commands read their options themselves.
    """
    whole = OneLineParser(prog="recbole-diffusion")
    commands = whole.add_subparsers()
    settings = settings_of(line)

    def made(parent, name, above=(), keys=()):
        parser = parent.add_parser(
            name, parents=list(above), add_help=not above, conflict_handler="resolve"
        )
        for key in keys:
            parser.add_argument(f"--{key}", nargs="*" if key in SEVERAL else "?")
        return parser

    of_data = OF_RUN[2:]  # what looks at a run says no less
    made(commands, "run", keys=[*OF_RUN, *settings])
    made(commands, "estimate", keys=[*of_data, *settings])
    made(commands, "benchmark", keys=[*OF_BENCHMARK, *settings])
    for name in PARSERS:
        above = importlib.import_module(f"recbole_diffusion.cli.{name}").parser()
        made(commands, name, [above], settings if name == "tune" else ())
    made(commands, "completion", [options()])
    ways = made(commands, "data").add_subparsers()
    made(ways, "list", keys=["data_path"])
    made(ways, "describe", keys=["output", *of_data, *settings]).add_argument("dataset_name")
    fetch = made(ways, "fetch", keys=["folder"])
    fetch.add_argument("--unverified", action="store_true")
    fetch.add_argument("fetched")
    made(ways, "prepare", keys=OF_PREPARE).add_argument("prepared")
    return whole


def offered(prefix, action, parsed_args=None, **about):
    """Values of an option.

    Args:
        prefix (str): what was typed of it.
        action (argparse.Action): the option.
        parsed_args (argparse.Namespace): what was typed before.

    Returns:
        list of str: values that can be typed; files where they have no names.
    """
    if action.dest == "model":
        return _models()
    if action.dest == "models":  # parted by commas
        before, comma, _ = prefix.rpartition(",")
        return [f"{before}{comma}{name}" for name in _models()]
    if action.dest in ("fetched", "prepared"):
        import yaml

        sets = yaml.safe_load((properties_dir() / "datasets.yaml").read_text("utf-8"))
        return sorted(name for name in sets if action.dest == "prepared" or "fetch" in sets[name])
    if action.dest in ("dataset", "dataset_name"):
        folder = Path(getattr(parsed_args, "data_path", None) or "dataset")
        return sorted({file.parent.name for file in folder.glob("*/*.inter")} | {"ml-100k"})
    values = settings_of(os.environ.get("COMP_LINE", "")).get(action.dest)
    return list(values) if values else _argcomplete().completers.FilesCompleter()(prefix)


def settings_of(line=""):
    """The settings that can be typed, read from the YAML files as they are.

    Args:
        line (str): what was typed; the settings of all our models where it names none.

    Returns:
        dict of str to tuple of str: key to the values it may have; None where they are not few.
    """
    ours, host = properties_dir(), host_folder() / "properties"
    named = re.search(r"--models?[= ]\s*(?:recbole:)?([\w-]+)", line)
    models = f"{named[1]}.yaml" if named else "*.yaml"
    files = [host / "overall.yaml", host / "dataset" / "sample.yaml", ours / "overall.yaml"]
    files += [*(host / "model").glob(models)] if named else []
    files += sorted((ours / "model").glob(models)) or sorted((ours / "model").glob("*.yaml"))
    found = {}
    for file in files:
        for key, kind, values in filter(None, map(_read, file.read_text("utf-8").splitlines())):
            if kind == "bool":
                found[key] = ("True", "False")
            else:
                found[key] = tuple(v.strip() for v in values.split(",")) if values else None
    return found


def _read(line):
    match = _KEY.match(line)
    return match and match.groups()


def _models():
    ours = {file.stem for file in (properties_dir() / "model").glob("*.yaml")}
    ours = {name for name in ours if "@" not in name}
    host = {name for kind in KINDS for name in host_names(f"{kind}_recommender").values()}
    both = {f"recbole:{name}" for name in ("DiffRec", "LDiffRec") if name in host}
    return sorted(ours | host | both | {point.name for point in entry_points(group=GROUP)})
