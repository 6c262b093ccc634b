"""Which pictures does a report have? Sections of its page, drawn by Plotly."""

import html
import math
import textwrap

from recbole_diffusion.benchmark.report.cells import metric_label
from recbole_diffusion.benchmark.report.sentences import ALPHA

# Okabe and Ito's colours, told apart by the colour-blind; without black and yellow, so that all are
# seen on white and on black.
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C"]
SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagram"]
FLOOR = {"train_seconds": 0.01, "ms_per_user": 0.001}  # what is 0 has no place on a log axis


def pictures(board):
    """The pictures of a board.

    Args:
        board (board.Board): what was measured.

    Returns:
        list of tuple: a name and a section of the page each.
    """
    looks = {
        row.label: {"color": COLORS[i % len(COLORS)], "symbol": SYMBOLS[i % len(SYMBOLS)]}
        for i, row in enumerate(board.rows)
    }
    makers = (_dots, _differences, _against_cost, _curves, _steps)
    return [picture for make in makers for picture in make(board, looks)]


def picture(name, title, note, figures):
    """A name, and a section of the page with figures that its script draws."""
    # Drawn by the script at the end, when the width of each is known.
    texts = "\n".join(
        f'<div class="picture"><script type="application/json">{figure.to_json()}</script></div>'
        for figure in figures
    )
    text = (
        f'<section id="{name}">\n<h2>{html.escape(title)}</h2>\n<p>{html.escape(note)}</p>\n'
        f'<div class="pictures">\n{texts}\n</div>\n</section>'
    )
    return name, text


def new_figure(height, x, y, **layout):
    """An empty figure in the colours of the page: its height in pixels, titles of its axes."""
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.update_layout(
        template="none",  # the colours are those of the page
        height=height,
        font={"size": 13},
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom"},
        hoverlabel={"namelength": -1},
        dragmode=False,  # a finger scrolls the page
        **layout,
    )
    axis = {"automargin": True, "zeroline": False, "showline": True}
    figure.update_xaxes(title={"text": x}, **axis)
    figure.update_yaxes(title={"text": y}, **axis)
    return figure


def _dots(board, looks):
    rows = [row for row in reversed(board.rows) if board.metric in row.test]
    if not rows:
        return
    metric = metric_label(board.metric)
    figure = new_figure(90 + 44 * len(rows), f"{metric} on test", None)
    seeds = [(i, row, row.test[board.metric]) for i, row in enumerate(rows)]
    users = [(i, row, row.users[board.metric]) for i, row in enumerate(rows) if row.users]
    kinds = (
        ("95% over users", users, -0.15, COLORS[0], "circle"),
        ("95% over training seeds", seeds, 0.15, COLORS[1], "diamond"),
    )
    for name, found, shift, color, symbol in kinds:
        figure.add_scatter(
            x=[one.mean for _, _, one in found],
            y=[i + shift for i, _, _ in found],
            error_x={
                "array": [0 if one.high is None else one.high - one.mean for *_, one in found],
                "arrayminus": [0 if one.low is None else one.mean - one.low for *_, one in found],
                "thickness": 2,
            },
            mode="markers", name=name, text=[html.escape(row.label) for _, row, _ in found],
            marker={"color": color, "symbol": symbol, "size": 9},
            hovertemplate="%{text}<br>%{x:.4f}<extra>%{fullData.name}</extra>",
        )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=[_lines(row.label) for row in rows],
        range=[-0.6, len(rows) - 0.4],
    )
    figure.update_layout(legend={"y": 1, "yref": "paper"})
    note = (
        "The interval over users says what other users would change for these trained models, the "
        "one over training seeds what training again would change; it is missing with one seed."
    )
    yield picture("dots", f"{metric} with its intervals", note, [figure])


def _differences(board, looks):
    """A forest plot: how far each model is from the best, with its interval."""
    best = board.best.get(board.metric)
    found = board.against_best.get(board.metric, {})
    rows = [row for row in reversed(board.models) if row.label in found]
    if not rows:
        return
    metric = metric_label(board.metric)
    figure = new_figure(90 + 34 * len(rows), f"difference from {html.escape(best)}, {metric}", None)
    kinds = (
        ("significantly below", COLORS[1], "square"),
        ("not distinguished", COLORS[0], "circle"),
    )
    for name, color, symbol in kinds:
        some = [
            (place, found[row.label])
            for place, row in enumerate(rows)
            if (found[row.label].holm < ALPHA) == (name == kinds[0][0])
        ]
        figure.add_scatter(
            x=[one.difference for _, one in some], y=[place for place, _ in some],
            error_x={
                "array": [one.high - one.difference for _, one in some],
                "arrayminus": [one.difference - one.low for _, one in some],
                "thickness": 2,
            },
            mode="markers", name=name, text=[html.escape(one.first) for _, one in some],
            marker={"color": color, "symbol": symbol, "size": 9},
            hovertemplate="%{text}<br>%{x:.4f}<extra>%{fullData.name}</extra>",
        )  # fmt: skip
    figure.add_vline(x=0, line={"color": COLORS[-1], "dash": "dot"})
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=[_lines(row.label) for row in rows],
        range=[-0.6, len(rows) - 0.4],
    )
    figure.update_layout(legend={"y": 1, "yref": "paper"})
    note = (
        f"Left of the dotted line is worse than {best}, the best. The line through a mark is the "
        "95% interval of the paired difference over users; which differences are significant is "
        "decided after Holm's correction."
    )
    yield picture("differences", "Differences from the best", note, [figure])


