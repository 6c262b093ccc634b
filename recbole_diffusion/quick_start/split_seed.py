"""Which seed is a random split drawn from?"""


def split_seed(config):
    """The seed that a random split is drawn from.

    Args:
        config (Config): keys ``split_seed`` and ``seed``.

    Returns:
        int: ``split_seed``, or the run's seed where there is none.
    """
    return config["seed"] if config["split_seed"] is None else config["split_seed"]
