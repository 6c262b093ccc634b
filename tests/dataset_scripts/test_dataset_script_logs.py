"""Retail and Taobao: what reading, ordering, choosing and writing of a raw log must keep to."""

import gzip
import zipfile

import atomic
import numpy as np
import pytest
import retail
import taobao

HEADER = retail.HEADER + "\n"
FIELDS = ("user_id:token", "item_id:token", "behavior:token", "timestamp:float")


def taobao_lines(n=2000, seed=0, n_users=60):
    random = np.random.default_rng(seed)
    users, items = random.integers(1, n_users + 1, n), random.zipf(1.5, n) % 300
    # Few distinct stamps: ties everywhere.
    times = 1_511_600_000 + random.integers(0, 40, n)
    words = random.choice(taobao.CODES, n)
    columns = (users, items, items % 7, words, times)
    return [",".join(map(str, row)) for row in zip(*columns)]


def write(path, lines, header="", ending="\n"):
    path.write_bytes((header + "".join(line + ending for line in lines)).encode())
    return path


def reference(lines, users=None, items=None):
    """The order in three lines of plain Python, stable sort and no blocks."""
    split = [line.split(",") for line in lines]
    split = [r for r in split if users is None or int(r[0]) in users]
    split = [r for r in split if items is None or int(r[1]) in items]
    split.sort(key=lambda r: (int(r[0]), int(r[4]), taobao.CODES.index(r[3])))
    word = dict(zip(taobao.CODES, taobao.TOKENS))
    return [FIELDS] + [(r[0], r[1], word[r[3]], r[4]) for r in split]


def test_equal_stamps_are_ordered_by_behavior_and_then_by_file(tmp_path, rows):
    lines = ["5,1,transaction,9,1", "5,1,addtocart,9,", "5,1,view,8,", "5,1,view,9,", "4,1,view,7,"]
    retail.convert(write(tmp_path / "e.csv", lines, HEADER), tmp_path / "out")
    assert rows(tmp_path / "out" / "out.inter") == [
        FIELDS,
        ("1", "7", "view", "4"),
        ("1", "8", "view", "5"),
        ("1", "9", "view", "5"),
        ("1", "9", "cart", "5"),
        ("1", "9", "buy", "5"),
    ]


def test_milliseconds_are_ordered_and_written_to_the_last_digit(tmp_path, rows):
    stamps = [1430623510000 + k for k in (3, 1, 2, 0)]
    assert len(set(np.float32(stamps).tolist())) == 1  # control: float32 cannot tell them apart
    lines = [f"{stamp},1,view,{stamp % 10}," for stamp in stamps]
    retail.convert(write(tmp_path / "e.csv", lines, HEADER), tmp_path / "out")
    written = [row[3] for row in rows(tmp_path / "out" / "out.inter")[1:]]
    assert written == [str(stamp) for stamp in sorted(stamps)]


def test_the_order_is_that_of_a_plain_stable_sort(tmp_path, rows):
    lines = taobao_lines()
    taobao.convert(write(tmp_path / "t.csv", lines), tmp_path / "out")
    assert rows(tmp_path / "out" / "out.inter") == reference(lines)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(1, 1), (7, 3), (64, 100), (1000, 37)])
@pytest.mark.parametrize("subset", [{}, {"users": 13, "min_item": 3}])
def test_sizes_of_blocks_and_buckets_change_no_byte(tmp_path, sizes, subset):
    raw = write(tmp_path / "t.csv", taobao_lines(400))
    taobao.convert(raw, tmp_path / "whole", **subset)
    block_bytes, bucket_rows = sizes
    taobao.convert(
        raw, tmp_path / "parts", block_bytes=block_bytes, bucket_rows=bucket_rows, **subset
    )
    whole = (tmp_path / "whole" / "whole.inter").read_bytes()
    assert (tmp_path / "parts" / "parts.inter").read_bytes() == whole
    assert len(whole) > 500


def test_buckets_hold_little_more_than_asked(tmp_path, monkeypatch):
    lines, sizes = taobao_lines(2000), []
    whole = np.lexsort
    monkeypatch.setattr(np, "lexsort", lambda keys: sizes.append(len(keys[0])) or whole(keys))
    busiest = max(np.unique([line.split(",")[0] for line in lines], return_counts=True)[1])
    taobao.convert(write(tmp_path / "t.csv", lines), tmp_path / "out", bucket_rows=100)
    assert sum(sizes) == 2000
    assert max(sizes) <= 100 + busiest


