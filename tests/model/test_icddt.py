"""ICDDT: parity with the published program, and the laws its shortcuts must keep."""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from recbole.data.interaction import Interaction
from recbole.utils import InputType, ModelType
from rounding import close

from recbole_diffusion.evaluator.curves import changed
from recbole_diffusion.model.layers.basic import sinusoid
from recbole_diffusion.model.positions import align_right
from recbole_diffusion.model.sequential_recommender.icddt import ICDDT

SETTINGS = {
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "BEHAVIOR_FIELD": "behavior",
    "LIST_SUFFIX": "_list",
    "ITEM_LIST_LENGTH_FIELD": "item_length",
    "NEG_PREFIX": "neg_",
    "MAX_ITEM_LIST_LENGTH": 5,
    "device": "cpu",
    "train_neg_sample_args": {"distribution": "none"},
    "hidden_size": 8,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dropout_prob": 0.2,
    "embedding_dropout_prob": 0.2,
    "diffusion_steps": 16,
    "noise_schedule": "trunc_lin",
    "lambda_uncertainty": 0.5,
    "target_alpha": 1.0,
    "target_beta": 1.0,
    "auxiliary_alpha": 1.0,
    "auxiliary_beta": 1.0,
    "truncation": "auto",
    "truncation_mass": 0.95,
    "ablate_x_t": False,
    "loss": "full",
    "n_negatives": 9,
}


class Dataset:
    """As much of a data set as a model asks for: 20 items, 4 behaviours, the last one a target."""

    def __init__(self, n_items=21, n_behaviors=5, target_behavior_ids=(4,)):
        self.sizes = {"item_id": n_items, "behavior": n_behaviors}
        self.target_behavior_ids = list(target_behavior_ids)

    def num(self, field):
        return self.sizes[field]


def build(dataset=None, model=ICDDT, seed=0, **settings):
    """A model with weights large enough for every part to matter, in evaluation mode."""
    torch.manual_seed(seed)
    built = model(defaultdict(lambda: None, SETTINGS | settings), dataset or Dataset())
    with torch.no_grad():
        for weight in built.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return built.eval()


def batch(items, behaviors, target_behavior, target_item=None, width=None):
    """An interaction of left-aligned sequences, padded to ``width`` or the longest."""
    width = width or max(map(len, items))
    pad = lambda rows: torch.tensor([row + [0] * (width - len(row)) for row in rows])  # noqa: E731
    return Interaction(
        {
            "item_id_list": pad(items),
            "behavior_list": pad(behaviors),
            "item_length": torch.tensor([len(row) for row in items]),
            "behavior": torch.tensor(target_behavior),
            "item_id": torch.tensor(target_item or [1] * len(items)),
        }
    )


THREE_ROWS = dict(
    items=[[3, 7, 1, 12, 20], [5, 9], [11, 4, 6]],
    behaviors=[[1, 1, 2, 4, 1], [1, 3], [4, 1, 2]],
    target_behavior=[4, 1, 4],
    target_item=[2, 13, 17],
)


def seeded(function, *args, seed=7):
    torch.manual_seed(seed)
    with torch.no_grad():
        return function(*args)


def generated(model, interaction, steps):
    """What a walk over the lowest levels gives."""
    with changed(model, levels=model.levels_of(steps)):
        return seeded(model.generate, model.guidance(interaction))


class Steady(ICDDT):
    """x_t enters without chance."""

    def inject(self, x_t, history):
        return 0.5 * x_t[:, None] + history


class Unpruned(ICDDT):
    """The last block gives all positions, too."""

    def output_positions(self, layer, n):
        return n


# ------------------------------------------------------------------ the published program


