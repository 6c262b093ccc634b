"""The path of a generated vector through the reverse walk, over a map of the items.

Letters: D size of the embeddings, S steps of a walk.
"""

import html
from typing import NamedTuple

import numpy as np

from recbole_diffusion.config import traits
from recbole_diffusion.diffusion.reverse import watched
from recbole_diffusion.evaluator.curves import changed, walks
from recbole_diffusion.explore.histories import table_of
from recbole_diffusion.explore.lists import seeded
from recbole_diffusion.pictures.pictures import MOST_ITEMS, project
from recbole_diffusion.pictures.plots import BLACK, BLUE, VERMILION

PATHS = 5  # at most as many are drawn
STEPS = 20  # of the walk that is drawn where the run's own is a closed form
GREY = "#9aa5b1"


class Walked(NamedTuple):
    """What a model generates for a history.

    Attributes:
        paths (list of list of tuple): for each sample level and vector, shape: [D], from noise to
            the data.
        ends (list of numpy.ndarray): the generated vectors, shape: [D].
        closed (bool): whether the vectors come from a closed form, beside which the paths of DDIM
            are drawn.
    """

    paths: list
    ends: list
    closed: bool


def has_map(recommender):
    """Whether a model generates a vector among those of items (bool)."""
    return traits.of(type(recommender.model)).generates


def walked(recommender, asked, changes=None, samples=1):
    """The vectors that a model's walk passes through.

    Args:
        recommender (Recommender): a model that `has_map`.
        asked (Asked): for whom; with a known item in the history.
        changes (dict): attributes of the model to set.
        samples (int): draws of the noise, of which `PATHS` are walked at most.

    Returns:
        Walked: the same noise as that of the list.

    Raises:
        ConfigError, DataError: as of `Recommender.embed_users`.
    """
    table = table_of(recommender, asked.history)
    paths, ends, closed = [], [], False
    model = recommender.model
    for sample in range(min(samples, PATHS)):
        with seeded(recommender, recommender.seed + sample):
            end, path = _walk(recommender, table, asked, changes or {})
            closed = not path
            if closed:
                steps = min(STEPS, model.diffusion.steps)
                few = (changes or {}) | walks(model, [steps])[steps]
                _, path = _walk(recommender, table, asked, few)
        paths.append([(level, x[0].double().cpu().numpy()) for level, x in path])
        ends.append(end)
    return Walked(paths, ends, closed)


def _walk(recommender, table, asked, changes):
    with changed(recommender.model, **changes), watched() as path:
        found = recommender.embed_users(table, target_behavior=asked.target_behavior)
    return found.to_numpy(float)[0], path


