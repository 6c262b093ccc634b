"""DimeRec: interests of prefixes, three losses, walks on the unit sphere, scores by cosine."""

import functools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from rounding import close

from recbole_diffusion.config.config import Config
from recbole_diffusion.model.layers.interests import AttentionInterests
from recbole_diffusion.model.positions import targets
from recbole_diffusion.model.sequential_recommender import dimerec
from recbole_diffusion.model.sequential_recommender.dimerec import DimeRec

D, K, T = 8, 3, 20
GUIDANCES = ["attention", "last"]
NEGATIVES = ["uniform", "popularity", "batch"]
SMALL = {
    "use_gpu": False,
    "hidden_size": D,
    "n_interests": K,
    "dims_dnn": [16],
    "diffusion_steps": T,
    "sampling_steps": 5,
    "MAX_ITEM_LIST_LENGTH": 6,
    "n_negatives": 7,
    "dropout_prob": 0.0,
    "embedding_std": 1.0,  # so that interests differ and norms do too
}


class Items:
    """As much of a data set as the model and RecBole's sampler ask for; item i occurs i times."""

    iid_field, user_num = "item_id", 2

    def __init__(self, n_items):
        self.item_num = n_items
        item = torch.arange(n_items)
        self.inter_feat = Interaction({"item_id": item.repeat_interleave(item)})

    def num(self, field):
        return self.item_num


@functools.cache
def defaults():
    """All settings, which take long to find and are no others for any test."""
    return Config("DimeRec", "tiny", config_dict=SMALL).final_config_dict


def build(n_items=16, seed=0, **settings):
    """The model in evaluation mode."""
    torch.manual_seed(seed)
    return DimeRec(defaults() | settings, Items(n_items)).eval()


def padded(rows):
    """Rows of different lengths, zeros behind them, shape: [B, n]."""
    result = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for row, items in zip(result, rows):
        row[: len(items)] = torch.tensor(items)
    return result


def histories(*rows, target=None):
    """A batch of left-aligned histories."""
    columns = {
        "item_id_list": padded(rows),
        "item_length": torch.tensor([len(row) for row in rows]),
    }
    if target is not None:
        columns["item_id"] = torch.tensor(target)
    return Interaction(columns)


def windows(*rows):
    """A batch of windows with a target behind every item."""
    batch = histories(*(row[:-1] for row in rows))
    batch.update(Interaction({"item_id": padded([row[1:] for row in rows])}))
    return batch


def prefixes(*rows):
    """The same as ``windows`` with one row per prefix, in the same order."""
    pairs = [(row[:end], row[end]) for row in rows for end in range(1, len(row))]
    return histories(*(history for history, _ in pairs), target=[target for _, target in pairs])


def draws(seed):
    torch.manual_seed(seed)
    np.random.seed(seed)


def seeded(function, *args, seed=1):
    draws(seed)
    return function(*args)


def differ(ours, theirs):
    return not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def on_the_sphere(x):
    return (x.double().norm(dim=-1) - 1).abs().max() < 1e-6


def fixed_negatives(model, items):
    model.draw_negatives = lambda target: torch.tensor(items)


def called_with(model):
    """The arguments of all calls of ``forward`` from now on."""
    calls, forward = [], model.forward

    def watched(*args):
        calls.append(args)
        return forward(*args)

    model.forward = watched
    return calls


BATCH = histories([3, 1, 2], [5], [7, 8, 9, 1, 2, 3], [4, 4])
TRAINED = histories([3, 1, 2], [5], [7, 8, 9, 1], [4, 4], target=[6, 10, 12, 6])


