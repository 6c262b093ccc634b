"""How is a board looked at? As one HTML page that needs no network."""

import html
import json
from pathlib import Path

from recbole_diffusion.benchmark.report.pictures import pictures
from recbole_diffusion.benchmark.report.sentences import protocol_sentences, summary
from recbole_diffusion.benchmark.report.tables import tables


def write_report(board, path):
    """Writes a board as a page that works offline, on paper-white and dark screens and on phones.

    Args:
        board (board.Board): what was measured.
        path (str or Path): the file.
    """
    sections = [_section(board, table) for table in tables(board)]
    after = next((i for i, (name, _) in enumerate(sections) if name not in FIRST), len(sections))
    sections[after:after] = pictures(board)
    sections += [("configurations", _configurations(board)), ("commands", _commands(board))]
    title = f"Benchmark on {board.plan['dataset']}"
    texts = [text for _, text in sections if text]
    page = bare_page(title, summary(board), protocol_sentences(board), texts)
    Path(path).write_text(page, encoding="utf-8")


def bare_page(title, summary, protocol, sections):
    """A page of sections with its style and scripts.

    Args:
        title (str): its title.
        summary (list of str): sentences in large letters.
        protocol (str): what stands below them.
        sections (list of str): HTML.

    Returns:
        str: HTML that needs no network.
    """
    from plotly.offline import get_plotlyjs

    return PAGE.format(
        title=html.escape(title),
        style=STYLE,
        plotly=get_plotlyjs(),
        summary=" ".join(map(html.escape, summary)),
        protocol=html.escape(protocol),
        sections="\n".join(sections),
        script=SCRIPT,
    )


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
    anchors = _anchors(board)
    rows = "\n".join(
        "<tr>"
        + _cell(row[0], kinds[0], anchors.get(row[0].text))
        + "".join(map(_cell, row[1:], kinds[1:]))
        + "</tr>"
        for row in table.rows
    )
    note = f"<p>{html.escape(table.note)}</p>\n" if table.note else ""
    title = html.escape(table.title)
    text = (
        f'<section id="{table.name}">\n<h2>{title}</h2>\n{note}'
        f'<div class="box" role="region" tabindex="0" aria-label="{title}">'
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>\n"
        "</section>"
    )
    return table.name, text


def _anchors(board):
    """Where on the page the settings of a row are, by label."""
    return {row.label: f"settings-{i}" for i, row in enumerate(board.rows) if row.config}


def _cell(cell, kind, anchor=None):
    text = html.escape(cell.text)
    if anchor:
        text = f'<a href="#{anchor}">{text}</a>'
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
    anchors = _anchors(board)
    details += [_details(r.label, r.config, anchors[r.label]) for r in board.rows if r.config]
    return (
        "<section id='configurations'>\n<h2>Configurations</h2>\n"
        + "\n".join(details)
        + ("\n</section>")
    )


def _details(title, settings, anchor=None):
    text = html.escape(json.dumps(settings, indent=1, ensure_ascii=False, default=str))
    opening = f'<details id="{anchor}">' if anchor else "<details>"
    return f"{opening}<summary>{html.escape(title)}</summary><pre>{text}</pre></details>"


def _commands(board):
    if not board.command:
        return ""
    text = html.escape(board.command.strip())
    return f'<section id="commands">\n<h2>Commands</h2>\n<pre>{text}</pre>\n</section>'


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
a { color: var(--link); }
h1 { font-size: 1.7rem; line-height: 1.2; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .3rem; }
p { max-width: 60rem; margin: .4rem 0 .8rem; }
.summary { font-size: 1.1rem; }
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
@media print {
  body { max-width: none; font-size: 11px; }
  section { break-inside: avoid-page; }
  .box { overflow: visible; border: 0; }
  table { font-size: 9px; }
  th button { padding: .2rem .3rem; }
  td { padding: .1rem .3rem; }
  .pictures { display: block; }
  .picture { break-inside: avoid-page; }
  th button::after { content: ""; }
  #configurations, #commands { display: none; }
}
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

function openSettings() {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
}
window.addEventListener("hashchange", openSettings);
openSettings();

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
  const wide = 50 + 8 * Math.max(1, ...names.map(name => name.length));
  const across = Math.max(1, Math.floor((picture.clientWidth - 60) / wide));
  layout.height += 22 * Math.ceil(names.length / across);
  layout.legend.maxheight = 1;
  Plotly.newPlot(picture, data, layout, { responsive: true, displayModeBar: false });
  Plotly.relayout(picture, colors());
}
function across(pixels) {
  for (const picture of pictures)
    Plotly.relayout(picture, { width: pixels, autosize: pixels === null });
}
window.addEventListener("beforeprint", () => across(680));  // a sheet of paper
window.addEventListener("afterprint", () => across(null));
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
<p class="summary">{summary}</p>
<p>{protocol}</p>
</header>
<main>
{sections}
</main>
<script>{script}</script>
</body>
</html>
"""
