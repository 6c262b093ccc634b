"""Layers: known numbers, and that the fast road and the plain one are one."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from rounding import close

from recbole_diffusion.model.layers.attention import DifferentialAttention, lambda_init
from recbole_diffusion.model.layers.basic import Dropout, sinusoid
from recbole_diffusion.model.layers.cross_entropy import full_cross_entropy

D, H = 12, 3
d = D // H


@pytest.fixture(scope="module")
def published(shared_path):
    return json.loads(shared_path("reference/numbers.json").read_text())


@pytest.fixture
def attention():
    torch.manual_seed(0)
    layer = DifferentialAttention(D, H, 2, 0.2, 1e-12)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return layer.eval()


@pytest.fixture
def inputs():
    torch.manual_seed(1)
    hidden_key = torch.zeros(2, 1, 1, 5, dtype=torch.bool)
    hidden_key[1, ..., :3] = True
    return torch.randn(2, 4, D), torch.randn(2, 5, D), hidden_key


@pytest.mark.parametrize(
    "paper, gaps, sin_first",
    [("icddt", 4, False), ("diffrec", 5, False), ("dreamrec", 3, True)],
)
def test_a_sinusoid_has_the_published_numbers(published, paper, gaps, sin_first):
    (name,) = [key for key in published["timestep_embeddings"] if key.startswith(paper)]
    dim, inputs = name.removeprefix(f"{paper} dim ").split(", inputs ")
    embedding = sinusoid(torch.tensor(json.loads(inputs)), int(dim), gaps, sin_first)
    expected = torch.tensor(published["timestep_embeddings"][name])
    torch.testing.assert_close(embedding, expected, rtol=0, atol=1e-5)


def test_a_sinusoid_of_odd_size_ends_in_zero():
    t = torch.tensor([3.0, 8.0])
    embedding = sinusoid(t, 7, 3)
    assert embedding.shape == (2, 7) and not embedding[:, -1].any()
    assert torch.equal(embedding[:, :-1], sinusoid(t, 6, 3))


def test_lambda_starts_where_it_is_published(published):
    assert len(published["lambda_init"]) == 4
    for layer, value in published["lambda_init"].items():
        assert lambda_init(int(layer)) == pytest.approx(value, abs=1e-12)


def test_lambda_of_equal_vectors_is_its_start(attention):
    with torch.no_grad():
        attention.lambda_q[1], attention.lambda_k[1] = attention.lambda_q[0], attention.lambda_k[0]
    torch.testing.assert_close(attention.difference_weight(), torch.full((H,), lambda_init(2)))


def plain_attention(layer, query, key_value, hidden_key):
    """The formula, a row, a head and a map at a time."""
    rows = []
    for q, kv, hidden in zip(query, key_value, hidden_key[:, 0, 0]):
        kv = kv[~hidden]
        queries = F.linear(q, layer.query.weight, layer.query.bias).chunk(2, dim=-1)
        k1, k2, v1, v2 = F.linear(kv, layer.key_value.weight, layer.key_value.bias).split(D, -1)
        value = torch.cat([v1, v2], dim=-1)
        heads = []
        for head in range(H):
            part = slice(head * d, (head + 1) * d)
            first, second = (
                ((a[:, part] @ k[:, part].T) / math.sqrt(d)).softmax(-1)
                for a, k in zip(queries, (k1, k2))
            )
            lq, lk = layer.lambda_q[:, head], layer.lambda_k[:, head]
            weight = (lq[0] @ lk[0]).exp() - (lq[1] @ lk[1]).exp() + lambda_init(2)
            seen = (first - weight * second) @ value[:, 2 * head * d : 2 * (head + 1) * d]
            heads.append(layer.norm(seen) * (1 - lambda_init(2)))
        rows.append(layer.output(torch.cat(heads, dim=-1)))
    return torch.stack(rows)


def test_attention_is_the_difference_of_two_maps(attention, inputs):
    torch.testing.assert_close(attention(*inputs), plain_attention(attention, *inputs))


def test_few_queries_take_a_shorter_road_to_the_same_place(attention, inputs):
    query, key_value, hidden_key = inputs
    gradients = []
    for attend in (attention.attend, attention.attend_few):
        given = key_value.clone().requires_grad_()
        seen = attend(attention.split(attention.query(query)), given, hidden_key)
        attention.zero_grad()
        seen.square().sum().backward()
        gradients.append(
            [seen.detach(), given.grad] + [p.grad.clone() for p in attention.parameters()]
        )
    for one, other in zip(*gradients):
        close(one, other, rel=1e-4)


@pytest.mark.parametrize("road", ["attend", "attend_few"])
def test_a_hidden_key_is_not_seen(attention, inputs, road):
    query, key_value, hidden_key = inputs
    attend = getattr(attention, road)
    query = attention.split(attention.query(query))
    changed = key_value.clone()
    changed[1, :3] += 1
    before, after = (attend(query, kv, hidden_key) for kv in (key_value, changed))
    torch.testing.assert_close(before, after)
    nothing = torch.zeros_like(hidden_key)
    assert not torch.allclose(
        attend(query, key_value, nothing)[1], attend(query, changed, nothing)[1], atol=1e-3
    )


@pytest.mark.parametrize("road", ["attend", "attend_few"])
def test_the_attention_map_is_dropped_out_in_training(attention, inputs, road):
    query, key_value, hidden_key = inputs
    attention.train()
    query = attention.split(attention.query(query))
    attend = getattr(attention, road)
    once, twice = (attend(query, key_value, hidden_key) for _ in range(2))
    assert not torch.allclose(once, twice, atol=1e-3)


def test_heads_that_do_not_divide_the_hidden_size_are_refused():
    with pytest.raises(ValueError, match="hidden_size 12 cannot be divided among n_heads 5"):
        DifferentialAttention(12, 5, 1, 0.2, 1e-12)


def test_dropout_keeps_the_share_and_the_mean_it_should():
    torch.manual_seed(0)
    x = torch.ones(200, 1000)
    dropped = Dropout(0.2)(x)
    assert set(dropped.unique().tolist()) == {0.0, 1.25}
    assert (dropped == 0).float().mean() == pytest.approx(0.2, abs=0.004)
    assert torch.equal(Dropout(0.2).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


@pytest.mark.parametrize("size", [5, 128, 300])
@pytest.mark.parametrize("factor", ["alike", "a row"])
def test_full_cross_entropy_is_that_over_all_items_but_the_padding(size, factor):
    torch.manual_seed(0)
    x, weight = torch.randn(size, 6), torch.randn(40, 6)
    target = torch.randint(1, 40, (size,))
    factor = 3 if factor == "alike" else torch.rand(size)
    results = []
    for loss in (
        lambda a, b: full_cross_entropy(a, b, target),
        lambda a, b: F.cross_entropy(a @ b[1:].T, target - 1, reduction="none"),
        lambda a, b: F.cross_entropy(a @ b.T, target, reduction="none"),
    ):
        a, b = x.clone().requires_grad_(), weight.clone().requires_grad_()
        value = loss(a, b)
        (factor * value).mean().backward()
        results.append((value.detach(), a.grad, b.grad))
    ours, theirs, with_padding = results
    for one, other in zip(ours, theirs):
        close(one, other)
    assert not torch.allclose(ours[0], with_padding[0])
    assert not ours[2][0].any() and with_padding[2][0].any()


def test_full_cross_entropy_of_large_scores_is_finite():
    x = torch.full((3, 2), 1e3, requires_grad=True)
    loss = full_cross_entropy(x, torch.randn(9, 2) * 1e2, torch.tensor([1, 2, 3]))
    loss.sum().backward()
    assert loss.isfinite().all() and x.grad.isfinite().all()
