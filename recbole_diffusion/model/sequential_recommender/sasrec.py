"""
SASRec
################################################

Reference:
    Wang-Cheng Kang and Julian McAuley. "Self-Attentive Sequential Recommendation." in ICDM 2018.
    arXiv:1808.09781
"""

from recbole.model.sequential_recommender import SASRec as HostSASRec

from recbole_diffusion.model.all_positions import AllPositions


class SASRec(AllPositions, HostSASRec):
    """Self-attention over what came before ranks the next item; trains on all positions at once.

    The network, its loss and its scores are those of RecBole's SASRec, ``recbole:SASRec``. RecBole
    trains it with one row a prefix, which passes over a sequence of n items n - 1 times. Attention
    is causal here: the state at a position is that of the prefix which ends there, so that one pass
    gives the loss of all (the paper, section III-F, trains so). ``all_positions: False`` is
    RecBole's way. Of sequences longer than ``MAX_ITEM_LIST_LENGTH`` windows are cut, in which a
    target sees at least half as many items.
    """
