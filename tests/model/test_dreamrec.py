"""DreamRec: parity with the published program, and the laws of its walks."""

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from rounding import close

from recbole_diffusion.config.config import Config

# the published names -> ours
WEIGHTS = {
    "ln_1": "encoder.query_norm",
    "ln_2": "encoder.attention_norm",
    "ln_3": "encoder.output_norm",
    "mh_attn.linear_q": "encoder.query",
    "mh_attn.linear_k": "encoder.key",
    "mh_attn.linear_v": "encoder.value",
    "feed_forward.w_1": "encoder.inner",
    "feed_forward.w_2": "encoder.outer",
    "feed_forward.layer_norm": "encoder.feed_forward_norm",
    "step_mlp.1": "step_embedding.0",
    "step_mlp.3": "step_embedding.2",
    "diffuser.0": "denoiser",
}


class Items:
    """As much of a data set as the model asks for."""

    def __init__(self, n_items):
        self.n_items = n_items

    def num(self, field):
        return self.n_items


# The published program's settings, where the defaults are others.
PUBLISHED = {
    "guidance_weight": 2.0, "level_power": 1.0, "normalize": False, "ce_weight": 0.0,
    "embedding_std": 1.0, "dropout_prob": 0.1,
}  # fmt: skip


def build(n_items=16, seed=0, **settings):
    """The model in evaluation mode, as published but for the settings."""
    small = PUBLISHED | {
        "use_gpu": False,
        "hidden_size": 8,
        "diffusion_steps": 30,
        "MAX_ITEM_LIST_LENGTH": 6,
    }
    config = Config("DreamRec", "tiny", config_dict=small | settings)
    torch.manual_seed(seed)
    return config.model_class(config, Items(n_items)).eval()


def histories(*rows, target=None):
    """A batch of left-aligned histories."""
    length = [len(row) for row in rows]
    item = torch.zeros(len(rows), max(length), dtype=torch.long)
    for row, items in zip(item, rows):
        row[: len(items)] = torch.tensor(items)
    columns = {"item_id_list": item, "item_length": torch.tensor(length)}
    if target is not None:
        columns["item_id"] = torch.tensor(target)
    return Interaction(columns)


BATCH = histories([3, 1, 2], [5], [7, 8, 9, 1, 2, 3], [4, 4])


@pytest.fixture
def published(shared_path):
    """The published program's numbers, and our model with its weights and its three rows.

    Its items 0..14 are ours 1..15, and its padding 15 is our 0.
    """
    numbers = np.load(shared_path("reference/dreamrec.npz"))
    numbers = {name: torch.from_numpy(value) for name, value in numbers.items()}
    model = build(hidden_size=64, diffusion_steps=500, guidance_weight=float(numbers["w_guidance"]))
    state = {}
    for theirs, ours in WEIGHTS.items():
        state[f"{ours}.weight"] = numbers[f"w/{theirs}.weight"].squeeze(-1)
        state[f"{ours}.bias"] = numbers[f"w/{theirs}.bias"]
    state["item_embedding.weight"] = numbers["w/item_embeddings.weight"].roll(1, dims=0)
    state["encoder.position_embedding.weight"] = numbers["w/positional_embeddings.weight"]
    state["no_guidance"] = numbers["w/none_embedding.weight"][0]
    model.load_state_dict(state)
    rows = [row[:n].add(1).tolist() for row, n in zip(numbers["item_seq"], numbers["item_length"])]
    return model, numbers, histories(*rows, target=(numbers["target_item"] + 1).tolist())


def test_every_step_is_that_of_the_published_program(published, monkeypatch):
    model, numbers, batch = published
    t, eps = numbers["level"], numbers["eps"]
    h = model.guidance(batch)
    close(h, numbers["guidance"])
    x0 = model.item_embedding(batch["item_id"])
    close(x0, numbers["x0"])
    x_t = model.diffusion.q_sample(x0, t, eps)
    close(x_t, numbers["x_t"])
    conditional = model(x_t, t, h)
    close(conditional, numbers["x0_conditional"])
    close(model(x_t, t, model.no_guidance.expand_as(h)), numbers["x0_unconditional"])
    guided = model.guided(x_t, t, h)
    close(guided, numbers["x0_guided"])
    factors = [model.diffusion.posterior(int(level), int(level) - 1) for level in t]
    from_x0, from_xt, variance = torch.tensor(factors).T[:, :, None]
    mean = from_x0 * guided + from_xt * x_t
    first = t == 1  # the published float32 tables give .999834 there, where 1 is right
    close(mean[first], numbers["x0_guided"][first])
    close(mean[first], numbers["posterior_mean"][first], rel=2e-3)
    close(mean[~first], numbers["posterior_mean"][~first])
    close(variance.flatten(), numbers["posterior_variance"])

    monkeypatch.setattr(model.timesteps, "sample", lambda n: (t, torch.ones(n)))
    monkeypatch.setattr(torch, "randn_like", lambda like: eps)
    model.guidance_dropout = 0
    close(model.calculate_loss(batch), numbers["mse_loss"])


