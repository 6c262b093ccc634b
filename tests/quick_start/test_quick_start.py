"""One run from settings to test metrics."""

import json
import resource
from pathlib import Path
from types import SimpleNamespace

import pytest
from recbole.model.sequential_recommender import SASRec as HostSASRec

from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.data.lines import DataError
from recbole_diffusion.model.sequential_recommender.sasrec import SASRec
from recbole_diffusion.quick_start import quick_start
from recbole_diffusion.quick_start.quick_start import run_recbole_diffusion

PROMISED = {
    "model", "dataset", "seed", "config", "best_epoch", "epochs", "best_valid_result",
    "test_result", "train_seconds", "eval_seconds", "peak_memory_mb", "parameters",
}  # fmt: skip


@pytest.mark.parametrize("model", ["ICDDT", "MultiVAE"])
def test_the_result_file_holds_what_is_returned(model, run):
    result = run(model, result_file="deep/down/result.json")
    with open("deep/down/result.json", encoding="utf-8") as file:
        assert json.load(file) == result
    assert set(result) >= PROMISED
    assert (result["model"], result["dataset"], result["seed"]) == (model, "shop", 2020)
    assert result["config"]["epochs"] == 2 and result["config"]["topk"] == [5, 10, 20]
    assert set(result["test_result"]) == set(result["best_valid_result"])
    assert result["parameters"] > 0 and result["peak_memory_mb"] > 10
    assert 1 <= result["best_epoch"] <= result["epochs"] == 2
    assert Path(result["checkpoint"]).is_file()
    assert not list(Path("deep").rglob("*.writing"))


def test_the_peak_of_memory_is_not_that_of_the_process_that_started_this_one(run, monkeypatch):
    if not Path("/proc/self/status").is_file():
        pytest.skip("there is no other count on this system")
    # As Linux gives it to a child of a process that used 3 TiB.
    inherited = SimpleNamespace(ru_maxrss=3 * 2**30)
    monkeypatch.setattr(resource, "getrusage", lambda who: inherited)
    peak = run("Pop")["peak_memory_mb"]
    assert 100 < peak < 2**20  # MiB, of Python with torch


@pytest.mark.parametrize("model", ["ICDDT", "SASRec"])
def test_models_learn_the_circle_that_users_walk_in(model, run):
    settings = {"epochs": 12, "learning_rate": 0.01}
    trained = run(model, **settings)
    untrained = run(model, **(settings | {"epochs": 1, "learning_rate": 1e-12}))
    assert trained["test_result"]["ndcg@10"] > untrained["test_result"]["ndcg@10"] + 0.1


def test_without_saving_no_checkpoint_is_written_and_the_last_model_is_tested(run):
    result = run("ICDDT", saved=False)
    assert result["checkpoint"] is None and result["test_result"] is not None
    assert not list(Path("saved").iterdir())


def test_a_class_runs_like_its_name(shop, small):
    def metrics(model):
        settings = small("SASRec", crop_history=True)
        return run_recbole_diffusion(model, "shop", config_dict=settings)["test_result"]

    class Mine(SASRec):
        pass

    ours = metrics(SASRec)
    assert ours == metrics("sasrec") == metrics(Mine)
    assert metrics(HostSASRec) == metrics("recbole:sasrec") != ours


def test_files_and_dictionary_are_read(shop, small):
    Path("a.yaml").write_text("epochs: 3\nseed: 1\n")
    settings = small("MultiVAE", seed=5)
    del settings["epochs"]
    result = run_recbole_diffusion("MultVAE", "shop", ["a.yaml"], settings)
    assert result["model"] == "MultiVAE"
    assert (result["epochs"], result["seed"]) == (3, 5)


def test_mistakes_are_refused_before_anything_is_trained(run, shop, small, monkeypatch):
    monkeypatch.setattr(quick_start, "get_trainer", None)
    with pytest.raises(ConfigError, match="learning_rat"):
        run("ICDDT", learning_rat=1)
    with pytest.raises(ConfigError, match="is a folder"):
        run("ICDDT", result_file="dataset")
    with pytest.raises(DataError, match="nowhere.inter"):
        run_recbole_diffusion("ICDDT", "nowhere", config_dict=small("ICDDT"))


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.json"
    quick_start.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        quick_start.write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}


