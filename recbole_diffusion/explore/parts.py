"""The parts of the page: what is known, as components of Dash.

Texts of components are shown as they are: a title with tags in it is a title.
"""

from dash import dcc, html

# A finger that drags scrolls the page; the buttons zoom.
BUTTONS = ["zoomIn2d", "zoomOut2d", "pan2d", "resetScale2d"]
TOOLS = {"displaylogo": False, "displayModeBar": True, "modeBarButtons": [BUTTONS]}
MAP_HEIGHT = "480px"


def button(words, id, name=None, kind="plain"):
    """A button.

    Args:
        words (str): on it.
        id (str or dict): of the component.
        name (str): what it does, where the words are but a sign.
        kind (str): class of its looks.

    Returns:
        html.Button: the button.
    """
    more = {"title": name, "aria-label": name} if name else {}
    return html.Button(words, id=id, className=f"button {kind}", type="button", **more)


def choice(id, options, value, name):
    """One of a few values.

    Args:
        id (str): of the component.
        options (list): values, or dicts of label and value.
        value: the chosen one.
        name (str): what is chosen.

    Returns:
        html.Fieldset: the choice.
    """
    items = dcc.RadioItems(options, value, id=id, inline=True, className="choice")
    return html.Fieldset([html.Legend(name), items])


def matches(items, where):
    """Found items as buttons that add them.

    Args:
        items (list of tuple): number, title and token.
        where (str): which list of buttons this is.

    Returns:
        list: the buttons, or a word that there are none.
    """
    if not items:
        return [html.P("No item matches.", className="quiet")]
    return [
        html.Button(
            [html.Span(title, className="grow"), *_id(title, token), html.Span("+ add")],
            id={"type": "add", "where": where, "item": number},
            className="match",
            type="button",
        )
        for number, title, token in items
    ]


def _id(title, token):
    return [] if title == token else [html.Span(token, className="quiet id")]


def people(users):
    """Found users as buttons that choose them (list)."""
    if not users:
        return [html.P("No user matches.", className="quiet")]
    return [
        html.Button(
            [html.Span(user, className="grow"), html.Span("choose")],
            id={"type": "choose", "user": user},
            className="match",
            type="button",
        )
        for user in users
    ]


def history_rows(rows, behaviors):
    """The history, oldest first.

    Args:
        rows (list of tuple): title, token and behaviour of each.
        behaviors (list of str): that may be chosen; empty where no model reads them.

    Returns:
        list: a row an item.
    """
    if not rows:
        return [html.P("Empty. Search above, or draw a sample.", className="quiet")]
    shown = []
    for place, (title, token, behavior) in enumerate(rows):
        parts = [html.Span(title, className="grow"), *_id(title, token)]
        if behaviors:
            name = f"behaviour of {title}: change it"
            id = {"type": "behave", "place": place}
            parts.append(button(behavior or "?", id, name, "behavior"))
        if place:
            parts.append(button("↑", {"type": "up", "place": place}, f"move {title} up", "sign"))
        parts.append(button("×", {"type": "remove", "place": place}, f"remove {title}", "sign"))
        shown.append(html.Li(parts))
    return [html.Ol(shown, className="history")]


def controls(tried, panel):
    """The sliders of a model.

    Args:
        tried (Tried): the model.
        panel (int): its number.

    Returns:
        list: nothing for a model without controls.
    """
    if not tried.controls:
        return []
    sliders = [
        html.Div(
            [
                html.Div([control.label, html.Output(
                    control.values[control.own],
                    id={"type": "value", "panel": panel, "name": control.name},
                )], className="labels"),
                dcc.Slider(
                    id={"type": "control", "panel": panel, "name": control.name},
                    min=0, max=len(control.values) - 1, step=1, value=control.own, marks=None,
                    updatemode="drag", allow_direct_input=False, className="slider",
                ),
                html.Div(control.hint, className="quiet"),
            ],
            className="control",
        )
        for control in tried.controls
    ]  # fmt: skip
    back = button("Back to the run's settings", {"type": "reset", "panel": panel})
    return [html.Div([*sliders, back], className="controls")]


def list_of(answer, tried, panel, adds):
    """A list with what has changed in it.

    Args:
        answer (Answer): of the model.
        tried (Tried): the model.
        panel (int): its number.
        adds (dict of str to int): token to the number by which it is added to the history; empty
            where there is none.

    Returns:
        list: the parts.
    """
    if answer.words:
        return [html.P(answer.words, className="words", role="status")]
    parts = []
    if answer.unknown:
        parts.append(
            html.P(f"{answer.unknown} items of the history are not known to this model.",
                   className="words")
        )  # fmt: skip
    rows = []
    for place in answer.listed:
        title = tried.catalogue.title(place.item)
        cells = [
            html.Span(str(place.rank), className="rank"),
            html.Span(
                [
                    html.Span([title, *_id(title, place.item)], className="title"),
                    *([_mark(place, len(answer.listed))] if answer.moved else []),
                ],
                className="grow item",
            ),
            html.Span(f"{place.score:.4g}", className="score", title=repr(place.score)),
        ]
        if place.item in adds:
            id = {"type": "add", "where": f"list {panel}", "item": adds[place.item]}
            cells.append(button("+", id, f"add {title} to the history", "sign"))
        rows.append(html.Li(cells))
    head = html.Div(
        [html.Span("Rank", className="rank"), html.Span("Item", className="grow"),
         html.Span("Score", className="score" + (" adding" if adds else ""))],
        className="head",
    )  # fmt: skip
    parts += [head, html.Ol(rows, className="list")]
    if answer.left:
        gone = [
            f"{tried.catalogue.title(item)} ({before} → {now if now else 'not ranked'})"
            for item, before, now in answer.left
        ]
        parts.append(html.P([html.B("Left the list: "), "; ".join(gone)], className="left"))
    return parts


def _mark(place, k):
    """How an item has moved against the run's settings."""
    if place.before is None or place.before > k:
        was = f"new, was {place.before}" if place.before else "new"
        return html.Span(was, className="mark new")
    by = place.before - place.rank
    if not by:
        return html.Span("=", className="mark same", title="where it was")
    sign, kind = ("▲", "up") if by > 0 else ("▼", "down")
    return html.Span(f"{sign} {abs(by)}", className=f"mark {kind}", title=f"was {place.before}")


def panel(tried, number):
    """The place of a model on the page.

    Args:
        tried (Tried): the model.
        number (int): of the panel.

    Returns:
        html.Section: the panel.
    """
    return html.Section(
        [
            html.H2(tried.title),
            html.P(tried.about(), className="quiet"),
            *controls(tried, number),
            html.P(id={"type": "state", "panel": number}, className="quiet state"),
            html.Div(
                [
                    html.Div(id={"type": "list", "panel": number}, className="answer"),
                    html.Div(id={"type": "map", "panel": number}, className="answer"),
                ],
                className="answers" if tried.map is None else "answers mapped",
            ),
            dcc.Store(id={"type": "top", "panel": number}),
        ],
        className="panel",
    )


def map_of(answer):
    """The map of an answer (list), empty where there is none."""
    if answer.figure is None:
        return []
    closed = " The list is that of the closed form (star); the path beside it is DDIM's."
    return [
        html.H3("Reverse walk over the item map"),
        html.P(
            "First two principal components of the items' embeddings. Vectors are drawn at the "
            "items' median length, which changes no ranking." + (closed if answer.closed else ""),
            className="quiet",
        ),
        dcc.Graph(
            figure=answer.figure, config=TOOLS, responsive=True, style={"height": MAP_HEIGHT}
        ),
    ]
