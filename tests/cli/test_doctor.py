"""What is installed, what is wrong, what to do; told also where nothing else works."""

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from marks import slow_but

import recbole_diffusion
from recbole_diffusion import compat
from recbole_diffusion.cli import doctor
from recbole_diffusion.cli.doctor import BOUNDS, broken_bounds, examine, text, within
from recbole_diffusion.cli.main import main
from recbole_diffusion.config.paths import how_to_install

REPOSITORY = Path(recbole_diffusion.__file__).parents[1]
GOOD = {"python": "3.13.1", "torch": "2.13.0+cpu", "recbole": "1.2.0", "kmeans-pytorch": "0.3"}
GOOD |= {"numpy": "2.4.6", "pandas": "3.1.1", "scipy": "1.17.1", "tensorboard": "2.21.0"}
GOOD |= {"scikit-learn": "1.9.1", "PyYAML": "6.0", "tqdm": "4.70.1", "packaging": "26.3"}
GOOD |= {"ray": "2.60.0", "pyarrow": "26.0.1", "optuna": "5.0.0", "matplotlib": "3.11.2"}
GOOD |= {"plotly": "7.1.0", "statsmodels": "0.15.0"}


@pytest.fixture
def versions(monkeypatch):
    """Gives a function that makes the doctor find other versions."""

    def versions(**others):
        found = GOOD | others

        def version(name):
            if found.get(name) is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return found[name]

        monkeypatch.setattr(importlib.metadata, "version", version)
        monkeypatch.setattr(doctor.platform, "python_version", lambda: found["python"])

    return versions


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "version, needs, holds",
    [
        ("1.26.4", ">=1.26,<2", True),
        ("1.26", ">=1.26,<2", True),
        ("1.25.9", ">=1.26,<2", False),
        ("2.0.0", ">=1.26,<2", False),
        ("2.0.0rc1", ">=1.26,<2", False),
        ("2.13.0+cpu", ">=2.6", True),
        ("2.5.1+cu121", ">=2.6", False),
        ("2.6.3", "<=2.6.3", True),
        ("2.6.10", "<=2.6.3", False),
        ("1.2.1", "==1.2.1", True),
        ("1.2.1.1", "==1.2.1", False),
        ("81", "<81", False),
        ("80.10.2", "<81", True),
        ("unknown", ">=1", False),
        (None, ">=1", False),
    ],
)
def test_versions_are_compared_by_number(version, needs, holds):
    assert within(version, needs) is holds


def test_versions_within_all_bounds_are_well(versions):
    versions()
    report = examine()
    assert report["broken"] == [] and report["ok"] and text(report).endswith("\nready")


@pytest.mark.parametrize(
    "package, version, remedy",
    [
        ("numpy", "1.24.4", 'pip install "numpy>=1.26"'),
        ("pandas", "2.1.0", 'pip install "pandas>=2.2"'),
        ("torch", "2.5.1", 'pip install "torch>=2.6"'),
        ("recbole", "1.3.0", 'pip install "recbole>=1.2,<1.3"'),
        ("numpy", None, how_to_install()),
        ("python", "3.10.13", how_to_install()),
    ],
)
def test_a_broken_bound_is_told_with_reason_and_remedy(package, version, remedy, versions, capsys):
    versions(**{package: version})
    report = examine()
    (entry,) = report["broken"]
    assert (entry["package"], entry["version"]) == (package, version)
    assert entry["remedy"] == remedy and entry["reason"]
    assert not report["ok"]
    told = text(report)
    assert entry["remedy"] in told and entry["reason"] in told
    assert told.endswith("something is wrong, see above")
    assert main(["doctor"]) == 1 and remedy in capsys.readouterr().out


def test_what_only_an_extra_needs_leaves_the_rest_well(versions):
    versions(ray="2.6.3")  # what RecBole 1.2.1 brings
    report = examine()
    (entry,) = report["broken"]
    assert entry["remedy"] == 'pip install "recbole-diffusion[tune]"' and report["ok"]
    assert text(report).endswith("ready; not needed for a run and too old, see above: tune")


@pytest.mark.parametrize("package", ["pyarrow", "ray"])
def test_what_is_optional_may_be_missing(package, versions):
    versions(**{package: None})
    assert examine()["ok"]


def test_the_report_is_plain_json_and_the_exit_code_says_whether_all_is_well(versions, capsys):
    versions()
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads(json.dumps(examine()))
    assert report["versions"] == GOOD
    assert report["device"]["kind"] in ("cpu", "cuda", "mps") and report["device"]["threads"] > 0
    assert report["imports"] == dict.fromkeys(doctor.IMPORTED)


