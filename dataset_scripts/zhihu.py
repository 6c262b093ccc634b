"""Zhihu in the split of DreamRec's authors to RecBole benchmark files.

Raw file: ``sequences.txt``, one line per sequence, ``train|val|test item item ...`` in time order,
words parted by spaces or tabs; the data of DreamRec (Generate What You Prefer, arXiv 2310.20453),
made of ZhihuRec, which is for academic use.

The split is kept: ``<name>.train.inter``, ``<name>.valid.inter`` and ``<name>.test.inter``, each in
file order. A whole sequence belongs to one part. It is a user of its own, whose token is the number
of its line, so no token stands in two parts; the timestamp is the running number within it, from 0.

Usage::

    python dataset_scripts/zhihu.py --input sequences.txt --output dataset/zhihu
"""

import sys

import atomic
import numpy as np
from sequences import read_lines, split_lines

# The file's words for the parts, and ours.
PARTS = {"train": "train", "val": "valid", "test": "test"}
FULL = {"train": 9_371, "valid": 1_171, "test": 1_172, "items": 4_838, "interactions": 77_712}


def convert(input, output, **sizes):
    """Writes the three files of the split and prints their counts.

    Args:
        input (str or Path): sequences.txt, plain, ``.gz`` or ``.zip``.
        output (str or Path): folder to write; its last part names the data set.
        sizes: ``block_bytes``, which changes no byte.

    Raises:
        atomic.InputError: the file is malformed (names the line), or a part has no sequence.
    """
    part, item, length = [], [], []
    part_number, item_number = {word: i for i, word in enumerate(PARTS)}, {}
    for line, lines in read_lines(input, **sizes):
        for number, words in enumerate(lines, start=line):
            if words[0] not in PARTS:
                raise atomic.InputError(
                    f"{input}, line {number}: unknown part {words[0]!r}; known: {', '.join(PARTS)}"
                )
        columns = split_lines(input, line, lines, part_number, item_number)
        for column, block in zip((part, item, length), columns):
            column.append(block)
    part, item, length = map(np.concatenate, (part, item, length))
    n_sequences = dict(zip(PARTS.values(), np.bincount(part, minlength=len(PARTS)).tolist()))
    for word, n in zip(PARTS, n_sequences.values()):
        if not n:
            raise atomic.InputError(f"{input}: holds no sequence of the part {word!r}")

    starts = np.cumsum(length) - length
    number = np.arange(len(item)) - np.repeat(starts, length)
    user = np.repeat(np.arange(1, len(part) + 1), length)
    part_of_row = np.repeat(part, length)
    tokens = np.array(list(item_number), dtype=object)
    with atomic.output_folder(output) as (folder, _):
        for code, name in enumerate(n_sequences):
            here = part_of_row == code
            with atomic.inter_file(folder / f"{folder.name}.{name}.inter", behavior=False) as write:
                write(user[here], tokens[item[here]], number[here])
    for code, (name, n) in enumerate(n_sequences.items()):
        items = item[part_of_row == code]
        counts = {"sequences": n, "items": len(np.unique(items)), "interactions": len(items)}
        atomic.say(name, counts)
    found = {"sequences": len(part), "items": len(tokens), "interactions": len(item)}
    atomic.say("together", found)
    atomic.compare("the authors' split", {**found, **n_sequences}, FULL)


def main(argv=None):
    """Runs the command line and returns its exit code."""
    parser = atomic.Parser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--input", required=True, help="sequences.txt, plain, .gz or .zip")
    parser.add_argument("--output", required=True, help="folder to write, as in dataset/zhihu")
    return atomic.run(convert, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
