"""Data sets with behaviours: which rows are trained on, held out and seen as history.

Without ``BEHAVIOR_FIELD`` every split is RecBole's, row for row. With it, only interactions of
the target behaviour are held out, and their history holds every behaviour.

Letters: B rows of a batch, L longest history (``MAX_ITEM_LIST_LENGTH``), n longest in a batch.
"""

from pathlib import Path

import numpy as np
import torch
from recbole.data.dataset import Dataset, SequentialDataset
from recbole.data.interaction import Interaction
from recbole.utils.enum_type import FeatureSource, FeatureType

POSITION = "position"  # column: how many earlier interactions of its user a row has


class DataError(ValueError):
    """The data cannot be used as they are; the message says where and what to do."""


class DataNotFoundError(DataError):
    """The data set's files are not there; the message says how to prepare them."""


class BehaviorData:
    """What the data sets of general and sequential models share: checks, order and splits.

    Mixed in before a RecBole data set. ``config`` keys read: ``BEHAVIOR_FIELD``,
    ``behavior_from``, ``target_behavior``, ``train_rows``, ``train_behaviors``,
    ``benchmark_filename``, ``behavior_input``.

    Attributes:
        behavior_field (str): name of the behaviour column, None without behaviours.
        target_behavior_ids (list of int): ids of the behaviours that are predicted.
        store (dict of str to torch.Tensor): every interaction that can be history, sorted by user,
            then time in float64, then file order; one tensor of shape [n_stored] a field.
        start (torch.Tensor): first stored row of each user, shape [n_users + 1].
        split_report (dict of str to int): counts of what the split did, for results tables.
    """

    # ------------------------------------------------------------------ loading and checks
    def _get_field_from_config(self):
        super()._get_field_from_config()
        self.behavior_field = self.config["BEHAVIOR_FIELD"]
        self.ready_made = self.config["benchmark_filename"] is not None
        self.split_report = {}

    def _load_data(self, token, dataset_path):
        names = [f"{token}.{part}.inter" for part in self.config["benchmark_filename"] or []]
        missing = [
            name for name in names or [f"{token}.inter"] if not Path(dataset_path, name).is_file()
        ]
        if missing:
            hint = self.config["prepare_hint"] or (
                "Put a tab-separated file with a header like "
                f"`user_id:token item_id:token timestamp:float` there ({token}.inter), or make one "
                "with `python dataset_scripts/table.py` (see 'Your own data' in the README), or "
                "point --data_path at the folder that holds it."
            )
            raise DataNotFoundError(
                f"data set '{token}' has no {', '.join(missing)} in {dataset_path}. {hint}"
            )
        super()._load_data(token, dataset_path)

    def _load_inter_feat(self, token, dataset_path):
        if self.ready_made:
            self._refuse_filters()
        super()._load_inter_feat(token, dataset_path)
        self._check_rows(Path(dataset_path))
        if self.config["behavior_from"] is not None:
            self._derive_behavior()
        if self.behavior_field is not None:
            self._check_behavior()
            self._drop_repeated_lines()

    def _refuse_filters(self):
        """Ready-made splits are what their authors cut: a filter would change the held-out rows."""
        idle = (None, "[0,inf)")
        keys = ("rm_dup_inter", "val_interval", "user_inter_num_interval")
        keys += ("item_inter_num_interval",)
        used = [key for key in keys if self.config[key] not in idle]
        if used:
            raise DataError(
                f"{', '.join(used)} cannot be used with the ready-made split "
                f"{self.config['benchmark_filename']}: filter before cutting the files"
            )
        if len(self.config["benchmark_filename"]) not in (3, 4):
            raise DataError(
                "benchmark_filename names train, valid, test and optionally history, not "
                f"{self.config['benchmark_filename']}"
            )

    def _place(self, row):
        """The file and 1-based line of a row of the loaded table, for messages."""
        if not self.ready_made:
            return f"{self.dataset_name}.inter line {row + 2}"
        for part, size in zip(self.config["benchmark_filename"], self.file_size_list):
            if row < size:
                return f"{self.dataset_name}.{part}.inter line {row + 2}"
            row -= size
        raise IndexError(row)

    def _check_rows(self, folder):
        table = self.inter_feat
        needed = [self.uid_field, self.iid_field]
        if self.behavior_field is not None and self.config["behavior_from"] is None:
            needed.append(self.behavior_field)
        if self.config["behavior_from"] is not None:
            needed.append(self.config["behavior_from"]["field"])
        if self._needs_time():
            needed.append(self.time_field)
        for field in needed:
            if field not in table:
                raise DataError(
                    f"column '{field}' is not among the loaded columns {list(table)} of "
                    f"{folder / self.dataset_name}*.inter: name the right column "
                    "(USER_ID_FIELD, ITEM_ID_FIELD, BEHAVIOR_FIELD, TIME_FIELD) or add it to "
                    "load_col"
                )
        if len(table) == 0:
            raise DataError(f"{folder / self.dataset_name}*.inter holds no interactions")
        for field in needed:  # the host would fill a gap with id 0 or the mean
            gap = table[field].isna().to_numpy()
            if self.field2type[field] == FeatureType.FLOAT:
                gap |= ~np.isfinite(table[field].to_numpy())
            if gap.any():
                raise DataError(
                    f"{self._place(int(gap.argmax()))}: '{field}' is missing or not finite "
                    f"({int(gap.sum())} such lines)"
                )
        if self.ready_made:
            for part, size in zip(self.config["benchmark_filename"], self.file_size_list):
                if size == 0:
                    raise DataError(f"{self.dataset_name}.{part}.inter holds no interactions")

    def _needs_time(self):
        """Time order matters for sequential models and for every split by time."""
        return self.config["eval_args"]["order"] == "TO" and not self.ready_made

    def _derive_behavior(self):
        """Makes the behaviour column out of another one, as ``behavior_from`` of the YAML says."""
        source = self.config["behavior_from"]["field"]
        values = self.inter_feat[source]
        behavior = np.full(len(values), None, dtype=object)
        for token, interval in self.config["behavior_from"]["values"].items():
            parsed = self._parse_intervals_str(interval)
            inside = values.map(lambda value: self._within_intervals(value, parsed))  # noqa: B023
            behavior[inside.to_numpy(dtype=bool)] = str(token)
        if (behavior == None).any():  # noqa: E711 (element-wise)
            row = int((behavior == None).argmax())  # noqa: E711
            raise DataError(
                f"{self._place(row)}: {source} = {values.iloc[row]} is in no interval of "
                "behavior_from"
            )
        self.inter_feat[self.behavior_field] = behavior
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

    def _drop_repeated_lines(self):
        """One event logged twice (same user, item, behaviour and stamp) counts once."""
        if self.ready_made or self.time_field not in self.inter_feat:
            return
        key = [self.uid_field, self.iid_field, self.behavior_field, self.time_field]
        repeated = self.inter_feat.duplicated(subset=key)
        if repeated.any():
            self.split_report["repeated_lines_dropped"] = int(repeated.sum())
            self.logger.warning(f"{int(repeated.sum())} repeated lines count once")
            self.inter_feat = self.inter_feat[~repeated].reset_index(drop=True)

    # ------------------------------------------------------------------ order
    def _change_feat_format(self):
        """Sorts once by (user, time in float64, file order), then builds the tensors."""
        if self.behavior_field is not None:
            ids = self.field2token_id[self.behavior_field]
            self.target_behavior_ids = [ids[token] for token in self.target_tokens]
        if self.config["behavior_from"] is not None:
            self._del_col(self.inter_feat, self.config["behavior_from"]["field"])
        if self._needs_time() or self.ready_made:
            self._sort_rows()
        super()._change_feat_format()
        if self._needs_time() or self.ready_made:
            self._build_store()

    def _sort_rows(self):
        table = self.inter_feat
        part = np.zeros(len(table), dtype=np.int64)
        if self.ready_made:  # the files' order: train, valid, test, history
            part = np.repeat(np.arange(len(self.file_size_list)), self.file_size_list)
        timed = self.time_field is not None and self.time_field in table
        # float64: millisecond stamps in float32 would misorder most users
        time = table[self.time_field].to_numpy(np.float64) if timed else np.zeros(len(table))
        order = np.lexsort((time, table[self.uid_field].to_numpy(), part))  # stable: ties keep
        self.inter_feat = table.iloc[order].reset_index(drop=True)  # the order of the file
        self._part, self._time = part[order], time[order]

    def _build_store(self):
        """Fills ``store`` and ``start`` and gives every row its position."""
        rows = self.inter_feat
        user = rows[self.uid_field].numpy()
        history = np.isin(self._part, (0, 3)) if self.ready_made else np.ones(len(user), bool)
        stored = np.flatnonzero(history)
        stored = stored[np.lexsort((self._part[stored], user[stored]))]
        index = torch.from_numpy(stored)
        self.store = {field: rows[field][index] for field in rows}
        self.store_time = self._time[stored]
        count = np.bincount(user[stored], minlength=self.user_num)
        start = np.concatenate([[0], np.cumsum(count)])
        self.start = torch.from_numpy(start)
        position = np.empty(len(user), dtype=np.int64)
        position[stored] = np.arange(len(stored)) - start[user[stored]]
        if self.ready_made:
            trained = np.bincount(user[self._part == 0], minlength=self.user_num)
            position[self._part == 1] = trained[user[self._part == 1]]
            position[self._part == 2] = count[user[self._part == 2]]
        rows[POSITION] = torch.from_numpy(position)

    def sort(self, by, ascending=True):
        """RecBole's sort, but by time with the float64 stamps; ties keep user and file order."""
        if by == self.time_field and POSITION in self.inter_feat and not self.ready_made:
            row = self.start[self.inter_feat[self.uid_field]] + self.inter_feat[POSITION]
            order = np.lexsort((row.numpy(), self.store_time[row.numpy()]))
            self.inter_feat._reindex(torch.from_numpy(order if ascending else order[::-1].copy()))
        else:
            super().sort(by=by, ascending=ascending)

    # ------------------------------------------------------------------ split
    def build(self):
        """Splits into train, valid and test.

        Returns:
            list: three data sets that share the stored histories.
        """
        if self.ready_made:
            self._change_feat_format()
            self._drop_unused_col()
            datasets = [self._part_rows(self._part == part) for part in range(3)]
        else:
            datasets = super().build()
        return self._finish(datasets)

    def _part_rows(self, mask):
        return self.copy(self.inter_feat[np.flatnonzero(mask)])

    def _is_target(self, rows):
        """Which rows are of a target behaviour, shape [n_rows]."""
        return torch.isin(rows[self.behavior_field], torch.tensor(self.target_behavior_ids))

    def leave_one_out(self, group_by, leave_one_mode):
        """Holds out each user's last target interactions; without behaviours, RecBole's split.

        ``valid_and_test`` holds out the last target interaction for test and the one before for
        validation; a user with two has a test row only, with one none. What comes after the
        validation row is never trained on.
        """
        if self.behavior_field is None:
            return super().leave_one_out(group_by, leave_one_mode)
        parts = {"valid_and_test": (2, 1), "valid_only": (1, None), "test_only": (None, 1)}
        if leave_one_mode not in parts:
            raise ValueError(f"leave-one-out mode '{leave_one_mode}' is not one of {list(parts)}")
        last = self._last_target_positions()  # [n_users, 2]: the last, the one before
        first_held_out = torch.full((self.user_num,), torch.iinfo(torch.int64).max)
        held_out = {}
        for name, back in zip(("valid", "test"), parts[leave_one_mode]):
            position = torch.full((self.user_num,), -1) if back is None else last[:, back - 1]
            held_out[name] = position
            first_held_out = torch.where(
                position >= 0, torch.minimum(position, first_held_out), first_held_out
            )
        rows = self.inter_feat
        user, position = rows[self.uid_field], rows[POSITION]
        masks = [position < first_held_out[user]]
        masks += [position == held_out[name][user] for name in ("valid", "test")]
        self._drop_unused_col()
        return [self._part_rows(mask.numpy()) for mask in masks]

    def _last_target_positions(self):
        """Positions of each user's last two target interactions that may be held out.

        A user's first target interaction always stays in training, so -1 stands where there is
        none left. Shape: [n_users, 2].
        """
        target = torch.nonzero(self._is_target(self.store)).flatten()
        user = self.store[self.uid_field][target]
        count = torch.bincount(user, minlength=self.user_num)
        end = torch.cumsum(count, 0)
        result = torch.full((self.user_num, 2), -1)
        for back in (0, 1):
            owner = torch.nonzero(count >= back + 2).flatten()
            row = target[end[owner] - 1 - back]
            result[owner, back] = row - self.start[owner]
        self.split_report["users_without_target"] = int((count[1:] == 0).sum())
        return result

    def split_by_ratio(self, ratios, group_by=None):
        """RecBole's ratio split; with behaviours only target rows stay held out."""
        return self._hold_out_targets(super().split_by_ratio(ratios, group_by))

    def time_based_split(self, ratios, group_by):
        """RecBole's split by time; with behaviours only target rows stay held out."""
        return self._hold_out_targets(super().time_based_split(ratios, group_by))

    def _hold_out_targets(self, datasets):
        if self.behavior_field is None:
            return datasets
        for dataset in datasets[1:]:
            keep = self._is_target(dataset.inter_feat).numpy()
            dataset.inter_feat = dataset.inter_feat[np.flatnonzero(keep)]
        return datasets

    def _finish(self, datasets):
        """The same last steps for every split: train_rows, train_behaviors, empty histories."""
        train = datasets[0]
        for dataset in datasets:
            dataset.floor = None
        if POSITION in train.inter_feat:
            self._find_trained_rows(train)
            if self.config["train_rows"] == "last":
                self._keep_last_rows(train)
            for name, dataset in zip(("valid", "test"), datasets[1:]):
                self._drop_rows_without_history(name, dataset)
        if self.behavior_field is not None:
            if self.config["train_behaviors"] == "target":
                keep = self._is_target(train.inter_feat).numpy()
                train.inter_feat = train.inter_feat[np.flatnonzero(keep)]
            self._finish_behavior_rows(datasets)
        self.split_report["train_rows"] = len(train)
        for name, dataset in zip(("valid", "test"), datasets[1:]):
            self.split_report[f"{name}_rows"] = len(dataset)
        return datasets

    def _find_trained_rows(self, train):
        """Marks the stored rows up to each user's last training row, shape [n_stored].

        They are what training may look at, as history or as target.
        """
        end = torch.zeros(self.user_num, dtype=torch.int64)
        user, position = train.inter_feat[self.uid_field], train.inter_feat[POSITION]
        end.scatter_reduce_(0, user, position + 1, reduce="amax")
        train.train_end = end
        stored_user = self.store[self.uid_field]
        stored_position = torch.arange(len(stored_user)) - self.start[stored_user]
        train.trained_row = stored_position < end[stored_user]

    def _keep_last_rows(self, train):
        """``train_rows: last``: only the user's last L training interactions exist in training.

        JD at L = 50 so has 245,227 training rows with a mean history of 16.5, as the published
        ICDDT program has.
        """
        train.floor = (train.train_end - self.config["MAX_ITEM_LIST_LENGTH"]).clamp(min=0)
        rows = train.inter_feat
        keep = rows[POSITION] >= train.floor[rows[self.uid_field]] + self._first_target
        train.inter_feat = rows[np.flatnonzero(keep.numpy())]
        stored_user = self.store[self.uid_field]
        stored_position = torch.arange(len(stored_user)) - self.start[stored_user]
        train.trained_row &= stored_position >= train.floor[stored_user]

    def _drop_rows_without_history(self, name, dataset):
        if self._first_target == 0 and self.behavior_field is None:
            return  # a general model of RecBole's own split keeps its rows
        position = dataset.inter_feat[POSITION]
        if (position == 0).any():
            count = int((position == 0).sum())
            self.split_report[f"{name}_rows_without_history"] = count
            self.logger.warning(f"{count} {name} rows have no history and are not ranked")
            dataset.inter_feat = dataset.inter_feat[np.flatnonzero((position > 0).numpy())]

    def trained_items(self):
        """Which items a model could have seen in training, as history or as target.

        Called on the built training data set.

        Returns:
            torch.Tensor: bool, shape: [n_items]; the padding item is False.
        """
        seen = torch.zeros(self.item_num, dtype=torch.bool)
        if getattr(self, "trained_row", None) is not None and self._first_target == 1:
            seen[self.store[self.iid_field][self.trained_row]] = True
        else:
            seen[self.inter_feat[self.iid_field]] = True
        seen[0] = False
        return seen


