"""A package of somebody else: installed, its model is at par with ours."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import recbole_diffusion
from recbole_diffusion.testing import check_model

SOURCE = Path(__file__).parent / "outside_package"
REPOSITORY = Path(recbole_diffusion.__file__).parents[1]


@pytest.fixture
def importable(monkeypatch):
    monkeypatch.syspath_prepend(SOURCE)
    yield "outside_models.next_average:NextAverage"
    for module in ("outside_models.next_average", "outside_models"):
        sys.modules.pop(module, None)


@pytest.mark.slow
def test_its_model_keeps_the_contract(importable):
    check_model(importable, hidden_size=16)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What pip makes of the package, in a folder of its own; gives the environment that has it."""
    folder = tmp_path_factory.mktemp("installed")
    source, site = folder / "source", folder / "site"
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(site)]
    done = subprocess.run([*pip, *offline, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(source)  # what runs is what was installed
    return os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{REPOSITORY}"}


@pytest.mark.slow
def test_installed_its_model_runs_by_name_and_its_checkpoint_needs_no_more(installed, shop):
    def python(*arguments):
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=installed, cwd=shop, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run = ["-m", "recbole_diffusion", "run", "--model=NextAverage", "--dataset=shop", "--epochs=2"]
    assert "NextAverage on shop" in python(*run, "--use_gpu=False", "--show_progress=False")
    (checkpoint,) = shop.glob("saved/NextAverage-shop-*.best.pth")
    code = (
        "from recbole_diffusion.testing import check_model\n"
        "from recbole_diffusion.saved_run import load_run\n"
        f"found = load_run({str(checkpoint)!r})\n"
        "print(type(found.trainer.model).__module__, found.config['memory'])\n"
        "check_model('next-average', hidden_size=16)\n"
        "print('kept')"
    )
    assert python("-c", code).split() == ["outside_models.next_average", "0.5", "kept"]
