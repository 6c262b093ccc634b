"""Scores: of a row whatever stands beside it, and finite or refused."""

import json
import random
import re
from contextlib import nullcontext

import pytest
import torch
from marks import slow_but
from recbole.model.sequential_recommender import SASRec
from rounding import close

from recbole_diffusion.cli.main import main
from recbole_diffusion.data import dataloader
from recbole_diffusion.testing.laws import scores_by_row
from recbole_diffusion.trainer import checkpoint, scoring
from recbole_diffusion.trainer.scoring import ScoresError, asked_by_row, check_finite

# Models that draw when they score, with the settings with which they do.
DRAWING = {
    "ICDDT": {},
    "ICDDT, one behaviour": {"BEHAVIOR_FIELD": None},
    "DiffuRec": {},
    "DreamRec": {"reverse_noise": True},
    "DreamRec, ancestral": {"reverse_noise": True, "sampler": "ancestral"},
    "DreamRec, ddim": {"reverse_noise": True, "sampler": "ddim", "sampling_steps": 2},
    "DimeRec": {"reverse_noise": True},
    "DimeRec, great circles": {"reverse_noise": False},
    "DiffRec": {"sampling_noise": True, "noise_scale": 1.0},
    "DiffRec, factored": {"sampling_steps": 3, "noise_scale": 1.0},
    "DiffRec, plain": {"sampling_steps": 3, "noise_scale": 1.0, "norm": True},
    "TDiffRec": {"sampling_steps": 3, "noise_scale": 1.0},
    "LDiffRec": {"sampling_noise": True, "noise_scale": 1.0},
    "LDiffRec, factored": {"sampling_steps": 3, "noise_scale": 1.0},
    "LTDiffRec": {"sampling_steps": 3, "noise_scale": 1.0},
}
EXACT = {
    name: {}
    for name in "MarkovChain SASRec GRU4Rec BERT4Rec LightGCN MultiVAE BPR EASE ItemKNN".split()
}
TOP = {"topk": [3], "valid_metric": "Hit@3"}
NARROW = [1, 7, 64, 512]


@pytest.fixture
def ragged(shop, write_inter, monkeypatch):
    """The shop with histories of 1 to 10 items, so that batches differ in their padding."""
    draw = random.Random(3)
    rows = []
    for user in range(30):
        item = draw.randrange(20)
        for time in range(3 + user % 9):
            rows.append((f"u{user}", f"i{item}", "buy" if time % 2 else "view", time))
            item = (item + 1) % 20 if draw.random() < 0.8 else draw.randrange(20)
        rows += [(f"u{user}", f"i{draw.randrange(20)}", "buy", 20 + time) for time in range(2)]
    write_inter(shop / "dataset", "shop", rows)


def in_batches(assemble, name, settings, **more):
    """Scores by row, and metrics, of an untrained model in batches of several sizes."""
    scores, metrics = [], []
    for users in NARROW:
        fresh, (_, _, test) = assemble(
            name.partition(",")[0], **settings, **more, **TOP, eval_users_per_batch=users
        )
        metrics.append(fresh.evaluate(test, load_best_model=False))
        scores.append(scores_by_row(fresh.model, test, seed=fresh.evaluation_seed))
    return scores, metrics


@pytest.mark.parametrize(
    "name, settings", slow_but(("ICDDT", "DimeRec", "SASRec"), (DRAWING | EXACT).items())
)
def test_batches_change_neither_scores_nor_metrics(name, settings, ragged, assemble):
    scores, metrics = in_batches(assemble, name, settings)
    for found in scores[:-1]:
        close(found, scores[-1], rel=1e-5)
    assert all(found == metrics[-1] for found in metrics)


@pytest.mark.parametrize("name", ["ICDDT", "DiffuRec", "DimeRec", "DiffRec, factored"])
def test_with_noise_by_batch_they_do(name, ragged, assemble, monkeypatch):
    monkeypatch.setattr(scoring, "by_row", lambda *_: nullcontext())
    scores, _ = in_batches(assemble, name, DRAWING[name])
    for found in scores[:-2]:
        assert not torch.allclose(found, scores[-1], rtol=0, atol=2e-5)


def test_the_order_of_the_rows_and_padding_change_no_scores(ragged, assemble):
    for name in ("ICDDT", "DiffuRec", "DreamRec"):
        found = []
        for change in ({}, {"length_buckets": False}, {"crop_history": False}):
            fresh, (_, _, test) = assemble(name, **DRAWING[name] | change)
            found.append(scores_by_row(fresh.model.eval(), test))
        close(found[1], found[0])
        close(found[2], found[0])


def test_the_evidence_for_a_shorter_walk_does_not_depend_on_batches(ragged, assemble):
    found = []
    for users in NARROW:
        fresh, (_, valid, _) = assemble("ICDDT", truncation="auto", eval_users_per_batch=users)
        report = fresh.find_steps(valid)
        for timed in [report, *report["tried"]]:
            del timed["seconds"]
        found.append(report)
    assert all(report == found[0] for report in found)
    spoil(fresh.model)
    with pytest.raises(ScoresError, match="scores of ICDDT are not finite"):
        fresh.find_steps(valid)


def test_another_seed_of_the_evaluation_draws_anew(ragged, assemble):
    fresh, (_, _, test) = assemble("ICDDT")
    first, again, other = (scores_by_row(fresh.model.eval(), test, seed) for seed in (1, 1, 10_001))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, rtol=1e-2)


