"""Tests go through public names: nothing here reaches for what the package keeps to itself."""

import ast
from pathlib import Path

import pytest

import recbole_diffusion

TESTS = Path(__file__).parent
PACKAGE = Path(recbole_diffusion.__file__).parent
BY_NAME = {"getattr", "hasattr", "setattr", "delattr"}  # what takes a name as a text
# The package overrides or reads these; they are RecBole's, torch's and scipy's own.
HOSTS = {
    "_build_optimizer": "RecBole's trainer has it",
    "_dataset": "RecBole's loaders have no public name for their data set",
    "_sampler": "RecBole's loaders have no public name for it",
    "_update": "RecBole asks scipy's dok_matrix for it",
    "_valid_epoch": "RecBole's trainer has it",
}


def private(name):
    return name.startswith("_") and not name.startswith("__")


def own_names(tree):
    """Names with a leading underscore that a file defines: functions, classes, what is assigned."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            names = [node.id if isinstance(node, ast.Name) else node.attr]
        else:
            continue
        yield from filter(private, names)


def reached(tree, own):
    """Lines and names at which a file reaches for one of ``own``."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Attribute):
            names = [node.attr]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE.name):
            names = [
                part for name in node.names for part in (node.module + "." + name.name).split(".")
            ]
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else None
            called = node.func.id if isinstance(node.func, ast.Name) else called
            texts = [one.value for one in node.args if isinstance(one, ast.Constant)]
            texts = [text for text in texts if isinstance(text, str)] if called in BY_NAME else []
            names = [part for text in texts for part in text.split(".")]
        elif isinstance(node, ast.ClassDef):
            names = [one.name for one in node.body if isinstance(one, ast.FunctionDef)]
        yield from ((node.lineno, name) for name in names if private(name) and name in own)


@pytest.fixture(scope="module")
def own():
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py"))
    return {name for tree in trees for name in own_names(tree)} - set(HOSTS)


def test_no_test_reaches_for_a_name_with_a_leading_underscore(own):
    assert len(own) > 100  # the control: there are such names
    found = [
        f"{path.relative_to(TESTS)}:{line} {name}"
        for path in sorted(TESTS.rglob("*.py"))
        for line, name in reached(ast.parse(path.read_text(encoding="utf-8")), own)
    ]
    assert not found


@pytest.mark.parametrize(
    "code",
    [
        "model._lists",
        "from recbole_diffusion.data.split import _lists",
        "from recbole_diffusion.data._lists import split",
        "patch.setattr(module, '_lists', None)",
        "patch.setattr('recbole_diffusion.data.split._lists', None)",
        "getattr(model, '_lists')",
        "class Mine(Theirs):\n    def _lists(self):\n        pass",
    ],
)
def test_every_way_to_reach_is_seen(code):
    assert [name for _, name in reached(ast.parse(code), {"_lists"})] == ["_lists"]
    other = code.replace("_lists", "lists")
    assert not list(reached(ast.parse(other), {"_lists"}))
