"""``SPLIT: sequence``: a whole sequence is train, valid or test, and each of its prefixes a row."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.sampler import RepeatableSampler
from recbole.utils import ModelType

from recbole_diffusion.cli.run import table
from recbole_diffusion.config.config import Config
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.data.choose import get_dataset
from recbole_diffusion.data.lines import DataError
from recbole_diffusion.quick_start.quick_start import run_recbole_diffusion

PARTS = ("train", "valid", "test")
MODELS = ("ICDDT", "SASRec", "GRU4Rec", "MarkovChain", "Pop")
PLAIN = "user_id:token item_id:token timestamp:float"
WHOLE = {"SPLIT": "sequence", "MAX_ITEM_LIST_LENGTH": 4}
FILES = WHOLE | {"benchmark_filename": list(PARTS)}
LAST = {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}
MAY_2015 = 1_430_622_004_384  # a stamp in milliseconds; float32 has one value in 131,072 there


def by_ratio(*shares):
    return {"split": {"RS": list(shares)}, "order": "TO", "mode": "full"}


# ------------------------------------------------------------------ the definition, in plain Python


def draw(sizes, seed=0, n_items=None, stamp=lambda place: place):
    """A log of sequences of the given sizes, in a shuffled order of lines.

    Sequences overlap in time. Without ``n_items`` no item occurs twice, so that an item tells which
    interaction it is of.
    """
    random = np.random.default_rng(seed)
    owners = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    items = np.arange(len(owners)) if n_items is None else random.integers(n_items, size=sum(sizes))
    log = [(f"s{s}", f"i{i}", stamp(place)) for place, (s, i) in enumerate(zip(owners, items))]
    return [log[line] for line in random.permutation(len(log))]


def sequences_of(rows):
    """Each sequence's items in order of time, then line, in order of the sequences' last ones."""
    found = {}
    for sequence, item, _ in sorted(rows, key=lambda row: row[2]):  # stable: ties keep the line
        found[sequence] = [*found.pop(sequence, []), item]  # to the end: its last one is newest
    return found


def cut(rows, sizes):
    """The parts' sequences, ``sizes`` of them."""
    found, parts = iter(sequences_of(rows).items()), []
    for size in sizes:
        parts.append(dict(next(found) for _ in range(size)))
    assert next(found, None) is None
    return parts


def prefixes(sequences, longest=4, first=1):
    """Every row of some sequences: (sequence, items before, item)."""
    return sorted(
        (name, tuple(items[max(k - longest, 0) : k]), items[k])
        for name, items in sequences.items()
        for k in range(first, len(items))
    )


def wanted(model, parts, longest=4):
    """The rows of the three parts; Pop needs no history to count an item."""
    first = 0 if model == "Pop" else 1
    return [prefixes(parts[0], longest, first), *(prefixes(part, longest) for part in parts[1:])]


def in_tokens(part):
    """Rows of a built data set as (sequence, items before, item), sorted."""
    rows = part[np.arange(len(part))].numpy()
    names, items = (part.id2token(field, rows[field]) for field in ("user_id", "item_id"))
    histories = [
        tuple(part.id2token("item_id", window[:length]))
        for window, length in zip(rows["item_id_list"], rows["item_length"])
    ]
    return sorted(zip(names, histories, items))


def rows_of(loaders):
    return [in_tokens(loader._dataset) for loader in loaders]


SIZES = [1, 9, 2, 5, 3, 7, 4, 1, 6, 8, 2, 5, 3, 7, 4, 9, 6, 8, 5, 2]  # 20 sequences, 97 rows


@pytest.fixture
def write_log(tmp_path, write_inter):
    """Gives a function that writes a log as one file and returns its folder."""

    def write(rows, name="tiny", columns=PLAIN):
        write_inter(tmp_path, name, rows, columns)
        return tmp_path

    return write


@pytest.fixture
def write_parts(tmp_path, write_inter):
    """Gives a function that writes three logs as ready-made files and returns their folder."""

    def write(parts, name="tiny", columns=PLAIN):
        for part, rows in zip(PARTS, parts, strict=True):
            write_inter(tmp_path, name, rows, columns, part)
        return tmp_path

    return write


