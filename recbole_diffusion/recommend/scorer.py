"""What does the model of a checkpoint score, and for whom? Without its data set.

Letters: B users of a batch, n items with the padding, D size of the embeddings.
"""

from functools import cached_property

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


class Scorer:
    """A model out of its checkpoint, with what it is told of people and what it gives.

    Attributes: those of `Recommender`.
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

    def _ask(self, histories, users):
        """Who asks, and what they had."""
        if histories is None and users is None:
            raise ConfigError("recommending needs histories, users or both")
        if histories is None and self.reads in ("sequence", "row"):
            raise ConfigError(
                f"{self.config['model']} scores histories, so it needs them: histories=DataFrame"
            )
        found = dataset = None
        if isinstance(users, str):
            raise ConfigError(f"users is the text {users!r}: give a list, as [{users!r}]")
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
    def popularity(self):
        """Training interactions of each item, shape: [n]; None where the run did not count."""
        return self._popularity

    @property
    def columns(self):
        """The columns of histories that are read, where they are there: all but that of the stamps
        are needed, and that of behaviours can be the number that they are made of."""
        reader = HistoryReader(self.config, self._known)
        made_of = [reader.source["field"]] if reader.source else []
        return list(dict.fromkeys([*reader.needed, *made_of, reader.time]))

    def names_of(self, columns):
        """The columns of histories that are called otherwise.

        Args:
            columns (dict of str to str): ``user``, ``item``, ``time`` and ``behavior`` to a name.

        Returns:
            dict of str to str: the data set's column to that name.

        Raises:
            ConfigError: if there is a name for a behaviour, and none is read.
        """
        if "behavior" in columns and self.behavior_column is None:
            raise ConfigError(
                f"{self.config['model']} reads no behaviours, so no column can be named for them"
            )
        own = {"user": self.user_field, "item": self.item_field}
        own |= {"time": self.config["TIME_FIELD"], "behavior": self.behavior_column}
        return {own[what]: name for what, name in columns.items()}

    @cached_property
    def known_items(self):
        """The ids of all items (frozenset of str)."""
        return frozenset(self.tokens[self.item_field][1:])

    @property
    def behavior_column(self):
        """The column of behaviours that histories need; None where none is read."""
        return HistoryReader(self.config, self._known).told

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