# ------------------------------------------------------------------------------ the interests
@pytest.mark.parametrize("guidance", GUIDANCES)
@torch.no_grad()
def test_the_interests_at_a_position_are_those_of_the_prefix(guidance):
    model = build(guidance=guidance)
    row = [7, 8, 9, 1, 2, 3]
    batch = windows([*row, 1], [*row[::-1], 1])
    place = torch.arange(12) // 6, torch.arange(12) % 6
    g = model.guidance_at(batch, *place).view(2, 6, K, D)
    whole = model.guidance(batch)
    for length in range(1, 7):
        both = model.guidance(histories(row[:length], row[::-1][:length]))
        close(g[:, length - 1], both)
        assert (length == 6) != differ(whole, both)


@pytest.mark.parametrize("guidance", GUIDANCES)
@torch.no_grad()
def test_what_stands_behind_a_history_does_not_change_its_scores(guidance):
    model = build(guidance=guidance)
    scores = seeded(model.full_sort_predict, BATCH)
    alone = seeded(model.full_sort_predict, histories([3, 1, 2], [5], [7], [4, 4]))
    for row in (0, 1, 3):
        close(scores[row], alone[row])
    behind = histories([3, 1, 2, 9, 9, 9], [5, 1], [7, 8, 9, 1, 2, 3], [4, 4, 6])
    assert differ(seeded(model.full_sort_predict, behind), scores)
    behind["item_length"] = BATCH["item_length"]
    close(seeded(model.full_sort_predict, behind), scores)


@torch.no_grad()
def test_an_interest_is_the_softmax_weighted_mean_of_the_seen_items():
    torch.manual_seed(0)
    layer = AttentionInterests(2, 2, 5)
    layer.position_embedding.weight.normal_()
    H, seen = torch.randn(1, 3, 2), torch.tensor([[[True, True, False], [True, True, True]]])
    into, _, out = layer.weigh
    g = layer(H, seen)
    for row, held in enumerate((2, 3)):
        for k in range(2):
            weights = []
            for position in range(held):
                h = H[0, position] + layer.position_embedding.weight[position]
                inner = torch.tanh(into.weight @ h + into.bias)
                weights.append(math.exp(out.weight[k] @ inner + out.bias[k]))
            mean = sum(w * h for w, h in zip(weights, H[0])) / sum(weights)
            close(g[0, row, k], mean)
    assert differ(g[0, 0], g[0, 1]) and differ(g[0, 0, 0], g[0, 0, 1])
    assert into.weight.shape == (8, 2)
    # positions count: the same items in another order have other weights
    assert differ(layer(H[:, [1, 0, 2]], seen), g)


@torch.no_grad()
def test_the_last_items_stand_in_order_and_none_where_the_history_is_shorter():
    model = build(guidance="last")
    e, none = model.item_embedding.weight, model.interests.none
    g = model.guidance(histories([5, 9], [1, 2, 3, 4], [6]))
    expected = [[none, e[5], e[9]], [e[2], e[3], e[4]], [none, none, e[6]]]
    close(g, torch.stack([torch.stack(row) for row in expected]))
    assert none.norm() > 0


@pytest.mark.parametrize("guidance", GUIDANCES)
def test_every_part_of_the_guidance_is_learnt(guidance):
    for history in ([3, 1], [3, 1, 2]):
        model = build(guidance=guidance)
        model.calculate_loss(histories(history, [5, 9, 4], target=[6, 7])).backward()
        for name, weight in model.interests.named_parameters():
            if name == "none":  # stands in for an item only where one is lacking
                assert weight.grad.any() == (len(history) < K)
            elif name != "weigh.2.bias":  # equal for all positions: the softmax does not see it
                assert weight.grad.any(), name


def test_dropout_acts_on_histories_and_denoiser_in_training_alone():
    model = build(dropout_prob=0.5).train()
    assert differ(model.guidance(BATCH), model.guidance(BATCH))
    x_t, t, g = torch.randn(4, D), torch.arange(1, 5), torch.randn(4, K, D)
    assert differ(model.forward(x_t, t, g), model.forward(x_t, t, g))
    model.eval()
    assert torch.equal(model.guidance(BATCH), model.guidance(BATCH))
    assert torch.equal(model.forward(x_t, t, g), model.forward(x_t, t, g))


