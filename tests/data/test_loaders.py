"""Batches of similar lengths, cropped batches, and full ranking with one rule of masking."""

import random

import numpy as np
import pytest
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from rounding import close

from recbole_diffusion.config.traits import OF_THE_HOST
from recbole_diffusion.data.dataloader import POOL_BATCHES, bucket_order

CROPPABLE = [name for name, says in OF_THE_HOST.items() if says.croppable]
LAST = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
RATIO = {"split": {"RS": [0.4, 0.3, 0.3]}, "order": "TO", "group_by": "user", "mode": "full"}
BUYS = {"BEHAVIOR_FIELD": "behavior", "target_behavior": "buy", "eval_args": LAST}


@pytest.fixture
def folder(tmp_path, write_inter, random_log):
    write_inter(tmp_path, "tiny", random_log(n_users=20))
    return tmp_path


# ------------------------------------------------------------------ length buckets


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("rows, batch", [(1000, 16), (1003, 16), (3, 5), (5, 5), (9, 1)])
def test_an_order_holds_every_row_once(rows, batch):
    lengths = torch.randint(1, 50, (rows,), generator=drawn())
    order = bucket_order(lengths, batch, drawn())
    assert torch.equal(order.sort().values, torch.arange(rows))


def test_the_same_generator_state_gives_the_same_order_and_goes_on_to_another():
    lengths = torch.randint(1, 50, (500,), generator=drawn())
    generator = drawn(3)
    first, second = (bucket_order(lengths, 8, generator) for _ in range(2))
    assert torch.equal(first, bucket_order(lengths, 8, drawn(3)))
    assert not torch.equal(first, second)


