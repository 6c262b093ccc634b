"""How does a raw log become a RecBole atomic file? The steps every script here shares.

Reading: plain, gzipped or zipped text in blocks of whole lines; a bad line is refused with its
file and number. Ordering: by user, time, behaviour rank and file order, in bounded memory, through
files beside the output. Writing: into a temporary folder beside the output, renamed at the end.
"""

import argparse
import contextlib
import difflib
import gzip
import io
import lzma
import os
import re
import shutil
import string
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

BLOCK_BYTES = 1 << 24
BUCKET_ROWS = 1 << 20
SLICE_ROWS = 1 << 16
LONGEST_LINE = 1 << 20
LONGEST_MESSAGE = 500
# No log of ids and times shrinks to a 100th; what does is made to fill memory or disk.
MOST_EXPANDED, UNSUSPECTED = 100, 1 << 24
DUPLICATES = "repeated lines among them (the data set drops these on loading)"
ROW = np.dtype([("user", "<i8"), ("item", "<i8"), ("time", "<i8"), ("behavior", "i1")])

_USUAL_BYTES = (string.ascii_letters + string.digits + "_-,\n").encode()
_TIME = r"[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?|T[0-9]{4}(?:[0-9]{2})?"
_ZONE = r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
_DATE = rf"[0-9]{{4}}(?:-[0-9]{{2}}-[0-9]{{2}}|[0-9]{{4}})(?:(?:{_TIME}){_ZONE})?"
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")


class InputError(ValueError):
    """The raw file or the request cannot be served; the message names the file and the line."""

    def __init__(self, message):
        if len(message) > LONGEST_MESSAGE:  # it quotes what was found
            message = f"{message[: LONGEST_MESSAGE - 100]} ... {message[-80:]}"
        super().__init__(message)


# ---------------------------------------------------------------------------------------- reading


@contextlib.contextmanager
def open_raw(path, member=None):
    """Opens a plain, ``.gz`` or ``.zip`` file for reading bytes.

    Args:
        path (str or Path): the raw file.
        member (str): name of the file to take from a zip that holds several.

    Yields:
        a binary file.

    Raises:
        InputError: the file is missing or damaged, the zip does not say which file to take, or
            what is packed grows beyond all proportion.
    """
    path = Path(path)
    with _unpacking(path), contextlib.ExitStack() as stack:
        if path.suffix == ".gz":
            packed, size = stack.enter_context(gzip.open(path, "rb")), 0
        elif path.suffix == ".zip":
            archive = stack.enter_context(zipfile.ZipFile(path))
            name = _member(path, archive, member)
            packed, size = stack.enter_context(archive.open(name)), archive.getinfo(name).file_size
        else:
            yield stack.enter_context(open(path, "rb"))
            return
        yield io.BufferedReader(_Unpacked(packed, path, size))


class _Unpacked(io.RawIOBase):
    """Reads what is packed, but not without end.

    Args:
        packed (binary file): what unpacks it.
        path (Path): the packed file.
        size (int): the unpacked size that it claims, 0 where it claims none.
    """

    def __init__(self, packed, path, size):
        self.packed, self.path, self.n = packed, path, 0
        self.limit = max(UNSUSPECTED, MOST_EXPANDED * path.stat().st_size)
        self._check(size)

    def readable(self):
        return True

    def readinto(self, buffer):
        piece = self.packed.read(len(buffer))
        self.n += len(piece)
        self._check(self.n)
        buffer[: len(piece)] = piece
        return len(piece)

    def _check(self, size):
        if size > self.limit:
            raise InputError(
                f"{self.path}: unpacks to more than {self.limit >> 20:,} MiB, {MOST_EXPANDED} "
                "times its size, which no log does; unpack it yourself if you trust it"
            )


def zip_names(path):
    """Lists the files in a zip, without those that macOS adds.

    Args:
        path (str or Path): the zip.

    Returns:
        list of str: their names, with the folders in the zip.

    Raises:
        InputError: the zip is missing or damaged.
    """
    with _unpacking(path), zipfile.ZipFile(path) as archive:
        return _names(archive)


