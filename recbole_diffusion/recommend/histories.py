"""What did people have before? A table of interactions, as the data set that a model reads."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from recbole.data.interaction import Interaction
from recbole.utils.enum_type import FeatureSource, FeatureType, ModelType

from recbole_diffusion.data.behaviors import behaviors_of
from recbole_diffusion.data.choose import get_dataset
from recbole_diffusion.data.lines import DataError
from recbole_diffusion.data.loading import POSITION


class Histories(NamedTuple):
    """Interactions whose items are known, in ids.

    Attributes:
        users (numpy.ndarray): the users as they were given, in order of their first line; users
            without a known item among them.
        rows (pandas.DataFrame): by field the ids of user (from 1, the place in ``users`` and one),
            item and behaviour, and the stamps; sorted by user.
        unknown_rows (int): lines left out because their item is not known.
        items_are_numbers (bool): whether items were given as whole numbers.
    """

    users: np.ndarray
    rows: pd.DataFrame
    unknown_rows: int
    items_are_numbers: bool

    def of(self, first, last):
        """The histories of the users from one place to before another, as of `Histories`."""
        user = self.rows.columns[0]
        begin, end = self.rows[user].searchsorted([first + 1, last + 1])
        rows = self.rows.iloc[begin:end].reset_index(drop=True)
        rows[user] -= first
        return self._replace(users=self.users[first:last], rows=rows)

    def only(self, users):
        """The histories of some users, compared as text; those of the others have no line.

        Args:
            users (list): in the order that is wanted.

        Returns:
            Histories: of exactly these users.
        """
        user = self.rows.columns[0]
        asked = pd.Index([str(one) for one in users])
        place = asked.get_indexer([str(one) for one in self.users])  # -1: nobody asks
        rows = self.rows.assign(**{user: place[self.rows[user].to_numpy() - 1] + 1})
        rows = rows[rows[user] > 0].sort_values(user, kind="stable", ignore_index=True)
        return self._replace(users=objects(users), rows=rows)


class HistoryReader:
    """Turns tables of interactions into ids, one after the other.

    Args:
        config (Config): of the run.
        known (dict of str to pandas.Index): by field its tokens in order of their ids, without the
            padding.
    """

    def __init__(self, config, known):
        self.config, self.known = config, known
        self.user, self.item = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
        self.time, behavior = config["TIME_FIELD"], config["BEHAVIOR_FIELD"]
        self.behavior = behavior if behavior in known else None
        general = config["MODEL_TYPE"] != ModelType.SEQUENTIAL
        self.filtered = None  # the column by which a general model's rows are chosen
        if behavior is not None and general and config["train_behaviors"] == "target":
            self.filtered = behavior
        self.told = self.behavior or self.filtered  # the column of behaviours that is read
        self.source = config["behavior_from"] if self.told else None  # what it can be made of
        self.needed = [column for column in (self.user, self.item, self.told) if column]
        self._place, self._users, self._blocks = {}, [], []
        self._unknown, self._numbers, self._lines = 0, True, 0

    def add(self, table):
        """Takes a table.

        Args:
            table (pandas.DataFrame): a line an interaction, with the columns of the data set that
                the model was trained on: user, item, the behaviour where it reads behaviours (or
                the number that ``behavior_from`` makes it of) and, where there is one, the stamp,
                a number or an ISO date (in UTC, if it names no offset).

        Raises:
            DataError: if a column is missing, a user, item or behaviour is missing, a stamp is no
                finite number and no ISO date, or a behaviour is not known.
        """
        if not isinstance(table, pd.DataFrame):
            raise DataError(
                f"histories are a pandas.DataFrame, not a {type(table).__name__}; ids of users are "
                "given as users=[...]"
            )
        if ":" in str(next(iter(table), "")):  # an atomic file, as pandas reads it
            table = table.rename(columns=lambda name: str(name).partition(":")[0])
        if self.source and self.told not in table and self.source["field"] in table:
            table = table.assign(**{self.told: self._behaviors(table[self.source["field"]])})
        for field in self.needed:
            if field not in table:
                made_of = self.source and field == self.told and self.source["field"]
                made = f", and no '{made_of}' to make it of" if made_of else ""
                raise DataError(
                    f"the histories have no column '{field}'{made}: their columns are {list(table)}"
                )
        for field in self.needed:
            self._refuse(table[field].isna(), f"{field} is missing")
        self._numbers &= pd.api.types.is_integer_dtype(table[self.item])
        code, users = pd.factorize(table[self.user])
        for user in users:
            if user not in self._place:
                self._place[user] = len(self._users)
                self._users.append(user)
        place = np.array([self._place[user] for user in users], dtype=np.int32)
        rows = {self.user: (place[code] if len(code) else place) + 1}
        rows[self.item] = ids(table[self.item], self.known[self.item])
        if self.time in table:
            rows[self.time] = stamps(table[self.time])
            wrong = ~np.isfinite(rows[self.time])
            self._refuse(wrong, f"{self.time} is neither a finite number nor an ISO date")
        if self.behavior is not None:
            rows[self.behavior] = ids(table[self.behavior], self.known[self.behavior])
            names = ", ".join(self.known[self.behavior])
            self._refuse(rows[self.behavior] == 0, f"{self.behavior} is not one of {names}")
        known = rows[self.item] > 0
        self._unknown += int((~known).sum())
        if self.filtered is not None:
            wanted = self.config["target_behavior"]
            wanted = [str(token) for token in (wanted if isinstance(wanted, list) else [wanted])]
            known &= table[self.filtered].astype(str).isin(wanted).to_numpy()
        self._blocks.append(pd.DataFrame(rows)[known])
        self._lines += len(table)

    def histories(self):
        """What was taken so far (Histories)."""
        if not self._blocks:
            self.add(pd.DataFrame(columns=self.needed))
        rows = pd.concat(self._blocks, ignore_index=True)
        # Stable: the order of the lines is that of time, or breaks its ties.
        rows = rows.sort_values(self.user, kind="stable", ignore_index=True)
        return Histories(objects(self._users), rows, self._unknown, self._numbers)

    def _behaviors(self, values):
        """What `behaviors_of` makes of the source's values, which in a file are text."""
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
        self._refuse(~np.isfinite(numbers), f"{self.source['field']} is no finite number")
        return behaviors_of(
            numbers, self.source, lambda row: f"row {self._lines + row + 1} of the histories"
        )

    def _refuse(self, wrong, words):
        wrong = np.asarray(wrong)
        if wrong.any():
            raise DataError(
                f"row {self._lines + int(wrong.argmax()) + 1} of the histories: {words} "
                f"({int(wrong.sum())} such rows)"
            )