# -------------------------------------------------------------------------------- the losses
def loss_and_gradients(model, batch, seed=1):
    model.zero_grad()
    loss = seeded(model.calculate_loss, batch, seed=seed)
    loss.backward()
    return [
        loss,
        *(weight.grad.clone() for weight in model.parameters() if weight.grad is not None),
    ]


@pytest.mark.parametrize("guidance", GUIDANCES)
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_windows_train_as_one_row_a_prefix_does(guidance, negatives):
    model = build(guidance=guidance, negatives=negatives)
    rows = [3, 1, 2, 6], [5, 2], [7, 8, 9, 1, 2, 3], [4, 4, 6]
    of_windows = loss_and_gradients(model, windows(*rows))
    one_by_one = prefixes(*rows)
    for ours, theirs in zip(of_windows, loss_and_gradients(model, one_by_one), strict=True):
        close(ours, theirs)
    # the control: other draws, or targets of another prefix
    assert differ(loss_and_gradients(model, one_by_one, seed=2)[0], of_windows[0])
    one_by_one["item_id"] = one_by_one["item_id"].roll(1)
    assert differ(loss_and_gradients(model, one_by_one)[0], of_windows[0])


def test_a_position_without_a_target_is_not_trained_on():
    model = build()
    batch = windows([3, 1, 2, 6], [5, 2])
    batch["item_id"][0, :2] = 0
    loss = seeded(model.calculate_loss, batch)
    close(loss, seeded(model.calculate_loss, histories([3, 1, 2], [5], target=[6, 2])))
    assert differ(loss, seeded(model.calculate_loss, windows([3, 1, 2, 6], [5, 2])))


def test_targets_come_with_their_rows_and_the_last_positions_of_their_histories():
    length = torch.tensor([3, 1])
    one_each = targets(torch.tensor([6, 2]), length)
    assert [part.tolist() for part in one_each] == [[0, 1], [2, 0], [6, 2]]
    at_all = targets(torch.tensor([[0, 2, 6], [5, 0, 0]]), length)
    assert [part.tolist() for part in at_all] == [[0, 0, 1], [1, 2, 0], [2, 6, 5]]


def softmax_by_hand(query, wanted, others, target, negatives):
    """-log softmax of the target among it and the negatives that are not it, row by row."""
    total = 0
    for q, w, own in zip(query, wanted, target):
        apart = [q @ other for other, item in zip(others, negatives) if item != own]
        total += torch.stack([q @ w, *apart]).logsumexp(dim=0) - q @ w
    return total / len(query)


@pytest.mark.parametrize("normalize", [True, False])
@torch.no_grad()
def test_the_guidance_is_trained_by_the_interest_nearest_to_the_target(normalize):
    model = build(normalize_guidance=normalize, recon_weight=0, ssm_weight=0, embedding_std=0.7)
    model.interests.weigh[2].weight.mul_(20)  # interests of different lengths
    rows = [[i, 2 * i % 16, 15 - i] for i in range(1, 15)]
    batch, chosen = histories(*rows, target=[r % 15 + 1 for r in range(14)]), [10, 3, 14, 10]
    fixed_negatives(model, chosen)
    g, target = model.guidance(batch), batch["item_id"]
    e_a, e_i = model.item_embedding(target), model.item_embedding(torch.tensor(chosen))
    sides = {
        False: (g, e_a, e_i),
        True: (10 * F.normalize(g, dim=2), *map(F.normalize, (e_a, e_i))),
    }
    interests, wanted, others = sides[normalize]
    nearest = [max(of_row, key=lambda g_k: g_k @ w) for of_row, w in zip(interests, wanted)]
    expected = softmax_by_hand(nearest, wanted, others, target, chosen)
    close(model.calculate_loss(batch), expected)
    # the control: another interest, or the one that is nearest by the other measure
    furthest = [min(of_row, key=lambda g_k: g_k @ w) for of_row, w in zip(interests, wanted)]
    assert differ(softmax_by_hand(furthest, wanted, others, target, chosen), expected)
    places = [torch.einsum("mkd,md->mk", a, b).argmax(dim=1) for a, b, _ in sides.values()]
    assert (places[0] != places[1]).any()


