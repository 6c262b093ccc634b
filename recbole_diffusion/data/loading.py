"""Are the rows of the files usable? Refuses, with file and line, what RecBole would guess about."""

import difflib
from pathlib import Path

import numpy as np
from recbole.utils.enum_type import FeatureSource, FeatureType

from recbole_diffusion.config.keys import of_kind
from recbole_diffusion.config.paths import properties_dir
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.data.behaviors import behaviors_of
from recbole_diffusion.data.lines import DataError
from recbole_diffusion.data.repeats import TEST, VALID, WholeRows

POSITION = "position"  # column: how many earlier interactions of its user a row has
STAMP = "stamp_in_float64"  # column until the split is done; tensors of times are float32


class DataNotFoundError(DataError):
    """The data set's files are not there; the message says how to prepare them."""


def _near(name, folder):
    """What was meant by a name of no data set; empty where nothing is near."""
    names = [file.stem for file in (properties_dir() / "dataset").glob("*.yaml")]
    if folder.is_dir():
        names += [path.name for path in folder.iterdir() if path.is_dir()]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    return f"Did you mean '{near[0]}'? " if near else ""


class CheckedRows(WholeRows):
    """Loading of interactions with checks; mixed in before a RecBole data set.

    ``config`` keys read: ``BEHAVIOR_FIELD``, ``behavior_from``, ``target_behavior``, ``SPLIT``,
    ``train_rows``, ``held_out_items``, ``benchmark_filename``, ``eval_args``, ``prepare_hint``.

    Attributes:
        whole_sequences (bool): whether all of a user's rows are in one part of the split.
        in_order (bool): whether rows have a place in their user's history; only general models
            with order RO go without.
        has_positions (bool): whether rows carry that place; also where only the model needs it.
        new_items (bool): whether users had no held-out item before.
        target_tokens (list of str): the behaviours that are predicted.
    """

    def _get_field_from_config(self):
        super()._get_field_from_config()
        self.whole_sequences = self.config["SPLIT"] == "sequence"
        self.new_items = self.config["held_out_items"] == "new"
        self.in_order = self._needs_time() or self.ready_made
        # T-DiffRec on a random split: the model reads the order, the split does not
        self.has_positions = self.in_order or self.config["ordered_history"]
        self._first_file = None  # of a ready-made split, and its columns
        self._refuse_without_order()

    def _refuse_without_order(self):
        """What is cut by position in a history needs histories in order."""
        if self.in_order:
            return
        split = next(iter(self.config["eval_args"]["split"] or {}), None)
        if self.behavior_field is not None and split in ("LS", "TS"):
            raise DataError(f"the split {split} with behaviours needs eval_args order: TO, not RO")
        if self.config["train_rows"] == "last":
            raise DataError("train_rows: last needs eval_args order: TO, not RO")
        if self.new_items:
            raise DataError(
                "held_out_items: new drops what stands before a held-out row and needs eval_args "
                "order: TO, not RO"
            )

    def _load_data(self, token, dataset_path):
        if self.ready_made:
            self._refuse_filters()
        names = [f"{token}.{part}.inter" for part in self.config["benchmark_filename"] or []]
        missing = [
            name for name in names or [f"{token}.inter"] if not Path(dataset_path, name).is_file()
        ]
        if missing:
            hint = self.config["prepare_hint"] or _near(token, Path(dataset_path).parent) + (
                "Put a tab-separated file with a header like "
                f"`user_id:token item_id:token timestamp:float` there ({token}.inter), or make one "
                "with `recbole-diffusion data prepare` (see 'Your own data' in the README), or "
                "point --data_path at the folder that holds it; `recbole-diffusion data list` has "
                "those that are known."
            )
            raise DataNotFoundError(
                f"data set '{token}' has no {', '.join(missing)} in {dataset_path}. {hint}"
            )
        super()._load_data(token, dataset_path)

    def _check_loaded(self, folder):
        self._check_rows(folder)
        if self.whole_sequences and self.ready_made:
            self._refuse_parted_sequences()
        if self.config["behavior_from"] is not None:
            self._derive_behavior()
        if self.behavior_field is not None:
            self._check_behavior()

    def _from_scratch(self):
        """RecBole's loading; where it refuses, its words beside the settings they are about."""
        try:
            super()._from_scratch()
        except (DataError, ConfigError):
            raise
        except ValueError as error:
            given = self.config.external_config_dict
            about = [key for key in self.config.parameters["Dataset"] if key in given]
            raise DataError(
                f"data set '{self.dataset_name}': {error}"
                + (f" (with {', '.join(about)})" if about else "")
            ) from error

    def _load_feat(self, filepath, source):
        """Reads a file; the files of a ready-made split have the same columns, in any order."""
        table = super()._load_feat(filepath, source)
        if source != FeatureSource.INTERACTION or not self.ready_made or table is None:
            return table
        columns = sorted(f"{name}:{self.field2type[name].value}" for name in table)
        self._first_file = self._first_file or (filepath, columns)
        path, first = self._first_file
        if columns != first:
            raise DataError(
                f"{filepath} line 1: the columns are {', '.join(columns)}, and those of {path} are "
                f"{', '.join(first)}: name those of all files with load_col"
            )
        return table

    def _refuse_filters(self):
        """Ready-made splits are what their authors cut: a filter would change the held-out rows."""
        files = self.config["benchmark_filename"]
        if not isinstance(files, list) or len(files) not in (3, 4):
            raise DataError(
                f"benchmark_filename names train, valid, test and optionally history, not {files}"
            )
        if self.whole_sequences and len(files) == 4:
            raise DataError(
                "with SPLIT: sequence benchmark_filename names train, valid and test, not "
                f"{files}: a held-out sequence is its own history"
            )
        idle = (None, "[0,inf)")
        used = [key for key in of_kind("filter") if self.config[key] not in idle]
        if used:
            raise DataError(
                f"{', '.join(used)} cannot be used with the ready-made split {files}: filter "
                "before cutting the files"
            )

    def _check_rows(self, folder):
        table = self.inter_feat
        files = f"{folder / self.dataset_name}*.inter"
        source = self.config["behavior_from"] and self.config["behavior_from"]["field"]
        needed = {"USER_ID_FIELD": self.uid_field, "ITEM_ID_FIELD": self.iid_field}
        if source is not None:
            needed["behavior_from"] = source
        elif self.behavior_field is not None:
            needed["BEHAVIOR_FIELD"] = self.behavior_field
        loaded = [] if table is None else list(table)
        if self.has_positions and (not self.ready_made or self.time_field in loaded):
            needed["TIME_FIELD"] = self.time_field
        for key, field in needed.items():
            if field not in loaded:
                raise DataError(
                    f"column '{field}' is not among the loaded columns {loaded} of {files}: name "
                    f"the right column ({key}) or add it to load_col"
                )
        self._check_kinds(files, source)
        if len(table) == 0:
            raise DataError(f"{files} holds no interactions")
        for field in needed.values():  # RecBole would fill a gap with id 0 or the mean
            gap = table[field].isna().to_numpy()
            if self.field2type[field] == FeatureType.FLOAT:
                gap = gap | ~np.isfinite(table[field].to_numpy())
            if gap.any():
                raise DataError(
                    f"{self._place(int(gap.argmax()))}: '{field}' is missing (empty, or a word for "
                    f"it such as NA or null) or not finite ({int(gap.sum())} such lines)"
                )

    def _refuse_parted_sequences(self):
        """With ``SPLIT: sequence`` all rows of a user are in one file."""
        part = np.repeat(np.arange(len(self.file_size_list)), self.file_size_list)
        user = self.inter_feat[self.uid_field].to_numpy()
        _, first, sequence = np.unique(user, return_index=True, return_inverse=True)
        parted = part[first][sequence] != part
        if parted.any():
            row = int(parted.argmax())
            raise DataError(
                f"{self._place(row)}: the sequence of '{user[row]}' began at "
                f"{self._place(first[sequence[row]])}, but with SPLIT: sequence it is whole in "
                "train, valid or test"
            )

    def _check_kinds(self, files, behavior_source):
        """A column of another type than its use needs would be read as something else."""
        kinds = {self.uid_field: FeatureType.TOKEN, self.iid_field: FeatureType.TOKEN}
        kinds[behavior_source] = FeatureType.FLOAT
        if self.has_positions:  # ids of stamps would be in the order of their first lines
            kinds[self.time_field] = FeatureType.FLOAT
        if behavior_source is None:
            kinds[self.behavior_field] = FeatureType.TOKEN
        for field, kind in kinds.items():
            if field in self.inter_feat and self.field2type[field] != kind:
                raise DataError(
                    f"{files} line 1: column '{field}' is of type "
                    f"{self.field2type[field].value} and must be {field}:{kind.value}"
                )
        if POSITION in self.inter_feat or STAMP in self.inter_feat:
            raise DataError(
                f"{files} holds a column '{POSITION}' or '{STAMP}', a name that is taken: leave it "
                "out with unload_col, or rename it"
            )

    def _needs_time(self):
        """Time order matters for sequential models and for every split by time."""
        return self.config["eval_args"]["order"] == "TO" and not self.ready_made

    def _derive_behavior(self):
        """Makes the behaviour column out of another one, as ``behavior_from`` of the YAML says."""
        source = self.config["behavior_from"]
        values = self.inter_feat[source["field"]].to_numpy()
        self.inter_feat[self.behavior_field] = behaviors_of(values, source, self._place)
        self.field2type[self.behavior_field] = FeatureType.TOKEN
        self.field2source[self.behavior_field] = FeatureSource.INTERACTION
        self.field2seqlen[self.behavior_field] = 1

    def _check_behavior(self):
        wanted = self.config["target_behavior"]
        if wanted is None:
            raise DataError(
                f"BEHAVIOR_FIELD is '{self.behavior_field}' but target_behavior is not set: say "
                f"which of {sorted(self.inter_feat[self.behavior_field].unique())} is predicted"
            )
        # Compared as text, so that `target_behavior: 4` finds the token "4".
        self.target_tokens = [str(b) for b in (wanted if isinstance(wanted, list) else [wanted])]
        present = set(self.inter_feat[self.behavior_field])
        unknown = [token for token in self.target_tokens if token not in present]
        if unknown:
            raise DataError(
                f"target_behavior {unknown} does not occur in column '{self.behavior_field}'; "
                f"it holds {sorted(present)}"
            )
        if self.ready_made:
            self._refuse_other_targets()

    def _refuse_other_targets(self):
        """What stands in valid and test of a ready-made split is what is predicted."""
        behavior = self.inter_feat[self.behavior_field]
        other = np.isin(self._parts(), (VALID, TEST)) & ~behavior.isin(self.target_tokens)
        if other.any():
            row = int(other.argmax())
            raise DataError(
                f"{self._place(row)}: '{behavior[row]}' is not target_behavior "
                f"{self.target_tokens}, and all rows of valid and test are predicted "
                f"({int(other.sum())} such lines): leave them out"
            )
