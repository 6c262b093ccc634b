"""What does a model answer when it is tried out?"""

import threading
from typing import NamedTuple

from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.data.lines import DataError
from recbole_diffusion.explore.controls import controls_of
from recbole_diffusion.explore.histories import behaviors_of, target_of
from recbole_diffusion.explore.item_map import ItemMap, has_map, walked
from recbole_diffusion.explore.lists import compared, moved, ranking
from recbole_diffusion.trainer.scoring import ScoresError

HISTORY = ("sequence", "row")  # what models read that are asked with a history


class Answer(NamedTuple):
    """A list and what belongs to it.

    Attributes:
        listed (list of Place): the list, the best first.
        left (list of tuple): items that left it, with their ranks before and now.
        moved (bool): whether a control is away from the run's setting.
        figure (plotly.graph_objects.Figure): the map; None without one.
        closed (bool): as of `Walked`.
        unknown (int): items of the history that the model does not know.
        words (str): why there is no list, else empty.
    """

    listed: list = []
    left: list = []
    moved: bool = False
    figure: object = None
    closed: bool = False
    unknown: int = 0
    words: str = ""

    @property
    def changed(self):
        """Whether the list differs from that of the run's own settings (bool)."""
        return bool(self.left) or any(place.rank != place.before for place in self.listed)


class Tried:
    """A model with the controls it has.

    Attributes:
        recommender (Recommender): the model.
        controls (list of Control): none for a model without a reverse walk.
        behaviors (list of str): that it reads.
        target (str): the behaviour that the run predicts, None without.
        reads (str): as of `Recommender`.
        title (str): model and data set.
        catalogue (Catalogue): what items are called.
    """

    def __init__(self, recommender, catalogue):
        self.recommender, self.catalogue = recommender, catalogue
        self.controls = controls_of(recommender)
        self.behaviors, self.target = behaviors_of(recommender), target_of(recommender)
        self.reads = recommender.reads
        config = recommender.config
        self.title = f"{config['model']} on {config['dataset']}"
        self.map = ItemMap(recommender, catalogue) if has_map(recommender) else None
        self._turn = threading.Lock()  # a control is moved by setting the model's attributes

    def about(self):
        """What it reads and whether it walks (str), in two sentences."""
        most = self.recommender.config["MAX_ITEM_LIST_LENGTH"]
        reads = {
            "sequence": f"Reads the last {most} items of the history in order.",
            "row": "Reads the history as a set of items.",
            "user": "Reads the vector learnt for a user of training, and no history.",
            "nothing": "Gives everybody the same list.",
        }[self.reads]
        if not self.controls:
            walk = "It has no reverse walk, so there is nothing to move and no path to draw."
        elif self.map is None:
            walk = "Its reverse walk goes over whole rows of items: there is no path on a map."
        else:
            walk = "Its reverse walk generates the vector of the next item."
        return f"{reads} {walk}"

    def answer(self, asked, places=None, k=20, wanted=lambda: True):
        """The list of somebody, with the controls where they stand.

        Args:
            asked (Asked): for whom.
            places (list of int): of each control which of its values; None is the run's.
            k (int): items a list.
            wanted (Callable): whether the answer is still waited for, when its turn has come.

        Returns:
            Answer: what there is to show; of mistakes the words; None if it is not wanted.
        """
        if self.reads in HISTORY and not asked.history:
            return Answer(words="Add an item to the history.")
        if self.reads == "user" and not asked.user:
            return Answer(words="Choose a user.")
        if not self.behaviors:
            asked = asked._replace(target_behavior=None)
        places = [control.own for control in self.controls] if places is None else places
        own = places == [control.own for control in self.controls]
        try:
            with self._turn:
                if not wanted():
                    return None
                return self._answer(asked, places, own, k)
        except (ConfigError, DataError, ScoresError) as wrong:
            return Answer(words=" ".join(str(wrong).split()))

    def _answer(self, asked, places, own, k):
        before = ranking(self.recommender, asked)
        unknown = self.recommender.report["unknown_rows"]
        if before.empty:
            return Answer(words="The model knows none of these items.", unknown=unknown)
        changes, samples = moved(self.recommender, self.controls, places)
        now = before if own else ranking(self.recommender, asked, changes, samples)
        listed, left = compared(now, before, k)
        figure, closed = None, False
        if self.map is not None:
            walk = walked(self.recommender, asked, changes, samples)
            figure = self.map.figure(walk, asked, [place.item for place in listed])
            closed = walk.closed
        return Answer(listed, left, not own, figure, closed, unknown)
