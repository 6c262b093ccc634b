"""Loaders: training batches of similar lengths, and full ranking with one masking rule."""

import torch
from recbole.data.dataloader import (
    AbstractDataLoader,
    FullSortEvalDataLoader,
    NegSampleEvalDataLoader,
    TrainDataLoader,
)
from recbole.data.interaction import Interaction
from recbole.data.utils import get_dataloader
from recbole.utils import ModelType

from recbole_diffusion.config import traits
from recbole_diffusion.data.all_positions import AllPositionsTrainDataLoader
from recbole_diffusion.data.batch_randomness import drawn_by_batch, drawn_from
from recbole_diffusion.data.dataset import LazySequentialDataset
from recbole_diffusion.data.lines import DataError
from recbole_diffusion.data.loading import POSITION
from recbole_diffusion.data.runs import runs
from recbole_diffusion.data.samplers import make_samplers
from recbole_diffusion.data.users_at_once import users_at_once

# Field of evaluated batches: which row of its data set each row is, a general model's its user. No
# column of a file can have the name.
ROW = "evaluated:row"
POOL_BATCHES = 50  # batches that are sorted by length together


class BucketTrainDataLoader(TrainDataLoader):
    """RecBole's training loader with batches of similar history lengths.

    Each epoch draws a new order, cuts it into pools of 50 batches, sorts every pool by length and
    shuffles its batches: cropped batches are then short, while which rows meet stays random. With
    ``length_buckets: False`` it is RecBole's plain shuffle.

    Args:
        config (Config): keys ``train_batch_size``, ``length_buckets``.
        dataset (LazySequentialDataset): the training data.
        sampler (AbstractSampler): negative sampler, or None.
        shuffle (bool): whether the rows are shuffled each epoch.
    """

    def __init__(self, config, dataset, sampler, shuffle=False):
        self.order = None
        self.bucketed = shuffle and config["length_buckets"] and config["single_spec"]
        super().__init__(config, dataset, sampler, shuffle=shuffle and not self.bucketed)
        self.shuffle = shuffle

    def __iter__(self):
        if self.bucketed:
            self.order = bucket_order(self._dataset.lengths(), self.step, self.generator)
        return super().__iter__()

    def collate_fn(self, index):
        return super().collate_fn(self.order[index] if self.bucketed else index)


def bucket_order(lengths, batch_size, generator):
    """Draws an order of rows in which batches hold rows of similar length.

    Args:
        lengths (torch.Tensor): history length of each row, shape: [n_rows].
        batch_size (int): rows per batch; consecutive rows of the result form a batch.
        generator (torch.Generator): source of the shuffle.

    Returns:
        torch.Tensor: a permutation of the rows, shape: [n_rows]. The last, incomplete batch is
        drawn from all lengths.
    """
    order = torch.randperm(len(lengths), generator=generator)
    whole = len(order) - len(order) % batch_size
    pools = []
    for pool in order[:whole].split(POOL_BATCHES * batch_size):
        batches = pool[torch.argsort(lengths[pool], stable=True)].view(-1, batch_size)
        pools.append(batches[torch.randperm(len(batches), generator=generator)].flatten())
    return torch.cat([*pools, order[whole:]])


class UserTrainDataLoader(AbstractDataLoader):
    """Batches of users, for models of whole interaction rows.

    RecBole's loader of this kind gives the padding user and users without a training row too.

    Args:
        config (Config): key ``train_batch_size``, users per batch.
        dataset (recbole.data.dataset.Dataset): the training data.
        sampler (AbstractSampler): not used.
        shuffle (bool): whether the users are shuffled each epoch.
    """

    def __init__(self, config, dataset, sampler, shuffle=False):
        users = dataset.inter_feat[dataset.uid_field].unique()
        self.users = Interaction({dataset.uid_field: users})
        self.sample_size = len(users)
        super().__init__(config, dataset, sampler, shuffle=shuffle)

    def _init_batch_size_and_step(self):
        self.step = self.config["train_batch_size"]
        self.set_batch_size(self.step)

    def collate_fn(self, index):
        return self.users[torch.as_tensor(index)]


def number_rows(config, dataset):
    """Gives the rows of an evaluated data set their numbers, whatever their order will be."""
    rows = dataset.inter_feat
    if ROW not in rows:
        sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
        rows[ROW] = torch.arange(len(rows)) if sequential else rows[dataset.uid_field].clone()


