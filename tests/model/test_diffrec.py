"""DiffRec and T-DiffRec: parity with the published program, and the walk without the items."""

import json
import weakref
from pathlib import Path

import numpy as np
import pytest
import recbole
import torch
import torch.nn.functional as F
import yaml
from rounding import close
from training_rows import Rows

from recbole_diffusion.config.config import Config
from recbole_diffusion.model.general_recommender.diffrec import loss_weights, noise_betas
from recbole_diffusion.model.layers.interaction_rows import UserHistories

REFERENCE = {
    "noise_schedule": "linear-var",
    "noise_scale": 0.5,
    "noise_min": 0.001,
    "noise_max": 0.01,
    "steps": 5,
    "dims_dnn": [6, 4, 6],
}
# the published names -> ours; their first layer is our data_in and time_in side by side
WEIGHTS = {
    "time_embedding": "emb_layer",
    "inner.1": "in_layers.1",
    "inner.3": "out_layers.0",
    "out": "out_layers.1",
}


@pytest.fixture
def reference(shared_path, rows_model):
    """The published program's numbers, and our model with its weights and its four rows."""
    numbers = np.load(shared_path("reference/diffrec.npz"))
    numbers = {name: torch.from_numpy(value) for name, value in numbers.items()}
    pairs = [(u + 1, i + 1) for u, i in numbers["x0"].nonzero().tolist()]
    model = rows_model("DiffRec", Rows(pairs, 5, 13), **REFERENCE).eval()
    state = {}
    for ours, theirs in WEIGHTS.items():
        for part in ("weight", "bias"):
            state[f"{ours}.{part}"] = numbers[f"w/{theirs}.{part}"]
    first = numbers["w/in_layers.0.weight"]
    state["data_in.weight"], state["time_in.weight"] = first[:, :12], first[:, 12:]
    state["data_in.bias"] = numbers["w/in_layers.0.bias"]
    model.denoiser.load_state_dict(state)
    return model, numbers


def test_the_training_step_is_that_of_the_published_program(reference, monkeypatch):
    model, numbers = reference
    x0, t, eps = numbers["x0"], numbers["level"], numbers["eps"]
    close(model.histories.dense(torch.arange(1, 5)), x0)
    x_t = model.diffusion.q_sample(x0, t, eps)
    close(x_t, numbers["x_t"])
    close(model.denoiser(x_t, t), numbers["x0_hat"])
    weight = model.loss_weight[t].double()
    torch.testing.assert_close(weight, numbers["elbo_weight"], rtol=1e-6, atol=0)

    monkeypatch.setattr(torch, "randn_like", lambda like: eps)
    monkeypatch.setattr(model.timesteps, "sample", lambda n: (t, torch.full((n,), 3.0)))
    loss, x0_hat = model.diffusion_loss(x0)
    close(x0_hat, numbers["x0_hat"])
    close(loss.double(), 3 * numbers["loss_terms"].mean())
    stored = model.timesteps.losses[t, 0]  # weighted, before any factor of the sampling
    if len(t.unique()) == len(t):
        close(stored.double(), numbers["loss_terms"])


@pytest.mark.parametrize("without_items", [True, False])
@pytest.mark.parametrize(
    "steps, noise, result",
    [
        (0, None, "reverse_from_clean"),
        (3, "corruption_noise", "reverse_from_level_3"),
    ],
)
def test_the_walk_is_that_of_the_published_program(
    reference, users, monkeypatch, without_items, steps, noise, result
):
    model, numbers = reference
    model.sampling_steps, model.walks_without_items = steps, without_items
    if noise:
        monkeypatch.setattr(torch, "randn", lambda *shape, **kw: numbers[noise])
        monkeypatch.setattr(torch, "randn_like", lambda like: numbers[noise])
    scores = model.full_sort_predict(users(1, 2, 3, 4))
    close(scores[:, 1:], numbers[result])
    assert (scores[:, 0] == 0).all()


