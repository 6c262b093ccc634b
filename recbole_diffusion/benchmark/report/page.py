"""How is a board looked at? As one HTML page that needs no network."""

import html
import json
import math
import textwrap
from pathlib import Path

from recbole_diffusion.benchmark.report.cells import metric_label
from recbole_diffusion.benchmark.report.sentences import protocol_sentences
from recbole_diffusion.benchmark.report.tables import tables

# Okabe and Ito's colours, told apart by the colour-blind; without black and yellow, so that all are
# seen on white and on black.
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C"]
SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagram"]
FLOOR = {"train_seconds": 0.01, "ms_per_user": 0.001}  # what is 0 has no place on a log axis


def write_report(board, path):
    """Writes a board as a page that works offline, on paper-white and dark screens and on phones.

    Args:
        board (board.Board): what was measured.
        path (str or Path): the file.
    """
    from plotly.offline import get_plotlyjs

    sections = [_section(board, table) for table in tables(board)]
    after = next((i for i, (name, _) in enumerate(sections) if name not in FIRST), len(sections))
    sections[after:after] = _pictures(board)
    sections += [("configurations", _configurations(board)), ("commands", _commands(board))]
    title = f"Benchmark on {html.escape(board.plan['dataset'])}"
    page = PAGE.format(
        title=title,
        style=STYLE,
        plotly=get_plotlyjs(),
        protocol=html.escape(protocol_sentences(board)),
        sections="\n".join(text for _, text in sections if text),
        script=SCRIPT,
    )
    Path(path).write_text(page, encoding="utf-8")


# ---------------------------------------------------------------- tables
FIRST = ("accuracy", "significance")  # tables above the pictures


def _section(board, table):
    columns = list(zip(*table.rows))
    kinds = [
        "text" if any(isinstance(cell.value, str) for cell in column) else "number"
        for column in columns
    ]
    head = "".join(
        f'<th scope="col" class="{kind}"><button type="button">{html.escape(text)}</button></th>'
        for text, kind in zip(table.head, kinds)
    )
    rows = "\n".join("<tr>" + "".join(map(_cell, row, kinds)) + "</tr>" for row in table.rows)
    note = f"<p>{html.escape(table.note)}</p>\n" if table.note else ""
    title = html.escape(table.title)
    text = (
        f'<section id="{table.name}">\n<h2>{title}</h2>\n{note}'
        f'<div class="box" role="region" tabindex="0" aria-label="{title}">'
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>\n"
        "</section>"
    )
    return table.name, text


def _cell(cell, kind):
    text = html.escape(cell.text)
    if cell.best:
        text = f"<strong>{text}</strong>"
    value = "" if cell.value is None else html.escape(str(cell.value))
    wide = " wide" if len(cell.text) > 40 else ""
    return f'<td class="{kind}{wide}" data-value="{value}">{text}</td>'


def _configurations(board):
    details = [
        _details(f"Plan of {board.plan['dataset']}", board.plan),
        _details("Protocol", board.protocol),
    ]
    details += [_details(row.label, row.config) for row in board.rows if row.config]
    return (
        "<section id='configurations'>\n<h2>Configurations</h2>\n"
        + "\n".join(details)
        + ("\n</section>")
    )


def _details(title, settings):
    text = html.escape(json.dumps(settings, indent=1, ensure_ascii=False, default=str))
    return f"<details><summary>{html.escape(title)}</summary><pre>{text}</pre></details>"


def _commands(board):
    if not board.command:
        return ""
    text = html.escape(board.command.strip())
    return f'<section id="commands">\n<h2>Commands</h2>\n<pre>{text}</pre>\n</section>'


# ---------------------------------------------------------------- pictures
def _pictures(board):
    looks = {
        row.label: {"color": COLORS[i % len(COLORS)], "symbol": SYMBOLS[i % len(SYMBOLS)]}
        for i, row in enumerate(board.rows)
    }
    makers = (_dots, _against_cost, _curves, _steps)
    return [picture for make in makers for picture in make(board, looks)]


def _picture(name, title, note, figures):
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


def _figure(height, x, y, **layout):
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
    figure = _figure(90 + 44 * len(rows), f"{metric} on test", None)
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
    yield _picture("dots", f"{metric} with its intervals", note, [figure])


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
        figure = _figure(370, f"{head} (log scale)", f"{metric} on test")
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
        yield _picture("against-cost", "Accuracy against cost", note, figures)


def _curves(board, looks):
    figure = _figure(420, "training seconds", "validation score")
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
        yield _picture("curves", "Training curves", note, [figure])


