"""Writes down what a benchmark has so far: Markdown, LaTeX, CSV and one HTML page."""

from pathlib import Path

from recbole_diffusion.benchmark.report import text as printers
from recbole_diffusion.benchmark.report.board import read_board
from recbole_diffusion.benchmark.report.page import write_report
from recbole_diffusion.benchmark.report.papers import check

PAGES = {
    "leaderboard.md": printers.markdown,
    "leaderboard.tex": printers.latex,
    "leaderboard.csv": printers.csv,
}


def write_pages(output):
    """Writes the pages of a benchmark, finished or not.

    Args:
        output (str or Path): the benchmark's folder.

    Returns:
        tuple: the board (Board) and the files written (list of Path).

    Raises:
        ValueError: if the folder holds no benchmark.
    """
    output = Path(output)
    board = read_board(output)
    board.command = board.plan.get("command", "")
    rows = [
        {
            "label": row.label,
            "model": None if row.external else row.model,
            "test": {metric: spread.mean for metric, spread in row.test.items()},
            "sd": {metric: spread.sd for metric, spread in row.test.items()},
            "all_rows": row.all_rows,
            "seeds": len(row.seeds),
        }
        for row in board.models
    ]
    board.papers = check(board.protocol | {"settings": board.plan["settings"]}, rows)
    files = []
    for name, text in PAGES.items():
        files.append(output / name)
        files[-1].write_text(text(board), encoding="utf-8")
    files.append(output / "report.html")
    write_report(board, files[-1])
    return board, files
