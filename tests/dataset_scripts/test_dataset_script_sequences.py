"""Sequences: whichever of the two forms a file has, each user's items come out in its order."""

import gzip

import atomic
import numpy as np
import pytest
import sequences

FIELDS = ("user_id:token", "item_id:token", "timestamp:float")
LINES = ["zoe 5 7 5", "7 i9", "adam 5 x 7 y"]
WRITTEN = [FIELDS] + [
    ("zoe", "5", "0"),
    ("zoe", "7", "1"),
    ("zoe", "5", "2"),
    ("7", "i9", "0"),
    ("adam", "5", "0"),
    ("adam", "x", "1"),
    ("adam", "7", "2"),
    ("adam", "y", "3"),
]
PAIRS = [
    "zoe 5", "7 i9", "zoe 7", "adam 5", "adam x", "zoe 5", "adam 7", "adam y",
]  # fmt: skip


def write(path, lines, ending="\n"):
    path.write_bytes("".join(line + ending for line in lines).encode("utf-8", "surrogateescape"))
    return path


def random_lines(n=40, seed=0):
    random = np.random.default_rng(seed)
    return [
        " ".join(map(str, [user, *random.integers(0, 30, random.integers(1, 9))]))
        for user in random.permutation(n)
    ]


def convert(tmp_path, raw, **sizes):
    sequences.convert(raw, tmp_path / "out", **sizes)
    return tmp_path / "out" / "out.inter"


def test_a_line_of_a_user_is_numbered_in_its_order_and_users_stay_in_that_of_the_file(
    tmp_path, rows, capsys
):
    assert rows(convert(tmp_path, write(tmp_path / "s.txt", LINES))) == WRITTEN
    said = capsys.readouterr().out
    assert said == "form: 'user item item ...' a line\nwritten: 3 users, 5 items, 8 interactions\n"


def test_pairs_of_the_same_log_mixed_among_users_give_the_same_file(tmp_path, rows, capsys):
    assert rows(convert(tmp_path, write(tmp_path / "p.txt", PAIRS))) == WRITTEN
    assert "form: 'user item' a line\n" in capsys.readouterr().out
    swapped = [*PAIRS[:2], PAIRS[5], *PAIRS[3:5], PAIRS[2], *PAIRS[6:]]
    written = rows(convert(tmp_path, write(tmp_path / "p.txt", swapped)))
    assert written != WRITTEN  # control: the order within a user is that of the file
    assert sorted(row[:2] for row in written) == sorted(row[:2] for row in WRITTEN)


@pytest.mark.parametrize("seed", range(5))
def test_a_random_file_of_either_form_comes_back_line_for_line(tmp_path, rows, seed):
    lines = random_lines(seed=seed)
    pairs = [(line.split()[0], item) for line in lines for item in line.split()[1:]]
    random = np.random.default_rng(seed)
    user_of_place = random.permutation([user for user, _ in pairs])
    queue = {user: iter([pair for pair in pairs if pair[0] == user]) for user in user_of_place}
    mixed = [" ".join(next(queue[user])) for user in user_of_place]
    for text in (lines, mixed):
        written = rows(convert(tmp_path, write(tmp_path / "s.txt", text)))[1:]
        back = {}
        for user, item, number in written:
            assert int(number) == len(back.setdefault(user, []))
            back[user].append(item)
        assert back == {line.split()[0]: line.split()[1:] for line in lines}
        assert list(back) == list(dict.fromkeys(line.split()[0] for line in text))


def test_only_spaces_and_tabs_part_words_and_marks_are_part_of_them(tmp_path, rows):
    raw = write(tmp_path / "s.txt", ['u a\u00a0b \u3000c "1'])
    assert [row[1] for row in rows_of(convert(tmp_path, raw))] == ["a\u00a0b", "\u3000c", '"1']


