"""Files made to take time, memory or disk are refused in one line, soon and in little memory."""

import gzip
import io
import time
import tracemalloc
import zipfile
from pathlib import Path

import amazon
import atomic
import diffrec
import numpy as np
import pytest
import table
from test_every_script import TEXTS, command, log, main

ROWS = log(n=20)
NAMES = ["--user", "who", "--item", "what"]


@pytest.fixture(params=TEXTS)
def script(request):
    return TEXTS[request.param]


def refusal_of(script, raw, tmp_path, refused):
    """The message, given soon and in little memory, with nothing written."""
    start = time.process_time()
    tracemalloc.start()
    message = refused(main(script), *command(script, raw, tmp_path / "out"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.process_time() - start < 10 and peak < 200 << 20
    assert message.startswith(f"error: {raw}") and len(message) < 800
    assert not (tmp_path / "out").exists()
    return message


@pytest.mark.parametrize("filler", ["a", "1", ",", '"', "[", " ", "\t", "a,", "\0", "{"])
@pytest.mark.parametrize("n", [100_000, 1_100_000])
def test_a_long_malformed_line_is_refused_soon(script, filler, n, tmp_path, refused):
    bad = filler * (n // len(filler))
    raw = script.write(tmp_path / "raw" / script.file, ROWS, bad, script.line(1, 2, 0, 10))
    message = refusal_of(script, raw, tmp_path, refused)
    if script.name != "table" or filler not in '"\0':  # csv goes on to the next quotation mark
        number = len(ROWS) + 1 + bool(script.header)
        assert f"line {number}: " in message or "line 1: " in message


def bomb(script, end=b""):
    return script.text(ROWS) + b"a" * (18 << 20) + end


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("kind", [".gz", ".zip"])
def test_a_line_without_end_that_is_packed_is_refused(script, kind, end, tmp_path, refused):
    raw = tmp_path / f"{script.file}{kind}"
    if kind == ".gz":
        raw.write_bytes(gzip.compress(bomb(script, end), 1))
    else:
        with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(script.file, bomb(script, end))
    if script.name == "movielens" and kind == ".gz":
        assert "must be or hold one of" in refused(
            main(script), *command(script, raw, tmp_path / "out")
        )
        return
    message = refusal_of(script, raw, tmp_path, refused)
    assert "is longer than 1,048,576" in message or "unpacks to more than 16 MiB" in message


@pytest.mark.slow
def test_what_unpacks_beyond_all_proportion_is_refused(tmp_path, refused, monkeypatch):
    script = TEXTS["table"]
    raw = tmp_path / "t.csv.gz"
    raw.write_bytes(gzip.compress(b"who,what\n" + b"1,2\n" * (1 << 21)))
    assert raw.stat().st_size < 1 << 15
    monkeypatch.setattr(atomic, "UNSUSPECTED", 2 << 20)
    arguments = ["--input", raw, "--output", tmp_path / "out", *NAMES]
    assert "unpacks to more than 2 MiB, 100 times its size" in refused(main(script), *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv.gz"]
    few = gzip.compress(b"who,what\n" + b"1,2\n" * (1 << 18), 9)  # the control: it packs as well
    raw.write_bytes(few)
    assert main(script)(list(map(str, arguments))) == 0


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_archive_is_refused_or_read_and_never_a_traceback(method, tmp_path, capsys):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr("../../t.csv", "who,what\n" + "".join(f"{k},{k}\n" for k in range(300)))
    whole, raw = packed.getvalue(), tmp_path / "t.csv.zip"
    arguments = ["--input", raw, "--output", tmp_path / "out", *NAMES]
    raw.write_bytes(whole)
    assert table.main(list(map(str, arguments))) == 0  # a name that climbs is but a name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "t.csv.zip"]
    draw, codes = np.random.default_rng(0), set()
    for _ in range(150):
        data = bytearray(whole)
        if draw.random() < 0.3:
            data = data[: draw.integers(len(data))]
        for _ in range(draw.integers(1, 4)):
            if data:
                data[draw.integers(len(data))] = draw.integers(256)
        raw.write_bytes(data)
        codes.add(table.main(list(map(str, arguments))))
        said = capsys.readouterr().err
        assert said.count("\n") <= 1 and (not said or said.startswith(f"error: {raw}"))
    assert codes == {0, 2}


@pytest.mark.parametrize(
    "shape", ["(9999999999, 2)", "(999999999999999999, 2)", "(40, 2)", "(2, 2)"]
)
def test_a_header_that_claims_another_size_is_refused(shape, tmp_path, refused):
    (tmp_path / "raw").mkdir()
    for part in ("train", "valid", "test"):
        np.save(tmp_path / f"raw/{part}_list.npy", np.zeros((3, 2), np.int64))
    path = tmp_path / "raw/valid_list.npy"
    data = path.read_bytes()
    old = b"(3, 2), }" + b" " * len(shape)
    assert old in data
    path.write_bytes(data.replace(old, f"{shape}, }}".ljust(len(old)).encode()))
    tracemalloc.start()
    message = refused(diffrec.main, "--input", tmp_path / "raw", "--output", tmp_path / "out")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert message.startswith(f"error: {path}: ")
    path.write_bytes(data)
    arguments = ["--input", tmp_path / "raw", "--output", tmp_path / "out"]
    assert diffrec.main(list(map(str, arguments))) == 0  # control


def test_a_pickle_in_the_place_of_an_array_is_not_run(tmp_path, refused):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "touched",)

    (tmp_path / "raw").mkdir()
    for part in ("train", "valid", "test"):
        np.save(tmp_path / f"raw/{part}_list.npy", np.array([[Evil(), 1]], dtype=object))
    refused(diffrec.main, "--input", tmp_path / "raw", "--output", tmp_path / "out")
    assert not (tmp_path / "touched").exists()
    np.load(tmp_path / "raw/train_list.npy", allow_pickle=True)  # control
    assert (tmp_path / "touched").exists()


def test_a_message_does_not_quote_without_end(tmp_path, refused):
    raw = tmp_path / "r.json"
    raw.write_text('{"reviewerID": "' + "a b" * 100_000 + '"}\n')
    message = refused(amazon.main, "--input", raw, "--output", tmp_path / "out")
    assert "line 1: reviewerID 'a ba b" in message
    assert len(message) <= atomic.LONGEST_MESSAGE + len("error: ")