DEPTHS = [[5], [7, 3], [6, 4, 6], [4, 5, 6, 7]]
WALKS = {
    "published": {"noise_schedule": "linear-var", "steps": 7, "noise_scale": 0.5},
    "fixed beta": {"noise_schedule": "linear", "steps": 3, "noise_scale": 1.0, "noise_max": 0.3},
    "cosine": {"noise_schedule": "cosine", "steps": 6, "beta_fixed": False},
    "binomial": {"noise_schedule": "binomial", "steps": 4},
    "one level": {"steps": 1, "noise_schedule": "linear-var"},
    "no noise": {"steps": 5, "noise_scale": 0},
    "corrupted": {"noise_schedule": "cosine", "steps": 6, "sampling_steps": 4},
    "fewer steps": {"noise_schedule": "cosine", "steps": 9, "walk_steps": 4},
    "relu": {"mlp_act_func": "relu", "steps": 4},
    "linear": {"mlp_act_func": "none", "steps": 4},
}


def grown(model):
    """The model with weights so large that every part of a walk matters, biases too."""
    with torch.no_grad():
        for weight in model.denoiser.parameters():
            weight.mul_(1.2).add_(torch.randn_like(weight) * 0.1)
    return model.eval()


def both_walks(model, batch, monkeypatch):
    """Scores of the walk without the items and of the plain one, with the same noise."""
    noise = torch.randn(len(batch), model.n_items - 1)
    monkeypatch.setattr(torch, "randn", lambda *shape, **kw: noise)
    monkeypatch.setattr(torch, "randn_like", lambda like: noise)
    scores = []
    for model.walks_without_items in (True, False):
        scores.append(model.full_sort_predict(batch))
    return scores


@pytest.mark.parametrize("dims", DEPTHS, ids=str)
@pytest.mark.parametrize(
    "name, walk", [("TDiffRec", "published"), *(("DiffRec", walk) for walk in WALKS)]
)
def test_the_walk_without_the_items_is_the_plain_walk(
    rows_model, users, monkeypatch, name, walk, dims
):
    model = grown(rows_model(name, dims_dnn=dims, **WALKS[walk]))
    assert model.walks_without_items
    fast, plain = both_walks(model, users(*range(1, 30)), monkeypatch)
    assert plain[:, 1:].std(dim=0).max() > 1e-3, "the control: users differ"
    close(fast, plain)


@pytest.mark.parametrize(
    "settings", [{"norm": True}, {"sampling_noise": True}, {"mean_type": "eps"}], ids=str
)
def test_where_the_walk_is_not_linear_in_the_items_it_is_plain(
    rows_model, users, monkeypatch, settings
):
    schedule = {"noise_schedule": "cosine", "steps": 4}
    model = grown(rows_model("DiffRec", **schedule | settings))
    assert not model.walks_without_items
    batch = users(*range(1, 30))
    torch.manual_seed(3)
    scores = model.full_sort_predict(batch)
    torch.manual_seed(3)
    plain = model.walk_plain(model.histories.dense(batch["user_id"]))
    assert torch.equal(scores[:, 1:], plain)
    torch.manual_seed(3)
    model.walks_without_items = True  # the control: it would be wrong
    assert not torch.allclose(model.full_sort_predict(batch), scores, atol=1e-3)


def test_factors_are_made_once_and_anew_when_the_weights_change(rows_model, users):
    model = rows_model("DiffRec").eval()
    first = model.factors()
    before = model.full_sort_predict(users(1, 2))
    assert model.factors() is first
    with torch.no_grad():
        model.denoiser.out.weight.mul_(2)
    second = model.factors()
    assert second is not first
    assert not torch.allclose(model.full_sort_predict(users(1, 2)), before)
    model.load_state_dict(rows_model("DiffRec", seed=1).state_dict())
    assert model.factors() is not second
    kept = [weakref.ref(part) for part in model.factors() if isinstance(part, torch.Tensor)]
    assert kept and all(part() is not None for part in kept)  # the control
    model.train()
    assert all(part() is None for part in kept)
    third = model.factors()
    assert model.eval().factors() is not third, "a fused optimiser steps without a trace"


