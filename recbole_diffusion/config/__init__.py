"""The configuration of a run: where settings come from, what keys and models there are."""

from recbole_diffusion.lazy import lazily

__getattr__ = lazily(
    __name__, Config="config", ConfigError="values", parse_value="values", read_yaml="values"
)
