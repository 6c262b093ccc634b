"""A trained model's lists for people: from Python, from the command line."""

from recbole_diffusion.lazy import lazily

__getattr__ = lazily(__name__, load="recommender", Recommender="recommender")
