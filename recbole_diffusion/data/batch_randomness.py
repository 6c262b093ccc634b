"""What decides the random numbers of a batch? The run's seed, the epoch and the batch alone.

RecBole's loaders draw negative items and masks while they make a batch, from global generators:
those of the training, or with ``worker`` those of each process that makes batches, so that the
number of processes would change what is trained on.
"""

import random
from contextlib import contextmanager
from hashlib import blake2b

import numpy as np
import torch

# Field of a training batch of which a process has no row: one that another has too. No column of a
# file can have the name.
NOT_OURS = "trained:elsewhere"


def seed_of(*numbers):
    """A seed in 0..2^64 - 1 (int) that follows from some numbers and words."""
    return int.from_bytes(blake2b(repr(numbers).encode(), digest_size=8).digest(), "little")


@contextmanager
def drawn_from(*numbers):
    """Seeds the generators of Python, numpy and torch's CPU for a block, and puts them back.

    Unlike ``trainer.randomness`` it leaves a GPU's alone, which other processes cannot touch.

    Args:
        *numbers (int or str): what the random numbers of the block follow from.
    """
    seed = seed_of(*numbers)
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


class DrawnByBatch:
    """Random numbers of a batch from the epoch and the batch; mixed in before one of RecBole's.

    Attributes:
        evaluates (bool): whether it is iterated by evaluations, which are all to be alike under one
            seed; else each epoch draws anew, and goes on so after a resume.
        epoch_seed (int): set when an iteration begins, before other processes are started.
        share (tuple of int): which of how many processes iterates. Of every training batch each
            takes every so many-th row; of evaluated batches every so many-th one, as scores may
            differ in the last digit where other rows stand beside them.
    """

    evaluates = False
    epoch_seed = 0
    share = (0, 1)

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        if getattr(self, "neg_sample_args", {}).get("dynamic"):
            self.num_workers = 0  # the model as it is chooses, and other processes have an old one

    def __iter__(self):
        if self.evaluates:
            self.epoch_seed = torch.initial_seed()  # of the block that the evaluation runs in
        else:
            # What the generator would draw next, without drawing it; a checkpoint has its state.
            ahead = torch.Generator()
            ahead.set_state(self.generator.get_state())
            self.epoch_seed = int(torch.randint(2**62, (), generator=ahead))
        batches = super().__iter__()
        return batches if self.share[1] == 1 else (rows for rows in batches if rows is not None)

    def collate_fn(self, index):
        number, processes = self.share
        if self.evaluates and (int(index[0]) // self.step) % processes != number:
            return None
        own = index if self.evaluates else index[number::processes]
        index = own if len(own) else index[:1]
        with drawn_from(self.epoch_seed, int(index[0])):  # no other batch of the epoch has the row
            rows = super().collate_fn(index)
        if not len(own):
            rows[NOT_OURS] = torch.ones(len(rows), dtype=torch.bool)
        return rows


def drawn_by_batch(loader, evaluates):
    """The class of a loader whose random numbers are decided by the batch.

    Args:
        loader (type): a loader class, RecBole's or one of ours.
        evaluates (bool): as of ``DrawnByBatch``.

    Returns:
        type: a subclass of the same name.
    """
    return type(loader.__name__, (DrawnByBatch, loader), {"evaluates": evaluates})
