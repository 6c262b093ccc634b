"""The pages of a benchmark: what is written, whenever it is asked for."""

import json
import shutil
from pathlib import Path

import pytest

from recbole_diffusion.benchmark.report import write as pages
from recbole_diffusion.benchmark.report.write import write_pages

RESULTS = Path(__file__).parents[2] / "results"
FILES = ["leaderboard.md", "leaderboard.tex", "leaderboard.csv", "report.html"]


@pytest.fixture
def made(journal, tmp_path):
    """A benchmark with one finished run, and the command that makes it."""
    made = journal(tmp_path / "out", command="recbole-diffusion benchmark --models=SASRec")
    made.run("SASRec")
    return made


def test_all_pages_are_written_into_the_folder_with_the_command(made):
    board, files = write_pages(str(made.output))
    assert [file.name for file in files] == FILES
    assert all(file.parent == made.output for file in files)
    for name in ("leaderboard.md", "report.html"):
        assert "recbole-diffusion benchmark --models=SASRec" in (made.output / name).read_text()
    for file in files:
        assert "SASRec" in file.read_text(encoding="utf-8")
    assert [row.label for row in board.rows] == ["SASRec"]


def test_a_plan_without_a_command_has_pages_without_one(journal, tmp_path):
    made = journal(tmp_path / "out")
    made.run("SASRec")
    board, _ = write_pages(made.output)
    assert board.command == ""
    assert "Commands" not in (made.output / "report.html").read_text()


@pytest.mark.slow
def test_pages_written_again_show_what_came_since_and_the_journal_stays(made):
    write_pages(made.output)
    before = (made.output / "leaderboard.csv").read_text()
    made.run("ICDDT")
    journal = (made.output / "journal.jsonl").read_bytes()
    with open(made.output / "journal.jsonl", "ab") as file:
        file.write(b'{"kind": "run", "la')  # as another process writes
    board, _ = write_pages(made.output)
    assert {row.label for row in board.rows} == {"SASRec", "ICDDT"}
    assert (made.output / "leaderboard.csv").read_text() != before
    assert (made.output / "journal.jsonl").read_bytes().startswith(journal)


def test_a_label_of_any_letters_is_shown(journal, tmp_path):
    models = {"模型 é": {"model": "SASRec"}}
    made = journal(tmp_path / "out", models=models, command="")
    frame = made.values("SASRec", 2020)
    made.run("SASRec", frame=frame)
    lines = (made.output / "journal.jsonl").read_text().splitlines()
    record = json.loads(lines[-1]) | {"label": "模型 é"}
    (made.output / "journal.jsonl").write_text("\n".join([*lines[:-1], json.dumps(record)]) + "\n")
    _, files = write_pages(made.output)
    for file in files:
        assert "模型" in file.read_text(encoding="utf-8"), file.name


@pytest.mark.slow
def test_the_paper_check_gets_measured_means_and_no_ablation(made, monkeypatch):
    given = []
    monkeypatch.setattr(pages, "check", lambda protocol, rows: given.append((protocol, rows)) or [])
    made.run("ICDDT")
    made.run("ICDDT (one step)")
    made.run("Imported", None, phase="external")
    board, _ = write_pages(made.output)
    ((protocol, rows),) = given
    named = {row["label"]: row for row in rows}
    assert set(named) == {"ICDDT", "SASRec", "Imported"}
    assert named["Imported"]["model"] is None and named["ICDDT"]["model"] == "ICDDT"
    assert named["SASRec"]["test"]["hit@10"] == board.row("SASRec").test["hit@10"].mean
    assert named["SASRec"]["seeds"] == 1
    assert protocol["held_out_hash"] == "ab12cd"
    assert protocol["settings"]["MAX_ITEM_LIST_LENGTH"] == 20


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_without_a_benchmark_is_refused_and_stays_as_it_is(tmp_path, there):
    folder = tmp_path / "none"
    if there:
        folder.mkdir()
    with pytest.raises(ValueError, match="is not a journal of a benchmark"):
        write_pages(folder)
    assert folder.exists() == there and not list(tmp_path.glob("none/*"))


def test_the_sittings_are_on_the_page_and_in_markdown(made):
    machine = {"processor": "Made-up", "cores": 3, "memory_gib": 7.5}
    sitting = {"date": "2026-11-26T11:00:00+00:00", "commit": "abc123-dirty", "machine": machine}
    made.write(kind="sitting", format=2, versions={"torch": "9.8"}, **sitting)
    write_pages(made.output)
    for name in ("leaderboard.md", "report.html"):
        page = (made.output / name).read_text()
        for words in ("2026-11-26", "Made-up, 3 cores, 7.5 GiB", "abc123-dirty", "torch 9.8"):
            assert words in page, (name, words)


def published(source, folder, forget):
    """Copies a published benchmark, its protocol without some keys, as older versions wrote it."""
    folder = folder / source.name
    folder.mkdir()
    (folder / "users").symlink_to(source / "users")
    with open(folder / "journal.jsonl", "w", encoding="utf-8") as file:
        for line in (source / "journal.jsonl").read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            for key in forget if record["kind"] == "protocol" else ():
                record["protocol"].pop(key, None)
            file.write(json.dumps(record) + "\n")
    return folder


@pytest.mark.parametrize(
    "name",
    ["", *(pytest.param(n, marks=pytest.mark.slow) for n in ("jd", "retail", "ml-1m-diffrec"))],
)
def test_journals_from_before_the_validation_targets_were_counted_give_all_pages(
    name, made, tmp_path_factory
):
    source, there = RESULTS / name if name else made.output, tmp_path_factory.mktemp("old")
    folder = published(source, there, forget=["valid_seen_before"])
    board, files = write_pages(folder)
    assert [file.name for file in files] == FILES and all(row.config for row in board.rows)
    page = (folder / "leaderboard.md").read_text(encoding="utf-8")
    assert "of the test targets stand in their user's earlier history" in page
    shutil.rmtree(folder)
    write_pages(published(source, there, forget=[]))  # the control
    whole = (folder / "leaderboard.md").read_text(encoding="utf-8")
    assert "of the validation targets stand in their user's earlier history" in whole
    assert page.split("## ")[1:] == whole.split("## ")[1:]
