"""A data set, drawn: lengths of histories, popularity of items, time, behaviours."""

from pathlib import Path

from recbole_diffusion.pictures.plots import BLUE, new_figure, write_page


def panels(found):
    """What is drawn of a data set: a bar chart each.

    Args:
        found (dict): of `describe`.

    Returns:
        list of tuple: title, what stands below, what the bars count, labels (list of str) and
        heights (list of int) of the bars.
    """

    def of_counts(name):
        bars = found[f"{name}_histogram"]
        labels = [
            str(bar["from"]) if bar["from"] == bar["to"] else f"{bar['from']}-{bar['to']}"
            for bar in bars
        ]
        return labels, [bar["count"] for bar in bars]

    drawn = [
        ("Users by length of history", "interactions of a user", "users", *of_counts("user")),
        ("Items by popularity", "interactions of an item", "items", *of_counts("item")),
    ]
    if found["time"] is not None:
        edges = [str(edge)[:10] for edge in found["time"]["edges"][:-1]]
        counts = found["time"]["interactions"]
        drawn.append(("Interactions over time", "begins at", "interactions", edges, counts))
    if found["behaviors"] is not None:
        names, counts = map(list, zip(*found["behaviors"].items()))
        drawn.append(("Interactions by behaviour", "behaviour", "interactions", names, counts))
    return drawn


def draw_data(found, name, output):
    """Writes the picture of a data set as PNG and as an HTML page that needs no network.

    Args:
        found (dict): of `describe`.
        name (str): of the data set.
        output (str or Path): a folder, which is made.

    Returns:
        list of Path: the files.

    Raises:
        ImportError: without matplotlib or plotly, with the command that installs them.
    """
    try:
        import matplotlib  # noqa: F401
        from plotly.subplots import make_subplots
    except ImportError as error:
        raise ImportError(
            f'pictures need matplotlib and plotly: pip install "recbole-diffusion[pictures]" '
            f"({error})"
        ) from error
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.png", folder / f"{name}.html"]
    drawn = panels(found)
    subtitle = (
        f"{found['users']:,} users, {found['items']:,} items, {found['interactions']:,} "
        "interactions"
    )
    rows = (len(drawn) + 1) // 2
    figure = new_figure(12, 4 * rows + 1, name, subtitle)
    for axes, (title, below, what, labels, heights) in zip(figure.subplots(rows, 2).flat, drawn):
        axes.bar(range(len(labels)), heights, color=BLUE)
        shown = range(0, len(labels), max(len(labels) // 8, 1))
        axes.set_xticks(shown, [labels[bar] for bar in shown], rotation=30, ha="right")
        axes.set_title(title)
        axes.set_xlabel(below)
        axes.set_ylabel(what)
    for axes in list(figure.axes)[len(drawn) :]:
        axes.remove()
    figure.savefig(files[0], dpi=120)
    page = make_subplots(rows=rows, cols=2, subplot_titles=[title for title, *_ in drawn])
    for place, (_, below, what, labels, heights) in enumerate(drawn):
        where = {"row": place // 2 + 1, "col": place % 2 + 1}
        page.add_bar(
            x=labels, y=heights, marker={"color": BLUE}, showlegend=False,
            hovertemplate=f"{below} %{{x}}<br>%{{y:,}} {what}<extra></extra>", **where,
        )  # fmt: skip
        page.update_xaxes(title=below, type="category", **where)
        page.update_yaxes(title=what, **where)
    write_page(files[1], page, name, subtitle, 1100, 420 * rows)
    return files
