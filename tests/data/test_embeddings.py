"""Item vectors from a file: each goes to its token, and what is wrong is named with its line."""

from types import SimpleNamespace

import numpy as np
import pytest

from recbole_diffusion.data.embeddings import read_item_embeddings
from recbole_diffusion.data.lines import DataError

HEADER = "item_id:token\titem_emb:float_seq"


def items(folder, *tokens):
    """As much of a data set of these items as the reading asks for."""
    named = ["[PAD]", *tokens]
    return SimpleNamespace(
        dataset_path=str(folder),
        iid_field="item_id",
        item_num=len(named),
        field2token_id={"item_id": {token: item for item, token in enumerate(named)}},
        field2id_token={"item_id": np.array(named)},
    )


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """The data set's folder and the working directory."""
    folder, here = tmp_path / "data", tmp_path / "here"
    for place in (folder, here):
        place.mkdir()
    monkeypatch.chdir(here)
    return folder, here


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_vectors_come_in_the_order_of_the_ids_and_others_are_skipped(folders):
    lines = ["c\t5 6", "stranger\t9 9", "a\t1 2.5", "[PAD]\t8 8", "b b\t-3e-1 4"]
    write(folders[0] / "v.itememb", HEADER, *lines)
    table = read_item_embeddings("v.itememb", items(folders[0], "a", "b b", "c"))
    assert table.dtype == np.float64
    assert table.tolist() == [[1, 2.5], [-0.3, 4], [5, 6]]
    other = read_item_embeddings("v.itememb", items(folders[0], "c", "a"))  # the control
    assert other.tolist() == [[5, 6], [1, 2.5]]


@pytest.mark.parametrize("header", [HEADER, "iid:token\tx:float_seq"])
def test_columns_may_have_any_name_and_lines_any_ending(folders, header):
    (folders[0] / "v").write_bytes(f"{header}\r\na\t1 2\r\nå\t3   4".encode())
    assert read_item_embeddings("v", items(folders[0], "å", "a")).tolist() == [[3, 4], [1, 2]]


def test_a_name_is_looked_up_in_the_data_sets_folder_and_then_as_a_path(folders):
    folder, here = folders
    data = items(folder, "a")
    message = f"item_embeddings: neither {folder / 'v'} nor v is a file"
    with pytest.raises(DataError, match=message):
        read_item_embeddings("v", data)
    (folder / "v").mkdir()
    with pytest.raises(DataError, match=message):
        read_item_embeddings("v", data)
    (folder / "v").rmdir()
    write(here / "v", HEADER, "a\t1")
    assert read_item_embeddings("v", data).tolist() == [[1]]
    write(folder / "v", HEADER, "a\t2")
    assert read_item_embeddings("v", data).tolist() == [[2]]
    assert read_item_embeddings(str(here / "v"), data).tolist() == [[1]]


