"""Amazon: ratings and reviews give one file, and its core is the largest one there is."""

import gzip
import itertools
import json
from collections import Counter

import amazon
import numpy as np
import pytest

FIELDS = ("user_id:token", "item_id:token", "rating:float", "timestamp:float")
DAY = 86_400


def ratings(n=500, seed=0):
    """Rows of user, item, rating and time in no order, with ties in time and ids as Amazon's."""
    random = np.random.default_rng(seed)
    users = [f"A{u:012d}X" if u % 5 else f"#oc-R{u:09d}" for u in random.zipf(1.6, n) % 60]
    items = [f"B{i:09d}" if i % 3 else f"{i:010d}" for i in random.zipf(1.4, n) % 80]
    stars, times = random.integers(1, 6, n).tolist(), random.integers(15_000, 15_006, n) * DAY
    return list(zip(users, items, stars, times.tolist()))


def write_csv(path, log, ending="\n", item_first=False):
    order = (1, 0, 2, 3) if item_first else (0, 1, 2, 3)
    lines = [",".join(str([u, i, f"{r:.1f}", t][k]) for k in order) for u, i, r, t in log]
    path.write_bytes("".join(line + ending for line in lines).encode())
    return path


def write_json(path, log, ending="\n"):
    lines = []
    for user, item, rating, time in log:
        review = {
            "reviewerID": user,
            "asin": item,
            "reviewerName": 'J. "Jo" Müller\u2028',
            "helpful": [2, 3],
            "reviewText": "Good,\nbad\tand {ugly}",
            "overall": float(rating),
            "unixReviewTime": time,
            "reviewTime": "09 13, 2009",
        }
        lines.append(json.dumps(review, ensure_ascii=False) + ending)
    content = "".join(lines).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def core_of(log, core):
    """Peels one poor user or item at a time, in plain Python."""
    log = list(log)
    while True:
        counts = [Counter(row[place] for row in log) for place in (0, 1)]
        poor = [(p, token) for p in (0, 1) for token, n in counts[p].items() if n < core]
        if not poor:
            return log
        place, token = poor[0]
        log = [row for row in log if row[place] != token]


def reference(log, core=5, min_rating=0):
    """The file in plain Python: filter, core, and a stable sort by first seen user and time."""
    seen = {user: k for k, user in reversed(list(enumerate(row[0] for row in log)))}
    kept = core_of([row for row in log if row[2] >= min_rating], core)
    kept.sort(key=lambda row: (seen[row[0]], row[3]))
    return [FIELDS] + [tuple(map(str, row)) for row in kept]


def convert(tmp_path, raw, **options):
    amazon.convert(raw, tmp_path / "out", **options)
    return tmp_path / "out" / "out.inter"


@pytest.mark.parametrize("core", [1, 2, 5, 9])
def test_csv_and_json_give_the_core_in_a_plain_stable_sort(tmp_path, rows, core):
    log = ratings()
    for raw in (
        write_csv(tmp_path / "ratings_X.csv", log),
        write_json(tmp_path / "reviews_X.json", log),
        write_json(tmp_path / "reviews_X.json.gz", log),
    ):
        assert rows(convert(tmp_path, raw, core=core)) == reference(log, core)
    assert 1 < len(reference(log, core)) and (core == 1) == (len(reference(log, core)) == 501)
    assert reference(log, core) != reference(log[::-1], core)  # control: there are ties


