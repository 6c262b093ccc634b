"""MovieLens: whatever the form of the archive, the same file of ratings comes out."""

import zipfile
from pathlib import Path

import atomic
import movielens
import numpy as np
import pytest
import recbole

FIELDS = ("user_id:token", "item_id:token", "rating:float", "timestamp:float")
CSV_HEADER = "userId,movieId,rating,timestamp"
# Archive: its folder, its file of ratings, what parts the columns, the header, the line ending, how
# a whole rating is written, and other files it holds.
ARCHIVES = {
    "ml-100k": ("ml-100k", "u.data", "\t", "", "\n", "{:g}", ["u1.base", "u.item", "u.info"]),
    "ml-1m": ("ml-1m", "ratings.dat", "::", "", "\n", "{:g}", ["movies.dat", "users.dat"]),
    "ml-10m": ("ml-10M100K", "ratings.dat", "::", "", "\n", "{:g}", ["movies.dat", "tags.dat"]),
    "ml-20m": ("ml-20m", "ratings.csv", ",", CSV_HEADER, "\r\n", "{:.1f}", ["tags.csv", "a.csv"]),
    "ml-latest-small": (
        "ml-latest-small", "ratings.csv", ",", CSV_HEADER, "\r\n", "{:.1f}", ["movies.csv"]
    ),
}  # fmt: skip
FILES = {"u.data": "\t", "ratings.dat": "::", "ratings.csv": ","}


def ratings(n=300, seed=0):
    """Rows of user, item, rating and time in no order, with ties in time."""
    random = np.random.default_rng(seed)
    columns = [random.integers(1, 12, n), random.integers(1, 50, n)]
    columns += [random.integers(1, 11, n) / 2, 978_300_000 + random.integers(0, 9, n)]
    return [(int(u), int(i), float(r), int(t)) for u, i, r, t in zip(*columns)]


def reference(log, min_rating=0):
    """The file in plain Python: a stable sort by user and time."""
    kept = sorted((r for r in log if r[2] >= min_rating), key=lambda row: (row[0], row[3]))
    return [FIELDS] + [(str(u), str(i), f"{r:g}", str(t)) for u, i, r, t in kept]


def text_of(name, log):
    _, _, separator, header, ending, form, _ = ARCHIVES[name]
    lines = [separator.join([str(u), str(i), form.format(r), str(t)]) for u, i, r, t in log]
    return "".join(line + ending for line in [header] * bool(header) + lines).encode()


def pack(path, name, log):
    """Writes an archive as GroupLens does: a zip with one folder of several files."""
    folder, file, *_, others = ARCHIVES[name]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{folder}/", "")
        for other in [*others, "README"]:
            archive.writestr(f"{folder}/{other}", "1\t2\t3\n")
        archive.writestr(f"{folder}/{file}", text_of(name, log))
        archive.writestr(f"__MACOSX/{folder}/{file}", "\x00")
    return path


def write(path, lines):
    """Writes a file of ratings of the form its name says."""
    header = [CSV_HEADER] if path.suffix == ".csv" else []
    path.write_text("".join(line + "\n" for line in [*header, *lines]))
    return path


@pytest.mark.parametrize("name", ARCHIVES)
def test_zip_folder_and_file_of_every_archive_are_a_plain_stable_sort(name, tmp_path, rows):
    log = ratings()
    zipped = pack(tmp_path / f"{name}.zip", name, log)
    folder, file, *_ = ARCHIVES[name]
    with zipfile.ZipFile(zipped) as archive:
        archive.extractall(tmp_path)
    loose = tmp_path / "loose" / file
    loose.parent.mkdir()
    marked = b"\xef\xbb\xbf" + text_of(name, log).replace(b"\r\n", b"\n").removesuffix(b"\n")
    loose.write_bytes(marked)
    for i, raw in enumerate((zipped, tmp_path / folder, tmp_path / folder / file, loose)):
        movielens.convert(raw, tmp_path / str(i))
        assert rows(tmp_path / str(i) / f"{i}.inter") == reference(log)
    assert reference(log) != reference(log[::-1])  # control: there are ties
    assert reference(log) != reference(log, min_rating=0.6)


