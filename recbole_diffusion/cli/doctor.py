"""What is installed, what is wrong with it, and what to do about it.

Nothing heavy is imported at the top: this has to work where RecBole or torch does not.
"""

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import tempfile
from pathlib import Path

from recbole_diffusion import compat
from recbole_diffusion.cli.parsing import OneLineParser
from recbole_diffusion.config.paths import how_to_install, properties_dir

# Package: bounds and reason, as in pyproject.toml.
BOUNDS = {
    "torch": (">=2.6", "older ones run code that stands in a checkpoint"),
    "recbole": (">=1.2,<1.3", "1.2.0 and 1.2.1 were run"),
    "kmeans-pytorch": (">=0.3", "RecBole 1.2.0 imports it with its general models"),
    "numpy": (">=1.26", "the oldest that was run"),
    "pandas": (">=2.2", "the oldest that was run"),
    "scipy": (">=1.11", "the oldest that was run"),
    "scikit-learn": (">=1.3", "L-DiffRec clusters the items with it; the oldest that was run"),
    "tensorboard": (">=2.14", "RecBole's trainer logs with it"),
    "packaging": (">=24", "this command compares versions with it"),
    "PyYAML": (">=6", "settings are YAML"),
    "tqdm": (">=4.60", "RecBole's progress bars"),
    "ray": (">=2.44", "tuning needs its newer interface"),
    "optuna": (">=3", "tune --search=optuna uses it"),
    "pyarrow": (">=14", "benchmarks, tuning and .parquet files use it"),
    "matplotlib": (">=3.8", "pictures use it"),
    "plotly": (">=5.20", "pictures and reports use it"),
    "statsmodels": (">=0.14", "comparisons of models use it"),
}
# Fine if missing, but not if out of bounds: package to the extra that brings it.
OPTIONAL = {
    "ray": "tune", "optuna": "tune", "pyarrow": "parquet", "matplotlib": "pictures",
    "plotly": "pictures", "statsmodels": "benchmark",
}  # fmt: skip
PYTHON = (">=3.11", "older ones were not run")
# What a run and this command import
IMPORTED = ("torch", "packaging", "recbole.config", "recbole.data", "recbole.trainer")


def examine(data_path="dataset"):
    """Looks at versions, device, data folders and the installation itself.

    Args:
        data_path (str or Path): the folder of data sets.

    Returns:
        dict: plain values under ``ok``, ``versions``, ``broken`` (package, version, needs, reason
        and remedy each), ``imports`` (module to error), ``repairs`` (what RecBole needs on these
        libraries: name and symptom), ``not_run`` (models of RecBole: name or kind and why),
        ``device``, ``data``, ``properties`` and ``saved``.
    """
    versions = {"python": platform.python_version()}
    versions.update((name, _version(name)) for name in BOUNDS)
    try:
        properties = str(properties_dir())
    except FileNotFoundError:
        properties = None
    report = {
        "versions": versions,
        "broken": broken_bounds(versions),
        "imports": {name: _import_error(name) for name in IMPORTED},
        "repairs": {repair.name: repair.symptom for repair in compat.needed()},
        "not_run": _not_run(),
        "device": _device(),
        "data": _data(Path(data_path), properties),
        "properties": properties,
        "saved": _saved(Path("saved")),
    }
    report["ok"] = (
        all(entry["package"] in OPTIONAL for entry in report["broken"])
        and not any(report["imports"].values())
        and properties is not None
        and report["saved"]["writable"]
    )
    return report


def broken_bounds(versions):
    """Which versions are out of bounds.

    Args:
        versions (dict of str to str): package to version, None where it is not installed.

    Returns:
        list of dict: package, version, needs, reason and remedy, a command.
    """
    broken = []
    for name, version in versions.items():
        needs, reason = PYTHON if name == "python" else BOUNDS[name]
        if version is None and name in OPTIONAL or within(version, needs):
            continue
        remedy = f'pip install "{name}{needs}"'
        if name == "python" or version is None:
            remedy = how_to_install()
        elif name in OPTIONAL:
            remedy = f'pip install "recbole-diffusion[{OPTIONAL[name]}]"'
        broken.append(
            {"package": name, "version": version, "needs": needs, "reason": reason}
            | {"remedy": remedy}
        )
    return broken


def within(version, needs):
    """Whether a version lies in bounds like ``>=1.26,<2``.

    Args:
        version (str): for example ``2.13.0+cpu``; None is in no bounds.
        needs (str): comparisons with >=, <=, == or <, parted by commas.

    Returns:
        bool: whether all of them hold.
    """
    if version is None:
        return False
    try:
        from packaging.specifiers import SpecifierSet
        from packaging.version import InvalidVersion
    except ImportError:  # it stands among what is missing
        return True
    try:
        return SpecifierSet(needs).contains(version, prereleases=True)
    except InvalidVersion:
        return False


def _not_run():
    """RecBole's models that do not run with what is installed, by kind or name."""
    found = dict(compat.NOT_RUN)
    if importlib.util.find_spec("faiss"):
        del found["NCL"]
    found.update((name, compat.too_new(name)) for name in compat.NEW_IN_1_2_1)
    return {name: why for name, why in found.items() if why}


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _import_error(name):
    """Why a module cannot be imported, None if it can."""
    try:
        importlib.import_module(name)
    except Exception as error:  # a broken dependency may raise anything
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return None


