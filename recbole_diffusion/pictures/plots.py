"""How is a map or a curve written, as PNG and as an HTML page that needs no network?"""

import html
import math
from dataclasses import dataclass, field

import numpy as np

# Okabe and Ito's colours, told apart by the colour-blind; Viridis is made for them too.
BLUE, VERMILION, BLACK = "#0072B2", "#D55E00", "#000000"
COLORS = "Viridis"


@dataclass
class Dots:
    """Dots of one kind on a map.

    Attributes:
        xy (numpy.ndarray): where they are, shape: [n, 2].
        words (list of str): what each is.
        popularity (list of int): interactions in training; empty for what is not an item.
        of (int): how many there are, of which these are drawn.
    """

    xy: np.ndarray
    words: list
    popularity: list = field(default_factory=list)
    of: int = 0


@dataclass
class Map:
    """Items and generated vectors in one projection.

    Attributes:
        axes (list of str): what the two axes are.
        trained, never_trained, generated (Dots): what is drawn.
        lengths (tuple of float): median length of the trained items' embeddings and of the
            generated vectors before they were scaled to it.
        seed (int): of all that is drawn by chance.
    """

    axes: list
    trained: Dots
    never_trained: Dots
    generated: Dots
    lengths: tuple
    seed: int


# ---------------------------------------------------------------- words
def number(x):
    return f"{x:g}"


def map_subtitle(drawn):
    method = "t-SNE" if drawn.axes[0].startswith("t-SNE") else "PCA"
    counts = f"{len(drawn.trained.xy):,} of {drawn.trained.of:,} trained items"
    rows = f"{len(drawn.generated.xy):,} of {drawn.generated.of:,} validation rows"
    return f"{method}; {counts} and {rows}, drawn with seed {drawn.seed}"


def never_trained(drawn):
    shown, of = len(drawn.never_trained.xy), drawn.never_trained.of
    return f"never-trained items: {of:,}" + (f" ({shown:,} drawn)" if shown < of else "")


SCALED = "generated vectors are drawn at the items' median length, which changes no ranking"
GENERATED = "generated for a row"
POPULARITY = "interactions in training"
ALL, BARRED = "all candidates", "never-trained items barred"
OWN = "the model's own setting"


def _label(metric):
    name, _, k = metric.partition("@")
    name = name.upper() if name in ("ndcg", "mrr", "map", "auc", "gauc") else name.capitalize()
    return f"{name}@{k}" if k else name


# ---------------------------------------------------------------- PNG
def new_figure(width, height, title, subtitle):
    from matplotlib.figure import Figure  # without pyplot nothing global is touched

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    figure.suptitle(f"{title}\n{subtitle}", fontsize=13, parse_math=False)
    return figure


def map_png(path, title, drawn):
    """Writes a map as PNG.

    Args:
        path (Path): the file.
        title (str): model and data set.
        drawn (Map): what to draw.
    """
    from matplotlib.colors import LogNorm

    figure = new_figure(9, 8, f"{title}: items and generated vectors", map_subtitle(drawn))
    axes = figure.add_subplot()
    most = max(drawn.trained.popularity)
    dots = axes.scatter(
        *drawn.trained.xy.T, c=drawn.trained.popularity, s=14, cmap=COLORS.lower(), linewidths=0,
        norm=LogNorm(1, max(most, 2)), label="trained item",
    )  # fmt: skip
    if drawn.never_trained.of:
        axes.scatter(
            *drawn.never_trained.xy.T, s=30, marker="s", facecolors="none", edgecolors=BLACK,
            linewidths=1, label=never_trained(drawn),
        )  # fmt: skip
    axes.scatter(
        *drawn.generated.xy.T, s=34, marker="^", color=VERMILION, edgecolors="white",
        linewidths=0.5, label=GENERATED,
    )  # fmt: skip
    bar = figure.colorbar(dots, ax=axes, pad=0.01)
    bar.ax.yaxis.set_major_formatter("{x:,.0f}")
    bar.set_label(f"{POPULARITY} (log scale)", fontsize=12)
    axes.set_xlabel(f"{drawn.axes[0]}\n{SCALED}", fontsize=11)
    axes.set_ylabel(drawn.axes[1], fontsize=11)
    figure.legend(loc="outside lower center", ncols=3, fontsize=11, markerscale=1.3)
    figure.savefig(path, dpi=120)