READY = [draw(SIZES[:9], 1), draw(SIZES[9:14], 2), draw(SIZES[14:], 3)]
READY = [  # names are of one file each; items are not
    [(f"{part}-{name}", item, time) for name, item, time in rows]
    for part, rows in zip(PARTS, READY)
]


# ------------------------------------------------------------------ both sources


@pytest.mark.parametrize("model", MODELS)
def test_every_prefix_of_a_sequence_is_a_row_of_its_part(model, write_log, build_data):
    log = draw(SIZES)
    _, data, loaders = build_data(write_log(log), model, **WHOLE)
    parts = cut(log, (16, 2, 2))
    assert rows_of(loaders) == wanted(model, parts)
    report = data.split_report
    for name, part, rows in zip(PARTS, parts, wanted(model, parts)):
        assert report[f"{name}_sequences"] == len(part)
        assert report[f"{name}_rows"] == len(rows) > 5
    assert report["valid_rows_without_history"] == report["test_rows_without_history"] == 2
    # Control: the definition tells one split from another.
    assert wanted(model, parts) != wanted(model, cut(log, (16, 1, 3)))
    assert wanted(model, parts) != wanted(model, parts, longest=5)


@pytest.mark.parametrize("model", MODELS)
def test_ready_made_files_are_the_parts(model, write_parts, build_data):
    _, data, loaders = build_data(write_parts(READY), model, **FILES)
    parts = [sequences_of(rows) for rows in READY]
    assert rows_of(loaders) == wanted(model, parts)
    counts = {name: len(part) for name, part in zip(PARTS, parts)}
    assert counts == {"train": 9, "valid": 5, "test": 6}
    assert {name: data.split_report[f"{name}_sequences"] for name in PARTS} == counts
    missed = [data.split_report[f"{name}_rows_without_history"] for name in PARTS[1:]]
    assert missed == [5, 6]
    # Control: without SPLIT these files give held-out rows no history at all.
    plain = {key: value for key, value in FILES.items() if key != "SPLIT"}
    with pytest.raises(DataError, match="no test rows"):
        build_data(write_parts(READY), "SASRec", **plain)


def test_without_stamps_the_order_is_that_of_the_files(write_parts, build_data):
    parts = [[row[:2] for row in rows] for rows in READY]
    folder = write_parts(parts, columns="user_id:token item_id:token")
    _, _, loaders = build_data(folder, "SASRec", **FILES)
    in_lines = [[(*row, line) for line, row in enumerate(rows)] for rows in parts]
    assert rows_of(loaders) == wanted("SASRec", [sequences_of(rows) for rows in in_lines])
    assert rows_of(loaders) != wanted("SASRec", [sequences_of(rows) for rows in READY])


def test_files_cut_as_the_package_cuts_give_the_same_rows(write_log, write_parts, build_data):
    log = draw(SIZES, n_items=12)
    _, _, ours = build_data(write_log(log, "one"), "SASRec", "one", **WHOLE)

    def of_files(sizes):
        parts = cut(log, sizes)
        folder = write_parts([[row for row in log if row[0] in part] for part in parts])
        return rows_of(build_data(folder, "SASRec", **FILES)[2])

    assert of_files((16, 2, 2)) == rows_of(ours)
    assert of_files((15, 2, 3)) != rows_of(ours)


@pytest.mark.parametrize(
    "shares, sizes",
    [
        (None, (16, 2, 2)),  # 8:1:1
        ((0.8, 0.1, 0.1), (16, 2, 2)),
        ((8, 1, 1), (16, 2, 2)),
        ((0.5, 0.2, 0.3), (10, 4, 6)),
        ((0.5, 0, 0.5), (10, 0, 10)),
        ((0.96, 0.02, 0.02), (18, 1, 1)),  # RecBole gives each part one
    ],
)
@pytest.mark.parametrize("model", ["SASRec", "Pop"])
def test_the_shares_of_the_parts_are_those_of_eval_args(
    model, shares, sizes, write_log, build_data
):
    log = draw(SIZES)
    settings = WHOLE | ({} if shares is None else {"eval_args": by_ratio(*shares)})
    _, data, loaders = build_data(write_log(log), model, **settings)
    assert tuple(data.split_report[f"{name}_sequences"] for name in PARTS) == sizes
    rows = [in_tokens(loader._dataset) if loader else [] for loader in loaders]
    assert rows == wanted(model, cut(log, sizes))