def test_a_perfect_denoiser_recovers_the_rows(rows_model, users):
    model = rows_model("DiffRec", steps=5, sampling_steps=5, noise_schedule="cosine").eval()
    x0 = model.histories.dense(torch.tensor([1, 2]))
    model.denoiser.forward = lambda x_t, t: x0
    torch.testing.assert_close(model.walk_plain(x0), x0)
    model.denoiser.forward = lambda x_t, t: x0 + t[:, None]  # the control
    assert not torch.allclose(model.walk_plain(x0), x0, atol=0.1)


def test_predict_gives_the_scores_of_the_ranking(rows_model, users):
    model = grown(rows_model("DiffRec"))
    scores = model.full_sort_predict(users(1, 2, 2))
    some = model.predict(users(1, 2, 2, items=[3, 4, 20]))
    torch.testing.assert_close(some, scores[torch.arange(3), torch.tensor([3, 4, 20])])


# ------------------------------------------------------------------------------------------- loss


def test_the_weights_of_the_levels_are_those_of_the_papers():
    betas = np.array([0.1, 0.2, 0.3])
    alpha_bar = np.array([0.9, 0.72, 0.504])
    snr = alpha_bar / (1 - alpha_bar)
    weight = [0, 1, snr[0] - snr[1], snr[1] - snr[2]]
    np.testing.assert_allclose(loss_weights(betas, "x0"), weight, rtol=1e-6)
    weight[2] = (1 - 0.72) / (0.1**2 * 0.8)
    weight[3] = (1 - 0.504) / (0.28**2 * 0.7)
    np.testing.assert_allclose(loss_weights(betas, "eps"), weight, rtol=1e-6)
    np.testing.assert_allclose(loss_weights(np.zeros(2), "x0"), [0, 1, 1])


@pytest.mark.parametrize("level, factor", [(1, 0.5), (3, None)])
def test_the_eps_loss_at_level_1_is_half_the_error_of_x0(rows_model, monkeypatch, level, factor):
    model = rows_model(
        "DiffRec", mean_type="eps", noise_schedule="cosine", steps=4, beta_fixed=False
    ).eval()
    x0 = model.histories.dense(torch.arange(1, 9))
    t = torch.full((8,), level)
    monkeypatch.setattr(model.timesteps, "sample", lambda n: (t, torch.ones(n)))
    torch.manual_seed(0)
    loss, x0_hat = model.diffusion_loss(x0)
    torch.manual_seed(0)
    eps = torch.randn_like(x0)
    x_t = model.diffusion.q_sample(x0, t, eps)
    predicted = model.denoiser(x_t, t)
    torch.testing.assert_close(x0_hat, model.diffusion.x0_from_eps(x_t, t, predicted))
    if factor:
        expected = (x0 - x0_hat).square().mean() * factor
    else:
        expected = (eps - predicted).square().mean() * model.loss_weight[level]
    torch.testing.assert_close(loss, expected)


def test_without_reweight_all_levels_weigh_alike(rows_model, monkeypatch):
    losses = {}
    for reweight in (True, False):
        model = rows_model("DiffRec", steps=4, reweight=reweight).eval()
        x0 = model.histories.dense(torch.arange(1, 9))
        monkeypatch.setattr(model.timesteps, "sample", lambda n: (torch.full((n,), 3), 1.0))
        torch.manual_seed(0)
        losses[reweight] = model.diffusion_loss(x0)[0].item()
    assert losses[True] == pytest.approx(losses[False] * model.loss_weight[3].item(), rel=1e-5)
    assert losses[True] != pytest.approx(losses[False], rel=0.1)


