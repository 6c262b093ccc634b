"""Hashes of the interactions behind a split: what they notice, and what they say of it."""

import random

import numpy as np
import pytest
import torch

from recbole_diffusion.data.digest import difference, hash_of, interactions, plain_numbers
from recbole_diffusion.trainer.randomness import own_randomness

LEAVE_ONE_OUT = {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}
BY_RATIO = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "mode": "full"}
MODELS = [
    ("SASRec", {"eval_args": LEAVE_ONE_OUT, "train_neg_sample_args": None}),
    ("BPR", {"eval_args": LEAVE_ONE_OUT}),
    ("BPR", {"eval_args": BY_RATIO}),
    ("FEARec", {"eval_args": LEAVE_ONE_OUT, "train_neg_sample_args": None}),  # RecBole's data set
]


def rows_of_a_log():
    draw = random.Random(3)
    return [
        (f"u{user}", f"i{draw.randrange(9)}", draw.choice(["view", "buy"]), 10 * time + user)
        for user in range(12)
        for time in range(8)
    ]


@pytest.fixture
def digests(tmp_path, write_inter, build_data):
    """Gives a function from rows and a model to what there is to say of them."""

    def digests(rows, model="SASRec", settings=MODELS[0][1], **more):
        write_inter(tmp_path, "tiny", rows)
        with own_randomness(5):  # as a run is seeded before it splits
            _, _, loaders = build_data(tmp_path, model, **settings | more)
        return interactions([loader and loader._dataset for loader in loaders])

    return digests


def reversed_times(rows):
    return [(user, item, kind, 1000 - time) for user, item, kind, time in rows]


@pytest.mark.parametrize("model, settings", MODELS)
def test_the_same_data_have_the_same_digests_and_others_have_others(digests, model, settings):
    rows = rows_of_a_log()
    first = digests(rows, model, settings)
    assert difference(first, digests(rows, model, settings)) is None
    how_it_is_ranked = {"topk": [3], "valid_metric": "mrr@3", "mask_history": True}
    assert digests(rows, model, settings, eval_users_per_batch=2, **how_it_is_ranked) == first
    fewer = difference(first, digests(rows[: 2 * len(rows) // 3], model, settings))
    assert "rows and" in fewer and "here" in fewer
    swapped = [(user, "i0" if item == "i1" else item, *rest) for user, item, *rest in rows]
    assert "other users, items" in difference(first, digests(swapped, model, settings))


def test_other_times_are_noticed_where_they_decide_histories(digests):
    rows = rows_of_a_log()
    for model, settings in (MODELS[0], MODELS[1]):
        first = digests(rows, model, settings)
        other = digests(reversed_times(rows), model, settings)
        assert difference(first, other)
    late = [(user, item, kind, time + 0.25) for user, item, kind, time in rows]
    assert "other times" in difference(digests(rows), digests(late))


@pytest.mark.parametrize("model, settings", MODELS[1:3])
def test_another_split_of_the_same_interactions_is_noticed(digests, model, settings):
    rows = rows_of_a_log()
    first = digests(rows, model, settings)
    args = settings["eval_args"] | {"split": {"RS": [5, 2, 1]}}
    assert difference(first, digests(rows, model, {"eval_args": args}))
    even = digests(rows, "BPR", {"eval_args": BY_RATIO})
    turned = difference(even, digests(rows[::-1], "BPR", {"eval_args": BY_RATIO}))
    assert "here" in turned or "other" in turned


@pytest.mark.parametrize("kind", ["<i4", ">i4", "<i8", ">i8", "<u2"])
def test_the_type_and_the_byte_order_of_numbers_do_not_change_a_hash(kind):
    values = np.arange(5)
    assert hash_of([{"user": plain_numbers(values.astype(kind))}]) == hash_of(
        [{"user": plain_numbers(values)}]
    )
    stamps = np.array([0.5, 2.0**40])
    assert hash_of([{"time": plain_numbers(stamps.astype(">f8"))}]) == hash_of(
        [{"time": plain_numbers(stamps)}]
    )
    assert hash_of([{"time": plain_numbers(torch.from_numpy(stamps))}]) == hash_of(
        [{"time": plain_numbers(stamps)}]
    )


def test_the_hash_of_known_numbers_is_known():
    """What one machine stored has to be what another one computes."""
    table = {"user": plain_numbers([1, 1, 2]), "time": plain_numbers([0.5, 1.5, 1e12])}
    assert hash_of([table]) == "3e0b581ae78dc410ce605bb37b548f87"
