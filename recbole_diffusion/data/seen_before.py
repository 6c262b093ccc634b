"""Had a user the item of a held-out row before?

A pair is a user and an item as one number. Rows are the stored ones of all users, in order of user
and time, and a place is a number of them: that of a held-out row, or where it would stand.
"""

import torch

from recbole_diffusion.data.loading import POSITION


def seen_before(pair, place, stored):
    """Which held-out rows have a stored row of the same user and item before them.

    Args:
        pair (torch.Tensor): pair of each held-out row, shape: [n_held_out].
        place (torch.Tensor): its place, shape: [n_held_out].
        stored (torch.Tensor): pair of each stored row, shape: [n_stored].

    Returns:
        torch.Tensor: bool, shape: [n_held_out].
    """
    pairs, back = pair.unique(return_inverse=True)
    row, found = _rows_of(pairs, stored)
    first = torch.full((len(pairs),), len(stored)).scatter_reduce_(0, found, row, "amin")
    return first[back] < place


def rows_before(pair, place, stored):
    """Which stored rows stand before a held-out row of the same user and item.

    Args:
        pair (torch.Tensor): pair of each held-out row, shape: [n_held_out].
        place (torch.Tensor): its place, shape: [n_held_out].
        stored (torch.Tensor): pair of each stored row, shape: [n_stored].

    Returns:
        torch.Tensor: bool, shape: [n_stored].
    """
    pairs, back = pair.unique(return_inverse=True)
    row, found = _rows_of(pairs, stored)
    last = torch.full((len(pairs),), -1).scatter_reduce_(0, back, place, "amax")
    before = torch.zeros(len(stored), dtype=torch.bool)
    before[row] = row < last[found]
    return before


def _rows_of(pairs, stored):
    """The stored rows of some distinct pairs in ascending order, and which pair each is of."""
    if len(pairs) == 0:
        return pairs, pairs
    found = torch.searchsorted(pairs, stored).clamp_(max=len(pairs) - 1)
    row = torch.nonzero(pairs[found] == stored).flatten()
    return row, found[row]


def share_seen_before(past, held_out):
    """Share of held-out targets that the user had before.

    Args:
        past (tuple of Dataset): what is split off before it; asked where rows have no order in
            time.
        held_out (Dataset): built validation or test data.

    Returns:
        float: in 0..1.
    """

    def pairs(rows):
        return rows[held_out.uid_field] * held_out.item_num + rows[held_out.iid_field]

    rows = held_out.inter_feat
    if getattr(held_out, "in_order", False):
        place = held_out.start[rows[held_out.uid_field]] + rows[POSITION]
        seen = seen_before(pairs(rows), place, pairs(held_out.store))
    else:
        seen = torch.isin(pairs(rows), torch.cat([pairs(part.inter_feat) for part in past]))
    return seen.double().mean().item()
