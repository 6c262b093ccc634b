"""The page on which models are tried out: what stands on it, and what happens at a click.

Extra ``explore``: Dash serves its own JavaScript, and that of plotly, out of its package, so the
page needs no network.
"""

import itertools

import numpy as np
from dash import ALL, MATCH, Dash, Input, Output, State, ctx, dcc, html, no_update

from recbole_diffusion.explore import parts
from recbole_diffusion.explore.catalogue import MATCHES
from recbole_diffusion.explore.lists import Asked
from recbole_diffusion.explore.style import PAGE
from recbole_diffusion.explore.tried import HISTORY

LENGTHS = (10, 20, 50)
MOST_VISITS = 1000  # of which the newest question is kept
MOST_BYTES = 1 << 20  # of a request
# The page may ask nobody but this server, whatever a file of titles says.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; frame-ancestors 'none'; form-action 'none'; base-uri 'none'"
)


class Page:
    """The state that is the same for everybody who looks: the models and their items."""

    def __init__(self, tried, catalogue, seed=0):
        """Take the models.

        Args:
            tried (list of Tried): the models, side by side.
            catalogue (Catalogue): their items.
            seed (int): of sampled histories.
        """
        self.tried, self.catalogue = tried, catalogue
        self.visits, self._asks, self._newest = itertools.count(), itertools.count(), {}
        self.rng = np.random.default_rng(seed)
        self.behaviors = list(dict.fromkeys(b for one in tried for b in one.behaviors))
        self.target = next((one.target for one in tried if one.target), None)
        self.number = {token: n for n, token in enumerate(catalogue.tokens)}
        known = [one.recommender for one in tried if one.reads == "user"]
        self.users = known[0].tokens[known[0].user_field][1:] if known else []
        self.asks_history = any(one.reads in HISTORY for one in tried)

    # ---------------------------------------------------------------- what stands there
    def layout(self):
        """The page (html.Div)."""
        words = {"autoComplete": "off", "className": "text", "debounce": 0.15, "type": "text"}
        ask = []
        if self.asks_history:
            ask.append(html.H2("History"))
            if self.behaviors:
                name = "Behaviour of what is added"
                ask.append(parts.choice("behavior", self.behaviors, self.target, name))
            ask += [
                html.Label("Search items", className="field", htmlFor="search"),
                dcc.Input(id="search", placeholder="title or id", **words),
            ]
            ask += [
                html.Div(id="found"),
                html.Label("In order of time, oldest first", className="field"),
                html.Div(id="rows"),
                html.Div(
                    [
                        parts.button("Sample a history", "sample"),
                        parts.button("Clear", "clear"),
                    ],
                    className="row",
                ),
            ]
        if self.users:
            ask += [
                html.H2("User"),
                html.Label("Search users of training", className="field", htmlFor="user-search"),
                dcc.Input(id="user-search", placeholder="id", **words),
                html.Div(id="user-found"),
                html.P(id="user-chosen"),
            ]
        if self.behaviors:
            ask.append(parts.choice("target", self.behaviors, self.target, "Behaviour to predict"))
        most = min(int(one.recommender.check().sum()) for one in self.tried)
        lengths = [k for k in LENGTHS if k < most] or [most]
        ask.append(parts.choice("k", lengths, lengths[min(1, len(lengths) - 1)], "Items a list"))
        panels = [parts.panel(one, number) for number, one in enumerate(self.tried)]
        count = "two" if len(panels) > 1 else "one"
        if len(panels) > 1:
            panels.insert(0, html.P(id="overlap", className="overlap"))
        visit = next(self.visits)
        return html.Div(
            [
                html.Header(
                    html.H1(
                        "Explore a trained model"
                        if len(self.tried) == 1
                        else "Explore two trained models"
                    )
                ),
                html.Main(
                    [
                        html.Section(ask, className="ask"),
                        html.Div(panels, className=f"panels {count}"),
                    ]
                ),
                dcc.Store(id="history", data=[]),
                dcc.Store(id="user"),
                dcc.Store(id="visit", data=visit),
            ]
        )

    # ---------------------------------------------------------------- what happens
    def found(self, text):
        """Items that match a text, as of `parts.matches`."""
        tokens = self.catalogue.tokens
        return [
            (n, self.catalogue.title(tokens[n]), tokens[n]) for n in self.catalogue.search(text)
        ]

    def users_like(self, text):
        """Users whose id begins with a text, and then those who have it in it (list of str)."""
        text = (text or "").strip().casefold()
        begin = [user for user in self.users if user.casefold().startswith(text)]
        within = [user for user in self.users if text in user.casefold()]
        return list(dict.fromkeys([*begin, *within]))[:MATCHES]

    def edited(self, history, what, behavior=None):
        """A history after a click.

        Args:
            history (list of list): number of an item and its behaviour, oldest first.
            what (str or dict): id of what was clicked.
            behavior (str): of what is added.

        Returns:
            list of list: the new history.
        """
        history = [list(row) for row in history or []]
        behavior = (behavior or self.target) if self.behaviors else None
        if what == "clear":
            return []
        if what == "sample":
            return [[n, behavior] for n in self.catalogue.some(self.rng)]
        if what["type"] == "add":
            return [*history, [what["item"], behavior]]
        place = what["place"]
        if what["type"] == "remove":
            del history[place]
        elif what["type"] == "up":
            history[place - 1 : place + 1] = history[place - 1 : place + 1][::-1]
        else:  # the next behaviour
            now = self.behaviors.index(history[place][1])
            history[place][1] = self.behaviors[(now + 1) % len(self.behaviors)]
        return history

    def begin(self, visit, panel):
        """Notes that a visitor asks for a panel anew.

        A slider that is dragged asks faster than a slow walk can answer: what is older than the
        visitor's newest question need not be answered.

        Args:
            visit (int): number of the visit.
            panel (int): number of the panel.

        Returns:
            Callable: whether this question is still the newest.
        """
        number = next(self._asks)
        self._newest[visit, panel] = number
        for old in list(self._newest)[:-MOST_VISITS]:
            self._newest.pop(old, None)
        return lambda: self._newest.get((visit, panel), number) == number

    def asked(self, history, user, target):
        """What the page asks for (Asked)."""
        tokens = self.catalogue.tokens
        return Asked([(tokens[n], behavior) for n, behavior in history or []], user, target)

    def shown(self, panel, asked, places, k, wanted=lambda: True):
        """A panel after something has changed.

        Args:
            panel (int): its number.
            asked (Asked): for whom.
            places (list of int): of the controls.
            k (int): items a list.
            wanted (Callable): as of `begin`.

        Returns:
            tuple: the list, words on the settings, the map, and the items of the list; None if it
            is no longer wanted.
        """
        one = self.tried[panel]
        answer = one.answer(asked, places, k, wanted)
        if answer is None:
            return None
        state = ""
        if one.controls and answer.listed:
            state = (MARKED if answer.changed else SAME) if answer.moved else OWN
        return (
            parts.list_of(answer, one, panel, self.number if self.asks_history else {}),
            state,
            parts.map_of(answer),
            [place.item for place in answer.listed],
        )

    def values(self, panel, places):
        """What the controls of a panel stand at (list of str)."""
        said = []
        for control, place in zip(self.tried[panel].controls, places, strict=True):
            run = "" if place == control.own else f" (run: {control.values[control.own]})"
            said.append(control.values[place] + run)
        return said

    def overlap(self, tops):
        """How many items two lists share (str).

        Args:
            tops (list of list): items of the lists; None before there are any.
        """
        if not all(tops):
            return ""
        first, second = tops
        same = len(set(first) & set(second))
        return f"{same} of {len(first)} items stand in both lists."


