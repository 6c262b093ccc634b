"""Which rows does a model read? The data sets of general and of sequential models.

Letters: B rows of a batch, L longest history (``MAX_ITEM_LIST_LENGTH``), n longest in a batch.
"""

import numpy as np
import torch
from recbole.data.dataset import Dataset, SequentialDataset
from recbole.data.interaction import Interaction

from recbole_diffusion.data.lines import DataError
from recbole_diffusion.data.loading import POSITION
from recbole_diffusion.data.splits import BehaviorData, select


class GeneralDataset(BehaviorData, Dataset):
    """RecBole's data set for general models on behaviour data.

    The split is that of the sequential models; a pair of user and item that occurs several times
    in training counts once, where it was last.
    """

    _first_target = 0  # every row can be trained on, the first one too

    def _split_index_by_leave_one_out(self, grouped_index, leave_one_num):
        """RecBole's, but in time order a user's first interaction and one more stay in training.

        RecBole leaves sequential models one row a user to train on, which needs two interactions;
        so both kinds of models hold out the same rows.
        """
        if not self.in_order:
            return super()._split_index_by_leave_one_out(grouped_index, leave_one_num)
        grouped_index = list(grouped_index)
        parts = super()._split_index_by_leave_one_out(
            [index[1:] for index in grouped_index if len(index) > 1], leave_one_num
        )
        held_out = {row for part in parts[1:] for row in part}
        parts[0] = [row for index in grouped_index for row in index if row not in held_out]
        return parts

    def _finish_behavior_rows(self, datasets):
        rows = datasets[0].inter_feat
        pair = rows[self.uid_field].numpy() * self.item_num + rows[self.iid_field].numpy()
        position = rows[POSITION].numpy() if POSITION in rows else np.zeros_like(pair)
        order = np.lexsort((position, pair))
        last = order[np.diff(pair[order], append=-1) != 0]
        once = torch.zeros(len(rows), dtype=torch.bool)
        once[torch.from_numpy(last)] = True
        datasets[0].inter_feat = select(rows, once)


class LazySequentialDataset(BehaviorData, SequentialDataset):
    """RecBole's sequential data set without its copies of every prefix.

    A row is an interaction and its position; ``__getitem__`` cuts the histories of the rows asked
    for out of the store. Memory is O(interactions) instead of O(interactions x L) a field, and
    batches are cropped to their longest history.
    """

    _first_target = 1  # a user's first interaction has no history to predict it from

    def _get_field_from_config(self):
        super()._get_field_from_config()
        self.crop = self.config["crop_history"]
        if self.config["trains_on_first_rows"]:
            self._first_target = 0

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
        host_split = not (self.ready_made or self.whole_sequences)
        if host_split and self.behavior_field is None:
            # RecBole splits the prefixes it made, user by user; with behaviours the split is that
            # of the general models.
            rows = self.inter_feat
            self.inter_feat = select(rows, rows[POSITION] >= self._first_target)
            self.inter_feat.sort(by=[self.uid_field, POSITION])

    def data_augmentation(self):
        """Declares the list fields; the windows themselves are cut when a batch is drawn."""
        if not self.ready_made:
            self._aug_presets()

    def _benchmark_presets(self):
        """Declares the list fields of a ready-made split (RecBole wants them in the files)."""
        self._aug_presets()

    def _aug_presets(self):
        super()._aug_presets()
        hidden = {self.config["behavior_from"] and self.config["behavior_from"]["field"]}
        if not self.config["behavior_input"]:
            hidden.add(self.behavior_field)
        self.list_fields = [
            field for field in self.inter_feat if field != self.uid_field and field not in hidden
        ]

    def _finish(self, datasets):
        super()._finish(datasets)
        self._find_trained_rows(datasets[0])
        return datasets

    def _find_trained_rows(self, train):
        """Marks the stored rows that training looks at, as history or as target: [n_stored]."""
        begin, end = train._bounds(train.inter_feat)
        depth = torch.zeros(len(train.store[self.uid_field]) + 1, dtype=torch.int64)
        depth.index_add_(0, begin, torch.ones_like(begin))
        depth.index_add_(0, end + 1, -torch.ones_like(end))
        train.trained_row = depth.cumsum(0)[:-1] > 0

    def _items_in_training(self):
        return self.store[self.iid_field][self.trained_row]

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
        begin, end = self._bounds(rows)
        length = end - begin  # [B]
        crop = self.crop and len(length) > 0
        n = max(int(length.max()), 1) if crop else self.max_item_list_len
        column = torch.arange(n)
        padding = column >= length[:, None]  # [B, n]
        index = (begin[:, None] + column).masked_fill_(padding, 0)
        cut = {self.item_list_length_field: length}
        for field in self.list_fields:
            window = self.store[field][index]  # [B, n], or [B, n, width] for a column of sequences
            window[padding] = 0
            cut[field + self.config["LIST_SUFFIX"]] = window
        return cut

    def _bounds(self, rows):
        """First stored row of each row's history and the one past its last, shape: [n_rows] each.

        The one past the last is the row itself, if it is stored.
        """
        user = rows[self.uid_field]
        first = self.start[user] if self.floor is None else self.start[user] + self.floor[user]
        end = self.start[user] + rows[POSITION]
        return torch.maximum(end - self.max_item_list_len, first), end

    def lengths(self):
        """Lengths of all rows' histories, shape: [n_rows]."""
        begin, end = self._bounds(self.inter_feat)
        return end - begin

    def inter_matrix(self, form="coo", value_field=None):
        """Users x items of everything training may look at (RecBole looks for short windows).

        Raises:
            ValueError: if ``value_field`` is not a stored column.
        """
        rows = {field: values[self.trained_row] for field, values in self.store.items()}
        return self._create_sparse_matrix(
            Interaction(rows), self.uid_field, self.iid_field, form, value_field
        )
