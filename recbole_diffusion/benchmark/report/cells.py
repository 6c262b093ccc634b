"""How is a value of a report written? As the cell of a table of any printer."""

from typing import NamedTuple


class Cell(NamedTuple):
    """Text of a table, what it is sorted by, and whether it is the best of its column."""

    text: str
    value: object = None
    best: bool = False


class Table(NamedTuple):
    """A table of any printer.

    Attributes:
        name (str): a word for anchors and labels.
        title, note (str): heading, and what the reader must know.
        head (list of str): the columns.
        rows (list of list of Cell): the first cell is the model.
    """

    name: str
    title: str
    note: str
    head: list
    rows: list


def metric_label(metric):
    """Writes a metric as people do, for instance NDCG@10."""
    name, at, k = metric.partition("@")
    upper = name in ("ndcg", "mrr", "map", "auc", "gauc")
    return (name.upper() if upper else name.capitalize()) + at + k


def four(x):
    """A metric, to four decimals."""
    return "–" if x is None else f"{x:.4f}"


def interval(low, high):
    """An interval of a metric."""
    return "–" if low is None else f"{low:.4f} to {high:.4f}".replace("-", "−")


def over_seeds(spread):
    """The interval of a figure over training seeds; with two seeds it says so."""
    few = " (two seeds)" if spread.n == 2 else ""
    return interval(spread.low, spread.high) + few


def signed(x):
    """A difference of a metric, with its sign."""
    return f"{round(x, 4) + 0.0:+.4f}".replace("-", "−")  # + 0.0: no negative zero


def effect(comparison):
    """The size of a difference, Cohen's d."""
    return Cell(f"{round(comparison.effect, 2) + 0.0:+.2f}".replace("-", "−"), comparison.effect)


def p_text(p):
    """A p-value."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def quantity(x):
    """A cost: whole where large, else three digits."""
    if x is None:
        return "–"
    return f"{x:,.0f}" if abs(x) >= 100 or x == int(x) else f"{x:.3g}"


def settings_text(settings):
    """Settings as they are typed, parted by commas."""
    return ", ".join(f"{key}={value}" for key, value in settings.items()) or "defaults"


def text_cell(text):
    """A cell of words, sorted by them."""
    return Cell(str(text), str(text))


def spread_cell(spread, mark="", best=False):
    """A mean and its standard deviation; ``mark`` follows them."""
    if spread is None:
        return Cell("–")
    sd = "" if spread.sd is None else f" ± {spread.sd:.4f}"
    return Cell(four(spread.mean) + sd + mark, spread.mean, best)


def figure(x, write=four, best=False):
    """A cell of a number, sorted by it."""
    return Cell(write(x), x, best)


def share(x):
    """A share, in percent."""
    return "–" if x is None else f"{x:.1%}"
