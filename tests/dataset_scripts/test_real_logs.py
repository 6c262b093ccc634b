"""A log as shops export it: other separators, encodings and times, and lines that are no good."""

import tracemalloc
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pieces
import pytest
import table

HEADER = "kunde;artikel;gekauft\n"
GERMAN = ["--sep", ";", "--encoding", "latin-1", "--time_format", "%d.%m.%Y %H:%M"]
NAMES = ["--user", "kunde", "--item", "artikel"]
ALL = [*NAMES, "--time", "gekauft"]
# What is wrong with a line, by its number; 2, 3, 4 and 11 are good.
LOG = "\n".join(
    [
        'Jörg;"Stuhl; rot";31.12.2024 23:59',
        "Jörg;Öl;31.12.2024 23:58",
        "Jörg;Öl;31.12.2024 23:58",
        ";Öl;31.12.2024 23:59",
        "NULL;Öl;31.12.2024 23:59",
        "Änne;Öl;",
        "Änne;Öl;31.12.2024",
        "Änne;Öl;30.02.2024 10:00",
        "Änne;Öl",
        '"Änne;""Öl""";Tisch "klein";01.01.2025 00:00',
        "",
    ]
)
BAD = {
    5: "the user is missing",
    6: "the user 'NULL' would be read back as a missing value",
    7: "the time is missing",
    8: "the time '31.12.2024' is not of --time_format '%d.%m.%Y %H:%M'",
    9: "the time '30.02.2024 10:00' is not of --time_format",
    10: "expected 3 columns, found 2 columns",
}


def stamp(*moment, zone=UTC):
    return str(int(datetime(*moment, tzinfo=zone).timestamp()))


@pytest.fixture
def convert(tmp_path, rows, capsys):
    """Returns a function from a text and options to the rows below the header and what is said."""

    def run(text, *options, name="log.csv", encoding="utf-8"):
        raw = tmp_path / name
        raw.write_bytes(text.encode(encoding))
        arguments = ["--input", str(raw), "--output", str(tmp_path / "shop"), *options]
        assert table.main(arguments) == 0
        return rows(tmp_path / "shop" / "shop.inter")[1:], capsys.readouterr().out

    return run


@pytest.fixture
def refusal(tmp_path, refused):
    """Returns a function from a text and options to the one line of the refusal."""

    def run(text, *options, name="log.csv", encoding="utf-8"):
        raw = tmp_path / name
        raw.write_bytes(text.encode(encoding))
        message = refused(table.main, "--input", raw, "--output", tmp_path / "shop", *options)
        assert [path.name for path in tmp_path.iterdir()] == [name]  # nothing half-written
        return message

    return run


@pytest.mark.parametrize(
    "first, last, words",
    [
        (1700000000, 1700086400, "; in seconds 2023-11-14 22:13:20 to 2023-11-15 22:13:20 (UTC)"),
        (1700000000.5, 1700086400, "; in seconds 2023-11-14 22:13:20 to 2023-11-15 22:13:20"),
        (1700000000000, 1700086400000, "; in milliseconds 2023-11-14 22:13:20 to 2023-11-15"),
        (5, 90, "; no seconds or milliseconds since 1970: are these times?"),
        (2001, 10**15, "; no seconds or milliseconds"),
    ],
)
def test_plain_numbers_are_said_as_the_moments_they_would_be(convert, first, last, words):
    _, said = convert(f"u,i,t\na,x,{first}\na,y,{last}\n", *"--user u --item i --time t".split())
    assert f"times: {first} to {last}" in said.replace(".0 ", " ").replace(".0,", ",")
    assert f", written as they are{words}" in said


# ------------------------------------------------------------------ lines that are no good


def test_a_real_log_needs_nothing_else_first(convert):
    lines, said = convert(
        HEADER + LOG, *GERMAN, *ALL, "--on_bad=skip", name="log.txt", encoding="latin-1"
    )
    midnight = int(stamp(2025, 1, 1))
    assert lines == [
        ("Jörg", "Öl", str(midnight - 120)),
        ("Jörg", "Öl", str(midnight - 120)),
        ("Jörg", "Stuhl; rot", str(midnight - 60)),
        ('Änne;"Öl"', 'Tisch "klein"', str(midnight)),
    ]
    assert "left out: 6 bad lines of" in said and "2 users, 3 items, 4 interactions" in said
    assert "1 repeated lines" in said
    assert "times: 2024-12-31 23:58:00 to 2025-01-01 00:00:00 (UTC)" in said
    for line, reason in BAD.items():
        assert f"\n  line {line}: {reason}" in said
    assert said.count("\n  line ") == len(BAD)


