"""How are models trained, and what is kept of it?"""

from recbole_diffusion.lazy import lazily

__getattr__ = lazily(__name__, DiffusionTrainer="trainer", TrainerHooks="trainer")
