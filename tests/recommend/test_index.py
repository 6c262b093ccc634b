"""Search in blocks is the search of everything; an index finds nearly all, and never too few."""

import sys

import pandas as pd
import pytest
import torch

import recbole_diffusion
from recbole_diffusion.cli.main import main
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.quick_start import run_recbole_diffusion
from recbole_diffusion.recommend import index, recommender
from recbole_diffusion.recommend.index import Blocks, Nearest, best, recall, search_in_batches


@pytest.fixture
def faiss():
    return pytest.importorskip("faiss", reason="the extra ann is not installed")


def points(n=4000, size=64, users=64):
    """Items of many lengths, and users, anywhere: nothing tells where the best items lie."""
    draw = torch.manual_seed(0)
    items = torch.randn(n, size, generator=draw)
    items *= torch.exp(0.3 * torch.randn(n, 1, generator=draw))
    items[0] = 0
    candidate = torch.ones(n, dtype=torch.bool)
    candidate[0] = False
    return items, torch.randn(users, size, generator=draw), candidate


def whole(vectors, items, candidate, k, seen=None):
    """The lists by one stable sort of all scores."""
    scores = vectors @ items.T
    scores[:, ~candidate] = -torch.inf
    if seen is not None:
        scores[seen] = -torch.inf
    score, item = scores.sort(dim=1, descending=True, stable=True)
    return score[:, :k], item[:, :k]


@pytest.mark.parametrize("k", [1, 7, 30])
def test_of_equal_scores_those_of_lower_columns_are_best(k):
    scores = torch.randint(4, (50, 30), generator=torch.manual_seed(0)).float()
    scores[torch.rand(50, 30) < 0.1] = -torch.inf
    expected = scores.sort(dim=1, descending=True, stable=True)
    score, column = best(scores, k)
    assert torch.equal(score, expected.values[:, :k])
    there = score > -torch.inf
    assert torch.equal(column[there], expected.indices[:, :k][there])
    assert not torch.equal(torch.topk(scores, 7).indices, expected.indices[:, :7])  # the control


@pytest.mark.parametrize("held", [1, 500, 4000])
def test_blocks_find_what_one_sort_of_all_scores_finds(monkeypatch, held):
    monkeypatch.setattr(index, "SCORES", held)
    draw = torch.manual_seed(0)
    items = torch.randint(-2, 3, (301, 4), generator=draw).float()  # whole numbers: many ties
    vectors = torch.randint(-2, 3, (20, 4), generator=draw).float()
    candidate = torch.rand(301, generator=draw) < 0.8
    seen = torch.nonzero(torch.rand(20, 301, generator=draw) < 0.3, as_tuple=True)
    for own in (None, seen):
        found = Blocks(items, candidate).search(vectors, 15, own)
        expected = whole(vectors, items, candidate, 15, own)
        assert all(torch.equal(one, other) for one, other in zip(found, expected))


def test_a_broad_search_finds_nearly_all_and_a_narrow_one_says_how_much_it_missed(faiss):
    items, vectors, candidate = points()
    exact = Blocks(items, candidate).search(vectors, 10)
    nearest, shares = Nearest(items, candidate), []
    for nearest.breadth in (10, 80, 4000):
        found = nearest.search(vectors, 10)
        hits = [len(set(a.tolist()) & set(b.tolist())) for a, b in zip(found[1], exact[1])]
        shares.append(recall(nearest, exact, vectors, 10))
        assert shares[-1] == pytest.approx(sum(hits) / (10 * len(vectors)))
    assert shares[0] < 0.9 < shares[1] <= shares[2]
    assert shares[2] > 0.999
    assert torch.allclose(found[0], (vectors @ items.T).gather(1, found[1]), atol=1e-5)
    assert torch.equal(found[0], found[0].sort(dim=1, descending=True).values)
    nearest.widen(vectors, 10)
    assert index.NARROW <= nearest.breadth < 4000
    assert recall(nearest, exact, vectors, 10) >= index.RECALL


@pytest.mark.parametrize("breadth", [1, 32])
def test_filters_hold_in_an_index_and_no_list_is_too_short(faiss, breadth):
    items, vectors, candidate = points(n=500)
    candidate[100:] = False
    nearest = Nearest(items, candidate)
    nearest.breadth = breadth
    allowed = torch.rand(64, 500, generator=torch.manual_seed(0)) < 0.3
    allowed[0] = False
    allowed[0, 5:9] = True  # fewer than a list has room for
    allowed[1] = False
    allowed[1, 10:100:9] = True  # exactly as many
    seen = torch.nonzero(~allowed, as_tuple=True)
    score, item = nearest.search(vectors, 10, seen)
    may = allowed & candidate
    for row in range(64):
        there = item[row][score[row] > -torch.inf].tolist()
        assert len(there) == len(set(there)) == min(10, int(may[row].sum()))
        assert all(may[row, one] for one in there)
    assert set(item[0, :4].tolist()) == {5, 6, 7, 8}


