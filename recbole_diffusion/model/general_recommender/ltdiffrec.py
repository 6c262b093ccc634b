r"""
LT-DiffRec
################################################

Reference:
    Wenjie Wang, Yiyan Xu, Fuli Feng, Xinyu Lin, Xiangnan He, Tat-Seng Chua. "Diffusion Recommender
    Model." in SIGIR 2023. arXiv:2304.04971, section 4.3

L-DiffRec on rows in which later interactions weigh more.
"""

from recbole_diffusion.model.general_recommender.ldiffrec import LDiffRec
from recbole_diffusion.model.general_recommender.tdiffrec import TimeAwareHistory


class LTDiffRec(TimeAwareHistory, LDiffRec):
    """L-DiffRec with time-aware rows."""
