"""Which models are better across data sets? Mean ranks with their critical difference.

Demšar. "Statistical Comparisons of Classifiers over Multiple Data Sets." JMLR 2006.
"""

import html
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from recbole_diffusion.benchmark.report.board import read_board
from recbole_diffusion.benchmark.report.cells import four, metric_label, p_text
from recbole_diffusion.benchmark.report.page import bare_page
from recbole_diffusion.benchmark.report.pictures import COLORS, new_figure, picture

ALPHA = 0.05


class Across(NamedTuple):
    """Models on several data sets.

    Attributes:
        data (list of str): the data sets.
        metrics (list of str): what each is ranked by.
        labels (list of str): the models that all have, best mean rank first.
        values (numpy.ndarray): means on test, shape: [n_models, n_data].
        ranks (numpy.ndarray): 1 is the best, ties share, shape: [n_models, n_data].
        mean_ranks (numpy.ndarray): shape: [n_models].
        p (float): of Friedman's test that all are alike; None for two models.
        critical (float): Nemenyi's critical difference of two mean ranks at 5%.
        left_out (list of str): models that only some have.
    """

    data: list
    metrics: list
    labels: list
    values: np.ndarray
    ranks: np.ndarray
    mean_ranks: np.ndarray
    p: float
    critical: float
    left_out: list


def across(folders):
    """Reads benchmarks and ranks the models that all of them have.

    Args:
        folders (list of str or Path): a folder of a benchmark each, of different data sets.

    Returns:
        Across: ablations are not among the models.

    Raises:
        ValueError: if a folder holds no benchmark, two are of one data set, or fewer than two data
            sets or common models are left.
    """
    boards = [read_board(folder) for folder in folders]
    data = [board.plan["dataset"] for board in boards]
    if len(boards) < 2 or len(set(data)) < len(data):
        raise ValueError(
            f"--compare takes benchmarks of two or more data sets, not of {', '.join(data)}"
        )
    found = [
        {row.label: row.test[board.metric].mean for row in board.models if board.metric in row.test}
        for board in boards
    ]
    every = list(dict.fromkeys(label for means in found for label in means))
    labels = [label for label in every if all(label in means for means in found)]
    if len(labels) < 2:
        raise ValueError(
            f"the benchmarks of {', '.join(data)} have fewer than two models in common"
        )
    values = np.array([[means[label] for means in found] for label in labels])
    ranks = np.stack([stats.rankdata(-column) for column in values.T], axis=1)
    order = np.argsort(ranks.mean(1), kind="stable")
    return Across(
        data,
        [board.metric for board in boards],
        [labels[place] for place in order],
        values[order],
        ranks[order],
        ranks.mean(1)[order],
        float(stats.friedmanchisquare(*ranks).pvalue) if len(labels) > 2 else None,
        critical_difference(len(labels), len(data)),
        [label for label in every if label not in labels],
    )


def critical_difference(n_models, n_data):
    """By how much two mean ranks must differ to be told apart.

    Args:
        n_models (int): ranked models, two or more.
        n_data (int): data sets.

    Returns:
        float: Nemenyi's, at 5% (Demšar 2006, section 3.2.2).
    """
    q = stats.studentized_range.ppf(1 - ALPHA, n_models, np.inf) / math.sqrt(2)
    return float(q * math.sqrt(n_models * (n_models + 1) / (6 * n_data)))


def sentences(found):
    """What can be said of the models across data sets.

    Args:
        found (Across): of `across`.

    Returns:
        str: some sentences.
    """
    best, n = found.labels[0], len(found.data)
    said = [f"{best} has the best mean rank, {found.mean_ranks[0]:.2f}, over {n} data sets."]
    if found.p is not None:
        alike = "differ" if found.p < ALPHA else "cannot be said to differ"
        said.append(f"The models {alike} (Friedman's test, p {p_text(found.p)}).")
    said.append(
        f"Two mean ranks must differ by {found.critical:.2f} to be told apart (Nemenyi's critical "
        "difference at 5%)."
    )
    if found.p is not None and found.p < ALPHA:
        far = found.mean_ranks - found.mean_ranks[0] > found.critical
        told = [label for label, is_far in zip(found.labels, far) if is_far]
        said.append(f"{best} is told apart from {', '.join(told) or 'none'}.")
    said.append("A rank counts order alone, not by how much; few data sets tell little.")
    if found.left_out:
        said.append(f"Left out, since not all have them: {', '.join(found.left_out)}.")
    return " ".join(said)


def _head(found):
    return ["model", "mean rank", *(f"{d}, {metric_label(m)}" for d, m in
            zip(found.data, found.metrics))]  # fmt: skip


def _rows(found):
    for label, mean, values, ranks in zip(
        found.labels, found.mean_ranks, found.values, found.ranks
    ):
        yield [label, f"{mean:.2f}", *(f"{four(v)} ({r:g})" for v, r in zip(values, ranks))]


def markdown(found):
    """The comparison as Markdown: sentences and a table of means with ranks in brackets."""
    lines = [_head(found), ["---"] * len(_head(found)), *_rows(found)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"# {', '.join(found.data)}\n\n{sentences(found)}\n\n{table}\n"


def page(found):
    """The comparison as an HTML page that needs no network, with a critical-difference diagram."""
    figure = new_figure(90 + 34 * len(found.labels), "mean rank (1 is the best)", None)
    places = list(range(len(found.labels)))[::-1]
    figure.add_scatter(
        x=found.mean_ranks.tolist(), y=places, mode="markers", showlegend=False, name="mean rank",
        marker={"color": COLORS[0], "size": 10}, text=list(map(html.escape, found.labels)),
        hovertemplate="%{text}<br>%{x:.2f}<extra></extra>",
    )  # fmt: skip
    end = found.mean_ranks[0] + found.critical
    figure.add_vrect(
        x0=found.mean_ranks[0], x1=end, fillcolor=COLORS[1], opacity=0.15, line_width=0
    )
    figure.update_yaxes(tickvals=places, ticktext=list(map(html.escape, found.labels)))
    figure.update_xaxes(range=[0.8, max(end, found.mean_ranks.max()) + 0.2])
    note = "What lies in the shaded band cannot be told apart from the best mean rank."
    rows = [f'<th><button type="button">{html.escape(text)}</button></th>' for text in _head(found)]
    body = "\n".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in _rows(found))
    table = (
        f'<section id="ranks"><div class="box"><table><thead><tr>{"".join(rows)}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>"
    )
    _, drawn = picture("critical-difference", "Critical difference", note, [figure])
    title = f"Across {', '.join(found.data)}"
    return bare_page(title, [sentences(found)], "", [table, drawn])


def _cell(text):
    """A cell, sorted by what stands before the rank in brackets."""
    value = html.escape(text.partition(" (")[0])
    return f'<td data-value="{value}">{html.escape(text)}</td>'


def write_comparison(folders, output):
    """Writes ``comparison.md`` and ``comparison.html``.

    Args:
        folders (list of str or Path): as of `across`.
        output (str or Path): a folder, which is made.

    Returns:
        tuple: the comparison (Across) and the files (list of Path).

    Raises:
        ValueError: as of `across`.
    """
    found = across(folders)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "comparison.md", folder / "comparison.html"]
    for file, text in zip(files, (markdown(found), page(found))):
        file.write_text(text, encoding="utf-8")
    return found, files
