"""What the scripts write is what an independent reader makes of a .csv or .npy, or a refusal."""

import contextlib
import csv
import gzip
import io
import re
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
from atomic_files import MISSING_WORDS, NUMBER, ODD_STAMPS, ODD_WORDS
from fuzzing import ROOT, Broken, accepted, attempt, inputs, own_folder
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(ROOT / "dataset_scripts"))
import diffrec  # noqa: E402
import table  # noqa: E402

sys.path.remove(str(ROOT / "dataset_scripts"))

RANK = {"view": 0, "favorite": 1, "cart": 2, "buy": 3}
COLUMNS = {"user": "who", "item": "what", "behavior": "how", "time": "when"}
DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": ";"}
DATES = st.sampled_from(
    ["2017-11-25", "2017-11-25T08:00:00+08:00", "1970-01-01", "2017-11-25 08:00:00.5", "1969-12-31"]
    + ["2017-13-01", "2017-11-25T08:00:00Z", "25.11.2017", "2400-01-01", "soon"]
)


@st.composite
def tables(draw):
    """Content and ending of a table, with something wrong in it now and then."""
    odd = draw(st.booleans())
    words = {noun: st.sampled_from([f"{noun[0]}{n}" for n in range(4)]) for noun in COLUMNS}
    words["behavior"] = st.sampled_from(["view", "cart", "buy"] + ["share"] * draw(st.booleans()))
    whole = st.integers(0, draw(st.sampled_from([3, 10**9]))).map(str)
    number = st.decimals(0, 10**6, places=2).map(str)
    words["time"] = draw(st.sampled_from([whole, whole, whole | number, DATES]))
    if odd:
        noun = draw(st.sampled_from(["user", "item", "behavior", "time"]))
        strange = ODD_STAMPS if noun == "time" else ODD_WORDS
        words[noun] = st.one_of(words[noun], words[noun], words[noun], strange)
    nouns = draw(st.permutations(list(COLUMNS)))
    header = [COLUMNS[noun] for noun in nouns]
    rows = draw(st.lists(st.tuples(*(words[noun] for noun in nouns)), min_size=1, max_size=15))
    delimiter, ending = draw(st.sampled_from([(",", ".csv"), ("\t", ".tsv"), (";", ".txt")]))
    text = io.StringIO(newline="")
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writerows([header, *rows])
    content = text.getvalue().encode("utf-8", "surrogatepass")
    damage = draw(
        st.sampled_from(
            [None] * 8 + ["bom", "cut", "byte", "more", "quote", "blank", "twice", "gz"]
        )
    )
    place = draw(st.integers(0, len(content)))
    if damage == "bom":
        content = b"\xef\xbb\xbf" + content
    elif damage == "cut":
        content = content[:place]
    elif damage == "byte":
        content = content[:place] + draw(st.binary(min_size=1, max_size=3)) + content[place:]
    elif damage == "more":
        content += b"x" + delimiter.encode() + b"y\n"
    elif damage == "quote":
        content = content[:place] + b'"' + content[place:]
    elif damage == "blank":
        content += b"\n"
    elif damage == "twice":
        content = content.replace(b"how", b"what", 1)
    elif damage == "gz":
        content, ending = gzip.compress(content), ending + ".gz"
        if draw(st.booleans()):
            content = content[: draw(st.integers(0, len(content)))]
    return content, ending