@pytest.mark.parametrize("block_bytes", [1, 7, 64, 1000])
def test_the_size_of_blocks_changes_no_byte(tmp_path, rows, block_bytes):
    for name in ("ml-1m", "ml-20m"):
        raw = pack(tmp_path / f"{name}.zip", name, ratings(100))
        movielens.convert(raw, tmp_path / "out", block_bytes=block_bytes)
        assert rows(tmp_path / "out" / "out.inter") == reference(ratings(100))


@pytest.mark.parametrize("min_rating", ["4", "3.5", "3.7", "0", "5"])
def test_min_rating_keeps_the_ratings_of_at_least_so_much(tmp_path, rows, capsys, min_rating):
    log, raw = ratings(), tmp_path / "ml-10m.zip"
    pack(raw, "ml-10m", log)
    arguments = ["--input", str(raw), "--output", str(tmp_path / "ml-10m")]
    assert movielens.main([*arguments, "--min_rating", min_rating]) == 0
    expected = reference(log, float(min_rating))
    assert rows(tmp_path / "ml-10m" / "ml-10m.inter") == expected
    said = capsys.readouterr().out
    assert f"read: 11 users, {len({r[1] for r in log})} items, 300 interactions\n" in said
    users, items = (len({row[k] for row in expected[1:]}) for k in (0, 1))
    assert f"written: {users} users, {items} items, {len(expected) - 1} interactions\n" in said
    assert "must hold" not in said


def test_a_min_rating_that_leaves_nothing_or_is_no_number_is_refused(tmp_path, refused, capsys):
    raw = pack(tmp_path / "a.zip", "ml-1m", ratings())
    arguments = ["--input", str(raw), "--output", str(tmp_path / "out"), "--min_rating"]
    message = refused(movielens.main, *arguments, "5.5")
    assert message == f"error: {raw}: no rating is 5.5 or more"
    with pytest.raises(SystemExit) as stop:
        movielens.main([*arguments, "four"])
    assert stop.value.code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("stars", ["0.5", "1", "1.0", "2.5", "4.0", "4.5", "5", "5.0"])
def test_a_rating_is_written_without_a_needless_zero(tmp_path, rows, stars):
    raw = write(tmp_path / "ratings.dat", [f"1::2::{stars}::9"])
    movielens.convert(raw, tmp_path / "out")
    assert rows(tmp_path / "out" / "out.inter")[1] == ("1", "2", f"{float(stars):g}", "9")


def test_large_ids_and_stamps_are_exact(tmp_path, rows):
    large = "999999999999999999"
    raw = write(tmp_path / "u.data", [f"{large}\t{large}\t3\t{large}"])
    movielens.convert(raw, tmp_path / "out")
    assert rows(tmp_path / "out" / "out.inter")[1] == (large, large, "3", large)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("1|2|3", "(user, item, rating, time) parted by {!r}, found 3 columns"),
        ("1|2|3|4|5", "found 5 columns"),
        ("1 2 3 4", "found 1 columns"),
        ("", "found an empty line"),
        ("|2|3|4", "the user is missing"),
        ("1||3|4", "the item is missing"),
        ("1|2| |4", "the rating is missing"),
        ("1|2|3|", "the time is missing"),
        ("1.0|2|3|4", "user '1.0' is not a whole number"),
        ("1|-2|3|4", "item '-2' is not a whole number"),
        ("1|2e1|3|4", "item '2e1' is not a whole number"),
        ("1|2|3|4.5", "time '4.5' is not a whole number"),
        ("1|2|3|1234567890123456789", "time '1234567890123456789' is not a whole number"),
        ("1|2|978300760|4", "rating '978300760' is not 0.5 to 5 in half stars"),
        ("1|2|0|4", "rating '0' is not"),
        ("1|2|5.5|4", "rating '5.5' is not"),
        ("1|2|3.7|4", "rating '3.7' is not"),
        ("1|2|nan|4", "rating 'nan' is not"),
        ('"1"|2|3|4', "user '\"1\"' is not a whole number"),
        ("1|2|3|4\r5", "time '4\\r5' is not a whole number"),
        ("1|2|3|4 ", "time '4 ' is not a whole number"),
        ("x1|2|3|4", "user 'x1' is not a whole number"),
    ],
)
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("place", [1, 57, 100])
def test_a_malformed_line_is_refused_by_its_number(tmp_path, refused, file, bad, reason, place):
    separator = FILES[file]
    lines = [separator.join(map("{:g}".format, row)) for row in ratings(99)]
    lines = [line.replace("9.783e+08", "978300000") for line in lines]
    lines.insert(place - 1, bad.replace("|", separator))
    raw = write(tmp_path / file, lines)
    message = refused(movielens.main, "--input", raw, "--output", tmp_path / "out")
    assert message.startswith(f"error: {raw}, line {place + (file == 'ratings.csv')}: ")
    assert reason.format(separator) in message
    assert [path.name for path in tmp_path.iterdir()] == [file]