def test_rare_levels_count_more_in_the_loss_and_are_remembered_as_they_are(rows_model, monkeypatch):
    model = rows_model("DiffRec", steps=4, reweight=False).eval()
    x0 = model.histories.dense(torch.tensor([1, 2]))
    t, factor = torch.tensor([2, 3]), torch.tensor([0.5, 4.0])
    monkeypatch.setattr(model.timesteps, "sample", lambda n: (t, factor))
    model.denoiser.forward = lambda x_t, t: x0 + t[:, None]
    loss, _ = model.diffusion_loss(x0)
    assert loss.item() == pytest.approx((0.5 * 4 + 4.0 * 9) / 2)
    assert model.timesteps.losses[[2, 3], 0].tolist() == [4, 9]


@pytest.mark.parametrize("schedule", ["linear", "linear-var", "cosine", "binomial"])
def test_a_noise_scale_of_zero_is_no_noise_whatever_the_schedule(rows_model, schedule):
    noise = {
        scale: rows_model("DiffRec", noise_schedule=schedule, noise_scale=scale).diffusion.noise
        for scale in (0, 0.5)
    }
    assert not noise[0].any() and (noise[0.5].diff() > 0).all()


def test_the_mean_is_over_items_without_the_padding(rows_model, monkeypatch):
    model = rows_model("DiffRec", steps=4, reweight=False).eval()
    x0 = model.histories.dense(torch.tensor([1]))
    assert x0.shape == (1, 20)
    model.denoiser.forward = lambda x_t, t: x0 + 2
    assert model.diffusion_loss(x0)[0].item() == pytest.approx(4)


def test_what_training_remembers_is_in_the_state(rows_model, users):
    model = rows_model("DiffRec").train()
    model.calculate_loss(users(*range(1, 50)))
    state = model.state_dict()
    assert {"timesteps.losses", "timesteps.seen"} <= set(state)
    assert state["timesteps.seen"].sum() == 49
    derived = [name for name in state if name.startswith(("diffusion", "histories", "loss_weight"))]
    assert derived == []


# ----------------------------------------------------------------------------------- time awareness


def test_later_interactions_weigh_more(rows_model):
    pairs = [(1, 4), (2, 1), (1, 2), (1, 3), (2, 5), (1, 6), (3, 2)]
    model = rows_model("TDiffRec", Rows(pairs, 5, 7), w_min=0.2, w_max=0.8)
    dense = model.histories.dense(torch.tensor([1, 2, 3, 4]))
    expected = torch.zeros(4, 6)
    for item, weight in zip((4, 2, 3, 6), (0.2, 0.4, 0.6, 0.8)):
        expected[0, item - 1] = weight
    expected[1, 0], expected[1, 4] = 0.2, 0.8
    expected[2, 1] = 0.8  # an only one
    torch.testing.assert_close(dense, expected)
    alike = rows_model("DiffRec", Rows(pairs, 5, 7)).histories.dense(torch.tensor([1, 2, 3, 4]))
    torch.testing.assert_close(alike, (expected > 0).float())


def test_the_order_is_that_of_the_positions_not_of_the_rows(rows_model):
    data = Rows([(1, 4), (1, 2), (1, 3)], 2, 7)
    data.inter_feat["position"] = torch.tensor([10, 30, 20])
    model = rows_model("TDiffRec", data, w_min=0.0, w_max=1.0)
    row = model.histories.dense(torch.tensor([1]))[0]
    assert row[[3, 2, 1]].tolist() == [0, 0.5, 1]


def test_an_item_had_twice_counts_once_as_the_last_time(rows_model):
    pairs = [(1, 4), (1, 2), (1, 4)]
    model = rows_model("TDiffRec", Rows(pairs, 2, 7), w_min=0.0, w_max=1.0)
    assert model.histories.dense(torch.tensor([1]))[0, [3, 1]].tolist() == [1, 0.5]
    assert len(model.histories.item) == 2


