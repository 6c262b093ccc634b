"""What the tests of the dataset scripts share: the scripts' folder on the path, and real data."""

import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "dataset_scripts"))


@pytest.fixture
def real_data():
    """Returns a function from a path below ../shared/data to the path, or skips the test."""

    def find(name):
        path = REPOSITORY.parent / "shared" / "data" / name
        if not path.exists():
            pytest.skip(f"the real data {name} is not beside this checkout")
        return path

    return find


@pytest.fixture
def refused(capsys):
    """Returns a function that runs a script's main, expects a refusal and returns its one line."""

    def run(main, *argv):
        assert main([str(argument) for argument in argv]) == 2
        message = capsys.readouterr().err
        assert message.startswith("error: ")
        assert message.count("\n") == 1
        return message.strip()

    return run


@pytest.fixture
def refused_by_line(tmp_path):
    """Returns a function that converts a raw file and expects a refusal that names its line."""

    def run(convert, raw, line, reason, **options):
        with pytest.raises(ValueError) as refusal:
            convert(tmp_path, raw, **options)
        message = str(refusal.value)
        assert message.startswith(f"{raw}, line {line}: ")
        assert reason in message and "\n" not in message
        assert [path.name for path in tmp_path.iterdir()] == [raw.name]

    return run


@pytest.fixture
def rows():
    """Returns a function that reads an atomic file into a list of its rows, header first."""

    def read(path):
        return [tuple(line.split("\t")) for line in path.read_text().splitlines()]

    return read
