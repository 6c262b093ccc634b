"""A user's own table: every column as it was, or a refusal that names the line."""

import gzip
import sys

import pandas as pd
import pytest
import table

NAMES = ["--user", "who", "--item", "what"]
ALL = [*NAMES, "--behavior", "how", "--time", "when"]
HEADER = "when,who,what,how\n"


def convert(tmp_path, text, *options, name="t.csv"):
    raw = tmp_path / name
    raw.write_bytes(text.encode() if isinstance(text, str) else text)
    arguments = ["--input", str(raw), "--output", str(tmp_path / "out"), *options]
    assert table.main(arguments) == 0
    return tmp_path / "out" / "out.inter"


def test_rows_are_ordered_by_first_seen_user_time_behavior_and_file(tmp_path, rows):
    text = HEADER + "9,zoe,a,buy\n9,zoe,b,view\n3,adam,a,cart\n8.5,zoe,c,favorite\n9,zoe,a,view\n"
    assert rows(convert(tmp_path, text, *ALL)) == [
        ("user_id:token", "item_id:token", "behavior:token", "timestamp:float"),
        ("zoe", "c", "favorite", "8.5"),
        ("zoe", "b", "view", "9"),
        ("zoe", "a", "view", "9"),
        ("zoe", "a", "buy", "9"),
        ("adam", "a", "cart", "3"),
    ]


def test_behaviors_of_unknown_rank_stay_in_file_order_at_ties(tmp_path, rows):
    text = HEADER + "9,1,a,buy\n9,1,a,view\n9,1,a,share\n"
    assert [row[2] for row in rows(convert(tmp_path, text, *ALL))[1:]] == ["buy", "view", "share"]


def test_without_behavior_and_time_there_is_no_column_and_rows_are_numbered(tmp_path, rows):
    text = HEADER + "9,1,a,buy\n1,2,b,view\n,1,c,\n"
    assert rows(convert(tmp_path, text, *NAMES)) == [
        ("user_id:token", "item_id:token", "timestamp:float"),
        ("1", "a", "0"),
        ("1", "c", "2"),
        ("2", "b", "1"),
    ]


@pytest.mark.parametrize(
    ("time", "written"),
    [
        ("1430623510001", "1430623510001"),
        ("9007199254740993", "9007199254740993"),
        ("978300760.25", "978300760.25"),
        ("1.5e12", "1500000000000"),
        ("1970-01-02", "86400"),
        ("1970-01-01T00:00:01.5Z", "1.5"),
        ("1970-01-01T00:00:00.000001", "0.000001"),
        ("1970-01-02T00:00:00+08:00", "57600"),
        ("2015-05-03 03:25:10", "1430623510"),
    ],
)
def test_times_are_written_exactly_and_never_in_scientific_notation(tmp_path, rows, time, written):
    text = HEADER + f"{time},1,a,view\n"
    assert rows(convert(tmp_path, text, *ALL))[1][3] == written


def test_whole_stamps_beyond_float_precision_are_ordered(tmp_path, rows):
    first, second = 9007199254740992, 9007199254740993
    assert float(first) == float(second)  # control
    text = HEADER + f"{second},1,b,view\n{first},1,a,view\n"
    assert [row[1] for row in rows(convert(tmp_path, text, *ALL))[1:]] == ["a", "b"]