@pytest.mark.parametrize(
    "w_min, w_max, message",
    [
        (-0.1, 1, "w_min is -0.1, it must be a number of at least 0"),
        (0.6, 0.5, "w_min 0.6 is above w_max 0.5"),
        ("low", 0.5, "w_min is 'low', it must be a number"),
        (0.1, float("inf"), "w_max is inf, it must be a number"),
    ],
)
def test_weights_that_do_not_grow_from_zero_are_refused(rows_model, w_min, w_max, message):
    with pytest.raises(ValueError, match=message):
        rows_model("TDiffRec", w_min=w_min, w_max=w_max)
    rows_model("TDiffRec", w_min=0.5, w_max=0.5)  # the control


# ----------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"time-aware": True}, "--model=TDiffRec"),
        ({"mean_type": "v"}, "mean_type is 'v', it must be one of x0, eps"),
        ({"mean_type": "eps", "noise_scale": 0}, "without noise there is no eps"),
        (
            {"noise_schedule": "sqrt"},
            "noise_schedule is 'sqrt', it must be one of linear",
        ),
        ({"sampling_steps": 6}, r"sampling_steps 6 is not in 0..5"),
        ({"sampling_steps": -1}, "sampling_steps is -1, it must be"),
        ({"dims_dnn": []}, "dims_dnn is .* at least one"),
        ({"mlp_act_func": "tanhh"}, "mlp_act_func is 'tanhh', it must be one of tanh"),
        ({"noise_scale": 1e4}, "a variance must lie in"),
        ({"history_num_per_term": 0}, "history_num_per_term is 0, it must be a whole number"),
        ({"steps": 2.5}, "steps is 2.5, it must be a whole number from 1"),
        ({"steps": True}, "steps is True, it must be"),
        ({"sampling_steps": 1.5}, "sampling_steps is 1.5, it must be a whole number"),
        ({"dims_dnn": 300}, "dims_dnn is 300, it must be a list of whole numbers"),
        ({"dims_dnn": [300, 0]}, r"dims_dnn is \[300, 0\], it must be a list"),
        ({"noise_max": "high"}, "noise_max is 'high', it must be a number of at least 0"),
    ],
)
def test_what_no_model_can_be_built_with_is_refused(rows_model, settings, message):
    with pytest.raises(ValueError, match=message):
        rows_model("DiffRec", **settings)


# ------------------------------------------------------------------------------- beside RecBole's


def test_recboles_names_of_the_schedules_mean_the_published_ones(shared_path):
    known = json.loads(shared_path("reference/numbers.json").read_text())["schedules"]
    seen = 0
    for name, numbers in known.items():
        method, schedule, settings = (name.split("/") + [""])[:3]
        if method != "diffrec":
            continue
        values = dict(part.split("=") for part in settings.split(","))
        config = {
            "noise_schedule": schedule,
            "noise_scale": float(values["scale"]),
            "noise_min": float(values["min"]),
            "noise_max": float(values["max"]),
            "steps": int(values["T"]),
            "beta_fixed": values["beta_fixed"] == "True",
        }
        betas = noise_betas(config)
        np.testing.assert_allclose(betas, numbers["betas"], rtol=1e-9)
        seen += 1
    assert seen == 6


@pytest.mark.parametrize("name", ["DiffRec", "LDiffRec"])
def test_a_config_file_for_recboles_model_runs_unchanged_with_ours(run, name, tmp_path):
    folder = Path(recbole.__file__).parent / "properties" / "model"
    theirs = yaml.safe_load((folder / f"{name}.yaml").read_text())
    theirs |= {"steps": 4, "dims_dnn": [8], "learning_rate": 0.01, "noise_schedule": "linear-var"}
    if name == "LDiffRec":
        theirs["in_dims"] = [6]
    results = {}
    for model in (name, f"recbole:{name}"):
        results[model] = run(model, **theirs)
        used = results[model]["config"]
        assert {key: used[key] for key in theirs} == theirs
    assert set(results[name]["test_result"]) == set(results[f"recbole:{name}"]["test_result"])


