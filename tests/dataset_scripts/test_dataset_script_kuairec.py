"""KuaiRec: what was watched, in time order, and the watch ratio to the last digit."""

import zipfile

import kuairec
import numpy as np
import pytest

HEADER = (
    "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio"  # as published
)
FIELDS = ("user_id:token", "item_id:token", "watch_ratio:float", "timestamp:float")
GOOD = "14,148,4381,6067,2020-07-05 05:27:48.378,20200705,1593898068.378,0.7221031811438932"


def views(n=400, seed=0):
    """Lines as in big_matrix.csv, users mixed, with ties in time."""
    random = np.random.default_rng(seed)
    users, videos = random.integers(0, 30, n), random.integers(0, 90, n)
    played, length = random.integers(0, 30_000, n), random.choice([6067, 10_000, 60_000], n)
    times = 1_593_878_903.438 + random.integers(0, 20, n) / 8
    lines = []
    for u, v, p, d, t in zip(users, videos, played, length, np.round(times, 3).tolist()):
        lines.append(f"{u},{v},{p},{d},2020-07-05 00:08:23.438,20200705,{t!r},{float(p / d)!r}")
    return lines


def write(path, lines, header=HEADER, ending="\n"):
    path.write_bytes("".join(line + ending for line in [header, *lines]).encode())
    return path


def reference(lines, least=0.0):
    """The file in plain Python: a filter and a stable sort."""
    kept = [line.split(",") for line in lines]
    kept = sorted(
        (r for r in kept if float(r[7]) >= least), key=lambda row: (int(row[0]), float(row[6]))
    )
    return [FIELDS] + [(row[0], row[1], row[7], row[6]) for row in kept]


def convert(tmp_path, raw, **options):
    kuairec.convert(raw, tmp_path / "out", **options)
    return tmp_path / "out" / "out.inter"


def test_the_default_keeps_every_row_as_it_is_in_a_plain_stable_sort(tmp_path, rows, capsys):
    lines = views()
    assert rows(convert(tmp_path, write(tmp_path / "b.csv", lines))) == reference(lines)
    assert len(reference(lines)) == 401
    assert reference(lines) != reference(lines[::-1])  # control: there are ties
    said = capsys.readouterr().out
    videos = len({line.split(",")[1] for line in lines})
    assert f"read: 30 users, {videos} items, 400 interactions\n" in said
    repeated = 400 - len({(row[0], row[1], row[3]) for row in reference(lines)[1:]})
    written = f"written: 30 users, {videos} items, 400 interactions, {repeated} repeated lines"
    assert written in said
    assert "must hold: 7,176 users, 10,728 items, 12,530,806 interactions\n" in said
    assert "these counts differ in users, items, interactions" in said


@pytest.mark.parametrize("least", ["0", "0.5", "1", "2", "2.5"])
def test_min_watch_ratio_keeps_the_rows_of_at_least_so_much(tmp_path, rows, least, capsys):
    lines = views() + [GOOD.replace("0.7221031811438932", f"{ratio}") for ratio in (0.0, 0.5, 2.0)]
    raw, output = write(tmp_path / "b.csv", lines), tmp_path / "out"
    arguments = ["--input", str(raw), "--output", str(output), "--min_watch_ratio", least]
    assert kuairec.main(arguments) == 0
    expected = reference(lines, float(least))
    assert rows(output / "out.inter") == expected
    assert 1 < len(expected) and (least == "0") == (len(expected) == len(lines) + 1)
    users, items = (len({row[k] for row in expected[1:]}) for k in (0, 1))
    assert f"written: {users} users, {items} items, {len(expected) - 1} " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ratio", "stamp"),
    [
        ("0.0", "1593898068.378"),
        ("1.6666666666666668e-05", "1593898068.001"),
        ("0.1", "1593898068"),
        ("573.4571428571429", "1593898068.3780001"),
        ("1", "0.0"),
    ],
)
def test_numbers_come_back_exactly(tmp_path, rows, ratio, stamp):
    line = GOOD.replace("0.7221031811438932", ratio).replace("1593898068.378", stamp)
    _, row = rows(convert(tmp_path, write(tmp_path / "b.csv", [line])))
    assert (float(row[2]), float(row[3])) == (float(ratio), float(stamp))