@pytest.mark.parametrize(
    "recon, ssm, temperature", [(1.0, 0.0, 0.2), (0.0, 1.0, 0.2), (0.7, 2.5, 0.2), (0.7, 2.5, 1.3)]
)
def test_the_loss_is_the_weighted_sum_of_its_three_parts(recon, ssm, temperature):
    model = build(recon_weight=recon, ssm_weight=ssm, temperature=temperature)
    chosen = [1, 6, 14, 1]
    fixed_negatives(model, chosen)
    outputs = []
    model.denoiser.register_forward_hook(lambda *called: outputs.append(called[-1]))
    loss = seeded(model.calculate_loss, TRAINED)
    model.recon_weight = model.ssm_weight = 0
    gem = seeded(model.calculate_loss, TRAINED)
    x0_hat, target, items = F.normalize(outputs[0]), TRAINED["item_id"], model.items()
    squared = (x0_hat - items[target]).square().sum(dim=1).mean()
    softmax = softmax_by_hand(x0_hat / temperature, items[target], items[chosen], target, chosen)
    close(loss, gem + recon * squared + ssm * softmax)
    assert squared > 0.1 and softmax > 0.1


def test_the_denoiser_is_shown_the_corrupted_target_its_level_and_the_interests(monkeypatch):
    model = build()
    calls, t, eps = called_with(model), torch.tensor([1, 7, 13, T]), torch.randn(4, D)
    monkeypatch.setattr(model.timesteps, "sample", lambda n: (t, None))
    monkeypatch.setattr(torch, "randn_like", lambda like: eps)
    inputs = []
    model.denoiser.register_forward_hook(lambda module, args, output: inputs.append(args[0]))
    model.calculate_loss(TRAINED)
    x_t = model.diffusion.q_sample(model.items()[TRAINED["item_id"]], t, eps)
    g = model.guidance(TRAINED)
    ((shown, level, interests),) = calls
    close(shown, x_t)
    assert torch.equal(level, t)
    close(interests, g)
    close(inputs[0], torch.cat([x_t, model.step_embedding.weight[t], *g.unbind(1)], dim=1))
    other = model.diffusion.q_sample(model.items()[TRAINED["item_id"]], t.flip(0), eps)
    assert on_the_sphere(shown) and differ(shown, other)


def test_the_squared_error_moves_its_target_through_x_t_alone_and_the_softmax_moves_it_too():
    gradients = {}
    for recon, ssm, ablate in ((0, 0, True), (1, 0, True), (1, 0, False), (0, 1, True)):
        model = build(recon_weight=recon, ssm_weight=ssm, ablate_x_t=ablate)
        fixed_negatives(model, [13, 14])
        seeded(model.calculate_loss, TRAINED).backward()
        gradients[recon, ssm, ablate] = model.item_embedding.weight.grad
    of_targets, of_negatives, of_histories = [6, 10, 12], [13, 14], [1, 2, 3, 4, 5, 7, 8, 9]
    gem = gradients[0, 0, True]
    by_error, by_error_and_x_t = gradients[1, 0, True] - gem, gradients[1, 0, False] - gem
    by_softmax = gradients[0, 1, True] - gem
    assert gem[of_targets + of_negatives].any(dim=1).all()
    assert not by_error[of_targets + of_negatives].any()
    assert by_error[of_histories].any(dim=1).all()
    assert by_error_and_x_t[of_targets].any(dim=1).all()
    assert not by_error_and_x_t[of_negatives].any()
    assert by_softmax[of_targets + of_negatives + of_histories].any(dim=1).all()
    assert not gradients[0, 1, True][[0, 11, 15]].any()


