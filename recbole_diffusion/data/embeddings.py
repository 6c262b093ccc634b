"""A vector for each item, from a file keyed by token."""

from pathlib import Path

import numpy as np

from recbole_diffusion.data.columns import NUMBER
from recbole_diffusion.data.lines import DataError, is_plain, read_lines, shown


def read_item_embeddings(name, dataset):
    """Reads a file like RecBole's ``.itememb``: ``item_id:token<TAB>item_emb:float_seq``.

    The first line is a header; each other line is a token, a tab and numbers parted by spaces.
    Lines of items that the data set does not have are skipped.

    Args:
        name (str): the file's name in the data set's folder, or a path.
        dataset (Dataset): gives the folder and the items.

    Returns:
        numpy.ndarray: float64, items but the padding in the order of their ids, shape: [n, width].

    Raises:
        DataError: if the file is missing or malformed (with the line), or an item has no vector.
    """
    places = [Path(dataset.dataset_path, name), Path(name)]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise DataError(f"item_embeddings: neither {places[0]} nor {places[1]} is a file")
    ids = dataset.field2token_id[dataset.iid_field]
    table, found = None, np.zeros(dataset.item_num, dtype=bool)
    header = False
    for first, lines in read_lines(path, "utf-8"):
        if not header:
            _check_header(path, lines[0])
            header, first, lines = True, 2, lines[1:]
        for number, line in enumerate(lines, start=first):
            token, _, text = line.partition("\t")
            vector = _numbers(f"{path} line {number}", text)
            if table is None:
                table = np.zeros((dataset.item_num, len(vector)))
            if len(vector) != table.shape[1] or not len(vector) or not np.isfinite(vector).all():
                raise DataError(
                    f"{path} line {number}: expected {table.shape[1] or 'some'} finite numbers as "
                    f"in the first line, got {len(vector)}"
                    + (" and not all finite" if len(vector) == table.shape[1] else "")
                )
            item = ids.get(token)
            if item is None:
                continue
            if found[item]:
                raise DataError(f"{path} line {number}: item {shown(token)} has a vector already")
            table[item], found[item] = vector, True
    if not header:
        _check_header(path, "")
    missing = dataset.field2id_token[dataset.iid_field][1:][~found[1:]]
    if len(missing):
        raise DataError(
            f"{path} has no vector for {len(missing)} of {dataset.item_num - 1} items: "
            f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}"
        )
    return table[1:]


def _check_header(path, line):
    if [column.rpartition(":")[2] for column in line.split("\t")] != ["token", "float_seq"]:
        raise DataError(
            f"{path} line 1: expected a header like item_id:token<TAB>item_emb:float_seq"
        )


def _numbers(where, text):
    words = text.replace("\t", " ").split(" ")
    try:
        if not is_plain(text, b" \t"):
            raise ValueError
        return np.array([float(word) for word in words if word])
    except ValueError:
        wrong = next(word for word in words if word and not NUMBER.fullmatch(word))
        raise DataError(f"{where}: {shown(wrong)} is not a plain decimal number") from None