def plain_walk(model, h, x, noises):
    """All levels, one by one, two calls a level."""
    for level in range(model.diffusion.steps, 0, -1):
        t = torch.full((len(x),), level)
        w = model.guidance_weight
        with_h, without = model(x, t, h), model(x, t, model.no_guidance.expand_as(h))
        guided = (1 + w) * with_h - w * without
        x = model.diffusion.reverse_step(guided, x, level, level - 1, noises[level - 1])
    return x


@pytest.mark.parametrize("schedule", ["linear", "exp", "cosine", "sqrt"])
@torch.no_grad()
def test_the_exact_walk_has_the_mean_and_covariance_of_plain_walks(schedule):
    model = build(noise_schedule=schedule, guidance_weight=1.5)
    model.denoiser.weight[:, :8] += 0.5 * torch.eye(8)  # or the walk forgets where it began
    h = model.guidance(BATCH)[:1].expand(20_000, -1)
    torch.manual_seed(1)
    noises = torch.randn(model.diffusion.steps, len(h), 8)
    plain = plain_walk(model, h, torch.randn_like(h), noises)
    exact = model.generate(h)
    spread = plain.std(dim=0)
    assert ((plain.mean(dim=0) - exact.mean(dim=0)).abs() < 5 * spread * (2 / 20_000) ** 0.5).all()
    torch.testing.assert_close(
        exact.T.cov(), plain.T.cov(), rtol=0.05, atol=0.03 * spread.max() ** 2
    )
    model.guidance_weight = 0.5  # the control
    model.eval()
    other = model.generate(h).mean(dim=0)
    assert ((plain.mean(dim=0) - other).abs() > 5 * spread * (2 / 20_000) ** 0.5).any()


@torch.no_grad()
def test_without_noise_the_exact_walk_is_the_ancestral_walk():
    exact = build(reverse_noise=False)
    plain = build(reverse_noise=False, sampler="ancestral")
    noisy = build()
    for model in (exact, plain, noisy):
        model.denoiser.weight[:, :8] += 0.5 * torch.eye(8)
    scores = exact.full_sort_predict(BATCH)
    close(scores, plain.full_sort_predict(BATCH))
    assert torch.equal(scores, exact.full_sort_predict(BATCH))
    assert not torch.equal(noisy.full_sort_predict(BATCH), noisy.full_sort_predict(BATCH))


@pytest.mark.parametrize("denoiser", ["linear", "mlp"])
@torch.no_grad()
def test_guided_and_unguided_in_one_call_are_two_calls(denoiser):
    model = build(denoiser=denoiser, guidance_weight=3.0, sampler="ancestral")
    h, x = model.guidance(BATCH), torch.randn(4, 8)
    torch.manual_seed(2)
    generated = model.generate(h)
    torch.manual_seed(2)
    start = torch.randn_like(h)
    noises = [torch.randn_like(h) for _ in range(model.diffusion.steps)][::-1]
    close(generated, plain_walk(model, h, start, noises))
    t = torch.full((4,), 3)
    model.guidance_weight = 0.0
    close(model.guided(x, t, h), model(x, t, h))


@torch.no_grad()
def test_more_levels_bring_ddim_nearer_to_its_full_walk():
    models = [
        build(denoiser="mlp", sampling_steps=count, reverse_noise=False, noise_schedule="cosine")
        for count in (30, 15, 5, 1)
    ]
    full, *shorter = (model.generate(model.guidance(BATCH)) for model in models)
    errors = [(full - x0).norm().item() for x0 in shorter]
    assert 0 < errors[0] < errors[1] < errors[2]
    assert models[1].levels == list(range(30, -1, -2))


@torch.no_grad()
def test_padding_does_not_change_a_score_and_the_order_does():
    model = build(reverse_noise=False)
    scores = model.full_sort_predict(BATCH)
    alone = model.full_sort_predict(histories([3, 1, 2]))
    close(scores[:1], alone)
    assert not torch.allclose(model.full_sort_predict(histories([1, 3, 2])), alone, atol=1e-4)


