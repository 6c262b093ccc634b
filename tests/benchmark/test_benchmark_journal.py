"""The journal of a benchmark: what is written stays, whatever happens."""

import json

import pytest

from recbole_diffusion.benchmark.journal import FORMAT, Journal, State, read_journal


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


def test_a_journal_of_a_newer_format_is_refused_in_one_sentence(tmp_path):
    path = tmp_path / "journal.jsonl"
    records = [{"kind": "sitting", "format": FORMAT}, {"kind": "of tomorrow"}]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert read_journal(path) == records  # the control: its own format
    records[0]["format"] = FORMAT + 1
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    with pytest.raises(ValueError, match=f"has format {FORMAT + 1}.* up to {FORMAT}: ") as refusal:
        read_journal(path)
    assert "\n" not in str(refusal.value)


def run_record(name, number=0, **changes):
    where = {"kind": "run", "id": name, "label": "a", "phase": "seed", "number": number}
    return where | {"status": "done", "result": {}} | changes


def test_of_what_is_recorded_twice_the_last_counts_and_all_that_was_done_is_known():
    records = [
        {"kind": "plan", "plan": {"n": 1}},
        {"kind": "protocol", "protocol": {"n": 1}},
        {"kind": "refused", "reasons": {"b": "why"}},
        run_record("first"),
        run_record("other", number=1),
        {"kind": "plan", "plan": {"n": 2}},
        run_record("second"),
        {"kind": "outdated", "label": "a", "phase": "seed", "number": 1},
    ]
    state = State(records)
    assert (state.plan, state.protocol, state.refused) == ({"n": 2}, {"n": 1}, {"b": "why"})
    assert {where: run["id"] for where, run in state.runs.items()} == {("a", "seed", 0): "second"}
    assert list(state.done) == ["first", "other", "second"]
    before = State(records[:-2])  # the control
    assert {run["id"] for run in before.runs.values()} == {"first", "other"}


def test_a_record_of_no_known_kind_is_refused():
    with pytest.raises(ValueError, match="'rnu'"):
        State([{"kind": "rnu"}])