# ------------------------------------------------------------------ order of the sequences


def test_the_sequences_that_end_last_are_held_out(write_log, build_data):
    # "long" begins first and ends last, "new" has the latest beginning of the others.
    spans = {"a": (2, 3), "b": (4, 11), "long": (0, 99), "c": (5, 6), "new": (20, 21)}
    log = [(name, f"{name}{time}", time) for name, span in spans.items() for time in span]
    settings = WHOLE | {"eval_args": by_ratio(0.6, 0.2, 0.2)}
    _, _, (train, valid, test) = build_data(write_log(log), "SASRec", **settings)
    assert in_tokens(test._dataset) == [("long", ("long0",), "long99")]
    assert in_tokens(valid._dataset) == [("new", ("new20",), "new21")]
    assert {row[0] for row in in_tokens(train._dataset)} == {"a", "b", "c"}


def test_sequences_that_end_together_keep_the_order_of_their_last_lines(write_log, build_data):
    # Every sequence ends at 7; "first" has the first line of all and the last line at 7.
    log = [("first", "x", 1), *((f"s{k}", "y", 2) for k in range(9))]
    log += [*((f"s{k}", "z", 7) for k in range(9)), ("first", "z", 7)]
    held_out = {}
    for name, lines in (("tiny", log), ("reversed", log[::-1])):
        _, _, loaders = build_data(write_log(lines, name), "SASRec", name, **WHOLE)
        held_out[name] = [in_tokens(loader._dataset)[0][0] for loader in loaders[1:]]
        assert rows_of(loaders) == wanted("SASRec", cut(lines, (8, 1, 1)))
    assert held_out == {"tiny": ["s8", "first"], "reversed": ["s1", "s0"]}


@pytest.mark.parametrize("stamp", [int, lambda place: MAY_2015 + 1000 * place], ids=["0", "ms"])
def test_where_time_decides_the_order_of_the_lines_does_not_matter(stamp, write_log, build_data):
    log = draw(SIZES, stamp=stamp)
    rows = []
    for seed in range(3):
        lines = [log[line] for line in np.random.default_rng(seed).permutation(len(log))]
        rows.append(rows_of(build_data(write_log(lines), "SASRec", **WHOLE)[2]))
    assert rows[0] == rows[1] == rows[2] == wanted("SASRec", cut(log, (16, 2, 2)))
    tied = [(*row[:2], 0) for row in log]  # the control: where it does not, lines do
    orders = [rows_of(build_data(write_log(x), "SASRec", **WHOLE)[2]) for x in (tied, tied[::-1])]
    assert orders[0] != orders[1]


def test_a_filter_comes_before_the_cut(write_log, build_data):
    log = draw(SIZES)
    settings = WHOLE | {"user_inter_num_interval": "[3,inf)"}  # 15 of the 20
    _, _, loaders = build_data(write_log(log), "SASRec", **settings)
    sizes = Counter(row[0] for row in log)
    kept = [row for row in log if sizes[row[0]] > 2]
    assert rows_of(loaders) == wanted("SASRec", cut(kept, (13, 1, 1)))


# ------------------------------------------------------------------ no leak


def trained_on(loader):
    """All items that training may see: in its batches, its matrix, and its list of them."""
    data, seen = loader._dataset, set()
    for batch in loader:
        for name in ("item_id", "item_id_list"):
            seen |= set(batch[name].flatten().tolist())
    seen |= set(data.inter_matrix().col.tolist())
    return (seen | set(torch.nonzero(data.trained_items()).flatten().tolist())) - {0}


