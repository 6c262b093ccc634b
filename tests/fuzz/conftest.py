"""Profiles of the fuzz tests: HYPOTHESIS_PROFILE=quick (the default) or long."""

import hypothesis.configuration
import pytest
import yaml
from fuzzing import PROFILE, remember_long_yaml, table, tried


@pytest.fixture(scope="session", autouse=True)
def quick_inputs(tmp_path_factory):
    """Parses the package's own YAML once, and keeps hypothesis out of the folder of the code."""
    hypothesis.configuration.set_hypothesis_home_dir(tmp_path_factory.mktemp("hypothesis"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "load", remember_long_yaml())
        yield


def pytest_terminal_summary(terminalreporter):
    if PROFILE == "long" and tried:
        terminalreporter.write_line("\n" + table())
