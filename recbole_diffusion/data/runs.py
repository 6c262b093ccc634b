"""Which rows do several runs of consecutive rows hold?"""

import torch


def runs(first, count):
    """Numbers ``first, first + 1, ...``, ``count`` of them, for several runs at once.

    Args:
        first (torch.Tensor): where each run begins, shape: [B].
        count (torch.Tensor): how long each is, shape: [B].

    Returns:
        tuple of torch.Tensor: which run, and the number; shape: [sum of count] each.
    """
    row = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    shift = first - (count.cumsum(0) - count)
    return row, torch.arange(len(row), device=count.device) + shift[row]
