"""What has been done so far? A file of JSON lines that is only ever added to.

Each record has a ``kind``:

- ``sitting``: a start of the runner, with the ``format`` it writes and when, by which code and on
  what machine it ran;
- ``plan``, ``protocol``: of all that comes after, until there is another;
- ``refused``: label to the reason why a row is not run;
- ``config``: the configuration of a row, with the ``id`` by which its runs name it;
- ``run``: a run that is done or has failed;
- ``outdated``: a run that is no longer a result of the plan.

Each line begins with the ``check`` of its content and of all that stands before it: what was
changed, deleted, doubled or moved is found, with its line. A last line without an end is what a
kill leaves, and does not count.

Formats: 1 has no ``sitting`` and no ``config``: each run has its whole configuration in its result.
1 and 2 have no ``check``.
"""

import hashlib
import json
import os
import re
from pathlib import Path

from recbole_diffusion.benchmark.records import check_record

FORMAT = 3
CHECKED = 3  # the first format whose lines have a check
CHECK = re.compile(rb'\{"check": "([0-9a-f]{16})", ')


class JournalError(ValueError):
    """A journal that cannot be read or written; the message names the file and the line."""


class NewerFormat(ValueError):
    """Records that only a later version understands."""


class Journal:
    """The records of a benchmark; one process at a time writes. Nothing is made or changed before
    the first record is added.

    Args:
        path (str or Path): the file.

    Raises:
        JournalError: if another process writes to it, or it is damaged.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.file = None
        self.begun = False
        if os.path.lexists(self.path):
            self._open(os.O_RDWR)

    def _open(self, flags):
        import fcntl  # not on Windows, where the package is not tested

        self.file = os.open(self.path, flags, 0o666)
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.__exit__()
            raise JournalError(f"another benchmark is writing to {self.path}") from error

    def _begin(self):
        """Makes the file if it is not there, and takes away what a kill left of a last line."""
        if self.file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._open(os.O_RDWR | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                raise JournalError(f"another benchmark has begun to write to {self.path}") from None
        content = self.path.read_bytes()
        lines, _ = _read_lines(self.path, content)
        whole = b"".join(line + b"\n" for line in lines)
        self.size, self.digest = len(whole), hashlib.sha256(whole)
        os.ftruncate(self.file, min(self.size, len(content)))
        if len(content) < self.size:  # the last line lacks its end alone
            self._put(b"\n", len(content))
        self.begun = True

    def append(self, record):
        """Adds one record; after it returns, a kill does not lose it.

        Args:
            record (dict): plain values.

        Raises:
            JournalError: if it cannot be written, of which then nothing is left in the file.
        """
        if not self.begun:
            self._begin()
        content = json.dumps(record, allow_nan=False).encode()
        line = b'{"check": "' + _check(self.digest, content) + b'", ' + content[1:] + b"\n"
        self._put(line, self.size)
        self.size += len(line)
        self.digest.update(line)

    def _put(self, content, at):
        try:
            written = os.pwrite(self.file, content, at)
            if written < len(content):
                raise OSError(f"only {written} of {len(content)} bytes fit")
            os.fsync(self.file)
        except OSError as error:
            os.ftruncate(self.file, at)
            raise JournalError(
                f"{self.path} cannot be written: {error.strerror or error}; what was recorded "
                "before is whole, and the same command goes on"
            ) from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.file is not None:
            os.close(self.file)
            self.file = None


def _check(digest, content):
    """The check of a line after what ``digest`` has seen; 16 characters."""
    digest = digest.copy()
    digest.update(content)
    return digest.hexdigest()[:16].encode()


def _read_lines(path, content):
    """The whole lines of a journal without their ends, and (number, record) of those not empty."""
    lines = content.split(b"\n")
    last = len(lines)
    found, records, digest, checked = [], [], hashlib.sha256(), False
    for number, line in enumerate(lines, 1):
        if number == last and not line:
            break
        try:
            record, checked = _read_line(line, digest, checked)
        except NewerFormat as error:
            raise JournalError(f"{path} {error}") from None
        except (ValueError, RecursionError) as error:
            if number == last and not (_is_json(line) or _is_json(line[:-1])):
                break  # a kill leaves a line without its end
            if isinstance(error, RecursionError):
                error = "it is nested too deeply"
            raise JournalError(
                f"{path}, line {number} is not a record of a benchmark: {error}"
            ) from None
        found.append(line)
        if record is not None:
            records.append((number, record))
        digest.update(line + b"\n")
    return found, records


def _is_json(line):
    try:
        json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    return True


def _read_line(line, digest, checked):
    """The record of a line (None of an empty one), and whether lines have checks from here on."""
    if not line and not checked:
        return None, checked
    match = CHECK.match(line)
    if not match and checked:
        raise ValueError("it has no check, as those before it have: it was changed")
    if match:
        line = b"{" + line[match.end() :]
        if _check(digest, line) != match[1]:
            raise ValueError("it, or what stood before it, was changed after it was written")
    record = json.loads(line.decode("utf-8"))
    newest = record.get("format", 1) if isinstance(record, dict) else 1
    if type(newest) is int and newest > FORMAT:
        raise NewerFormat(
            f"has format {newest}, and this recbole-diffusion reads formats up to {FORMAT}: "
            "update it"
        )
    check_record(record)
    if newest >= CHECKED and not match:
        raise ValueError("it has no check, as its format has: it was changed")
    return record, bool(match)


def read_journal(path):
    """All whole records of a journal.

    Args:
        path (str or Path): the file.

    Returns:
        list of dict: in the order they were written; empty without a file.

    Raises:
        JournalError: if it is no file, or on a line that is not a record, was changed after it was
            written, or has a newer format than ``FORMAT``, with its number.
    """
    path = Path(path)
    if not os.path.lexists(path):
        return []
    try:
        content = path.read_bytes()
    except OSError as error:
        raise JournalError(f"cannot read {path}: {error.strerror}") from error
    records = _read_lines(path, content)[1]
    kinds, known = set(), set()
    for number, record in records:
        kind, where = record["kind"], f"{path}, line {number}"
        if kind == "run":
            if not {"plan", "protocol"} <= kinds:
                raise JournalError(f"{where} is a run before there is a plan and a protocol")
            known.add(place(record))
        elif kind == "outdated":
            if place(record) not in known:
                raise JournalError(f"{where} outdates a run that is not there")
            known.remove(place(record))
        kinds.add(kind)
    return [record for _, record in records]


class State:
    """What the records of a journal come to: of what is recorded twice, the last counts.

    Args:
        records (iterable of dict): in the order they were written.

    Attributes:
        plan, protocol (dict): the last; ``plan`` is None and ``protocol`` empty before the first.
        refused (dict): label to the reason why a row is not run.
        runs (dict): (label, phase, number) to the record that counts.
        done (dict): id to the record of every run, also of earlier plans.
        configs (dict): id to the configuration of a row.
        sittings (list of dict): starts of the runner; empty in format 1.
    """

    def __init__(self, records=()):
        self.plan, self.protocol, self.refused = None, {}, {}
        self.runs, self.done, self.configs, self.sittings = {}, {}, {}, []
        for record in records:
            self.add(record)

    def add(self, record):
        """Takes in one more record.

        Args:
            record (dict): of any kind.
        """
        kind = record["kind"]
        if kind == "sitting":
            self.sittings.append(record)
        elif kind == "plan":
            self.plan = record["plan"]
        elif kind == "protocol":
            self.protocol = record["protocol"]
        elif kind == "refused":
            self.refused = record["reasons"]
        elif kind == "config":
            self.configs[record["id"]] = record["config"]
        elif kind == "run":
            self.runs[place(record)] = self.done[record["id"]] = record
        else:
            del self.runs[place(record)]

    def config(self, run):
        """The configuration of a run.

        Args:
            run (dict): its record.

        Returns:
            dict: its settings, {} where none are recorded; in format 1 with its seed.
        """
        in_result = run["result"].get("config")  # format 1
        return in_result or self.configs.get(run.get("config"), {})


def place(record):
    """The place of a run in its plan: label, phase and number."""
    return record["label"], record["phase"], record["number"]
