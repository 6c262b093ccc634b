"""Who knows whom: the imports of the package against the table of docs/design.md."""

import ast
from pathlib import Path

import pytest

import recbole_diffusion

PACKAGE = Path(recbole_diffusion.__file__).parent
PLAIN_DATA = {"data.lines", "data.runs", "data.loading"}  # helpers that a model may use
BELOW = {
    "lazy",
    "ranks",
    "progress",
    "compat",
    "doors",
    "diffusion",
    "config",
    "data",
    "model",
    "evaluator",
    "trainer",
}

# Folder or file at the top: what it may import. A name with a dot is one file of a folder.
MAY_KNOW = {
    "lazy": set(),
    "ranks": set(),
    "progress": set(),
    "compat": set(),
    "doors": set(),
    "diffusion": {"ranks"},
    "config": {"lazy", "ranks", "compat", "doors"},
    "data": {"config"},
    "model": {"ranks", "diffusion", "config", *PLAIN_DATA},
    "evaluator": {"lazy", "ranks", "config", "data", "diffusion"},
    "trainer": {
        "lazy",
        "ranks",
        "progress",
        "compat",
        "config",
        "data",
        "diffusion",
        "model",
        "evaluator",
    },
    "quick_start": BELOW,
    "saved_run": {"quick_start"},
    "tune": BELOW | {"quick_start"},
    "benchmark": BELOW | {"quick_start"},
    "pictures": BELOW | {"quick_start"},
    "recommend": BELOW | {"quick_start"},
    "explore": BELOW | {"quick_start", "pictures", "recommend"},
    "testing": BELOW | {"quick_start", "recommend"},
    "cli": BELOW | {"quick_start", "tune", "benchmark", "pictures", "recommend", "explore"},
    "__main__": {"cli"},
}


def module_name(file, root):
    parts = file.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(root):
    """The imports between the modules of a package, those inside functions too.

    Returns:
        set of tuple: importing and imported module, without the package's name.
    """
    files = {module_name(file, root): file for file in root.rglob("*.py")}
    found = set()
    for name, file in files.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            wanted = []
            if isinstance(node, ast.Import):
                wanted = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{name}: imports are absolute here"
                wanted = [f"{node.module}.{alias.name}" for alias in node.names]
            for target in wanted:
                while target and target not in files:
                    target = target.rpartition(".")[0]
                if target and target != name and target != root.name:
                    found.add((name.partition(".")[2], target.partition(".")[2]))
    return found


def against_the_table(imports):
    """The imports that the table does not allow."""
    wrong = []
    for importing, imported in sorted(imports):
        own, other = importing.partition(".")[0], imported.partition(".")[0]
        allowed = MAY_KNOW.get(own, set())
        if own and own != other and other not in allowed and imported not in allowed:
            wrong.append(f"{importing} -> {imported}")
    return wrong


def circles(imports):
    """Modules that import each other, directly or through others."""
    graph = {}
    for importing, imported in imports:
        graph.setdefault(importing, set()).add(imported)

    def reached(start):
        seen, rest = set(), [start]
        while rest:
            for target in graph.get(rest.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    rest.append(target)
        return seen

    return sorted(name for name in graph if name in reached(name))


def test_every_folder_and_file_at_the_top_stands_in_the_table():
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py"} - {"__init__"}
    found |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert found == set(MAY_KNOW)


def test_every_import_is_one_that_the_table_allows():
    assert against_the_table(imports_of(PACKAGE)) == []


def test_no_modules_import_each_other():
    assert circles(imports_of(PACKAGE)) == []


def test_imports_against_the_table_and_circles_are_found(tmp_path):
    root = tmp_path / "recbole_diffusion"
    (root / "data").mkdir(parents=True)
    (root / "model").mkdir()
    for folder in (root, root / "data", root / "model"):
        (folder / "__init__.py").touch()
    (root / "data" / "lines.py").write_text("")
    (root / "data" / "dataset.py").write_text("def f():\n    import recbole_diffusion.model.m\n")
    (root / "model" / "m.py").write_text(
        "from recbole_diffusion.data.lines import x\nfrom recbole_diffusion.data import dataset\n"
    )
    imports = imports_of(root)
    assert against_the_table(imports) == ["data.dataset -> model.m", "model.m -> data.dataset"]
    assert circles(imports) == ["data.dataset", "model.m"]


@pytest.mark.parametrize(
    "module, name",
    [
        ("config", "Config"),
        ("config", "ConfigError"),
        ("quick_start", "run_recbole_diffusion"),
        ("quick_start", "load_run"),
        ("saved_run", "load_run"),
        ("pictures", "draw"),
        ("trainer", "TrainerHooks"),
        ("tune", "tune"),
        ("testing", "check_model"),
        ("testing", "model_checks"),
        ("cli", "main"),
    ],
)
def test_public_paths_stay(module, name):
    face = __import__(f"recbole_diffusion.{module}", fromlist=[name])
    assert callable(getattr(face, name))
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        face.no_such_name  # noqa: B018