def test_the_bounds_are_those_of_the_package():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

    def bounds(lines):
        return dict(re.fullmatch(r"([\w-]+)(?:\[\w+\])?([<>=].*)", line).groups() for line in lines)

    required = {name: needs for name, (needs, _) in BOUNDS.items() if name not in doctor.OPTIONAL}
    assert bounds(project["dependencies"]) == required
    assert project["requires-python"] == doctor.PYTHON[0]
    extras = project["optional-dependencies"]
    for name, extra in doctor.OPTIONAL.items():
        assert bounds(extras[extra])[name] == BOUNDS[name][0]


def test_repairs_and_models_that_do_not_run_are_told(versions, monkeypatch):
    versions()
    repair = compat.REPAIRS[0]
    monkeypatch.setattr(compat, "needed", lambda: [repair])
    monkeypatch.setattr(compat, "version", {"recbole": "1.2.0"}.get)
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    report = examine()
    assert report["repairs"] == {repair.name: repair.symptom}
    assert set(report["not_run"]) == {"knowledge", "decisiontree", "NCL", *compat.NEW_IN_1_2_1}
    told = text(report)
    assert repair.symptom in told and "does not run: NCL: needs faiss" in told
    monkeypatch.setattr(compat, "needed", list)
    monkeypatch.setattr(compat, "version", {"recbole": "1.2.1"}.get)
    report = examine()
    assert report["repairs"] == {} and "AsymKNN" not in report["not_run"]


def test_installed_versions_are_those_that_the_packages_give():
    import numpy
    import torch

    found = examine()["versions"]
    assert found["numpy"] == numpy.__version__
    assert torch.__version__.startswith(found["torch"])  # which may have +cu124 behind it
    assert broken_bounds({"numpy": "1.26.4"}) == []


# ---------------------------------------------------------------- data
def test_data_sets_are_listed_with_their_files(write_inter, tmp_path):
    write_inter(tmp_path / "data", "mine", [])
    write_inter(tmp_path / "data", "cut", [], part="train")
    (tmp_path / "data" / "mine" / "mine.item").write_text("item_id:token\n")
    (tmp_path / "data" / "notes").mkdir()
    data = examine(tmp_path / "data")["data"]
    assert data["found"].pop("ml-100k")[0].startswith("ml-100k.")
    assert data["found"] == {"mine": ["mine.inter", "mine.item"], "cut": ["cut.train.inter"]}
    assert Path(data["path"]) == tmp_path / "data"


def test_the_wheel_brings_ml_100k():
    assert {"ml-100k.inter", "ml-100k.item"} <= set(examine()["data"]["found"]["ml-100k"])


def test_a_shipped_data_set_without_its_files_is_told_with_the_command(write_inter, tmp_path):
    missing = examine(tmp_path)["data"]["missing"]
    assert {"retail", "jd", "taobao"} <= set(missing)
    for name, entry in missing.items():
        assert entry["command"].startswith(f"recbole-diffusion data prepare {name} --input ")
        assert entry["hint"]
    assert missing["retail"]["command"] in text(examine(tmp_path))

    write_inter(tmp_path, "retail", [])
    for part in ("train", "valid", "test"):
        write_inter(tmp_path, "jd", [], part=part)
    missing = examine(tmp_path)["data"]["missing"]
    assert "retail" not in missing
    assert "jd" in missing  # jd.history.inter is not there yet
    write_inter(tmp_path, "jd", [], part="history")
    assert "jd" not in examine(tmp_path)["data"]["missing"]


# ---------------------------------------------------------------- the installation
def test_missing_properties_are_told(versions, monkeypatch):
    versions()

    def missing():
        raise FileNotFoundError

    monkeypatch.setattr(doctor, "properties_dir", missing)
    report = examine()
    assert report["properties"] is None and not report["ok"]
    assert "properties/ is missing" in text(report)


def test_a_place_that_cannot_be_written_is_told(versions, tmp_path):
    versions()
    assert examine()["saved"] == {"path": str(tmp_path / "saved"), "writable": True}
    assert not (tmp_path / "saved").exists()  # looking leaves nothing behind
    (tmp_path / "saved").write_text("a file where the folder should be")
    report = examine()
    assert not report["saved"]["writable"] and not report["ok"]
    assert "cannot be written" in text(report)


@pytest.mark.parametrize(
    "gone", slow_but(("recbole",), ["torch", "recbole", "numpy", "yaml", "packaging"])
)
def test_it_works_where_a_dependency_cannot_be_imported(gone):
    code = (
        "import sys\n"
        "class Broken:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name.split('.')[0] == {gone!r}:\n"
        "            raise ImportError('broken on purpose')\n"
        "sys.meta_path.insert(0, Broken())\n"
        f"sys.path.insert(0, {str(REPOSITORY)!r})\n"
        "from recbole_diffusion.cli.main import main\n"
        "sys.exit(main(['doctor']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == "", done.stderr
    assert "broken on purpose" in done.stdout and "data sets in" in done.stdout
