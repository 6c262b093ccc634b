"""The report shows the board in a browser without network, on screens wide and narrow."""

import html
import json
import re
import shutil
import subprocess

import pytest

pytest.importorskip("statsmodels", reason="the extra 'benchmark' is not installed")
pytest.importorskip("pyarrow", reason="the extra 'benchmark' is not installed")
pytest.importorskip("plotly", reason="the extra 'benchmark' is not installed")

from plotly.offline import get_plotlyjs  # noqa: E402

from recbole_diffusion.benchmark.report import sentences  # noqa: E402
from recbole_diffusion.benchmark.report import tables as leaderboard  # noqa: E402
from recbole_diffusion.benchmark.report.board import read_board  # noqa: E402
from recbole_diffusion.benchmark.report.page import write_report  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
HOOKS = """<script>
const errors = [];
window.addEventListener("error", event => errors.push(event.message));
window.addEventListener("unhandledrejection", event => errors.push(String(event.reason)));
</script>"""
PROBE = """<script>
const table = name => [...document.querySelectorAll(`#${name} tbody tr`)].map(
  row => [...row.cells].map(cell => cell.textContent));
const head = (name, column) =>
  document.querySelectorAll(`#${name} th`)[column];
window.addEventListener("load", () => setTimeout(() => {
  let said = null;
  try { said = (() => { SCRIPT })(); } catch (error) { errors.push(String(error)); }
  parent.postMessage(JSON.stringify({ said, errors }), "*");
}, 300));
</script>"""
FRAME = """<!DOCTYPE html><body><pre id="said"></pre><script>
addEventListener("message", e => document.getElementById("said").textContent = e.data);
</script><iframe src="copy.html" style="border:0;height:3000px;width:WIDTHpx"></iframe></body>"""


@pytest.fixture(scope="module")
def board(output):
    paper = {"label": "ICDDT", "source": "A & B", "metric": "hit@10", "published": 0.3}
    papers = [paper | {"ours": 0.2, "verdict": "below by 0.1000"}]
    return read_board(output, papers=papers, command="run <all> of it")