class GeneralDataset(BehaviorData, Dataset):
    """RecBole's data set for general models on behaviour data.

    The split is that of the sequential models; a pair of user and item that occurs several times
    in training counts once.
    """

    _first_target = 0  # every row can be trained on, the first one too

    def _finish_behavior_rows(self, datasets):
        rows = datasets[0].inter_feat
        pair = rows[self.uid_field].numpy() * self.item_num + rows[self.iid_field].numpy()
        _, first = np.unique(pair, return_index=True)
        datasets[0].inter_feat = rows[np.sort(first)]


class LazySequentialDataset(BehaviorData, SequentialDataset):
    """RecBole's sequential data set without its copies of every prefix.

    A row is an interaction and its position; ``__getitem__`` cuts the histories of the rows asked
    for out of the store. Memory is O(interactions) instead of O(interactions x L) a field, and
    batches are cropped to their longest history.
    """

    _first_target = 1  # a user's first interaction has no history to predict it from

    def _needs_time(self):
        return not self.ready_made

    def _change_feat_format(self):
        list_field = self.iid_field + self.config["LIST_SUFFIX"]
        if list_field in self.inter_feat:
            raise DataError(
                f"the files hold '{list_field}', histories made beforehand: leave that column out "
                "(unload_col), the histories are cut from the rows of train"
            )
        super()._change_feat_format()
        if not self.ready_made:
            keep = self.inter_feat[POSITION] >= self._first_target
            self.inter_feat = self.inter_feat[np.flatnonzero(keep.numpy())]

    def data_augmentation(self):
        """Declares the list fields; the windows themselves are cut when a batch is drawn."""
        if not self.ready_made:
            self._aug_presets()

    def _benchmark_presets(self):
        """Declares the list fields of a ready-made split (the host wants them in the files)."""
        self._aug_presets()

    def _aug_presets(self):
        super()._aug_presets()
        hidden = {self.config["behavior_from"] and self.config["behavior_from"]["field"]}
        if not self.config["behavior_input"]:
            hidden.add(self.behavior_field)
        self.list_fields = [
            field for field in self.inter_feat if field != self.uid_field and field not in hidden
        ]

    def _part_rows(self, mask):
        if self.ready_made:  # training targets have a history
            mask = mask & ((self._part != 0) | (self.inter_feat[POSITION].numpy() >= 1))
        return super()._part_rows(mask)

    def _finish_behavior_rows(self, datasets):
        if not self.config["behavior_input"]:  # a single-behaviour model never sees behaviours
            for dataset in datasets:
                del dataset.inter_feat[self.behavior_field]

    def __getitem__(self, index, join=True):
        rows = self.inter_feat[index]
        rows.update(Interaction(self.windows(rows)))
        del rows[POSITION]
        return self.join(rows) if join else rows

    def windows(self, rows):
        """Cuts the histories of some rows out of the store.

        Args:
            rows (Interaction): rows with user and position, B of them.

        Returns:
            dict of str to torch.Tensor: for every list field a tensor of shape [B, n], newest item
            at index length - 1, zeros after it; and the lengths, shape [B]. n is the longest
            history of the batch (at least 1), or L where the model cannot be cropped.
        """
        user = rows[self.uid_field]
        first = self.start[user] if self.floor is None else self.start[user] + self.floor[user]
        end = self.start[user] + rows[POSITION]
        begin = torch.maximum(end - self.max_item_list_len, first)
        length = end - begin  # [B]
        crop = self.config["crop_history"] and len(user) > 0
        n = max(int(length.max()), 1) if crop else self.max_item_list_len
        column = torch.arange(n)
        index = (begin[:, None] + column).clamp_(max=len(self.store_time) - 1)  # [B, n]
        padding = column >= length[:, None]
        cut = {
            field + self.config["LIST_SUFFIX"]: self.store[field][index].masked_fill_(padding, 0)
            for field in self.list_fields
        }
        cut[self.item_list_length_field] = length
        return cut

    def lengths(self):
        """Lengths of all rows' histories, shape: [n_rows]."""
        user, position = self.inter_feat[self.uid_field], self.inter_feat[POSITION]
        if self.floor is not None:
            position = position - self.floor[user]
        return position.clamp(max=self.max_item_list_len)

    def inter_matrix(self, form="coo", value_field=None):
        """Users x items of everything training may look at (the host looks for short windows).

        Raises:
            ValueError: if ``value_field`` is not a stored column.
        """
        rows = {field: values[self.trained_row] for field, values in self.store.items()}
        return self._create_sparse_matrix(
            Interaction(rows), self.uid_field, self.iid_field, form, value_field
        )