@pytest.mark.parametrize("source", ["one file", "three files"])
@pytest.mark.parametrize("model", MODELS)
def test_nothing_of_a_held_out_sequence_is_seen_in_training(
    model, source, write_log, write_parts, build_data
):
    log = draw(SIZES)  # an item tells which interaction it is of
    parts = cut(log, (16, 2, 2))
    folder = write_log(log)
    if source == "three files":
        write_parts([[row for row in log if row[0] in part] for part in parts])
    settings = WHOLE if source == "one file" else FILES
    config, data, (train, *held_out) = build_data(folder, model, **settings)
    # Sequences of one interaction teach a sequential model nothing.
    least = 1 if model == "Pop" else 2
    usable = {i for items in parts[0].values() if len(items) >= least for i in items}
    assert set(data.id2token("item_id", sorted(trained_on(train)))) == usable
    assert train._dataset.trained_items().sum() == len(usable)
    for loader, part in zip(held_out, parts[1:]):
        shown = {item for _, past, item in in_tokens(loader._dataset) for item in (*past, item)}
        assert shown == {item for items in part.values() for item in items}
        assert not shown & usable
    network = config.model_class(config, train._dataset)
    strange = [data.token2id("item_id", i) for part in parts[1:] for s in part.values() for i in s]
    if model == "MarkovChain":
        assert network.transition[strange].nnz == network.transition[:, strange].nnz == 0
        assert network.popularity[strange].sum() == 0 and network.popularity.sum() == 1
    if model == "Pop":
        for batch in train:
            network.calculate_loss(batch)
        assert network.item_cnt[strange].sum() == 0 and network.item_cnt.sum() == len(usable)


@pytest.mark.parametrize("model, least", [("SASRec", 2), ("Pop", 1)])
def test_the_trained_items_are_those_of_train_sequences_only(model, least, write_log, build_data):
    log = draw(SIZES, n_items=60)  # items occur in several parts
    _, data, (train, *_) = build_data(write_log(log), model, **WHOLE)
    parts = cut(log, (16, 2, 2))
    of_train = {item for s in parts[0].values() if len(s) >= least for item in s}
    trained = np.flatnonzero(train._dataset.trained_items())
    assert set(data.id2token("item_id", trained)) == of_train
    everywhere = {row[1] for row in log}
    held_out = {item for part in parts[1:] for s in part.values() for item in s}
    assert of_train & held_out and everywhere - of_train  # so both kinds are there


# ------------------------------------------------------------------ batches


@pytest.mark.parametrize("model", MODELS)
def test_masking_bars_a_sequences_own_earlier_items_and_never_the_positive(
    model, write_log, build_data
):
    log = draw(SIZES, n_items=9)  # items come again
    folder = write_log(log)
    again = beyond = 0
    settings = WHOLE | {"eval_users_per_batch": 3, "mask_history": True}
    _, data, (_, *held_out) = build_data(folder, model, **settings)
    for loader, part in zip(held_out, cut(log, (16, 2, 2))[1:]):
        found = []
        for rows, (row, item), positive_u, positive_i in loader:
            assert positive_u.tolist() == list(range(len(rows)))
            for place in range(len(rows)):
                target = data.id2token("item_id", positive_i[place].item())
                barred = data.id2token("item_id", item[row == place].numpy())
                found.append((int(rows["user_id"][place]), target, tuple(sorted(set(barred)))))
        expected = []
        for name, items in part.items():
            for k in range(1, len(items)):
                barred = set(items[:k]) - {items[k]}
                expected.append((data.token2id("user_id", name), items[k], tuple(sorted(barred))))
                again += items[k] in items[:k]
                beyond += bool(barred - set(items[max(k - 4, 0) : k]))
        assert sorted(found) == sorted(expected)
    assert again and beyond  # positives seen before, and items older than the window
    _, _, (_, _, test) = build_data(folder, model, **WHOLE)
    assert all(batch[1] is None for batch in test)  # not by default, also not for Pop


