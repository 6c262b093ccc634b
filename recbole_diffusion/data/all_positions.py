"""How does one pass over a sequence train on all of its positions?

For causal models, whose state at a position is that of the prefix which ends there. Sequences
longer than L are cut into windows. Letters: B windows of a batch, L longest history
(``MAX_ITEM_LIST_LENGTH``), n longest window of a batch.
"""

import torch
from recbole.data.dataloader.abstract_dataloader import NegSampleDataLoader
from recbole.data.interaction import Interaction
from recbole.utils import InputType

from recbole_diffusion.data.loading import POSITION
from recbole_diffusion.data.runs import runs


def cut_windows(n_items, length):
    """Windows over sequences in which every item but the first is a target once.

    A window holds up to L items, and their successors are its targets. The first window begins with
    the sequence; in the others only those targets count that see at least L/2 items and that no
    window before counted. The last window ends with the sequence.

    Args:
        n_items (torch.Tensor): items of each sequence, the last one only a target, shape: [S].
        length (int): L.

    Returns:
        tuple of torch.Tensor: the sequence of each window, its first item, how many items it holds
        and how many of its first targets do not count, shape: [n_windows] each.
    """
    n_targets = (n_items - 1).clamp(min=0)
    held = n_targets.clamp(max=length)
    step = length // 2 + 1  # targets of a window that see at least L/2 items
    further = (n_targets - held + step - 1) // step
    sequence, number = runs(torch.zeros_like(further), torch.where(held > 0, further + 1, 0))
    held = held[sequence]
    first = torch.minimum(number * step, n_targets[sequence] - held)
    counted_before = torch.where(number > 0, length + (number - 1) * step, 0)
    return sequence, first, held, counted_before - first


class AllPositionsTrainDataLoader(NegSampleDataLoader):
    """Batches of windows whose positions all have a target.

    A batch holds as many windows as have ``train_batch_size`` targets on average, so that an epoch
    has as many steps as with one row per prefix. Its fields are the user, the items (left-aligned),
    their number, and as target field the successor of every item, 0 where there is none to train
    on; shapes: [B], [B, n], [B], [B, n]. Behaviours and other columns are not among them. A model
    that learns from pairs (``loss_type: BPR``) also gets k negative items of each target, drawn as
    RecBole draws them for its row, shape: [B, n, k].

    Args:
        config (Config): keys ``train_batch_size``, ``MAX_ITEM_LIST_LENGTH`` and
            ``train_neg_sample_args``.
        dataset (LazySequentialDataset): the built training data.
        sampler (AbstractSampler): draws negative items, or None.
        shuffle (bool): whether the windows are shuffled each epoch.
    """

    def __init__(self, config, dataset, sampler, shuffle=False):
        rows = dataset.inter_feat
        user, position = rows[dataset.uid_field], rows[POSITION]
        self.target = torch.zeros_like(dataset.store[dataset.iid_field])  # [n_stored]
        self.target[dataset.start[user] + position] = rows[dataset.iid_field]
        begin = dataset.start[:-1]
        if dataset.floor is not None:
            begin = begin + dataset.floor
        end = dataset.start[:-1] + dataset.ends(rows)  # one past the last target
        self.user, first, self.held, skipped = cut_windows(
            end - begin, config["MAX_ITEM_LIST_LENGTH"]
        )
        self.first = begin[self.user] + first
        self.counts_from = self.first + skipped
        window, item = runs(self.counts_from, self.held - skipped)
        has_target = torch.zeros_like(self.user)
        has_target.index_add_(0, window, (self.target[item + 1] > 0).long())
        self._keep(has_target > 0)  # none where only target behaviours are trained on
        self.n_targets = int(has_target.sum())
        self.sample_size = len(self.user)
        self.negatives = 0  # of a target
        args = config["train_neg_sample_args"]
        if config["MODEL_INPUT_TYPE"] == InputType.PAIRWISE and args["distribution"] != "none":
            self._set_neg_sample_args(config, dataset, config["MODEL_INPUT_TYPE"], args)
            self.negatives = self.times
        super().__init__(config, dataset, sampler, shuffle=shuffle)

    def _keep(self, mask):
        for name in ("user", "first", "held", "counts_from"):
            setattr(self, name, getattr(self, name)[mask])

    def _init_batch_size_and_step(self):
        share = self.sample_size / max(self.n_targets, 1)
        pairs = max(self.negatives, 1)  # of one target, as RecBole's loader counts them
        self.step = max(1, round(self.config["train_batch_size"] // pairs * share))
        self.set_batch_size(self.step)

    def collate_fn(self, index):
        index, data = torch.as_tensor(index), self._dataset
        held = self.held[index]
        column = torch.arange(int(held.max()))
        row = self.first[index, None] + column  # [B, n]
        padding = column >= held[:, None]
        row = row.masked_fill(padding, 0)
        target = self.target[row + 1]
        target = target.masked_fill(padding | (row < self.counts_from[index, None]), 0)
        windows = Interaction(
            {
                data.uid_field: self.user[index],
                data.iid_field + self.config["LIST_SUFFIX"]: (
                    data.store[data.iid_field][row].masked_fill(padding, 0)
                ),
                data.item_list_length_field: held,
                data.iid_field: target,
            }
        )
        if self.negatives:
            windows[self.neg_item_id] = self._negatives_of(windows)
        return windows

    def _negatives_of(self, windows):
        """Items drawn for the targets of windows, 0 where there is none, shape: [B, n, k]."""
        user, target = windows[self.uid_field], windows[self.iid_field]
        row, position = target.nonzero(as_tuple=True)
        rows = {self.uid_field: user[row], self.iid_field: target[row, position]}
        drawn = self._neg_sampling(Interaction(rows))[self.neg_item_id]  # [k M], a round at a time
        negative = torch.zeros(*target.shape, self.negatives, dtype=target.dtype)
        negative[row, position] = drawn.view(self.negatives, -1).T
        return negative
