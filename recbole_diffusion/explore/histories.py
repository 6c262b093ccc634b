"""A history that is being put together, as the table that a model reads."""

import pandas as pd

WHO = "explore"  # the one user there is


def behaviors_of(recommender):
    """The behaviours that a model reads (list of str), none for the others."""
    return recommender.tokens.get(recommender.config["BEHAVIOR_FIELD"], [])[1:]


def target_of(recommender):
    """The behaviour that a run predicts (str), None where the model reads none."""
    wanted = recommender.config["target_behavior"]
    wanted = wanted[0] if isinstance(wanted, list) else wanted
    return str(wanted) if behaviors_of(recommender) else None


def table_of(recommender, history):
    """The table of interactions that a recommender takes.

    Args:
        recommender (Recommender): the model.
        history (list of tuple): item and behaviour, oldest first; the behaviour may be None.

    Returns:
        pandas.DataFrame: a line an interaction.
    """
    config, (user, item, *rest) = recommender.config, recommender.columns
    table = {user: [WHO] * len(history), item: [token for token, _ in history]}
    if len(rest) > 1:  # before the column of the stamps
        wanted = config["target_behavior"]
        own = str(wanted[0] if isinstance(wanted, list) else wanted)
        known = behaviors_of(recommender)
        # A model without behaviours learnt from rows of the target alone: these are such rows.
        table[rest[0]] = [behavior if behavior and known else own for _, behavior in history]
    return pd.DataFrame(table, dtype=object)
