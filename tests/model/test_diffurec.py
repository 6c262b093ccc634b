"""DiffuRec: the formulas of its paper, one by one, and what the network may see."""

import math

import pytest
import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from torch import nn

from recbole_diffusion.config.config import Config
from recbole_diffusion.model.layers.basic import sinusoid

SMALL = {
    "use_gpu": False,
    "hidden_size": 8,
    "n_layers": 2,
    "n_heads": 2,
    "diffusion_steps": 12,
    "hidden_dropout_prob": 0.0,
    "embedding_dropout_prob": 0.0,
    "lambda_uncertainty": 0.5,
    "MAX_ITEM_LIST_LENGTH": 6,
}


class Items:
    """As much of a data set as the model asks for."""

    def __init__(self, n_items):
        self.n_items = n_items

    def num(self, field):
        return self.n_items


def build(n_items=16, seed=0, large=True, **settings):
    """The model in evaluation mode, with weights large enough for every part to matter."""
    config = Config("DiffuRec", "tiny", config_dict=SMALL | settings)
    torch.manual_seed(seed)
    model = config.model_class(config, Items(n_items))
    with torch.no_grad():
        for weight in model.parameters() if large else ():
            weight.add_(0.3 * torch.randn_like(weight))
    return model.eval()


def histories(*rows, target=None, width=None):
    """A batch of left-aligned histories."""
    item = torch.zeros(len(rows), width or max(map(len, rows)), dtype=torch.long)
    for row, items in zip(item, rows):
        row[: len(items)] = torch.tensor(items, dtype=torch.long)
    length = torch.tensor([len(row) for row in rows])
    target = torch.tensor(target or [1] * len(rows))
    return Interaction({"item_id_list": item, "item_length": length, "item_id": target})


BATCH = histories([3, 1, 2], [5], [7, 8, 9, 1, 2, 3], [4, 4], target=[4, 9, 2, 11])


def x0_hat(model, batch, level=7):
    """The estimate for one x_t a row, the same in every call."""
    torch.manual_seed(11)
    x_t, t = torch.randn(len(batch), 8), torch.full((len(batch),), level)
    with torch.no_grad():
        return model(x_t, t, model.guidance(batch))


