"""Which of the processes of a run is this one, and what do they tell each other?

``torchrun`` starts several processes of one command, numbered from 0: the ranks. They do the same
thing in step; whatever is called here, all of them call. Without torchrun, or with one process,
nothing is sent and nothing is different.
"""

import atexit
import logging
import os
import warnings
from contextlib import contextmanager
from datetime import timedelta

LONG = timedelta(days=7)  # others may train something first; torchrun sees who is gone
_SAID = "recbole_diffusion: who says why all of them end"

_group = None  # the store that the processes share, once they know each other
_alone = False  # whether this process does something that the others wait for
_empty = False  # whether this process has no row of the batch


def started():
    """How many processes torchrun has started for this command (int); 1 without it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 1
    return int(os.environ.get("WORLD_SIZE", 1))


def begin():
    """Lets the processes that torchrun has started know each other; nothing for one process.

    So early that no mistake of a user can end one of them before the first has said it.

    Tensors of a CPU are sent by gloo, those of a GPU by nccl. Only the first process writes logs.
    """
    global _group
    if started() == 1 or _group is not None:
        return
    import torch.distributed as dist

    _group, rank_, count_ = next(dist.rendezvous("env://"))
    # Not by what GPUs there are: who asks cannot choose among them any more.
    backend = "cpu:gloo,cuda:nccl" if dist.is_nccl_available() else "gloo"
    dist.init_process_group(backend, store=_group, rank=rank_, world_size=count_, timeout=LONG)
    atexit.register(_end)
    if not first():
        warnings.simplefilter("ignore")
        logging.basicConfig(level=logging.CRITICAL + 1, handlers=[logging.NullHandler()])


def _end():
    import torch.distributed as dist

    try:
        all_end = _group.check([_SAID])
    except RuntimeError:  # who keeps the store is gone, as others will be
        return
    if dist.is_initialized() and not all_end:
        dist.destroy_process_group()


def count():
    """How many processes share what is done now (int)."""
    if _group is None or _alone:
        return 1
    import torch.distributed as dist

    return dist.get_world_size()


def rank():
    """The number of this process among them, from 0 (int)."""
    if count() == 1:
        return 0
    import torch.distributed as dist

    return dist.get_rank()


def first():
    """Whether this process writes files, logs and progress for all."""
    return rank() == 0


def here():
    """The number of this process among those of its machine, from 0 (int)."""
    return int(os.environ["LOCAL_RANK"]) if count() > 1 else 0


@contextmanager
def alone():
    """Within the block this process is the only one."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


@contextmanager
def with_empty_share(is_empty):
    """Within the block this process has no row of the batch, if so; ``gathered`` leaves its out."""
    global _empty
    before, _empty = _empty, is_empty
    try:
        yield
    finally:
        _empty = before


def from_first(function):
    """What a function gives in the first process, for all of them; there it is called alone.

    Args:
        function (Callable): without arguments; what it gives can be pickled.

    Returns:
        What it gave.

    Raises:
        Exception: what it raised, in all of them.
    """
    if count() == 1:
        return function()
    import torch.distributed as dist

    found = [None]
    if first():
        with alone():
            try:
                found = [(function(), None)]
            except Exception as error:
                found = [(None, error)]
    dist.broadcast_object_list(found, src=0)
    value, error = found[0]
    if error is not None:
        raise error
    return value


def of_all(value):
    """The values of all processes, in their order (list); they can be pickled."""
    if count() == 1:
        return [value]
    import torch.distributed as dist

    values = [None] * count()
    dist.all_gather_object(values, value)
    return values


def summed(numbers):
    """Sums over all processes, the same to the last digit in each (list of float).

    Args:
        numbers (list of int or float): of this process.
    """
    if count() == 1:
        return list(map(float, numbers))
    import torch
    import torch.distributed as dist

    own = torch.tensor(numbers, dtype=torch.float64)
    parts = [torch.empty_like(own) for _ in range(count())]
    dist.all_gather(parts, own)
    return sum(parts).tolist()


def gathered(x):
    """The rows of the whole batch, of which this process has every so many-th.

    Args:
        x (torch.Tensor): a row for each of this process's, without a gradient, shape: [B, ...].

    Returns:
        torch.Tensor: in the order of the batch, shape: [B of all processes, ...].
    """
    if count() == 1:
        return x
    import torch
    import torch.distributed as dist

    x = x[:0] if _empty else x
    sizes = [torch.empty(1, dtype=torch.long) for _ in range(count())]
    dist.all_gather(sizes, torch.tensor([len(x)]))
    sizes = torch.cat(sizes).to(x.device)  # [processes]
    most = int(sizes.max())
    padded = x.new_zeros(most, *x.shape[1:])
    padded[: len(x)] = x
    parts = [torch.empty_like(padded) for _ in range(count())]
    dist.all_gather(parts, padded)
    place = torch.arange(most, device=x.device)
    return torch.stack(parts, dim=1)[place[:, None] < sizes]


def speaks():
    """Whether this process says why the command ends: the first one that asks, of all."""
    if _group is None:
        return True
    try:
        return _group.add(_SAID, 1) == 1
    except RuntimeError:  # torchrun, which keeps the store, is gone
        return first()


def is_lost(error):
    """Whether an error says that another process of the run is gone."""
    if _group is None or not isinstance(error, RuntimeError):
        return False
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or "gloo" in str(error)