def test_the_same_list_is_said_where_bad_lines_are_refused(tmp_path, capsys):
    raw = tmp_path / "log.txt"
    raw.write_bytes((HEADER + LOG).encode("latin-1"))
    said = {}
    for policy, code in (("error", 2), ("skip", 0)):
        arguments = ["--input", str(raw), "--output", str(tmp_path / "shop"), *GERMAN, *ALL]
        assert table.main([*arguments, f"--on_bad={policy}"]) == code
        found = capsys.readouterr()
        said[policy] = [line for line in found.out.splitlines() if line.startswith("  line ")]
        if policy == "error":
            assert f"{raw}, line 5: the user is missing; 6 bad lines in all" in found.err
            assert "--on_bad=skip" in found.err
            assert [path.name for path in tmp_path.iterdir()] == ["log.txt"]
    assert said["error"] == said["skip"] and len(said["error"]) == 6


@pytest.mark.parametrize("n", [1, 10, 11, 5000])
def test_all_bad_lines_are_counted_and_ten_are_said(n, convert):
    lines, said = convert("who,what\n1,a\n" + ",a\n" * n + "1,b\n", *named(), "--on_bad=skip")
    assert lines == [("1", "a", "0"), ("1", "b", "1")]
    assert f"left out: {n:,} bad line" in said and ("the first 10" in said) == (n > 10)
    assert said.count("\n  line ") == min(n, 10) and "line 3: the user is missing" in said


def named(*more):
    return ["--user", "who", "--item", "what", *more]


def test_skipping_leaves_a_log_without_bad_lines_as_it_is(convert):
    text = "who,what,when\n2,a,5\n1,b,4\n2,b,3\n"
    options = named("--time", "when")
    plain, said = convert(text, *options)
    assert convert(text, *options, "--on_bad=skip") == (plain, said) and "bad" not in said
    bad = text + "3,c,\n"  # control: a user of bad lines alone is not counted, nor is its item
    found, more = convert(bad, *options, "--on_bad=skip")
    assert found == plain and "2 users, 2 items, 3 interactions" in more and "1 bad line of" in more


def test_whole_stamps_stay_exact_beside_a_bad_line(convert):
    big = ["9007199254740993", "9007199254740992"]
    text = "who,what,when\n" + "".join(f"1,{k},{stamp}\n" for k, stamp in enumerate(big)) + "1,c,\n"
    lines, _ = convert(text, *named("--time", "when", "--on_bad=skip"))
    assert [line[2] for line in lines] == big[::-1]


@pytest.mark.parametrize("first", ['"a"b,x,2024-01-01\n', ",x,2024-01-01\n" * 4096])
def test_a_piece_without_a_good_line_says_nothing_about_the_form_of_times(first, convert):
    text = f"who,what,when\n{first}1,a,2024-01-01\n2,b,2024-01-02\n"
    lines, _ = convert(text, *named("--time", "when", "--on_bad=skip"))
    assert [line[2] for line in lines] == [stamp(2024, 1, 1), stamp(2024, 1, 2)]


def test_a_line_end_in_a_time_is_a_bad_time(convert):
    text = 'who,what,when\n1,a,5\n1,b,"1\n2"\n'
    lines, said = convert(text, *named("--time", "when", "--on_bad=skip"))
    assert len(lines) == 1 and "1 bad line of" in said


def test_whole_numbers_of_parquet_stay_exact_beside_a_missing_one(tmp_path, rows):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `parquet` is not installed")
    import pyarrow

    big = [9007199254740993, 9007199254740992, None, 5]
    file = tmp_path / "log.parquet"
    parquet.write_table(pyarrow.table({"who": big, "what": ["a", "b", "c", "d"]}), file)
    arguments = ["--input", str(file), "--output", str(tmp_path / "shop"), *named("--on_bad=skip")]
    assert table.main(arguments) == 0
    written = [line[0] for line in rows(tmp_path / "shop" / "shop.inter")[1:]]
    assert sorted(written) == sorted(str(one) for one in big if one is not None)


def test_a_date_beyond_what_a_stamp_can_name_is_said_to_be_that(refusal):
    text = "who,what,when\n1,a,31.12.2024\n1,b,31.12.9999\n"
    message = refusal(text, *named("--time", "when", "--time_format=%d.%m.%Y"))
    assert "'31.12.9999' is beyond the years 1677 to 2262" in message