def published_weights(arrays):
    """Their arrays under our names; Q1, Q2 and K1, K2, V are stacked."""
    theirs = {key[2:]: torch.from_numpy(arrays[key]) for key in arrays if key.startswith("w/")}
    network = "diffu.xstart_model."
    names = {
        "item_embeddings.weight": "item_embedding.weight",
        "beha_embeddings.weight": "behavior_embedding.weight",
        "position_embeddings.weight": "position_embedding.weight",
        "LayerNorm": "history_norm",
        network + "time_embed": "step_embedding",
        network + "norm_diffu_rep": "output_norm",
    }
    parts = {
        "input_sublayer.adaLN_modulation.1": "shift_scale",
        "input_sublayer_beha.norm": "behavior_norm",
        "output_sublayer_beha.norm": "feed_forward_norm",
        "output_sublayer_beha.adaLN_modulation.1": "gate",
        "feed_forward_beha.w_1": "feed_forward.0",
        "feed_forward_beha.w_2": "feed_forward.3",
    }
    for layer in (0, 1):
        block = f"{network}all_att.all_transformer_blocks.{layer}."
        names |= {block + part: f"blocks.{layer}.{ours}" for part, ours in parts.items()}
        for attention, ours in {
            "attention": "attention",
            "attention_beha": "behavior_attention",
        }.items():
            names[f"{block}{attention}.c_proj"] = f"blocks.{layer}.{ours}.output"
            names[f"{block}{attention}.subln"] = f"blocks.{layer}.{ours}.norm"
    state = {}
    for old, new in names.items():
        for key in [key for key in theirs if re.match(re.escape(old) + r"(\.|$)", key)]:
            state[new + key[len(old) :]] = theirs[key]
    for layer in (0, 1):
        block = f"{network}all_att.all_transformer_blocks.{layer}."
        for attention, ours in {
            "attention.": "attention.",
            "attention_beha.": "behavior_attention.",
        }.items():
            old, new = block + attention, f"blocks.{layer}.{ours}"
            for kind in ("weight", "bias"):
                query = [theirs[f"{old}{part}_proj.{kind}"] for part in ("q1", "q2")]
                key_value = [theirs[f"{old}{part}_proj.{kind}"] for part in ("k1", "k2", "v")]
                state[f"{new}query.{kind}"] = torch.cat(query)
                state[f"{new}key_value.{kind}"] = torch.cat(key_value)
            for side in ("q", "k"):
                pair = [theirs[f"{old}lambda_{side}{i}"] for i in (1, 2)]
                state[f"{new}lambda_{side}"] = torch.stack(pair)
    return state


@pytest.fixture(scope="module")
def published(shared_path):
    """The published program's arrays as tensors, and our model with its weights."""
    arrays = dict(np.load(shared_path("reference/icddt.npz")))

    class Replay(ICDDT):
        """x_t enters by the recorded multiplier."""

        def inject(self, x_t, history):
            return torch.from_numpy(arrays["lam"]) * x_t[:, None] + history

    model = build(model=Replay)
    missing = model.load_state_dict(published_weights(arrays), strict=False)
    assert missing.missing_keys == ["walk_steps"] and not missing.unexpected_keys
    values = {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays}
    interaction = batch(
        values["item_seq"].tolist(),
        values["behavior_seq"].tolist(),
        values["target_behavior"].tolist(),
        values["target_item"].tolist(),
    )
    return model, values, interaction


@pytest.fixture(scope="module")
def computed(published):
    """What our model makes of the published program's inputs."""
    model, arrays, interaction = published
    with torch.no_grad():
        level = arrays["level"]
        x0 = model.item_embedding(interaction["item_id"])
        x_t = model.diffusion.q_sample(x0, level, arrays["eps"])
        conditions = model.guidance(interaction)
        time_input = (level - 1) * (1000 / 16)
        x0_hat = model(x_t, level, conditions)
        factors = [model.diffusion.coefficients(int(t), int(t) - 1) for t in level]
        from_x0, from_xt, variance = torch.tensor(factors).T[:, :, None]
        nothing = torch.zeros(2, 1, 1, 4, dtype=torch.bool)
        attention = model.blocks[1].attention
        return {
            "x0": x0,
            "x_t": x_t,
            "sequence": model.history_norm(conditions.history),
            "time_input": time_input,
            "time_embedding": model.step_embedding(level),
            "x0_hat": x0_hat,
            "posterior_mean": from_x0 * x0_hat + from_xt * x_t,
            "reverse_variance": variance[:, 0],
            # the published program lets the padding compete
            "ce_loss": F.cross_entropy(
                x0_hat @ model.item_embedding.weight.T, interaction["item_id"]
            ),
            "attention_out": attention(arrays["attention_q"], arrays["attention_kv"], nothing),
        }


