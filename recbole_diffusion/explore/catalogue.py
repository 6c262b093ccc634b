"""Which items are there, what are they called, and which match a text?"""

from pathlib import Path

import numpy as np
from recbole.utils.enum_type import FeatureType

from recbole_diffusion.data.columns import Form, read_columns
from recbole_diffusion.data.lines import DataError

WORDS = ("title", "name")  # of a column that says what items are called
MATCHES = 8


class Catalogue:
    """The items of one or more models, by number.

    Attributes:
        tokens (list of str): ids of the data set.
        titles (dict of str to str): token to title, of those that have one.
    """

    def __init__(self, recommenders, titles):
        """Collect the items.

        Args:
            recommenders (list of Recommender): the models; the items of the first come first.
            titles (dict of str to str): token to title.
        """
        every = [one.tokens[one.item_field][1:] for one in recommenders]
        self.tokens = list(dict.fromkeys(token for tokens in every for token in tokens))
        self.titles = titles
        # As they are searched: a lower-case text each.
        self._words = [f"{titles.get(t, '')} {t}".strip().casefold() for t in self.tokens]
        counts = recommenders[0].popularity
        count = np.zeros(len(self.tokens))
        if counts is not None:
            count[: len(every[0])] = counts[1:].cpu().numpy()
        self.popular = np.argsort(-count, kind="stable")
        self.count = count

    def title(self, token):
        """What an item is called (str): its title, or its id."""
        return self.titles.get(token, token)

    def search(self, text, most=MATCHES):
        """Items whose title or id has all words of a text, the popular ones first.

        Args:
            text (str): words; none finds the most popular items.
            most (int): how many to give.

        Returns:
            list of int: numbers of items; one whose id is the text itself comes first.
        """
        words = (text or "").casefold().split()
        found = [
            n for n in self.popular if all(word in self._words[n] for word in words)
        ] if words else self.popular[:most]  # fmt: skip
        exact = [n for n in found if self.tokens[n] == (text or "").strip()]
        return [int(n) for n in dict.fromkeys([*exact, *found])][:most]

    def some(self, rng, count=5):
        """Items drawn as often as they were had in training.

        Args:
            rng (numpy.random.Generator): what draws.
            count (int): how many, at most.

        Returns:
            list of int: numbers of different items.
        """
        share = self.count / self.count.sum() if self.count.any() else None
        few = min(count, len(self.tokens) if share is None else np.count_nonzero(share))
        return [int(n) for n in rng.choice(len(self.tokens), few, replace=False, p=share)]


def titles_of(recommender, path=None):
    """What items are called.

    Args:
        recommender (Recommender): the model.
        path (str or Path): an ``.item`` file; None is that of the run's data set, if it is there.

    Returns:
        dict of str to str: token to title; empty without a file.

    Raises:
        DataError: if the file cannot be read, or a given one has no titles.
    """
    config, field = recommender.config, recommender.item_field
    file = Path(path) if path else Path(config["data_path"], f"{config['dataset']}.item")
    if not path and not file.is_file():
        return {}
    form = Form(config["field_separator"], config["seq_separator"], config["encoding"])
    kinds, columns = read_columns(file, form)
    if field not in columns:
        raise DataError(f"{file} has no column {field}: its columns are {', '.join(columns)}")
    texts = [n for n, kind in kinds.items() if kind in (FeatureType.TOKEN, FeatureType.TOKEN_SEQ)]
    named = [n for word in WORDS for n in texts if word in n.lower() and n != field]
    if not named:
        if not path:
            return {}
        raise DataError(f"{file} has no column of titles: one with 'title' or 'name' in its name")
    column = columns[named[0]]
    if kinds[named[0]] == FeatureType.TOKEN_SEQ:
        column = [form.seq_separator.join(words) for words in column]
    pairs = zip(columns[field], column)
    return {str(token): str(title) for token, title in pairs if title == title and title}