@pytest.mark.parametrize("buckets", [True, False])
def test_rows_are_ranked_once_each_in_order_of_length_if_lengths_are_bucketed(
    buckets, write_log, build_data
):
    log = draw(SIZES)
    settings = WHOLE | {"eval_users_per_batch": 3, "length_buckets": buckets}
    settings |= {"train_batch_size": 4, "MAX_ITEM_LIST_LENGTH": 7}
    _, _, (train, valid, test) = build_data(write_log(log), "ICDDT", **settings)
    for loader in (valid, test):
        batches = [rows for rows, *_ in loader]
        lengths = [length for rows in batches for length in rows["item_length"].tolist()]
        assert (lengths == sorted(lengths)) == buckets
        assert len(lengths) == len(loader._dataset)
        for rows in batches:
            assert rows["item_id_list"].shape[1] == rows["item_length"].max()
    cells, every = 0, []
    for rows in train:
        assert rows["item_id_list"].shape[1] == rows["item_length"].max()
        assert torch.equal((rows["item_id_list"] > 0).sum(1), rows["item_length"])
        cells += rows["item_id_list"].numel()
        every += train._dataset.id2token("item_id", rows["item_id"]).tolist()
    assert sorted(every) == sorted(row[2] for row in in_tokens(train._dataset))
    plain = sum(length for length in train._dataset.lengths().tolist())
    assert plain <= cells < (1.4 if buckets else 3) * plain


def test_negative_items_are_drawn_for_models_that_train_with_them(write_log, build_data):
    folder = write_log(draw(SIZES, n_items=30))
    _, _, (train, _, test) = build_data(folder, "SASRec", **WHOLE, loss_type="BPR")
    batch = next(iter(train))
    assert isinstance(train._sampler, RepeatableSampler)
    target, negative = batch["item_id"], batch["neg_item_id"]  # of windows: [B, n], [B, n, 1]
    assert (negative[target > 0] > 0).all() and not (negative[target == 0] > 0).any()
    assert not (negative == target[:, :, None])[target > 0].any()
    assert len(test._dataset) > 5


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    "model, settings, words",
    [
        ("SASRec", {"SPLIT": "user"}, "SPLIT is 'user', it must be sequence or ~"),
        ("SASRec", {"SPLIT": True}, "SPLIT is True, it must be sequence or ~"),
        ("MultiVAE", {}, "models and Pop can do and MultiVAE cannot"),
        ("ItemKNN", {}, "and ItemKNN cannot"),
        ("DiffRec", {}, "and DiffRec cannot"),
        ("LightGCN", FILES, "and LightGCN cannot"),
        ("FEARec", {}, "FEARec needs a data set of its own in RecBole"),
        ("SASRec", {"BEHAVIOR_FIELD": "behavior", "target_behavior": "buy"}, "without behaviours"),
        ("SASRec", {"train_rows": "last"}, "train_rows: last keeps .* use train_rows: all"),
        ("SASRec", {"all_users": True}, "all_users divides by users"),
        ("SASRec", {"eval_args": LAST}, r"by eval_args split: \{RS: .* not by \{'LS': "),
        ("Pop", {"eval_args": LAST}, r"not by \{'LS': 'valid_and_test'\} and order: TO"),
        ("SASRec", {"eval_args": LAST | {"split": {"TS": [0.8, 0.1, 0.1]}}}, r"not by \{'TS'"),
        ("SASRec", {"eval_args": by_ratio(8, 1, 1) | {"order": "RO"}}, "and order: RO"),
        ("SASRec", {"eval_args": by_ratio(0.8, 0.2)}, "RS is three numbers"),
        ("SASRec", {"eval_args": by_ratio(0.8, 0.3, -0.1)}, r"not \[0.8, 0.3, -0.1\]"),
        ("SASRec", {"eval_args": by_ratio(0, 0, 0)}, r"not \[0, 0, 0\]"),
        ("SASRec", {"eval_args": by_ratio("a", "b", "c")}, r"not \['a', 'b', 'c'\]"),
        ("SASRec", {"eval_args": LAST | {"split": {"RS": 0.8}}}, "not 0.8"),
        ("Pop", FILES | {"eval_args": {"mode": "uni100"}}, "each row is ranked by itself"),
    ],
    ids=str,
)
def test_what_contradicts_whole_sequences_is_refused_in_one_sentence(model, settings, words):
    with pytest.raises(ConfigError, match=words) as refusal:
        get_dataset(Config(model, "tiny", config_dict=WHOLE | settings))
    assert ". " not in str(refusal.value)
    Config("SASRec", "tiny", config_dict=WHOLE)  # the control
    Config("SASRec", "tiny", config_dict=FILES | {"eval_args": LAST})  # the files decide