RESULTS = (
    "x0 x_t sequence time_input time_embedding x0_hat posterior_mean reverse_variance ce_loss "
    "attention_out"
)


@pytest.mark.parametrize("name", RESULTS.split())
def test_the_model_gives_the_published_numbers(published, computed, name):
    model, arrays, _ = published
    expected = arrays[name]
    if name == "reverse_variance":
        # their row 1 is never used: no noise is added in the step to the data
        assert arrays["level"][0] == 1 and computed[name][0] == 0
        assert expected[0] == pytest.approx(model.diffusion.posterior(2, 1)[2])
        computed, expected = {name: computed[name][1:]}, expected[1:]
    close(computed[name], expected, rel=2e-6, check_dtype=False)


@torch.no_grad()
def test_the_unpruned_model_gives_the_published_numbers(published, computed):
    model, arrays, interaction = published
    plain = build(model=type("Plain", (Unpruned, type(model)), {}))
    plain.load_state_dict(model.state_dict())
    x0_hat = plain(computed["x_t"], arrays["level"], plain.guidance(interaction))
    close(x0_hat, arrays["x0_hat"], rel=2e-6)


# ------------------------------------------------------------------ sequences


def x0_hat_of(model, interaction, conditions=None, level=9):
    """The estimate for one x_t a row, the same in every call, without any chance."""
    rows = len(interaction)
    torch.manual_seed(11)
    x_t = torch.randn(rows, model.hidden_size)
    with torch.no_grad():
        t = torch.full((rows,), level)
        return model(x_t, t, conditions or model.guidance(interaction))


def test_padding_does_not_change_a_score():
    model = build(model=Steady)
    wide = batch(**THREE_ROWS)
    narrow = batch(**{key: value[1:] for key, value in THREE_ROWS.items()})
    assert narrow["item_id_list"].shape == (2, 3)
    torch.manual_seed(11)
    x_t, t = torch.randn(3, 8), torch.tensor([9, 4, 16])
    with torch.no_grad():
        padded = model(x_t, t, model.guidance(wide))[1:]
        cropped = model(x_t[1:], t[1:], model.guidance(narrow))
        close(padded, cropped)
        # without the mask it does
        conditions = model.guidance(wide)
        seen = conditions._replace(padded=torch.zeros_like(conditions.padded))
        unmasked = model(x_t, t, seen)
    assert not torch.allclose(unmasked[1:], cropped, atol=1e-2)
    torch.testing.assert_close(unmasked[0], model(x_t, t, conditions)[0])  # a full row has none


def test_columns_of_padding_can_be_cropped():
    model = build(model=Steady)
    rows = {key: value[1:] for key, value in THREE_ROWS.items()}
    torch.testing.assert_close(
        x0_hat_of(model, batch(**rows)), x0_hat_of(model, batch(**rows, width=5))
    )


def test_sequences_are_moved_to_the_right():
    sequence = torch.tensor([[1, 2, 3], [4, 5, 0], [6, 0, 0], [0, 0, 0]])
    moved = align_right(sequence, torch.tensor([3, 2, 1, 0]))
    assert moved.tolist() == [[1, 2, 3], [0, 4, 5], [0, 0, 6], [0, 0, 0]]


@torch.no_grad()
def test_the_newest_item_has_the_last_position():
    model = build()
    history = model.guidance(batch(**THREE_ROWS)).history
    for row, (items, behaviors) in enumerate(zip(THREE_ROWS["items"], THREE_ROWS["behaviors"])):
        for back, (item, behavior) in enumerate(zip(items[::-1], behaviors[::-1]), start=1):
            embedded = model.item_embedding.weight[item] + model.behavior_embedding.weight[behavior]
            expected = model.history_norm(embedded + model.position_embedding.weight[-back])
            torch.testing.assert_close(model.history_norm(history[row, -back]), expected)


