"""What has been done so far? A file of JSON lines that is only ever added to.

Each record has a ``kind``:

- ``sitting``: a start of the runner, with the ``format`` it writes and when, by which code and on
  what machine it ran;
- ``plan``, ``protocol``: of all that comes after, until there is another;
- ``refused``: label to the reason why a row is not run;
- ``config``: the configuration of a row, with the ``id`` by which its runs name it;
- ``run``: a run that is done or has failed;
- ``outdated``: a run that is no longer a result of the plan.

Formats: 1 has no ``sitting`` and no ``config``: each run has its whole configuration in its result.
"""

import json
import os
from pathlib import Path

FORMAT = 2


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
        ValueError: on a line that is not a record, with its number, or if the journal has a newer
            format than ``FORMAT``.
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
            raise ValueError(f"{path}, line {number} is not a record of a benchmark") from error
    newest = max((record.get("format", 1) for record in records), default=1)
    if newest > FORMAT:
        raise ValueError(
            f"{path} has format {newest}, and this recbole-diffusion reads formats up to {FORMAT}: "
            "update it"
        )
    return records


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

        Raises:
            ValueError: if there is no such kind.
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
        elif kind == "outdated":
            del self.runs[place(record)]
        else:
            raise ValueError(f"no record of a benchmark is of kind {kind!r}")

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