def test_files_that_share_a_sequence_are_refused_with_both_lines(write_parts, build_data):
    parts = [list(rows) for rows in READY]
    parts[2].insert(3, ("valid-s1", "i5", 50))
    line = 2 + [row[0] for row in parts[1]].index("valid-s1")
    words = rf"tiny\.test\.inter line 5: .* of 'valid-s1' began at tiny\.valid\.inter line {line},"
    with pytest.raises(DataError, match=words):
        build_data(write_parts(parts), "SASRec", **FILES)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"benchmark_filename": [*PARTS, "history"]}, "a held-out sequence is its own history"),
        ({"benchmark_filename": ["train", "test"]}, "names train, valid, test"),
        ({"user_inter_num_interval": "[2,inf)"}, "user_inter_num_interval cannot be used"),
        ({"item_inter_num_interval": "[2,inf)"}, "item_inter_num_interval cannot be used"),
        ({"rm_dup_inter": "first"}, "rm_dup_inter cannot be used"),
        ({"val_interval": {"timestamp": "[2,inf)"}}, "val_interval cannot be used"),
    ],
    ids=str,
)
def test_ready_made_files_are_used_as_they_are_or_not_at_all(
    settings, words, write_parts, build_data
):
    with pytest.raises(DataError, match=words):
        build_data(write_parts(READY), "SASRec", **FILES | settings)


def test_a_file_without_times_cannot_be_cut(write_log, build_data):
    rows = [row[:2] for row in draw(SIZES)]
    folder = write_log(rows, columns="user_id:token item_id:token")
    with pytest.raises(DataError, match="column 'timestamp' is not among the loaded columns"):
        build_data(folder, "SASRec", **WHOLE)


@pytest.mark.parametrize("sizes, name", [([3, 3, 1], "test"), ([1, 1, 4], "training")])
def test_parts_of_single_interactions_leave_no_rows(sizes, name, write_log, build_data):
    log = [(f"s{s}", f"i{k}", 10 * s + k) for s, size in enumerate(sizes) for k in range(size)]
    settings = WHOLE | {"eval_args": by_ratio(0.4, 0.3, 0.3)}
    with pytest.raises(DataError, match=f"the split leaves no {name} rows"):
        build_data(write_log(log), "SASRec", **settings)


def test_without_the_key_settings_are_as_before():
    pop = Config("Pop", "tiny")
    assert (pop["MODEL_TYPE"], pop["repeatable"]) == (ModelType.TRADITIONAL, False)
    for config in (Config("SASRec", "tiny"), pop):
        assert config["eval_args"]["split"] == {"LS": "valid_and_test"}
    whole = Config("Pop", "tiny", config_dict=WHOLE)  # the control
    assert (whole["MODEL_TYPE"], whole["repeatable"]) == (ModelType.SEQUENTIAL, True)
    assert whole["eval_args"]["split"] == {"RS": [0.8, 0.1, 0.1]}
    some = Config("SASRec", "tiny", config_dict=WHOLE | {"eval_args": {"split": {"RS": [6, 2, 2]}}})
    assert some["eval_args"] == whole["eval_args"] | {"split": {"RS": [6, 2, 2]}}


# ------------------------------------------------------------------ end to end