def test_tsv_and_gz_and_quotes_change_nothing(tmp_path):
    text = HEADER + "2,1,a,view\n1,1,b b,cart\n"
    plain = convert(tmp_path, text, *ALL).read_bytes()
    same = [
        (text.replace(",", "\t"), "t.tsv"),
        (gzip.compress(text.encode()), "t.csv.gz"),
        (gzip.compress(text.replace(",", "\t").encode()), "t.tsv.gz"),
        (text.replace("b b", '"b b"').replace("who", '"who"'), "t.csv"),
        ("\ufeff" + text.replace("\n", "\r\n").removesuffix("\r\n"), "t.csv"),
    ]
    for other, name in same:
        assert convert(tmp_path, other, *ALL, name=name).read_bytes() == plain


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("1,2,a", "expected 4 columns, found 3 columns"),
        ("1,2,a,view,5", "expected 4 columns, found 5 columns"),
        ("", "expected 4 columns, found an empty line"),
        ("1,,a,view", "the user is missing"),
        ("1,2, ,view", "the item is missing"),
        ("1,2,a,", "the behavior is missing"),
        (",2,a,view", "the time is missing"),
        ("soon,2,a,view", "the time 'soon' is not a number (as the first good one is)"),
        ("2015-05-03,2,a,view", "the time '2015-05-03' is not a number"),
        ("nan,2,a,view", "the time 'nan' is not a number"),
        ("inf,2,a,view", "the time 'inf' is not a number"),
        ("-1,2,a,view", "the time '-1' is negative"),
        ("1,2,a\tb,view", "the item 'a\\tb' holds a tab"),
        ('1,2,"a\nb",view', "the item 'a\\nb' holds a tab or another control"),
        ("1,NA,a,view", "the user 'NA' would be read back as a missing value"),
        ("1,[PAD],a,view", "the user '[PAD]' would be read back"),
        ("1,2,a\u2028b,view", "the item 'a\\u2028b' holds a tab or another control"),
        (f"1,2,{'a' * 5000},view", "has more than 4,096 characters"),
        (f"1,2,{'a' * 2_000_000},view", "is longer than 1,048,576 characters"),
        ("1_000,2,a,view", "the time '1_000' is not a number"),
        ("0x10,2,a,view", "the time '0x10' is not a number"),
        ("\uff15,2,a,view", "the time '\uff15' is not a number"),
        ("1e400,2,a,view", "the time '1e400' is not a number"),
        ('1,2,"a"b,view', "',' expected after '\"'"),
        ('1,2,"a,view', "unexpected end of data"),
    ],
)
@pytest.mark.parametrize("before", [1, 5000])
def test_a_malformed_line_is_refused_by_its_number(tmp_path, refused, bad, reason, before):
    raw = tmp_path / "t.csv"
    good = [f"{i},1,a{i},view" for i in range(before)]
    raw.write_text(HEADER + "\n".join([*good, bad, *good[:1]]) + "\n")
    message = refused(table.main, "--input", raw, "--output", tmp_path / "out", *ALL)
    assert message.startswith(f"error: {raw}, line {before + 2}: ")
    assert reason in message
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("bad", ["1,,a,view,x", "1,2,a,view", '1,2,a,"view'])
def test_a_line_break_within_quotes_counts_as_a_line(tmp_path, refused, bad):
    raw = tmp_path / "t.csv"
    raw.write_text('when,who,what,how,note\n1,1,a,view,"two\nlines"\n' + bad + "\n")
    message = refused(table.main, "--input", raw, "--output", tmp_path / "out", *ALL)
    assert message.startswith(f"error: {raw}, line 4: ")


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("2015-05-03", "7", "line 3: the time '7' is not an ISO date"),
        ("2015-05-03", "1969-12-31", "line 3: the time '1969-12-31' is negative (before 1970)"),
        ("2015-05-03", "2015-13-03", "line 3: the time '2015-13-03' is not an ISO date"),
        ("2015-05-03", "9999-05-03", "line 3: the time '9999-05-03' is not an ISO date"),
        ("2015-05", "7", "line 2: the time '2015-05' is not a number (as the first good one is)"),
        ("2015-05", "so", "line 2: the time '2015-05' is not a number or an ISO date"),
        ("2015-05-03", "2015-05", "line 3: the time '2015-05' is not an ISO date"),
        ("2015-05-03", "2015-05-03 8:0", "line 3: the time '2015-05-03 8:0' is not an ISO date"),
        ("2015-05-03", "2015-05-03T08", "line 3: the time '2015-05-03T08' is not an ISO date"),
        ("2015-05-03", "2015-5-3", "line 3: the time '2015-5-3' is not an ISO date"),
        ("2015-05-03", "2015-05-03T24:61", "line 3: the time '2015-05-03T24:61' is not an ISO"),
        ("2015-05-03", "2015-05-0\uff13", "line 3: the time '2015-05-0\uff13' is not an ISO date"),
        ("soon", "7", "line 2: the time 'soon' is not a number (as the first good one is)"),
        ("", "7", "line 2: the time is missing"),
    ],
)
def test_a_column_of_times_is_of_one_kind(tmp_path, refused, first, second, reason):
    raw = tmp_path / "t.csv"
    raw.write_text(HEADER + f"{first},1,a,view\n{second},1,a,view\n")
    assert reason in refused(table.main, "--input", raw, "--output", tmp_path / "out", *ALL)


