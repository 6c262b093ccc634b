"""Zhihu: the authors' split is kept, sequence for sequence, and no sequence is in two parts."""

from collections import Counter

import numpy as np
import pytest
import zhihu

FIELDS = ("user_id:token", "item_id:token", "timestamp:float")
LINES = ["train\t5 7 5", "val\t7 0", "train\t9", "test\t5 8", "val\t0 1 2", "train\t5 7 5"]


def write(path, lines, ending="\n"):
    path.write_bytes("".join(line + ending for line in lines).encode())
    return path


def random_lines(n=60, seed=0):
    random = np.random.default_rng(seed)
    parts = ["train", "val", "test", *random.choice(["train", "val", "test"], n)]
    items = [" ".join(map(str, random.integers(0, 30, random.integers(1, 9)))) for _ in parts]
    return [f"{part}\t{sequence}" for part, sequence in zip(parts, items)]


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def convert(tmp_path, raw, **sizes):
    zhihu.convert(raw, tmp_path / "out", **sizes)
    return content(tmp_path / "out")


def test_a_sequence_is_a_user_named_by_its_line_and_stays_in_its_part_and_order(
    tmp_path, rows, capsys
):
    zhihu.convert(write(tmp_path / "s.txt", LINES), tmp_path / "mine")
    read = {part: rows(tmp_path / "mine" / f"mine.{part}.inter") for part in zhihu.PARTS.values()}
    assert read == {
        "train": [
            FIELDS,
            ("1", "5", "0"),
            ("1", "7", "1"),
            ("1", "5", "2"),
            ("3", "9", "0"),
            ("6", "5", "0"),
            ("6", "7", "1"),
            ("6", "5", "2"),
        ],
        "valid": [
            FIELDS,
            ("2", "7", "0"),
            ("2", "0", "1"),
            ("5", "0", "0"),
            ("5", "1", "1"),
            ("5", "2", "2"),
        ],
        "test": [FIELDS, ("4", "5", "0"), ("4", "8", "1")],
    }
    said = capsys.readouterr().out
    assert "valid: 2 sequences, 4 items, 5 interactions\n" in said
    assert "together: 6 sequences, 7 items, 14 interactions\n" in said
    assert "these counts differ in train, valid, test, items, interactions" in said


@pytest.mark.parametrize("seed", range(5))
def test_a_random_split_comes_back_and_its_parts_share_no_user(tmp_path, rows, seed):
    lines = random_lines(seed=seed)
    zhihu.convert(write(tmp_path / "s.txt", lines), tmp_path / "out")
    users, back = [], {}
    for word, part in zhihu.PARTS.items():
        written = rows(tmp_path / "out" / f"out.{part}.inter")[1:]
        for user, item, number in written:
            assert int(number) == len(back.setdefault((int(user), word), []))
            back[int(user), word].append(item)
        users += sorted({user for user, _, _ in written})
    assert max(Counter(users).values()) == 1
    assert [f"{word}\t{' '.join(items)}" for (_, word), items in sorted(back.items())] == lines
    assert len({line for line in lines}) > 3  # control: not all alike


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("valid\t1 2", "unknown part 'valid'; known: train, val, test"),
        ("Train\t1 2", "unknown part 'Train'"),
        ("7 1 2", "unknown part '7'"),
        ("nan 1 2", "unknown part 'nan'"),
        ("", "an empty line"),
        ("train", "found only the word 'train'"),
        ("train\t", "found only the word 'train'"),
        ("test\t1 NA", "the item 'NA' would be read back as a missing value"),
        ("test\t1\x00", "holds the control character '\\x00'"),
    ],
)
@pytest.mark.parametrize("place, block_bytes", [(1, 1 << 20), (30, 1), (64, 50)])
def test_a_malformed_line_is_refused_by_its_number(
    tmp_path, refused_by_line, bad, reason, place, block_bytes
):
    lines = random_lines()
    lines.insert(place - 1, bad)
    raw = write(tmp_path / "s.txt", lines)
    refused_by_line(convert, raw, place, reason, block_bytes=block_bytes)


@pytest.mark.parametrize("part", zhihu.PARTS)
def test_a_split_without_a_part_is_refused(tmp_path, refused, part):
    raw = write(tmp_path / "s.txt", [line for line in LINES if not line.startswith(part)])
    message = refused(zhihu.main, "--input", raw, "--output", tmp_path / "out")
    assert message == f"error: {raw}: holds no sequence of the part {part!r}"
    assert [path.name for path in tmp_path.iterdir()] == ["s.txt"]


def test_the_real_split_has_its_known_counts_and_is_kept_line_for_line(
    tmp_path, shared_path, rows, capsys
):
    raw, out = shared_path("data/zhihu/sequences.txt"), tmp_path / "zhihu"
    assert zhihu.main(["--input", str(raw), "--output", str(out)]) == 0
    said = capsys.readouterr().out
    assert "train: 9,371 sequences, 4,751 items, 61,641 interactions\n" in said
    assert "together: 11,714 sequences, 4,838 items, 77,712 interactions\n" in said
    assert said.endswith("these counts match\n")
    expected = {part: [FIELDS] for part in zhihu.PARTS.values()}
    for line, text in enumerate(raw.read_text().splitlines(), start=1):
        word, items = text.split("\t")
        expected[zhihu.PARTS[word]] += [
            (str(line), item, str(i)) for i, item in enumerate(items.split(" "))
        ]
    for part, written in expected.items():
        assert rows(out / f"zhihu.{part}.inter") == written


def test_a_space_parts_as_a_tab_does(tmp_path):
    plain = write(tmp_path / "s.txt", random_lines())
    spaces = write(tmp_path / "spaces.txt", [line.replace("\t", " ") for line in random_lines()])
    assert convert(tmp_path, spaces) == convert(tmp_path, plain)