def spread(lengths, order, batch):
    """Mean difference of the longest and the shortest row of a batch."""
    whole = order[: len(order) // batch * batch].view(-1, batch)
    return (lengths[whole].amax(1) - lengths[whole].amin(1)).float().mean().item()


def test_batches_hold_rows_of_similar_length_and_pools_keep_them_random():
    rows, batch = 16 * POOL_BATCHES * 4, 16
    lengths = torch.randint(1, 51, (rows,), generator=drawn())
    order = bucket_order(lengths, batch, drawn(1))
    assert spread(lengths, order, batch) < 2
    assert spread(lengths, torch.randperm(rows, generator=drawn(1)), batch) > 40
    # Batches do not come by length, and a pool is a random part of the rows.
    means = lengths[order.view(-1, batch)].float().mean(1)
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.2
    other = bucket_order(lengths, batch, drawn(2))
    pool = POOL_BATCHES * batch
    common = len(set(order[:pool].tolist()) & set(other[:pool].tolist()))
    assert 0.15 * pool < common < 0.35 * pool  # a quarter by chance


def epoch(loader):
    """Rows of an epoch as (user, item, length), a list a batch."""
    return [
        list(zip(*(batch[f].tolist() for f in ("user_id", "item_id", "item_length"))))
        for batch in loader
    ]


@pytest.mark.parametrize("batch", [8, 10_000])
@pytest.mark.parametrize("buckets", [True, False])
def test_an_epoch_holds_every_training_row_once_in_an_order_of_its_own(
    batch, buckets, folder, build_data
):
    settings = BUYS | {"train_batch_size": batch, "length_buckets": buckets, "seed": 5}
    _, _, (train, _, _) = build_data(folder, "ICDDT", **settings)
    data = train._dataset
    rows = data[np.arange(len(data))]
    every = sorted(zip(*(rows[f].tolist() for f in ("user_id", "item_id", "item_length"))))
    before = train.generator.get_state()
    first, second = epoch(train), epoch(train)
    assert sorted(sum(first, [])) == sorted(sum(second, [])) == every
    assert first != second
    assert len(first) == len(train) == -(-len(every) // batch)
    train.generator.set_state(before)
    assert [epoch(train), epoch(train)] == [first, second]


def test_bucketed_batches_are_shorter_than_unbucketed_ones(folder, build_data):
    cells = {}
    for buckets in (True, False):
        settings = BUYS | {"train_batch_size": 8, "length_buckets": buckets}
        _, _, (train, _, _) = build_data(folder, "ICDDT", **settings)
        cells[buckets] = np.mean(
            [sum(batch["item_id_list"].numel() for batch in train) for _ in range(5)]
        )
    assert cells[True] < 0.75 * cells[False]


def test_without_shuffling_the_rows_keep_their_order(folder, build_data):
    settings = BUYS | {"train_batch_size": 8, "shuffle": False}
    _, _, (train, _, _) = build_data(folder, "ICDDT", **settings)
    data = train._dataset
    assert [row[:2] for row in sum(epoch(train), [])] == list(
        zip(data.inter_feat["user_id"].tolist(), data.inter_feat["item_id"].tolist())
    )


# ------------------------------------------------------------------ cropped batches

# STAMP averages the padding's embedding in: invisible in the tiny scores of its first weights.
WRONG_WHEN_CROPPED = ("NextItNet", "LightSANs", "Caser", "SINE", "RepeatNet", "STAMP")


def loss_and_scores(folder, build_data, model, crop):
    """Losses of three batches and scores of the test rows of one model, without dropout."""
    settings = {"eval_args": LAST, "length_buckets": False, "MAX_ITEM_LIST_LENGTH": 30}
    settings |= {"train_batch_size": 32, "seed": 3, "crop_history": crop}
    config, _, (train, _, test) = build_data(folder, model, **settings)
    for generator in (random.seed, np.random.seed, torch.manual_seed):
        generator(9)
    network = config.model_class(config, train._dataset).eval()
    with torch.no_grad():
        for weight in network.parameters():  # weights at which every position matters
            weight.copy_(torch.randn_like(weight) * 0.3)
        losses = [network.calculate_loss(batch) for _, batch in zip(range(3), train)]
        rows = next(iter(test))[0]
        scores = network.full_sort_predict(rows).view(len(rows), -1)
    return torch.stack(losses), scores[:, 1:], rows["item_id_list"].shape[1]


@pytest.mark.parametrize("model", CROPPABLE)
def test_cropping_leaves_loss_and_scores_as_they_are(model, folder, build_data):
    loss, scores, width = loss_and_scores(folder, build_data, model, crop=True)
    whole_loss, whole_scores, whole_width = loss_and_scores(folder, build_data, model, crop=False)
    assert width < 20 and whole_width == 30
    assert torch.isfinite(loss).all() and scores.std() > 0.01
    close(loss, whole_loss)
    close(scores, whole_scores)


@pytest.mark.parametrize("model", WRONG_WHEN_CROPPED)
def test_models_that_go_wrong_when_cropped_are_off_the_list(model, folder, build_data):
    loss, scores, _ = loss_and_scores(folder, build_data, model, crop=False)
    try:
        cropped_loss, cropped_scores, _ = loss_and_scores(folder, build_data, model, crop=True)
    except RuntimeError:
        cropped_loss = cropped_scores = torch.tensor(torch.nan)
    equal = [
        torch.allclose(*pair, atol=1e-4)
        for pair in ((loss, cropped_loss), (scores, cropped_scores))
    ]
    assert not all(equal)
    assert model not in CROPPABLE


def test_sampled_ranking_is_of_whole_windows(folder, build_data):
    settings = BUYS | {"eval_args": LAST | {"mode": "uni5"}, "MAX_ITEM_LIST_LENGTH": 30}
    _, _, (train, valid, test) = build_data(folder, "SASRec", **settings)
    for rows, _, positive_u, _ in list(valid) + list(test):
        assert rows["item_id_list"].shape == (6 * len(positive_u), 30)
    assert max(batch["item_id_list"].shape[1] for batch in train) < 30


# ------------------------------------------------------------------ full ranking


def barred(loader):
    """What a loader bars, and the positives: sets of (user, item)."""
    history, positives = set(), set()
    for rows, seen, positive_u, positive_i in loader:
        user = rows["user_id"]
        positives |= set(zip(user[positive_u].tolist(), positive_i.tolist()))
        if seen is not None:
            history |= set(zip(user[seen[0]].tolist(), seen[1].tolist()))
    return history, positives


def before_first(data, loader):
    """(user, item) of all stored interactions before the user's first held-out one."""
    rows = loader._dataset.inter_feat
    first = {}
    for user, position in zip(rows["user_id"].tolist(), rows["position"].tolist()):
        first[user] = min(position, first.get(user, position))
    stored = zip(data.store["user_id"].tolist(), data.store["item_id"].tolist())
    start = data.start.tolist()
    return {
        (user, item)
        for row, (user, item) in enumerate(stored)
        if user in first and row - start[user] < first[user]
    }


MODELS = ("ICDDT", "SASRec", "MultiVAE", "Pop")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("eval_args", [LAST, RATIO], ids=["LS", "RS"])
def test_masking_bars_what_the_user_had_before_and_never_a_positive(
    model, eval_args, folder, build_data
):
    if eval_args is RATIO and model in MODELS[:2]:
        eval_args = LAST | {"split": {"LS": "test_only"}}  # a sequential row has one positive
    settings = BUYS | {"eval_args": eval_args, "mask_history": True}
    _, data, loaders = build_data(folder, model, **settings)
    again = 0
    for loader in loaders[1:]:
        if loader is None:
            continue
        history, positives = barred(loader)
        wanted = before_first(data, loader)
        assert history == wanted - positives
        again += len(wanted & positives)
    assert again > 0  # so positives that were seen before are among them


def test_rows_are_ranked_in_order_of_length_if_lengths_are_bucketed(folder, build_data):
    for buckets in (True, False):
        settings = BUYS | {"eval_users_per_batch": 3, "length_buckets": buckets}
        _, data, (_, _, test) = build_data(folder, "ICDDT", **settings)
        lengths = [length for rows, *_ in test for length in rows["item_length"].tolist()]
        assert (lengths == sorted(lengths)) == buckets
        assert len(lengths) == data.split_report["test_rows"]


def test_masking_bars_the_same_items_for_sequential_and_general_models(folder, build_data):
    settings = BUYS | {"mask_history": True}
    sides = [build_data(folder, model, **settings)[2] for model in ("SASRec", "MultiVAE")]
    for sequential, general in zip(sides[0][1:], sides[1][1:]):
        assert barred(sequential) == barred(general)
    _, _, target_only = build_data(folder, "MultiVAE", **settings, train_behaviors="target")
    assert barred(target_only[2]) == barred(sides[0][2])  # whatever is trained on


def test_without_behaviours_general_models_mask_as_recbole_does(folder, build_data):
    config, _, loaders = build_data(folder, "MultiVAE", eval_args=RATIO)
    for loader in loaders[1:]:
        host = FullSortEvalDataLoader(config, loader._dataset, loader._sampler)
        assert barred(loader) == barred(host)
        assert barred(loader)[0]


@pytest.mark.parametrize("model, masks", [("SASRec", False), ("MultiVAE", True)])
def test_the_default_masks_for_general_and_not_for_sequential_models(
    model, masks, folder, build_data
):
    for setting, expected in ((None, masks), (True, True), (False, False)):
        _, _, (_, _, test) = build_data(folder, model, **BUYS, mask_history=setting)
        assert bool(barred(test)[0]) == expected


@pytest.mark.parametrize("model", MODELS)
def test_a_batch_ranks_as_many_users_as_the_setting_says(model, folder, build_data):
    _, _, (_, _, whole) = build_data(folder, model, **BUYS)
    users = len(whole._dataset)
    assert len(whole) == 1
    _, _, (_, _, test) = build_data(folder, model, **BUYS, eval_users_per_batch=4)
    sizes = [len(rows) for rows, *_ in test]
    assert len(sizes) > 2 and set(sizes[:-1]) == {4} and sum(sizes) == users
    assert barred(test) == barred(whole)