def test_the_core_is_iterated_is_5_by_default_and_its_own_core(tmp_path, rows, capsys):
    log = ratings()
    raw = write_csv(tmp_path / "ratings_X.csv", log)
    assert amazon.main(["--input", str(raw), "--output", str(tmp_path / "out")]) == 0
    written = rows(tmp_path / "out" / "out.inter")
    assert written == reference(log, 5)
    users, items = (Counter(row[place] for row in written[1:]) for place in (0, 1))
    assert min([*users.values(), *items.values()]) >= 5
    said = capsys.readouterr().out
    whole = ", ".join(f"{len({r[k] for r in log})} {n}" for k, n in ((0, "users"), (1, "items")))
    assert f"read: {whole}, 500 interactions\n" in said
    left = f"{len(users)} users, {len(items)} items, {len(written) - 1} interactions"
    assert f"written: {left}, " in said

    counts = [Counter(row[place] for row in log) for place in (0, 1)]
    once = [row for row in log if counts[0][row[0]] >= 5 and counts[1][row[1]] >= 5]
    assert len(once) > len(written) - 1  # control: one round would leave more

    again = [(user, item, int(stars), time) for user, item, stars, time in written[1:]]
    assert rows(convert(tmp_path, write_csv(raw, again))) == written


def test_no_larger_set_than_the_core_is_dense_enough():
    for seed in range(20):
        random = np.random.default_rng(seed)
        users, items = random.integers(0, 4, 9), random.integers(0, 4, 9)
        for least in ((1, 1), (2, 2), (3, 2), (1, 3), (3, 3)):
            kept = amazon.k_core(users, items, *least).tolist()
            dense = [
                chosen
                for n in range(10)
                for chosen in itertools.combinations(range(9), n)
                if all(
                    min(Counter(column[list(chosen)].tolist()).values(), default=9) >= k
                    for column, k in zip((users, items), least)
                )
            ]
            assert kept == list(max(dense, key=len))
            assert all(set(chosen) <= set(kept) for chosen in dense)


@pytest.mark.parametrize("least", ["1", "3", "4.5"])
def test_min_rating_is_applied_before_the_core(tmp_path, rows, least):
    log = ratings(900)
    raw, output = write_csv(tmp_path / "r.csv", log), tmp_path / "out"
    arguments = ["--input", str(raw), "--output", str(output), "--core", "3"]
    assert amazon.main([*arguments, "--min_rating", least]) == 0
    expected = reference(log, 3, float(least))
    assert rows(output / "out.inter") == expected
    assert 1 < len(expected)
    after = [row for row in core_of(log, 3) if row[2] >= float(least)]
    assert (len(after) == len(expected) - 1) == (least == "1")  # control: the order matters


def test_ids_keep_their_zeros_and_signs_and_stars_lose_theirs(tmp_path, rows):
    log = [("#oc-R1", "0001472933", 5, 0), ("A1", "000171287X", 0, 10**17)]
    raw = write_csv(tmp_path / "r.csv", log)
    assert rows(convert(tmp_path, raw, core=1))[1:] == [
        ("#oc-R1", "0001472933", "5", "0"),
        ("A1", "000171287X", "0", "100000000000000000"),
    ]
    raw.write_text("A1,0001472933,4,9\n")
    assert rows(convert(tmp_path, raw, core=1))[1] == ("A1", "0001472933", "4", "9")


