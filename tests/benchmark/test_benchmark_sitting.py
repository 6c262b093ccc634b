"""What a sitting of a benchmark says of itself: when, by which code and on what machine."""

import json
import platform
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

import pytest

from recbole_diffusion.benchmark.sitting import commit, describe


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with a package, and a function that runs git in it."""
    if shutil.which("git") is None:
        pytest.skip("there is no git")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "a")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "a@example.org")
    for name in ("package/__init__.py", "properties/overall.yaml", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def git(*arguments):
        said = subprocess.run(
            ["git", *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return said.stdout.strip()

    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    return tmp_path, git


def test_a_sitting_has_its_time_in_utc_and_the_versions_that_run():
    before = datetime.now(UTC)
    sitting = describe()
    date = datetime.fromisoformat(sitting["date"])
    assert date.utcoffset() == timedelta(0)
    assert timedelta(seconds=-1) <= date - before < timedelta(minutes=1)
    assert sitting["versions"]["python"] == platform.python_version()
    for name in ("recbole", "torch", "numpy"):
        assert sitting["versions"][name] == metadata.version(name)
    assert sitting["machine"]["processor"] and sitting["machine"]["cores"] >= 1
    assert sitting["machine"]["memory_gib"] > 0


def test_a_sitting_names_no_computer_no_user_and_no_place(monkeypatch):
    monkeypatch.setattr(platform, "node", lambda: "the-computer")
    text = json.dumps(describe())
    home = Path.home()
    for word in (platform.node(), str(home), str(Path(__file__).parents[2]), str(Path.cwd())):
        assert len(word) < 3 or word not in text
    assert set(describe()["machine"]) == {"processor", "cores", "memory_gib"}


def test_the_commit_is_that_of_the_checkout_and_says_where_the_code_was_changed(checkout):
    folder, git = checkout
    first = git("rev-parse", "HEAD")
    assert commit(folder / "package") == first and len(first) == 40
    (folder / "README.md").write_text("no code")
    (folder / "results").mkdir()
    (folder / "results" / "journal.jsonl").touch()
    assert commit(folder / "package") == first
    for name in ("package/__init__.py", "properties/overall.yaml", "package/new.py"):
        (folder / name).write_text("# changed")
        assert commit(folder / "package") == f"{first}-dirty", name
        git("add", ".")
        git("commit", "-m", name)
        first = git("rev-parse", "HEAD")
        assert commit(folder / "package") == first


def test_a_package_installed_within_another_repository_has_no_commit(checkout):
    folder, _ = checkout
    installed = folder / "env" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    assert commit(installed) is None
    assert commit(folder / "package")  # the control


def test_without_git_there_is_no_commit(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit(checkout[0] / "package") is None


def test_a_git_hook_of_another_repository_does_not_lend_its_commit(checkout, monkeypatch):
    folder, git = checkout
    found = git("rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(folder / "elsewhere"))
    assert commit(folder / "package") == found
