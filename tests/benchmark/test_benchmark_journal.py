"""The journal of a benchmark: what is written stays, whatever happens."""

import pytest

from recbole_diffusion.benchmark.journal import Journal, read_journal


def test_records_come_back_in_order_over_several_sittings(tmp_path):
    path = tmp_path / "new" / "journal.jsonl"
    assert read_journal(path) == []
    for first in (0, 2):
        with Journal(path) as journal:
            journal.append({"n": first, "text": "a\nb"})
            journal.append({"n": first + 1})
    assert [record["n"] for record in read_journal(path)] == [0, 1, 2, 3]
    assert read_journal(path)[0]["text"] == "a\nb"


def test_half_a_line_is_forgotten_and_the_next_record_is_whole(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append({"n": 0})
        journal.append({"n": 1})
    path.write_bytes(path.read_bytes()[:-4])  # as a kill leaves it
    assert read_journal(path) == [{"n": 0}]
    with Journal(path) as journal:
        journal.append({"n": 2})
    assert read_journal(path) == [{"n": 0}, {"n": 2}]


def test_a_record_is_on_disk_when_append_returns(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append({"n": 0})
        assert read_journal(journal.path) == [{"n": 0}]


def test_two_writers_are_refused_and_one_after_the_other_is_not(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path):
        with pytest.raises(ValueError, match="another benchmark is writing"):
            Journal(path)
    Journal(path).file.close()


def test_a_line_that_is_no_record_is_named(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text('{"n": 0}\nnonsense\n')
    with pytest.raises(ValueError, match="line 2"):
        read_journal(path)