def _lines(label):
    return "<br>".join(map(html.escape, textwrap.wrap(label, 16)))


def _log_axis(figure, values):
    """Makes the x axis logarithmic, with round ticks and room for the marks at its ends."""
    low, high = math.log10(min(values)), math.log10(max(values))
    room = max(0.06 * (high - low), 0.05)
    low, high = low - room, high + room
    parts = (1, 2, 5) if high - low < 2.5 else (1,)
    decades = range(math.floor(low), math.ceil(high) + 1)
    ticks = [part * 10.0**decade for decade in decades for part in parts]
    ticks = [tick for tick in ticks if low <= math.log10(tick) <= high] or [max(values)]
    figure.update_xaxes(
        type="log", range=[low, high], tickvals=ticks, ticktext=[f"{tick:,.3g}" for tick in ticks]
    )


def _against_cost(board, looks):
    metric = metric_label(board.metric)
    figures = []
    for key, head in (("train_seconds", "training seconds"), ("ms_per_user", "ms per user")):
        rows = [
            row for row in board.rows if row.costs[key] is not None and board.metric in row.test
        ]
        if not rows:
            continue
        figure = new_figure(370, f"{head} (log scale)", f"{metric} on test")
        for row in rows:
            figure.add_scatter(
                x=[max(row.costs[key], FLOOR[key])], y=[row.test[board.metric].mean],
                mode="markers", name=html.escape(row.label),
                marker=looks[row.label] | {"size": 12},
                hovertemplate=f"{row.costs[key]:,.4g} {head}<br>{metric} %{{y:.4f}}"
                "<extra>%{fullData.name}</extra>",
            )  # fmt: skip
        _log_axis(figure, [max(row.costs[key], FLOOR[key]) for row in rows])
        figures.append(figure)
    if figures:
        note = f"Up and to the left is better. Less than {FLOOR['train_seconds']:g} s or "
        note += f"{FLOOR['ms_per_user']:g} ms is drawn there."
        yield picture("against-cost", "Accuracy against cost", note, figures)


def _curves(board, looks):
    figure = new_figure(420, "training seconds", "validation score")
    for row in board.rows:
        shown = True
        for seed, points in row.curves:
            if not points:
                continue
            epochs, seconds, scores = zip(*points)
            figure.add_scatter(
                x=seconds, y=scores, text=epochs, mode="lines+markers", marker={"size": 4},
                name=html.escape(row.label), legendgroup=html.escape(row.label),
                showlegend=shown, opacity=0.8,
                line={"color": looks[row.label]["color"], "width": 1.2, "dash": _dash(board, row)},
                hovertemplate=f"seed {html.escape(str(seed))}, epoch %{{text}}<br>%{{x:.0f}} s, "
                "%{y:.4f}<extra>%{fullData.name}</extra>",
            )  # fmt: skip
            shown = False
    if figure.data:
        note = "One line per seed; the score is what early stopping looks at."
        yield picture("curves", "Training curves", note, [figure])


def _dash(board, row):
    """Lines of one colour differ in their dashes."""
    return ("solid", "dash", "dot", "dashdot")[board.rows.index(row) // len(COLORS) % 4]


def _steps(board, looks):
    metric = metric_label(board.metric)
    rows = [row for row in board.rows if row.steps]
    if not rows:
        return
    names = " / ".join(dict.fromkeys(row.steps["name"] for row in rows))
    figure = new_figure(370, f"{html.escape(names)} (log scale)", f"{metric} on validation")
    for row in rows:
        values = [value.get(board.metric) for value in row.steps["values"]]
        own = [x == row.steps.get("own") for x in row.steps["x"]]
        color = looks[row.label]["color"]
        figure.add_scatter(
            x=row.steps["x"], y=values, mode="lines+markers", name=html.escape(row.label),
            line={"color": color, "dash": _dash(board, row)},
            marker={
                "symbol": looks[row.label]["symbol"],
                "size": [14 if one else 8 for one in own],
            },
            hovertemplate=f"%{{x}} steps<br>{metric} %{{y:.4f}}<extra>%{{fullData.name}}</extra>",
        )  # fmt: skip
    _log_axis(figure, [x for row in rows for x in row.steps["x"]])
    note = "Means over the seeds measured. The larger mark is the model's own setting."
    yield picture("steps", "Quality against reverse steps", note, [figure])