def circle(n_sequences=120, n_items=20, follow=0.9, seed=11):
    """Sequences of 2 to 9 items that mostly walk in a circle; item 0 is their favourite."""
    random = np.random.default_rng(seed)
    log = []
    for sequence in range(n_sequences):
        item = random.integers(n_items)
        for _ in range(random.integers(2, 10)):
            log.append((f"s{sequence}", f"i{item}", len(log)))
            jump = 0 if random.random() < 0.5 else random.integers(n_items)
            item = (item + 1) % n_items if random.random() < follow else jump
    return log


SMALL = {
    "SASRec": {"hidden_size": 16, "inner_size": 16, "n_layers": 1, "n_heads": 1, "epochs": 15},
    "GRU4Rec": {"embedding_size": 16, "hidden_size": 16, "epochs": 15},
    "ICDDT": {"hidden_size": 8, "n_layers": 1, "diffusion_steps": 4, "truncation": 1.0}
    | {"epochs": 3},
    "MarkovChain": {"self_weight": 0.0},
    "Pop": {"epochs": 50, "train_batch_size": 1},  # counts exactly, and once whatever is asked
}


@pytest.fixture
def run(tmp_path, write_log, monkeypatch):
    """Gives a function from a model and settings to what a run on the circle gives."""
    monkeypatch.chdir(tmp_path)
    write_log(circle())

    def run(model, **settings):
        quiet = {"data_path": str(tmp_path), "use_gpu": False, "show_progress": False}
        small = {"train_batch_size": 64, "learning_rate": 0.01, "topk": [1, 5]}
        small |= {"valid_metric": "Hit@1", "metrics": ["Hit", "NDCG", "GAUC"]}
        settings = quiet | WHOLE | small | SMALL[model] | settings
        return run_recbole_diffusion(model, "tiny", config_dict=settings)

    return run


@pytest.mark.slow
def test_models_run_end_to_end_on_the_same_rows(run):
    parts = cut(circle(), (96, 12, 12))
    targets = [row[2] for row in prefixes(parts[2])]
    results = {model: run(model) for model in MODELS}
    for model, result in results.items():
        ours, theirs = result["test_result"], result["test_result_all_rows"]
        assert result["split"]["test_rows"] == len(targets)
        assert result["split"]["test_rows_without_history"] == 12
        assert set(theirs) == {name for name in ours if name != "gauc"} != set(ours)
        for name, value in theirs.items():
            share = len(targets) / (len(targets) + 12)
            assert value == pytest.approx(ours[name] * share, abs=1e-9), (model, name)
        for hits in (ours["hit@1"] * len(targets), theirs["hit@1"] * (len(targets) + 12)):
            assert hits == pytest.approx(round(hits), abs=1e-3)
    hit = {model: result["test_result"]["hit@1"] for model, result in results.items()}
    assert hit["MarkovChain"] > 0.75 and min(hit["SASRec"], hit["GRU4Rec"]) > 0.6
    # Pop recommends what train sequences hold most often; as a first item counts too.
    found = []
    for first in (0, 1):
        counts = Counter(item for items in parts[0].values() for item in items[first:])
        favourites = counts.most_common(6)
        assert favourites[4][1] > favourites[5][1] or first, "so its five are known"
        found.append(sum(target in dict(favourites[:5]) for target in targets) / len(targets))
    assert results["Pop"]["test_result"]["hit@5"] == pytest.approx(found[0], abs=1e-6)
    assert found[0] != found[1]  # the control
    assert results["Pop"]["epochs"] == 1
    assert hit["Pop"] < 0.2


def test_the_metrics_without_never_trained_items_are_given_over_all_rows_too(run, write_log):
    log = circle()
    write_log([*log, (log[-1][0], "unseen", len(log))])
    result = run("MarkovChain")
    never = result["never_trained_items"]
    assert never["items"] == 1
    rows = result["split"]["test_rows"]
    for name, value in never["barred_all_rows"].items():
        assert value == pytest.approx(never["barred"][name] * rows / (rows + 12), abs=1e-9)
    assert set(never["barred_all_rows"]) == set(result["test_result_all_rows"])


