"""Cross-entropy over a sample of items: what it estimates, what it draws, who trains on it."""

import math

import pytest
import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction

from recbole_diffusion.config.config import Config
from recbole_diffusion.model.layers.cross_entropy import full_cross_entropy
from recbole_diffusion.model.layers.sampled_softmax import (
    ItemLoss,
    LogUniformItems,
    sampled_softmax,
)

N, D = 40, 6  # items without the padding, hidden size
COUNTS = torch.tensor([0, *((7 * i) % N for i in range(N))])  # a different one for every item


class Items:
    """As much of a data set as a model asks for."""

    iid_field, item_num, user_num = "item_id", N + 1, 2
    inter_feat = Interaction({"item_id": torch.arange(N + 1).repeat_interleave(COUNTS)})

    def num(self, field):
        return self.item_num

    def item_counts(self):
        return COUNTS


def close(ours, theirs, tolerance=1e-5):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def drawn(seed=0, rows=16, scale=1.0):
    """States, item table and targets."""
    torch.manual_seed(seed)
    weight = scale * torch.randn(N + 1, D)
    return torch.randn(rows, D), weight, torch.randint(1, N + 1, (rows,))


def gradients(loss, x, weight):
    """Mean loss, and its gradients by the states and the items."""
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    value = loss(x, weight).mean()
    value.backward()
    return value.detach(), x.grad, weight.grad


def by_hand(x, weight, target, negatives, log_count):
    score = (x * weight[target]).sum(dim=1)
    return sampled_softmax(score, x @ weight[negatives].T, target, negatives, log_count)


# ------------------------------------------------------------------------------------ the loss
def test_the_sampled_softmax_is_a_cross_entropy_against_other_items():
    torch.manual_seed(0)
    score, others = torch.randn(4), 2 + torch.randn(4, 3)
    target, negatives = torch.tensor([5, 6, 7, 8]), torch.tensor([1, 2, 3])
    every = torch.cat([score[:, None], others], 1)
    expected = F.cross_entropy(every, torch.zeros(4).long(), reduction="none")
    close(sampled_softmax(score, others, target, negatives), expected)
    # a negative that is the target of row 1 does not count there, and does in the other rows
    own = sampled_softmax(score, others, target, torch.tensor([1, 6, 3]))
    rows = every.exp()
    counted, rows[1, 2] = rows[1, 2].item(), 0
    close(own, rows.sum(dim=1).log() - score)
    assert abs(own[1] - expected[1]) > 1e-3 and counted > 0
    # with no other item there is nothing to be told from, at any score
    assert sampled_softmax(100 * score[:1], others[:1, :1], target[:1], target[:1]) == 0


def test_with_every_item_once_as_a_negative_it_is_the_full_cross_entropy():
    x, weight, target = drawn()
    every = torch.arange(1, N + 1)
    full = gradients(lambda a, b: full_cross_entropy(a, b, target), x, weight)
    for count in (None, torch.zeros(N)):
        ours = gradients(lambda a, b, c=count: by_hand(a, b, target, every, c), x, weight)
        for one, other in zip(ours, full):
            close(one, other)
    # and so it is with some items several times, if the counts say so; not if they do not
    often = torch.tensor([1, 2, 5]).repeat(math.ceil(N / 3))[:N]
    repeated, log_count = every.repeat_interleave(often), often.float().log()
    told = gradients(
        lambda a, b: by_hand(a, b, target, repeated, log_count.repeat_interleave(often)), x, weight
    )
    untold = gradients(lambda a, b: by_hand(a, b, target, repeated, None), x, weight)
    for one, other, wrong in zip(told, full, untold):
        close(one, other)
        assert not torch.allclose(wrong, other, rtol=0.05, atol=0.01)


def test_the_correction_makes_the_expected_gradient_that_of_all_items():
    """Over many draws: the sum over items is unbiased, the mean gradient near that of all items."""
    x, weight, target = drawn(rows=6, scale=0.7)
    items, full = LogUniformItems(COUNTS), full_cross_entropy(x, weight, target)
    full_gradient = gradients(lambda a, b: full_cross_entropy(a, b, target), x, weight)[2]
    off = {}
    for corrected in (True, False):
        torch.manual_seed(1)
        mass, gradient = torch.zeros(len(x)), torch.zeros_like(weight)
        for _ in range(600):
            negatives = items.draw(64)
            log_count = items.log_count(negatives)
            if not corrected:  # the same number of items in all, each of them equally
                log_count = torch.full_like(log_count, math.log(64 / N))

            def loss(a, b, negatives=negatives, log_count=log_count):
                return by_hand(a, b, target, negatives, log_count)

            mass += (loss(x, weight) - full).exp() / 600  # their sum over the full one
            gradient += gradients(loss, x, weight)[2] / 600
        distance = (gradient - full_gradient).norm() / full_gradient.norm()
        off[corrected] = (mass - 1).abs().max(), distance
    assert off[True][0] < 0.05 and off[True][1] < 0.07
    assert off[False][0] > 0.2 and off[False][1] > 0.25


