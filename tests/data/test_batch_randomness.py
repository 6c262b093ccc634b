"""What a batch holds follows from seed, epoch and batch, whichever process makes it."""

import random

import numpy as np
import pytest
import torch

from recbole_diffusion.data import dataloader
from recbole_diffusion.data.batch_randomness import drawn_from
from recbole_diffusion.data.dataloader import ROW
from recbole_diffusion.trainer.randomness import own_randomness, random_states, set_random_states

LAST = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
SETTINGS = {"eval_args": LAST, "train_batch_size": 16, "topk": [3], "valid_metric": "Hit@3"}
NEGATIVES = {"distribution": "uniform", "sample_num": 1}
DRAWING = {  # models for which RecBole's loaders draw
    "BPR": {},
    "LightGCN": {},
    "BERT4Rec": {},
    "SASRec": {"loss_type": "BPR", "train_neg_sample_args": NEGATIVES},
}
EXACT = {"ICDDT": {}, "DimeRec": {"all_positions": True}, "DiffRec": {}, "MultiVAE": {}}


@pytest.fixture
def folder(tmp_path, write_inter, random_log):
    write_inter(tmp_path, "tiny", random_log(n_users=20))
    return tmp_path


def epochs(loader, count=2):
    """The batches of some epochs, with disturbances between them."""
    found = []
    for _ in range(count):
        found.append([])
        for rows in loader:
            random.random(), np.random.random(), torch.rand(3)
            found[-1].append(rows)
    return found


def equal(a, b):
    """Whether two lists of batches hold the same, to the last bit."""
    return len(a) == len(b) and all(
        x.columns == y.columns and all(torch.equal(x[name], y[name]) for name in x.columns)
        for x, y in zip(a, b)
    )


@pytest.mark.slow
@pytest.mark.parametrize("model, settings", (DRAWING | EXACT).items())
def test_processes_that_make_batches_do_not_change_them(model, settings, folder, build_data):
    found = []
    for worker, disturbance in ((0, 0), (0, 1), (2, 2)):
        _, _, (train, _, _) = build_data(folder, model, **SETTINGS | settings, worker=worker)
        torch.manual_seed(disturbance), np.random.seed(disturbance), random.seed(disturbance)
        found.append(epochs(train))
    for other in found[1:]:
        assert all(equal(*pair) for pair in zip(found[0], other))
    assert not equal(*found[0])  # every epoch draws anew


@pytest.mark.parametrize("model, settings", DRAWING.items())
def test_as_recbole_has_it_they_do(model, settings, folder, build_data, monkeypatch):
    monkeypatch.setattr(dataloader, "drawn_by_batch", lambda loader, evaluates: loader)
    found = []
    for worker in (0, 2):
        _, _, (train, _, _) = build_data(folder, model, **SETTINGS | settings, worker=worker)
        torch.manual_seed(0), np.random.seed(0), random.seed(0)
        found.append(epochs(train, 1)[0])
    assert not equal(*found)


def test_making_batches_leaves_the_random_numbers_of_training_alone(folder, build_data):
    before = random_states()
    _, _, (train, _, _) = build_data(folder, "BERT4Rec", **SETTINGS)
    set_random_states(before)
    for _ in train:
        pass
    after = random_states()
    assert before["python"] == after["python"] and torch.equal(before["torch"], after["torch"])
    assert np.array_equal(before["numpy"][1], after["numpy"][1])


def test_an_epoch_goes_on_from_the_state_of_the_generator(folder, build_data):
    _, _, (train, _, _) = build_data(folder, "BPR", **SETTINGS)
    epochs(train, 1)
    state = train.generator.get_state()
    second, third = epochs(train)
    _, _, (again, _, _) = build_data(folder, "BPR", **SETTINGS)
    again.generator.set_state(state)
    assert equal(epochs(again, 1)[0], second) and not equal(second, third)


def candidates(loader):
    """Rows and items of each user's candidates, in the loader's order."""
    with own_randomness(5):
        return [
            (row, item)
            for rows, *_ in loader
            for row, item in zip(rows[ROW].tolist(), rows["item_id"].tolist())
        ]


@pytest.mark.parametrize("model", ["BPR", "SASRec"])
def test_sampled_candidates_are_a_users_own(model, folder, build_data):
    sampled = SETTINGS | {"eval_args": LAST | {"mode": "uni10"}}
    found = []
    for change in ({}, {"eval_batch_size": 11}, {"eval_batch_size": 50}, {"worker": 2}):
        _, _, (_, _, test) = build_data(folder, model, **sampled | change)
        found.append([sorted(candidates(test)), sorted(candidates(test))])
    assert all(pair == found[0] for pair in found) and found[0][0] == found[0][1]
    assert len(set(found[0][0])) > 100


def test_items_that_the_model_chooses_are_chosen_by_the_model_as_it_is(folder, build_data):
    dynamic = NEGATIVES | {"dynamic": True, "candidate_num": 2}
    _, _, (train, _, _) = build_data(
        folder, "BPR", **SETTINGS, worker=2, train_neg_sample_args=dynamic
    )
    assert train.num_workers == 0
    _, _, (train, _, _) = build_data(folder, "BPR", **SETTINGS, worker=2)
    assert train.num_workers == 2  # the control


def test_numbers_of_a_block_follow_from_its_numbers():
    def drawn(*numbers):
        with drawn_from(*numbers):
            return random.random(), np.random.random(), torch.rand(1).item()

    assert drawn(1, 2) == drawn(1, 2)
    assert (
        len({number for pair in ((1, 2), (2, 1), (1, 3), (12,)) for number in drawn(*pair)}) == 12
    )