def test_the_network_is_recboles_with_the_same_weights(build_data, shop, small, users):
    settings = small("DiffRec", dims_dnn=[6, 4], steps=3, noise_schedule="cosine")
    config, _, (train, _, _) = build_data(shop / "dataset", "DiffRec", "shop", **settings)
    theirs_config, _, (their_train, _, _) = build_data(
        shop / "dataset", "recbole:DiffRec", "shop", **settings
    )
    ours = config.model_class(config, train.dataset).eval()
    theirs = theirs_config.model_class(theirs_config, their_train.dataset).eval()
    linear = [m for m in theirs.mlp.mlp_layers.modules() if isinstance(m, torch.nn.Linear)]
    n = ours.n_items - 1
    with torch.no_grad():  # the padding column of theirs has no part in anything
        linear[0].weight[:, 0] = 0
        denoiser = ours.denoiser
        denoiser.time_embedding.load_state_dict(theirs.mlp.emb_layer.state_dict())
        denoiser.data_in.weight.copy_(linear[0].weight[:, 1 : n + 1])
        denoiser.data_in.bias.copy_(linear[0].bias)
        denoiser.time_in.weight.copy_(linear[0].weight[:, n + 1 :])
        denoiser.inner[1].load_state_dict(linear[1].state_dict())
        denoiser.out.weight.copy_(linear[2].weight[1:])
        denoiser.out.bias.copy_(linear[2].bias[1:])
        batch = users(*range(1, 20))
        close(ours.full_sort_predict(batch)[:, 1:], theirs.full_sort_predict(batch)[:, 1:])


# ------------------------------------------------------------------------------------------- memory


def test_histories_are_compressed_rows(checkerboard):
    data, _ = checkerboard
    histories = UserHistories(data)
    dense = torch.zeros(101, 21)
    dense[data.inter_feat["user_id"], data.inter_feat["item_id"]] = 1
    user = torch.tensor([5, 0, 5, 100])
    assert torch.equal(histories.dense(user), dense[user, 1:])
    table = torch.randn(20, 3)
    torch.testing.assert_close(histories.project(user, table), dense[user, 1:] @ table)
    assert histories.state_dict() == {}


def test_the_memory_of_histories_is_that_of_the_interactions():
    pairs = [(1, item) for item in range(1, 2001)] + [(user, 1) for user in range(2, 5001)]
    histories = UserHistories(Rows(pairs, 5001, 2001))
    size = sum(buffer.numel() for buffer in histories.buffers())
    assert size == 2 * len(pairs) + 5002  # RecBole's matrix would have 5,001 x 2,000


def test_users_without_a_training_row_are_not_trained_on(build_data, shop, small):
    pairs = (shop / "dataset" / "shop" / "shop.inter").read_text()
    extra = "".join(f"once{user}\ti1\tbuy\t1\n" for user in range(5))
    (shop / "dataset" / "shop" / "shop.inter").write_text(pairs + extra)
    settings = small("DiffRec", train_batch_size=7)
    settings["eval_args"] = {"split": {"RS": [0.5, 0.2, 0.3]}, "order": "RO", "group_by": "none"}
    settings["BEHAVIOR_FIELD"] = settings["target_behavior"] = None
    _, data, (train, _, _) = build_data(shop / "dataset", "DiffRec", "shop", **settings, seed=3)
    given = torch.cat([batch["user_id"] for batch in train])
    expected = train.dataset.inter_feat["user_id"].unique()
    assert sorted(given.tolist()) == expected.tolist()
    assert 0 not in given and len(given) < data.user_num - 1
    again = torch.cat([batch["user_id"] for batch in train])
    assert not torch.equal(given, again), "users are shuffled again"


# ----------------------------------------------------------------------------------------- learning


