"""DiffRec: the authors' split is kept row for row, their embeddings bit for bit."""

import diffrec
import numpy as np
import pytest

from recbole_diffusion.data.loading import POSITION

LISTS = {
    "train": [[1, 0], [0, 3], [0, 1], [1, 3], [0, 2]],
    "valid": [[1, 2], [0, 0]],
    "test": [[0, 4], [1, 1], [2, 5], [0, 2]],
}
EMBEDDINGS = np.arange(12, dtype=np.float32).reshape(6, 2) / 7
DATA_SETS = ("ml-1m-diffrec", "yelp-diffrec", "amazon-book-diffrec")


def write(folder, embeddings=EMBEDDINGS, **changed):
    folder.mkdir(exist_ok=True)
    for part, pairs in LISTS.items():
        np.save(folder / f"{part}_list.npy", np.array(changed.get(part, pairs)))
    if embeddings is not None:
        np.save(folder / "item_emb.npy", embeddings)
    return folder


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read_embeddings(rows, path):
    """The tokens, and the numbers as RecBole reads them."""
    table = rows(path)[1:]
    numbers = [list(map(float, text.split(" "))) for _, text in table]
    return [token for token, _ in table], np.array(numbers).astype(np.float32)


def test_rows_stay_in_file_order_and_time_runs_on_from_train_through_valid_to_test(tmp_path, rows):
    out = tmp_path / "mine"
    diffrec.convert(write(tmp_path / "raw"), out)
    header = ("user_id:token", "item_id:token", "timestamp:float")
    assert rows(out / "mine.train.inter") == [
        header,
        ("1", "0", "0"),
        ("0", "3", "0"),
        ("0", "1", "1"),
        ("1", "3", "1"),
        ("0", "2", "2"),
    ]
    assert rows(out / "mine.valid.inter") == [header, ("1", "2", "2"), ("0", "0", "3")]
    assert rows(out / "mine.test.inter") == [
        header,
        ("0", "4", "4"),
        ("1", "1", "3"),
        ("2", "5", "0"),
        ("0", "2", "5"),
    ]


def test_embeddings_come_back_bit_for_bit(tmp_path, rows):
    bits = np.random.default_rng(0).integers(0, 1 << 32, 4000, dtype=np.uint32)
    table = bits.view(np.float32)
    table = table[np.isfinite(table)]
    edges = np.finfo(np.float32)
    table[:7] = [edges.max, edges.min, edges.tiny, edges.smallest_subnormal, -0.0, 0.1, 16777215]
    table = table[:3900].reshape(-1, 3)
    shorter = np.array([[float(f"{x:.8g}") for x in row] for row in table.tolist()], np.float32)
    assert (shorter != table).any()  # control: one digit fewer would not do
    diffrec.convert(write(tmp_path / "raw", table), tmp_path / "mine")
    tokens, numbers = read_embeddings(rows, tmp_path / "mine" / "mine.itememb")
    assert rows(tmp_path / "mine" / "mine.itememb")[0] == ("item_id:token", "item_emb:float_seq")
    assert tokens == [str(i) for i in range(len(table))]
    assert np.array_equal(numbers.view(np.uint32), table.view(np.uint32))


def test_embeddings_of_another_width_are_written_as_float32(tmp_path, rows):
    for dtype in (np.float16, np.float64):
        table = EMBEDDINGS.astype(dtype) / 3
        diffrec.convert(write(tmp_path / "raw", table), tmp_path / "mine")
        _, numbers = read_embeddings(rows, tmp_path / "mine" / "mine.itememb")
        assert np.array_equal(numbers, table.astype(np.float32))


def test_without_embeddings_none_are_written_and_those_there_stay(tmp_path):
    raw, out = write(tmp_path / "raw", embeddings=None), tmp_path / "mine"
    diffrec.convert(raw, out)
    files = {f"mine.{part}.inter" for part in LISTS}
    assert set(content(out)) == files
    (out / "mine.itememb").write_text("own")
    diffrec.convert(raw, out)
    assert (out / "mine.itememb").read_text() == "own"
    diffrec.convert(write(raw), out)
    assert set(content(out)) == files | {"mine.itememb"}
    assert (out / "mine.itememb").read_text() != "own"  # control


def test_the_type_of_the_integers_and_a_second_run_change_no_byte(tmp_path):
    outputs = []
    for dtype in ("<i4", "<i8", ">i8", "u1", "<i8"):
        lists = {part: np.asfortranarray(pairs, dtype) for part, pairs in LISTS.items()}
        diffrec.convert(write(tmp_path / "raw", **lists), tmp_path / "mine")
        outputs.append(content(tmp_path / "mine"))
    assert all(output == outputs[0] for output in outputs)
    diffrec.convert(write(tmp_path / "raw", train=LISTS["train"][::-1]), tmp_path / "mine")
    assert content(tmp_path / "mine") != outputs[0]  # control


