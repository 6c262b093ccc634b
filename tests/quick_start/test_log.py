"""A run has a log of its own, also where one process runs several."""

import subprocess
import sys
from pathlib import Path

import pytest

TWO = """
import logging
from pathlib import Path
from recbole_diffusion.quick_start import run_recbole_diffusion

settings = {settings!r}
if {own!r}:
    Path("app/log").mkdir(parents=True)
    logging.basicConfig(handlers=[logging.FileHandler("app/log/mine.txt")])
for name in ("Pop", "ItemKNN"):
    print("LOG", run_recbole_diffusion(name, "shop", config_dict=settings)["log"])
"""


def logs(shop, small, own):
    """The ``log`` of two runs of a process, which has a log of its own or not."""
    code = TWO.format(settings=small("Pop"), own=own)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [line.split()[1] for line in done.stdout.splitlines() if line.startswith("LOG ")]


@pytest.mark.slow
def test_two_runs_of_a_process_have_a_log_each(shop, small):
    files = logs(shop, small, own=False)
    for name, file in zip(("Pop", "ItemKNN"), files):
        assert file.startswith(f"log/{name}/")
        text = Path(file).read_text()
        assert text.count("test result: ") == 1 and text.count("device: ") == 1
    assert {str(path) for path in Path("log").rglob("*.log")} == set(files)


@pytest.mark.slow
def test_a_program_with_a_log_of_its_own_keeps_it_alone(shop, small):
    assert logs(shop, small, own=True) == ["None", "None"]
    assert not list(Path("log").rglob("*.log"))