def _device():
    """What training would run on."""
    device = {"kind": None, "name": None, "threads": None, "cores": os.cpu_count()}
    try:
        import torch
    except Exception:
        return device
    device.update(kind="cpu", threads=torch.get_num_threads())
    if torch.cuda.is_available():
        device.update(kind="cuda", name=torch.cuda.get_device_name(0))
    elif torch.backends.mps.is_available():
        device.update(kind="mps", name="not used: RecBole knows cuda and cpu")
    return device


def _data(folder, properties):
    """Which data sets are in a folder, and how to get those that are not."""
    found = {}
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            files = sorted(file.name for file in path.glob(f"{path.name}.*") if file.is_file())
            if any(name.endswith(".inter") for name in files):
                found[path.name] = files
    missing = {}
    for file in sorted(Path(properties, "dataset").glob("*.yaml")) if properties else []:
        settings = _settings(file)
        parts = [f".{part}" for part in settings.get("benchmark_filename") or []] or [""]
        needed = {f"{file.stem}{part}.inter" for part in parts}
        if file.stem == "ml-100k":  # RecBole brings it along
            found[file.stem] = _wheel_files()
        elif not needed <= set(found.get(file.stem, [])):
            hint = " ".join(str(settings.get("prepare_hint") or "").split())
            command = re.search(r"`([^`]+)`", hint)
            missing[file.stem] = {"hint": hint, "command": command and command.group(1)}
    return {"path": str(folder.resolve()), "found": found, "missing": missing}


def _settings(file):
    try:
        import yaml

        return yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except Exception:  # PyYAML is missing or broken, which `broken` says
        return {}


def _wheel_files():
    """The files of ml-100k inside RecBole's wheel."""
    try:
        spec = importlib.util.find_spec("recbole")
    except ImportError:
        spec = None
    if spec is None or spec.origin is None:
        return []
    folder = Path(spec.origin).parent / "dataset_example" / "ml-100k"
    return sorted(file.name for file in folder.glob("ml-100k.*"))


def _saved(folder):
    """Whether checkpoints can be written to a folder, which need not be there yet."""
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            writable = True
    except OSError:
        writable = False
    return {"path": str(folder.resolve()), "writable": writable}


def text(report):
    """A report as lines to read.

    Args:
        report (dict): of `examine`.

    Returns:
        str: the lines.
    """
    broken = {entry["package"]: entry for entry in report["broken"]}
    lines = []
    for name, version in report["versions"].items():
        line = f"{name:14} {version or 'not installed':16}"
        if name in broken:
            line += f" needs {broken[name]['needs']}: {broken[name]['reason']}"
        lines.append(line.rstrip())
    lines += [f"-> {remedy}" for remedy in dict.fromkeys(e["remedy"] for e in report["broken"])]
    for name, error in report["imports"].items():
        if error:
            lines.append(f"import {name} fails: {error}")
    lines += [f"RecBole repaired: {name} ({why})" for name, why in report["repairs"].items()]
    for why in dict.fromkeys(report["not_run"].values()):
        names = [name for name, reason in report["not_run"].items() if reason == why]
        lines.append(f"does not run: {', '.join(names)}: {why}")
    device = report["device"]
    name = f" ({device['name']})" if device["name"] else ""
    if device["kind"]:
        lines.append(
            f"device: {device['kind']}{name}, {device['threads']} threads, {device['cores']} cores"
        )
    data = report["data"]
    lines.append(f"data sets in {data['path']} and in RecBole's wheel:")
    lines += [f"  {name}: {', '.join(files)}" for name, files in data["found"].items()]
    lines += [
        f"  {name}: not there. {entry['hint']}"
        for name, entry in data["missing"].items()
        if entry["hint"]  # none where PyYAML is missing
    ]
    lines.append(f"settings: {report['properties'] or 'properties/ is missing: reinstall'}")
    saved = report["saved"]
    lines.append(f"checkpoints: {saved['path']}{'' if saved['writable'] else ' cannot be written'}")
    extras = sorted({OPTIONAL[name] for name in broken if name in OPTIONAL})
    ready = "ready; not needed for a run and too old, see above: " + ", ".join(extras)
    ready = ready if extras else "ready"
    lines.append(ready if report["ok"] else "something is wrong, see above")
    return "\n".join(lines)


def parser():
    """The options of ``recbole-diffusion doctor`` (OneLineParser)."""
    made = OneLineParser(
        prog="recbole-diffusion doctor",
        examples=["doctor", "doctor --json --data_path=/data"],
        description="versions, device and data folders of this machine, and what is wrong",
    )
    made.add_argument("--json", action="store_true", help="print JSON")
    made.add_argument("--data_path", default="dataset", help="folder of data sets")
    return made


def doctor(arguments):
    """``recbole-diffusion doctor``: what is installed and what is wrong with it.

    Args:
        arguments (list of str): ``--json``, ``--data_path=FOLDER``.

    Returns:
        int: 0 if all is well, 1 if a version is out of bounds.
    """
    options = parser().parse_args(arguments)
    report = examine(options.data_path)
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print(text(report))
    return 0 if report["ok"] else 1
