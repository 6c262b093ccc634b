"""Sequences of items without times to a RecBole atomic file.

Raw files: text, plain, gzipped or zipped, words parted by spaces or tabs, as many data sets are
published with the code of a paper; you know what the licence of yours allows. Two forms are read:

- ``user item item ...`` a line: all of a user's items, in time order;
- ``user item`` a line: one interaction, in time order within a user.

Two words on every line are the second form, anything else is the first, and there a user has one
line. Which form was found is printed.

The timestamp is the user's running number from 0, so repeated items stay apart. Rows are written by
user in order of first appearance, then in file order. All rows are held in memory.

An output named beauty (Amazon Beauty, 5-core) or ml-1m (MovieLens-1M, all ratings) is compared with
the counts known for it.

Usage::

    python dataset_scripts/sequences.py --input Beauty.txt --output dataset/beauty
"""

import re
import sys

import atomic
import numpy as np
import pandas as pd
from rows import encode

FORMS = {False: "user item item ...", True: "user item"}
FULL = {
    "beauty": {"users": 22_363, "items": 12_101, "interactions": 198_502},
    "ml-1m": {"users": 6_040, "items": 3_706, "interactions": 1_000_209},
}

_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f]")


def read_lines(path, **reading):
    """Reads lines of words in blocks.

    Args:
        path (str or Path): the raw file.
        reading: ``block_bytes`` of :func:`atomic.read_blocks`.

    Yields:
        tuple: 1-based number of the block's first line, and its lines (lists of str, two words or
        more in each).

    Raises:
        atomic.InputError: something in the file is malformed; names the line.
    """
    for line, block in atomic.read_blocks(path, **reading):
        # What is not UTF-8 is refused where it stands in a token.
        text = block.replace(b"\t", b" ").decode("utf-8", "surrogateescape")
        lines = [[word for word in one.split(" ") if word] for one in text.split("\n")[:-1]]
        short = next((i for i, words in enumerate(lines) if len(words) < 2), len(lines))
        control = _CONTROL.search(block)
        before = block[: control.start()].count(b"\n") if control else len(lines)
        if before < len(lines) and before <= short:
            raise atomic.InputError(
                f"{path}, line {line + before}: holds the control character {chr(control[0][0])!r}"
            )
        if short < len(lines):
            found = f"only the word {lines[short][0]!r}" if lines[short] else "an empty line"
            raise atomic.InputError(
                f"{path}, line {line + short}: expected a word and the items after it, "
                f"found {found}"
            )
        yield line, lines


def convert(input, output, **sizes):
    """Writes ``<output>/<name>.inter`` and prints its form and counts.

    Args:
        input (str or Path): a text file of either form, plain, ``.gz`` or ``.zip``.
        output (str or Path): folder to write; its last part names the data set.
        sizes: ``block_bytes``, which changes no byte.

    Raises:
        atomic.InputError: the file is malformed; names the line.
    """
    user_number, item_number = {}, {}
    user_of_line, item, length = [], [], []
    for line, lines in read_lines(input, **sizes):
        users, items, lengths = split_lines(input, line, lines, user_number, item_number)
        user_of_line.append(users)
        item.append(items)
        length.append(lengths)
    user_of_line, item, length = map(np.concatenate, (user_of_line, item, length))
    pairs = bool((length == 1).all())
    if not pairs:
        _refuse_second_line(input, user_of_line, list(user_number))
    user = np.repeat(user_of_line, length)
    order = np.argsort(user, kind="stable")
    user, item = user[order], item[order]
    number = pd.Series(user).groupby(user).cumcount().to_numpy()
    tokens = (np.array(list(known), dtype=object) for known in (user_number, item_number))
    with atomic.output_folder(output) as (folder, _):
        with atomic.inter_file(folder / f"{folder.name}.inter", behavior=False) as write:
            write(*(names[codes] for names, codes in zip(tokens, (user, item))), number)
        name = folder.name
    print(f"form: {FORMS[pairs]!r} a line")
    found = {"users": len(user_number), "items": len(item_number), "interactions": len(item)}
    atomic.say("written", found)
    if name in FULL:
        atomic.compare(f"{name} as published", found, FULL[name])


def split_lines(path, line, lines, user_number, item_number):
    """Numbers the first words and the items of a block of lines.

    Args:
        path (str or Path): the raw file, for messages.
        line (int): 1-based number of the first line.
        lines (list of list of str): see :func:`read_lines`.
        user_number (dict of str to int): the numbers of first words so far; new ones are added.
        item_number (dict of str to int): ditto of items.

    Returns:
        tuple: numbers of the first words, shape: [n_lines]; numbers of the items, shape: [n_rows];
        how many items each line has, shape: [n_lines].

    Raises:
        atomic.InputError: RecBole would not read a token back as it is.
    """
    lengths = np.array([len(words) - 1 for words in lines])
    line_of_row = np.repeat(np.arange(len(lines)), lengths)
    users = encode([words[0] for words in lines], "user", user_number,
                   lambda row: f"{path}, line {line + row}")  # fmt: skip
    items = encode([item for words in lines for item in words[1:]], "item", item_number,
                   lambda row: f"{path}, line {line + line_of_row[row]}")  # fmt: skip
    return users, items, lengths


def _refuse_second_line(path, user_of_line, users):
    again = pd.Series(user_of_line).duplicated().to_numpy()
    if again.any():
        second = int(np.argmax(again))
        first = int(np.argmax(user_of_line == user_of_line[second]))
        raise atomic.InputError(
            f"{path}, line {second + 1}: user {users[user_of_line[second]]!r} has line {first + 1} "
            "already (a file with one interaction a line must have two words on every line)"
        )


def main(argv=None):
    """Runs the command line and returns its exit code."""
    parser = atomic.Parser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--input", required=True, help="text file, plain, .gz or .zip")
    parser.add_argument("--output", required=True, help="folder to write, as in dataset/beauty")
    return atomic.run(convert, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
