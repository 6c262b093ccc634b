"""What rankings owe to items that training never saw."""

import pytest
import torch
from recbole.evaluator import Evaluator
from recbole.evaluator.collector import DataStruct
from recbole.model.general_recommender import Pop

from recbole_diffusion.config.config import Config
from recbole_diffusion.evaluator.never_trained import NeverTrainedAudit


def audit_of(scores, positives, trained, topk=(1, 3), batches=2, **settings):
    """Ranks by an audit in batches; gives its report and the scores it ranks by."""
    settings = {"topk": list(topk), "metrics": ["Hit", "NDCG"], "use_gpu": False} | settings
    settings["valid_metric"] = f"Hit@{topk[0]}"
    config = Config("Pop", "tiny", config_dict=settings)
    audit = NeverTrainedAudit(config, trained)
    ranked = []
    for part, items in zip(scores.chunk(batches), positives.chunk(batches)):
        ranked.append(audit.collect(part.clone(), None, torch.arange(len(part)), items))
    return audit.report(DataStruct(), Evaluator(config)), torch.cat(ranked)


def naive(scores, positives, trained, k):
    """Shares of slots and of hits on never-trained items, and HR@k without them, by loops."""
    slots = hits = on_never = hits_on_never = left = 0
    for row, positive in zip(scores.tolist(), positives.tolist()):
        order = sorted(range(len(row)), key=lambda item: -row[item])
        for item in order[:k]:
            slots += 1
            hits += item == positive
            on_never += not trained[item]
            hits_on_never += item == positive and not trained[item]
        left += positive in [item for item in order if trained[item]][:k]
    return on_never / slots, hits_on_never / hits if hits else 0.0, left / len(scores)


def test_a_hand_made_ranking():
    trained = torch.tensor([False, True, True, False, True])
    scores = torch.tensor([[0, 4, 3, 5, 1], [0, 9, 2, 3, 1.0]])  # item 3 was never trained
    scores[:, 0] = -torch.inf
    report, ranked = audit_of(scores, torch.tensor([3, 2]), trained)
    assert report["items"] == 1
    # row 0 ranks 3, 1, 2 with its positive 3 first; row 1 ranks 1, 3, 2 with its positive 2 third
    assert report["slots@1"] == 1 / 2 and report["slots@3"] == 2 / 6
    assert report["hits@1"] == 1 / 1 and report["hits@3"] == 1 / 2
    # without item 3: row 0 loses its positive, row 1 has it second
    assert report["barred"] == {
        "hit@1": 0.0, "hit@3": 0.5, "ndcg@1": 0.0, "ndcg@3": pytest.approx(0.5 * 0.63093, abs=1e-6),
    }  # fmt: skip
    assert torch.equal(ranked, scores)


@pytest.mark.parametrize("batches", [1, 7])
def test_shares_and_barred_metrics_equal_a_naive_count(batches):
    generator = torch.Generator().manual_seed(3)
    scores = torch.rand(60, 30, generator=generator)
    scores[:, 0] = -torch.inf
    positives = torch.randint(1, 30, (60,), generator=generator)
    trained = torch.rand(30, generator=generator) < 0.6
    trained[0] = False
    report, _ = audit_of(scores, positives, trained, topk=(1, 5, 10), batches=batches)
    allowed = trained.clone()
    allowed[0] = False
    for k in (1, 5, 10):
        slots, hits, left = naive(scores, positives, allowed.tolist(), k)
        assert report[f"slots@{k}"] == pytest.approx(slots)
        assert report[f"hits@{k}"] == pytest.approx(hits)
        assert report["barred"][f"hit@{k}"] == pytest.approx(left, abs=1e-6)
    assert report["items"] == int((~trained[1:]).sum())