def test_a_position_asks_for_the_behavior_that_follows_it():
    asked = []

    class Recording(Unpruned):
        def behavior_query(self, attention, behavior):
            asked.append(behavior.tolist())
            return super().behavior_query(attention, behavior)

    build(model=Recording).guidance(batch(**THREE_ROWS))
    # in front of the first behaviour lies padding, which nothing sees
    assert asked[0] == [[1, 2, 4, 1, 4], [0, 0, 1, 3, 1], [0, 4, 1, 2, 4]]
    assert asked[1] == asked[0]


@torch.no_grad()
def test_a_behavior_is_projected_like_any_embedding():
    model = build()
    attention = model.blocks[0].behavior_attention
    behavior = torch.tensor([[1, 4, 0], [3, 3, 2]])
    expected = attention.split(attention.query(model.behavior_embedding(behavior)))
    torch.testing.assert_close(model.behavior_query(attention, behavior), expected)


def test_an_empty_history_gives_a_finite_score():
    model = build()
    interaction = batch([[], [3]], [[], [1]], [4, 4])
    with torch.no_grad():
        assert model.full_sort_predict(interaction).isfinite().all()
    model.train()
    loss = model.calculate_loss(interaction)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


# ------------------------------------------------------------------ shortcuts


def test_pruning_the_last_block_changes_nothing():
    pruned, whole = build(model=Steady), build(model=type("Whole", (Unpruned, Steady), {}))
    interaction = batch(**THREE_ROWS)
    close(x0_hat_of(pruned, interaction), x0_hat_of(whole, interaction))
    gradients = []
    for model in (pruned, whole):
        torch.manual_seed(1)
        model.calculate_loss(interaction).backward()
        gradients.append([p.grad for p in model.parameters()])
    for one, other in zip(*gradients):
        close(one, other, rel=1e-4)
    # and the number of positions does matter to the last block
    conditions = whole.guidance(interaction)
    assert [q.shape[2] for q in conditions.queries] == [5, 5]
    assert [q.shape[2] for q in pruned.guidance(interaction).queries] == [5, 1]


def test_a_walk_is_the_plain_one_step_after_step():
    model = build()
    interaction = batch(**THREE_ROWS)
    walked = generated(model, interaction, 6)

    def plain(interaction):
        beta = torch.cat([torch.zeros(1), torch.linspace(0.01625, 0.0725, 16)])
        alpha_bar = torch.cumprod(1 - beta, dim=0)
        x = torch.randn(3, 8)
        for t in range(6, 0, -1):
            x0_hat = model(x, torch.full((3,), t), model.guidance(interaction))
            before = alpha_bar[t - 1]
            mean = beta[t] * before.sqrt() / (1 - alpha_bar[t]) * x0_hat
            mean = mean + (1 - before) * (1 - beta[t]).sqrt() / (1 - alpha_bar[t]) * x
            noise = torch.randn_like(x)
            x = mean + beta[t].sqrt() * noise if t > 1 else mean
        return x

    close(walked, seeded(plain, interaction))
    assert not torch.allclose(walked, generated(model, interaction, 7), atol=1e-2)


def test_steps_are_tables_of_all_levels():
    model = build(model=Steady)
    interaction = batch(**THREE_ROWS)
    conditions = model.guidance(interaction)
    for block, steps in zip(model.blocks, conditions.steps):
        for level in (1, 9, 16):
            into, activation, out = model.step_embedding
            c = out(activation(into(sinusoid(torch.tensor([(level - 1) * 62.5]), 8, 4))))
            for table, row in zip(steps, block.step_tables(c)):
                torch.testing.assert_close(table[level], row[0])
    assert not torch.allclose(
        x0_hat_of(model, interaction, level=1), x0_hat_of(model, interaction, level=16), atol=1e-3
    )


# ------------------------------------------------------------------ diffusion


def test_x_t_enters_times_a_normal_multiplier():
    model = build(lambda_uncertainty=0.3)
    torch.manual_seed(0)
    lam = model.inject(torch.ones(100, 8), torch.zeros(100, 50, 8))
    assert lam.mean().item() == pytest.approx(0.3, abs=0.01) and lam.std().item() == pytest.approx(
        0.3, abs=0.01
    )
    history = torch.randn(2, 5, 8)
    assert torch.equal(build(lambda_uncertainty=0.0).inject(torch.ones(2, 8), history), history)


