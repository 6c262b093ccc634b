"""Your own table to a RecBole atomic file.

Raw file: any ``.csv``, ``.tsv`` (either also as ``.gz`` or ``.zip``) or ``.parquet`` with a header,
a row per interaction; you know where it comes from and what its licence allows. ``--sep`` reads
other texts, such as those parted by semicolons; quotation marks enclose a field as in a .csv,
unless ``--quoting=none`` makes them letters. The text is UTF-8 unless ``--encoding`` names another.

Without ``--behavior`` there is no behaviour column. Without ``--time`` the rows are numbered 0, 1,
... in file order. Without ``--time_format`` numbers in the time column are written as they are, and
ISO dates (``2017-11-25``, ``2017-11-25T08:00:00+08:00``) become seconds since 1970; which of both
a column holds is decided by its first time. ``--time_format`` says another form: one of strptime,
``unix`` (seconds) or ``unix_ms`` (milliseconds); all of them become seconds. A date that names no
zone is of ``--time_zone``, UTC by default; where clocks are set back, the hour that occurs twice is
taken for the first.

Lines that cannot be used (columns missing, no user, item, behaviour or time, ...) are counted, and
the first ten are said with their reasons: ``--on_bad=error`` (default) then refuses the file,
``--on_bad=skip`` leaves them out. Repeated lines are kept and counted.

The file is read in pieces; in memory are numbers (about 120 bytes a row at most) and the distinct
tokens.
Rows are written by user in order of first appearance, then by time. If all behaviours are among
view, favorite, cart and buy, equal stamps are ordered that way; other ties stay in file order.

Usage::

    python dataset_scripts/table.py --input FILE --output dataset/mydata --user COL --item COL
        [--behavior COL] [--time COL] [--time_format FORMAT] [--time_zone ZONE]
        [--sep CHARACTER] [--encoding NAME] [--quoting csv|none] [--on_bad error|skip]
"""

import sys

import atomic
import numpy as np
import pandas as pd
import pieces
from badlines import POLICIES, BadLines
from times import Clock
from tokens import Numbers, what_is_wrong

RANKED = ("view", "favorite", "cart", "buy")


def read_rows(path, names, form, clock, bad):
    """Reads the rows of a table as numbers.

    Args:
        path (str or Path): the table.
        names (dict of str to str): the columns ``user``, ``item`` and, if there, ``behavior`` and
            ``time``.
        form (pieces.Form): how a text is written.
        clock (Clock): reads the times.
        bad (BadLines): is told of the lines that cannot be used.

    Returns:
        tuple: dict of noun to the numbers of its tokens (numpy.ndarray, shape: [n_rows]), by first
        appearance; and dict of noun to its tokens (list of str).

    Raises:
        atomic.InputError: the file cannot be read.
    """
    nouns = [noun for noun in names if noun != "time"]
    numbers = {noun: Numbers() for noun in nouns}
    kept = {noun: [np.zeros(0, np.int32)] for noun in nouns}
    for columns, line_of, misfits in pieces.read(path, list(names.values()), form, bad):
        columns = dict(zip(names, columns))
        codes = {noun: numbers[noun].of(columns[noun]) for noun in nouns}
        reasons = [(codes[noun] < 0, _token_is_wrong(noun, columns[noun])) for noun in nouns]
        fine = ~np.any([wrong for wrong, _ in reasons], axis=0)
        if "time" in names:
            timely, why = clock.read(_those(columns["time"], fine))
            place = np.cumsum(fine) - 1  # of a row among those that the clock read
            late = fine.copy()
            late[fine] = ~timely
            reasons.append((late, lambda row, why=why, place=place: f"the time {why(place[row])}"))
            fine &= ~late
        _tell(bad, reasons, fine, line_of, misfits)
        for noun in nouns:
            kept[noun].append(codes[noun][fine])
    tokens = {}
    for noun in nouns:
        codes, first = pd.factorize(np.concatenate(kept[noun]))  # without those of bad lines alone
        kept[noun], tokens[noun] = codes, [numbers[noun].tokens[number] for number in first]
    return kept, tokens


def _those(column, chosen):
    return column if chosen.all() else [column[row] for row in np.flatnonzero(chosen)]


def _token_is_wrong(noun, column):
    def wrong(row):
        said = what_is_wrong(column[row])
        more = "; --encoding names another, as latin-1" * said.endswith("not UTF-8")
        return f"the {noun} {said}{more}"

    return wrong


def _tell(bad, reasons, fine, line_of, misfits):
    """Tells of the bad rows of a piece, those without all columns among them."""
    short = np.zeros(len(fine), bool) if misfits is None else misfits.rows
    if fine.all() and not short.any():
        return
    wrong, place = short.copy(), np.cumsum(~short) - 1
    wrong[~short] = ~fine

    def reason(row):
        if short[row]:
            return misfits.wrong(row)
        return next(say(place[row]) for rows, say in reasons if rows[place[row]])

    bad.add_rows(wrong, line_of, reason)