def curve_png(path, title, curve):
    """Writes a curve as PNG, a panel a metric.

    Args:
        path (Path): the file.
        title (str): model and data set.
        curve (Curve): what to draw.
    """
    metrics = list(curve.values[0])
    subtitle = f"quality against {curve.name}, on validation"
    figure = new_figure(1 + 5 * len(metrics), 5, title, subtitle)
    for panel, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics):
        for name, y, color, style, marker in _lines(curve, metric):
            panel.plot(
                curve.x, y, style, color=color, marker=marker, markersize=8, label=name,
                markerfacecolor="none" if style == "--" else color,
            )  # fmt: skip
        for name, y, color, style in _horizontals(curve, metric):
            panel.axhline(y, color=color, linestyle=style, linewidth=2, label=name)
        if curve.own is not None:
            y = curve.values[curve.x.index(curve.own)][metric]
            panel.plot(
                [curve.own], [y], marker="o", markersize=14, markerfacecolor="none",
                color=BLACK, linestyle="none", label=OWN,
            )  # fmt: skip
        if curve.log:
            panel.set_xscale("log")
        panel.set_xticks(curve.x, [number(x) for x in curve.x], minor=False)
        panel.set_xticks([], minor=True)
        panel.set_ylim(0, _top(curve, metric))
        panel.set_xlabel(curve.name + (" (log scale)" if curve.log else " (no unit)"), fontsize=12)
        panel.set_ylabel(f"{_label(metric)}, mean over validation rows", fontsize=12)
        panel.grid(alpha=0.3)
    handles, labels = panel.get_legend_handles_labels()
    columns = 3 if len(labels) == 3 else 2
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=11)
    figure.savefig(path, dpi=120)


def _lines(curve, metric):
    """Name, values, colour, style and marker of the curves of a metric."""
    yield ALL, [value[metric] for value in curve.values], BLUE, "-", "o"
    if curve.barred:
        yield BARRED, [value[metric] for value in curve.barred], VERMILION, "--", "s"


def _horizontals(curve, metric):
    """Name, value, colour and style of the horizontal lines of a metric."""
    if curve.line:
        name, value, barred = curve.line
        yield name, value[metric], BLUE, "-."
        if barred:
            yield f"{name}, barred", barred[metric], VERMILION, ":"


def _top(curve, metric):
    """Where an axis from 0 ends, a little above all that is drawn."""
    highest = max(
        *(max(y) for _, y, *_ in _lines(curve, metric)),
        *(y for _, y, *_ in _horizontals(curve, metric)),
        0,
    )
    return 1.1 * highest or 1


# ---------------------------------------------------------------- HTML
def write_page(path, figure, title, subtitle, width, height):
    figure.update_layout(
        title={"text": f"{html.escape(title)}<br><sup>{html.escape(subtitle)}</sup>", "x": 0.5},
        template="plotly_white",
        width=width,
        height=height,
        font={"size": 14},
        margin={"t": 90},
        legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.15, "yanchor": "top"},
    )
    figure.write_html(path, include_plotlyjs=True, div_id="picture")  # users may be offline