@pytest.mark.parametrize("power", [10.0, 1.0])
def test_levels_are_drawn_by_the_power_law(power):
    model = build(level_power=power, dims_dnn=[2])
    calls, rows = called_with(model), 20_000
    batch = Interaction(
        {
            "item_id_list": torch.ones(rows, 1, dtype=torch.long),
            "item_length": torch.ones(rows, dtype=torch.long),
            "item_id": torch.full((rows,), 2),
        }
    )
    with torch.no_grad():
        seeded(model.calculate_loss, batch)
    t = calls[0][1]
    assert t.min() >= 1 and t.max() == T
    for level in range(1, T):
        p = (level / T) ** power
        share, deviation = (t <= level).float().mean().item(), (p * (1 - p) / rows) ** 0.5
        assert abs(share - p) < 4.5 * deviation + 1e-12, level


# ------------------------------------------------------------------------------ the negatives
def test_negatives_are_the_items_of_their_kind():
    target = torch.tensor([3, 3, 1])
    assert torch.equal(build(negatives="batch").draw_negatives(target), target)
    assert len(build().draw_negatives(target)) == 7
    share = {}
    for kind in ("uniform", "popularity"):
        model = build(n_items=4, negatives=kind, n_negatives=6000)
        drawn = seeded(model.draw_negatives, target)
        assert drawn.dtype == torch.long and set(drawn.tolist()) == {1, 2, 3}
        share[kind] = torch.bincount(drawn)[1:] / 6000
    close(share["uniform"], torch.ones(3) / 3, rel=0.03)
    close(share["popularity"], torch.tensor([1.0, 2.0, 3.0]) / 6, rel=0.03)


@pytest.fixture
def circle(tmp_path, write_inter):
    """Users who walk round items a to h, each from another one, and end with an item of their own.

    Those last items are in test rows alone, for the leave-one-out split.
    """
    rows = [
        (f"u{user}", item, "view", time)
        for user in range(8)
        for time, item in enumerate([*("abcdefgh" * 2)[user : user + 5 + user % 2], f"own{user}"])
    ]
    write_inter(tmp_path, "tiny", rows)
    last = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
    return tmp_path, SMALL | {
        "eval_args": last,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    }


def test_an_item_of_held_out_rows_alone_is_no_popular_negative(circle, build_data):
    folder, settings = circle
    for kind in ("popularity", "uniform"):
        kinds = settings | {"negatives": kind, "n_negatives": 2000}
        config, data, loaders = build_data(folder, "DimeRec", **kinds)
        train = loaders[0]._dataset
        drawn = config.model_class(config, train).draw_negatives(torch.tensor([1])).unique()
        held_out = {data.token2id("item_id", f"own{user}") for user in range(8)}
        assert held_out.isdisjoint(drawn.tolist()) == (kind == "popularity")
        if kind == "popularity":
            assert torch.equal(drawn, train.inter_feat["item_id"].unique())


@pytest.mark.parametrize("guidance", GUIDANCES)
def test_an_epoch_of_windows_has_the_targets_and_interests_of_an_epoch_of_prefixes(
    guidance, circle, build_data
):
    folder, settings = circle
    pairs = {}
    for all_positions in (True, False):
        config, _, (train, _, _) = build_data(
            folder, "DimeRec", **settings, guidance=guidance, all_positions=all_positions
        )
        torch.manual_seed(0)
        model = config.model_class(config, train._dataset)
        calls, asked = called_with(model), []
        model.draw_negatives = lambda target, asked=asked: asked.append(target) or target
        for batch in train:
            assert (batch["item_id"].dim() == 2) == all_positions
            model.calculate_loss(batch)
        g = torch.cat([call[2] for call in calls]).detach().flatten(1)
        rows = torch.cat([torch.cat(asked)[:, None], g], dim=1)
        pairs[all_positions] = rows[np.lexsort(rows.numpy().round(3).T[::-1])]
    close(pairs[True], pairs[False])