def convert(
    input,
    output,
    user,
    item,
    behavior=None,
    time=None,
    time_format=None,
    time_zone=None,
    sep=None,
    encoding=None,
    quoting="csv",
    on_bad="error",
):
    """Writes ``<output>/<name>.inter`` and prints its counts.

    Args:
        input (str or Path): the table.
        output (str or Path): folder to write; its last part names the data set.
        user (str): name of the column of users.
        item (str): name of the column of items.
        behavior (str): name of the column of behaviours; None for none.
        time (str): name of the column of times; None to number the rows.
        time_format (str): see :class:`times.Clock`.
        time_zone (str): ditto.
        sep (str): what parts the columns; None for what the file's ending says.
        encoding (str): of the text; None for UTF-8.
        quoting (str): one of ``pieces.QUOTING``.
        on_bad (str): ``error`` or ``skip``, for lines that cannot be used.

    Raises:
        atomic.InputError: the table is malformed; names the line.
    """
    names = {"user": user, "item": item, "behavior": behavior, "time": time}
    names = {noun: name for noun, name in names.items() if name is not None}
    if time is None and (time_format or time_zone):
        raise atomic.InputError("--time_format and --time_zone need --time, the column of times")
    clock, bad = Clock(time_format, time_zone), BadLines(input, pieces.noun(input))
    codes, tokens = read_rows(input, names, pieces.Form(sep, encoding, quoting), clock, bad)
    n_rows = len(codes["user"])
    bad.settle(on_bad, n_rows)
    if not n_rows:
        raise atomic.InputError(f"{input}: holds a header and no rows")
    key, stamp = (np.arange(n_rows),) * 2 if time is None else clock.result()

    rank = np.zeros(n_rows, np.int8)
    if behavior is not None and set(tokens["behavior"]) <= set(RANKED):
        rank = np.array([RANKED.index(t) for t in tokens["behavior"]], np.int8)[codes["behavior"]]
    order = np.lexsort((rank, key, codes["user"]))
    duplicates = int(pd.DataFrame({**codes, "time": key}).duplicated().sum())
    per_behavior = {None: n_rows}
    if behavior is not None:
        per_behavior = dict(zip(tokens["behavior"], np.bincount(codes["behavior"])))
    counts = atomic.summary(len(tokens["user"]), len(tokens["item"]), per_behavior)
    counts.pop(None, None)

    with atomic.output_folder(output) as (folder, _):
        path = folder / f"{folder.name}.inter"
        with atomic.inter_file(path, behavior=behavior is not None) as write:
            texts = {noun: np.array(tokens[noun], dtype=object) for noun in codes}
            for start in range(0, n_rows, atomic.SLICE_ROWS):
                rows = order[start : start + atomic.SLICE_ROWS]
                write(*(texts[noun][codes[noun][rows]] for noun in codes), stamp[rows])
    atomic.say("written", {**counts, atomic.DUPLICATES: duplicates})
    if time is not None:
        print(clock.span(key))


def main(argv=None):
    """Runs the command line and returns its exit code."""
    parser = atomic.Parser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--input", required=True, help="a .csv, .tsv or .parquet with a header")
    parser.add_argument("--output", required=True, help="folder to write, as in dataset/mydata")
    parser.add_argument("--user", required=True, metavar="COL", help="column of users")
    parser.add_argument("--item", required=True, metavar="COL", help="column of items")
    parser.add_argument("--behavior", metavar="COL", help="column of behaviours")
    parser.add_argument("--time", metavar="COL", help="column of times: numbers or ISO dates")
    parser.add_argument(
        "--time_format",
        metavar="FORMAT",
        help="another form of times: of strptime, as '%%d.%%m.%%Y %%H:%%M'; unix (seconds) or "
        "unix_ms (milliseconds)",
    )
    parser.add_argument(
        "--time_zone",
        metavar="ZONE",
        help="of dates that name none, as Europe/Berlin (default: UTC)",
    )
    parser.add_argument(
        "--sep",
        metavar="CHARACTER",
        help="what parts the columns, as ';' or tab (default: by ending)",
    )
    parser.add_argument("--encoding", metavar="NAME", help="as latin-1 (default: utf-8)")
    parser.add_argument(
        "--quoting",
        choices=list(pieces.QUOTING),
        default="csv",
        help="quotation marks enclose a field (csv, default) or are letters (none)",
    )
    parser.add_argument(
        "--on_bad",
        choices=POLICIES,
        default="error",
        help="lines that cannot be used: refuse the file (default) or leave them out; either way "
        "they are counted and the first ten said",
    )
    return atomic.run(convert, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
