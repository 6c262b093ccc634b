"""The package: light to import, and whole when installed elsewhere."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import recbole_diffusion
from recbole_diffusion.config import paths
from recbole_diffusion.config.names import MODELS, get_model
from recbole_diffusion.config.paths import properties_dir

REPOSITORY = Path(recbole_diffusion.__file__).parents[1]
HEAVY = {"torch", "recbole", "numpy", "pandas", "scipy", "yaml", "ray"}
LIGHT = ["recbole_diffusion", "recbole_diffusion.cli", "recbole_diffusion.cli.doctor"]
LIGHT.append("recbole_diffusion.testing")


def python(code, **options):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", LIGHT)
def test_importing_is_fast_and_has_no_effect(module, tmp_path):
    code = (
        f"import sys, time, warnings\nsys.path.insert(0, {str(REPOSITORY)!r})\n"
        "filters, begin = list(warnings.filters), time.process_time()\n"
        f"import {module}\n"
        "seconds = time.process_time() - begin\n"
        f"heavy = {HEAVY} & set(sys.modules)\n"
        "print(seconds < 0.5, sorted(heavy), warnings.filters == filters)"
    )
    assert python(code, cwd=tmp_path).split("\n")[0] == "True [] True"
    assert not list(tmp_path.iterdir())


def test_properties_are_beside_the_package_or_inside_it(tmp_path, monkeypatch):
    package = tmp_path / "site" / "recbole_diffusion"
    package.mkdir(parents=True)
    monkeypatch.setattr(paths, "PACKAGE", package)
    with pytest.raises(FileNotFoundError, match="reinstall recbole-diffusion"):
        properties_dir()
    for folder in (package.parent / "properties", package / "properties"):  # inside wins
        folder.mkdir()
        (folder / "overall.yaml").touch()
        assert properties_dir() == folder


def test_every_model_of_ours_has_its_settings_and_is_found():

    for name in MODELS:
        assert (properties_dir() / "model" / f"{name}.yaml").is_file()
        assert get_model(name).__name__ == name


def test_no_shipped_file_is_ignored_by_git():
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout")
    files = [*properties_dir().rglob("*.yaml"), *(REPOSITORY / "recbole_diffusion").rglob("*.py")]
    command = ["git", "check-ignore", "--no-index", *map(str, files)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout == ""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the checkout, so that nothing is left in it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("recbole_diffusion", "properties", "dataset_scripts"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, source / name, ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(REPOSITORY / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    done = subprocess.run([*pip, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_ships_every_module_and_every_settings_file(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = (REPOSITORY / "recbole_diffusion").rglob("*.py")
    settings = properties_dir().rglob("*.yaml")
    expected = {str(path.relative_to(REPOSITORY)) for path in modules}
    expected |= {
        f"recbole_diffusion/properties/{path.relative_to(properties_dir())}" for path in settings
    }
    scripts = (REPOSITORY / "dataset_scripts").glob("*.py")
    expected |= {f"recbole_diffusion/dataset_scripts/{path.name}" for path in scripts}
    assert expected <= names
    others = {name for name in names - expected if ".dist-info/" not in name}
    assert not others, "nothing but the package: no tests, no data"


@pytest.mark.slow
def test_installed_elsewhere_it_runs_from_any_folder(wheel, tmp_path, shop, small):
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)  # what pip does with a wheel of pure Python
    code = (
        f"import sys\nsys.path.insert(0, {str(site)!r})\n"
        "from recbole_diffusion.config import paths\nfrom recbole_diffusion.cli.main import main\n"
        "print(paths.properties_dir())\n"
        f"sys.exit(main({['run', '--model=ICDDT', '--dataset=shop', '--result_file=r.json']!r}"
        f" + {[f'--{key}={value}' for key, value in small('ICDDT').items()]!r}))"
    )
    out = python(code, cwd=shop, env={"PATH": "", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)})
    assert out.splitlines()[0] == str(site / "recbole_diffusion" / "properties")
    assert json.loads((shop / "r.json").read_text())["config"]["hidden_size"] == 8
