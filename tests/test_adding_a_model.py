"""docs/adding_a_model.md: its template is short, keeps the contract, and its commands run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import recbole_diffusion
from recbole_diffusion.config.traits import Traits
from recbole_diffusion.testing import check_model

REPOSITORY = Path(recbole_diffusion.__file__).parents[1]
PAGE = (REPOSITORY / "docs" / "adding_a_model.md").read_text(encoding="utf-8")
# A paragraph that begins with a file's name and ends with a colon, and the block behind it.
FILES = re.compile(r"^`([\w/]+\.\w+)`(?:[^\n]|\n(?!\n))*:\n\n```\w+\n(.*?)^```$", re.M | re.S)
COMMANDS = re.compile(r"^recbole-diffusion (?:run|tune|benchmark|pictures) .*$", re.M)
TEMPLATE = ["my_model.py", "properties/model/MyModel.yaml", "properties/tune/MyModel.yaml"]
TEMPLATE.append("properties/ablations.yaml")


@pytest.fixture
def folder(shop, monkeypatch):
    """The working directory with the page's files; what was imported from it is forgotten."""
    for name, text in FILES.findall(PAGE):
        (shop / name).parent.mkdir(parents=True, exist_ok=True)
        (shop / name).write_text(text)
    monkeypatch.setattr(sys, "path", [str(shop), *sys.path])
    yield shop
    for module in ("my_model", "my_trainer"):
        sys.modules.pop(module, None)


def test_the_template_has_at_most_sixty_lines():
    files = dict(FILES.findall(PAGE))
    assert sum(len(files[name].splitlines()) for name in TEMPLATE) <= 60
    assert set(files) - set(TEMPLATE) == {
        "check.py", "test_my_model.py", "benchmark.yaml", "my_trainer.py", "pyproject.toml",
    }  # fmt: skip


@pytest.mark.slow
def test_the_template_keeps_the_contract_also_with_its_own_trainer(folder):
    check_model("my_model:MyModel", hidden_size=16)
    text = (folder / "my_model.py").read_text()
    begin = "class MyModel(NextItemDiffusion):\n"
    assert 'trainer = "my_trainer:MyTrainer"' in PAGE and text.count(begin) == 1
    trained = begin + '    trainer = "my_trainer:MyTrainer"\n'
    (folder / "trained.py").write_text(text.replace(begin, trained))
    check_model("trained:MyModel", hidden_size=16)


def test_the_table_of_traits_is_that_of_the_code():
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| `(.+?)` \| \S.* \|$", PAGE, re.M)
    code = [
        (name, Traits.__annotations__[name].__name__, repr(default))
        for name, default in Traits()._asdict().items()
    ]
    assert rows == code


def test_the_links_of_the_page_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", PAGE) if "://" not in link]
    assert links and all((REPOSITORY / "docs" / link).exists() for link in links)


@pytest.fixture
def said(folder):
    """Gives a function that runs a command in the folder and returns what it prints."""
    program = folder / "bin" / "recbole-diffusion"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m recbole_diffusion "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # a reader of the page has pytest alone
    }

    def said(command):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=folder, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    return said


@pytest.mark.slow
def test_every_command_of_the_page_runs_in_its_order(folder, said):
    """On the shop in place of ml-100k, which takes minutes."""
    commands = COMMANDS.findall(PAGE)
    assert [re.search(r"--resume|\w+(?= --)", command)[0] for command in commands] == [
        "run", "run", "pictures", "tune", "benchmark",
    ]  # fmt: skip
    first, resumed, pictures, tuned, ablated = (
        said(command.replace("ml-100k", "shop")) for command in commands
    )
    assert "of 2 (ended by epochs)" in first
    assert "of 3 (ended by epochs)" in resumed and len(list(folder.glob("saved/*.last.pth"))) == 1
    assert "reverse steps" in pictures and (folder / "pictures/MyModel-shop/steps.png").is_file()
    assert tuned.count("learning_rate=") == 2
    for row in ("MarkovChain", "(one reverse step)", "(x_t zeroed)"):
        assert row in ablated


@pytest.mark.slow
def test_the_plan_and_the_check_of_the_page_run(folder, said):
    plan = folder / "benchmark.yaml"
    plan.write_text(plan.read_text().replace("ml-100k", "shop"))
    assert "mine, two levels" in said(
        "recbole-diffusion benchmark --config=benchmark.yaml --model=my_model:MyModel"
    )
    assert said(f'"{sys.executable}" check.py') == "all is well\n"
    assert "16 passed" in said(
        f'"{sys.executable}" -m pytest -q -p no:cacheprovider test_my_model.py'
    )
