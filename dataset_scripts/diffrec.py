"""The data of DiffRec's authors, in their split, to RecBole benchmark files.

Raw files: ``train_list.npy``, ``valid_list.npy`` and ``test_list.npy`` of a folder ``ml-1m_clean``,
``yelp_clean`` or ``amazon-book_clean``, as published with the code of DiffRec (Diffusion
Recommender Model, arXiv 2304.04971); and ``item_emb.npy``, their item embeddings, if it is there.
The ratings of MovieLens may not be redistributed; no licence is stated for the other two. A list is
an array of whole numbers, [n, 2]: user and item, counted from 0, in time order within a user,
without a time. Row i of the embeddings belongs to item i.

The split is kept: ``<name>.train.inter``, ``<name>.valid.inter`` and ``<name>.test.inter``, each in
file order, with the ids as tokens. The timestamp is the user's running number along train, valid
and test. The embeddings become ``<name>.itememb``, from which float32 comes back exactly; without
``item_emb.npy`` no such file is written, and one that is there already stays.

An output named ml-1m-diffrec is compared with the counts of the authors' split.

Usage::

    python dataset_scripts/diffrec.py --input DIR --output dataset/ml-1m-diffrec
"""

import sys
from pathlib import Path

import atomic
import numpy as np
import pandas as pd

PARTS = ("train", "valid", "test")
FULL = {
    "ml-1m-diffrec": {
        "users": 5_949,
        "items": 2_810,
        "interactions": 571_531,
        "train": 403_277,
        "valid": 110_722,
        "test": 57_532,
    }
}


def read_pairs(path):
    """Reads a list of interactions.

    Args:
        path (str or Path): a ``.npy`` file.

    Returns:
        numpy.ndarray: user and item, int64, shape: [n, 2].

    Raises:
        atomic.InputError: the file is missing, or does not hold ids of users and items.
    """
    pairs = _load(path)
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise atomic.InputError(f"{path}: must have the shape [n, 2], and has {[*pairs.shape]}")
    if pairs.dtype.kind not in "iu":
        raise atomic.InputError(f"{path}: must hold whole numbers, and holds {pairs.dtype}")
    if not len(pairs):
        raise atomic.InputError(f"{path}: holds no interactions")
    pairs = pairs.astype(np.int64)
    if pairs.min() < 0:
        row, column = np.argwhere(pairs < 0)[0]
        raise atomic.InputError(
            f"{path}[{row}]: {('user', 'item')[column]} {pairs[row, column]} is negative"
        )
    return pairs


def read_embeddings(path, n_items):
    """Reads the table of item embeddings.

    Args:
        path (str or Path): a ``.npy`` file.
        n_items (int): how many rows are needed.

    Returns:
        numpy.ndarray: float32, shape: [n_rows, d].

    Raises:
        atomic.InputError: the file is not such a table, or a number in it is not finite.
    """
    table = _load(path)
    if table.ndim != 2 or not table.shape[1]:
        raise atomic.InputError(f"{path}: must have the shape [items, d], and has {[*table.shape]}")
    if table.dtype.kind != "f":
        raise atomic.InputError(f"{path}: must hold floats, and holds {table.dtype}")
    if len(table) < n_items:
        raise atomic.InputError(f"{path}: has {len(table):,} rows for {n_items:,} items")
    with np.errstate(over="ignore"):
        table = table.astype(np.float32)
    finite = np.isfinite(table).all(axis=1)
    if not finite.all():
        raise atomic.InputError(f"{path}[{finite.argmin()}]: is not finite in float32")
    return table


def _load(path):
    with atomic.open_raw(path):
        pass
    try:
        # Mapped, so that a header cannot ask for more memory than the file has bytes.
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    # A damaged header ends in anything from a MemoryError to an error of Python's tokenizer.
    except Exception as error:
        reason = str(error).split("\n", 1)[0]
        raise atomic.InputError(f"{path}: cannot be read as an array: {reason}") from None
    if not isinstance(array, np.ndarray):
        raise atomic.InputError(f"{path}: must be one array, and is an archive of several (.npz)")
    if array.offset + array.nbytes != path.stat().st_size:
        raise atomic.InputError(f"{path}: holds more bytes than its header {[*array.shape]} says")
    return array


def convert(input, output):
    """Writes the files of the split, and the embeddings if they are there; prints the counts.

    Args:
        input (str or Path): folder with the authors' files.
        output (str or Path): folder to write; its last part names the data set.

    Raises:
        atomic.InputError: a file is missing or malformed.
    """
    parts = {part: read_pairs(Path(input) / f"{part}_list.npy") for part in PARTS}
    whole = np.concatenate(list(parts.values()))
    user = pd.Series(whole[:, 0])
    number = user.groupby(user).cumcount()
    start = np.cumsum([len(pairs) for pairs in parts.values()])[:-1]
    embeddings = None
    if (Path(input) / "item_emb.npy").exists():
        embeddings = read_embeddings(Path(input) / "item_emb.npy", whole[:, 1].max() + 1)
    with atomic.output_folder(output) as (folder, _):
        for part, rows in zip(PARTS, np.split(np.column_stack([whole, number]), start)):
            with atomic.inter_file(folder / f"{folder.name}.{part}.inter", behavior=False) as write:
                write(*rows.T)
        if embeddings is not None:
            path = folder / f"{folder.name}.itememb"
            with atomic.atomic_file(path, ["item_id:token", "item_emb:float_seq"]) as write:
                # Nine digits tell any two float32 apart.
                text = [" ".join(map("%.9g".__mod__, row)) for row in embeddings.tolist()]
                write(np.arange(len(text)), np.array(text, dtype=object))
        name = folder.name
    for part, pairs in parts.items():
        atomic.say(part, _counts(pairs))
    found = _counts(whole)
    atomic.say("together", found)
    if embeddings is not None:
        n_rows, d = embeddings.shape
        atomic.say("item embeddings", {"rows": n_rows, "numbers in each": d})
    if name in FULL:
        sizes = {part: len(pairs) for part, pairs in parts.items()}
        atomic.compare("the authors' split", {**found, **sizes}, FULL[name])


def _counts(pairs):
    n_users, n_items = (len(np.unique(column)) for column in pairs.T)
    return {"users": n_users, "items": n_items, "interactions": len(pairs)}


def main(argv=None):
    """Runs the command line and returns its exit code."""
    parser = atomic.Parser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--input", required=True, help="folder with the authors' .npy files")
    parser.add_argument(
        "--output", required=True, help="folder to write, as in dataset/ml-1m-diffrec"
    )
    return atomic.run(convert, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
