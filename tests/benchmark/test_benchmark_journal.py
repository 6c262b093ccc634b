"""The journal of a benchmark: what is written stays, whatever happens."""

import json
import os

import pytest

from recbole_diffusion.benchmark.journal import FORMAT, Journal, JournalError, State, read_journal


def said(text):
    """A small record."""
    return {"kind": "refused", "reasons": {"a": text}}


def write(path, *texts):
    with Journal(path) as journal:
        for text in texts:
            journal.append(said(text))


def test_records_come_back_in_order_over_several_sittings(tmp_path):
    path = tmp_path / "new" / "journal.jsonl"
    assert read_journal(path) == []
    write(path, "a\nb", "c")
    write(path, "d", "e")
    assert read_journal(path) == [said("a\nb"), said("c"), said("d"), said("e")]


def test_half_a_line_is_forgotten_and_the_next_record_is_whole(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, "0", "1")
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole) - 1):  # as a kill leaves it
        path.write_bytes(whole[:end])
        assert read_journal(path) == [said("0")]
    write(path, "2")
    assert read_journal(path) == [said("0"), said("2")]
    path.write_bytes(whole[:-1])  # the control: nothing is missing but the end of the line
    write(path, "2")
    assert read_journal(path) == [said("0"), said("1"), said("2")]


def test_a_record_is_on_disk_when_append_returns(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append(said("0"))
        assert read_journal(journal.path) == [said("0")]


def test_nothing_is_made_or_changed_before_the_first_record(tmp_path):
    path = tmp_path / "folder" / "journal.jsonl"
    with Journal(path):
        pass
    assert not path.parent.exists()
    write(path, "0", "1")
    path.write_bytes(path.read_bytes()[:-4])
    half = path.read_bytes()
    with Journal(path):
        pass
    assert path.read_bytes() == half


def test_two_writers_are_refused_and_one_after_the_other_is_not(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as early, Journal(path) as late:  # both before there is a file
        early.append(said("0"))
        with pytest.raises(ValueError, match="another benchmark has begun to write"):
            late.append(said("1"))
        with pytest.raises(ValueError, match="another benchmark is writing"):
            Journal(path)
    write(path, "2")
    assert read_journal(path) == [said("0"), said("2")]


def test_on_a_full_disk_nothing_of_a_record_is_left(tmp_path, monkeypatch):
    path = tmp_path / "journal.jsonl"
    write(path, "0")
    before, pwrite = path.read_bytes(), os.pwrite

    def full(file, content, at):
        return pwrite(file, content[:10], at)

    with Journal(path) as journal:
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(ValueError, match="journal.jsonl cannot be written: only 10 of"):
            journal.append(said("1"))
        assert path.read_bytes() == before
        monkeypatch.setattr(os, "pwrite", pwrite)
        journal.append(said("2"))
    assert read_journal(path) == [said("0"), said("2")]


def test_a_line_that_is_no_record_is_named(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text(json.dumps(said("0")) + "\nnonsense\n")
    with pytest.raises(ValueError, match="journal.jsonl, line 2"):
        read_journal(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match="cannot read .*journal.jsonl: Is a directory"):
        read_journal(path)


def test_a_journal_of_a_newer_format_is_refused_in_one_sentence(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, "0")
    assert read_journal(path) == [said("0")]  # the control: its own format
    records = [{"kind": "sitting", "format": FORMAT + 1}, {"kind": "of tomorrow"}]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    with pytest.raises(ValueError, match=f"has format {FORMAT + 1}.* up to {FORMAT}: ") as refusal:
        read_journal(path)
    assert "\n" not in str(refusal.value)


def changed(content):
    """Every way to change one byte, and every line deleted, doubled or moved, with words."""
    for place in range(len(content)):
        for bit in range(8):
            other = content[place] ^ (1 << bit)
            yield (
                f"bit {bit} of byte {place}",
                content[:place] + bytes([other]) + content[place + 1 :],
            )
    lines = content.splitlines(keepends=True)
    for number in range(len(lines)):
        rest = lines[:number] + lines[number + 1 :]
        if number < len(lines) - 1:  # without its last lines it is that of an earlier kill
            yield f"no line {number}", b"".join(rest)
        yield f"line {number} twice", b"".join([*lines[: number + 1], *lines[number:]])
        for place in range(len(lines)):
            if place != number:
                moved = [*rest[:place], lines[number], *rest[place:]]
                yield f"line {number} at {place}", b"".join(moved)


def test_no_change_of_a_journal_goes_unseen(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, "0.25", "1")
    write(path, "2")
    content = path.read_bytes()
    for how, other in changed(content):
        path.write_bytes(other)
        with pytest.raises(JournalError, match="journal.jsonl, line [1-4] is not a record"):
            pytest.fail(f"{how}: {read_journal(path)}")
    old = b"".join(json.dumps(said(text)).encode() + b"\n" for text in ("0.25", "1"))
    path.write_bytes(old.replace(b"0.25", b"0.75"))  # the control: lines without a check
    assert read_journal(path) == [said("0.75"), said("1")]


def test_a_journal_of_an_older_format_goes_on_and_its_old_lines_are_held_from_then_on(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text(json.dumps(said("0.25")) + "\n")
    write(path, "1")
    assert read_journal(path) == [said("0.25"), said("1")]
    path.write_bytes(path.read_bytes().replace(b"0.25", b"0.75"))
    with pytest.raises(JournalError, match="line 2 .*what stood before it, was changed"):
        read_journal(path)


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