def read_table(content, ending, nouns):
    """The lines that have to be written; None where they must be refused, and whether they may be.

    Returns:
        tuple: list of tuples of texts with a `decimal.Decimal` at the end, and a bool.
    """
    if ending.endswith(".gz"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, ValueError):
            return None, True
    delimiter = DELIMITERS[ending[:4]]
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None, True  # where the bad byte is in another column it may be read
    try:
        records = list(
            csv.reader(
                io.StringIO(text.removeprefix("\ufeff"), newline=""),
                delimiter=delimiter,
                strict=True,
            )
        )
    except csv.Error:
        return None, True
    if len(records) < 2 or any(len(record) != len(records[0]) for record in records):
        return None, True
    header = records[0]
    if any(header.count(COLUMNS[noun]) != 1 for noun in nouns):
        return None, True
    picked = [[record[header.index(COLUMNS[noun])] for noun in nouns] for record in records[1:]]
    may_be_refused, rows, users = False, [], {}
    times = [record[-1] for record in picked] if "time" in nouns else None
    whole = times is None or all(re.fullmatch("[0-9]{1,18}", stamp) for stamp in times)
    for place, record in enumerate(picked):
        words = record[: 2 + ("behavior" in nouns)]
        for word in words:
            if not word.strip() or re.search("[\0-\x1f\x7f]", word):
                return None, True
            strange = word in MISSING_WORDS or word.startswith('"') or word != word.strip()
            may_be_refused |= strange or not word.isprintable()
        stamp = Decimal(place) if times is None else _stamp(record[-1], times[0])
        if stamp is None or stamp < 0:
            return None, True
        may_be_refused |= times is not None and not re.fullmatch("[0-9.]+", record[-1])
        users.setdefault(words[0], len(users))
        rows.append((*words, stamp))
    known = "behavior" in nouns and {row[2] for row in rows} <= set(RANK)
    rows.sort(
        key=lambda row: (
            users[row[0]],
            row[-1] if whole else float(row[-1]),
            RANK[row[2]] if known else 0,
        )
    )
    return rows, may_be_refused


