"""How does a block get random numbers of its own?"""

import random
from contextlib import contextmanager

import numpy as np
import torch


def random_states():
    """All global random states, as plain values."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_states(states):
    """Puts back what `random_states` took."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"]:
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])


@contextmanager
def own_randomness(seed):
    """Runs a block with all generators seeded, and puts them back afterwards.

    Args:
        seed (int): seed of the block.
    """
    states = random_states()
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        yield
    finally:
        set_random_states(states)
