"""Which settings are best on validation?"""

from recbole_diffusion.lazy import lazily

__getattr__ = lazily(__name__, tune="search")