def objects(values):
    """An array of values as they are, shape: [n]."""
    array = np.empty(len(values), dtype=object)
    array[:] = list(values)
    return array


def stamps(values):
    """Stamps as numbers; dates become seconds since 1970.

    Args:
        values (pandas.Series): numbers, dates, or text of either.

    Returns:
        numpy.ndarray: not a number where a value is neither, shape: [n].
    """
    if not pd.api.types.is_datetime64_any_dtype(values):
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
        if np.isfinite(numbers).all() or pd.api.types.is_numeric_dtype(values):
            return numbers
        dates = values.where(~np.isfinite(numbers))
        values = pd.to_datetime(dates, errors="coerce", utc=True, format="ISO8601")
    else:
        numbers = np.full(len(values), np.nan)
        values = pd.to_datetime(values, utc=True)
    seconds = (values - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    return np.where(values.isna(), numbers, seconds.to_numpy(float))


def ids(values, known):
    """The ids of values, which are compared with tokens as text.

    Args:
        values (array-like): of any kind.
        known (pandas.Index): the tokens in order of their ids, without the padding.

    Returns:
        numpy.ndarray: 0 for what is unknown, int64, shape: [n].
    """
    code, distinct = pd.factorize(np.asarray(values, dtype=object))
    found = known.get_indexer([str(value) for value in distinct]) + 1
    return found[code] if len(found) else np.zeros(0, dtype=np.int64)


class GivenRows:
    """A data set of rows in memory instead of files; mixed in before the run's data set class."""

    def __init__(self, config, tokens, rows):
        self._tokens, self._rows = tokens, rows
        super().__init__(config)

    def _get_field_from_config(self):
        super()._get_field_from_config()
        # All rows are history, in the order of their stamps or, without, of the table.
        self.ready_made, self.whole_sequences, self.in_order = True, False, True
        self.has_positions = True
        if self.behavior_field not in self._rows:
            self.behavior_field = None  # the model never saw behaviours

    def _load_data(self, token, dataset_path):
        self.inter_feat, self.user_feat, self.item_feat = self._rows.copy(), None, None
        self.file_size_list = [len(self._rows), 0, 0]
        for field in self._rows:
            self.field2type[field] = (
                FeatureType.FLOAT if field == self.time_field else FeatureType.TOKEN
            )
            self.field2source[field] = FeatureSource.INTERACTION
            self.field2seqlen[field] = 1

    def _data_processing(self):
        self.feat_name_list = ["inter_feat"]
        self.field2id_token.update(self._tokens)
        if self.behavior_field is not None:
            self.field2token_id[self.behavior_field] = {}
            self.target_tokens = []  # every row is history


def dataset_of(config, tokens, users, rows):
    """The data set class of a run, built of given rows.

    Args:
        config (Config): of the run.
        tokens (dict of str to list of str): by field its tokens in order of their ids; those of the
            users are replaced.
        users (list): the users, without the padding.
        rows (pandas.DataFrame): ids, as of ``Histories.rows``.

    Returns:
        recbole.data.dataset.Dataset: as training sees its data, all rows in it.
    """
    found = get_dataset(config)
    kind = type(found.__name__, (GivenRows, found), {})
    tokens = tokens | {config["USER_ID_FIELD"]: ["[PAD]", *users]}
    if config["BEHAVIOR_FIELD"] is not None and config["MODEL_TYPE"] != ModelType.SEQUENTIAL:
        pair = [config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]]
        rows = rows.drop_duplicates(pair, keep="last", ignore_index=True)  # as in training
    given = kind(config, tokens, rows)
    if config["MODEL_TYPE"] == ModelType.SEQUENTIAL:
        given._benchmark_presets()
    built = given.build()[0]
    built.floor = None
    return built


def last_rows(dataset, user, behavior=None):
    """The rows that ask for the next item of some users.

    Args:
        dataset (LazySequentialDataset): of `dataset_of`.
        user (torch.Tensor): ids, shape: [B].
        behavior (int): id of the behaviour that the next item will have, None where there is none.

    Returns:
        Interaction: with the histories.
    """
    count = dataset.start[user + 1] - dataset.start[user]
    rows = {dataset.uid_field: user, POSITION: count}
    if behavior is not None:
        rows[dataset.behavior_field] = torch.full_like(user, behavior)
    rows = Interaction(rows)
    rows.update(Interaction(dataset.windows(rows)))
    del rows[POSITION]
    return rows