def test_bytes_that_are_not_utf_8_are_refused_in_a_token_only(tmp_path, refused, rows):
    good = b"who,what,note\n1,a,\xff\n2,\xc3\xa9,x\n"
    assert rows(convert(tmp_path, good, *NAMES))[2][1] == "é"
    raw = tmp_path / "bad.csv"
    raw.write_bytes(good + b"2,\xff,x\n")
    message = refused(table.main, "--input", raw, "--output", tmp_path / "new", *NAMES)
    assert message.startswith(f"error: {raw}, line 4: the item '\\udcff' is not UTF-8")
    assert "--encoding names another, as latin-1" in message


def test_a_wrong_column_is_answered_with_the_columns_and_the_nearest(tmp_path, refused):
    raw = tmp_path / "t.csv"
    raw.write_text("user_id,movie,when\n1,2,3\n")
    arguments = ["--input", raw, "--output", tmp_path / "out", "--item", "movie"]
    message = refused(table.main, *arguments, "--user", "userid")
    assert message == (
        f"error: {raw}: has no column 'userid', did you mean 'user_id'? "
        "(its columns: user_id, movie, when)"
    )
    assert "did you mean" not in refused(table.main, *arguments, "--user", "zzz")
    raw.write_text("a,a,movie\n1,2,3\n")
    assert "has 2 columns named 'a'" in refused(table.main, *arguments, "--user", "a")


def test_files_that_cannot_be_read_are_refused(tmp_path, refused):
    def message(name, text):
        raw = tmp_path / name
        if text is not None:
            raw.write_text(text)
        return refused(table.main, "--input", raw, "--output", tmp_path / "out", *NAMES)

    assert message("missing.csv", None).endswith("missing.csv: no such file")
    assert message("empty.csv", "").endswith("empty.csv: is empty")
    assert message("header.csv", HEADER).endswith("holds a header and no rows")
    assert "must end in .csv, .tsv" in message("table.xlsx", HEADER)


def test_duplicates_are_kept_and_counted(tmp_path, rows, capsys):
    text = HEADER + "1,1,a,view\n1,1,a,view\n1,1,a,cart\n"
    assert len(rows(convert(tmp_path, text, *ALL))) == 4
    said = capsys.readouterr().out
    assert "1 users, 1 items, 3 interactions, 2 view, 1 cart, 1 repeated lines" in said


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    raw = tmp_path / "t.parquet"
    raw.write_bytes(b"PAR1")
    message = refused(table.main, "--input", raw, "--output", tmp_path / "out", *NAMES)
    assert 'pip install "recbole-diffusion[parquet]"' in message


@pytest.fixture
def parquet():
    """Returns pyarrow where it can be imported: its newest releases need a newer numpy."""
    return pytest.importorskip("pyarrow", exc_type=ImportError)