# -------------------------------------------------------------------------- walks and scores
@pytest.mark.parametrize("reverse_noise", [True, False])
@torch.no_grad()
def test_every_point_of_a_walk_lies_on_the_sphere(reverse_noise):
    model = build(reverse_noise=reverse_noise)
    calls, g = called_with(model), model.guidance(BATCH)
    x0 = model.generate(g)
    assert on_the_sphere(x0) and on_the_sphere(model.items()[1:])
    assert all(on_the_sphere(x_t) for x_t, _, _ in calls)
    assert not on_the_sphere(model.item_embedding.weight[1:]) and not on_the_sphere(g)


@pytest.mark.parametrize("reverse_noise", [True, False])
@torch.no_grad()
def test_with_a_perfect_denoiser_the_item_it_knows_ranks_first(reverse_noise):
    model = build(reverse_noise=reverse_noise)
    known = torch.tensor([11, 2, 15, 8])
    untrained = model.full_sort_predict(BATCH)
    model.forward = lambda x_t, t, g: model.items()[known]
    scores = model.full_sort_predict(BATCH)
    close(scores[range(4), known], torch.ones(4), rel=1e-6)
    assert torch.equal(scores.argmax(dim=1), known)
    assert not torch.equal(untrained.argmax(dim=1), known)