def map_html(path, title, drawn):
    """Writes a map as a page; pointing at a dot shows its item and popularity.

    Args:
        path (Path): the file.
        title (str): model and data set.
        drawn (Map): what to draw.
    """
    import plotly.graph_objects as go

    def dots(kind, name, marker, words):
        # Lists, since arrays would be written as base64.
        x, y = kind.xy.T.astype(float).round(4).tolist()
        figure.add_scatter(
            x=x, y=y, mode="markers", name=name, marker=marker, text=words,
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip

    def item(token, popularity):
        return f"item {html.escape(token)}<br>{popularity:,} {POPULARITY}"

    figure = go.Figure()
    trained, never = drawn.trained, drawn.never_trained
    decades = range(math.floor(math.log10(max(trained.popularity))) + 1)
    bar = {
        "title": {"text": f"{POPULARITY} (log scale)", "side": "right"},
        "tickvals": list(decades),
        "ticktext": [f"{10**decade:,}" for decade in decades],
    }
    colored = {
        "color": np.log10(trained.popularity).round(4).tolist(),
        "colorscale": COLORS,
        "colorbar": bar,
        "size": 5,
    }
    dots(trained, "trained item", colored, list(map(item, trained.words, trained.popularity)))
    if never.of:
        hollow = {"symbol": "square-open", "color": BLACK, "size": 7}
        dots(never, never_trained(drawn), hollow, list(map(item, never.words, never.popularity)))
    triangle = {
        "symbol": "triangle-up",
        "color": VERMILION,
        "size": 9,
        "line": {"color": "white", "width": 0.5},
    }
    words = [f"generated<br>the row's next item: {html.escape(t)}" for t in drawn.generated.words]
    dots(drawn.generated, GENERATED, triangle, words)
    figure.update_xaxes(title=f"{drawn.axes[0]}<br><sup>{SCALED}</sup>")
    figure.update_yaxes(title=drawn.axes[1])
    heading = f"{title}: items and generated vectors"
    write_page(path, figure, heading, map_subtitle(drawn), 1000, 850)


def curve_html(path, title, curve):
    """Writes a curve as a page, a panel a metric; pointing at a dot shows its numbers.

    Args:
        path (Path): the file.
        title (str): model and data set.
        curve (Curve): what to draw.
    """
    from plotly.subplots import make_subplots

    metrics = list(curve.values[0])
    figure = make_subplots(rows=1, cols=len(metrics), horizontal_spacing=0.12)
    dashes = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
    symbols = {"o": "circle", "s": "square-open"}
    for column, metric in enumerate(metrics, 1):
        place = {"row": 1, "col": column}
        once = {"showlegend": column == 1}
        said = (
            f"{curve.name} %{{x}}<br>{_label(metric)} %{{y:.6f}}<extra>%{{fullData.name}}</extra>"
        )
        for name, y, color, style, marker in _lines(curve, metric):
            figure.add_scatter(
                x=curve.x, y=y, name=name, mode="lines+markers", hovertemplate=said,
                line={"color": color, "dash": dashes[style]}, legendgroup=name,
                marker={"symbol": symbols[marker], "size": 9}, **once, **place,
            )  # fmt: skip
        for name, y, color, style in _horizontals(curve, metric):
            figure.add_scatter(
                x=[curve.x[0], curve.x[-1]], y=[y, y], name=html.escape(name), mode="lines",
                line={"color": color, "dash": dashes[style]}, legendgroup=name,
                hovertemplate=f"{_label(metric)} %{{y:.6f}}<extra>%{{fullData.name}}</extra>",
                **once, **place,
            )  # fmt: skip
        if curve.own is not None:
            ring = {"symbol": "circle-open", "size": 16, "color": BLACK, "line": {"width": 2}}
            y = curve.values[curve.x.index(curve.own)][metric]
            figure.add_scatter(
                x=[curve.own], y=[y], name=OWN, mode="markers", marker=ring, legendgroup=OWN,
                hoverinfo="skip", **once, **place,
            )  # fmt: skip
        figure.update_xaxes(
            title=curve.name + (" (log scale)" if curve.log else " (no unit)"),
            type="log" if curve.log else "linear", tickvals=curve.x,
            ticktext=[number(x) for x in curve.x], **place,
        )  # fmt: skip
        top = _top(curve, metric)
        label = f"{_label(metric)}, mean over validation rows"
        figure.update_yaxes(title=label, range=[0, top], **place)
    subtitle = f"quality against {curve.name}, on validation"
    write_page(path, figure, title, subtitle, 100 + 500 * len(metrics), 560)