MARKED = "Marked against the list of the run's own settings."
SAME = "The same list as with the run's own settings."
OWN = "The run's own settings. Move a control, and what changes is marked."


def application(page, hosts=None):
    """The web application of a page.

    Args:
        page (Page): the models.
        hosts (list of str): names of the server that a browser may use; None is any.

    Returns:
        dash.Dash: the application.
    """
    app = Dash(
        "recbole_diffusion.explore",
        title=f"Explore {page.tried[0].title}",
        update_title=None,
        index_string=PAGE,
        assets_folder="no assets",
        suppress_callback_exceptions=True,
        add_log_handler=False,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    app.layout = page.layout  # anew for each visit
    app.server.config.update(MAX_CONTENT_LENGTH=MOST_BYTES)
    if hosts is not None:
        app.server.config.update(TRUSTED_HOSTS=hosts)  # a foreign name that leads here is refused

    @app.server.after_request
    def careful(response):
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    if page.asks_history:
        _history_callbacks(app, page)
    if page.users:
        _user_callbacks(app, page)
    _panel_callbacks(app, page)
    return app


def _history_callbacks(app, page):
    @app.callback(Output("found", "children"), Input("search", "value"))
    def search(text):
        return parts.matches(page.found(text), "found")

    behavior = [State("behavior", "value")] if page.behaviors else []

    @app.callback(
        Output("history", "data"),
        Input({"type": "add", "where": ALL, "item": ALL}, "n_clicks"),
        Input({"type": "remove", "place": ALL}, "n_clicks"),
        Input({"type": "up", "place": ALL}, "n_clicks"),
        Input({"type": "behave", "place": ALL}, "n_clicks"),
        Input("clear", "n_clicks"),
        Input("sample", "n_clicks"),
        State("history", "data"),
        *behavior,
        prevent_initial_call=True,
    )
    def edit(add, remove, up, behave, clear, sample, history, behavior=None):
        if not ctx.triggered[0]["value"]:  # a button that appears is no click
            return no_update
        return page.edited(history, ctx.triggered_id, behavior)

    @app.callback(Output("rows", "children"), Input("history", "data"))
    def rows(history):
        asked = page.asked(history, None, None).history
        titled = [(page.catalogue.title(token), token, behavior) for token, behavior in asked]
        return parts.history_rows(titled, page.behaviors)


def _user_callbacks(app, page):
    @app.callback(Output("user-found", "children"), Input("user-search", "value"))
    def search(text):
        return parts.people(page.users_like(text))

    @app.callback(
        Output("user", "data"),
        Output("user-chosen", "children"),
        Input({"type": "choose", "user": ALL}, "n_clicks"),
        prevent_initial_call=True,
    )
    def choose(clicks):
        if not ctx.triggered[0]["value"]:
            return no_update, no_update
        user = ctx.triggered_id["user"]
        return user, ["User: ", html.B(user)]


def _panel_callbacks(app, page):
    def this(kind, what, name=None):
        return {"type": kind, "panel": MATCH} | ({"name": name} if name else {}), what

    target = [Input("target", "value")] if page.behaviors else []

    @app.callback(
        Output(*this("list", "children")),
        Output(*this("state", "children")),
        Output(*this("map", "children")),
        Output(*this("top", "data")),
        Input("history", "data"),
        Input("user", "data"),
        Input("k", "value"),
        Input(*this("control", "value", ALL)),
        State("visit", "data"),
        *target,
    )
    def show(history, user, k, places, visit, target=None):
        panel = ctx.outputs_list[0]["id"]["panel"]
        wanted = page.begin(visit, panel)
        found = page.shown(panel, page.asked(history, user, target), places, k, wanted)
        return (no_update,) * 4 if found is None else found

    @app.callback(
        Output(*this("value", "children", ALL)),
        Input(*this("control", "value", ALL)),
        Input(*this("reset", "id")),
    )
    def values(places, reset):
        return page.values(reset["panel"], places)

    @app.callback(
        Output(*this("control", "value", ALL)),
        Input(*this("reset", "n_clicks")),
        prevent_initial_call=True,
    )
    def reset(_):
        return [control.own for control in page.tried[ctx.triggered_id["panel"]].controls]

    if len(page.tried) > 1:

        @app.callback(Output("overlap", "children"), Input({"type": "top", "panel": ALL}, "data"))
        def overlap(tops):
            return page.overlap(tops)