def _stamp(text, first):
    text, first = text.strip(), first.strip()
    number = NUMBER.fullmatch(text)
    if NUMBER.fullmatch(first):
        return Decimal(text) if number and np.isfinite(float(text)) else None
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    date = date.replace(tzinfo=date.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return Decimal(date.days * 86400 + date.seconds) + Decimal(date.microseconds) / 10**6


@inputs(quick=60, long=1500)
@given(made=tables(), behavior=st.booleans(), time=st.booleans())
def test_a_table_becomes_the_lines_that_another_reader_makes_of_it(made, behavior, time):
    kind = ".csv and .tsv"
    content, ending = made
    nouns = ["user", "item"] + ["behavior"] * behavior + ["time"] * time
    options = {noun: COLUMNS[noun] for noun in nouns}
    with own_folder():
        path = Path("t" + ending)
        path.write_bytes(content)
        options["sep"] = ";" if ending.startswith(".txt") else None

        def convert(output="out", **policy):
            with contextlib.redirect_stdout(io.StringIO()):
                table.convert(path, output, **options, **policy)

        _, said = attempt(kind, convert, (path.name,), leaves=("out/",))
        _check_skipping(kind, convert, path, said)
        rows, may_be_refused = read_table(content, ending, nouns)
        if said is None:
            lines = Path("out/out.inter").read_bytes().decode().split("\n")
            written = [line.split("\t") for line in lines[1:-1]]
            written = [(*line[:-1], Decimal(line[-1])) for line in written]
            may_differ = rows is None and not _utf8(content)
            if written != rows and not may_differ:
                accepted(kind, False, f"{written} written, {rows} expected")
            accepted(kind, lines[-1] == "", "half a line at the end")
        elif rows is not None and not may_be_refused:
            raise Broken(f"a legal table is refused: {said}: {content!r}")


def _check_skipping(kind, convert, path, said):
    """Leaving bad lines out changes nothing where there are none, else leaves lines of the file."""

    def skip():
        convert("left", on_bad="skip")

    _, still = attempt(f"{kind}, skipping", skip, (path.name,), leaves=("left/",))
    if said is None:
        same = still is None and (
            Path("left/left.inter").read_bytes() == Path("out/out.inter").read_bytes()
        )
        accepted(kind, same, "a table without bad lines is another when they are left out")
    elif still is None:
        lines = Path("left/left.inter").read_bytes().decode().split("\n")
        accepted(kind, len(lines) > 2 and lines[-1] == "", "nothing or half a line is left")


def _utf8(content):
    with contextlib.suppress(UnicodeDecodeError):
        content.decode("utf-8")
        return True
    return False


# ---------------------------------------------------------------- .npy
@st.composite
def arrays(draw, width):
    """The bytes of an array that is often what diffrec.py asks for."""
    if width == 2:
        pairs = st.tuples(st.integers(0, 4), st.integers(0, 6))
        array = np.array(draw(st.lists(pairs, min_size=1, max_size=8)))
    else:
        array = np.arange(7.0 * 3, dtype="f4").reshape(7, 3) / 7
    odd = draw(
        st.sampled_from(
            [None] * 12
            + ["float", "object", "flat", "empty", "negative", "nan", "cut", "byte", "npz", "text"]
            + ["big", "uint", "fortran", "bool", "short", "complex", "wide"]
        )
    )
    if odd == "object":
        array = array.astype(object)
    kinds = {"float": "f8", "uint": "u1", "bool": "?", "text": "U3", "complex": "c8", "short": "f2"}
    if odd in kinds:
        array = array.astype(kinds[odd])
    elif odd == "flat":
        array = array.ravel()
    elif odd == "empty":
        array = array[:0]
    elif odd in ("negative", "nan"):
        array[draw(st.integers(0, len(array) - 1)), 0] = np.nan if array.dtype.kind == "f" else -1
    elif odd == "big":
        array = array + np.array(draw(st.sampled_from([2**31, 2**40]))).astype(array.dtype)
    elif odd == "fortran":
        array = np.asfortranarray(array)
    elif odd == "wide":
        array = np.hstack([array, array])
    file = io.BytesIO()
    if odd == "npz":
        np.savez(file, array)
    else:
        np.save(file, array, allow_pickle=True)
    content = file.getvalue()
    place = draw(st.integers(0, len(content) - 1))
    if odd == "cut":
        content = content[:place]
    elif odd == "byte":
        new = draw(st.binary(min_size=1, max_size=2))
        content = content[:place] + new + content[place + len(new) :]
    return content


def as_array(content):
    """The array of a file, None where it cannot be read without a pickle."""
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except Exception:
        return None
    return array if isinstance(array, np.ndarray) else None


@inputs(quick=40, long=700)
@given(
    lists=st.tuples(*[arrays(2)] * 3),
    embeddings=st.one_of(st.none(), arrays(3)),
)
def test_arrays_become_the_lines_that_stand_in_them(lists, embeddings):
    kind = ".npy"
    with own_folder():
        Path("raw").mkdir()
        for part, content in zip(("train", "valid", "test"), lists):
            Path(f"raw/{part}_list.npy").write_bytes(content)
        if embeddings is not None:
            Path("raw/item_emb.npy").write_bytes(embeddings)

        def convert():
            with contextlib.redirect_stdout(io.StringIO()):
                diffrec.convert("raw", "out")

        _, said = attempt(kind, convert, (".npy",), leaves=("out/",))
        pairs = [as_array(content) for content in lists]
        legal = all(
            array is not None
            and array.ndim == 2
            and array.shape[1] == 2
            and array.dtype.kind in "iu"
            and len(array)
            and array.min() >= 0
            for array in pairs
        )
        vectors = None if embeddings is None else as_array(embeddings)
        if legal and embeddings is not None:
            items = max(int(array[:, 1].max()) for array in pairs) + 1
            legal = (
                vectors is not None
                and vectors.ndim == 2
                and vectors.shape[1] > 0
                and vectors.dtype.kind == "f"
                and len(vectors) >= items
                and bool(np.isfinite(vectors.astype("f4")).all())
            )
        if said is not None:
            if legal:
                raise Broken(f"legal arrays are refused: {said}")
            return
        if not legal:
            accepted(kind, False, "arrays are accepted that hold no pairs or no vectors")
        number, right = {}, True
        for part, array in zip(("train", "valid", "test"), pairs):
            want = ["user_id:token\titem_id:token\ttimestamp:float"]
            for user, item in array.tolist():
                number[user] = number.get(user, -1) + 1
                want.append(f"{user}\t{item}\t{number[user]}")
            right &= Path(f"out/out.{part}.inter").read_text() == "\n".join(want) + "\n"
        if embeddings is not None:
            lines = Path("out/out.itememb").read_text().splitlines()[1:]
            read = np.array([line.split("\t")[1].split() for line in lines], dtype="f4")
            right &= [line.split("\t")[0] for line in lines] == list(map(str, range(len(vectors))))
            right &= read.tobytes() == vectors.astype("f4").tobytes()
        else:
            right &= not Path("out/out.itememb").exists()
        accepted(kind, right, "other rows are written than stand in the arrays")
