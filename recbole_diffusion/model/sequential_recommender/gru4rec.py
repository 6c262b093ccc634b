"""
GRU4Rec
################################################

Reference:
    Yong Kiam Tan et al. "Improved Recurrent Neural Networks for Session-based Recommendations." in
    DLRS 2016. arXiv:1606.08117
"""

from recbole.model.sequential_recommender import GRU4Rec as HostGRU4Rec

from recbole_diffusion.model.all_positions import AllPositions


class GRU4Rec(AllPositions, HostGRU4Rec):
    """A recurrent network over what came before ranks the next item; trains on all positions.

    The network, its loss and its scores are those of RecBole's GRU4Rec, ``recbole:GRU4Rec``.
    RecBole trains it with one row a prefix, as the paper's data augmentation does (section 3.1),
    which passes over a sequence of n items n - 1 times. The state after an item depends on nothing
    behind it, so that one pass gives the loss of all. ``all_positions: False`` is RecBole's way. Of
    sequences longer than ``MAX_ITEM_LIST_LENGTH`` windows are cut, in which a target sees at least
    half as many items.
    """

    group_cost = 1024  # it goes over the columns of a group one after the other
