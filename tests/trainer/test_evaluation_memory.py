"""A budget of memory for evaluations: fewer users at once, and the same figures."""

import pytest
from marks import slow_but

from recbole_diffusion.data.users_at_once import MB, bytes_of_a_user

METRICS = {"metrics": ["Hit", "NDCG", "GAUC"], "topk": [3, 10], "valid_metric": "NDCG@10"}


def evaluated(assemble, model, turned=False, **settings):
    """Metrics, audit, rows of the largest batch, and bytes of a user."""
    trainer, (_, _, test) = assemble(model, **METRICS, **settings)
    trainer.trained_items[5:9] = False  # so that there is something to bar
    asked, largest = trainer.model.full_sort_predict, []

    def ask(rows):
        largest.append(len(rows))
        scores = asked(rows).view(len(rows), -1)
        if turned:
            scores *= -1
        return scores

    trainer.model.full_sort_predict = ask
    result = trainer.evaluate(test, load_best_model=False)
    one = bytes_of_a_user(trainer.config, test._dataset)
    return (result, trainer.never_trained), max(largest), one


@pytest.mark.parametrize("candidates", ["all", "trained"])
@pytest.mark.parametrize(
    "model", slow_but(("ICDDT", "BPR"), ["ICDDT", "DimeRec", "DiffRec", "SASRec", "BPR"])
)
def test_figures_within_a_budget_are_those_without_one(model, candidates, assemble):
    plain, users, one = evaluated(assemble, model, candidates=candidates)
    assert users > 7 and plain[1]["barred"]
    for rows in (1, 3, 7):
        budget = (rows + 0.5) * one / MB
        found, most, _ = evaluated(assemble, model, candidates=candidates, eval_memory_mb=budget)
        assert most == rows and found == plain
    huge = evaluated(assemble, model, candidates=candidates, eval_memory_mb=1000)
    assert huge[:2] == (plain, users)
    # control: the lists the other way round
    assert evaluated(assemble, model, turned=True, candidates=candidates)[0] != plain


def test_a_budget_without_room_for_a_user_is_refused(assemble):
    with pytest.raises(ValueError, match="eval_memory_mb is 1e-05: ranking 21 items for one user"):
        assemble("SASRec", eval_memory_mb=1e-5)


def test_a_user_takes_more_where_more_is_held(assemble):
    def one(model, **settings):
        trainer, loaders = assemble(model, **settings)
        return bytes_of_a_user(trainer.config, loaders[2]._dataset)

    top = one("SASRec")
    assert top == 4 * 21 and one("BPR") == top
    assert one("DiffRec") == one("MultiVAE") > top
    gauc = {"metrics": ["NDCG", "GAUC"]}
    assert one("SASRec", **gauc) > one("DiffRec")
    assert one("DMF") == top  # scores all, as most do
    assert one("NeuMF") > top  # is asked pair by pair
