"""Are the lists out of a checkpoint those of the evaluation, also for people nobody has seen?"""

from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from recbole.utils import ModelType

from recbole_diffusion.data.dataloader import ROW
from recbole_diffusion.data.loading import POSITION
from recbole_diffusion.quick_start.saved_run import load_run
from recbole_diffusion.recommend.asked import Asked
from recbole_diffusion.recommend.reading import reads
from recbole_diffusion.recommend.recommender import load

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


class Ranked:
    """Looks at an evaluation, as the ``observer`` of a trainer; keeps the best of each row.

    Attributes:
        found (dict of int to tuple): by number of a test row its user's id, and scores and ids of
            its best items.
    """

    def __init__(self, user_field, k):
        self.user_field, self.k, self.found = user_field, k, {}

    def collect(self, scores, rows, positive_u, positive_i):
        best = scores.topk(min(self.k, scores.shape[1]), dim=1)
        users = rows[self.user_field].tolist()
        for row, user, *lists in zip(rows[ROW].tolist(), users, best.values, best.indices):
            self.found[row] = user, *(one.numpy() for one in lists)


class Compared(NamedTuple):
    """What a comparison gave.

    Attributes:
        rows (int): test rows that were ranked both ways.
        others (list of str): users whose list is another one than in the evaluation.
        copies (list of str): users of whom an unseen copy has another list, or a list where the
            model knows none but its own users.
        score (float): largest difference between scores of the same place in both lists.
    """

    rows: int
    others: list
    copies: list
    score: float


def can_recommend(model_class):
    """Whether lists can be made of a model's checkpoint (bool)."""
    try:
        return bool(reads(model_class, model_class.__name__))
    except ValueError:
        return False


def compare_lists(checkpoint_file, model=None, k=10):
    """Makes the lists of a run's test rows out of its checkpoint alone, and by its evaluation.

    Equal scores may stand in any order. Nothing is barred: of general models RecBole bars the
    validation items, and not a test item that its user had before, which no history tells. The
    noise of a row is that of the evaluation in the first comparison, where users have their own
    names, and that of the history in the second.

    Args:
        checkpoint_file (str or Path): of the run, whose data are there.
        model (str or type): as of `load`.
        k (int): items a list.

    Returns:
        Compared: what differs.
    """
    run = load_run(checkpoint_file, model, mask_history=False)
    config = run.trainer.config
    ranked = run.trainer.observer = Ranked(config["USER_ID_FIELD"], k)
    run.trainer.evaluate(run.test_data, load_best_model=False)
    recommender = load(checkpoint_file, model)
    names, histories = _histories(run, ranked.found)
    expected = {names[row]: found[1:] for row, found in ranked.found.items() if row in names}
    number = {name: row for row, name in names.items()}

    def of_the_row(asked, place):
        return torch.tensor([number[user] for user in asked.users[place]])

    users, items = list(expected), recommender.tokens[recommender.item_field]
    with patch.object(Asked, "number", of_the_row):
        lists = _by_user(recommender, histories, users, k)
    others, far = [], 0.0
    for user, (score, item) in expected.items():
        whole = np.isfinite(score)
        its = lists.get(user, ([], []))
        if not _same(([items[one] for one in item[whole]], score[whole]), its):
            others.append(user)
        else:
            far = max(far, np.abs(score[whole] - its[1]).max(initial=0))

    user_field = recommender.user_field
    unseen = histories.assign(**{user_field: "a copy of " + histories[user_field]})
    copied = [f"a copy of {user}" for user in reversed(users)]  # a place is nobody's
    found = _by_user(recommender, unseen, copied, k)
    if recommender.reads == "user":
        copies = list(found)
    else:
        lists = _by_user(recommender, histories, users, k)
        copies = [user for user in users if not _same(lists[user], found[f"a copy of {user}"])]
    return Compared(len(expected), others, copies, float(far))


def _histories(run, found):
    """What stands before each test row: names by row, and a line an interaction."""
    config, data = run.trainer.config, run.test_data._dataset
    train = run.train_data._dataset
    user, time = config["USER_ID_FIELD"], config["TIME_FIELD"]
    tokens = train.field2id_token
    if config["MODEL_TYPE"] == ModelType.SEQUENTIAL:
        whose = [found[row][0] for row in found]
        one_each = len(set(whose)) == len(whose)
        names, kept, owner = {}, [], []
        columns = (data.inter_feat[field].tolist() for field in (ROW, user, POSITION))
        for row, id_, count in zip(*columns):
            token, first = str(tokens[user][id_]), int(data.start[id_])
            names[row] = token if one_each else f"{token}, row {row}"
            kept.append(torch.arange(first, first + count))
            owner += [names[row]] * count
        values = {field: value[torch.cat(kept)] for field, value in data.store.items()}
    else:
        values = train.inter_feat.interaction
        order = np.lexsort((values[time] if time in values else values[user], values[user]))
        values = {field: value[torch.from_numpy(order)] for field, value in values.items()}
        owner = [str(token) for token in tokens[user][values[user].numpy()]]
        had = set(owner)
        names = {row: str(tokens[user][id_]) for row, (id_, *_) in found.items()}
        names = {row: name for row, name in names.items() if name in had}
    wanted = [config["ITEM_ID_FIELD"], config["BEHAVIOR_FIELD"]]
    table = {field: tokens[field][values[field].numpy()] for field in wanted if field in values}
    return names, pd.DataFrame({user: owner} | table, dtype=object)


def _by_user(recommender, histories, users, k):
    """By user items and scores of their lists."""
    lists = recommender.recommend(histories, users=users, k=k, exclude_seen=False)
    columns = (lists[recommender.item_field], lists["score"])
    found = {}
    for user, item, score in zip(lists[recommender.user_field], *columns):
        items, scores = found.setdefault(user, ([], []))
        items.append(item)
        scores.append(score)
    return found


def _same(one, other):
    """Whether two lists have equal scores, and equal items but for those of equal scores."""
    if len(one[1]) != len(other[1]) or not np.allclose(one[1], other[1], **TOLERANCE):
        return False
    if not len(one[1]):
        return True
    last = min(one[1][-1], other[1][-1])
    sure = last + 2 * (TOLERANCE["atol"] + TOLERANCE["rtol"] * abs(last))
    above = [dict((i, s) for i, s in zip(*found) if s > sure) for found in (one, other)]
    return above[0].keys() <= set(other[0]) and above[1].keys() <= set(one[0])
