"""What tests share."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_path():
    """Gives the path of a file of the reference material, or skips the test without it."""

    def path_of(name):
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"{name}: the reference material is not part of the repository")
        return path

    return path_of