def test_where_sequences_are_random_nothing_is_learnt(run, write_log):
    """The control: with the walk at random a leak of the targets would be the only way to score."""
    write_log(circle(follow=0.0))
    hit = {model: run(model)["test_result"]["hit@1"] for model in ("MarkovChain", "SASRec")}
    assert max(hit.values()) < 0.62, "half of the steps go to item 0, the others anywhere"


def test_the_result_over_all_rows_is_printed_and_written(run):
    result = run("MarkovChain", result_file="result.json")
    assert json.loads(Path("result.json").read_text()) == result
    lines = table(result).splitlines()
    place = lines.index("divided by all test rows, also those without a history:")
    assert lines[place + 1].split() == ["@1", "@5"]
    assert lines[place + 2].split() == [
        "hit", *(f"{result['test_result_all_rows'][f'hit@{k}']:.4f}" for k in (1, 5))
    ]  # fmt: skip
    assert "divided by all users" not in table(result)


def test_a_split_that_counts_no_rows_without_history_has_no_second_result(run):
    result = run("MarkovChain", SPLIT=None, eval_args=LAST)
    assert result["test_result_all_rows"] is None
    assert "divided" not in table(result)


def test_ready_made_rows_of_other_splits_count_what_has_no_history_too(tmp_path, write_parts, run):
    log = circle()
    known = [row for row in log if int(row[0][1:]) < 90]
    names = {row[0] for row in known}
    last = {row[0]: row for row in log}
    train = [row for row in known if row is not last[row[0]]]
    test = list(last.values())  # 90 with a history in train and 30 without
    write_parts([train, [last[name] for name in names], test])
    files = {"SPLIT": None, "benchmark_filename": list(PARTS), "allow_overlap": True}
    result = run("MarkovChain", **files)
    assert result["split"]["test_rows_without_history"] == 30
    ours, theirs = result["test_result"], result["test_result_all_rows"]
    assert theirs["hit@1"] == pytest.approx(ours["hit@1"] * 0.75, abs=1e-9) and ours["hit@1"] > 0.5
    settings = files | {"eval_args": LAST | {"mode": "uni5"}, "metrics": ["Hit"], "epochs": 1}
    sampled = run("SASRec", **settings)
    assert sampled["test_result_all_rows"] is None  # a user's rows are one list there


# ------------------------------------------------------------------ Zhihu


@pytest.fixture(scope="session")
def zhihu(tmp_path_factory, write_inter, shared_path):
    """Folder with Zhihu as DreamRec's authors cut it, and the sequences of its parts."""
    lines = shared_path("data/zhihu/sequences.txt").read_text().splitlines()
    rows, sequences = {"train": [], "val": [], "test": []}, {"train": {}, "val": {}, "test": {}}
    for number, line in enumerate(lines):
        part, *items = line.split()
        sequences[part][f"s{number}"] = items
        rows[part] += [(f"s{number}", item) for item in items]
    folder, time = tmp_path_factory.mktemp("zhihu"), 0
    for name, part in zip(PARTS, rows.values()):
        stamped = [(*row, time + place) for place, row in enumerate(part)]
        write_inter(folder, "zhihu", stamped, PLAIN, name)
        time += len(part)
    return folder, list(sequences.values())


@pytest.mark.slow
@pytest.mark.parametrize("model", ["SASRec", "Pop"])
def test_zhihu_has_the_published_counts_and_the_rows_of_its_sequences(model, zhihu, build_data):
    folder, parts = zhihu
    settings = FILES | {"MAX_ITEM_LIST_LENGTH": 10}
    _, data, loaders = build_data(folder, model, "zhihu", **settings)
    report = data.split_report
    assert [report[f"{name}_sequences"] for name in PARTS] == [9_371, 1_171, 1_172]
    assert report["test_rows_without_history"] == 1_172
    assert report["test_rows"] == 6_739 == 7_911 - 1_172
    assert data.item_num - 1 == 4_838
    assert int((~loaders[0]._dataset.trained_items()[1:]).sum()) == 87
    assert rows_of(loaders) == wanted(model, parts, longest=10)