@pytest.fixture(scope="module")
def page(board, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(board, path)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def visit(tmp_path_factory):
    """Gives a function that runs a script at the end of a page and returns what it returns."""
    if BROWSER is None:
        pytest.skip("there is no chromium to look at the page with")

    def visit(page, script, width=1200, dark=False):
        folder = tmp_path_factory.mktemp("visit")
        copy = page.replace("<head>", "<head>" + HOOKS, 1)
        copy = copy.replace("</html>", PROBE.replace("SCRIPT", script) + "</html>")
        (folder / "copy.html").write_text(copy, encoding="utf-8")
        # A frame, since a window of the browser is never as narrow as a phone.
        (folder / "frame.html").write_text(FRAME.replace("WIDTH", str(width)))
        found = subprocess.run(
            [
                BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                "--dump-dom", "--virtual-time-budget=8000", "--enable-logging=stderr", "--v=0",
                f"--user-data-dir={folder / 'profile'}", "--window-size=1300,1000",
                f"--blink-settings=preferredColorScheme={0 if dark else 1}",
                f"file://{folder / 'frame.html'}",
            ],
            capture_output=True, text=True, timeout=900,  # only for what never ends
        )  # fmt: skip
        said = re.search(r'<pre id="said">(.*?)</pre>', found.stdout, re.S)
        assert said and said[1], f"the page did not answer: {found.stderr[-500:]}"
        answer = json.loads(html.unescape(said[1]))
        console = [line for line in found.stderr.splitlines() if "CONSOLE" in line]
        return answer.get("said"), answer["errors"] + console

    return visit


def figures(page, name):
    """The figures of a section as the browser reads them."""
    section = page.split(f'<section id="{name}">')[1].split("</section>")[0]
    texts = re.findall(r'<script type="application/json">(.*?)</script>', section, re.S)
    return [json.loads(text) for text in texts]


# ---------------------------------------------------------------- the file
def test_the_page_asks_for_nothing_from_outside(page):
    assert page.count(get_plotlyjs()) == 1
    own = page.replace(get_plotlyjs(), "")
    for word in ("http:", "https:", " src=", "<link", "@import", "url("):
        assert word not in own, word
    assert len(own) < 200_000


def test_labels_errors_and_settings_are_text(page, made_up):
    assert made_up.script not in page
    own = page.replace(get_plotlyjs(), "")
    assert own.count("<script>") == 2 and html.escape(made_up.script) in own
    assert own.count("&lt;script&gt;boom()&lt;/script&gt;") > 10
    assert "run &lt;all&gt; of it" in own and "A &amp; B" in own
    assert "</" not in "".join(re.findall(r'"application/json">(.*?)</script>', own, re.S))


def test_the_page_has_the_cells_of_every_table(page, board):
    for table in leaderboard.tables(board):
        section = page.split(f'<section id="{table.name}">')[1].split("</section>")[0]
        assert html.escape(table.note) in section
        cells = re.findall(r"<td[^>]*>(.*?)</td>", re.sub("</?a[^>]*>", "", section))
        expected = [cell for row in table.rows for cell in row]
        assert len(cells) == len(expected)
        for found, cell in zip(cells, expected):
            text = html.escape(cell.text)
            assert found == (f"<strong>{text}</strong>" if cell.best else text)
    assert html.escape(sentences.protocol_sentences(board)) in page


def test_every_configuration_is_on_the_page(page, board):
    details = re.findall(r"<summary>(.*?)</summary><pre>(.*?)</pre>", page, re.S)
    found = {html.unescape(name): json.loads(html.unescape(text)) for name, text in details}
    assert found["Protocol"] == board.protocol and found["Plan of retail"] == board.plan
    for row in board.rows:
        assert found.get(row.label) == (row.config or None)


def test_the_steps_that_were_tried_are_a_table_with_the_found_ones_marked(board):
    table = next(table for table in leaderboard.tables(board) if table.name == "walks")
    assert {row[0].text for row in table.rows} == {"ICDDT"}
    first = [[cell.text for cell in row[2:]] for row in table.rows[:3]]
    assert first == [
        ["1 / 16", "0.8123", "0.9900", "0.29000", "0.1"],
        ["2 / 16", "0.9914", "0.9900", "0.30110", "0.2"],
        ["16 / 16", "1.0000", "0.9900", "0.30120", "1.6"],
    ]
    assert [row[2].best for row in table.rows[:3]] == [False, True, False]


# ---------------------------------------------------------------- pictures
def test_the_dots_are_the_means_with_both_intervals(page, board):
    (figure,) = figures(page, "dots")
    users, seeds = figure["data"]
    rows = board.rows[::-1]  # the best on top
    assert users["name"] == "95% over users" and seeds["name"] == "95% over training seeds"
    for i, row in enumerate(rows):
        spread, interval = row.test["ndcg@10"], row.users["ndcg@10"]
        assert seeds["x"][i] == pytest.approx(spread.mean)
        assert users["x"][i] + users["error_x"]["array"][i] == pytest.approx(interval.high)
        assert users["x"][i] - users["error_x"]["arrayminus"][i] == pytest.approx(interval.low)
        if row.external:
            assert seeds["error_x"]["array"][i] == 0  # one seed
        else:
            assert seeds["x"][i] + seeds["error_x"]["array"][i] == pytest.approx(spread.high)
            assert seeds["x"][i] - seeds["error_x"]["arrayminus"][i] == pytest.approx(spread.low)
    names = [name.replace("<br>", " ") for name in figure["layout"]["yaxis"]["ticktext"]]
    assert names[-1] == "ICDDT" and "ICDDT (one step)" in names
    assert users["text"] == seeds["text"] == [html.escape(row.label) for row in rows]
    assert not any("<" in name for name in names)


def test_accuracy_is_drawn_against_seconds_and_milliseconds(page, board):
    seconds, milliseconds = figures(page, "against-cost")
    for figure, key in ((seconds, "train_seconds"), (milliseconds, "ms_per_user")):
        assert figure["layout"]["xaxis"]["type"] == "log"
        dots = {trace["name"]: (trace["x"][0], trace["y"][0]) for trace in figure["data"]}
        rows = [row for row in board.rows if not row.external]
        assert dots == {html.escape(r.label): (r.costs[key], r.test["ndcg@10"].mean) for r in rows}


@pytest.mark.slow
def test_what_costs_nothing_has_a_place_on_the_log_axis(journal, tmp_path):
    made = journal(tmp_path)
    made.run("ICDDT", train_seconds=0.0)
    made.run("SASRec", train_seconds=40.0)
    write_report(read_board(tmp_path), tmp_path / "report.html")
    figure = figures((tmp_path / "report.html").read_text(encoding="utf-8"), "against-cost")[0]
    assert [trace["x"][0] for trace in figure["data"]] == [0.01, 40]
    assert figure["data"][0]["hovertemplate"].startswith("0 training seconds")
    low, high = figure["layout"]["xaxis"]["range"]
    assert low < -2 and high > 1.61


def test_every_seed_is_a_line_and_every_model_one_entry_of_the_legend(page, board):
    (figure,) = figures(page, "curves")
    lines = [(row.label, points) for row in board.rows for _, points in row.curves if points]
    assert len(figure["data"]) == len(lines) == 18
    for trace, (label, points) in zip(figure["data"], lines):
        assert trace["name"] == html.escape(label)  # the library reads tags in names
        epochs = map(int, trace["text"])
        assert [list(point) for point in zip(epochs, trace["x"], trace["y"])] == points
    assert sum(trace["showlegend"] for trace in figure["data"]) == 6
    looks = {t["name"]: (t["line"]["color"], t["line"]["dash"]) for t in figure["data"]}
    assert len(set(looks.values())) == 6


def test_quality_against_steps_marks_the_own_setting(page):
    (figure,) = figures(page, "steps")
    traces = {trace["name"]: trace for trace in figure["data"]}
    assert set(traces) == {"ICDDT", "ICDDT (one step)"}
    assert traces["ICDDT"]["x"] == [1, 2, 5]
    assert traces["ICDDT"]["y"] == pytest.approx([0.21, 0.27, 0.3])
    sizes = traces["ICDDT"]["marker"]["size"]
    assert sizes[2] > sizes[0] == sizes[1]
    assert figure["layout"]["xaxis"]["ticktext"] == ["1", "2", "5"]


# ---------------------------------------------------------------- in a browser
LOOK = """return {
  board: table("accuracy"), boom: typeof boom,
  loads: performance.getEntriesByType("resource").length,
  sections: [...document.querySelectorAll("section")].map(section => section.id),
  dots: [...document.querySelectorAll(".picture")].map(
    picture => picture.querySelectorAll(".scatterlayer .point").length),
  lines: document.querySelectorAll("#curves .scatterlayer .js-line").length,
  labels: [...document.querySelectorAll("#dots .yaxislayer-above text")].map(t => t.textContent),
  paper: getComputedStyle(document.body).backgroundColor,
  ink: getComputedStyle(document.querySelector("#dots .xtitle")).fill,
}"""


def rgb(color):
    return sum(map(int, re.findall(r"\d+", color)[:3])) / 3


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_tables_and_pictures_without_an_error(dark, page, board, visit, made_up):
    seen, errors = visit(page, LOOK, dark=dark)
    assert errors == [] and seen["boom"] == "undefined" and seen["loads"] == 0
    accuracy = leaderboard.tables(board)[0]
    assert seen["board"] == [[cell.text for cell in row] for row in accuracy.rows]
    assert seen["sections"] == [
        "accuracy", "significance", "dots", "differences", "against-cost", "curves", "steps",
        "variance", "cost", "beyond", "never-trained", "ablations", "papers", "training", "walks",
        "trials", "failures", "configurations", "commands",
    ]  # fmt: skip
    assert seen["dots"] == [14, 4, 6, 6, 180, 6] and seen["lines"] == 18
    assert made_up.script in "".join(seen["labels"]) or "boom()" in "".join(seen["labels"])
    assert (rgb(seen["paper"]) < 60 < 200 < rgb(seen["ink"])) == dark
    assert (rgb(seen["ink"]) < 60 < 200 < rgb(seen["paper"])) == (not dark)


@pytest.mark.slow
def test_an_error_of_a_script_is_seen(page, visit, made_up):
    broken = page.replace("sortBy(head) {", "sortBy(head) { missing();")
    _, errors = visit(broken, 'head("cost", 1).firstChild.click()')
    assert any("missing is not defined" in error for error in errors)
    open_label = page.replace(html.escape(made_up.script), made_up.script)
    assert any("boom is not defined" in error for error in visit(open_label, "return 1")[1])


SORT = """
  const orders = [], button = column => head("significance", column).firstChild;
  const look = column => orders.push({
    column, names: table("significance").map(row => row[0]),
    sorts: [...document.querySelectorAll("#significance th")].map(h => h.ariaSort) });
  for (const column of [1, 1, 5, 5, 0, 0]) { button(column).click(); look(column); }
  button(2).focus();
  return { orders, focused: document.activeElement === button(2), tag: button(2).tagName,
    other: table("accuracy").map(row => row[0]) };
"""


@pytest.mark.slow
def test_a_click_on_a_head_sorts_its_table(page, board, visit):
    seen, errors = visit(page, SORT)
    assert errors == []
    labels = [row.label for row in board.models]
    falling, rising, p_falling, p_rising, words, back = [o["names"] for o in seen["orders"]]
    assert falling == labels and rising == labels[::-1]
    ps = {label: one.holm for label, one in board.against_best["ndcg@10"].items()}
    assert p_falling == sorted(ps, key=lambda label: -ps[label]) + ["ICDDT"], "no p stays last"
    assert p_rising[-1] == "ICDDT" and [ps[label] for label in p_rising[:-1]] == sorted(ps.values())
    assert back == words[::-1] and set(words) == set(labels)
    assert words.index("ICDDT") < words.index("Imported") < words.index("SASRec")
    sorts = [order["sorts"] for order in seen["orders"]]
    assert [s[o["column"]] for s, o in zip(sorts, seen["orders"])] == [
        "descending", "ascending", "descending", "ascending", "ascending", "descending",
    ]  # fmt: skip
    assert all(len([one for one in s if one]) == 1 for s in sorts), "one head says it is sorted"
    assert seen["focused"] and seen["tag"] == "BUTTON", "a keyboard reaches it"
    assert seen["other"] == labels, "other tables stay"


OPEN = """
  const link = [...document.querySelectorAll("#accuracy td a")][0];
  const target = document.querySelector(link.getAttribute("href")), before = target.open;
  location.hash = link.hash;
  window.dispatchEvent(new HashChangeEvent("hashchange"));  // at once; a browser's comes later
  return { model: link.textContent, before, after: target.open,
    title: target.querySelector("summary").textContent,
    links: document.querySelectorAll("#accuracy td a").length,
    others: document.querySelectorAll("details[open]").length };
"""


@pytest.mark.slow
def test_the_name_of_a_model_leads_to_its_settings(page, board, visit):
    seen, errors = visit(page, OPEN)
    assert errors == [] and seen["model"] == seen["title"] == board.models[0].label
    assert (seen["before"], seen["after"], seen["others"]) == (False, True, 1)
    assert seen["links"] == sum(bool(row.config) for row in board.models) > 1
    deaf = page.replace('"hashchange"', '"nothing"')  # the control
    assert not visit(deaf, OPEN)[0]["after"]


WIDTHS = """return {
  page: document.documentElement.scrollWidth, window: innerWidth,
  boxes: [...document.querySelectorAll(".box")].map(box => box.scrollWidth - box.clientWidth),
  pictures: [...document.querySelectorAll(".picture .main-svg")].map(
    svg => svg.getBoundingClientRect().right),
  plots: [...document.querySelectorAll(".picture")].map(
    picture => picture.querySelector(".nsewdrag").getBoundingClientRect())
    .map(box => [box.width, box.height]),
}"""


@pytest.mark.slow
def test_a_phone_scrolls_tables_in_their_boxes_and_never_the_page(page, visit):
    seen, errors = visit(page, WIDTHS, width=360)
    assert errors == [] and seen["window"] == 360
    assert seen["page"] == 360
    assert sum(hidden > 0 for hidden in seen["boxes"]) > 5
    assert max(seen["pictures"]) <= 360 and len(seen["pictures"]) >= 5
    assert all(width > 180 and height > 150 for width, height in seen["plots"])
    loose = page.replace(".box { overflow-x: auto;", ".box {")  # the control
    assert visit(loose, WIDTHS, width=360)[0]["page"] > 360


PRINTED = """
  const widths = () => [...document.querySelectorAll(".picture .main-svg:first-child")].map(
    svg => Math.round(svg.getBoundingClientRect().width));
  const before = widths();
  window.dispatchEvent(new Event("beforeprint"));
  const paper = widths();
  window.dispatchEvent(new Event("afterprint"));
  return { before, paper, after: widths() };
"""


@pytest.mark.slow
def test_pictures_are_as_wide_as_paper_while_they_are_printed(page, visit):
    seen, errors = visit(page, PRINTED)
    assert errors == [] and len(seen["paper"]) >= 5
    assert set(seen["paper"]) == {680} and not {680} & set(seen["before"])
    assert seen["after"] == seen["before"]


@pytest.mark.slow
def test_a_benchmark_without_runs_or_without_pictures_has_a_page(journal, tmp_path, visit):
    made = journal(tmp_path)
    look = 'return [...document.querySelectorAll("section")].map(section => section.id)'
    write_report(read_board(tmp_path), tmp_path / "report.html")
    empty = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert visit(empty, look) == (["failures", "configurations"], [])
    made.run("Imported", None, phase="external")
    write_report(read_board(tmp_path), tmp_path / "report.html")
    seen, errors = visit((tmp_path / "report.html").read_text(encoding="utf-8"), look)
    assert errors == [] and "dots" in seen and "curves" not in seen and "cost" not in seen


# ------------------------------------------------------------------ for a person in a hurry


def test_the_summary_says_who_is_best_what_is_level_and_what_it_costs(board):
    first, second, *rest = sentences.summary(board)
    best = board.row(board.best[board.metric])
    assert (
        first == f"{best.label} has the highest NDCG@10 on test, {best.test['ndcg@10'].mean:.4f}."
    )
    level = [label for label, one in board.against_best["ndcg@10"].items() if one.holm >= 0.05]
    assert level and all(label in second for label in level) and "SASRec" not in second
    assert any("s to train" in sentence for sentence in rest)


def test_the_summary_says_what_ablations_show_and_how_much_the_seeds_say(board, tmp_path, journal):
    tested = board.ablations[board.metric]
    differ = [label for label, one in tested.items() if one.holm < 0.05]
    said = [sentence for sentence in sentences.summary(board) if "ablates" in sentence]
    assert len(said) == 1 and all(label in said[0] for label in differ)
    assert ("None of" in said[0]) == (not differ) and f"{len(tested)} ablations" in said[0]
    few = "With two training seeds it is hardly known"
    assert not any(few in sentence for sentence in sentences.summary(board))
    made = journal(tmp_path, seeds=[1, 2])
    for number, seed in enumerate((1, 2)):
        time = {"stopped_by": "max_train_seconds", "best_epoch": 1}
        made.run("ICDDT", seed, number=number, **time)
    two = sentences.summary(read_board(made.output))
    assert any(sentence.startswith(few) for sentence in two)
    assert any(sentence.startswith("ICDDT had ") for sentence in two)  # not: takes
    assert not any("ablates" in sentence for sentence in two)


def test_the_summary_stands_above_all_else(page, board):
    said = html.escape(sentences.summary(board)[0])
    assert page.index(said) < page.index("<h2>")


def test_a_forest_plot_shows_every_tested_difference(page, board):
    picture = page.split('<section id="differences">')[1].split("</section>")[0]
    figure = json.loads(picture.split('<script type="application/json">')[1].split("</script>")[0])
    shown = {
        html.unescape(label): x
        for trace in figure["data"]
        for label, x in zip(trace["text"], trace["x"])
    }
    found = board.against_best[board.metric]
    assert shown == {label: one.difference for label, one in found.items()}
    below = next(trace for trace in figure["data"] if trace["name"] == "significantly below")
    assert {html.unescape(text) for text in below["text"]} == {
        label for label, one in found.items() if one.holm < 0.05
    }