def rows_of(path):
    # Not splitlines, which parts lines at U+2028 too.
    return [line.split("\t") for line in path.read_text().split("\n")[1:-1]]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("", "expected a word and the items after it, found an empty line"),
        (" \t ", "found an empty line"),
        ("u9", "found only the word 'u9'"),
        ("u9 ", "found only the word 'u9'"),
        ("u9 1\r2", "holds the control character '\\r'"),
        ("u9 1\x002", "holds the control character '\\x00'"),
        ("u9\x0b1", "holds the control character '\\x0b'"),
        ("nan 1 2", "the user 'nan' would be read back as a missing value"),
        ("u9 1 NA", "the item 'NA' would be read back as a missing value"),
        ("u9 [PAD]", "the item '[PAD]' would be read back as a missing value"),
        ("u9 a\u2028b", "the item 'a\\u2028b' holds a tab or another control character"),
        ("u9 1 \udcff", "is not UTF-8"),
        ("17 1", "line {first} already"),
    ],
)
@pytest.mark.parametrize("place, block_bytes", [(2, 1 << 20), (23, 1), (41, 50)])
def test_a_malformed_line_is_refused_by_its_number(tmp_path, bad, reason, place, block_bytes):
    lines = [f"{user} 1 2 3" for user in range(17, 57)]
    lines.insert(place - 1, bad)
    raw = write(tmp_path / "s.txt", lines)
    with pytest.raises(atomic.InputError) as refusal:
        convert(tmp_path, raw, block_bytes=block_bytes)
    message = str(refusal.value)
    assert message.startswith(f"{raw}, line {place}: ")
    assert reason.format(first=1) in message
    assert "\n" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["s.txt"]


def test_of_two_bad_lines_the_first_is_named(tmp_path):
    for lines, line in ((["1 2 3", "4", "5 \x01"], 2), (["1 2 3", "5 \x01", "4"], 2)):
        with pytest.raises(atomic.InputError, match=f"line {line}: "):
            convert(tmp_path, write(tmp_path / "s.txt", lines))


def test_a_user_on_two_lines_is_refused_unless_every_line_is_a_pair(tmp_path, refused, rows):
    raw = write(tmp_path / "s.txt", [*PAIRS, "bob 1 2"])
    message = refused(sequences.main, "--input", raw, "--output", tmp_path / "out")
    assert message == (
        f"error: {raw}, line 3: user 'zoe' has line 1 already "
        "(a file with one interaction a line must have two words on every line)"
    )
    assert not (tmp_path / "out").exists()
    written = rows(convert(tmp_path, write(tmp_path / "s.txt", [*PAIRS, "bob 1"])))
    assert written == [*WRITTEN, ("bob", "1", "0")]  # control


def test_known_counts_are_compared_by_the_name_of_the_output(tmp_path, capsys):
    raw = write(tmp_path / "s.txt", LINES)
    for name, counts in sequences.FULL.items():
        sequences.convert(raw, tmp_path / name)
        said = capsys.readouterr().out
        assert f"{name} as published must hold: {counts['users']:,} users" in said
        assert "these counts differ in users, items, interactions" in said
    sequences.convert(raw, tmp_path / "mine")
    assert "must hold" not in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file", "said"),
    [
        ("beauty", "beauty/Beauty.txt", "22,363 users, 12,101 items, 198,502 interactions"),
        ("ml-1m", "ml-1m/sequences.txt.gz", "6,040 users, 3,706 items, 1,000,209 interactions"),
    ],
)
def test_the_real_sequences_have_their_known_counts_and_come_back_line_for_line(
    tmp_path, shared_path, capsys, rows, name, file, said
):
    raw = shared_path(f"data/{file}")
    assert sequences.main(["--input", str(raw), "--output", str(tmp_path / name)]) == 0
    told = capsys.readouterr().out
    assert "form: 'user item item ...' a line\n" in told
    assert f"written: {said}\n" in told
    assert told.endswith("these counts match\n")
    with gzip.open(raw, "rt") if raw.suffix == ".gz" else open(raw) as text:
        lines = [line.split() for line in text]
    expected = [(line[0], item, str(i)) for line in lines for i, item in enumerate(line[1:])]
    assert rows(tmp_path / name / f"{name}.inter") == [FIELDS, *expected]


@pytest.mark.parametrize("block_bytes", [1, 7, 64, 1000])
@pytest.mark.parametrize("lines", [LINES, random_lines()])
def test_the_size_of_blocks_changes_no_byte_of_a_line_a_user(tmp_path, lines, block_bytes):
    raw = write(tmp_path / "s.txt", lines)
    whole = convert(tmp_path, raw).read_bytes()
    assert convert(tmp_path, raw, block_bytes=block_bytes).read_bytes() == whole


def test_tabs_and_more_spaces_part_words_too(tmp_path):
    raws = [write(tmp_path / "s.txt", LINES)]
    raws.append(write(tmp_path / "tabs.txt", [line.replace(" ", "\t", 1) for line in LINES]))
    raws.append(write(tmp_path / "wide.txt", [f" {line.replace(' ', '  ')}\t " for line in LINES]))
    assert len({convert(tmp_path, raw).read_bytes() for raw in raws}) == 1