@contextlib.contextmanager
def _unpacking(path):
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, not a file") from None
    # RuntimeError is what zipfile raises for a zip with a password.
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, RuntimeError) as error:
        raise InputError(f"{path}: cannot be unpacked: {error}") from None
    except lzma.LZMAError as error:
        raise InputError(f"{path}: cannot be unpacked: {error}") from None
    except OSError as error:
        if path.suffix not in (".gz", ".zip") or error.filename:
            raise
        raise InputError(f"{path}: cannot be unpacked: {error}") from None


def _names(archive):
    names = [name for name in archive.namelist() if not name.endswith("/")]
    return [name for name in names if not name.startswith("__MACOSX/")]


def _member(path, archive, wanted):
    names = _names(archive)
    tables = [name for name in names if name.endswith((".csv", ".tsv"))]
    named = [name for name in names if name.rsplit("/", 1)[-1] == wanted]
    for choice in (named, tables, names):
        if len(choice) == 1:
            return choice[0]
    raise InputError(
        f"{path}: the zip must hold one .csv"
        + (f" or one named {wanted}" if wanted else "")
        + f", and holds {', '.join(names) or 'nothing'}"
    )


def read_blocks(path, member=None, block_bytes=BLOCK_BYTES):
    """Reads whole lines in blocks, with a line feed after every line, the last one too.

    Args:
        path (str or Path): the raw file.
        member (str): see :func:`open_raw`.
        block_bytes (int): how much is read at once.

    Yields:
        tuple: 1-based number of the block's first line, and the block (bytes).

    Raises:
        InputError: the file is missing, damaged or empty, or a line has no end.
    """
    line, rest, start = 1, b"", True
    with open_raw(path, member) as file:
        while piece := file.read(block_bytes):
            piece = rest + piece
            if start and len(piece) < 3:
                rest = piece
                continue
            if start:
                piece, start = piece.removeprefix(b"\xef\xbb\xbf"), False
            cut = piece.rfind(b"\n") + 1
            block, rest = piece[:cut], piece[cut:]
            _refuse_endless(path, line, block, rest)
            if block:
                block = block.replace(b"\r\n", b"\n")
                yield line, block
                line += block.count(b"\n")
    if rest:
        yield line, rest.removesuffix(b"\r") + b"\n"
    elif line == 1:
        raise InputError(f"{path}: is empty")