def test_a_file_that_begins_with_the_item_is_refused_and_read_when_that_is_said(
    tmp_path, rows, refused
):
    log = ratings()
    raw = write_csv(tmp_path / "r.csv", log, item_first=True)
    arguments = ["--input", raw, "--output", tmp_path / "out"]
    message = refused(amazon.main, *arguments)
    assert message == f"error: {raw}: its first two columns look swapped; give --item_first"
    assert not (tmp_path / "out").exists()
    assert amazon.main([*map(str, arguments), "--item_first"]) == 0
    assert rows(tmp_path / "out" / "out.inter") == reference(log)
    write_csv(raw, log)
    message = refused(amazon.main, *arguments, "--item_first")
    assert message.endswith("look swapped; leave --item_first out")
    reviews = write_json(tmp_path / "r.json", log)
    message = refused(amazon.main, "--input", reviews, "--output", tmp_path, "--item_first")
    assert message.endswith("r.json: must end in .csv (also with .gz or .zip) with --item_first")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("A1,B1,5.0", "expected 4 columns (user, item, rating, time), found 3 columns"),
        ("A1,B1,5.0,9,9", "found 5 columns"),
        ("", "found an empty line"),
        (",B1,5.0,9", "the user is missing"),
        ("A1,,5.0,9", "the item is missing"),
        ("A1,B1,,9", "the rating is missing"),
        ("A1,B1,5.0,", "the time is missing"),
        ("A 1,B1,5.0,9", "user 'A 1' is not a word without spaces"),
        ("A1,B1\t,5.0,9", "item 'B1\\t' is not a word without spaces"),
        ("A1,B1\r,5.0,9", "item 'B1\\r' is not a word without spaces"),
        ("A1,B1,6.0,9", "rating '6.0' is not 0 to 5 whole stars"),
        ("A1,B1,4.5,9", "rating '4.5' is not 0 to 5 whole stars"),
        ("A1,B1,nan,9", "rating 'nan' is not 0 to 5 whole stars"),
        ("A1,B1,1369699200,5", "rating '1369699200' is not 0 to 5 whole stars"),
        ("A1,B1,5.0,9.5", "time '9.5' is not a whole number"),
        ("A1,B1,5.0,-9", "time '-9' is not a whole number"),
        ("A1,B1,5.0,1e9", "time '1e9' is not a whole number"),
        ("A1,B1,5.0,1234567890123456789", "is not a whole number"),
        ("NA,B1,5.0,9", "the user 'NA' would be read back as a missing value"),
        ("A1,null,5.0,9", "the item 'null' would be read back as a missing value"),
        ('"A1",B1,5.0,9', "is not a word without spaces and quotation marks"),
        ("A1,B\udcff,5.0,9", "is not UTF-8"),
        ("user,item,rating,timestamp", "rating 'rating' is not 0 to 5 whole stars"),
    ],
)
@pytest.mark.parametrize("place, block_bytes", [(1, 1000), (57, 1), (100, 1000)])
def test_a_malformed_rating_is_refused_by_its_line(
    tmp_path, refused_by_line, bad, reason, place, block_bytes
):
    raw = write_csv(tmp_path / "r.csv", ratings(99))
    lines = raw.read_text().split("\n")
    lines.insert(place - 1, bad)
    raw.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
    refused_by_line(convert, raw, place, reason, core=1, block_bytes=block_bytes)


REVIEW = {"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 9}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("", "is not JSON: it is empty"),
        ("{", "is not JSON: "),
        (json.dumps(REVIEW)[:-1], "is not JSON: "),
        (json.dumps(REVIEW) * 2, "is not JSON: Extra data"),
        (json.dumps(REVIEW) + "\udcff", "is not JSON: "),
        (str(REVIEW), "is not JSON: "),  # Python's quotation marks, as in the loose files
        ("[" * 100_000, "is not JSON: "),
        (json.dumps([REVIEW]), "is not a JSON object"),
        ("7", "is not a JSON object"),
    ]
    + [
        (json.dumps({k: v for k, v in REVIEW.items() if k != key}), f"has no {key}")
        for key in REVIEW
    ]
    + [
        (json.dumps(REVIEW | {key: value}), f"{key} {value!r} is not {kind}")
        for key, value, kind in [
            ("reviewerID", "", "a word without spaces"),
            ("reviewerID", 7, "a word without spaces"),
            ("asin", "B 1", "a word without spaces"),
            ("asin", "B\t1", "a word without spaces"),
            ("asin", None, "a word without spaces"),
            ("overall", 6, "0 to 5 whole stars"),
            ("overall", 4.5, "0 to 5 whole stars"),
            ("overall", "5.0", "0 to 5 whole stars"),
            ("overall", True, "0 to 5 whole stars"),
            ("overall", float("nan"), "0 to 5 whole stars"),
            ("overall", [5], "0 to 5 whole stars"),
            ("unixReviewTime", 9.5, "a whole number"),
            ("unixReviewTime", -9, "a whole number"),
            ("unixReviewTime", 10**18, "a whole number"),
            ("unixReviewTime", False, "a whole number"),
            ("unixReviewTime", "9", "a whole number"),
        ]
    ]
    + [
        (json.dumps(REVIEW | {"asin": "NaN"}), "the item 'NaN' would be read back"),
        (json.dumps(REVIEW | {"asin": "\ud800"}), "is not UTF-8"),
    ],
)
@pytest.mark.parametrize("place, block_bytes", [(1, 1 << 20), (30, 1)])
def test_a_malformed_review_is_refused_by_its_line(
    tmp_path, refused_by_line, bad, reason, place, block_bytes
):
    raw = write_json(tmp_path / "r.json", ratings(30))
    lines = raw.read_text().split("\n")
    lines.insert(place - 1, bad)
    raw.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
    refused_by_line(convert, raw, place, reason, core=1, block_bytes=block_bytes)