@pytest.mark.parametrize("name", ["DiffuRec", "DiffRec, factored", "LDiffRec", "DimeRec"])
def test_scores_of_single_items_are_those_of_the_ranking_in_any_order(name, ragged, assemble):
    fresh, (_, _, test) = assemble(name.partition(",")[0], **DRAWING[name])
    model = fresh.model.eval()
    rows = next(iter(test))[0]
    row = torch.arange(len(rows)).repeat(3)[torch.randperm(3 * len(rows))]
    item = torch.randint(1, model.n_items, row.shape)
    pairs = rows[row]
    pairs.update(dataloader.Interaction({model.ITEM_ID: item}))
    with torch.no_grad(), asked_by_row(model, 0):
        whole, found = model.full_sort_predict(rows), model.predict(pairs)
    close(found, whole[row, item])


# ---------------------------------------------------------------- finite or refused
def spoil(model, value=torch.nan):
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "item_embedding" in name or name == "denoiser.out.weight":
                weight.fill_(value)


@pytest.mark.parametrize("model", ["SASRec", "ICDDT", "DiffuRec", "DimeRec", "DreamRec", "DiffRec"])
def test_a_model_whose_weights_are_nan_is_not_evaluated(model, assemble):
    fresh, (_, valid, test) = assemble(model, **DRAWING.get(model, {}))
    assert fresh.evaluate(test, load_best_model=False)  # the control
    spoil(fresh.model)
    message = rf"^scores of {model} are not finite: nan in row \d+ \(user 'u\d+'\), and in 100% of"
    for loader in (valid, test):
        with pytest.raises(
            ScoresError, match=message + r" the 3\d rows .*; the weights .* are not"
        ):
            fresh.evaluate(loader, load_best_model=False)


@pytest.mark.parametrize("model", ["LightGCN", "MultiVAE", "BPR", "EASE", "ItemKNN", "MarkovChain"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_single_score_that_is_not_finite_is_refused_before_any_mask(model, value, assemble):
    fresh, (_, _, test) = assemble(model, mask_history=True)
    full_sort_predict = fresh.model.full_sort_predict

    def spoiled(interaction):
        scores = full_sort_predict(interaction).clone().view(len(interaction), -1)
        scores[3, 1:] = value
        return scores.flatten()

    fresh.model.full_sort_predict = spoiled
    message = rf"{model} are not finite: {value} in .*\(user 'u\d+'\), and in 3% of the 39 rows"
    with pytest.raises(ScoresError, match=message):
        fresh.evaluate(test, load_best_model=False)
    assert fresh.model.full_sort_predict is spoiled  # as it was before
    del fresh.model.full_sort_predict
    assert fresh.evaluate(test, load_best_model=False)
    assert not {"full_sort_predict", "predict"} & set(vars(fresh.model))


@pytest.mark.parametrize("kind", ["uni5", "pop5"])
def test_sampled_evaluation_refuses_too(kind, assemble):
    evaluation = {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": kind}
    fresh, (_, _, test) = assemble("DiffuRec", BEHAVIOR_FIELD=None, eval_args=evaluation, **TOP)
    assert fresh.evaluate(test, load_best_model=False)
    spoil(fresh.model)
    with pytest.raises(ScoresError, match="DiffuRec are not finite: nan in row"):
        fresh.evaluate(test, load_best_model=False)


def test_finite_scores_are_never_refused(assemble):
    fresh, (_, _, test) = assemble("SASRec")
    rows = next(iter(test))[0]
    scores = torch.full((len(rows), 21), 2e38)  # the sum is infinite
    check_finite(fresh.model, scores, rows)
    scores[:, 0] = -torch.inf  # of the padding
    check_finite(fresh.model, scores, rows)
    check_finite(fresh.model, torch.zeros(len(rows)).double(), rows)
    scores[2, 1] = torch.inf
    with pytest.raises(ScoresError, match="inf in row"):
        check_finite(fresh.model, scores, rows)


def test_the_best_model_stays_and_is_named(run, shop, monkeypatch):
    evaluate = scoring.check_finite
    calls = []

    def third_is_nan(model, scores, rows, dataset=None):
        calls.append(len(rows))
        if len(calls) == 3:
            scores = scores * torch.nan
        evaluate(model, scores, rows, dataset)

    monkeypatch.setattr(scoring, "check_finite", third_is_nan)
    with pytest.raises(ScoresError, match="; the best model so far, of epoch [12], is ") as error:
        run("SASRec", epochs=4, checkpoint_dir="saved")
    best = re.search(r"is (\S+[.]best[.]pth)", str(error.value))[1]
    assert checkpoint.load(best)["best_epoch"] in (1, 2)
    assert checkpoint.load(best.replace(".best.", ".last."))["epoch"] == 1


def test_a_run_ends_in_one_line(shop, small, capsys, monkeypatch):
    rank = SASRec.full_sort_predict

    def overflow(model, rows):
        model.item_embedding.weight.data[2] = 1e30
        return rank(model, rows) ** 2

    monkeypatch.setattr(SASRec, "full_sort_predict", overflow)
    settings = small("SASRec", epochs=1)
    found = main(["run", "--model=SASRec", "--dataset=shop", *as_arguments(settings)])
    said = capsys.readouterr()
    assert found == 2 and "hit" not in said.out
    line = said.err.strip().splitlines()[-1]
    assert line.startswith("recbole-diffusion: scores of SASRec are not finite: ")
    assert "the weights item_embedding.weight are as large as 1e+30: lower learning_rate" in line


def as_arguments(settings):
    return [f"--{key}={json.dumps(value)}" for key, value in settings.items()]
