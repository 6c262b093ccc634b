"""The table of keys: what is in it, what contradicts, and that it is the only one."""

import ast
from pathlib import Path

import pytest
import recbole
from recbole.utils import argument_list

import recbole_diffusion
from recbole_diffusion.config.keys import KEYS, KINDS, of_kind
from recbole_diffusion.config.paths import properties_dir
from recbole_diffusion.config.values import read_yaml

PACKAGE = Path(recbole_diffusion.__file__).parent
HOST = Path(recbole.__file__).parent
LISTS = {key for keys in vars(argument_list).values() if isinstance(keys, list) for key in keys}
YAMLS = [HOST / "properties/overall.yaml", properties_dir() / "overall.yaml"]
DECLARED = {key for file in YAMLS for key in read_yaml(file)}
# Named like keys of a configuration, but of something else.
OTHER = {"papers.py": {"mask_history", "candidates"}}  # of a page of published figures


def test_every_key_has_kinds_of_the_table_and_every_kind_has_keys():
    assert {kind for kinds in KEYS.values() for kind in kinds.split()} == set(KINDS)
    assert all(kinds and len(kinds.split()) == len(set(kinds.split())) for kinds in KEYS.values())
    with pytest.raises(KeyError, match="no_such_kind"):
        of_kind("no_such_kind")


def test_every_key_is_known_without_the_table_or_is_the_hosts_or_made():
    unknown = set(KEYS) - LISTS - DECLARED - set(of_kind("host")) - set(of_kind("made"))
    assert unknown <= set(of_kind("class"))  # of models that begin with another one's items


@pytest.mark.parametrize(
    "one, other",
    [
        ("made", "not_again"),
        ("made", "one_training"),
        ("made", "clusters"),
        ("made", "ranking"),
        ("made", "filter"),
        ("made", "tune"),
        ("pickled", "made"),
        ("pickled", "not_of_a_run"),
        ("clusters", "one_training"),
        ("filter", "not_of_a_run"),
        ("all_rows", "benchmark"),
    ],
)
def test_no_key_is_of_two_kinds_that_contradict(one, other):
    assert set(of_kind(one)) & set(of_kind(other)) == set()


@pytest.mark.parametrize(
    "part, whole",
    [("not_again", "not_of_a_run"), ("seed", "benchmark"), ("tune", "benchmark")],
)
def test_every_key_of_one_kind_is_of_the_other_too(part, whole):
    assert set(of_kind(part)) <= set(of_kind(whole))


def test_what_a_config_makes_stands_in_no_file_of_settings():
    files = [file for name in ("model", "dataset", "tune") for file in properties_dir().glob(name)]
    files = [file for folder in files for file in folder.glob("*.yaml")] + YAMLS[1:]
    assert len(files) > 50
    for file in files:
        assert not set(of_kind("made")) & set(read_yaml(file)), file.name


def key_lists(code, known):
    """Collections of two or more names of keys that a module writes down."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, (ast.Set, ast.Tuple, ast.List)):
            values = [getattr(element, "value", None) for element in node.elts]
            if len(values) > 1 and all(isinstance(value, str) for value in values):
                found += [set(values)] if set(values) <= known else []
    return found


def test_no_other_module_lists_keys():
    known = LISTS | DECLARED | set(KEYS)
    for file in PACKAGE.rglob("*.py"):
        found = key_lists(file.read_text(encoding="utf-8"), known)
        found = [keys for keys in found if keys != OTHER.get(file.name)]
        assert not found, f"{file.name} lists {found}: their kind belongs to config/keys.py"
    listed = key_lists('for key in ("seed", "resume"):\n    {"seed": 1, "epochs": 2}\n', known)
    assert listed == [{"seed", "resume"}]  # the control: a list is seen, settings are none