@pytest.mark.parametrize(
    "lines, number, message",
    [
        ([""], 1, "expected a header like item_id:token<TAB>item_emb:float_seq"),
        (["a\t1 2", "b\t3 4"], 1, "expected a header"),
        (["item_id:token item_emb:float_seq", "a\t1 2"], 1, "expected a header"),
        (["item_id:token\titem_emb:float", "a\t1"], 1, "expected a header"),
        (["item_id:token\tx:float_seq\ty:float_seq", "a\t1\t2"], 1, "expected a header"),
        ([HEADER, "a\t1 2", "b\t3 four"], 3, "'four' is not a plain decimal number"),
        ([HEADER, "a\t1,2", "b\t3,4"], 2, "'1,2' is not a plain decimal number"),
        ([HEADER, "a\t1\t2", "b\t3\t4"], None, None),  # a tab parts numbers too
        ([HEADER, "a\t1 2", "b\t3"], 3, "expected 2 finite numbers as in the first line, got 1"),
        ([HEADER, "a\t1 2", "b\t3 4 5"], 3, "expected 2 finite numbers .*, got 3"),
        ([HEADER, "a\t1 2", "other\t3", "b\t3 4"], 3, "expected 2 finite numbers .*, got 1"),
        ([HEADER, "a\t1 2", "b"], 3, "expected 2 finite numbers .*, got 0"),
        ([HEADER, "a\t1 2", "", "b\t3 4"], 3, "expected 2 finite numbers .*, got 0"),
        ([HEADER, "a\t", "b\t1"], 2, "expected some finite numbers .*, got 0"),
        ([HEADER, "a\t1 2", "b\tnan 4"], 3, "'nan' is not a plain decimal number"),
        ([HEADER, "a\tinf 2", "b\t3 4"], 2, "'inf' is not a plain"),
        ([HEADER, "a\t1e400 2", "b\t3 4"], 2, "expected 2 finite numbers .* not all finite"),
        ([HEADER, "a\t1_0 2", "b\t3 4"], 2, "'1_0' is not a plain"),
        ([HEADER, "a\t\uff15 2", "b\t3 4"], 2, "'\uff15' is not a plain"),
        ([HEADER, "a\t0x1 2", "b\t3 4"], 2, "'0x1' is not a plain"),
        ([HEADER, "a\t1\u30002 5", "b\t3 4"], 2, "'1.*2' is not a plain"),
        ([HEADER, "a\t1-2 5", "b\t3 4"], 2, "'1-2' is not a plain"),
        ([HEADER, "a\t1 2", "b\0\t3 4"], 3, "holds the control character"),
        ([HEADER, "a\t1 2", "b\t3 4\u2028"], 3, "holds the control character"),
        ([HEADER, "a\t1 2", "b\t3 " + "4" * (1 << 20)], 3, "is longer than 1,048,576 characters"),
        (["\ufeff" + HEADER, "a\t1. +2", "", "b\t-.3 4E0"][::1][:2] + ["b\t.3 4E0"], None, None),
        ([HEADER, "a\t1 2", "b\t3 4", "a\t1 2"], 4, "item 'a' has a vector already"),
        ([HEADER, "s\t1 2", "s\t1 2", "a\t1 2", "b\t3 4"], None, None),  # no item of the data
    ],
)
def test_what_cannot_be_read_is_refused_with_file_and_line(folders, lines, number, message):
    path = write(folders[0] / "v", *lines)
    data = items(folders[0], "a", "b")
    if message is None:  # the control
        assert read_item_embeddings("v", data).shape == (2, 2)
        return
    with pytest.raises(DataError, match=f"^{path} line {number}: {message}"):
        read_item_embeddings("v", data)


@pytest.mark.parametrize(
    "known, message",
    [
        ([], "no vector for 7 of 7 items: i0, i1, i2, i3, i4, ...$"),
        (["i3"], "no vector for 6 of 7 items: i0, i1, i2, i4, i5, ...$"),
        (["i0", "i6"], "no vector for 5 of 7 items: i1, i2, i3, i4, i5$"),
        (["i0", "i1", "i2", "i3", "i4", "i5"], "no vector for 1 of 7 items: i6$"),
    ],
)
def test_items_without_a_vector_are_named(folders, known, message):
    data = items(folders[0], *(f"i{item}" for item in range(7)))
    path = write(folders[0] / "v", HEADER, *(f"{token}\t0 0" for token in known))
    with pytest.raises(DataError, match=f"^{path} has {message}"):
        read_item_embeddings("v", data)
    write(path, HEADER, *(f"i{item}\t0 0" for item in range(7)))  # the control, of zeros too
    assert not read_item_embeddings("v", data).any()


def test_a_file_in_another_encoding_is_refused(folders):
    data = items(folders[0], "ä")
    path = folders[0] / "v"
    for encoding in ("utf-8", "latin-1"):
        path.write_bytes(f"{HEADER}\nä\t1 2\n".encode(encoding))
        if encoding == "utf-8":  # the control
            assert read_item_embeddings("v", data).tolist() == [[1, 2]]
            continue
        with pytest.raises(DataError, match=f"^{path} line 2: is not utf-8 text"):
            read_item_embeddings("v", data)