def test_the_zip_as_downloaded_gives_events_csv(tmp_path, rows):
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("category_tree.csv", "a,b\n")
        archive.writestr("events.csv", HEADER + "5,1,view,9,\n")
    retail.convert(tmp_path / "archive.zip", tmp_path / "out")
    assert rows(tmp_path / "out" / "out.inter")[1:] == [("1", "9", "view", "5")]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("1,2,3,pv", "expected 5 columns (user, item, category, behavior, time), found 4 columns"),
        ("1,2,3,pv,5,6", "found 6 columns"),
        ("", "found an empty line"),
        (",2,3,pv,5", "the user is missing"),
        ("1,,3,pv,5", "the item is missing"),
        ("1,2,3,,5", "the behavior is missing"),
        ("1,2,3,pv,", "the time is missing"),
        ("1,2,3,PV,5", "unknown behavior 'PV'; known: pv, fav, cart, buy"),
        ("1,2,3,pv,soon", "time 'soon' is not a whole number"),
        ("1,2,3,pv,nan", "time 'nan' is not a whole number"),
        ("1,2,3,pv,1e9", "time '1e9' is not a whole number"),
        ("1,2,3,pv,5.5", "time '5.5' is not a whole number"),
        ("1,2,3,pv,99999999999999999999", "is not a whole number"),
        ("-1,2,3,pv,5", "user '-1' is negative"),
        ("1.0,2,3,pv,5", "user '1.0' is not a whole number"),
        ('"1",2,3,pv,5', "user '\"1\"' is not a whole number"),
        ("1\t,2,3,pv,5", "holds the control character '\\t'"),
        ("1,2,3,pv,5\r6", "holds the control character '\\r'"),
        ("1,2,3,p\x00v,5", "holds the control character '\\x00'"),
    ],
)
@pytest.mark.parametrize("place", [1, 2, 57, 100])
def test_a_malformed_line_is_refused_by_its_number(tmp_path, refused, bad, reason, place):
    lines = taobao_lines(99)
    lines.insert(place - 1, bad)
    raw = write(tmp_path / "t.csv", lines)
    message = refused(taobao.main, "--input", raw, "--output", tmp_path / "out")
    assert message.startswith(f"error: {raw}, line {place}: ")
    assert reason in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv"]


@pytest.mark.parametrize("block_bytes", [1, 40, 1 << 20])
def test_line_numbers_hold_across_blocks_and_name_the_first_of_two(tmp_path, block_bytes):
    lines = [f"{i},1,view,9," for i in range(50)]
    lines[30], lines[40] = "30,1,gaze,9,", "40,1,view,9"
    raw = write(tmp_path / "e.csv", lines, HEADER)
    with pytest.raises(atomic.InputError, match="line 32: unknown behavior 'gaze'"):
        retail.convert(raw, tmp_path / "out", block_bytes=block_bytes)


def test_a_time_before_1970_is_refused_in_retail_and_kept_and_counted_in_taobao(
    tmp_path, rows, refused, capsys
):
    raw = write(tmp_path / "e.csv", ["-5,1,view,9,"], HEADER)
    message = refused(retail.main, "--events", raw, "--output", tmp_path / "out")
    assert message.endswith("line 2: time '-5' is negative")
    lines = ["1,2,3,pv,1511539200", "1,2,3,pv,-2134949234", "1,2,3,pv,1512316800", "1,2,3,pv,0"]
    taobao.convert(write(tmp_path / "t.csv", lines), tmp_path / "out")
    stamps = [row[3] for row in rows(tmp_path / "out" / "out.inter")[1:]]
    assert stamps == ["-2134949234", "0", "1511539200", "1512316800"]
    assert "  3 stamps read lie outside 2017-11-25..2017-12-03" in capsys.readouterr().out


def test_files_that_cannot_be_read_are_refused(tmp_path, refused):
    def message(name, content):
        raw = tmp_path / name
        if content is not None:
            raw.write_bytes(content)
        return refused(retail.main, "--events", raw, "--output", tmp_path / "out").split(name)[1]

    good = (HEADER + "5,1,view,9,\n").encode()
    assert message("missing.csv", None) == ": no such file"
    assert message("empty.csv", b"") == ": is empty"
    assert message("empty.csv.gz", gzip.compress(b"")) == ": is empty"
    assert message("header.csv", HEADER.encode()) == ": holds a header and no rows"
    assert message("other.csv", b"a,b\n1,2\n").startswith(", line 1: must be the header")
    assert message("plain.csv.gz", good).startswith(": cannot be unpacked")
    assert message("cut.csv.gz", gzip.compress(good * 50)[:-9]).startswith(": cannot be unpacked")
    assert message("plain.zip", good).startswith(": cannot be unpacked")
    assert message("endless.csv", b"1" * 3_000_000).startswith(", line 1: is longer than")
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    assert message("folder.csv", None) == ": is a folder, not a file"
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", good)
        archive.writestr("b.csv", good)
    assert message("two.zip", None).endswith("one named events.csv, and holds a.csv, b.csv")
    assert not (tmp_path / "out").exists()


def test_users_are_chosen_by_id_alone_and_smaller_choices_are_part_of_larger(tmp_path, rows):
    lines = taobao_lines()

    def chosen(lines, n):
        taobao.convert(write(tmp_path / "t.csv", lines), tmp_path / "out", users=n)
        return {row[0] for row in rows(tmp_path / "out" / "out.inter")[1:]}

    ten = chosen(lines, 10)
    assert len(ten) == 10
    assert chosen(lines[::-1], 10) == ten
    assert chosen(lines, 5) < ten < chosen(lines, 11)
    assert len(chosen(lines, 10**6)) == 60
    assert ten != {str(user) for user in range(1, 11)}  # control: not merely the first