def test_ranks_beyond_the_items_are_cut_with_a_word(run, caplog):
    cut = run("SASRec", topk=[5, 21], valid_metric="NDCG@21")
    assert "topk is [5, 21], but there are 20 items: it is cut to [5], and" in caplog.text
    assert "valid_metric to NDCG@5" in caplog.text and cut["config"]["valid_metric"] == "NDCG@5"
    assert {name.partition("@")[2] for name in cut["test_result"]} == {"5"}
    assert list(run("Pop", topk=30, valid_metric="NDCG@30")["config"]["topk"]) == [20]
    caplog.clear()
    whole = run("SASRec", topk=[5, 20], valid_metric="NDCG@5")  # the control
    assert "cut" not in caplog.text and whole["config"]["topk"] == [5, 20]
    assert whole["test_result"]["ndcg@5"] == cut["test_result"]["ndcg@5"]


def test_models_of_knowledge_graphs_are_refused_before_any_data_are_read():
    with pytest.raises(ValueError, match="CFKG does not run here: knowledge-aware"):
        run_recbole_diffusion("CFKG", "nowhere")
    with pytest.raises(DataError, match="nowhere"):  # the control: others get to their data
        run_recbole_diffusion("Pop", "nowhere")


@pytest.mark.parametrize("model", ["MarkovChain", "DiffRec", "LDiffRec"])
def test_models_rank_sampled_items_too(run, model):
    last = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user"}
    result = run(model, eval_args=last | {"mode": "uni5"}, metrics=["Hit"], valid_metric="Hit@5")
    ranked = run(model, eval_args=last | {"mode": "full"}, metrics=["Hit"], valid_metric="Hit@5")
    assert 1 > result["test_result"]["hit@5"] > ranked["test_result"]["hit@5"], "of six, not twenty"


RANDOM_SPLIT = {"split": {"RS": [0.5, 0.2, 0.3]}, "order": "RO", "group_by": "none", "mode": "full"}
PLAIN = {"BEHAVIOR_FIELD": None, "target_behavior": None, "eval_args": RANDOM_SPLIT}


def test_both_conventions_count_the_same_hits(run, shop):
    """Divided by the users with a test row or by all users; there is one user without."""
    file = shop / "dataset" / "shop" / "shop.inter"
    file.write_text(file.read_text() + "only-trained\ti1\tbuy\t1\n")
    result = run("Pop", all_users=True, metrics=["Hit", "NDCG", "GAUC"], topk=[5, 10], **PLAIN)
    tested = result["split"]["test_rows"]
    theirs, ours = result["test_result_all_users"], result["test_result"]
    assert set(theirs) == {name for name in ours if name != "gauc"} != set(ours)
    share = {theirs[name] / value for name, value in ours.items() if name in theirs and value}
    assert len({round(s, 6) for s in share}) == 1
    assert 0 < share.pop() < 1 and tested > 0
    hits = theirs["hit@5"] * 41
    assert hits == pytest.approx(round(hits), abs=1e-3), "a whole number of 41 users"
    assert run("Pop", **PLAIN)["test_result_all_users"] is None


def test_all_users_of_rows_that_are_ranked_one_by_one_is_refused(run):
    with pytest.raises(DataError, match="means over rows, not over users"):
        run("SASRec", all_users=True, **PLAIN | {"eval_args": RANDOM_SPLIT | {"order": "TO"}})
    assert run("SASRec", all_users=True)["test_result_all_users"]  # the control: one row per user


def test_bert4rec_trains_where_batches_of_like_lengths_would_have_no_loss(run):
    settings = {"hidden_size": 8, "inner_size": 8, "n_heads": 1, "train_batch_size": 16}
    assert run("BERT4Rec", **settings)["epochs"] == 2
    # RecBole's BERT4Rec leaves the first place out of its loss: 0 / 0 for histories of one item.
    with pytest.raises(ValueError, match="the training loss is nan"):
        run("BERT4Rec", length_buckets=True, **settings)


def test_a_model_that_inverts_items_by_items_is_refused_on_very_many(run, monkeypatch):
    monkeypatch.setattr(quick_start, "MOST_INVERTED", 20)
    with pytest.raises(DataError, match="EASE inverts .* 21 x 21 items.* not run above 20 items"):
        run("EASE")
    run("ItemKNN")  # the control
    monkeypatch.setattr(quick_start, "MOST_INVERTED", 21)
    run("EASE")