def test_x_t_decides_as_much_as_lambda_lets_it():
    interaction = batch(**THREE_ROWS)
    spread = []
    for uncertainty in (0.5, 0.001, 0.0):
        model = build(lambda_uncertainty=uncertainty)
        conditions = model.guidance(interaction)
        t = torch.full((3,), 8)
        one, other = (seeded(model, x, t, conditions) for x in torch.randn(2, 3, 8))
        spread.append((one - other).abs().max().item())
    assert spread[0] > 100 * spread[1] > 0 and spread[2] == 0


def test_behaviors_have_distributions_of_their_own():
    settings = dict(target_alpha=0.3, target_beta=3.0, auxiliary_alpha=6.0)
    rows = batch([[1]] * 4000, [[1]] * 4000, [4, 2] * 2000)

    def levels_of(model):
        t, factor = model.sample_t(rows, torch.arange(4000))
        assert (factor == 1).all()
        return t

    torch.manual_seed(0)
    target, auxiliary = levels_of(build(**settings)).view(-1, 2).double().mean(dim=0).tolist()
    assert target < 5 and auxiliary > 12
    # with one more target behaviour there is one distribution
    model = build(Dataset(target_behavior_ids=[2, 4]), **settings)
    target, auxiliary = levels_of(model).view(-1, 2).double().mean(dim=0).tolist()
    assert target == pytest.approx(auxiliary, abs=0.4)


def test_the_loss_is_the_cross_entropy_of_the_rebuilt_target():
    model = build()
    interaction = batch(**THREE_ROWS)
    loss = seeded(model.calculate_loss, interaction)

    def plain(interaction):
        item = interaction["item_id"]
        x0 = model.item_embedding(item)
        t, _ = model.sample_t(interaction, torch.arange(3))
        alpha_bar = torch.cumprod(1 - torch.linspace(0.01625, 0.0725, 16), dim=0)[t - 1][:, None]
        x_t = alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * torch.randn_like(x0)
        x0_hat = model(x_t, t, model.guidance(interaction))
        return F.cross_entropy(x0_hat @ model.item_embedding.weight[1:].T, item - 1)

    torch.testing.assert_close(loss, seeded(plain, interaction))


def test_training_drops_out_and_evaluation_does_not():
    model = build(model=Steady)
    interaction = batch(**THREE_ROWS)
    assert torch.equal(x0_hat_of(model, interaction), x0_hat_of(model, interaction))
    torch.testing.assert_close(
        x0_hat_of(model, interaction),
        x0_hat_of(build(model=Steady, hidden_dropout_prob=0.7), interaction),
    )
    assert model.blocks[0].attention_dropout.p == pytest.approx(0.36)
    model.train()
    t = torch.full((3,), 9)
    once, twice = (model(torch.ones(3, 8), t, model.guidance(interaction)) for _ in range(2))
    assert not torch.allclose(once, twice, atol=1e-2)


def test_every_weight_learns():
    model = build().train()
    model.calculate_loss(batch(**THREE_ROWS)).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.any(), name


def test_weights_begin_small_and_lambda_vectors_larger():
    torch.manual_seed(0)
    model = ICDDT(defaultdict(lambda: None, SETTINGS | {"hidden_size": 64}), Dataset(n_items=500))
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            assert not weight.any(), name
        elif "norm" in name:
            assert (weight == 1).all(), name
        elif "lambda" in name:
            assert weight.std().item() == pytest.approx(0.1, rel=0.3), name
        else:
            assert weight.std().item() == pytest.approx(0.02, rel=0.15), name


# ------------------------------------------------------------------ scores


def test_scores_are_inner_products_with_all_items():
    model = build()
    interaction = batch(**THREE_ROWS)
    scores = seeded(model.full_sort_predict, interaction)
    x0 = generated(model, interaction, 16)
    assert scores.shape == (3, 21)
    torch.testing.assert_close(scores, x0 @ model.item_embedding.weight.T)
    given = seeded(model.predict, interaction)
    torch.testing.assert_close(given, scores[torch.arange(3), interaction["item_id"]])


