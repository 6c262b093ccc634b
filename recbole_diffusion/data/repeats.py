"""Does an interaction stand in the files twice, or a held-out one before what is trained on?"""

from pathlib import Path

import numpy as np
import pandas as pd
from recbole.utils import ModelType
from recbole.utils.enum_type import FeatureType

from recbole_diffusion.data.columns import ReadAsWritten
from recbole_diffusion.data.lines import DataError, line_of

TRAIN, VALID, TEST, HISTORY = range(4)  # the files of a ready-made split
HELD_OUT = {VALID: "valid", TEST: "test"}


class WholeRows(ReadAsWritten):
    """Counts an event that was logged twice once; mixed in before a RecBole data set.

    An interaction is a user, an item, a behaviour (where there are some) and a stamp.

    - One split by us: a line that repeats an interaction is dropped. Without stamps a second line
      may be a second event, so it stays, as it does in RecBole, and is warned of.
    - Ready-made splits keep every line. An interaction of ``valid`` or ``test`` must not stand in
      an earlier one of ``train``, ``valid`` and ``test``, nor one of ``test`` in ``history``
      (which may hold what ``valid`` does); nor may a held-out row be older than the newest row of
      its user that is its history: of ``train``, for ``test`` also of ``history``. Equal stamps
      are no proof. Without stamps the same user, item and behaviour is a repeat for general models,
      which learn pairs; for sequential models it may be a second purchase, so it is counted only.

    ``config`` keys read: ``BEHAVIOR_FIELD``, ``benchmark_filename``, ``allow_overlap``,
    ``rm_dup_inter``, ``SPLIT``.

    Attributes:
        behavior_field (str): name of the behaviour column, None without behaviours.
        ready_made (bool): whether the split is that of the files.
        split_report (dict of str to int): counts of what loading and splitting did.
    """

    def _get_field_from_config(self):
        super()._get_field_from_config()
        self.behavior_field = self.config["BEHAVIOR_FIELD"]
        self.ready_made = self.config["benchmark_filename"] is not None
        self.split_report = {}

    def _load_inter_feat(self, token, dataset_path):
        super()._load_inter_feat(token, dataset_path)
        self._check_loaded(Path(dataset_path))
        if not self.ready_made:
            self._drop_repeated_lines()
        elif self.config["SPLIT"] != "sequence":  # there no user is in two files
            self._refuse_overlap()
            self._refuse_future()

    def _check_loaded(self, folder):
        """Checks the loaded rows before anything is counted."""

    def _place(self, row):
        """The file and 1-based line of a row of the loaded table, for messages."""
        parts = self.config["benchmark_filename"] or []
        name = f"{self.dataset_name}.inter"
        for part, size in zip(parts, self.file_size_list if parts else []):
            name = f"{self.dataset_name}.{part}.inter"
            if row < size:
                break
            row -= size
        path = Path(self.dataset_path, name)
        return f"{name} line {line_of(path, row, self.config['encoding'])}"

    def _timed(self):
        return self.time_field in self.inter_feat

    def _interactions(self):
        """The columns that tell interactions apart."""
        fields = [self.uid_field, self.iid_field, self.behavior_field]
        return self.inter_feat[
            [field for field in [*fields, self.time_field] if field in self.inter_feat]
        ]

    def _drop_repeated_lines(self):
        repeated = self._interactions().duplicated()
        count = int(repeated.sum())
        if not count:
            return
        if self._timed():
            self.split_report["repeated_lines_dropped"] = count
            self.logger.warning(f"{count} repeated lines count once")
            self.inter_feat = self.inter_feat[~repeated].reset_index(drop=True)
        elif self.config["rm_dup_inter"] is None:
            self.split_report["repeated_pairs_kept"] = count
            self.logger.warning(
                f"{count} lines name a user and an item that an earlier line names. Without a "
                f"column '{self.time_field}' nothing tells a repeated line from a second event, so "
                "they stay, and the split may part them: rm_dup_inter: first keeps one of each"
            )

    def _parts(self):
        """Which file each row is of, shape: [n_rows]."""
        return np.repeat(np.arange(len(self.file_size_list)), self.file_size_list)

    def _refuse_overlap(self):
        table, part = self._interactions(), self._parts()
        same = table.groupby(list(table), sort=False, dropna=False).ngroup().to_numpy()
        first = {}  # by part: the first row of each interaction, -1 without one
        for number in range(len(self.file_size_list)):
            first[number] = np.full(same.max() + 1, -1)
            rows = np.flatnonzero(part == number)[::-1]
            first[number][same[rows]] = rows
        proof = self._timed() or self.config["MODEL_TYPE"] != ModelType.SEQUENTIAL
        found = []
        pairs = [(VALID, TRAIN), (TEST, TRAIN), (TEST, VALID)]
        pairs += [(TEST, HISTORY)] * (self._timed() and HISTORY in first)
        names = self.config["benchmark_filename"]
        for held_out, other in pairs:
            twin = first[other][same]
            rows = np.flatnonzero((part == held_out) & (twin >= 0))
            if len(rows):
                what = "rows" if proof else "pairs"
                name = f"{HELD_OUT[held_out]}_{what}_in_{names[other]}"
                self.split_report[name] = len(rows)
                found.append((name, rows[0], twin[rows[0]]))
        if not found:
            return
        counts = ", ".join(f"{name}: {self.split_report[name]}" for name, *_ in found)
        if not proof:
            self.logger.warning(
                f"{counts} (the same user and item; without a column '{self.time_field}' it may "
                "have been twice)"
            )
            return
        _, row, twin = found[0]
        self._refuse(
            f"the interaction of {self._place(row)} is that of {self._place(twin)}", counts
        )

    def _refuse_future(self):
        if not self._timed() or self.field2type[self.time_field] != FeatureType.FLOAT:
            return
        part = self._parts()
        user = pd.factorize(self.inter_feat[self.uid_field])[0]
        time = self.inter_feat[self.time_field].to_numpy()
        found = []
        for held_out, past in ((VALID, [TRAIN]), (TEST, [TRAIN, HISTORY])):
            known = np.isin(part, past)
            newest = np.full(user.max() + 1, -np.inf)
            np.maximum.at(newest, user[known], time[known])
            early = (part == held_out) & (time < newest[user])
            if early.any():
                name = f"{HELD_OUT[held_out]}_rows_before_history"
                self.split_report[name] = int(early.sum())
                row = int(early.argmax())
                newer = known & (user == user[row]) & (time == newest[user[row]])
                found.append((name, row, int(newer.argmax())))
        if found:
            _, row, newer = found[0]
            counts = [f"{name}: {self.split_report[name]}" for name, *_ in found]
            wrong = f"{self._place(row)} is older than {self._place(newer)}, which is its history"
            self._refuse(wrong, ", ".join(counts))

    def _refuse(self, wrong, counts):
        if self.config["allow_overlap"]:
            self.logger.warning(f"{wrong} ({counts}), which allow_overlap allows")
            return
        raise DataError(
            f"{wrong}: training would see what is held out ({counts}). Cut the files anew, or set "
            "allow_overlap: True to go on with these counts in the report"
        )
