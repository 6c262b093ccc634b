"""A vector for each item, from a file keyed by token."""

from pathlib import Path

import numpy as np

from recbole_diffusion.data.lines import DataError


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
    try:
        return _read(path, dataset)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}") from error


def _read(path, dataset):
    ids = dataset.field2token_id[dataset.iid_field]
    table, found = None, np.zeros(dataset.item_num, dtype=bool)
    with open(path, encoding="utf-8") as file:
        header = file.readline().rstrip("\n").split("\t")
        if [column.rpartition(":")[2] for column in header] != ["token", "float_seq"]:
            raise DataError(
                f"{path} line 1: expected a header like item_id:token<TAB>item_emb:float_seq"
            )
        for number, line in enumerate(file, start=2):
            token, _, text = line.rstrip("\n").partition("\t")
            try:
                vector = np.array(text.split(), dtype=np.float64)
            except ValueError as error:
                raise DataError(f"{path} line {number}: {error}") from error
            if table is None:
                table = np.zeros((dataset.item_num, len(vector)))
            if len(vector) != table.shape[1] or not len(vector) or not np.isfinite(vector).all():
                raise DataError(
                    f"{path} line {number}: expected {table.shape[1] or 'some'} finite numbers as "
                    f"in the first line, got {len(vector)}"
                )
            item = ids.get(token)
            if item is None:
                continue
            if found[item]:
                raise DataError(f"{path} line {number}: item {token} has a vector already")
            table[item], found[item] = vector, True
    missing = dataset.field2id_token[dataset.iid_field][1:][~found[1:]]
    if len(missing):
        raise DataError(
            f"{path} has no vector for {len(missing)} of {dataset.item_num - 1} items: "
            f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}"
        )
    return table[1:]
