"""Which rows are trained on, held out and seen as history?

Without ``BEHAVIOR_FIELD`` every split is RecBole's, row for row. With it, only interactions of
the target behaviour are held out, and their history holds every behaviour. ``SPLIT: sequence`` is
a split of its own: all rows of a user are in one part, and every prefix is a row.
"""

import numpy as np
import torch
from recbole.data.interaction import Interaction

from recbole_diffusion.config import splits
from recbole_diffusion.data.lines import DataError
from recbole_diffusion.data.loading import POSITION, STAMP, CheckedRows
from recbole_diffusion.data.seen_before import rows_before, seen_before


def select(rows, mask):
    """Rows of an Interaction where the mask is True, in their order.

    Args:
        rows (Interaction): the rows.
        mask (torch.Tensor): bool, shape: [n_rows].

    Returns:
        Interaction: a copy of those rows.
    """
    # Interaction's own indexing would make a Python list of the index, for every column.
    return Interaction({field: rows[field][mask] for field in rows})


class BehaviorData(CheckedRows):
    """What the data sets of general and sequential models share: order and splits.

    Mixed in before a RecBole data set. ``config`` keys read: ``BEHAVIOR_FIELD``,
    ``behavior_from``, ``target_behavior``, ``train_rows``, ``train_behaviors``,
    ``benchmark_filename``, ``behavior_input``, ``ordered_history``, ``SPLIT``, ``eval_args``,
    ``held_out_items``.

    Attributes:
        behavior_field (str): name of the behaviour column, None without behaviours.
        in_order (bool): whether rows have a place in their user's history; only general models
            with order RO go without.
        target_behavior_ids (list of int): ids of the behaviours that are predicted.
        store (dict of str to torch.Tensor): every interaction that can be history, sorted by user,
            then time in float64, then file order; one tensor of shape [n_stored] a field.
        start (torch.Tensor): first stored row of each user, shape [n_users + 1].
        store_time (numpy.ndarray): stamps of the stored rows in float64, None without times.
        split_report (dict): what the split is in words, counts of what it did, and shares of what
            it held out, for results tables.
    """

    # ------------------------------------------------------------------ order
    def _change_feat_format(self):
        """Builds the tensors, and the store in order of user, time in float64, file."""
        if self.behavior_field is not None:
            ids = self.field2token_id[self.behavior_field]
            gone = [token for token in self.target_tokens if token not in ids]
            if gone:
                raise DataError(f"the filters leave no interaction of target_behavior {gone}")
            self.target_behavior_ids = [ids[token] for token in self.target_tokens]
        source = self.config["behavior_from"] and self.config["behavior_from"]["field"]
        if source in self.inter_feat:
            self._del_col(self.inter_feat, source)
        time = None
        if self.time_field in self.inter_feat:
            time = self.inter_feat[self.time_field].to_numpy()  # float64; tensors are float32
        super()._change_feat_format()
        if self.has_positions:
            self._build_store(time)

    def _build_store(self, time):
        """Fills ``store`` and ``start`` and gives every row its position.

        Args:
            time (numpy.ndarray): stamps in float64, in which milliseconds keep their order, shape:
                [n_rows]; None where the order of the files is the only one.
        """
        rows = self.inter_feat
        user = rows[self.uid_field].numpy()
        self._part = np.zeros(len(user), dtype=np.int64)
        if self.ready_made:  # in the order of the files: train, valid, test, history
            self._part = np.repeat(np.arange(len(self.file_size_list)), self.file_size_list)
        # Where sequences are whole, the rows of a held-out one are its history.
        past = np.flatnonzero(np.isin(self._part, (0, 3)) | self.whole_sequences)
        keys = [self._part[past], user[past]]
        # Stable: ties keep the order of the file.
        stored = past[np.lexsort(keys if time is None else [time[past], *keys])]
        self.store = {field: rows[field][torch.from_numpy(stored)] for field in rows}
        count = np.bincount(user[stored], minlength=self.user_num)
        start = np.concatenate([[0], np.cumsum(count)])
        self.start = torch.from_numpy(start)
        position = np.empty(len(user), dtype=np.int64)
        position[stored] = np.arange(len(stored)) - start[user[stored]]
        if self.whole_sequences and not self.ready_made:
            self._part = self._cut_sequences(user, time)[user]
        elif not self.whole_sequences and self.ready_made:
            trained = np.bincount(user[self._part == 0], minlength=self.user_num)
            position[self._part == 1] = trained[user[self._part == 1]]
            position[self._part == 2] = count[user[self._part == 2]]
        rows[POSITION] = torch.from_numpy(position)
        self.store_time = None
        if time is not None:
            self.store_time = time[stored]
            rows[STAMP] = torch.from_numpy(time)

    def _cut_sequences(self, user, time):
        """Which part each user's sequence is in: the last ones are test, those before validation.

        Sequences are in order of their last interaction, interactions in order of time, then file;
        so nothing that training sees is younger than a test sequence's end. The sizes of the parts
        are RecBole's of a ratio split.

        Args:
            user (numpy.ndarray): users of the rows in file order, shape: [n_rows].
            time (numpy.ndarray): their stamps in float64, shape: [n_rows].

        Returns:
            numpy.ndarray: 0 for train, 1 for valid, 2 for test, shape: [n_users].
        """
        newest_first = user[np.argsort(time, kind="stable")][::-1]
        sequence, back = np.unique(newest_first, return_index=True)
        sequence = sequence[np.argsort(-back)]
        ratios = np.array(self.config["eval_args"]["split"]["RS"])
        bounds = self._calcu_split_ids(len(sequence), list(ratios / ratios.sum()))
        part = np.zeros(self.user_num, dtype=np.int64)
        for number, some in enumerate(np.split(sequence, bounds)):
            part[some] = number
        return part

    def sort(self, by, ascending=True):
        """RecBole's sort, but by time with the float64 stamps; ties keep the order there is."""
        if by == self.time_field and POSITION in self.inter_feat and not self.ready_made:
            row = self.start[self.inter_feat[self.uid_field]] + self.inter_feat[POSITION]
            order = np.argsort(self.store_time[row.numpy()], kind="stable")
            self.inter_feat._reindex(torch.from_numpy(order if ascending else order[::-1].copy()))
        else:
            super().sort(by=by, ascending=ascending)

    # ------------------------------------------------------------------ split
    def build(self):
        """Splits into train, valid and test.

        Returns:
            list: three data sets that share the stored histories.
        """
        if self.ready_made or self.whole_sequences:
            self._change_feat_format()
            self._drop_unused_col()
            parts = [torch.from_numpy(self._part == part) for part in range(3)]
            datasets = [self.copy(select(self.inter_feat, part)) for part in parts]
        else:
            datasets = super().build()
        return self._finish(datasets)

    def _is_target(self, rows):
        """Which rows are of a target behaviour, shape [n_rows]."""
        return torch.isin(rows[self.behavior_field], torch.tensor(self.target_behavior_ids))

    def leave_one_out(self, group_by, leave_one_mode):
        """Holds out each user's last target interactions; without behaviours, RecBole's split.

        ``valid_and_test`` holds out the last target interaction for test and the one before for
        validation; a user with two has a test row only, with one none. What comes after the
        validation row is never trained on. With ``held_out_items: new`` no earlier row of the test
        row's item is taken for validation.
        """
        if self.behavior_field is None and not self.new_items:
            return super().leave_one_out(group_by, leave_one_mode)
        parts = {
            "valid_and_test": ("test", "valid"),
            "valid_only": ("valid",),
            "test_only": ("test",),
        }
        if leave_one_mode not in parts:
            raise ValueError(f"leave-one-out mode '{leave_one_mode}' is not one of {list(parts)}")
        held_out = self._last_targets(parts[leave_one_mode])
        rows = self.inter_feat
        user, position = rows[self.uid_field], rows[POSITION]
        trained = torch.ones_like(user, dtype=torch.bool)
        for chosen in held_out.values():
            trained &= (chosen < 0)[user] | (position < chosen[user])
        nobody = torch.full((self.user_num,), -1)
        masks = [position == held_out.get(part, nobody)[user] for part in ("valid", "test")]
        self._drop_unused_col()
        return [self.copy(select(rows, mask)) for mask in (trained, *masks)]

    def _last_targets(self, parts):
        """Which interaction of each user is held out for each part, the last one for the first.

        Args:
            parts (tuple of str): names of the parts.

        Returns:
            dict of str to torch.Tensor: a part's name to positions, shape: [n_users]; -1 where the
            user has no target interaction left besides the first, which stays in training.
        """
        user, item = self.store[self.uid_field], self.store[self.iid_field]
        row = torch.arange(len(user))
        if self.behavior_field is None:
            left = row > self.start[user]  # RecBole's are those that have a history
        else:
            left = self._is_target(self.store)
            count = torch.bincount(user[left], minlength=self.user_num)
            self.split_report["users_without_target"] = int((count[1:] == 0).sum())
        chosen = {}
        for part in parts:
            target = torch.nonzero(left).flatten()
            count = torch.bincount(user[target], minlength=self.user_num)
            owner = torch.nonzero(count > 1).flatten()
            last = torch.full((self.user_num,), -1)
            last[owner] = target[count.cumsum(0)[owner] - 1]
            chosen[part] = torch.where(last < 0, last, last - self.start[:-1])
            left &= row < last[user]
            if self.new_items:
                left &= item != item[last][user]
        return chosen

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
            rows = dataset.inter_feat
            dataset.inter_feat = select(rows, self._is_target(rows))
        return datasets

    def _finish(self, datasets):
        """The same last steps for every split: what training and histories leave out."""
        train = datasets[0]
        for dataset in datasets:
            dataset.floor = None
        if self.new_items:
            self._drop_earlier_rows(datasets)
        if self.in_order:
            if self.whole_sequences:
                self._count_sequences(datasets)
            rows = train.inter_feat
            train.inter_feat = select(rows, rows[POSITION] >= self._first_target)
            if self.config["train_rows"] == "last":
                self._keep_last_rows(train)
            for name, dataset in zip(("valid", "test"), datasets[1:]):
                self._drop_rows_without_history(name, dataset)
        if self.behavior_field is not None and self.config["train_behaviors"] == "target":
            train.inter_feat = select(train.inter_feat, self._is_target(train.inter_feat))
        if self.behavior_field is not None:
            self._finish_behavior_rows(datasets)
        self._count(datasets)
        return datasets

    def _drop_earlier_rows(self, datasets):
        """``held_out_items: new``: no user had a held-out item before.

        The rows of a user and item that stand before a held-out row of theirs are gone from
        training, from histories, and where they were held out themselves, from there.
        """
        held_out = [dataset.inter_feat for dataset in datasets[1:]]
        keep = ~rows_before(
            torch.cat([self._pairs(rows) for rows in held_out]),
            torch.cat([self._places(rows) for rows in held_out]),
            self._pairs(self.store),
        )
        kept = torch.cat([torch.zeros(1, dtype=torch.int64), keep.cumsum(0)])
        self.split_report["rows_of_held_out_items_dropped"] = int((~keep).sum())
        for number, dataset in enumerate(datasets):
            rows = dataset.inter_feat
            if number == 0 or not self.ready_made:  # held-out files are in nobody's history
                rows = select(rows, keep[self._places(rows)])
            rows[POSITION] = kept[self._places(rows)] - kept[self.start[rows[self.uid_field]]]
            dataset.inter_feat = rows
        store = {field: values[keep] for field, values in self.store.items()}
        start = kept[self.start]
        time = None if self.store_time is None else self.store_time[keep.numpy()]
        for dataset in (self, *datasets):
            dataset.store, dataset.start, dataset.store_time = store, start, time

    def _pairs(self, rows):
        """User and item of each row as one number, shape: [n_rows]."""
        return rows[self.uid_field] * self.item_num + rows[self.iid_field]

    def _places(self, rows):
        """Which stored row each row is, or where it would stand, shape: [n_rows]."""
        return self.start[rows[self.uid_field]] + rows[POSITION]

    def _count_sequences(self, datasets):
        for name, dataset in zip(("train", "valid", "test"), datasets):
            first = dataset.inter_feat[POSITION] == 0
            self.split_report[f"{name}_sequences"] = int(first.sum())

    def _count(self, datasets):
        """Writes the split report."""
        words = splits.describe(
            self.config["eval_args"],
            self.config["benchmark_filename"],
            self.config["SPLIT"],
            self.behavior_field and self.config["target_behavior"],
            self.new_items,
        )
        self.split_report["split"] = words
        if self.config.split_not_said:
            missing = " and ".join(self.config.split_not_said)
            self.logger.warning(f"eval_args sets no {missing}; the default is taken, {words}")
        self.split_report["train_rows"] = len(datasets[0])
        for name, dataset in zip(("valid", "test"), datasets[1:]):
            rows = dataset.inter_feat
            self.split_report[f"{name}_rows"] = len(rows)
            if STAMP in rows:
                before = torch.from_numpy(self.store_time)[self._places(rows) - 1]
                tied = (rows[POSITION] > 0) & (before == rows[STAMP])
                self.split_report[f"{name}_rows_tied"] = int(tied.sum())
            if self.in_order and len(rows):
                seen = seen_before(self._pairs(rows), self._places(rows), self._pairs(self.store))
                self.split_report[f"{name}_targets_seen_before"] = round(
                    seen.float().mean().item(), 4
                )
        for dataset in datasets:
            dataset.inter_feat.interaction.pop(STAMP, None)

    def ends(self, rows):
        """One past each user's last position among some rows.

        Args:
            rows (Interaction): rows with user and position.

        Returns:
            torch.Tensor: 0 for users without a row, shape: [n_users].
        """
        end = torch.zeros(self.user_num, dtype=torch.int64)
        return end.scatter_reduce_(0, rows[self.uid_field], rows[POSITION] + 1, reduce="amax")

    def _keep_last_rows(self, train):
        """``train_rows: last``: only the user's last L training interactions exist in training.

        JD at L = 50 so has 245,227 training rows with a mean history of 16.5, as the published
        ICDDT program has.
        """
        rows = train.inter_feat
        train.floor = (self.ends(rows) - self.config["MAX_ITEM_LIST_LENGTH"]).clamp(min=0)
        first = train.floor[rows[self.uid_field]] + self._first_target
        train.inter_feat = select(rows, rows[POSITION] >= first)

    def _drop_rows_without_history(self, name, dataset):
        if not (
            self._first_target or self.behavior_field or self.whole_sequences or self.new_items
        ):
            return  # a general model of RecBole's own split keeps its rows
        rows = dataset.inter_feat
        count = int((rows[POSITION] == 0).sum())
        if count:
            self.split_report[f"{name}_rows_without_history"] = count
            self.logger.warning(f"{count} {name} rows have no history and are not ranked")
            dataset.inter_feat = select(rows, rows[POSITION] > 0)

    def trained_items(self):
        """Which items a model could have seen in training, as history or as target.

        Called on the built training data set.

        Returns:
            torch.Tensor: bool, shape: [n_items]; the padding item is False.
        """
        return self.item_counts() > 0

    def item_counts(self):
        """How often each item stands in what training looks at.

        Called on the built training data set.

        Returns:
            torch.Tensor: int64, shape: [n_items]; 0 for the padding item.
        """
        count = torch.bincount(self._items_in_training(), minlength=self.item_num)
        count[0] = 0
        return count

    def _items_in_training(self):
        """Items of the training rows, repeated ones too; one dimension."""
        return self.inter_feat[self.iid_field]