@pytest.mark.parametrize("count", [1, 5, T])
@torch.no_grad()
def test_a_walk_visits_its_levels_under_interests_extracted_once(count):
    model = build(sampling_steps=count)
    calls, extracted = called_with(model), []
    model.interests.register_forward_hook(lambda *called: extracted.append(called[-1][:, 0]))
    batch = histories([3, 1, 2], [5], target=[4, 9])
    for score in (model.full_sort_predict, model.predict):
        calls.clear(), extracted.clear()
        score(batch)
        assert len(extracted) == 1 and len(calls) == count
        visited = [t.unique().tolist() for _, t, _ in calls]
        assert visited == [[T - i * T // count] for i in range(count)]
        assert all(torch.equal(g, extracted[0]) for _, _, g in calls)


@pytest.mark.parametrize("reverse_noise", [True, False])
@torch.no_grad()
def test_the_seed_decides_a_walk(reverse_noise):
    model = build(reverse_noise=reverse_noise)
    scores = seeded(model.full_sort_predict, BATCH)
    assert torch.equal(seeded(model.full_sort_predict, BATCH), scores)
    assert differ(seeded(model.full_sort_predict, BATCH, seed=2), scores)


@torch.no_grad()
def test_from_the_same_start_only_the_noise_of_the_steps_makes_walks_differ(monkeypatch):
    start = torch.randn(4, D)
    for reverse_noise in (True, False):
        model = build(reverse_noise=reverse_noise)
        monkeypatch.setattr(model.diffusion, "start", lambda noise: F.normalize(start))
        calls, results = called_with(model), []
        for seed in (1, 2):
            results.append(seeded(model.full_sort_predict, BATCH, seed=seed))
        close(calls[0][0], F.normalize(start))
        assert differ(*results) == reverse_noise


@pytest.mark.parametrize("reverse_noise", [True, False])
@torch.no_grad()
def test_without_x_t_where_a_walk_begins_does_not_matter(reverse_noise):
    for ablate in (True, False):
        model = build(ablate_x_t=ablate, reverse_noise=reverse_noise)
        scores = [seeded(model.full_sort_predict, BATCH, seed=seed) for seed in (1, 2)]
        assert differ(*scores) != ablate
        other = seeded(model.full_sort_predict, histories([6], [7], [8, 1], [9, 2, 3]))
        assert differ(other, scores[0])


@torch.no_grad()
def test_predict_gives_the_scores_of_the_ranking():
    model = build()
    batch = histories([3, 1, 2], [5], target=[4, 9])
    scores = seeded(model.full_sort_predict, batch)
    predicted = seeded(model.predict, batch)
    close(predicted, scores[torch.arange(2), batch["item_id"]])
    assert differ(predicted, scores[torch.arange(2), batch["item_id"] + 1])


@torch.no_grad()
def test_a_score_is_a_cosine_so_that_no_item_wins_by_its_norm():
    model = build()
    scores = seeded(model.full_sort_predict, BATCH)
    x0 = seeded(model.generate, model.guidance(BATCH))
    close(scores[:, 1:], torch.cosine_similarity(x0[:, None], model.item_embedding.weight[1:], -1))
    assert not scores[:, 0].any()  # the padding's
    model.item_embedding.weight[15] *= 100  # in no history
    close(seeded(model.full_sort_predict, BATCH), scores)
    model.item_embedding.weight[15] *= -1  # the control: the direction counts
    close(seeded(model.full_sort_predict, BATCH)[:, 15], -scores[:, 15])


# ---------------------------------------------------------------------------------- building
def test_embeddings_begin_as_spread_as_asked_and_the_padding_at_0():
    for std in (1.0, 0.1):
        weight = build(n_items=2000, embedding_std=std).item_embedding.weight
        assert weight[1:].std().item() == pytest.approx(std, rel=0.03)
        assert not weight[0].any()


@pytest.mark.parametrize("guidance", GUIDANCES)
@pytest.mark.parametrize("reverse_noise", [True, False])
def test_every_tensor_is_made_where_the_model_is(guidance, reverse_noise, monkeypatch):
    # on the device meta, which holds no numbers and refuses tensors of another one
    model = build(guidance=guidance, reverse_noise=reverse_noise).to("meta")
    one_each, at_all = TRAINED.to("meta"), windows([3, 1, 2, 6], [5, 2]).to("meta")
    assert model.calculate_loss(one_each).device.type == "meta"
    assert model.full_sort_predict(one_each).device.type == "meta"
    assert model.predict(one_each).device.type == "meta"
    found = [part.to("meta") for part in targets(windows([3, 1, 2, 6], [5, 2])["item_id"], None)]
    monkeypatch.setattr(dimerec, "targets", lambda *args: found)  # how many is not known on meta
    assert model.calculate_loss(at_all).device.type == "meta"
    with pytest.raises(RuntimeError):
        model.calculate_loss(windows([3, 1, 2, 6], [5, 2]))


@pytest.mark.parametrize("dims_dnn", [[], [6], [6, 4]])
@torch.no_grad()
def test_only_a_denoiser_without_hidden_layers_is_affine(dims_dnn):
    denoiser = build(dims_dnn=dims_dnn).denoiser
    widths = [tuple(weight.shape) for weight in denoiser.parameters() if weight.dim() == 2]
    assert widths == list(zip([*dims_dnn, D], [(2 + K) * D, *dims_dnn]))
    x, y = torch.randn(2, 4, (2 + K) * D)
    middle = (denoiser(x) + denoiser(y)) / 2
    assert differ(denoiser((x + y) / 2), middle) == bool(dims_dnn)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"guidance": "routing"}, "guidance 'routing' is unknown; known: attention, last"),
        ({"negatives": "hard"}, "negatives 'hard' is unknown; known: uniform, popularity, batch"),
        ({"noise_schedule": "trunc_lin"}, "'trunc_lin' is unknown; known: linear, cosine, sqrt$"),
        ({"noise_schedule": "exp"}, "'exp' is unknown; known: linear, cosine, sqrt$"),
        ({"noise_schedule": "linear"}, "alpha_bar is 0.817 at level 20.*auto needs at most 0.01"),
        ({"temperature": 0}, "temperature is 0, it must be a number above 0"),
        ({"temperature": -1}, "temperature is -1, it must be a number above 0"),
        ({"temperature": True}, "temperature is True"),
        ({"recon_weight": -1}, "recon_weight is -1"),
        ({"ssm_weight": "much"}, "ssm_weight is 'much'"),
        ({"embedding_std": None}, "embedding_std is None"),
        ({"dropout_prob": True}, "dropout_prob is True"),
        ({"level_power": 0}, "level_power is 0, it must be a number above 0"),
        ({"level_power": True}, "level_power is True"),
        ({"level_power": "high"}, "level_power is 'high'"),
        (
            {"walk_scale": 1.0, "reverse_noise": False, "hidden_size": 64},
            r"great circles, on which steps of walk_scale 1.0 wind round the sphere \(7.9 radians",
        ),
        ({"walk_scale": "long"}, "walk_scale is 'long'; it must be a number above 0 or auto"),
        ({"walk_scale": True}, "walk_scale is True"),
        ({"sampling_steps": 21}, "21 steps over 20 levels"),
        ({"sampling_steps": 0}, "sampling_steps is 0, it must be a whole number above 0"),
        ({"diffusion_steps": 2.0}, "diffusion_steps is 2.0"),
        ({"n_interests": 0}, "n_interests is 0"),
        ({"n_negatives": 0}, "n_negatives is 0"),
        ({"n_negatives": True}, "n_negatives is True"),
        ({"hidden_size": 1}, "points of size 1 lie on no sphere"),
        ({"hidden_size": 8.0}, "hidden_size is 8.0"),
        ({"dims_dnn": 64}, "dims_dnn is 64, it must be a list of whole numbers above 0"),
        ({"dims_dnn": [64, 0]}, r"dims_dnn is \[64, 0\]"),
        ({"normalize_guidance": 1}, "normalize_guidance is 1, it must be True or False"),
        ({"reverse_noise": "never"}, "reverse_noise is 'never'"),
        ({"ablate_x_t": None}, "ablate_x_t is None"),
    ],
)
def test_what_no_model_can_be_built_with_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"walk_scale": 1.0, "hidden_size": 64},
        {"walk_scale": 0.3, "hidden_size": 64, "reverse_noise": False},
        {"walk_scale": 0.3, "noise_schedule": "linear"},
        {"noise_schedule": "linear", "diffusion_steps": 500},
        {"noise_schedule": "sqrt", "sampling_steps": 20},
    ],
)
def test_what_is_refused_only_in_other_company_is_built(settings):
    model = build(**settings)
    assert on_the_sphere(model.generate(model.guidance(BATCH)))