def test_the_target_is_not_read_when_scoring():
    model = build()
    scores = seeded(model.full_sort_predict, batch(**THREE_ROWS))
    other = batch(**THREE_ROWS | {"target_item": [9, 9, 9]})
    assert torch.equal(scores, seeded(model.full_sort_predict, other))
    other = batch(**THREE_ROWS | {"target_behavior": [1, 2, 1]})
    assert not torch.allclose(scores, seeded(model.full_sort_predict, other), atol=1e-3)


def test_one_behavior_needs_no_behaviors():
    settings = dict(target_alpha=0.3)
    ones = dict(THREE_ROWS, behaviors=[[1] * 5, [1] * 2, [1] * 3], target_behavior=[1, 1, 1])
    several = build(Dataset(n_behaviors=2, target_behavior_ids=[1]), **settings)
    one = build(BEHAVIOR_FIELD=None, **settings)
    one.load_state_dict(several.state_dict())
    interaction = batch(**ones)
    without = Interaction(
        {key: interaction[key] for key in ("item_id_list", "item_length", "item_id")}
    )
    for method in ("full_sort_predict", "calculate_loss"):
        torch.testing.assert_close(
            seeded(getattr(one, method), without), seeded(getattr(several, method), interaction)
        )


def test_the_host_takes_the_model_for_a_sequential_one():
    assert ICDDT.type == ModelType.SEQUENTIAL and ICDDT.input_type == InputType.POINTWISE


# ------------------------------------------------------------------ truncation


@pytest.mark.parametrize(
    "truncation, steps",
    [("auto", 16), (1, 16), (1.0, 16), (0.5, 8), (0.3, 4), (0.01, 1), ("mass", 16)],
)
def test_truncation_decides_how_many_levels_are_walked(truncation, steps):
    model = build(truncation=truncation)
    assert int(model.walk_steps) == steps and model.walk_steps.dtype == torch.int64


def test_a_share_of_the_levels_is_not_lost_to_rounding():
    assert int(build(truncation=0.29, diffusion_steps=100).walk_steps) == 29  # 28.999... as floats


@pytest.mark.parametrize("alpha, mass", [(1.0, 0.5), (0.5, 0.5), (0.5, 0.95), (0.2, 1.0)])
def test_mass_walks_the_levels_most_training_was_on(alpha, mass):
    model = build(truncation="mass", truncation_mass=mass, target_alpha=alpha)
    steps = int(model.walk_steps)
    p = model.timesteps.probabilities.double()
    assert p[: steps + 1].sum() > mass - 1e-5 and p[:steps].sum() < mass
    if alpha == 1.0:
        assert steps == 8


def test_scoring_walks_as_many_levels_as_a_checkpoint_says():
    decided, fresh = build(), build()
    decided.walk_steps.fill_(3)
    fresh.load_state_dict(decided.state_dict())
    interaction = batch(**THREE_ROWS)
    scores = seeded(fresh.full_sort_predict, interaction)
    x0 = generated(fresh, interaction, 3)
    torch.testing.assert_close(scores, x0 @ fresh.item_embedding.weight.T)
    assert not torch.allclose(scores, seeded(build().full_sort_predict, interaction), atol=1e-2)


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    "setting, reason",
    [
        ({"hidden_size": 10, "n_heads": 4}, "hidden_size 10 cannot be divided among n_heads 4"),
        ({"hidden_size": 9, "n_heads": 3}, "hidden_size 9 is odd"),
        ({"n_layers": 0}, "n_layers is 0"),
        ({"noise_schedule": "linar"}, "'linar' is unknown; known: trunc_lin, linear"),
        ({"noise_schedule": "binomial"}, "'binomial' is unknown"),
        ({"noise_schedule": "linear"}, "at level 13 of 16"),
        ({"diffusion_steps": 0}, "diffusion_steps is 0"),
        ({"lambda_uncertainty": -0.1}, "lambda_uncertainty is -0.1"),
        ({"target_beta": 0.5}, "infinite density"),
        ({"auxiliary_alpha": 0}, "is not a distribution"),
        ({"truncation": 0}, "truncation 0 is neither"),
        ({"truncation": 1.5}, "truncation 1.5 is neither"),
        ({"truncation": "most"}, "truncation 'most' is neither"),
        ({"truncation": True}, "truncation True is neither"),
        ({"truncation": "mass", "truncation_mass": 0}, "truncation_mass 0"),
    ],
)
def test_a_setting_no_model_can_have_is_refused(setting, reason):
    with pytest.raises(ValueError, match=reason):
        build(**setting)


