"""Where do a batch's targets stand? One behind each history, or one behind every item of it."""

import torch


def targets(target, length):
    """The targets of a batch, each with its row and the last position of its history.

    Args:
        target (torch.Tensor): the item after each history, shape: [B]; or that after every item, 0
            where there is none, shape: [B, n].
        length (torch.Tensor): of the histories, shape: [B].

    Returns:
        tuple of torch.Tensor: row, position and target item of each, shape: [M] each; M is B, or
        the number of targets that are not 0.
    """
    if target.dim() == 1:
        return torch.arange(len(target), device=target.device), length - 1, target
    row, position = target.nonzero(as_tuple=True)
    return row, position, target[row, position]


def at(x, row, position):
    """``x[row, position]``, with a backward pass that is several times as fast.

    Args:
        x (torch.Tensor): shape: [B, n, ...].
        row (torch.Tensor): shape: [M].
        position (torch.Tensor): shape: [M].

    Returns:
        torch.Tensor: shape: [M, ...].
    """
    return x.flatten(0, 1).index_select(0, row * x.shape[1] + position)


def align_right(sequence, length):
    """Move left-aligned sequences to the right, so that the newest is in the last column.

    Args:
        sequence (torch.Tensor): padded with 0 behind, shape: [B, n].
        length (torch.Tensor): shape: [B].

    Returns:
        torch.Tensor: padded with 0 in front, shape: [B, n].
    """
    n = sequence.shape[1]
    column = torch.arange(n, device=sequence.device) + length[:, None]
    # not column % n: of it no ONNX graph can be made where n is left open
    return sequence.gather(1, torch.where(column < n, column, column - n))