# ------------------------------------------------------------------------------- it learns
@pytest.mark.parametrize("guidance", GUIDANCES)
@pytest.mark.parametrize("shuffled", [False, True])
def test_a_chain_of_items_is_learnt_and_none_where_targets_are_shuffled(guidance, shuffled):
    """After item i comes i + 1."""
    model = build(n_items=11, guidance=guidance, hidden_size=16)
    rows = [[i, i + 1, i + 2] for i in range(1, 8)]
    batch = histories(*rows, target=[row[-1] + 1 for row in rows])

    def hits():
        model.eval()
        with torch.no_grad():
            return (model.full_sort_predict(batch).argmax(dim=1) == batch["item_id"]).sum().item()

    before = hits()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    shown = batch
    for _ in range(200):
        model.train()
        optimizer.zero_grad()
        if shuffled:
            shown = histories(*rows, target=batch["item_id"][torch.randperm(7)].tolist())
        model.calculate_loss(shown).backward()
        optimizer.step()
    assert before < 4
    assert hits() < 4 if shuffled else hits() == 7


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_people_who_walk_in_a_circle_are_followed(negatives, run):
    settings = {"negatives": negatives, "guidance": "last", "valid_metric": "Hit@5", "saved": False}
    settings |= {"diffusion_steps": 20, "hidden_size": 16}
    hits = []
    for epochs, rate in ((1, 1e-9), (20, 0.02)):
        result = run("DimeRec", **settings, epochs=epochs, learning_rate=rate)
        hits.append(result["best_valid_result"]["hit@5"])
    assert hits[0] < 0.4 < 0.55 < hits[1]  # 5 of 20 items by chance
