"""YooChoose: sessions in time order to the millisecond, and nothing left out unasked."""

import zipfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
import yoochoose

FIELDS = ("user_id:token", "item_id:token", "timestamp:float")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def clicks(n=600, seed=0, n_sessions=80):
    """Lines as in yoochoose-clicks.dat, sessions mixed, with ties in time."""
    random = np.random.default_rng(seed)
    sessions, items = random.integers(1, n_sessions + 1, n), 214_500_000 + random.zipf(1.5, n) % 90
    times = [stamp(1_396_867_869_277 + int(k)) for k in random.integers(0, 30, n) * 499]
    categories = random.choice(["0", "S", "7", "2089046317", ""], n)
    return [",".join(map(str, row)) for row in zip(sessions, times, items, categories)]


def stamp(milliseconds):
    time = EPOCH + timedelta(milliseconds=milliseconds)
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"


def milliseconds(stamp):
    return (datetime.fromisoformat(stamp.replace("Z", "+00:00")) - EPOCH) // timedelta(
        milliseconds=1
    )


def write(path, lines, ending="\n"):
    path.write_bytes("".join(line + ending for line in lines).encode())
    return path


def reference(lines, min_session=1, min_item=1):
    """The file in plain Python: filters until both hold, then a stable sort."""
    kept = [line.split(",") for line in lines]
    while True:
        sessions, items = (Counter(row[k] for row in kept) for k in (0, 2))
        few = [r for r in kept if sessions[r[0]] < min_session or items[r[2]] < min_item]
        if not few:
            break
        kept = [row for row in kept if row not in few]
    kept.sort(key=lambda row: (int(row[0]), milliseconds(row[1])))
    return [(s, i, Decimal(milliseconds(time)) / 1000) for s, time, i, _ in kept]


def convert(tmp_path, raw, **options):
    yoochoose.convert(raw, tmp_path / "out", **options)
    return tmp_path / "out" / "out.inter"


def read(rows, path):
    header, *written = rows(path)
    assert header == FIELDS
    return [(session, item, Decimal(time)) for session, item, time in written]


def test_sessions_are_ordered_by_time_and_ties_stay_in_file_order(tmp_path, rows):
    lines = [
        "10,2014-04-07T10:51:09.277Z,214536502,0",
        "9,2014-04-07T10:54:09.868Z,214536500,S",
        "9,2014-04-07T10:54:09.001Z,214536506,0",
        "9,2014-04-07T10:54:09.868Z,214577561,12",
        "9,2014-04-07T10:54:09.868Z,214536500,2089046317",
    ]
    assert rows(convert(tmp_path, write(tmp_path / "c.dat", lines))) == [
        FIELDS,
        ("9", "214536506", "1396868049.001"),
        ("9", "214536500", "1396868049.868"),
        ("9", "214577561", "1396868049.868"),
        ("9", "214536500", "1396868049.868"),
        ("10", "214536502", "1396867869.277"),
    ]


def test_every_millisecond_is_written_exactly(tmp_path, rows):
    times = [1_396_867_869_000 + k for k in range(1000)]
    lines = [f"1,{stamp(time)},{time % 1000},0" for time in times[::-1]]
    written = read(rows, convert(tmp_path, write(tmp_path / "c.dat", lines)))
    assert written == [("1", str(k), Decimal(time) / 1000) for k, time in enumerate(times)]
    assert len({np.float32(time / 1000) for time in times}) < 10  # control: float32 would not do


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("1970-01-01T00:00:00.000Z", "0"),
        ("1970-01-01T00:00:00Z", "0"),
        ("2014-04-07T10:51:09Z", "1396867869"),
        ("2014-04-07T10:51:09.2Z", "1396867869.2"),
        ("2014-04-07T10:51:09.02Z", "1396867869.02"),
        ("2012-02-29T23:59:59.999Z", "1330559999.999"),
        ("2262-01-01T00:00:00.001Z", "9214646400.001"),
    ],
)
def test_a_time_becomes_seconds_since_1970(tmp_path, rows, time, seconds):
    raw = write(tmp_path / "c.dat", [f"1,{time},2,0", "2,2014-04-07T10:51:09.277Z,2,0"])
    assert read(rows, convert(tmp_path, raw))[0][2] == Decimal(seconds)


def test_the_order_is_that_of_a_plain_stable_sort_and_nothing_is_left_out(tmp_path, rows, capsys):
    lines = clicks()
    written = read(rows, convert(tmp_path, write(tmp_path / "c.dat", lines)))
    assert written == reference(lines)
    assert len(written) == 600
    assert reference(lines) != reference(lines[::-1])  # control: there are ties
    said = capsys.readouterr().out
    counts = ", ".join(
        f"{len({row[k] for row in written})} {name}" for k, name in enumerate(("users", "items"))
    )
    duplicates = 600 - len(set(written))
    assert f"read: {counts}, 600 interactions\n" in said
    assert f"written: {counts}, 600 interactions, {duplicates} repeated lines among" in said
    assert duplicates > 0
    assert "these counts differ in users, items, interactions" in said