class ItemMap:
    """Items in two dimensions, the first two principal components of their embeddings.

    Attributes:
        recommender (Recommender): a model that `has_map`.
        catalogue (Catalogue): what items are called.
    """

    def __init__(self, recommender, catalogue):
        self.recommender, self.catalogue = recommender, catalogue
        embedded = recommender.embed_items()
        self.place = {token: n for n, token in enumerate(embedded.index)}
        self.items = embedded.to_numpy(float)
        rng = np.random.default_rng(recommender.seed)
        few = min(len(self.items), MOST_ITEMS)
        self.shown = np.sort(rng.choice(len(self.items), few, replace=False))
        self.usual = np.median(np.linalg.norm(self.items[self.shown], axis=1))

    def figure(self, walk, asked, listed):
        """The map with the path on it.

        Scores are inner products, so the length of a vector changes no ranking: all are drawn at
        the items' median length, as in `pictures`.

        Args:
            walk (Walked): what was generated.
            asked (Asked): for whom.
            listed (list of str): tokens of the list, the best first.

        Returns:
            plotly.graph_objects.Figure: the map.
        """
        import plotly.graph_objects as go

        had = [token for token, _ in dict.fromkeys(asked.history) if token in self.place]
        listed = [token for token in listed if token in self.place]
        vectors = [x for path in walk.paths for _, x in path] + list(walk.ends)
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        scaled = np.stack(vectors) * self.usual / np.maximum(length, np.finfo(float).tiny)
        rows = [self.items[[self.place[token] for token in tokens]] for tokens in (listed, had)]
        axes, xy = project(
            "pca", self.items[self.shown], np.concatenate([*rows, scaled]), self.recommender.seed
        )
        sizes = [len(self.shown), len(listed), len(had), len(scaled)]
        every, best, history, moving = np.split(xy, np.cumsum(sizes)[:-1])
        tokens = list(self.place)
        figure = go.Figure()
        self._dots(figure, every, "item", [tokens[n] for n in self.shown],
                   {"color": GREY, "size": 4, "opacity": 0.5})  # fmt: skip
        self._dots(figure, best, "in the list", listed, {"color": BLUE, "size": 9},
                   [f"rank {rank}" for rank in range(1, len(listed) + 1)])  # fmt: skip
        self._dots(figure, history, "in the history", had,
                   {"color": BLACK, "size": 10, "symbol": "square-open"})  # fmt: skip
        start = 0
        for number, path in enumerate(walk.paths):
            part = moving[start : start + len(path)]
            start += len(path)
            self._path(figure, part, [level for level, _ in path], number)
        ends = moving[start:]
        figure.add_scatter(
            x=_plain(ends[:, 0]), y=_plain(ends[:, 1]), mode="markers", name="generated vector",
            marker={"color": VERMILION, "size": 15, "symbol": "star",
                    "line": {"color": "white", "width": 1}},
            hovertemplate="generated vector<extra></extra>",
        )  # fmt: skip
        return _dressed(figure, axes)

    def _dots(self, figure, xy, name, tokens, marker, more=None):
        titles = [html.escape(self.catalogue.title(token)) for token in tokens]
        words = [f"{title}<br>{word}" for title, word in zip(titles, more)] if more else titles
        figure.add_scatter(
            x=_plain(xy[:, 0]), y=_plain(xy[:, 1]), mode="markers", name=name, marker=marker,
            text=words, hovertemplate="%{text}<extra>" + name + "</extra>",
        )  # fmt: skip

    @staticmethod
    def _path(figure, xy, levels, number):
        figure.add_scatter(
            x=_plain(xy[:, 0]), y=_plain(xy[:, 1]), mode="lines+markers", name="reverse walk",
            showlegend=number == 0, legendgroup="walk",
            line={"color": VERMILION, "width": 2 if number == 0 else 1},
            marker={"size": 6, "color": "white", "line": {"color": VERMILION, "width": 1.5}},
            text=[f"level {level}" for level in levels],
            hovertemplate="%{text}<extra>reverse walk</extra>",
        )  # fmt: skip
        if number == 0:
            figure.add_annotation(
                x=round(float(xy[0, 0]), 4), y=round(float(xy[0, 1]), 4),
                text=f"level {levels[0]}", ax=0, ay=-22, arrowwidth=1, arrowcolor=VERMILION,
                font={"color": VERMILION}, bgcolor="rgba(255, 255, 255, 0.8)",
            )  # fmt: skip


def _plain(values):
    """Numbers as a list, which every reader of JSON takes."""
    return [round(float(value), 4) for value in values]


def _dressed(figure, axes):
    """A figure as it stands on the page."""
    side = {"zeroline": False, "gridcolor": "#eceff3", "title": {"font": {"size": 12}}}
    figure.update_layout(
        template="plotly_white",
        margin={"l": 48, "r": 8, "t": 8, "b": 44},
        dragmode=False,
        font={"size": 12, "family": "system-ui, sans-serif"},
        legend={"orientation": "h", "x": 0, "y": -0.14, "yanchor": "top"},
        uirevision="map",  # a reader's zoom stays
        hoverlabel={"align": "left"},
    )
    figure.update_xaxes(title_text=axes[0], **side)
    figure.update_yaxes(title_text=axes[1], **side)
    return figure
