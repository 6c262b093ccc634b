"""How is a leaderboard written down? As Markdown, LaTeX and CSV; the page is page.py's."""

import csv as csv_module
import io
import json
import re

from recbole_diffusion.benchmark.report.sentences import line_of, protocol_sentences, summary
from recbole_diffusion.benchmark.report.tables import LEVEL, tables


def markdown(board, only=None):
    """Writes the board as Markdown.

    Args:
        board (Board): what was measured.
        only (tuple of str): names of tables, without the rest and the commands; None is all.

    Returns:
        str: headings, notes and tables.
    """
    parts = [f"# Benchmark on {_md(board.plan['dataset'])}"]
    parts += [_md(" ".join(summary(board)))] if summary(board) else []
    parts.append(_md(protocol_sentences(board)))
    for table in tables(board):
        if only is not None and table.name not in only:
            continue
        parts.append(f"## {table.title}")
        if table.note:
            parts.append(_md(table.note))
        lines = [table.head, ["---"] * len(table.head)]
        lines[0] = [_md(text) for text in table.head]
        for row in table.rows:
            lines.append([f"**{_md(c.text)}**" if c.best else _md(c.text) for c in row])
        parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
    if board.command and only is None:
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", board.command)), default=0))
        parts += ["## Commands", f"{fence}bash\n{board.command.strip()}\n{fence}"]
    return "\n\n".join(parts) + "\n"


def _md(text):
    text = re.sub(r"&(?=#?\w+;)", "&amp;", re.sub(r"\s+", " ", text))
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)
    return re.sub(r"([\\`*|\[]|(?<!\w)_|_(?!\w))", r"\\\1", text)


def latex(board):
    r"""Writes the tables of the board for LaTeX; needs the packages booktabs and graphicx.

    Args:
        board (Board): what was measured.

    Returns:
        str: one ``table`` environment a table.
    """
    parts = [r"% \usepackage{booktabs, graphicx}", "% " + _tex(protocol_sentences(board))]
    for table in tables(board):
        lines = [" & ".join(map(_tex, table.head)) + r" \\", r"\midrule"]
        for row in table.rows:
            cells = [rf"\textbf{{{_tex(c.text)}}}" if c.best else _tex(c.text) for c in row]
            lines.append(" & ".join(cells) + r" \\")
        columns = "l" + "r" * (len(table.head) - 1)
        note = f". {table.note}" if table.note else ""
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    r"\centering",
                    rf"\caption{{{_tex(table.title + note)}}}",
                    rf"\label{{tab:{table.name}}}",
                    r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
                    rf"\begin{{tabular}}{{{columns}}}",
                    r"\toprule",
                    *lines,
                    r"\bottomrule",
                    r"\end{tabular}}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after a line break it would open an option
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    "–": "--",
    LEVEL: r"$^\dagger$",
} | {c: "\\" + c for c in "&%$#_{}"}


def _tex(text):
    text = re.sub(rf" {LEVEL}$", LEVEL, re.sub(r"\s+", " ", text))
    return "".join(TEX.get(c, c) for c in text)


def csv(board):
    """Writes all figures of the board, one row per model and one column per figure.

    Args:
        board (Board): what was measured.

    Returns:
        str: CSV with a head; a cell is empty where there is no figure. A text that a spreadsheet
        would run as a formula begins with ``'``.
    """
    records = [_record(board, row) | {"protocol": line_of(board)} for row in board.rows]
    failed = {fail["label"]: fail["error"] for fail in board.failed if fail["phase"] != "trial"}
    records += [
        {"label": label, "status": "failed", "reason": error}
        for label, error in failed.items()
        if board.row(label) is None
    ]
    records += [
        {"label": label, "status": "refused", "reason": why} for label, why in board.refused.items()
    ]
    records += [{"label": label, "status": "no finished seed"} for label in board.pending]
    head = dict.fromkeys(key for record in records for key in record)
    text = io.StringIO()
    writer = csv_module.DictWriter(text, head, lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({key: _plain(value) for key, value in record.items()})
    return text.getvalue()


def _plain(value):
    """A text on one line that no spreadsheet takes for a formula; numbers stay what they are."""
    if not isinstance(value, str):
        return value
    value = re.sub(r"\s", " ", value)  # csv does not quote all that ends a line
    return f"'{value}" if value.lstrip().startswith(("=", "+", "-", "@")) else value


def _record(board, row):
    complete = len(row.seeds) >= row.asked
    record = {
        "label": row.label,
        "model": row.model,
        "ablates": row.ablates,
        "status": "external" if row.external else "done" if complete else "incomplete",
        "reason": "",
        "seeds_done": len(row.seeds),
        "seeds_asked": row.asked,
    }
    for metric, spread in row.test.items():
        users = row.users.get(metric)
        one = (board.ablations if row.ablates else board.against_best)[metric].get(row.label)
        record |= {
            metric: spread.mean,
            f"{metric} sd": spread.sd,
            f"{metric} low over seeds": spread.low,
            f"{metric} high over seeds": spread.high,
            f"{metric} low over users": users and users.low,
            f"{metric} high over users": users and users.high,
            f"{metric} sd over samplings": row.sampling_sd.get(metric),
            f"{metric} compared with": one and one.second,
            f"{metric} difference": one and one.difference,
            f"{metric} Holm p": one and one.holm,
            f"{metric} d": one and one.effect,
        }
    record |= {f"validation {m}": spread.mean for m, spread in row.valid.items()}
    record |= row.costs | row.beyond | {"agreement": row.agreement}
    never = row.never_trained or {}
    record |= {f"never-trained {k}": v for k, v in never.items() if k != "barred"}
    record |= {f"barred {m}": value for m, value in (never.get("barred") or {}).items()}
    record |= {f"all rows {m}": value for m, value in (row.all_rows or {}).items()}
    settings = json.dumps(row.settings, ensure_ascii=False)
    return record | {"best / epochs": row.epochs, "ended by": row.ended, "settings": settings}
