"""What has been done so far? A file of JSON lines that is only ever added to."""

import json
import os
from pathlib import Path


class Journal:
    """The records of a benchmark; one process at a time writes.

    Args:
        path (str or Path): the file; made if it is not there.

    Raises:
        ValueError: if another process writes to it.
    """

    def __init__(self, path):
        import fcntl  # not on Windows, where the package is not tested

        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(self.path, "a+b")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.file.close()
            raise ValueError(f"another benchmark is writing to {self.path}") from error
        self.file.seek(0)
        whole = self.file.read().rfind(b"\n") + 1
        self.file.truncate(whole)  # a kill can leave half a line

    def append(self, record):
        """Adds one record; after it returns, a kill does not lose it.

        Args:
            record (dict): plain values.
        """
        self.file.write(json.dumps(record).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


def read_journal(path):
    """All whole records of a journal.

    Args:
        path (str or Path): the file.

    Returns:
        list of dict: in the order they were written; empty without a file.

    Raises:
        ValueError: on a line that is no JSON, with its number.
    """
    path = Path(path)
    if not path.is_file():
        return []
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    records = []
    for number, line in enumerate(whole.split(b"\n"), 1):
        try:
            records += [json.loads(line)] if line else []
        except ValueError as error:
            raise ValueError(f"{path}, line {number} is no record of a benchmark") from error
    return records
