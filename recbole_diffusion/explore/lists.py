"""Which items does a model list, and where were they with the run's own settings?"""

from contextlib import contextmanager
from typing import NamedTuple

import pandas as pd

from recbole_diffusion.evaluator.curves import changed
from recbole_diffusion.explore.histories import WHO, table_of


class Asked(NamedTuple):
    """What a list is asked for.

    Attributes:
        history (list of tuple): items and behaviours, oldest first.
        user (str): a user of training, for models that learnt a vector of each.
        target_behavior (str): what the next item will have; None is the run's, and for models that
            read no behaviours.
    """

    history: list
    user: str = None
    target_behavior: str = None


class Place(NamedTuple):
    """An item in a list.

    Attributes:
        item (str): its token.
        rank (int): from 1.
        score (float): of the model.
        before (int): its rank with the run's own settings; None if it is not ranked there.
    """

    item: str
    rank: int
    score: float
    before: int


@contextmanager
def seeded(recommender, seed):
    """Within the block a recommender draws with another seed."""
    before = recommender.seed
    recommender.seed = seed
    try:
        yield
    finally:
        recommender.seed = before


def moved(recommender, controls, places):
    """What controls ask for.

    Args:
        recommender (Recommender): the model.
        controls (list of Control): of the model.
        places (list of int): which value of each.

    Returns:
        tuple: attributes of the model to set (dict), and the number of samples (int).
    """
    changes, samples = {}, 1
    for control, place in zip(controls, places, strict=True):
        changes |= control.changes[place]
        if control.name == "samples":
            samples = int(control.values[place])
    return changes, samples


def ranking(recommender, asked, changes=None, samples=1):
    """All items that may be recommended, in order.

    With several samples scores are means over them: the first has the run's seed, the others the
    seeds that follow.

    Args:
        recommender (Recommender): the model.
        asked (Asked): for whom.
        changes (dict): attributes of the model to set.
        samples (int): draws of the noise.

    Returns:
        pandas.DataFrame: ``item`` and ``score``, the best first; empty for a history without a
        known item.

    Raises:
        ConfigError, DataError: as of `Recommender.recommend`.
    """
    given = {"histories": table_of(recommender, asked.history)}
    if recommender.reads == "user":
        given = {"users": [asked.user]}
    elif recommender.reads == "nothing":
        given = {"users": [WHO]}
    k = int(recommender.check().sum())
    drawn = []
    with changed(recommender.model, **changes or {}):
        for sample in range(samples):
            with seeded(recommender, recommender.seed + sample):
                drawn.append(
                    recommender.recommend(k=k, target_behavior=asked.target_behavior, **given)
                )
    found = [table[[recommender.item_field, "score"]] for table in drawn]
    if samples == 1:
        return found[0].set_axis(["item", "score"], axis=1)
    every = pd.concat(found).set_axis(["item", "score"], axis=1)
    mean = every.groupby("item", sort=False, as_index=False)["score"].mean()
    return mean.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def compared(now, own, k):
    """A list against that of the run's own settings.

    Args:
        now, own (pandas.DataFrame): of `ranking`.
        k (int): items a list.

    Returns:
        tuple: the list (list of Place), and the items that left it (list of tuple: item, rank
        before, rank now).
    """
    before = {item: rank for rank, item in enumerate(own["item"], 1)}
    listed = [
        Place(item, rank, score, before.get(item))
        for rank, (item, score) in enumerate(zip(now["item"][:k], now["score"][:k]), 1)
    ]
    present = {place.item for place in listed}
    gone = [item for item in own["item"][:k] if item not in present]
    rank = dict.fromkeys(gone) | {
        item: rank for rank, item in enumerate(now["item"], 1) if item in set(gone)
    }
    return listed, [(item, before[item], rank[item]) for item in gone]