@torch.no_grad()
def test_the_state_at_a_position_is_the_guidance_of_the_prefix():
    model = build()
    item = histories([7, 8, 9, 1, 2, 3])["item_id_list"]
    states = model.encoder(model.item_embedding(item))[0]
    for length in range(1, 7):
        prefix = histories(item[0, :length].tolist())
        close(states[length - 1], model.guidance(prefix)[0])


@pytest.mark.parametrize(
    "settings", [{}, {"ce_weight": 0.5}, {"denoiser": "mlp", "normalize": True}]
)
def test_windows_have_the_loss_and_gradients_of_one_row_a_prefix(settings):
    sequences = [[7, 8, 9, 1, 2, 3], [5, 4], [10, 11, 12, 13]]
    windows = histories(*[items[:-1] for items in sequences])
    target = torch.zeros_like(windows["item_id_list"])
    prefixes, wanted = [], []
    for row, items in enumerate(sequences):
        target[row, : len(items) - 1] = torch.tensor(items[1:])
        prefixes += [items[:i] for i in range(1, len(items))]
        wanted += items[1:]
    windows.update(Interaction({"item_id": target}))
    rows = histories(*prefixes, target=wanted)
    shuffled = histories(*prefixes, target=wanted[::-1])  # the control
    losses, gradients = [], []
    for batch in (windows, rows, shuffled):
        model = build(guidance_dropout=0.5, **settings)  # in the same order, so drawn alike
        torch.manual_seed(5)
        losses.append(model.calculate_loss(batch))
        losses[-1].backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(gradients[0], gradients[1])
    assert not torch.isclose(losses[0], losses[2])


@torch.no_grad()
def test_without_x_t_a_walk_forgets_where_it_began_and_exact_is_still_ancestral():
    means = {}
    for ablate in (True, False):
        walks = [
            build(ablate_x_t=ablate, sampler=sampler, reverse_noise=False)
            for sampler in ("exact", "ancestral")
        ]
        for model in walks:
            model.denoiser.weight[:, :8] += 0.5 * torch.eye(8)
        h = walks[0].guidance(BATCH)
        means[ablate] = walks[0].generate(h)
        close(means[ablate], walks[1].generate(h))
        assert (walks[0].closed_walk().from_x.abs().max() < 1e-6) == ablate
    assert not torch.allclose(means[True], means[False], atol=1e-2)


def test_levels_are_drawn_with_the_power_that_is_set():
    for power, mean in ((1.0, 15.5), (10.0, 27.8)):
        t, _ = build(level_power=power).timesteps.sample(4000)
        assert t.float().mean().item() == pytest.approx(mean, abs=0.5)


def test_an_item_table_is_scaled_and_stays_where_it_is_not_learnt():
    table = torch.randn(16, 8) * 0.02
    table[0] = 0
    for learnt in (True, False):
        config = Config(
            "DreamRec",
            "tiny",
            config_dict=PUBLISHED
            | {"hidden_size": 8, "embedding_std": 0.5, "train_items": learnt}
            | {"diffusion_steps": 4, "use_gpu": False},
        )
        model = config.model_class(config, Items(16), item_table=table)
        weight = model.item_embedding.weight.detach().clone()
        assert weight[1:].square().mean().sqrt().item() == pytest.approx(0.5)
        close(torch.nn.functional.normalize(weight), torch.nn.functional.normalize(table))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        model.calculate_loss(histories([3, 1, 2], target=[5])).backward()
        optimizer.step()
        assert torch.equal(weight, model.item_embedding.weight) != learnt


def test_predict_gives_the_scores_of_the_ranking():
    model = build(reverse_noise=False)
    batch = histories([3, 1, 2], [5], target=[4, 9])
    with torch.no_grad():
        scores = model.full_sort_predict(batch)
        close(model.predict(batch), scores[torch.arange(2), batch["item_id"]])


def test_dropped_guidance_trains_the_vector_for_none():
    gradients = {}
    for share in (0.0, 0.9):
        model = build(guidance_dropout=share).train()
        batch = histories(*[[3, 1, 2]] * 64, target=[5] * 64)
        model.calculate_loss(batch).backward()
        assert model.item_embedding.weight.grad[5].abs().sum() > 0
        gradients[share] = model.no_guidance.grad.abs().sum()
    assert gradients[0.0] == 0 < gradients[0.9]


def test_the_closed_walk_is_made_once_and_anew_when_the_weights_change():
    model = build()
    walk = model.closed_walk()
    model.generate(torch.randn(2, 8))
    assert model.closed_walk() is walk
    with torch.no_grad():
        model.no_guidance.mul_(2)
    assert model.closed_walk() is not walk


