"""Profiles of the fuzz tests: HYPOTHESIS_PROFILE=quick (the default) or long."""

import shutil
import tempfile

import hypothesis.configuration
import pytest
import yaml
from fuzzing import PROFILE, remember_long_yaml, table, tried

HOME = tempfile.mkdtemp(prefix="hypothesis")
hypothesis.configuration.set_hypothesis_home_dir(HOME)  # not in the folder of the code


@pytest.fixture(scope="session", autouse=True)
def own_yaml_once():
    """Parses the package's own YAML once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "load", remember_long_yaml())
        yield


def pytest_unconfigure():
    shutil.rmtree(HOME, ignore_errors=True)


def pytest_terminal_summary(terminalreporter):
    if PROFILE == "long" and tried:
        terminalreporter.write_line("\n" + table())