def test_the_loss_of_a_large_sample_tends_to_that_of_all_items():
    x, weight, target = drawn()
    settings = {"loss": "sampled", "n_negatives": 200_000}
    sampled, full = ItemLoss(settings, Items()), ItemLoss(settings | {"loss": "full"}, Items())
    torch.manual_seed(2)
    close(sampled(x, weight, target), full(x, weight, target), 0.03)
    assert torch.equal(full(x, weight, target), full_cross_entropy(x, weight, target))
    few = ItemLoss(settings | {"n_negatives": 3}, Items())
    assert not torch.allclose(few(x, weight, target), full(x, weight, target), rtol=0.1, atol=0.1)


def test_the_loss_is_in_full_precision_under_autocast():
    x, weight, target = drawn()
    loss = ItemLoss({"loss": "sampled", "n_negatives": 9}, Items())
    torch.manual_seed(0)
    plain = loss(x, weight, target)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss(x, weight, target), plain)
        rounded = (x @ weight.T).float()  # control: a product here is rounded
    assert not torch.allclose(rounded, x @ weight.T, rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------------------------ the draws
def test_items_are_drawn_log_uniformly_by_their_popularity():
    items = LogUniformItems(COUNTS)
    k = torch.arange(N)
    expected = torch.log((k + 2) / (k + 1)) / math.log(N + 1)
    assert expected.sum() == pytest.approx(1, abs=1e-6)
    by_popularity = COUNTS[1:].argsort(descending=True) + 1
    close(items.log_p[by_popularity].exp(), expected)
    torch.manual_seed(0)
    share = torch.bincount(items.draw(400_000), minlength=N + 1) / 400_000
    assert share[0] == 0 and share[by_popularity[0]] == share.max() > 3 * 1 / N
    assert (share[by_popularity] - expected).abs().max() < 4 * math.sqrt(0.2 / 400_000)
    close(items.log_count(by_popularity[:5]).exp(), 5 * expected[:5])
    # control: by the items' numbers they are not
    assert (share[1:] - expected).abs().max() > 0.05


def test_of_equally_popular_items_the_lower_is_the_more_popular_one():
    items = LogUniformItems(torch.tensor([0, 2, 5, 2, 5]))
    assert items.by_popularity.tolist() == [2, 4, 1, 3]
    alone = LogUniformItems(torch.tensor([0, 0]))
    assert set(alone.draw(50).tolist()) == {1} and alone.log_p[1] == 0


def test_nothing_of_the_draws_is_in_a_checkpoint():
    assert not ItemLoss({"loss": "sampled", "n_negatives": 9}, Items()).state_dict()


# ------------------------------------------------------------------------------------ the models
SMALL = {
    "use_gpu": False,
    "hidden_size": 8,
    "MAX_ITEM_LIST_LENGTH": 6,
    "n_negatives": 11,
}
OF = {
    "ICDDT": {"n_heads": 2, "hidden_dropout_prob": 0.0, "embedding_dropout_prob": 0.0},
    "DiffuRec": {"n_heads": 2, "hidden_dropout_prob": 0.0, "embedding_dropout_prob": 0.0},
    "DimeRec": {"dropout_prob": 0.0, "dims_dnn": [16], "n_interests": 3},
    "SASRec": {"n_heads": 2, "inner_size": 16},
    "GRU4Rec": {"embedding_size": 8},
}


def model_of(name, **settings):
    config = Config(name, "tiny", config_dict=SMALL | OF[name] | settings)
    torch.manual_seed(0)
    return config.model_class(config, Items()).eval()


def batch():
    item = torch.tensor([[3, 1, 2, 0], [5, 0, 0, 0], [7, 8, 9, 10]])
    known = {"item_id_list": item, "item_length": torch.tensor([3, 1, 4])}
    return Interaction(known | {"item_id": torch.tensor([4, 9, 20])})


@pytest.mark.parametrize("name", OF)
def test_only_drawn_items_and_those_of_the_batch_get_a_gradient(name):
    touched = {}
    for loss in ("full", "sampled"):
        model = model_of(name, loss=loss)
        torch.manual_seed(3)
        model.calculate_loss(batch()).backward()
        touched[loss] = model.item_embedding.weight.grad.any(dim=1)
    assert touched["full"][1:].all()
    assert not touched["sampled"].all() and touched["sampled"].sum() <= 8 + 3 + 11


@pytest.mark.parametrize("name", OF)
@pytest.mark.parametrize("wrong", [{"loss": "half"}, {"loss": "sampled", "n_negatives": 0}])
def test_a_loss_that_there_is_not_is_refused(name, wrong):
    with pytest.raises(ValueError, match=f"{list(wrong)[-1]}"):
        model_of(name, **wrong)