def test_the_recall_is_that_of_users_who_did_not_set_the_breadth(faiss, monkeypatch):
    items, vectors, candidate = points(users=40)
    nearest, asked = Nearest(items, candidate), []
    monkeypatch.setattr(index, "SAMPLE", 20)
    monkeypatch.setattr(nearest, "widen", lambda vectors, k, seen: asked.append(vectors))
    nearest.breadth = 1
    places = list(torch.arange(40).split(7))
    lists, share = search_in_batches(nearest, vectors, places, 10)
    sample = torch.linspace(0, 39, 20).long()
    assert torch.equal(asked[0], vectors[sample[::2]])
    exact = Blocks(items, candidate).search(vectors[sample[1::2]], 10)
    assert share == recall(nearest, exact, vectors[sample[1::2]], 10) < index.RECALL
    assert torch.equal(torch.cat([place for place, *_ in lists]), torch.arange(40))
    alone = torch.cat([nearest.search(one[None], 10)[1] for one in vectors])
    assert torch.equal(torch.cat([item for *_, item in lists]), alone)


@pytest.fixture
def trained(shop, small):
    """Gives a function from a model to its checkpoint on the shop's data."""

    def train(model):
        settings = small(model, epochs=1)
        return run_recbole_diffusion(model, "shop", config_dict=settings)["checkpoint"]

    return train


HISTORY = pd.DataFrame(
    {
        "user_id": [7, 7, 7, 8, 8, 9],
        "item_id": ["i1", "i2", "i3", "i9", "i4", "new"],
        "behavior": "view",
    }
)


@pytest.mark.parametrize("model", ["SASRec", "DreamRec", "ICDDT", "DimeRec", "BPR"])
def test_lists_are_the_same_in_blocks_and_by_an_index_of_few_items(trained, monkeypatch, model):
    loaded = recbole_diffusion.load(trained(model))
    asked = {"histories": HISTORY.replace({"user_id": {7: "u1", 8: "u2"}}), "deny": ["i5", "i6"]}
    asked |= {"k": 6, "exclude_seen": True, "cold": "pop"}
    plain = loaded.recommend(**asked)
    assert len(plain) == 18
    monkeypatch.setattr(index, "SCORES", 10)
    monkeypatch.setattr(recommender, "LARGE", 5)
    pd.testing.assert_frame_equal(plain, loaded.recommend(**asked), rtol=1e-4, atol=1e-5)
    assert "ann_recall" not in loaded.report
    pytest.importorskip("faiss", reason="the extra ann is not installed")
    by_index = loaded.recommend(**asked, ann=True)
    pd.testing.assert_frame_equal(plain, by_index, rtol=1e-4, atol=1e-5)
    assert loaded.report["ann_recall"] == 1
    del asked["deny"]  # another index, because other items may be found
    assert {"i5", "i6"} & set(loaded.recommend(**asked | {"k": 15}, ann=True)["item_id"])


def test_a_model_without_inner_products_has_no_index(trained, monkeypatch):
    loaded = recbole_diffusion.load(trained("MultiVAE"))
    with pytest.raises(ConfigError, match="MultiVAE does not score by inner products"):
        loaded.recommend(HISTORY, k=3, ann=True)
    plain = loaded.recommend(HISTORY, k=3)
    monkeypatch.setattr(recommender, "LARGE", 5)
    pd.testing.assert_frame_equal(plain, loaded.recommend(HISTORY, k=3))


def test_without_the_library_the_command_says_what_to_install(trained, monkeypatch, capsys):
    file = trained("SASRec")
    HISTORY.to_csv("log.csv", index=False)
    command = ["recommend", f"--checkpoint={file}", "--histories=log.csv", "--output=recs.csv"]
    command += ["-k=3", "--ann"]
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "faiss", None)
        assert main(command) == 2
    assert 'pip install "recbole-diffusion[ann]"' in capsys.readouterr().err
    pytest.importorskip("faiss", reason="the extra ann is not installed")
    assert main(command) == 0
    assert "the index found 1.0000 of exact lists" in capsys.readouterr().out
    assert len(pd.read_csv("recs.csv")) == 6
