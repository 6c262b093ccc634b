"""A trained model, out of its checkpoint alone: lists, scores and embeddings.

Letters: B users of a batch, n items with the padding, D size of the embeddings.
"""

import numpy as np
import pandas as pd
import torch

from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.recommend.histories import (
    ids,
)
from recbole_diffusion.recommend.index import (
    LARGE,
    Blocks,
    Nearest,
    best,
    import_faiss,
    search_in_batches,
)
from recbole_diffusion.recommend.reading import (
    item_vectors,
)
from recbole_diffusion.recommend.scorer import Scorer


def load(checkpoint_file, model=None, map_location="cpu", seed=None):
    """A trained model that recommends; no data set is read.

    Args:
        checkpoint_file (str or Path): a best or last checkpoint of a run.
        model (str or type): the model where its name alone does not say which:
            ``recbole:DiffRec``, ``my_module:MyModel`` or a class.
        map_location (str or torch.device): where it scores, like ``cpu`` or ``cuda:0``.
        seed (int): of the noise of models that draw when they score; None is the run's.

    Returns:
        Recommender: the model.

    Raises:
        CheckpointError: if the file is missing or is not the checkpoint of a run, or does not hold
            what its model scores with.
        ValueError: on an unknown model, or one that cannot recommend from a checkpoint.
    """
    return Recommender(checkpoint_file, model, map_location, seed)


