"""Clusters of items: from a file or from LightGCN, the same for the same seed, of training only."""

import random

import numpy as np
import pytest
import torch

from recbole_diffusion.quick_start import item_clusters as clusters
from recbole_diffusion.quick_start.item_clusters import item_clusters, light_gcn_embeddings
from recbole_diffusion.trainer import randomness
from recbole_diffusion.trainer.trainer import TrainerHooks

EPOCHS = 20  # enough for LightGCN to part the two groups
# every user's last two items are held out
HELD_OUT = {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}


def likes(shuffled=False):
    """Rows of 40 users, 20 items: even users like even items, odd users odd ones, 8 of 10 each."""
    draw = random.Random(3)
    items = [2 * i + user % 2 for user in range(40) for i in draw.sample(range(10), 8)]
    if shuffled:
        draw.shuffle(items)
    return [(f"u{row // 8}", f"i{item}", row % 8) for row, item in enumerate(items)]


@pytest.fixture
def prepared(tmp_path, monkeypatch, write_inter, build_data):
    """Gives a function from rows and settings to a configuration and the training data."""
    monkeypatch.chdir(tmp_path)

    def prepare(rows=None, **settings):
        columns = "user_id:token item_id:token timestamp:float"
        write_inter(tmp_path / "dataset", "groups", rows or likes(), columns)
        quiet = {"eval_args": HELD_OUT, "n_cate": 2, "cluster_epochs": 2, "topk": [5]}
        quiet["valid_metric"] = "Recall@5"
        folder = tmp_path / "dataset"
        config, _, (train, _, _) = build_data(folder, "LDiffRec", "groups", **quiet | settings)
        return config, train.dataset

    return prepare


def write_vectors(path, vectors):
    """Writes a file of item vectors, a dict of token to numbers."""
    lines = [f"{token}\t{' '.join(map(str, vector))}\n" for token, vector in vectors.items()]
    path.write_text("item_id:token\titem_emb:float_seq\n" + "".join(lines))


def by_token(dataset, ids):
    """The groups of tokens that are together, whatever the clusters' numbers."""
    tokens = dataset.field2id_token["item_id"][1:]
    groups = [{t for t, c in zip(tokens, ids.tolist()) if c == k} for k in set(ids.tolist())]
    return sorted(map(sorted, groups))


def parted(groups):
    return sorted(sorted(f"i{item}" for item in group) for group in groups)


EVEN_AND_ODD = parted([range(0, 20, 2), range(1, 20, 2)])


# ------------------------------------------------------------------------------------- from a file


def test_a_vector_belongs_to_its_token_wherever_its_line_stands(prepared, tmp_path):
    config, data = prepared(item_embeddings="vectors.txt", n_cate=3)
    place = tmp_path / "dataset" / "groups" / "vectors.txt"
    groups = [range(0, 7), range(7, 9), range(9, 20)]
    vectors = {f"i{i}": [10 * k + i / 100, -k] for k, group in enumerate(groups) for i in group}
    vectors |= {f"unknown{i}": [500 + i, 500] for i in range(5)}  # no item of the data
    order = list(vectors)
    for seed in range(3):
        random.Random(seed).shuffle(order)
        write_vectors(place, {token: vectors[token] for token in order})
        ids = item_clusters(config, data)
        assert ids.shape == (20,) and ids.dtype == torch.long
        assert by_token(data, ids) == parted(groups)
    assert order[:20] != list(data.field2id_token["item_id"][1:])

    write_vectors(place, vectors | {"i8": [20.0, -2]})  # the control: one vector moves
    moved = parted([range(0, 7), [7], range(8, 20)])
    assert by_token(data, item_clusters(config, data)) == moved


def test_vectors_without_groups_are_parted_alike_by_the_same_seed(prepared, tmp_path):
    draw = np.random.default_rng(0)
    vectors = {f"i{i}": draw.normal(size=3) for i in range(20)}
    write_vectors(tmp_path / "vectors.txt", vectors)
    found = {}
    for seed in (1, 2, 3, 4, 2**32 - 1):
        config, data = prepared(item_embeddings="vectors.txt", n_cate=6, seed=seed)
        np.random.seed(4)
        first = item_clusters(config, data)
        np.random.seed(5)
        assert torch.equal(item_clusters(config, data), first)
        assert sorted(set(first.tolist())) == list(range(6))
        found[seed] = first.tolist()
    assert len({tuple(ids) for ids in found.values()}) > 1  # the control


# ------------------------------------------------------------------------------------ from LightGCN


def test_light_gcn_parts_the_items_as_their_users_do(prepared):
    config, data = prepared(cluster_epochs=EPOCHS)
    assert by_token(data, item_clusters(config, data)) == EVEN_AND_ODD
    config, data = prepared(likes(shuffled=True), cluster_epochs=EPOCHS)  # the control
    assert by_token(data, item_clusters(config, data)) != EVEN_AND_ODD


def test_the_same_seed_gives_the_same_embeddings_whatever_was_drawn_before(prepared):
    found = {}
    for seed in (1, 2):
        config, data = prepared(seed=seed)
        torch.manual_seed(4)
        np.random.seed(4)
        random.seed(4)
        found[seed] = light_gcn_embeddings(config, data)
        assert found[seed].shape == (20, 64)
        torch.rand(3), np.random.rand(3), random.random()
        assert np.array_equal(light_gcn_embeddings(config, data), found[seed])
    assert not np.allclose(found[1], found[2])  # the control
    longer = light_gcn_embeddings(*prepared(seed=2, cluster_epochs=3))
    assert not np.allclose(longer, found[2]), "every epoch trains"