def test_a_file_of_bad_lines_alone_is_refused_in_both_ways(refusal):
    for policy in ("error", "skip"):
        message = refusal("who,what\n,a\n,b\n", *named(f"--on_bad={policy}"))
        assert "log.csv, line 2: the user is missing" in message
        assert ("no good line is left" in message) == (policy == "skip")


@pytest.mark.parametrize("before", [0, 1, 4095, 4096, 9000])
def test_a_line_that_cannot_be_read_is_left_out_alone(before, convert):
    text = "who,what\n" + "".join(f"{k},a\n" for k in range(before))
    lines, said = convert(text + 'x,"a"b\ny,a\nz,"a"\n', *named("--on_bad=skip"))
    assert [line[0] for line in lines[before:]] == ["y", "z"] and len(lines) == before + 2
    assert f"  line {before + 2}: ',' expected after" in said and "1 bad line of" in said


def test_a_stray_quotation_mark_says_what_it_takes_in_and_the_remedy(refusal, convert):
    text = 'who,what\n1,"a\n2,b\n3,c"d\n4,e\n'
    message = refusal(text, *named())
    assert "line 2: " in message and "takes in the lines up to 4" in message
    lines, _ = convert(text, *named("--quoting=none"))
    assert [line[1] for line in lines] == ['"a', "b", 'c"d', "e"]
    lines, said = convert(text, *named("--on_bad=skip"))
    assert [line[0] for line in lines] == ["4"] and "takes in the lines up to 4" in said


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_after_breaks_within_quotes_have_their_numbers(end, convert):
    broken = f'1,"two{end}lines{end}more",a'
    text = end.join(["who,note,what", broken, ",x,b", '2,"x",c', ",x,d", ""])
    _, said = convert(text, *named("--on_bad=skip"))
    assert "  line 5: the user" in said and "  line 7: the user" in said


# ------------------------------------------------------------------ separators and encodings


@pytest.mark.parametrize("given", [";", "|", "\t", "\\t", "tab", " "])
def test_any_character_parts_the_columns(given, convert):
    sep = {"\\t": "\t", "tab": "\t"}.get(given, given)
    text = "who,what\n1,a\n2,b\n"
    plain, _ = convert(text, *named())
    other = text.replace(",", sep)
    assert convert(other, *named("--sep", given), name="log.dat")[0] == plain


@pytest.mark.parametrize("sep", ["", "::", '"', "\n"])
def test_what_cannot_part_columns_is_refused(sep, refusal):
    assert "must be one character" in refusal("who,what\n1,a\n", *named("--sep", sep))


def test_a_wrong_separator_is_answered_with_the_right_one(refusal):
    message = refusal("who;what\n1;a\n", *named())
    assert "are they parted by ';'? --sep=';'" in message
    assert "parted by" not in refusal("user\n1\n", *named())  # control


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8", "UTF8", "utf-8-sig"])
def test_an_encoding_is_read_as_python_does(encoding, convert):
    lines, _ = convert("who,what\nJörg,Öl\n", *named("--encoding", encoding), encoding=encoding)
    assert lines == [("Jörg", "Öl", "0")]


@pytest.mark.parametrize(
    "encoding, words",
    [
        ("klingon", "none that Python knows"),
        ("base64", "none that Python knows"),
        ("ascii", "not UTF-8"),
        ("utf-16", "is not utf-16"),
    ],
)
def test_an_encoding_that_does_not_fit_is_refused(encoding, words, refusal):
    text = "who,what\nJörg,Öl\n"
    assert words in refusal(text, *named("--encoding", encoding), encoding="latin-1")