@pytest.mark.parametrize("file", FILES)
def test_the_columns_of_another_form_are_refused(tmp_path, refused, file):
    for separator in {"\t", "::", ",", ":", ":::"} - {FILES[file]}:
        raw = write(tmp_path / file, [separator.join("1239")])
        message = refused(movielens.main, "--input", raw, "--output", tmp_path / "out")
        assert f"{raw}, line " in message


@pytest.mark.parametrize("block_bytes", [1, 40, 1 << 20])
def test_line_numbers_hold_across_blocks_and_name_the_first_of_two(tmp_path, block_bytes):
    lines = [f"{i},1,4.0,9" for i in range(50)]
    lines[30], lines[40] = "30,1,6.0,9", "40,1,9"
    raw = write(tmp_path / "ratings.csv", lines)
    with pytest.raises(atomic.InputError, match="line 32: rating '6.0'"):
        movielens.convert(raw, tmp_path / "out", block_bytes=block_bytes)


def test_files_that_cannot_be_read_are_refused(tmp_path, refused):
    def message(name, content=None):
        raw = tmp_path / name
        if content is not None:
            raw.write_bytes(content)
        return refused(movielens.main, "--input", raw, "--output", tmp_path / "out").split(name)[1]

    none = ": must be or hold one of u.data, ratings.dat, ratings.csv, and holds none"
    assert message("missing.zip") == message("u.data") == ": no such file or folder"
    assert message("other.csv", b"1,2,3,4\n") == none
    assert message("u.data", b"") == ": is empty"
    assert message("ratings.csv", CSV_HEADER.encode()) == ": holds a header and no rows"
    assert message("ratings.csv", b"1,2,3,4\n").startswith(", line 1: must be the header 'userId,")
    assert message("plain.zip", b"1::2::3::4\n").startswith(": cannot be unpacked")
    whole = pack(tmp_path / "whole.zip", "ml-1m", ratings()).read_bytes()
    assert message("cut.zip", whole[:-30]).startswith(": cannot be unpacked")
    place = whole.index(b"ml-1m/ratings.dat") + 100
    damaged = whole[:place] + bytes(9) + whole[place + 9 :]
    assert message("damaged.zip", damaged).startswith(": cannot be unpacked")
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("ml-1m/movies.dat", "1::Toy Story::Animation\n")
    assert message("none.zip") == none
    folder = tmp_path / "both"
    folder.mkdir()
    assert message("both") == none
    for file in ("u.data", "ratings.csv"):
        write(folder / file, ["1"])
    assert message("both").endswith(", and holds ratings.csv, u.data")
    assert not (tmp_path / "out").exists()


def test_an_archive_is_compared_with_its_published_counts_by_the_name_of_the_output(
    tmp_path, capsys
):
    raw = pack(tmp_path / "a.zip", "ml-20m", ratings())
    assert set(movielens.FULL) == set(ARCHIVES)
    for name, counts in movielens.FULL.items():
        movielens.convert(raw, tmp_path / name)
        said = capsys.readouterr().out
        assert f"{name} as published must hold: {counts['users']:,} users" in said
        assert "these counts differ in users, items, interactions" in said
    movielens.convert(raw, tmp_path / "mine")
    assert "must hold" not in capsys.readouterr().out


def test_the_ml_100k_of_recboles_wheel_is_kept_row_for_row(tmp_path, rows, capsys):
    wheel = Path(recbole.__file__).parent / "dataset_example/ml-100k/ml-100k.inter"
    header, *log = rows(wheel)
    write(tmp_path / "u.data", ["\t".join(row) for row in log])
    output = tmp_path / "ml-100k"
    assert movielens.main(["--input", str(tmp_path), "--output", str(output)]) == 0
    said = capsys.readouterr().out
    assert "written: 943 users, 1,682 items, 100,000 interactions" in said
    assert "these counts match" in said
    log.sort(key=lambda row: (int(row[0]), int(row[3])))
    assert rows(output / "ml-100k.inter") == [header, *log]
