"""Diffusion recommenders for RecBole."""

from recbole_diffusion.lazy import lazily

__version__ = "0.1.0"
__getattr__ = lazily(
    __name__, load="recommend.recommender", run_recbole_diffusion="quick_start.quick_start"
)