@torch.no_grad()
def test_with_normalize_no_item_wins_by_its_norm():
    for normalize in (True, False):
        model = build(normalize=normalize, reverse_noise=False)
        scores = model.full_sort_predict(BATCH)
        model.item_embedding.weight[15] *= 100  # in no history
        louder = model.full_sort_predict(BATCH)
        if normalize:
            close(louder, scores)
            close(model.items()[1:].norm(dim=1), torch.full((15,), 8**0.5))
        else:  # the control
            assert (louder[:, 15].abs() > 50 * scores[:, 15].abs()).all()


@pytest.mark.parametrize("normalize", [False, True])
def test_the_cross_entropy_is_over_all_items_but_the_padding(normalize):
    losses, outputs = {}, []
    batch = histories([3, 1, 2], [5], target=[4, 9])
    for weight in (0.0, 0.7):
        model = build(ce_weight=weight, guidance_dropout=0.0, normalize=normalize)
        model.denoiser.register_forward_hook(lambda *called: outputs.append(called[-1]))
        torch.manual_seed(4)
        losses[weight] = model.calculate_loss(batch)
    assert torch.equal(*outputs)
    scores = outputs[1] @ model.items().T / 8**0.5
    entropy = torch.nn.functional.cross_entropy(scores[:, 1:], batch["item_id"] - 1)
    torch.testing.assert_close(losses[0.7], losses[0.0] + 0.7 * entropy)


def test_embeddings_begin_as_spread_as_asked():
    for std in (1.0, 0.1):
        weight = build(n_items=2000, embedding_std=std).item_embedding.weight[1:]
        assert weight.std().item() == pytest.approx(std, rel=0.03)


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            {"noise_schedule": "trunc_lin"},
            "noise_schedule is 'trunc_lin', it must be one of",
        ),
        ({"denoiser": "deep"}, "denoiser is 'deep', it must be one of linear, mlp"),
        ({"sampler": "euler"}, "sampler is 'euler', it must be one of exact, ddim, ancestral"),
        ({"denoiser": "mlp", "sampler": "exact"}, "exact needs the linear denoiser"),
        ({"denoiser": "mlp", "sampling_steps": 31}, "31 steps over 30 levels"),
        ({"hidden_size": 7}, "hidden_size is 7, it must be an even"),
        ({"hidden_size": 2}, "hidden_size is 2; half of"),
        ({"guidance_dropout": 1.0}, "guidance_dropout is 1.0, it must be a number from"),
        ({"dropout_prob": "half"}, "dropout_prob is 'half', it must be a number"),
        ({"level_power": 0}, "level_power is 0, it must be a number above 0"),
        ({"normalize": 1}, "normalize is 1, it must be True or False"),
        ({"guidance_weight": -1}, "guidance_weight is -1, it must be a number of at least 0"),
        ({"diffusion_steps": 0}, "diffusion_steps is 0, it must be a whole number"),
    ],
)
def test_what_no_model_can_be_built_with_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


@pytest.mark.parametrize("denoiser", ["linear", "mlp"])
def test_a_chain_of_items_is_learnt(denoiser):
    """After item i comes i + 1; ranked by distance of the embeddings to what is generated."""
    model = build(n_items=11, hidden_size=16, denoiser=denoiser, guidance_weight=1.0)
    model.item_embedding.weight.requires_grad_(False)  # learnt ones shrink to a point
    rows = [[i, i + 1, i + 2] for i in range(1, 8)]
    batch = histories(*rows, target=[row[-1] + 1 for row in rows])

    def hits():
        model.eval()
        model.reverse_noise = False
        with torch.no_grad():
            return (model.full_sort_predict(batch).argmax(dim=1) == batch["item_id"]).sum().item()

    before = hits()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for _ in range(400):
        model.train()
        optimizer.zero_grad()
        model.calculate_loss(batch).backward()
        optimizer.step()
    assert before < 4 and hits() == 7


@pytest.mark.parametrize("dataset, w", [("zhihu", 4), ("yoochoose", 2), ("kuairec", 2)])
def test_a_published_run_has_none_of_what_is_not_in_the_paper(dataset, w):
    config = Config("DreamRec", dataset)
    for key, value in (PUBLISHED | {"guidance_weight": w, "denoiser": "linear"}).items():
        assert config[key] == value, key
    assert config["item_embeddings"] is config["pretrain"] is None
    defaults = Config("DreamRec", "tiny")  # the control
    assert all(defaults[key] != value for key, value in PUBLISHED.items())
