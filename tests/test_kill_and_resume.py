"""benchmarks/kill_and_resume.py: two models come through, and a fault would be seen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SCRIPT = REPOSITORY / "benchmarks" / "kill_and_resume.py"


def table(arguments, folder):
    """Exit code and rows of a call of the script, or of a program that calls it."""
    paths = [str(REPOSITORY), str(REPOSITORY / "benchmarks"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    return done.returncode, [line.split(" | ") for line in done.stdout.splitlines()[2:]]


@pytest.mark.slow
def test_killed_trainings_end_as_those_left_alone(tmp_path):
    code, rows = table([SCRIPT, "--kills=3", "--models=DreamRec,LightGCN"], tmp_path)
    assert code == 0, rows
    assert [row[1] for row in rows] == ["3", "3"]
    assert all(row[-1] == "yes |" for row in rows)


@pytest.mark.slow
def test_a_state_that_is_not_restored_is_seen(tmp_path):
    """The control: random generators that begin anew after a kill."""
    program = (
        "import sys, kill_and_resume\n"
        "from recbole_diffusion.trainer import trainer\n"
        "trainer.set_random_states = lambda states: None\n"
        "sys.exit(kill_and_resume.main(['--kills=4', '--models=DreamRec']))\n"
    )
    code, rows = table(["-c", program], tmp_path)
    assert code == 1 and "differs" in rows[0][-1]
