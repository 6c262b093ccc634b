"""Values of single rows: their means are the evaluator's, and lists are compared rightly."""

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.evaluator.collector import DataStruct

from recbole_diffusion.config.config import Config
from recbole_diffusion.evaluator import ranked_rows as rows
from recbole_diffusion.quick_start.quick_start import fit

METRICS = ["Hit", "NDCG", "MRR", "Recall", "Precision", "MAP"]


@pytest.fixture
def ranked(shop, small):
    """Gives a function from a model and settings to its fitted run, result, table and lists."""

    def ranked(model, **settings):
        settings = small(model, metrics=METRICS, topk=[1, 3, 10], valid_metric="NDCG@10") | settings
        config = Config(model, "shop", config_dict=settings)
        fitted = fit(config)
        fitted.trainer.observer = rows.RankedRows(config)
        result = fitted.trainer.evaluate(fitted.test_data)
        table, lists = fitted.trainer.observer.finish(fitted.test_data._dataset)
        return config, fitted, result, table, lists

    return ranked


@pytest.mark.parametrize("model", ["SASRec", "MultiVAE", "Pop"])
@pytest.mark.parametrize("ratio", [False, True])
def test_means_over_rows_are_the_evaluators_metrics(ranked, model, ratio):
    args = {"eval_args": {"split": {"RS": [0.6, 0.2, 0.2]}, "order": "TO", "mode": "full"}}
    config, fitted, result, table, lists = ranked(model, **(args if ratio else {}))
    names = {f"{m.lower()}@{k}" for m in METRICS for k in (1, 3, 10)}
    assert set(result) == names == set(table) - {"user", "row"}
    for name in names:
        assert table[name].mean() == pytest.approx(result[name], abs=1e-6), name
    assert table["hit@10"].nunique() == 2  # some hit and some do not
    assert not table.duplicated(["user", "row"]).any()
    assert lists.shape == (len(table), 10) and lists.min() > 0
    several = ratio and model == "SASRec"  # a sequential model ranks each held-out row by itself
    assert (table["row"].max() > 0) == several


def test_rows_of_a_user_are_numbered_in_the_order_of_their_histories(ranked):
    args = {"eval_args": {"split": {"RS": [0.6, 0.2, 0.2]}, "order": "TO", "mode": "full"}}
    _, fitted, _, table, _ = ranked("MarkovChain", **args)
    test_set = fitted.test_data._dataset
    tokens = test_set.field2id_token["user_id"][test_set.inter_feat["user_id"].numpy()]
    frame = pd.DataFrame({"user": tokens, "length": test_set.lengths().numpy()})
    frame["position"] = test_set.inter_feat["position"].numpy()
    frame["row"] = table["row"].to_numpy()
    assert (frame["user"] == table["user"]).all()
    expected = frame.groupby("user")["position"].rank(method="first").astype(int) - 1
    assert (frame["row"] == expected).all() and frame["row"].max() > 0


def test_an_observer_changes_no_result_and_its_time_is_known(ranked):
    _, fitted, result, _, _ = ranked("DreamRec")
    seconds = fitted.trainer.observer.seconds
    assert 0 < seconds < fitted.trainer.eval_seconds
    fitted.trainer.observer = None
    assert fitted.trainer.evaluate(fitted.test_data) == result


def test_another_evaluation_seed_draws_other_lists_of_a_model_that_samples(ranked):
    config, fitted, result, _, lists = ranked("DreamRec")

    def again(seed):
        fitted.trainer.evaluation_seed = seed
        fitted.trainer.observer = rows.RankedRows(config)
        fitted.trainer.evaluate(fitted.test_data)
        return fitted.trainer.observer.finish(fitted.test_data._dataset)[1]

    assert np.array_equal(again(config["seed"]), lists)
    assert rows.agreement(again(1), lists) < 1


def test_agreement_is_the_share_of_common_items_whatever_their_order():
    a = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    assert rows.agreement(a, a[:, ::-1].copy()) == 1
    assert rows.agreement(a, a + 100) == 0
    assert rows.agreement(a, np.array([[4, 9, 1, 10], [11, 12, 13, 5]])) == pytest.approx(3 / 8)
    many = np.arange(3000 * 2).reshape(-1, 2)
    half = many.copy()
    half[:, 0] += 100_000
    assert rows.agreement(many, half) == pytest.approx(0.5)


def test_metrics_beyond_accuracy_of_lists_that_are_known(ranked):
    config, fitted, _, _, lists = ranked("Pop")
    train = fitted.trainer.dataset
    n = train.item_num
    same = np.tile(np.arange(1, 11), (40, 1))
    found = rows.beyond_accuracy(config, same, train)
    assert found["itemcoverage@10"] == pytest.approx(10 / n, abs=1e-6)
    assert found["shannonentropy@1"] == pytest.approx(0, abs=1e-6)
    even = np.stack([np.roll(np.arange(1, n), shift)[:10] for shift in range(n - 1)])
    spread = rows.beyond_accuracy(config, even, train)
    assert spread["giniindex@10"] < 0.1 < found["giniindex@10"]
    assert spread["itemcoverage@10"] == pytest.approx((n - 1) / n, abs=1e-6)
    users = train.inter_matrix(form="coo").tocsr()
    users.data[:] = 1
    popular = np.asarray((users > 0).sum(axis=0)).ravel()
    assert spread["averagepopularity@10"] == pytest.approx(popular[1:].mean(), rel=1e-5)


def test_popularity_is_the_same_for_sequential_and_general_models(ranked):
    lists = np.tile(np.arange(1, 11), (40, 1))
    found = {}
    for model in ("SASRec", "ItemKNN"):
        config, fitted, *_ = ranked(model)
        found[model] = rows.beyond_accuracy(config, lists, fitted.trainer.dataset)
    # A user with one training interaction has no sequential training row; the shop has none.
    assert found["SASRec"] == found["ItemKNN"]


def test_a_metric_that_is_no_mean_over_rows_has_no_column(shop, small, build_data):
    settings = small("Pop", metrics=["Hit", "GiniIndex"], valid_metric="Hit@10", topk=[5, 10])
    config, data, _ = build_data("dataset", "Pop", "shop", **settings)
    struct = DataStruct()
    struct.set("rec.topk", torch.tensor([[0] * 7 + [1, 0, 0, 1]]))  # the eighth of ten is right
    table = rows.per_row(config, struct, torch.tensor([1]), data)
    assert list(table) == ["user", "row", "hit@5", "hit@10"]
    assert table[["hit@5", "hit@10"]].to_numpy().tolist() == [[0.0, 1.0]]
