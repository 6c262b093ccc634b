"""Does a model keep what the package expects of every model? Checks to call on one's own."""

from recbole_diffusion.lazy import lazily

__getattr__ = lazily(__name__, check_model="contract", model_checks="contract")