def test_files_that_cannot_be_read_are_refused(tmp_path, refused):
    def message(name, content=None):
        raw = tmp_path / name
        if content is not None:
            raw.write_bytes(content)
        return refused(amazon.main, "--input", raw, "--output", tmp_path / "out").split(name)[1]

    kinds = ": must end in .csv or .json (also with .gz or .zip)"
    assert message("ratings.txt", b"A,B,5.0,9\n") == message("ratings", b"") == kinds
    assert message("reviews.zip", b"") == kinds
    for kind in ("csv", "json"):
        assert message(f"missing.{kind}") == ": no such file"
        assert message(f"plain.{kind}.gz", b"A,B,5.0,9\n").startswith(": cannot be unpacked")
    assert message("empty.json", b"") == ": is empty"
    assert message("empty.csv", b"") == ": is empty"
    assert not (tmp_path / "out").exists()


def test_what_leaves_nothing_is_refused(tmp_path, refused, capsys):
    raw = write_csv(tmp_path / "r.csv", ratings())
    arguments = ["--input", raw, "--output", tmp_path / "out"]
    message = refused(amazon.main, *arguments, "--core", 400)
    assert message == f"error: {raw}: no rating is left with core = 400"
    message = refused(amazon.main, *arguments, "--min_rating", 5.5)
    assert message == f"error: {raw}: no rating is left with core = 5 and min_rating = 5.5"
    for value in ("0", "-1", "2.5", "all"):
        with pytest.raises(SystemExit) as stop:
            amazon.main([*map(str, arguments), f"--core={value}"])
        assert stop.value.code == 2
        assert "is not a whole number of at least 1" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]


def test_duplicates_count_for_the_core_and_are_written(tmp_path, rows, capsys):
    log = [("A1", "B1", 5, 9), ("A1", "B1", 5, 9), ("A1", "B1", 4, 9), ("A2", "B1", 5, 9)]
    written = rows(convert(tmp_path, write_csv(tmp_path / "r.csv", log), core=3))
    assert [row[2] for row in written[1:]] == ["5", "5", "4"]
    assert (
        "3 interactions, 2 repeated lines among them (the data set drops" in capsys.readouterr().out
    )


def test_only_the_5_core_of_beauty_is_compared_with_its_known_counts(tmp_path, capsys):
    raw = write_csv(tmp_path / "ratings_Beauty.csv", ratings())
    amazon.convert(raw, tmp_path / "beauty")
    said = capsys.readouterr().out
    assert "the 5-core of beauty must hold: 22,363 users, 12,101 items, 198,502 inter" in said
    amazon.convert(raw, tmp_path / "toys")
    amazon.convert(raw, tmp_path / "beauty", core=4)
    amazon.convert(raw, tmp_path / "beauty", min_rating=1)
    assert "must hold" not in capsys.readouterr().out


def test_the_settings_of_beauty_read_what_comes_out(tmp_path, build_data):
    amazon.convert(write_csv(tmp_path / "ratings_Beauty.csv", ratings()), tmp_path / "beauty")
    _, data, loaders = build_data(tmp_path, "SASRec", "beauty")
    users = {row[0] for row in reference(ratings())[1:]}
    assert set(data.field2id_token["user_id"][1:]) == users
    assert [len(loader._dataset) for loader in loaders[1:]] == [len(users)] * 2