class FullRankDataLoader(FullSortEvalDataLoader):
    """RecBole's full-ranking loader with ``eval_users_per_batch``, ``eval_memory_mb`` and
    ``mask_history``.

    ``mask_history``: True bars what the user had before from the ranking, False does not, None is
    RecBole's habit (general models mask, sequential ones do not). A positive that was seen before
    stays a candidate. With behaviours both kinds of model bar the same items; general models
    without behaviours keep RecBole's rule (what train, and at test validation, holds).

    With ``length_buckets`` the rows of sequential data sets are ranked in order of their history
    lengths, so that short ones are not padded to long ones.
    """

    def __init__(self, config, dataset, sampler, shuffle=False):
        number_rows(config, dataset)
        if isinstance(dataset, LazySequentialDataset) and config["length_buckets"]:
            dataset.inter_feat._reindex(torch.argsort(dataset.lengths(), stable=True))
        super().__init__(config, dataset, sampler, shuffle=shuffle)
        if not self.is_sequential:
            self.user_df[ROW] = self.uid_list
        mask = config["mask_history"]
        self.mask_history = (not self.is_sequential) if mask is None else mask
        self.first_ranked = None  # a general model's user: position of the first ranked row
        in_order = getattr(dataset, "in_order", False)  # RecBole's data sets do not know
        if not self.is_sequential and config["BEHAVIOR_FIELD"] and in_order:
            rows = dataset.inter_feat
            none = torch.full((dataset.user_num,), torch.iinfo(torch.int64).max)
            self.first_ranked = none.scatter_reduce_(
                0, rows[self.uid_field], rows[POSITION], reduce="amin"
            )

    def _init_batch_size_and_step(self):
        users = users_at_once(self.config, self._dataset)
        self.step = users
        self.set_batch_size(users if self.is_sequential else users * self._dataset.item_num)

    def collate_fn(self, index):
        rows, history, positive_u, positive_i = super().collate_fn(index)
        if not self.mask_history:
            history = None
        elif self.is_sequential:
            position = self._dataset.inter_feat[POSITION][torch.as_tensor(index)]
            history = self._seen_before(rows[self.uid_field], position, positive_u, positive_i)
        elif self.first_ranked is not None:
            user = rows[self.uid_field]
            history = self._seen_before(user, self.first_ranked[user], positive_u, positive_i)
        return rows, history, positive_u, positive_i

    def _seen_before(self, user, count, positive_u, positive_i):
        """What stands before each row of a batch, positives left out.

        Args:
            user (torch.Tensor): user of each row, shape: [B].
            count (torch.Tensor): how many interactions of the user stand before it, shape: [B].
            positive_u (torch.Tensor): rows of the positives, shape: [n_positives].
            positive_i (torch.Tensor): items of the positives, shape: [n_positives].

        Returns:
            tuple of torch.Tensor: row of the batch and item, shape: [n_seen] each.
        """
        data = self._dataset
        row, index = runs(data.start[user], count)
        item = data.store[self.iid_field][index]
        positive = positive_u * data.item_num + positive_i
        keep = ~torch.isin(row * data.item_num + item, positive)
        return row[keep], item[keep]


class SampledRankDataLoader(NegSampleEvalDataLoader):
    """RecBole's loader of sampled candidates; they are a user's own, whoever is in its batch."""

    def __init__(self, config, dataset, sampler, shuffle=False):
        number_rows(config, dataset)
        super().__init__(config, dataset, sampler, shuffle=shuffle)

    def _neg_sampling(self, inter_feat):
        with drawn_from(self.epoch_seed, "candidates", int(inter_feat[ROW][0])):
            return super()._neg_sampling(inter_feat)


def prepare_data(config, dataset):
    """Splits a data set and makes the three loaders.

    Args:
        config (Config): the run's configuration.
        dataset (recbole.data.dataset.Dataset): the loaded data set.

    Returns:
        tuple: loaders for train, valid and test.

    Raises:
        DataError: if nothing is left to train on or to test on, or nothing to be drawn.
    """
    parts = dataset.build()
    for name, part in zip(("training", "validation", "test"), parts):
        if len(part) == 0 and name != "validation":
            raise DataError(
                f"the split leaves no {name} rows: a user needs two interactions"
                + (
                    " of the target behaviour for a test row and three for a validation row"
                    if config["BEHAVIOR_FIELD"]
                    else ""
                )
                + f"; eval_args is {config['eval_args']}"
            )
    says = traits.of(config.model_class)
    samplers = make_samplers(config, dataset, parts)
    loaders = []
    for phase, part, sampler in zip(("train", "valid", "test"), parts, samplers):
        loader = get_dataloader(config, phase)
        if phase == "train" and says.user_batches:
            loader = UserTrainDataLoader
        elif phase == "train" and config["all_positions"] and says.causal:
            loader = AllPositionsTrainDataLoader
        elif loader is TrainDataLoader and isinstance(part, LazySequentialDataset):
            loader = BucketTrainDataLoader
        elif loader is FullSortEvalDataLoader:
            loader = FullRankDataLoader
        elif loader is NegSampleEvalDataLoader:
            loader = SampledRankDataLoader
            part.crop = False  # it joins pieces that would be cropped one by one
        loader = drawn_by_batch(loader, evaluates=phase != "train")
        shuffle = config["shuffle"] if phase == "train" else False
        loaders.append(loader(config, part, sampler, shuffle=shuffle) if len(part) else None)
    return tuple(loaders)