def test_with_trained_candidates_the_ranking_itself_has_no_other_item():
    trained = torch.tensor([False, True, True, False, True])
    scores = torch.tensor([[-torch.inf, 4, 3, 5, 1]])
    report, ranked = audit_of(scores, torch.tensor([3]), trained, candidates="trained", batches=1)
    assert ranked[0, 3] == -torch.inf and ranked[0].argmax() == 1
    assert "slots@1" not in report and report["barred"]["hit@3"] == 0


def test_most_hits_on_never_trained_items_is_a_warning(caplog):
    trained = torch.ones(6, dtype=torch.bool)
    trained[4:] = False
    scores = torch.tensor([[-torch.inf, 1, 2, 3, 4, 5]])
    audit_of(scores.repeat(3, 1), torch.tensor([4, 5, 3]), trained)
    assert "67% of the hits at 3 are items that training never saw" in caplog.text
    caplog.clear()
    audit_of(scores.repeat(2, 1), torch.tensor([4, 3]), trained)  # half is not most
    assert "never saw" not in caplog.text


def test_nothing_is_said_where_nothing_is_known_or_every_item_was_trained():
    scores, positives = torch.rand(4, 5), torch.tensor([1, 2, 3, 4])
    assert audit_of(scores, positives, None)[0] is None
    trained = torch.tensor([False, True, True, True, True])
    assert audit_of(scores, positives, trained)[0] == {"items": 0}


# ---------------------------------------------------------------- in a run
@pytest.fixture
def surprising(shop, write_inter):
    """Rewrites the shop's data so that every last purchase is of an item nobody had before."""
    # the new items stand first in the file and so have the ids 1, 2 and 3
    rows = [(f"u{user}", f"new{user % 3}", "buy", 6) for user in range(30)]
    for user in range(30):
        for time in range(6):
            rows.append((f"u{user}", f"i{(user + time) % 20}", "buy", time))
    write_inter(shop / "dataset", "shop", rows)


@pytest.mark.parametrize("model", ["ICDDT", "SASRec", "Pop", "MultiVAE", "MarkovChain"])
def test_every_model_is_audited_against_what_its_training_saw(model, surprising, run):
    report = run(model, topk=[5, 10], epochs=1, valid_metric="Hit@5")["never_trained_items"]
    assert report["items"] == 3
    assert set(report) == {"items", "slots@5", "hits@5", "slots@10", "hits@10", "barred"}
    assert report["hits@10"] in (0.0, 1.0)  # no other item can be hit
    assert report["barred"]["hit@10"] == 0


def test_hits_that_only_never_trained_items_bring_are_found(surprising, run, caplog, monkeypatch):
    """A model that puts new items first hits always, and never without them."""

    def new_first(self, interaction):
        return -torch.arange(self.n_items).float().repeat(len(interaction), 1)

    monkeypatch.setattr(Pop, "full_sort_predict", new_first)
    settings = {"topk": [3], "valid_metric": "Hit@3"}
    result = run("Pop", **settings)
    assert result["test_result"]["hit@3"] == 1.0
    assert result["never_trained_items"]["hits@3"] == 1.0
    assert result["never_trained_items"]["slots@3"] == 1.0
    assert result["never_trained_items"]["barred"]["hit@3"] == 0.0
    assert "100% of the hits at 3" in caplog.text
    result = run("Pop", candidates="trained", **settings)
    assert result["test_result"]["hit@3"] == 0.0


def test_sampled_candidates_are_not_audited(surprising, run):
    split = {"split": {"LS": "valid_and_test"}, "order": "TO"}
    mixed = split | {"mode": {"valid": "uni5", "test": "full"}}
    plain = {"BEHAVIOR_FIELD": None, "target_behavior": None}
    result = run("BPR", eval_args=mixed, **plain)
    assert result["best_valid_result"] is not None
    assert result["never_trained_items"]["items"] == 3
    sampled = split | {"mode": {"valid": "uni5", "test": "uni5"}}
    assert run("BPR", eval_args=sampled, **plain)["never_trained_items"] is None
