"""What is kept of a batch of scores is what RecBole's collector keeps."""

import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.evaluator import Collector

from recbole_diffusion.config.config import Config
from recbole_diffusion.evaluator import top_items as module
from recbole_diffusion.evaluator.top_items import TopCollector, hits, top_items

B, N = 9, 50


def made_up():
    """Scores with ties, and positives of which one is told twice."""
    torch.manual_seed(0)
    scores = torch.randn(B, N).mul(4).round()
    scores[:, 0] = -torch.inf
    user = torch.arange(B).repeat_interleave(3)
    item = torch.randint(1, N, (len(user),))
    item[1] = item[0]
    return scores, user, item


@pytest.mark.parametrize("metrics", [["Hit", "NDCG"], ["ItemCoverage"], ["Hit", "GAUC"], ["GAUC"]])
@pytest.mark.parametrize("held", [1, 3 * N, 1 << 22])
def test_what_is_kept_is_what_recbole_keeps(metrics, held, monkeypatch):
    monkeypatch.setattr(module, "HELD", held)
    settings = {"metrics": metrics, "topk": [3, 7], "use_gpu": False}
    settings["valid_metric"] = f"{metrics[0]}@3" if metrics[0] != "GAUC" else "GAUC"
    config = Config("Pop", "tiny", config_dict=settings)
    scores, user, item = made_up()
    barred = torch.rand(N) < 0.4
    kept = {}
    for which in (None, barred):
        theirs, ours = Collector(config), TopCollector(config)
        seen = scores if which is None else scores.masked_fill(which, -torch.inf)
        theirs.eval_batch_collect(seen.clone(), Interaction({}), user, item)
        ours.eval_batch_collect(scores, Interaction({}), user, item, which)
        theirs, ours = theirs.get_data_struct(), ours.get_data_struct()
        keys = [key for key in ("rec.items", "rec.topk", "rec.meanrank") if key in theirs]
        assert keys
        for key in keys:
            assert torch.equal(ours[key], theirs[key]), key
        kept[which is None] = [theirs[key] for key in keys]
    # control: what is barred matters
    assert any(not torch.equal(*pair) for pair in zip(*kept.values()))
    assert torch.equal(scores, made_up()[0])


def test_a_positive_counts_once_in_its_own_row():
    top = torch.tensor([[4, 1], [4, 2]])
    found, count = hits(top, torch.tensor([0, 0, 1, 1]), torch.tensor([4, 4, 1, 9]), 10)
    assert found.tolist() == [[True, False], [False, False]] and count.tolist() == [1, 2]
    assert top_items(
        torch.tensor([[0.0, 3, 2]]), 2, torch.tensor([False, True, False])
    ).tolist() == [[2, 0]]