def _refuse_endless(path, line, block, rest):
    ends = np.append(np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")), len(block + rest))
    long = np.diff(ends, prepend=-1) > LONGEST_LINE
    if long.any():
        raise InputError(
            f"{path}, line {line + int(long.argmax())}: is longer than {LONGEST_LINE:,} bytes"
        )


def read_body(path, header=None, member=None, **reading):
    """Reads blocks as :func:`read_blocks` does, without the header.

    Args:
        path (str or Path): the raw file.
        header (str): the first line, for files that have one.
        member (str): see :func:`open_raw`.
        reading: ``block_bytes`` of :func:`read_blocks`.

    Yields:
        tuple: see :func:`read_blocks`.

    Raises:
        InputError: see :func:`read_blocks`; or the header is another, or all there is.
    """
    rows = False
    for line, block in read_blocks(path, member, **reading):
        if header is not None and line == 1:
            first, block = block.split(b"\n", 1)
            if first.decode("utf-8", "replace") != header:
                raise InputError(
                    f"{path}, line 1: must be the header {header!r}, "
                    f"found {first.decode('utf-8', 'replace')!r}"
                )
            line = 2
        if block:
            rows = True
            yield line, block
    if not rows:
        raise InputError(f"{path}: holds a header and no rows")


def read_log(path, columns, behaviors, *, header=None, member=None, signed_time=False, **reading):
    """Reads a comma-separated log of whole numbers and named behaviours.

    Args:
        path (str or Path): the raw file.
        columns (tuple of str): the file's columns in order. ``user``, ``item``, ``behavior`` and
            ``time`` (if there) are read; any other name is skipped over.
        behaviors (tuple of str): the file's words for the behaviours, in order of rank.
        header (str): the first line, for files that have one.
        member (str): see :func:`open_raw`.
        signed_time (bool): whether a time before 1970 may stand in the file.
        reading: ``block_bytes`` of :func:`read_blocks`.

    Yields:
        numpy.ndarray: rows of type ``ROW`` in file order; behaviours as ranks, time 0 if absent.

    Raises:
        InputError: something in the file is malformed; names the first such line.
    """
    for line, block in read_body(path, header, member, **reading):
        yield _parse(path, line, block, columns, behaviors, signed_time)


def _parse(path, line, block, columns, behaviors, signed_time):
    def explain():
        _raise_for_first_bad_line(path, line, block, columns, behaviors, signed_time)

    if not _looks_clean(block, len(columns)):
        explain()
    numbers = [name for name in ("user", "item", "time") if name in columns]
    try:
        frame = pd.read_csv(
            io.BytesIO(block),
            header=None,
            names=list(columns),
            usecols=[*numbers, "behavior"],
            # Named, because pandas 3 would read words of digits as numbers.
            dtype={**dict.fromkeys(numbers, "int64"), "behavior": pd.CategoricalDtype(behaviors)},
            na_filter=False,
            quoting=3,
            skip_blank_lines=False,
        )
    except (ValueError, OverflowError) as error:
        explain()
        raise InputError(f"{path}, from line {line} on: {error}") from None
    table = np.zeros(len(frame), dtype=ROW)
    table["behavior"] = frame["behavior"].cat.codes  # the rank, -1 for any other word
    for name in numbers:
        table[name] = frame[name].to_numpy()
    positive = ["user", "item", "behavior"] + ([] if signed_time else ["time"])
    if any((table[name] < 0).any() for name in positive):
        explain()
    return table


def _looks_clean(block, n_columns):
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    commas = np.searchsorted(np.flatnonzero(data == ord(",")), ends)
    if (np.diff(commas, prepend=0) != n_columns - 1).any():
        return False
    # pandas reads 1e3 as the whole number 1000.
    return not block.translate(None, _USUAL_BYTES) and not re.search(rb"[0-9][eE]", block)


def _raise_for_first_bad_line(path, line, block, columns, behaviors, signed_time):
    for number, text in enumerate(block.decode("utf-8", "replace").split("\n")[:-1], start=line):
        wrong = _what_is_wrong(text, columns, behaviors, signed_time)
        if wrong:
            raise InputError(f"{path}, line {number}: {wrong}")


def _what_is_wrong(text, columns, behaviors, signed_time):
    control = re.search(r"[\x00-\x1f]", text)
    if control:
        return f"holds the control character {control[0]!r} (a tab, for one, ends a field)"
    fields = text.split(",")
    if len(fields) != len(columns):
        found = f"{len(fields)} columns" if text else "an empty line"
        return f"expected {len(columns)} columns ({', '.join(columns)}), found {found}"
    for name, field in zip(columns, fields):
        if name not in ROW.names:
            continue
        if not field.strip():
            return f"the {name} is missing"
        if name == "behavior":
            if field not in behaviors:
                return f"unknown behavior {field!r}; known: {', '.join(behaviors)}"
        elif not _WHOLE_NUMBER.fullmatch(field):
            return f"{name} {field!r} is not a whole number"
        elif int(field) < 0 and not (name == "time" and signed_time):
            return f"{name} {field!r} is negative"
    return None


NO_DATE = np.iinfo(np.int64).min


def read_dates(text):
    """Reads ISO dates with a day, and times of them with minutes.

    Args:
        text (pandas.Series): the dates.

    Returns:
        numpy.ndarray: nanoseconds since 1970, ``NO_DATE`` for what is no date or is not within the
        years 1678 to 2261, which nanoseconds reach; shape: [n_rows].
    """
    # pandas takes a month for its first day, and 8:0 for a time.
    text = text.where(text.str.fullmatch(_DATE))
    return nanoseconds(pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce"))


def nanoseconds(stamps):
    """Turns moments into nanoseconds since 1970.

    Args:
        stamps (pandas.Series): moments with a zone, NaT for none.

    Returns:
        numpy.ndarray: see :func:`read_dates`.
    """
    limits = (limit.tz_localize("UTC") for limit in (pd.Timestamp.min, pd.Timestamp.max))
    # pandas 3 reads other years too, in coarser units.
    naive = stamps.where(stamps.between(*limits)).dt.tz_localize(None)
    return naive.to_numpy().astype("datetime64[ns]").astype(np.int64)  # NaT is the smallest


# --------------------------------------------------------------------------------------- counting


class Tally:
    """How often each whole number was seen, in memory of the order of the distinct ones."""

    def __init__(self):
        self._ids = np.empty(0, np.int64)
        self._counts = np.empty(0, np.int64)
        self._pending, self._n_pending = [], 0

    def add(self, values):
        """Counts an array of whole numbers."""
        ids, counts = np.unique(values, return_counts=True)
        self._pending.append((ids, counts))
        self._n_pending += len(ids)
        # Merging only when the new ones outnumber the old keeps the work linear.
        if self._n_pending > len(self._ids):
            self._merge()

    def _merge(self):
        parts = [(self._ids, self._counts), *self._pending]
        self._ids, place = np.unique(np.concatenate([p[0] for p in parts]), return_inverse=True)
        counts = np.concatenate([p[1] for p in parts])
        self._counts = np.bincount(place, weights=counts, minlength=len(self._ids)).astype(np.int64)
        self._pending, self._n_pending = [], 0

    def result(self):
        """Returns the sorted distinct numbers and their counts."""
        if self._pending:
            self._merge()
        return self._ids, self._counts


def summary(users, items, per_behavior):
    """Returns the counts of a log: ``users``, ``items``, ``interactions`` and each behaviour."""
    total = int(sum(per_behavior.values()))
    behaviors = {name: int(n) for name, n in per_behavior.items()}
    return {"users": int(users), "items": int(items), "interactions": total, **behaviors}


def say(title, counts):
    """Prints counts in one line."""
    print(f"{title}: " + ", ".join(f"{n:,} {name}" for name, n in counts.items()))


def compare(title, found, expected):
    """Prints the counts a public file must end with, and whether these do."""
    say(f"{title} must hold", expected)
    differing = [name for name, n in expected.items() if found.get(name) != n]
    if differing:
        print(f"  these counts differ in {', '.join(differing)} (right for a subset)")
    else:
        print("  these counts match")


# ------------------------------------------------------------------------------ choosing, ordering


def choose_users(users, n):
    """Chooses n users by the smallest SplitMix64 hash of their id.

    The choice depends on the set of ids alone, not on the order of the file, and the choice of
    n users is part of the choice of n + 1.

    Args:
        users (numpy.ndarray): distinct ids, shape: [n_users].
        n (int): how many to keep; all of them if there are fewer.

    Returns:
        numpy.ndarray: the chosen ids, sorted.
    """
    z = users.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.sort(users[np.argsort(z, kind="stable")[:n]])


def _among(values, sorted_ids):
    if not len(sorted_ids):
        return np.zeros(len(values), dtype=bool)
    place = np.minimum(np.searchsorted(sorted_ids, values), len(sorted_ids) - 1)
    return sorted_ids[place] == values


def write_sorted_log(tables, output, behaviors, *, users=None, min_item=1, bucket_rows=BUCKET_ROWS):
    """Writes ``<output>/<name>.inter`` sorted by user id, time, behaviour rank, then file order.

    Memory is bounded by the size of a table, the number of distinct users and items, and
    ``bucket_rows`` (or the rows of the busiest user): the rows go to a file beside the output, from
    there into one file per range of users, and each of those is sorted by itself. These files take
    50 bytes a row and are removed at the end.

    Args:
        tables (iterable of numpy.ndarray): rows of type ``ROW`` in file order.
        output (str or Path): folder to write; its last part names the data set.
        behaviors (tuple of str): tokens to write, in order of rank.
        users (int): how many users to keep, see :func:`choose_users`; None for all.
        min_item (int): keep the items with at least so many interactions among the kept users.
            Applied once: users and items are not filtered again for what it removes.
        bucket_rows (int): about how many rows are sorted at once.

    Returns:
        tuple: counts of what was read and counts of what was written, see :func:`summary`.

    Raises:
        InputError: nothing is left to write.
    """
    with output_folder(output) as (folder, scratch):
        spool = scratch / "rows"
        user_tally, item_tally = Tally(), Tally()
        seen = np.zeros(len(behaviors), np.int64)
        with open(spool, "wb") as file:
            for table in tables:
                user_tally.add(table["user"])
                item_tally.add(table["item"])
                seen += np.bincount(table["behavior"], minlength=len(behaviors))
                table.tofile(file)
        all_users, rows_of_user = user_tally.result()
        all_items, rows_of_item = item_tally.result()
        read = summary(len(all_users), len(all_items), dict(zip(behaviors, seen)))

        kept_users, kept_items = all_users, all_items
        if users is not None and users < len(all_users):
            kept_users = choose_users(all_users, users)
            kept_rows = Tally()
            for table in _slices(spool, bucket_rows):
                kept_rows.add(table["item"][_among(table["user"], kept_users)])
            kept_items, rows_of_item = kept_rows.result()
            rows_of_user = rows_of_user[_among(all_users, kept_users)]
        kept_items = kept_items[rows_of_item >= min_item]

        buckets = _partition(spool, scratch, kept_users, rows_of_user, kept_items, bucket_rows)
        spool.unlink()
        written = _write_buckets(buckets, folder / f"{folder.name}.inter", behaviors)
        if not written["interactions"]:
            raise InputError(f"no interaction is left with min_item = {min_item}")
    return read, written


def _slices(path, n_rows):
    with open(path, "rb") as file:
        while len(table := np.fromfile(file, ROW, n_rows)):
            yield table


def _partition(spool, scratch, users, rows_of_user, items, bucket_rows):
    rows_before = np.cumsum(rows_of_user) - rows_of_user
    bucket_of_user = rows_before // bucket_rows
    paths = {bucket: scratch / f"bucket{bucket}" for bucket in np.unique(bucket_of_user)}
    for table in _slices(spool, bucket_rows):
        table = table[_among(table["user"], users) & _among(table["item"], items)]
        bucket = bucket_of_user[np.searchsorted(users, table["user"])]
        order = np.argsort(bucket, kind="stable")
        table, bucket = table[order], bucket[order]
        starts = np.flatnonzero(np.diff(bucket, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(table)]):
            with open(paths[bucket[start]], "ab") as file:
                table[start:stop].tofile(file)
    return [path for _, path in sorted(paths.items()) if path.exists()]


def _write_buckets(buckets, path, behaviors):
    items, n_users, duplicates = Tally(), 0, 0
    per_behavior = np.zeros(len(behaviors), np.int64)
    with inter_file(path) as write:
        for bucket in buckets:
            table = np.fromfile(bucket, ROW)
            bucket.unlink()
            # lexsort is stable: what ties in all three stays in file order.
            table = table[np.lexsort((table["behavior"], table["time"], table["user"]))]
            columns = {name: table[name] for name in ROW.names}
            items.add(columns["item"])
            n_users += np.count_nonzero(np.diff(columns["user"], prepend=-1))
            per_behavior += np.bincount(columns["behavior"], minlength=len(behaviors))
            duplicates += int(pd.DataFrame(columns).duplicated().sum())
            behavior = np.array(behaviors, dtype=object)[columns["behavior"]]
            write(columns["user"], columns["item"], behavior, columns["time"])
    counts = summary(n_users, len(items.result()[0]), dict(zip(behaviors, per_behavior)))
    return {**counts, DUPLICATES: duplicates}


# ---------------------------------------------------------------------------------------- writing


def inter_file(path, behavior=True):
    """Opens an atomic file of interactions for writing.

    Args:
        path (Path): the file to write.
        behavior (bool): whether it has a behaviour column.

    Returns:
        context manager: see :func:`atomic_file`; the order is user, item, behaviour (if there),
        time.
    """
    fields = ["user_id:token", "item_id:token", "behavior:token", "timestamp:float"]
    if not behavior:
        fields.remove("behavior:token")
    return atomic_file(path, fields)


@contextlib.contextmanager
def atomic_file(path, fields):
    """Opens an atomic file for writing.

    Args:
        path (Path): the file to write.
        fields (list of str): the names and types of its columns, as in ``user_id:token``.

    Yields:
        callable: writes rows, given the columns (numpy.ndarray, shape: [n_rows]) in that order.
    """
    line = "\t".join(["%s"] * len(fields)) + "\n"
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(fields) + "\n")

        def write(*columns):
            for start in range(0, len(columns[0]), SLICE_ROWS):
                piece = slice(start, start + SLICE_ROWS)
                rows = zip(*(column[piece].tolist() for column in columns))
                file.write("".join(map(line.__mod__, rows)))

        yield write


@contextlib.contextmanager
def output_folder(output):
    """Gives a folder to fill that becomes ``output`` only if all goes well.

    A folder that is already there keeps its other files; those written again are replaced one by
    one, each whole.

    Args:
        output (str or Path): the folder the user asked for.

    Yields:
        tuple: the folder to fill, of the same name as ``output``, and a scratch folder.

    Raises:
        InputError: ``output`` is a file, or has no name.
    """
    output = Path(os.path.abspath(output))
    if not output.name:
        raise InputError(f"{output}: the output needs a name")
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file, and the output must be a folder")
    output.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        folder = scratch / output.name
        folder.mkdir()
        yield folder, scratch
        if output.exists():
            for path in sorted(folder.iterdir()):
                os.replace(path, output / path.name)
        else:
            os.rename(folder, output)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


# ----------------------------------------------------------------------------------- command line


class Parser(argparse.ArgumentParser):
    """A parser whose refusals are one line, with the nearest option for a misspelt one."""

    def parse_args(self, args=None, namespace=None):
        for word in sys.argv[1:] if args is None else args:
            name = str(word).partition("=")[0]
            if name.startswith("--") and name not in self._option_string_actions:
                near = difflib.get_close_matches(name, self._option_string_actions, 1, 0.75)
                if near:
                    self.error(f"there is no option {name}; did you mean {near[0]}?")
        return super().parse_args(args, namespace)

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}; --help says what there is\n")


def at_least_one(text):
    """Reads a command-line number that must be 1 or more.

    Raises:
        argparse.ArgumentTypeError: it is not.
    """
    if not re.fullmatch("[0-9]+", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def add_subset_options(parser):
    """Adds ``--users`` and ``--min_item`` to a parser."""
    parser.add_argument(
        "--users",
        type=at_least_one,
        metavar="N",
        help="keep N users: those with the smallest hash of their id (same N, same users)",
    )
    parser.add_argument(
        "--min_item",
        type=at_least_one,
        default=1,
        metavar="K",
        help="keep items with at least K interactions among the kept users (applied once)",
    )


def run(convert, arguments):
    """Runs a conversion and turns what a user can mend into one line on stderr.

    Args:
        convert (callable): takes the parsed arguments by name.
        arguments (argparse.Namespace): the parsed arguments.

    Returns:
        int: the exit code, 0 or 2.
    """
    try:
        convert(**vars(arguments))
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
