"""A trained model, out of its checkpoint alone: lists, scores and embeddings.

Letters: B users of a batch, n items with the padding, D size of the embeddings.
"""

import numpy as np
import pandas as pd
import torch
from recbole.data.interaction import Interaction

from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.data.dataloader import ROW
from recbole_diffusion.diffusion.row_noise import by_row
from recbole_diffusion.quick_start.saved_run import saved_config
from recbole_diffusion.recommend.asked import Asked
from recbole_diffusion.recommend.histories import (
    Histories,
    HistoryReader,
    dataset_of,
    ids,
    last_rows,
    objects,
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
    give_histories,
    item_vectors,
    reads,
    user_vectors,
)
from recbole_diffusion.recommend.saved_model import saved_model
from recbole_diffusion.trainer import checkpoint
from recbole_diffusion.trainer.fields import RUN
from recbole_diffusion.trainer.randomness import own_randomness
from recbole_diffusion.trainer.scoring import asked_by_row, check_finite


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


class Recommender:
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
            ``ann`` also ``ann_recall``.
    """

    def __init__(self, checkpoint_file, model=None, map_location="cpu", seed=None):
        state = checkpoint.load(checkpoint_file)
        checkpoint.check_fields(state, checkpoint_file, RUN)
        self.config = saved_config(checkpoint_file, state, model, {"use_gpu": False})
        self.device = self.config["device"] = torch.device(map_location)
        self.tokens = {field: text.split("\n") for field, text in state["tokens"].items()}
        self._known = {
            field: pd.Index(names[1:], dtype=object) for field, names in self.tokens.items()
        }
        self.user_field, self.item_field = (
            self.config["USER_ID_FIELD"],
            self.config["ITEM_ID_FIELD"],
        )
        self.seed = self.config["seed"] if seed is None else seed
        self.report = {}
        self.validation = state.get("best_valid_result")
        self._popularity, self._nearest = state.get("item_counts"), None
        self.reads = reads(self.config.model_class, self.config["model"])
        self.model = saved_model(self.config, state, self.tokens, checkpoint_file)

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
                and item, of the behaviour where the model reads behaviours and, if the lines are
                not in order of time, of the stamp.
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
    def _ask(self, histories, users):
        """Who asks, and what they had."""
        if histories is None and users is None:
            raise ConfigError("recommending needs histories, users or both")
        if histories is None and self.reads in ("sequence", "row"):
            raise ConfigError(
                f"{self.config['model']} scores histories, so it needs them: histories=DataFrame"
            )
        found = dataset = None
        if users is not None and pd.Index([str(user) for user in users]).has_duplicates:
            raise ConfigError("users names a user twice")
        asked_for = None if users is None else objects(users)
        if histories is not None:
            found = self.read(histories)
            found = found if users is None else found.only(users)
            asked_for = found.users
            dataset = dataset_of(self.config, self.tokens, asked_for, found.rows)
        if self.reads == "user":
            user = ids(asked_for, self._known[self.user_field])
        elif self.reads == "nothing":
            user = np.ones(len(asked_for), dtype=np.int64)
        else:
            count = np.bincount(found.rows[self.user_field], minlength=len(asked_for) + 1)[1:]
            user = np.where(count > 0, np.arange(1, len(count) + 1), 0)
        if self.reads == "row":
            give_histories(self.model, self.config, dataset)
        numbers = found is not None and found.items_are_numbers
        asked = Asked(asked_for, torch.from_numpy(user), dataset, numbers)
        self.report = {
            "users": len(asked_for),
            "unknown_rows": found.unknown_rows if found is not None else 0,
            "cold_users": len(asked.cold),
        }
        return asked

    @property
    def columns(self):
        """The columns that histories have; that of the stamps, the last, they may have."""
        reader = HistoryReader(self.config, self._known)
        return [*reader.needed, reader.time]

    def read(self, histories):
        """Checks histories and turns their tokens into ids.

        Args:
            histories (pandas.DataFrame or iterable of pandas.DataFrame): as of `recommend`; several
                tables are read one after the other.

        Returns:
            Histories: what `recommend` takes, too.

        Raises:
            DataError: as of `recommend`.
        """
        if isinstance(histories, Histories):
            return histories
        reader = HistoryReader(self.config, self._known)
        for table in [histories] if isinstance(histories, pd.DataFrame) else histories:
            reader.add(table)
        return reader.histories()

    @torch.no_grad()
    def _scores(self, asked, place, behavior):
        """Scores of some users, shape: [B, n], -inf for the padding."""
        with asked_by_row(self.model, self.seed):
            scores = self.model.full_sort_predict(self._batch(asked, place, behavior))
        scores = scores.view(len(place), -1)
        scores[:, 0] = -torch.inf
        return scores

    def _user_vectors(self, asked, place, behavior):
        batch = self._batch(asked, place, behavior)
        with own_randomness(self.seed), by_row(self.seed, batch[ROW]):
            vectors = user_vectors(self.model, batch)
        check_finite(self.model, torch.nn.functional.pad(vectors, (1, 0)), batch)
        return vectors

    def _search(self, candidate, ann):
        """How the items are searched; None where the scores of all are made at once."""
        items = item_vectors(self.model) if ann or len(candidate) > LARGE else None
        if items is None or not ann:
            return None if items is None else Blocks(items, candidate)
        if self._nearest is None or not torch.equal(self._nearest[0], candidate):
            self._nearest = candidate, Nearest(items, candidate)
        return self._nearest[1]

    def _item_vectors(self):
        table = item_vectors(self.model)
        if table is None:
            raise ConfigError(
                f"{self.config['model']} does not score by inner products with embeddings of items"
            )
        return table

    def _batch(self, asked, place, behavior):
        user = asked.user[place]
        if self.reads == "sequence":
            batch = last_rows(asked.dataset, user, behavior)
        else:
            batch = Interaction({self.user_field: user})
        batch.update(Interaction({ROW: asked.number(place)}))
        return batch.to(self.device)

    def _candidates(self, candidates, deny):
        """Which items may be recommended, bool, shape: [n]."""
        names = self._known[self.item_field]
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

    def _masks_history(self):
        """Whether the run's evaluation bars what a user had before."""
        mask = self.config["mask_history"]
        return self.reads != "sequence" if mask is None else mask

    def _behavior(self, target_behavior):
        """The id of the behaviour to predict, None where the model reads none."""
        field = self.config["BEHAVIOR_FIELD"]
        if field not in self.tokens:
            if target_behavior is not None:
                raise ConfigError(
                    f"target_behavior is {target_behavior!r}, but {self.config['model']} was not "
                    "trained on behaviours"
                )
            return None
        wanted = self.config["target_behavior"] if target_behavior is None else target_behavior
        wanted = str(wanted[0] if isinstance(wanted, list) else wanted)
        if wanted not in self.tokens[field][1:]:
            raise ConfigError(
                f"target_behavior is {wanted!r}, not one of {', '.join(self.tokens[field][1:])}"
            )
        return self.tokens[field].index(wanted)

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