def train_and_rank(model, data, missing, epochs):
    """Share of users whose missing item comes first, before and after training."""
    user = torch.arange(1, data.user_num)
    batch = {"user_id": user}

    def hit():
        model.eval()
        scores = model.full_sort_predict(batch)
        scores[:, 0] = -torch.inf
        scores[:, 1:][model.histories.dense(user) > 0] = -torch.inf
        return (scores.argmax(dim=1) == missing[user]).float().mean().item()

    before = hit()
    groups = getattr(model, "parameter_groups", model.parameters)()
    optimizer = torch.optim.AdamW(groups, lr=0.01)
    model.train()
    for _ in range(epochs):
        for part in user[torch.randperm(len(user))].split(25):
            optimizer.zero_grad()
            model.calculate_loss({"user_id": part}).backward()
            optimizer.step()
    return before, hit()


@pytest.mark.parametrize("name", ["DiffRec", "TDiffRec", "LDiffRec", "LTDiffRec"])
def test_the_checkerboard_is_learnt(rows_model, checkerboard, name):
    data, missing = checkerboard
    settings = {"dims_dnn": [32], "noise_schedule": "linear-var"}
    if "L" in name:  # with little noise the first levels' weights leave little for the decoder
        settings |= {"noise_scale": 1, "noise_min": 0.01, "noise_max": 0.1, "beta_fixed": False}
        settings |= {"in_dims": [32], "vae_anneal_cap": 0.01, "lr1": 0.01, "lr2": 0.01}
    model = rows_model(name, **settings)
    before, after = train_and_rank(model, data, missing, epochs=40)
    assert before < 0.35  # one of eleven items is right
    assert after == 1.0


def test_shuffled_rows_are_not_learnt(rows_model, checkerboard):
    data, missing = checkerboard
    draw = torch.Generator().manual_seed(0)
    rows = data.inter_feat
    mixed = torch.randperm(len(rows), generator=draw)
    pairs = zip(rows["user_id"].tolist(), rows["item_id"][mixed].tolist())
    shuffled = Rows(list(pairs), data.user_num, data.item_num)
    model = rows_model("DiffRec", shuffled, dims_dnn=[32], noise_schedule="linear-var")
    _, after = train_and_rank(model, shuffled, missing, epochs=40)
    assert after < 0.35


def test_dropout_and_noise_reach_the_network_only_in_training(rows_model):
    model = rows_model("DiffRec")
    x = model.histories.dense(torch.tensor([1, 2]))
    t = torch.ones(2, dtype=torch.long)
    assert torch.equal(model.eval().denoiser(x, t), model.denoiser(x, t))
    model.train()
    assert not torch.equal(model.denoiser(x, t), model.denoiser(x, t))


def test_norm_scales_the_rows_to_length_one(rows_model):
    x = torch.rand(3, 20)
    t = torch.ones(3, dtype=torch.long)
    normed = rows_model("DiffRec", norm=True).eval().denoiser
    plain = rows_model("DiffRec").eval().denoiser
    assert torch.allclose(normed(x, t), normed(5 * x, t), atol=1e-6)
    assert torch.allclose(normed(x, t), plain(F.normalize(x), t), atol=1e-6)
    assert not torch.allclose(plain(x, t), plain(5 * x, t), atol=1e-3)


def test_weights_and_biases_begin_as_the_published_ones():
    config = Config("DiffRec", "tiny", config_dict={"dims_dnn": [400, 300]})
    data = Rows([(1, item) for item in range(1, 501)], 2, 501)
    torch.manual_seed(0)
    denoiser = config.model_class(config, data).denoiser
    first = torch.cat([denoiser.data_in.weight, denoiser.time_in.weight], dim=1)
    for weight, fans in ((first, 510 + 400), (denoiser.inner[1].weight, 400 + 300)):
        assert weight.std().item() == pytest.approx((2 / fans) ** 0.5, rel=0.01)
    assert denoiser.out.bias.std().item() == pytest.approx(0.001, rel=0.1)