class Recommender(Scorer):
    """A trained model that recommends; made by `load`.

    Users and items are known by the ids of the data set that the model was trained on, compared as
    text. What it needs of people depends on what the model ``reads``: a sequence or a set of items,
    whose users may be new, or a vector learnt for each user, whose users are those of training.

    Attributes:
        config (SavedConfig): the run's configuration.
        model (torch.nn.Module): the model, in evaluation mode.
        reads (str): ``sequence``, ``row``, ``user`` or ``nothing``, see `traits.Traits`.
        tokens (dict of str to list of str): by field its ids in order, the padding first.
        seed (int): of the noise.
        validation (dict of str to float): of the best epoch; None without.
        report (dict of str to int): of the last call: ``users``, ``unknown_rows`` (lines left out
            because their item is not known) and ``cold_users`` (left without a known item); with
            ``candidates`` and ``deny`` also ``unknown_candidates`` and ``unknown_deny``, how many
            of their items are not known, and with ``ann`` ``ann_recall``.
    """

    # ---------------------------------------------------------------- what is asked
    def recommend(
        self,
        histories=None,
        users=None,
        k=20,
        exclude_seen=None,
        candidates=None,
        deny=None,
        target_behavior=None,
        cold="skip",
        batch_size=512,
        ann=False,
    ):
        """The best items for people.

        Args:
            histories (pandas.DataFrame): a line an interaction, with the data set's columns of user
                and item, of the behaviour (or what the run's ``behavior_from`` makes it of, like a
                rating) where the model reads behaviours and, if the lines are not in order of time,
                of the stamp.
            users (list): whose lists; None is all of ``histories``. Without ``histories`` the model
                must have learnt a vector for each user.
            k (int): items a list; fewer where fewer may be recommended.
            exclude_seen (bool): leave out what is in the history; None is as in the run's
                evaluation.
            candidates (list): the items that may be recommended; None is all.
            deny (list): items that may not.
            target_behavior (str): the behaviour that the next item will have, where the model reads
                behaviours; None is that of the run.
            cold (str): users without a known item or learnt vector get ``pop``, the most popular
                items of training, or ``skip``, no list.
            batch_size (int): users scored at once.
            ann (bool): search the items by an index that finds nearly all of the best (approximate
                nearest neighbours), where the scores are inner products. ``report`` then has
                ``ann_recall``, the share of exact lists found, over a sample of the users.

        Returns:
            pandas.DataFrame: a line an item of a list, with the columns of user and item and
            ``rank`` (from 1) and ``score``; users in the order they were given. Popular items of
            ``cold="pop"`` have their share of the training interactions as score.

        Raises:
            ConfigError: on an argument that is out of range, or that the model has no use for.
            DataError: if the histories cannot be used, or hold users that the model does not know
                though it must.
            ImportError: with ``ann`` and without its library.
        """
        candidate = self.check(
            k, candidates, deny, target_behavior, cold, batch_size, exclude_seen, ann
        )
        behavior = self._behavior(target_behavior)
        asked = self._ask(histories, users)
        self.report |= self.unknown_listed(candidates, deny)
        if exclude_seen is None:
            exclude_seen = self._masks_history() and asked.dataset is not None
        if exclude_seen and asked.dataset is None:
            raise ConfigError("exclude_seen needs histories, which say what was seen")
        lists, places = [], asked.batches(batch_size)
        search = self._search(candidate, ann)
        if search is not None and places:
            vectors = torch.cat([self._user_vectors(asked, place, behavior) for place in places])
            seen = asked.seen if exclude_seen else None
            lists, recall = search_in_batches(search, vectors, places, k, seen)
            self.report |= {"ann_recall": recall} if ann else {}
        for place in places if search is None else []:
            scores = self._scores(asked, place, behavior)
            scores[:, ~candidate] = -torch.inf
            if exclude_seen:
                scores[asked.seen(place)] = -torch.inf
            lists.append((place, *best(scores, k)))
        if cold == "pop":
            lists += [(place, *self._popular(len(place), candidate, k)) for place in [asked.cold]]
        return self._table(asked, lists)

    def score(self, histories=None, users=None, target_behavior=None, batch_size=512):
        """Scores of all items for people.

        Args:
            histories, users, target_behavior, batch_size: as of `recommend`.

        Returns:
            pandas.DataFrame: a row a user, a column an item; users without a known item or learnt
            vector are left out.

        Raises:
            ConfigError, DataError: as of `recommend`.
        """
        _check_count("batch_size", batch_size)
        behavior, asked = self._behavior(target_behavior), self._ask(histories, users)
        blocks = [
            self._scores(asked, place, behavior)[:, 1:].cpu().numpy()
            for place in asked.batches(batch_size)
        ]
        every = np.arange(1, len(self.tokens[self.item_field]))
        return pd.DataFrame(
            np.concatenate(blocks or [np.zeros((0, len(every)), np.float32)]),
            index=pd.Index(asked.users[asked.warm.numpy()], name=self.user_field),
            columns=pd.Index(self._items(every, asked), name=self.item_field),
        )

    def embed_items(self):
        """The items' embeddings.

        Returns:
            pandas.DataFrame: a row an item, shape: [n - 1, D].

        Raises:
            ConfigError: if the model does not score by inner products with embeddings.
        """
        table = self._item_vectors()[1:].cpu().numpy()
        names = pd.Index(self.tokens[self.item_field][1:], name=self.item_field)
        return pd.DataFrame(table, index=names)

    def embed_users(self, histories=None, users=None, target_behavior=None, batch_size=512):
        """The vectors whose inner products with `embed_items` are the scores.

        Args:
            histories, users, target_behavior, batch_size: as of `recommend`.

        Returns:
            pandas.DataFrame: a row a user that is not left out, shape: [n_users, D].

        Raises:
            ConfigError: if the model does not score by inner products with embeddings, or as of
                `recommend`.
            DataError: as of `recommend`.
        """
        _check_count("batch_size", batch_size)
        self._item_vectors()  # refuses a model without
        behavior, asked = self._behavior(target_behavior), self._ask(histories, users)
        vectors = [
            self._user_vectors(asked, place, behavior) for place in asked.batches(batch_size)
        ]
        names = pd.Index(asked.users[asked.warm.numpy()], name=self.user_field)
        return pd.DataFrame(torch.cat(vectors).cpu().numpy() if vectors else None, index=names)

    def check(
        self,
        k=20,
        candidates=None,
        deny=None,
        target_behavior=None,
        cold="skip",
        batch_size=512,
        exclude_seen=None,
        ann=False,
    ):
        """Refuses what `recommend` would, before anything is read.

        Args:
            k, candidates, deny, target_behavior, cold, batch_size, exclude_seen, ann: as of
                `recommend`.

        Returns:
            torch.Tensor: which items may be recommended, bool, shape: [n].

        Raises:
            ConfigError, ImportError: as of `recommend`.
        """
        _check_count("k", k)
        _check_count("batch_size", batch_size)
        if cold not in ("pop", "skip"):
            raise ConfigError(f"cold is {cold!r}, not one of 'pop' and 'skip'")
        if cold == "pop" and self._popularity is None:
            raise ConfigError("cold='pop' needs a checkpoint that counts the items of training")
        if exclude_seen not in (None, True, False):
            raise ConfigError(f"exclude_seen is {exclude_seen!r}, not one of True, False and None")
        if ann not in (True, False):
            raise ConfigError(f"ann is {ann!r}, not one of True and False")
        if ann:
            self._item_vectors()  # refuses a model without
            import_faiss()
        self._behavior(target_behavior)
        candidate = self._candidates(candidates, deny)
        if k > candidate.sum():
            raise ConfigError(f"k is {k}, but {int(candidate.sum())} items may be recommended")
        return candidate

    # ---------------------------------------------------------------- how
    def _search(self, candidate, ann):
        """How the items are searched; None where the scores of all are made at once."""
        items = item_vectors(self.model) if ann or len(candidate) > LARGE else None
        if items is None or not ann:
            return None if items is None else Blocks(items, candidate)
        if self._nearest is None or not torch.equal(self._nearest[0], candidate):
            self._nearest = candidate, Nearest(items, candidate)
        return self._nearest[1]

    def unknown_listed(self, candidates=None, deny=None):
        """How many items of lists are not known.

        Args:
            candidates, deny (list): as of `recommend`.

        Returns:
            dict of str to int: ``unknown_candidates`` and ``unknown_deny``, of lists that are
            given.

        Raises:
            ConfigError: if none of a list is known.
        """
        names, found = self._known[self.item_field], {}
        for option, items in {"candidates": candidates, "deny": deny}.items():
            if items is None:
                continue
            unknown = found[f"unknown_{option}"] = int((ids(items, names) == 0).sum())
            if unknown and unknown == len(items):
                raise ConfigError(
                    f"none of the {unknown} items of {option} is known: they are compared as text "
                    f"with the data set's ids, like {names[0]!r}"
                )
        return found

    def _candidates(self, candidates, deny):
        """Which items may be recommended, bool, shape: [n]."""
        names = self._known[self.item_field]
        self.unknown_listed(candidates, deny)  # refuses lists of nothing known
        may = torch.ones(len(names) + 1, dtype=torch.bool)
        if candidates is not None:
            may[:] = False
            may[ids(candidates, names)] = True
        if deny is not None:
            may[ids(deny, names)] = False
        if self.config["candidates"] == "trained" and self._popularity is not None:
            may &= self._popularity > 0
        may[0] = False
        return may

    def _popular(self, n_users, candidate, k):
        """The most popular items of training and their shares, shape: [n_users, k] each."""
        share = self._popularity.double() / self._popularity.sum()
        best, item = torch.topk(share.masked_fill(~candidate, -torch.inf), k)
        return best.expand(n_users, k), item.expand(n_users, k)

    def _items(self, item, asked):
        """Items as they were given, out of their ids."""
        names = np.asarray(self.tokens[self.item_field], dtype=object)[item]
        return names.astype(np.int64) if asked.items_are_numbers else names

    def _table(self, asked, lists):
        """A line an item of a list, users in order."""
        k = lists[0][1].shape[1] if lists else 0
        place = torch.cat([block[0] for block in lists]) if lists else torch.zeros(0).long()
        order = torch.argsort(place, stable=True)
        score = torch.cat([block[1].cpu().double() for block in lists])[order] if lists else place
        item = torch.cat([block[2].cpu() for block in lists])[order] if lists else place
        table = pd.DataFrame(
            {
                self.user_field: asked.users[place[order].numpy()].repeat(k),
                self.item_field: self._items(item.flatten().numpy(), asked),
                "rank": np.tile(np.arange(1, k + 1), len(place)),
                "score": score.flatten().numpy(),
            }
        )
        return table[np.isfinite(table["score"])].reset_index(drop=True)


def _check_count(name, value):
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number above 0")