@pytest.mark.parametrize("part", LISTS)
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (np.zeros((4, 3), int), "must have the shape [n, 2], and has [4, 3]"),
        (np.zeros(4, int), "must have the shape [n, 2], and has [4]"),
        (np.zeros((2, 2, 2), int), "must have the shape [n, 2], and has [2, 2, 2]"),
        (np.zeros((0, 2), int), "holds no interactions"),
        (np.zeros((4, 2)), "must hold whole numbers, and holds float64"),
        (np.zeros((4, 2), bool), "must hold whole numbers, and holds bool"),
        (np.full((4, 2), "1"), "must hold whole numbers, and holds <U1"),
        (np.array([[0, 1], [0, -2], [-1, 0]]), "[1]: item -2 is negative"),
        (np.array([[0, 1], [-1, 0]]), "[1]: user -1 is negative"),
        (np.array([[0, None]]), "Python objects in dtype"),
    ],
)
def test_a_malformed_list_is_refused_by_its_name(tmp_path, refused, part, bad, reason):
    raw = write(tmp_path / "raw")
    np.save(raw / f"{part}_list.npy", bad)
    message = refused(diffrec.main, "--input", raw, "--output", tmp_path / "out")
    assert message.startswith(f"error: {raw / part}_list.npy")
    assert reason in message
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (EMBEDDINGS[:5], ": has 5 rows for 6 items"),
        (EMBEDDINGS[:, 0], ": must have the shape [items, d], and has [6]"),
        (EMBEDDINGS[:, :0], ": must have the shape [items, d], and has [6, 0]"),
        (np.zeros((6, 2), int), ": must hold floats, and holds int64"),
    ]
    + [
        (np.where(EMBEDDINGS > 1.3, value, EMBEDDINGS), "[5]: is not finite in float32")
        for value in (np.nan, -np.inf, 1e39)
    ],
)
def test_malformed_embeddings_are_refused(tmp_path, refused, bad, reason):
    raw = write(tmp_path / "raw", bad)
    message = refused(diffrec.main, "--input", raw, "--output", tmp_path / "out")
    assert message == f"error: {raw / 'item_emb.npy'}{reason}"
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: b"no array",
        lambda whole: whole[:40],
        lambda whole: whole[:-8],
        lambda whole: whole.replace(b"(5, 2)", b"(5, 2"),
        lambda whole: whole.replace(b"(5, 2), } ", b"(1" + b"0" * 15 + b", 2)}").ljust(len(whole)),
        lambda whole: b"PK\x03\x04" + whole,
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, refused, damage):
    raw = write(tmp_path / "raw")
    path = raw / "train_list.npy"
    path.write_bytes(damage(path.read_bytes()))
    message = refused(diffrec.main, "--input", raw, "--output", tmp_path / "out")
    assert message.startswith(f"error: {path}: cannot be ")
    assert not (tmp_path / "out").exists()


def test_an_archive_of_arrays_and_a_file_for_a_folder_are_refused(tmp_path, refused):
    raw = write(tmp_path / "raw")
    np.savez(raw / "several.npz", **LISTS)
    (raw / "several.npz").rename(raw / "test_list.npy")
    message = refused(diffrec.main, "--input", raw, "--output", tmp_path / "out")
    assert message.startswith(f"error: {raw / 'test_list.npy'}: must be one array")
    message = refused(diffrec.main, "--input", raw / "train_list.npy", "--output", tmp_path / "out")
    assert str(raw / "train_list.npy") in message


def test_only_the_split_with_known_counts_is_compared(tmp_path, capsys):
    raw = write(tmp_path / "raw")
    diffrec.convert(raw, tmp_path / "yelp-diffrec")
    said = capsys.readouterr().out
    assert "together: 3 users, 6 items, 11 interactions\n" in said
    assert "item embeddings: 6 rows, 2 numbers in each\n" in said
    assert "must hold" not in said
    diffrec.convert(raw, tmp_path / "ml-1m-diffrec")
    assert "these counts differ in users, items, interactions, train" in capsys.readouterr().out


@pytest.fixture(scope="module")
def real(shared_path, tmp_path_factory):
    """Returns the authors' folder of ml-1m and the folder of the data set made of it."""
    raw = shared_path("data/ml-1m-diffrec")
    output = tmp_path_factory.mktemp("prepared") / "ml-1m-diffrec"
    diffrec.convert(raw, output)
    return raw, output


@pytest.mark.slow
def test_the_real_split_has_its_known_counts_and_loses_nothing(real, tmp_path, rows, capsys):
    raw, _ = real
    out = tmp_path / "ml-1m-diffrec"
    assert diffrec.main(["--input", str(raw), "--output", str(out)]) == 0
    said = capsys.readouterr().out
    assert "together: 5,949 users, 2,810 items, 571,531 interactions" in said
    assert "these counts match" in said
    seen = {}
    for part in LISTS:
        written = np.array(rows(out / f"ml-1m-diffrec.{part}.inter")[1:], dtype=np.int64)
        assert np.array_equal(written[:, :2], np.load(raw / f"{part}_list.npy"))
        for user, _, time in written.tolist():
            assert time == seen.get(user, 0)
            seen[user] = time + 1
    tokens, numbers = read_embeddings(rows, out / "ml-1m-diffrec.itememb")
    assert tokens == [str(i) for i in range(2810)]
    assert np.array_equal(numbers, np.load(raw / "item_emb.npy"))


@pytest.mark.slow
def test_the_package_loads_the_real_split_whole_and_in_the_order_of_its_lists(real, build_data):
    raw, out = real
    _, data, loaders = build_data(out.parent, "MultiVAE", "ml-1m-diffrec")
    assert [len(loader._dataset) for loader in loaders] == [403_277, 110_722, 57_532]
    assert (data.user_num, data.item_num) == (5_949 + 1, 2_810 + 1)
    for part, loader in zip(LISTS, loaders):
        feat = loader._dataset.inter_feat
        ids = [data.id2token(name, feat[name].numpy()) for name in ("user_id", "item_id")]
        loaded = np.array(ids, dtype=np.int64).T
        pairs = np.load(raw / f"{part}_list.npy")
        by_item = pairs[np.lexsort(pairs.T[::-1])]
        if part == "train":
            loaded = loaded[np.lexsort((feat[POSITION].numpy(), loaded[:, 0]))]
            in_order = pairs[np.argsort(pairs[:, 0], kind="stable")]
            assert np.array_equal(loaded, in_order)
            assert not np.array_equal(in_order, by_item)  # control: time is not the item's number
        assert np.array_equal(loaded[np.lexsort(loaded.T[::-1])], by_item)