@pytest.mark.parametrize("options", [(2, 1), (1, 5), (5, 5), (8, 12), (3, 2)])
def test_what_is_left_is_what_filtering_until_both_hold_leaves(tmp_path, rows, options):
    lines, names = clicks(), ("--min_session", "--min_item")
    raw, output = write(tmp_path / "c.dat", lines), tmp_path / "out"
    arguments = [word for pair in zip(names, map(str, options)) for word in pair]
    assert yoochoose.main(["--input", str(raw), "--output", str(output), *arguments]) == 0
    written = read(rows, output / "out.inter")
    assert written == reference(lines, *options)
    assert 0 < len(written) < 600
    for place, least in zip((0, 1), options):
        assert min(Counter(row[place] for row in written).values()) >= least


def test_filtering_again_changes_nothing_and_filtering_once_would_not_do(tmp_path, rows):
    lines = ["1,{},1,0", "1,{},2,0", "2,{},2,0", "2,{},3,0", "3,{},3,0", "3,{},4,0", "4,{},4,0"]
    lines += ["8,{},9,0", "9,{},9,0", "8,{},7,0", "9,{},7,0"]
    lines = [line.format(stamp(k)) for k, line in enumerate(lines)]
    written = read(
        rows, convert(tmp_path, write(tmp_path / "c.dat", lines), min_session=2, min_item=2)
    )
    assert [row[:2] for row in written] == [("8", "9"), ("8", "7"), ("9", "9"), ("9", "7")]
    again = [f"{s},{stamp(int(time * 1000))},{item},0" for s, item, time in written]
    raw = write(tmp_path / "c.dat", again)
    assert read(rows, convert(tmp_path, raw, min_session=2, min_item=2)) == written


GOOD = "1,2014-04-07T10:51:09.277Z,3,0"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("1,2014-04-07T10:51:09.277Z,3", "(session, time, item, category), found 3 columns"),
        (GOOD + ",4", "found 5 columns"),
        ("", "found an empty line"),
        (GOOD.replace("1,", ",", 1), "the session is missing"),
        (GOOD.replace(",3,", ",,"), "the item is missing"),
        ("1,,3,0", "the time is missing"),
        ("x1" + GOOD[1:], "session 'x1' is not a whole number"),
        ("1.0" + GOOD[1:], "session '1.0' is not a whole number"),
        (GOOD.replace(",3,", ",-3,"), "item '-3' is not a whole number"),
        (GOOD.replace(",3,", ",1e3,"), "item '1e3' is not a whole number"),
        (GOOD.replace("Z", ""), "is not a time like 2014-04-07T10:51:09.277Z"),
        (GOOD.replace("Z", "+02:00"), "is not a time like"),
        (GOOD.replace("T", " "), "is not a time like"),
        (GOOD.replace("277Z", "2771Z"), "is not a time like"),
        ("1,1396867869277,3,0", "time '1396867869277' is not a time like"),
        (GOOD.replace("04-07", "02-29"), "time '2014-02-29T10:51:09.277Z' is no date"),
        (GOOD.replace("10:51", "25:51"), "is no date"),
        (GOOD.replace("2014", "2300"), "is no date"),
        (GOOD.replace("2014", "1969"), "time '1969-04-07T10:51:09.277Z' is before 1970"),
        (GOOD + "\r5", "category '0\\r5' is not free of control characters"),
        (GOOD + "\t", "category '0\\t' is not free of control characters"),
        ("\x00" + GOOD, "is not a whole number"),
    ],
)
@pytest.mark.parametrize("place, block_bytes", [(1, 1000), (57, 1), (100, 1000)])
def test_a_malformed_line_is_refused_by_its_number(
    tmp_path, refused_by_line, bad, reason, place, block_bytes
):
    lines = clicks(99)
    lines.insert(place - 1, bad)
    raw = write(tmp_path / "c.dat", lines)
    refused_by_line(convert, raw, place, reason, block_bytes=block_bytes)


def test_bytes_that_are_not_utf_8_do_no_harm_in_the_category(tmp_path, rows):
    raw = tmp_path / "c.dat"
    raw.write_bytes(GOOD.encode() + b"\xff\n")
    assert rows(convert(tmp_path, raw))[1] == ("1", "3", "1396867869.277")


def test_filters_that_leave_nothing_and_numbers_below_one_are_refused(tmp_path, refused, capsys):
    raw = write(tmp_path / "c.dat", clicks(50))
    arguments = ["--input", raw, "--output", tmp_path / "out"]
    message = refused(yoochoose.main, *arguments, "--min_session", 40, "--min_item", 3)
    assert message == f"error: {raw}: no click is left with min_session = 40 and min_item = 3"
    for option in ("--min_session", "--min_item"):
        for value in ("0", "-1", "1.5", "few"):
            with pytest.raises(SystemExit) as stop:
                yoochoose.main([*map(str, arguments), f"{option}={value}"])
            assert stop.value.code == 2
            assert "is not a whole number of at least 1" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["c.dat"]


def test_the_zip_as_downloaded_gives_the_clicks(tmp_path):
    plain = write(tmp_path / "yoochoose-clicks.dat", clicks(200))
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.write(plain, "yoochoose-data/yoochoose-clicks.dat")
        for other in ("yoochoose-buys.dat", "dataset-README.txt"):
            archive.writestr(f"yoochoose-data/{other}", "1\n")
    whole = convert(tmp_path, plain).read_bytes()
    assert convert(tmp_path, tmp_path / "data.zip").read_bytes() == whole