def test_parquet_gives_what_csv_gives(tmp_path, parquet):
    frame = pd.DataFrame(
        {
            "when": pd.to_datetime(["2015-05-03 03:25:10.5", "2015-05-02 00:00:00.0"]),
            "who": [7, 7],
            "what": ["a", "b"],
            "how": pd.Categorical(["cart", "view"]),
            "score": [0.1, 1430623510000.0],
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    for options in (ALL, [*NAMES, "--time", "score"]):
        outputs = []
        for name in ("t.parquet", "t.csv"):
            path = convert(tmp_path, (tmp_path / name).read_bytes(), *options, name=name)
            outputs.append(path.read_bytes().replace(b"1430623510000.0", b"1430623510000"))
        assert outputs[0] == outputs[1]


def test_a_malformed_parquet_is_refused_by_its_row(tmp_path, parquet, refused):
    raw = tmp_path / "t.parquet"
    arguments = ["--input", raw, "--output", tmp_path / "out"]
    pd.DataFrame({"who": ["a", None], "what": [1.0, 2.0]}).to_parquet(raw)
    message = refused(table.main, *arguments, *NAMES)
    assert message.endswith("t.parquet, row 2: the user is missing")
    message = refused(table.main, *arguments, "--user", "whom", "--item", "what")
    assert "did you mean 'who'?" in message
    raw.write_text("no parquet")
    assert "cannot be read as parquet" in refused(table.main, *arguments, *NAMES)
    raw.unlink()
    assert refused(table.main, *arguments, *NAMES).endswith("no such file")


def test_text_kept_as_bytes_is_text_and_a_list_is_refused(tmp_path, parquet, refused):
    frame = pd.DataFrame({"who": ["é", "b", "é"], "what": ["x", "y", "x"]})
    raw, outputs = tmp_path / "t.parquet", []
    for who in (frame["who"], frame["who"].str.encode("utf-8")):
        frame.assign(who=who).to_parquet(raw)
        outputs.append(convert(tmp_path, raw.read_bytes(), *NAMES, name=raw.name).read_bytes())
    assert outputs[0] == outputs[1] and "é".encode() in outputs[0]
    arguments = ["--input", raw, "--output", tmp_path / "out", *NAMES]
    frame.assign(who=frame["who"].str.encode("latin-1")).to_parquet(raw)
    assert "Invalid UTF8" in refused(table.main, *arguments)
    frame.assign(who=[[who] for who in frame["who"]]).to_parquet(raw)
    message = refused(table.main, *arguments)
    assert "column 'who' holds list<" in message and "one value a row" in message


def test_what_excel_and_windows_write_is_named_with_the_remedy(tmp_path, refused, rows):
    text = HEADER.replace(",", ";") + "1;1;a;view\n"
    raw = tmp_path / "t.csv"
    arguments = ["--input", raw, "--output", tmp_path / "out", *NAMES]
    raw.write_text("sep=;\n" + text)
    assert ": line 1 is one that Excel writes, take it out" in refused(table.main, *arguments)
    raw.write_text(text, encoding="utf-16")
    assert "is not UTF-8, --encoding=utf-16 reads it" in refused(table.main, *arguments)
    remedy = ["--encoding=utf-16", "--sep=;"]
    assert len(rows(convert(tmp_path, raw.read_bytes(), *NAMES, *remedy, name=raw.name))) == 2


def test_the_real_retail_log_reads_as_a_table_too(tmp_path, real_data, rows, capsys):
    raw = real_data("retail/events.csv.gz")
    names = ["--user", "visitorid", "--item", "itemid", "--behavior", "event"]
    output = tmp_path / "retail"
    arguments = ["--input", str(raw), "--output", str(output), *names, "--time", "timestamp"]
    assert table.main(arguments) == 0
    said = capsys.readouterr().out
    assert "2,174 users, 30,113 items, 99,555 interactions, 75,374 view" in said
    assert all(len(row[3]) == 13 for row in rows(output / "retail.inter")[1:])
