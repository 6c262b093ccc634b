"""JD: the authors' split is kept, row for row, and its time numbers run along each history."""

from collections import Counter

import jd
import pytest

FILES = {
    "train.txt": ["1,10,1", "1,11,4", "2,10,2", "1,10,1"],
    "valid.txt": ["1,12,4"],
    "extra_for_test.txt": ["1,12,4", "1,13,3"],
    "test.txt": ["1,14,4", "2,10,4"],
}


def write(folder, **changed):
    folder.mkdir(exist_ok=True)
    for name, lines in FILES.items():
        lines = changed.get(name.removesuffix(".txt"), lines)
        (folder / name).write_text("".join(line + "\n" for line in lines))
    return folder


def read(rows, folder, part):
    return rows(folder / f"{folder.name}.{part}.inter")[1:]


def test_time_runs_on_from_train_to_valid_and_through_history_to_test(tmp_path, rows):
    jd.convert(write(tmp_path / "raw"), tmp_path / "mine")
    out = tmp_path / "mine"
    assert read(rows, out, "train") == [
        ("1", "10", "click", "0"),
        ("1", "11", "buy", "1"),
        ("2", "10", "comment", "0"),
        ("1", "10", "click", "2"),
    ]
    assert read(rows, out, "valid") == [("1", "12", "buy", "3")]
    assert read(rows, out, "history") == [("1", "12", "buy", "3"), ("1", "13", "favorite", "4")]
    assert read(rows, out, "test") == [("1", "14", "buy", "5"), ("2", "10", "buy", "1")]
    header = ("user_id:token", "item_id:token", "behavior:token", "timestamp:float")
    assert rows(out / "mine.test.inter")[0] == header


@pytest.mark.parametrize("part", ["train", "valid", "extra_for_test", "test"])
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("1,2", "expected 3 columns (user, item, behavior), found 2 columns"),
        ("1,2,5", "unknown behavior '5'; known: 1, 2, 3, 4"),
        ("1,2,1.0", "unknown behavior '1.0'"),
        ("1,,4", "the item is missing"),
        ("", "an empty line"),
    ],
)
def test_a_malformed_line_is_refused_by_file_and_number(tmp_path, refused, part, bad, reason):
    raw = write(tmp_path / "raw", **{part: [*FILES[f"{part}.txt"], bad]})
    message = refused(jd.main, "--input", raw, "--output", tmp_path / "jd")
    place = len(FILES[f"{part}.txt"]) + 1
    assert message.startswith(f"error: {raw / part}.txt, line {place}: ")
    assert reason in message
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.slow
def test_the_real_split_has_its_known_counts_and_is_kept_row_for_row(
    tmp_path, real_data, rows, capsys
):
    raw, out = real_data("jd"), tmp_path / "jd"
    assert jd.main(["--input", str(raw), "--output", str(out)]) == 0
    said = capsys.readouterr().out
    assert "these counts match" in said
    assert "together: 10,690 users, 12,820 items, 343,540 interactions" in said
    word = {"1": "click", "2": "comment", "3": "favorite", "4": "buy"}
    after = {"train": [], "valid": ["train"], "extra_for_test": ["train"]}
    after["test"] = ["train", "extra_for_test"]
    users = {}
    for file, before in after.items():
        lines = [line.split(",") for line in (raw / f"{file}.txt").read_text().splitlines()]
        written = read(rows, out, file.replace("extra_for_test", "history"))
        assert [row[:3] for row in written] == [(u, i, word[b]) for u, i, b in lines]
        seen = Counter(user for earlier in before for user in users[earlier])
        for user, _, _, time in written:
            assert int(time) == seen[user]
            seen[user] += 1
        users[file] = [row[0] for row in written]