def test_min_item_counts_among_the_kept_users_and_is_applied_once(tmp_path, rows, capsys):
    lines = taobao_lines()
    taobao.convert(write(tmp_path / "t.csv", lines), tmp_path / "out", users=20, min_item=4)
    split = [list(map(int, line.split(",")[:2])) for line in lines]
    users = set(atomic.choose_users(np.unique([u for u, _ in split]), 20).tolist())
    ids, counts = np.unique([i for u, i in split if u in users], return_counts=True)
    items = set(ids[counts >= 4].tolist())
    expected = reference(lines, users, items)
    assert rows(tmp_path / "out" / "out.inter") == expected
    assert 0 < len(items) < len(ids)
    assert f"written: 20 users, {len(items)} items, {len(expected) - 1:,} inter" in (
        capsys.readouterr().out
    )


def test_users_with_nothing_left_drop_out(tmp_path, rows):
    lines = ["1,7,0,pv,5", "2,7,0,pv,5", "3,8,0,pv,5"]
    taobao.convert(write(tmp_path / "t.csv", lines), tmp_path / "out", min_item=2)
    assert [row[:2] for row in rows(tmp_path / "out" / "out.inter")[1:]] == [("1", "7"), ("2", "7")]


@pytest.mark.parametrize("option", ["--users", "--min_item"])
@pytest.mark.parametrize("value", ["0", "-1", "few", "1.5"])
def test_subset_options_below_one_are_refused(tmp_path, option, value, capsys):
    with pytest.raises(SystemExit) as stop:
        retail.main(["--events", "e.csv", "--output", str(tmp_path), f"{option}={value}"])
    assert stop.value.code == 2
    assert "is not a whole number of at least 1" in capsys.readouterr().err


def test_exact_duplicates_are_kept_and_counted(tmp_path, rows, capsys):
    lines = ["5,1,view,9,", "6,1,view,9,", "5,1,view,9,", "5,1,view,9,"]
    retail.convert(write(tmp_path / "e.csv", lines, HEADER), tmp_path / "out")
    assert len(rows(tmp_path / "out" / "out.inter")) == 5
    assert "2 repeated lines among them" in capsys.readouterr().out


def test_counts_of_the_full_file_are_called_a_match_and_others_a_difference(capsys):
    atomic.compare("the full file", dict(taobao.FULL), taobao.FULL)
    assert "these counts match" in capsys.readouterr().out
    atomic.compare("the full file", {**taobao.FULL, "buy": 1}, taobao.FULL)
    assert "these counts differ in buy (" in capsys.readouterr().out
    for full in (taobao.FULL, retail.FULL):
        behaviors = [full[name] for name in list(full)[3:]]
        assert sum(behaviors) == full["interactions"]


def test_a_tally_counts_what_numpy_counts_at_once():
    random = np.random.default_rng(0)
    chunks = [random.integers(0, 10 ** int(e), 100) for e in random.integers(1, 18, 40)]
    tally = atomic.Tally()
    for chunk in chunks:
        tally.add(chunk)
    ids, counts = np.unique(np.concatenate(chunks), return_counts=True)
    assert np.array_equal(tally.result()[0], ids)
    assert np.array_equal(tally.result()[1], counts)


def test_the_real_retail_log_has_its_known_counts_and_loses_nothing(
    tmp_path, real_data, rows, capsys
):
    raw = real_data("retail/events.csv.gz")
    assert retail.main(["--events", str(raw), "--output", str(tmp_path / "retail")]) == 0
    said = capsys.readouterr().out
    assert (
        "written: 2,174 users, 30,113 items, 99,555 interactions, 75,374 view, 12,456 cart, "
        "11,725 buy, 0 repeated lines"
    ) in said
    assert "these counts differ in users, items" in said
    with gzip.open(raw, "rt") as file:
        events = [line.rstrip("\n").split(",") for line in file][1:]
    word = dict(zip(retail.EVENTS, retail.TOKENS))
    written = rows(tmp_path / "retail" / "retail.inter")[1:]
    assert sorted(written) == sorted((e[1], e[3], word[e[2]], e[0]) for e in events)
    assert [(int(r[0]), int(r[3])) for r in written] == sorted(
        (int(r[0]), int(r[3])) for r in written
    )


def test_of_a_zip_of_several_files_the_one_with_the_name_it_has_there_is_taken(tmp_path):
    plain = write(tmp_path / "UserBehavior.csv", taobao_lines(100))
    with zipfile.ZipFile(tmp_path / "several.zip", "w") as archive:
        archive.write(plain, "folder/UserBehavior.csv")
        for other in ("other.csv", "__MACOSX/UserBehavior.csv"):
            archive.writestr(other, "1,2\n")
    for raw in (plain, tmp_path / "several.zip"):
        taobao.convert(raw, tmp_path / raw.stem)
    outputs = [tmp_path / name / f"{name}.inter" for name in (plain.stem, "several")]
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