# ------------------------------------------------------------------ the formulas
@torch.no_grad()
def test_the_estimate_is_that_of_the_paper():
    """z_i = e_i + lambda_i (x_t + d_t), LayerNorm, a bidirectional post-norm Transformer."""
    model, t = build(), torch.tensor([3])
    items = torch.tensor([7, 8, 9])
    torch.manual_seed(5)
    x_t = torch.randn(1, 8)
    torch.manual_seed(6)
    found = model(x_t, t, model.guidance(histories(items.tolist())))

    torch.manual_seed(6)
    lam = 0.5 + 0.5 * torch.randn(1, 3, 1)[0]
    first, _, second = model.step_embedding
    d = second(F.silu(first(sinusoid(t - 1, 8, 4))))
    assert first.weight.shape == (32, 8)
    h = model.norm(model.item_embedding.weight[items] + lam * (x_t + d))
    for block in model.blocks.layers:
        q, k, v = F.linear(h, block.self_attn.in_proj_weight, block.self_attn.in_proj_bias).chunk(
            3, dim=1
        )
        heads = []
        for part in (slice(0, 4), slice(4, 8)):
            attention = (q[:, part] @ k[:, part].T / math.sqrt(4)).softmax(dim=1)
            heads.append(attention @ v[:, part])
        h = block.norm1(h + block.self_attn.out_proj(torch.cat(heads, dim=1)))
        h = block.norm2(h + block.linear2(F.gelu(block.linear1(h))))
        assert block.linear1.weight.shape == (32, 8)
    torch.testing.assert_close(found[0], h[-1], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_lambda_is_drawn_once_a_position_in_training_and_in_scoring():
    model = build(lambda_uncertainty=0.3)
    model.norm, model.blocks = nn.Identity(), PassThrough()
    model.step_embedding = NoStep()
    history = model.guidance(histories(*[[1, 2, 3, 4, 5, 6]] * 2000))
    history = history._replace(e=torch.zeros_like(history.e))
    for mode in (True, False):
        model.train(mode)
        model(torch.ones(2000, 8), torch.ones(2000, dtype=torch.long), history)
        lam = model.blocks.seen  # [2000, 6, 8]
        assert lam.mean().item() == pytest.approx(0.3, abs=0.02)
        assert lam.std().item() == pytest.approx(0.3, abs=0.02)
        assert torch.equal(lam, lam[..., :1].expand_as(lam))  # one for all coordinates
        assert not torch.allclose(lam[:, 0], lam[:, 1], atol=0.1)


class NoStep(nn.Module):
    """All levels alike."""

    def forward(self, t):
        return torch.zeros(len(t), 8)


class PassThrough(nn.Module):
    """Keeps what it is given, and gives it back."""

    def forward(self, z, src_key_padding_mask):
        self.seen = z
        return z


@torch.no_grad()
def test_a_walk_draws_from_the_posterior_at_every_level():
    model = build(noise_schedule="sqrt", lambda_uncertainty=0.0)
    guidance = model.guidance(BATCH)
    torch.manual_seed(4)
    walked = model.generate(guidance)

    u = torch.arange(13, dtype=torch.float64) / 12
    alpha_bar = 1 - (u + 1e-4).sqrt()
    beta = torch.cat([torch.zeros(1), (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=0.999)])
    alpha_bar = (1 - beta).cumprod(dim=0)
    torch.manual_seed(4)
    x = torch.randn(4, 8)
    for t in range(12, 0, -1):
        estimate = model(x, torch.full((4,), t), guidance)
        before = alpha_bar[t - 1]
        mean = beta[t] * before.sqrt() / (1 - alpha_bar[t]) * estimate
        mean += (1 - before) * (1 - beta[t]).sqrt() / (1 - alpha_bar[t]) * x
        x = mean + (beta[t] * (1 - before) / (1 - alpha_bar[t])).sqrt() * drawn(x)
    torch.testing.assert_close(walked, x.float(), rtol=1e-5, atol=1e-5)
    assert model.denoiser_calls == 12


def drawn(x):
    """Noise after the empty draw of the network's lambda, as the walk draws it."""
    return torch.randn(x.shape)


def test_the_loss_is_the_cross_entropy_of_the_rebuilt_target():
    model = build()

    def by_hand():
        target, history = BATCH["item_id"], model.guidance(BATCH)
        t, _ = model.timesteps.sample(4)
        x0 = model.item_embedding(target)
        x_t = model.diffusion.signal[t, None] * x0
        x_t = x_t + model.diffusion.noise[t, None] * torch.randn(4, 8)
        scores = model(x_t, t, history) @ model.item_embedding.weight[1:].T
        return F.cross_entropy(scores, target - 1)

    torch.manual_seed(2)
    expected = by_hand()
    torch.manual_seed(2)
    torch.testing.assert_close(model.calculate_loss(BATCH), expected)


def test_levels_are_drawn_alike():
    t, factor = build().timesteps.sample(24000)
    share = torch.bincount(t, minlength=13)[1:] / 24000
    assert (factor == 1).all() and (share - 1 / 12).abs().max() < 0.01


# ------------------------------------------------------------------ what the network sees
def test_padding_does_not_change_an_estimate():
    model = build(lambda_uncertainty=0.0)
    rows = [[3, 1, 2], [5]]
    narrow, wide = x0_hat(model, histories(*rows)), x0_hat(model, histories(*rows, width=6))
    torch.testing.assert_close(narrow, wide, rtol=1e-5, atol=1e-5)
    other = histories([3, 1, 2], [5, 9, 9])  # the control: items, not padding
    assert not torch.allclose(x0_hat(model, other)[1], narrow[1], atol=1e-2)


def test_the_items_before_the_last_are_a_set_and_the_last_is_not_of_it():
    model = build(lambda_uncertainty=0.0)
    one, other, swapped = (
        x0_hat(model, histories(row)) for row in ([7, 8, 9, 2], [9, 7, 8, 2], [2, 8, 9, 7])
    )
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(one, swapped, atol=1e-2)


def test_x_t_decides_as_much_as_lambda_lets_it():
    spread = []
    for delta in (0.5, 0.001, 0.0):
        model = build(lambda_uncertainty=delta)
        history, t = model.guidance(BATCH), torch.full((4,), 8)
        estimates = []
        for x_t in torch.randn(2, 4, 8):
            torch.manual_seed(1)
            with torch.no_grad():
                estimates.append(model(x_t, t, history))
        spread.append((estimates[0] - estimates[1]).abs().max().item())
    assert spread[0] > 50 * spread[1] > 0 == spread[2]


def test_an_empty_history_gives_a_finite_score_and_gradient():
    model, batch = build(), histories([], [3], target=[2, 4])
    assert model.full_sort_predict(batch).isfinite().all()
    model.train().calculate_loss(batch).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_dropout_acts_in_training_alone():
    model = build(embedding_dropout_prob=0.4, hidden_dropout_prob=0.4, lambda_uncertainty=0.0)
    assert torch.equal(x0_hat(model, BATCH), x0_hat(model, BATCH))
    model.train()
    torch.manual_seed(1)
    t, x_t = torch.full((4,), 3), torch.randn(4, 8)
    once, again = (model(x_t, t, model.guidance(BATCH)) for _ in range(2))
    assert not torch.allclose(once, again, atol=1e-2)


def test_every_weight_learns_and_no_layer_begins_as_another():
    model = build(large=False).train()
    first, second = (block.state_dict() for block in model.blocks.layers)
    for name, weight in first.items():
        if weight.dim() == 2:
            assert not torch.equal(weight, second[name]), name
            assert weight.std().item() == pytest.approx(0.02, rel=0.4), name
    build_up = build().train()
    build_up.calculate_loss(BATCH).backward()
    for name, weight in build_up.named_parameters():
        assert weight.grad is not None and weight.grad.any(), name


# ------------------------------------------------------------------ refusals, learning
@pytest.mark.parametrize(
    "settings, message",
    [
        (
            {"noise_schedule": "binomial"},
            "noise_schedule is 'binomial', it must be one of",
        ),
        ({"lambda_uncertainty": -1}, "lambda_uncertainty is -1, it must be a number of at least 0"),
        (
            {"truncation": "mass"},
            "truncation is 'mass', it must be a number .* or auto",
        ),
        ({"hidden_size": 9, "n_heads": 2}, "hidden_size 9 cannot be divided among n_heads 2"),
        ({"n_layers": 0}, "n_layers is 0"),
    ],
)
def test_a_setting_no_model_can_have_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


@pytest.mark.parametrize("truncation, steps", [("auto", 12), (1.0, 12), (0.25, 3), (1.0e-9, 1)])
def test_truncation_decides_how_many_levels_are_walked(truncation, steps):
    assert build(truncation=truncation).denoiser_calls == steps


def test_a_chain_of_items_is_learnt():
    """After item i comes i + 1; with targets by chance there is nothing to learn."""
    rows = [[i, i + 1, i + 2] for i in range(1, 8)]
    right = [row[-1] + 1 for row in rows]
    hits = {}
    for name, target in {"chain": right, "none": right[::-1]}.items():
        model = build(n_items=11, large=False, hidden_size=16, lambda_uncertainty=0.001)
        batch = histories(*rows, target=target)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

        def found(model=model):
            model.eval()
            with torch.no_grad():
                ranked = model.full_sort_predict(histories(*rows))[:, 1:].argmax(dim=1) + 1
            return (ranked == torch.tensor(right)).sum().item()

        hits[name, "before"] = found()
        for _ in range(80):
            model.train()
            optimizer.zero_grad()
            model.calculate_loss(batch).backward()
            optimizer.step()
        hits[name, "after"] = found()
    assert hits["chain", "after"] == 7
    assert max(hits["chain", "before"], hits["none", "before"], hits["none", "after"]) < 4