# ------------------------------------------------------------------ times

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "time, options, seconds",
    [
        ("31.12.2024 23:59", ["--time_format", "%d.%m.%Y %H:%M"], stamp(2024, 12, 31, 23, 59)),
        ("12/31/24 11:59 PM", ["--time_format", "%m/%d/%y %I:%M %p"], stamp(2024, 12, 31, 23, 59)),
        ("2024-12-31 23 +0100", ["--time_format", "%Y-%m-%d %H %z"], stamp(2024, 12, 31, 22)),
        ("1735689540", ["--time_format", "unix"], "1735689540"),
        ("1735689540.5", ["--time_format", "unix"], "1735689540.5"),
        ("1735689540001", ["--time_format", "unix_ms"], "1735689540.001"),
        ("1735689540000.0", ["--time_format", "unix_ms"], "1735689540"),
        ("1735689540001", [], "1735689540001"),
        (
            "31.07.2024 23:59",
            ["--time_format", "%d.%m.%Y %H:%M", "--time_zone", "Europe/Berlin"],
            stamp(2024, 7, 31, 23, 59, zone=BERLIN),
        ),
        ("2024-07-31T12:00", ["--time_zone", "Europe/Berlin"], stamp(2024, 7, 31, 10)),
        ("2024-01-31", ["--time_zone", "Europe/Berlin"], stamp(2024, 1, 30, 23)),
        ("2024-07-31T12:00Z", ["--time_zone", "Europe/Berlin"], stamp(2024, 7, 31, 12)),
        ("2024-07-31 12:00-05:00", ["--time_zone", "Europe/Berlin"], stamp(2024, 7, 31, 17)),
        (
            "2024-12-31 23:59 +0300",
            ["--time_format", "%Y-%m-%d %H:%M %z", "--time_zone", "Europe/Berlin"],
            stamp(2024, 12, 31, 20, 59),
        ),
        # clocks are set back: the first of both; and forward: the end of the hour that is left out
        ("2024-10-27T02:30", ["--time_zone", "Europe/Berlin"], stamp(2024, 10, 27, 0, 30)),
        ("2024-03-31T02:30", ["--time_zone", "Europe/Berlin"], stamp(2024, 3, 31, 1)),
    ],
)
def test_a_time_is_the_moment_that_python_reads(time, options, seconds, convert):
    text = f"who,what,when\n1,a,{time}\n"
    assert convert(text, *named("--time", "when"), *options)[0] == [("1", "a", seconds)]


def test_times_of_a_summer_and_a_winter_have_their_own_offset(convert):
    text = "who,what,when\n" + "".join(f"1,{m},{m:02}/2024 15\n" for m in range(1, 13))
    lines, _ = convert(
        text, *named("--time", "when", "--time_zone", "Europe/Berlin", "--time_format", "%m/%Y %H")
    )
    right = [stamp(2024, m, 1, 15, zone=BERLIN) for m in range(1, 13)]
    assert [line[2] for line in lines] == right
    assert len({int(there) % 86400 for there in right}) == 2  # the control


@pytest.mark.parametrize(
    "time, options, words",
    [
        ("1735689540001", ["--time_format=unix"], "seconds; are they --time_format=unix_ms"),
        ("31.12.2024", ["--time_format=unix"], "is not of --time_format 'unix'"),
        ("5", ["--time_format=d.m.Y"], "is neither unix (seconds), unix_ms"),
        ("5", ["--time_format=%Q"], "is neither unix"),
        ("5", ["--time_format=%%"], "is neither unix"),
        ("2024-12-31", ["--time_zone=Middle/Earth"], "is no zone of the tz database"),
        ("5", ["--time_format=unix", "--time_zone=Europe/Berlin"], "is UTC"),
        ("31.12.1969", ["--time_format=%d.%m.%Y"], "is negative (before 1970)"),
        ("31.12.2024", [], "is not a number or an ISO date; --time_format names another form"),
    ],
)
def test_a_time_of_another_form_is_refused_with_the_remedy(time, options, words, refusal):
    assert words in refusal(f"who,what,when\n1,a,{time}\n", *named("--time", "when"), *options)


def test_the_form_of_a_time_needs_its_column(refusal):
    assert "need --time" in refusal("who,what\n1,a\n", *named("--time_format=unix"))


# ------------------------------------------------------------------ memory


@pytest.fixture
def long_log():
    """40,000 rows with long texts that nobody asks for, 17 MB."""
    draw = np.random.default_rng(0).integers(0, [50, 90, 9], (40_000, 3))
    filler = "x" * 400
    rows = (f"u{user},i{item},{time},{filler}\n" for user, item, time in draw)
    return "who,what,when,note\n" + "".join(rows)


def test_the_size_of_a_piece_changes_nothing(convert, long_log, monkeypatch):
    lines = long_log.split("\n")[:500]
    lines[5::50] = ["bad"] * len(lines[5::50])
    text = "\n".join(lines) + "\n"
    found = [convert(text, *named("--time", "when", "--on_bad=skip"))]
    for size in (1, 7):
        monkeypatch.setattr(pieces, "BATCH", size)
        found.append(convert(text, *named("--time", "when", "--on_bad=skip")))
    assert found[0] == found[1] == found[2] and "left out: 10 bad lines" in found[0][1]


def test_memory_does_not_grow_with_the_text(long_log, tmp_path):
    raw, size = tmp_path / "log.csv", len(long_log)
    raw.write_text(long_log)
    arguments = ["--input", str(raw), "--output", str(tmp_path / "shop"), *named("--time", "when")]
    tracemalloc.start()
    assert table.main(arguments) == 0
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.8 * size