def changed(column, word):
    words = GOOD.split(",")
    words[HEADER.split(",").index(column)] = word
    return ",".join(words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (GOOD.rsplit(",", 1)[0], "expected 8 columns (user_id, video_id, play_duration, "),
        (GOOD + ",1", "found 9 columns"),
        ("", "found an empty line"),
        (changed("user_id", ""), "the user_id is missing"),
        (changed("video_id", ""), "the video_id is missing"),
        (changed("timestamp", ""), "the timestamp is missing"),
        (changed("watch_ratio", ""), "the watch_ratio is missing"),
        (changed("user_id", "14.0"), "user_id '14.0' is not a whole number"),
        (changed("video_id", "-1"), "video_id '-1' is not a whole number"),
        (changed("timestamp", "soon"), "timestamp 'soon' is not a number of 0 or more"),
        (changed("timestamp", "-1.5"), "timestamp '-1.5' is not a number of 0 or more"),
        (changed("timestamp", "nan"), "timestamp 'nan' is not a number"),
        (changed("watch_ratio", "inf"), "watch_ratio 'inf' is not a number"),
        (changed("watch_ratio", "-0.1"), "watch_ratio '-0.1' is not a number"),
        (changed("watch_ratio", "1e400"), "watch_ratio '1e400' is not a number"),
        (changed("watch_ratio", "0,5"), "found 9 columns"),
        (changed("time", "\r"), "time '\\r' is not free of control characters"),
        (changed("play_duration", "\x00"), "play_duration '\\x00' is not free of control"),
        (HEADER, "user_id 'user_id' is not a whole number"),
    ],
)
@pytest.mark.parametrize("place, block_bytes", [(1, 1000), (57, 1), (100, 1000)])
def test_a_malformed_line_is_refused_by_its_number(
    tmp_path, refused_by_line, bad, reason, place, block_bytes
):
    lines = views(99)
    lines.insert(place - 1, bad)
    raw = write(tmp_path / "b.csv", lines)
    refused_by_line(convert, raw, place + 1, reason, block_bytes=block_bytes)


def test_other_headers_and_files_that_cannot_be_read_are_refused(tmp_path, refused):
    def message(name, content=None):
        raw = tmp_path / name
        if content is not None:
            raw.write_bytes(content)
        return refused(kuairec.main, "--input", raw, "--output", tmp_path / "out").split(name)[1]

    assert message("missing.csv") == ": no such file"
    assert message("empty.csv", b"") == ": is empty"
    assert message("header.csv", f"{HEADER}\n".encode()) == ": holds a header and no rows"
    headless = message("headless.csv", f"{GOOD}\n".encode())
    assert headless.startswith(", line 1: must be the header 'user_id,video_id,play_duration,")
    swapped = HEADER.replace("timestamp,watch_ratio", "watch_ratio,timestamp")
    assert "must be the header" in message("swapped.csv", f"{swapped}\n{GOOD}\n".encode())
    assert message("plain.csv.gz", GOOD.encode()).startswith(": cannot be unpacked")
    assert not (tmp_path / "out").exists()


def test_a_ratio_that_leaves_nothing_or_is_no_number_is_refused(tmp_path, refused):
    raw = write(tmp_path / "b.csv", views())
    arguments = ["--input", str(raw), "--output", str(tmp_path / "out"), "--min_watch_ratio"]
    assert refused(kuairec.main, *arguments, 9) == f"error: {raw}: no watch_ratio is 9 or more"
    with pytest.raises(SystemExit) as stop:
        kuairec.main([*arguments, "half"])
    assert stop.value.code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["b.csv"]


def test_repeated_lines_are_written_and_counted_and_near_ones_are_not(tmp_path, rows, capsys):
    near = [changed("watch_ratio", "0.7"), changed("video_id", "1"), changed("user_id", "1")]
    raw = write(tmp_path / "b.csv", [GOOD, *near, GOOD, changed("timestamp", "1.0"), GOOD])
    assert len(rows(convert(tmp_path, raw))) == 8
    assert "7 interactions, 3 repeated lines among them" in capsys.readouterr().out


def test_the_zip_as_downloaded_gives_big_matrix_csv(tmp_path):
    plain = write(tmp_path / "big_matrix.csv", views(150))
    with zipfile.ZipFile(tmp_path / "KuaiRec.zip", "w") as archive:
        archive.write(plain, "KuaiRec 2.0/data/big_matrix.csv")
        for other in ("small_matrix.csv", "user_features.csv"):
            archive.writestr(f"KuaiRec 2.0/data/{other}", "1\n")
    whole = convert(tmp_path, plain).read_bytes()
    assert convert(tmp_path, tmp_path / "KuaiRec.zip").read_bytes() == whole