def _dash(board, row):
    """Lines of one colour differ in their dashes."""
    return ("solid", "dash", "dot", "dashdot")[board.rows.index(row) // len(COLORS) % 4]


def _steps(board, looks):
    metric = metric_label(board.metric)
    rows = [row for row in board.rows if row.steps]
    if not rows:
        return
    names = " / ".join(dict.fromkeys(row.steps["name"] for row in rows))
    figure = _figure(370, f"{html.escape(names)} (log scale)", f"{metric} on validation")
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
    yield _picture("steps", "Quality against reverse steps", note, [figure])


# ---------------------------------------------------------------- the page
STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --line: #d5d9de; --soft: #f3f5f7;
  --link: #005a8c; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --paper: #14171a; --line: #3c434a; --soft: #20252a; --link: #7cc4f0; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 80rem; padding: 1rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .3rem; }
p { max-width: 60rem; margin: .4rem 0 .8rem; }
.box { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; max-width: 100%; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; overflow-wrap: normal; }
th, td { padding: .35rem .5rem; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top; }
td { white-space: nowrap; max-width: 30rem; font-variant-numeric: tabular-nums; }
td.wide { white-space: normal; min-width: 14rem; overflow-wrap: anywhere; }
td.number { text-align: right; }
tbody tr:last-child td { border-bottom: 0; }
tbody tr:hover td { background: var(--soft); }
th { background: var(--soft); white-space: nowrap; padding: 0; }
th.number button { text-align: right; }
th button { all: unset; display: block; width: 100%; box-sizing: border-box; padding: .45rem .5rem;
  cursor: pointer; font-weight: 600; }
th button:focus-visible, .box:focus-visible, summary:focus-visible {
  outline: 2px solid var(--link); outline-offset: -2px; }
th button::after { content: " ↕"; opacity: .35; }
th[aria-sort=ascending] button::after { content: " ↑"; opacity: 1; }
th[aria-sort=descending] button::after { content: " ↓"; opacity: 1; }
td:first-child, th:first-child { position: sticky; left: 0; background: var(--paper); }
th:first-child { background: var(--soft); }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
  gap: 1rem; }
.picture { min-width: 0; }
@media (max-width: 40rem) {
  td:first-child { min-width: 7rem; max-width: 8.5rem; white-space: normal;
    overflow-wrap: anywhere; }
}
details { border: 1px solid var(--line); border-radius: 6px; margin: .4rem 0; }
summary { cursor: pointer; padding: .45rem .7rem; }
pre { margin: 0; padding: .7rem; overflow-x: auto; background: var(--soft); font-size: .85rem; }
"""

SCRIPT = """
function sortBy(head) {
  const table = head.closest("table"), body = table.tBodies[0], column = head.cellIndex;
  const value = row => row.cells[column].dataset.value;
  const numeric = [...body.rows].every(row => value(row) === "" || !isNaN(value(row)));
  const before = head.getAttribute("aria-sort");
  // Numbers fall first, words rise.
  const falls = before ? before === "ascending" : numeric;
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falls ? "descending" : "ascending");
  const rows = [...body.rows].sort((a, b) => {
    const x = value(a), y = value(b);
    if (x === "" || y === "") return (x === "") - (y === "");  // what is missing stays last
    const order = numeric ? x - y : x.localeCompare(y);
    return falls ? -order : order;
  });
  body.append(...rows);
}
for (const button of document.querySelectorAll("th button"))
  button.addEventListener("click", () => sortBy(button.parentNode));

const pictures = document.querySelectorAll(".picture");
function colors() {
  const style = getComputedStyle(document.documentElement);
  const [ink, line] = ["--ink", "--line"].map(name => style.getPropertyValue(name).trim());
  return { "font.color": ink, "xaxis.gridcolor": line, "yaxis.gridcolor": line,
    "xaxis.linecolor": line, "yaxis.linecolor": line };
}
for (const picture of pictures) {
  const { data, layout } = JSON.parse(picture.textContent);
  picture.textContent = "";
  // The legend takes nothing from the picture.
  const names = data.filter(trace => trace.showlegend !== false).map(trace => trace.name);
  const wide = 50 + 8 * Math.max(...names.map(name => name.length));
  const across = Math.max(1, Math.floor((picture.clientWidth - 60) / wide));
  layout.height += 22 * Math.ceil(names.length / across);
  layout.legend.maxheight = 1;
  Plotly.newPlot(picture, data, layout, { responsive: true, displayModeBar: false });
  Plotly.relayout(picture, colors());
}
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const picture of pictures) Plotly.relayout(picture, colors());
});
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
<script>{plotly}</script>
</head>
<body>
<header>
<h1>{title}</h1>
<p>{protocol}</p>
</header>
<main>
{sections}
</main>
<script>{script}</script>
</body>
</html>
"""
