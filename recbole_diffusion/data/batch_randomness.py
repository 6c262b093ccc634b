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


@contextmanager
def drawn_from(*numbers):
    """Seeds the generators of Python, numpy and torch's CPU for a block, and puts them back.

    Unlike ``trainer.randomness`` it leaves a GPU's alone, which other processes cannot touch.

    Args:
        *numbers (int or str): what the random numbers of the block follow from.
    """
    seed = int.from_bytes(blake2b(repr(numbers).encode(), digest_size=8).digest(), "little")
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
    """

    evaluates = False
    epoch_seed = 0

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
        return super().__iter__()

    def collate_fn(self, index):
        with drawn_from(self.epoch_seed, int(index[0])):  # no other batch of the epoch has the row
            return super().collate_fn(index)


def drawn_by_batch(loader, evaluates):
    """The class of a loader whose random numbers are decided by the batch.

    Args:
        loader (type): a loader class, RecBole's or one of ours.
        evaluates (bool): as of ``DrawnByBatch``.

    Returns:
        type: a subclass of the same name.
    """
    return type(loader.__name__, (DrawnByBatch, loader), {"evaluates": evaluates})