def test_the_settings_file_builds_the_model():
    path = Path(__file__).resolve().parents[2] / "properties" / "model" / "ICDDT.yaml"
    settings = yaml.safe_load(path.read_text())
    host = {key: SETTINGS[key] for key in SETTINGS if key.isupper() or key in ("device",)}
    host |= {"LIST_SUFFIX": "_list", "NEG_PREFIX": "neg_", "MAX_ITEM_LIST_LENGTH": 50}
    host["walk_steps"] = None  # of overall.yaml
    assert settings.pop("train_neg_sample_args") is None
    host["train_neg_sample_args"] = SETTINGS["train_neg_sample_args"]  # as RecBole reads a None
    assert set(SETTINGS) - set(host) <= set(settings)

    class Config(dict):
        def __missing__(self, key):
            pytest.fail(f"{key} is read and not declared")

    model = ICDDT(Config(host | settings), Dataset())
    assert model.hidden_size == 128 and model.diffusion.steps == 16 and model.n_layers == 2


# ------------------------------------------------------------------ learning


def chain(predictability, rows, seed, n_items=12, length=6):
    """Rows of a chain: behaviour 1 asks for the item after the last one, 4 for the one before."""
    draw = torch.Generator().manual_seed(seed)
    start = torch.randint(n_items, (rows, 1), generator=draw)
    items = (start + torch.arange(length)) % n_items + 1
    items = torch.where(
        torch.rand(rows, length, generator=draw) < 0.2,
        torch.randint(1, n_items + 1, (rows, length), generator=draw),
        items,
    )
    asked = torch.randint(2, (rows,), generator=draw) * 3 + 1
    target = (items[:, -1] - 1 + torch.where(asked == 1, 1, -1)) % n_items + 1
    noise = torch.randint(1, n_items + 1, (rows,), generator=draw)
    target = torch.where(torch.rand(rows, generator=draw) < predictability, target, noise)
    return Interaction(
        {
            "item_id_list": items,
            "behavior_list": torch.ones_like(items),
            "item_length": torch.full((rows,), length),
            "behavior": asked,
            "item_id": target,
        }
    )


def hit_at_1(model, interaction):
    model.eval()
    scores = seeded(model.full_sort_predict, interaction)
    scores[:, 0] = -torch.inf
    return (scores.argmax(dim=1) == interaction["item_id"]).float().mean().item()


def trained(predictability):
    torch.manual_seed(0)
    settings = SETTINGS | {
        "hidden_size": 32,
        "MAX_ITEM_LIST_LENGTH": 6,
        "hidden_dropout_prob": 0.0,
        "embedding_dropout_prob": 0.0,
        "lambda_uncertainty": 0.001,
    }
    model = ICDDT(defaultdict(lambda: None, settings), Dataset(n_items=13))
    untrained = hit_at_1(model, chain(predictability, 400, seed=99))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    model.train()
    for step in range(100):
        optimizer.zero_grad()
        model.calculate_loss(chain(predictability, 64, seed=step)).backward()
        optimizer.step()
    return model, untrained


@pytest.mark.slow
def test_a_predictable_chain_is_learned_and_a_random_one_is_not():
    model, untrained = trained(1.0)
    assert untrained < 0.3
    rows = chain(1.0, 400, seed=99)
    assert hit_at_1(model, rows) > 0.95
    # the item is another one for the other behaviour
    rows["behavior"] = 5 - rows["behavior"]
    assert hit_at_1(model, rows) < 0.05
    assert hit_at_1(trained(0.0)[0], chain(0.0, 400, seed=99)) < 0.2
