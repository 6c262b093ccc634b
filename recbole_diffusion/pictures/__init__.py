"""A trained model, drawn."""

from recbole_diffusion.lazy import lazily

__getattr__ = lazily(__name__, draw="pictures", numbers="pictures")