def test_the_run_draws_on_as_if_no_items_had_been_clustered(prepared, monkeypatch):
    config, data = prepared()

    def drawn(between):
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        between()
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()

    without = drawn(lambda: None)
    assert drawn(lambda: item_clusters(config, data)) == without
    # the control: the training does draw
    monkeypatch.setattr(randomness, "set_random_states", lambda states: None)
    assert drawn(lambda: item_clusters(config, data)) != without


def test_what_is_held_out_has_no_part_in_the_embeddings(prepared, monkeypatch):
    given = []
    fit = TrainerHooks.fit

    def watched(self, train_data, valid_data=None, **flags):
        pairs = zip(*(train_data.dataset.inter_feat[f].tolist() for f in ("user_id", "item_id")))
        given.append((sorted(pairs), valid_data, flags))
        return fit(self, train_data, valid_data, **flags)

    monkeypatch.setattr(TrainerHooks, "fit", watched)
    # the first two users name all items, so that no id hangs on the others' rows
    rows = likes()
    names = [(f"first{i // 10}", f"i{i}", i % 10) for i in range(20)]
    embeddings = {}
    for change in ("nothing", "held out", "trained"):
        changed = list(rows)
        for row in range(0, len(rows), 8):
            user = rows[row][0]
            last = {"nothing": [], "held out": (6, 7), "trained": (5,)}[change]
            for time in last:
                changed[row + time] = (user, f"i{(row + time) % 20}", time)
        config, data = prepared(names + changed)
        embeddings[change] = light_gcn_embeddings(config, data)
        pairs, valid_data, flags = given[-1]
        own = zip(*(data.inter_feat[f].tolist() for f in ("user_id", "item_id")))
        assert pairs == sorted(own) and len(pairs) == 40 * 6 + 2 * 8
        assert valid_data is None and flags["saved"] is False
    assert given[0][0] == given[1][0]
    assert np.array_equal(embeddings["nothing"], embeddings["held out"])
    assert not np.allclose(embeddings["nothing"], embeddings["trained"])  # the control


def test_light_gcn_has_the_seed_and_the_places_of_the_run_and_settings_of_its_own(
    prepared, monkeypatch
):
    seen = []
    monkeypatch.setattr(TrainerHooks, "fit", lambda self, *_, **__: seen.append(self.config))
    for seed in (1, 2):
        of_the_run = {"learning_rate": 9, "train_batch_size": 7, "epochs": 99, "stopping_step": 1}
        config, data = prepared(seed=seed, checkpoint_dir=f"saved{seed}", **of_the_run)
        item_clusters(config, data)
        own = seen.pop()
        assert own["model"] == "LightGCN" and own["epochs"] == config["cluster_epochs"] == 2
        for key in ("seed", "checkpoint_dir", "device", "show_progress"):
            assert own[key] == config[key], key
        assert own["BEHAVIOR_FIELD"] is None and own["max_train_seconds"] is None
        assert all(own[key] != value for key, value in of_the_run.items())


def test_the_embeddings_leave_no_checkpoint(prepared, tmp_path):
    config, data = prepared()
    item_clusters(config, data)
    assert not list(tmp_path.rglob("*.pth"))


# -------------------------------------------------------------------------------------- no clusters


def test_one_cluster_reads_and_trains_nothing(prepared, monkeypatch):
    for name in ("read_item_embeddings", "light_gcn_embeddings"):
        monkeypatch.setattr(clusters, name, None)
    for settings in ({}, {"item_embeddings": "nowhere"}, {"cluster_epochs": 0}):
        config, data = prepared(**{"n_cate": 1} | settings)
        assert item_clusters(config, data).tolist() == [0] * 20
        with pytest.raises(TypeError, match="not callable"):  # the control
            item_clusters(prepared(**{"n_cate": 2} | settings)[0], data)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"n_cate": 0}, "n_cate is 0, it must be a whole number above 0"),
        ({"n_cate": 21}, r"n_cate is 21; .* in 1..20 \(items\)"),
        ({"n_cate": 2.0}, "n_cate is 2.0, it must be a whole number"),
        ({"n_cate": None}, "n_cate is None, "),
        ({"cluster_epochs": 0}, "cluster_epochs is 0; it must be at least 1"),
        ({"cluster_epochs": 1.5}, "cluster_epochs is 1.5, "),
    ],
)
def test_numbers_that_give_no_clusters_are_refused(prepared, settings, message):
    with pytest.raises(ValueError, match=message):
        item_clusters(*prepared(**settings))
    prepared()  # the control


def test_as_many_clusters_as_items_are_the_items_themselves(prepared, tmp_path):
    config, data = prepared(item_embeddings="vectors.txt", n_cate=20)
    vectors = {f"i{i}": [i * i] for i in range(20)}
    write_vectors(tmp_path / "dataset" / "groups" / "vectors.txt", vectors)
    assert sorted(item_clusters(config, data).tolist()) == list(range(20))


@pytest.mark.parametrize("kinds, n_cate", [(1, 2), (2, 3)])
@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_fewer_different_vectors_than_clusters_are_refused(prepared, tmp_path, kinds, n_cate):
    config, data = prepared(item_embeddings="vectors.txt", n_cate=n_cate)
    vectors = {f"i{i}": [i % kinds] for i in range(20)}
    write_vectors(tmp_path / "dataset" / "groups" / "vectors.txt", vectors)
    with pytest.raises(ValueError, match=f"n_cate is {n_cate}, but the .* vectors form {kinds}"):
        item_clusters(config, data)
    item_clusters(prepared(item_embeddings="vectors.txt", n_cate=kinds)[0], data)  # the control
