"""Whole journals that older versions wrote are reported with the figures that those reported.

``older/`` holds what their code left of one small benchmark: journal, values per user and CSV.
"""

import csv
import shutil
from pathlib import Path

import pytest

pytest.importorskip("statsmodels", reason="the extra 'benchmark' is not installed")
pytest.importorskip("pyarrow", reason="the extra 'benchmark' is not installed")

from recbole_diffusion.benchmark.journal import Journal  # noqa: E402
from recbole_diffusion.benchmark.report.write import write_pages  # noqa: E402
from recbole_diffusion.cli.main import main  # noqa: E402

OLDER = Path(__file__).parent / "older"
RESULTS = Path(__file__).parents[2] / "results"
PUBLISHED = sorted(path.parent for path in RESULTS.glob("*/journal.jsonl"))
VERSIONS = sorted(OLDER.iterdir())


def rows(folder):
    with open(folder / "leaderboard.csv", encoding="utf-8", newline="") as file:
        return {row["label"]: row for row in csv.DictReader(file)}


def agree(before, now):
    """Asserts that all that stood in a CSV stands there again."""
    assert list(before) == list(now)
    for label, row in before.items():
        for key, value in row.items():
            try:  # SciPy's quantiles differ by a last digit between versions
                assert float(now[label][key]) == pytest.approx(float(value), rel=1e-6), key
            except ValueError:
                assert now[label][key] == value, key


def copied(folder, there):
    shutil.copytree(folder / "users", there / "users")
    shutil.copy(folder / "journal.jsonl", there)
    return there


@pytest.mark.slow
@pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: folder.name)
def test_a_journal_of_an_older_version_is_reported_with_its_figures(folder, tmp_path, capsys):
    before = rows(folder)
    there = copied(folder, tmp_path)
    assert len(before) > 3 and float(before["MarkovChain"]["ndcg@5"]) > 0
    assert main(["benchmark", "--report", f"--output={there}"]) == 0
    assert "Protocol: leave-one-out of buy in time order, 39 test inter" in capsys.readouterr().out
    agree(before, rows(there))
    records = (there / "journal.jsonl").read_bytes()
    assert records == (folder / "journal.jsonl").read_bytes()  # to report changes nothing
    with Journal(there / "journal.jsonl") as journal:  # as it does when it goes on
        journal.append({"kind": "outdated", "label": "Pop", "phase": "seed", "number": 1})
    board, _ = write_pages(there)
    assert board.row("Pop").seeds == [2020]


@pytest.mark.slow
@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_the_published_results_are_what_their_journals_say(folder, tmp_path):
    there = copied(folder, tmp_path)
    write_pages(there)
    agree(rows(folder), rows(there))
