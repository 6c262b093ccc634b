"""L-DiffRec and LT-DiffRec: clusters of items, the loss of both parts, and the walk of latents.

Letters: B users of a batch, n items without the padding, C clusters, d latents.
"""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recbole.model.general_recommender import ldiffrec as host_ldiffrec
from rounding import close
from torch import nn
from torch.distributions import Normal, kl_divergence
from training_rows import Rows

from recbole_diffusion.config.config import Config
from recbole_diffusion.model.general_recommender import ldiffrec
from recbole_diffusion.model.layers.cluster_vae import ClusterVAE
from recbole_diffusion.model.layers.interaction_rows import Bags
from recbole_diffusion.quick_start.item_clusters import item_clusters
from recbole_diffusion.trainer import checkpoint
from recbole_diffusion.trainer.choose import get_trainer

# the cluster of each of 20 items; sizes 10, 4 and 6, so that 6 latents are shared as 3, 1 and 2
CLUSTERS = [0, 1, 0, 2, 2, 0, 1, 0, 2, 0, 0, 2, 1, 0, 2, 0, 1, 0, 2, 0]
# noise and weights so large that every part of a loss and of a walk matters
NOISY = {
    "noise_schedule": "linear-var",
    "noise_scale": 1.0,
    "noise_min": 0.05,
    "noise_max": 0.5,
    "beta_fixed": False,
    "steps": 4,
    "dims_dnn": [7, 5],
}


def grown(model):
    """The model with larger weights, biases too."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.8).add_(torch.randn(weight.shape) * 0.1)
    return model


@pytest.fixture
def built(checkerboard):
    """Gives a function from a model's name, clusters and settings to the model."""

    def build(name="LDiffRec", clusters=None, data=None, seed=0, **settings):
        quiet = {"use_gpu": False, "data_path": "nowhere"}
        config = Config(name, "tiny", config_dict=quiet | settings)
        torch.manual_seed(seed)
        data = data or checkerboard[0]
        ids = item_clusters(config, data) if clusters is None else torch.tensor(clusters)
        return config.model_class(config, data, cluster_ids=ids)

    return build


@pytest.fixture
def without_dropout(monkeypatch):
    """Gives a function that takes dropout out of models, ours and RecBole's."""

    def remove(*models):
        monkeypatch.setattr(ldiffrec, "DROPOUT", 0.0)
        for model in models:
            for module in model.modules():
                if isinstance(module, nn.Dropout):
                    module.p = 0.0

    return remove


@pytest.fixture
def drawn(monkeypatch):
    """Gives a function that sets a model's levels (B of them), factors and normal numbers."""

    def fix(model, t, factor, *normals):
        following = iter(normals)
        monkeypatch.setattr(model.timesteps, "sample", lambda n: (t, factor))
        monkeypatch.setattr(torch, "randn_like", lambda like: next(following))

    return fix


# ------------------------------------------------------------------------------- beside RecBole's


def linears(network):
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)]


def same_parameters(ours, theirs):
    """Our parameters, and the parts of RecBole's that are the same."""
    whole = slice(None)
    items = slice(1, None) if theirs.n_cate == 1 else whole  # a single cluster has the padding
    encoders, decoders = (
        [network] if not isinstance(network, nn.ModuleList) else network
        for network in (theirs.autoencoder.encoder, theirs.autoencoder.decoder)
    )
    for nets, their_nets, at, place in (
        (ours.autoencoder.encoders, encoders, 0, (whole, items)),
        (ours.autoencoder.decoders, decoders, -1, (items, whole)),
    ):
        assert len(nets) == len(their_nets)
        for mine, their in zip(map(linears, nets), map(linears, their_nets)):
            places = [(whole, whole)] * len(mine)
            places[at] = place
            for layer, host, (out, into) in zip(mine, their, places, strict=True):
                yield layer.weight, host.weight, (out, into)
                yield layer.bias, host.bias, (out,)
    first, *inner, last = linears(theirs.mlp.mlp_layers)
    denoiser = ours.denoiser
    d = denoiser.data_in.in_features
    yield denoiser.data_in.weight, first.weight, (whole, slice(0, d))
    yield denoiser.time_in.weight, first.weight, (whole, slice(d, None))
    yield denoiser.data_in.bias, first.bias, (whole,)
    pairs = [(denoiser.time_embedding, theirs.mlp.emb_layer), (denoiser.out, last)]
    for layer, host in [*zip(linears(denoiser.inner), inner, strict=True), *pairs]:
        yield layer.weight, host.weight, (whole, whole)
        yield layer.bias, host.bias, (whole,)


BESIDE = {
    "one cluster": {"n_cate": 1, "in_dims": [5]},
    "one deep": {"n_cate": 1, "in_dims": [4, 6], "out_dims": [7, 3]},
    "clusters": {"n_cate": 3, "in_dims": [6, 10]},
    "clusters' decoders": {"n_cate": 3, "in_dims": [6, 10, 12], "out_dims": [10, 12]},
    "eps": {"n_cate": 3, "in_dims": [6], "mean_type": "eps"},
    "norm": {"n_cate": 1, "in_dims": [5], "norm": True},
    "no noise": {"n_cate": 1, "in_dims": [5], "noise_scale": 0},
    "relu": {"n_cate": 3, "in_dims": [6, 9], "out_dims": [9], "ae_act_func": "relu"},
    "corrupted": {"n_cate": 3, "in_dims": [6], "sampling_steps": 3},
}


@pytest.fixture(params=BESIDE)
def beside(request, build_data, shop, small, monkeypatch):
    """Our model and RecBole's on the same data, with the same clusters and weights."""
    annealing = {"lamda": 0.7, "anneal_cap": 0.2, "anneal_steps": 5}
    annealing |= {"vae_anneal_cap": 0.6, "vae_anneal_steps": 4}
    settings = small("LDiffRec", **NOISY | annealing | BESIDE[request.param])
    clusters = torch.tensor(CLUSTERS)
    kmeans = SimpleNamespace(kmeans=lambda **_: (clusters, None))
    monkeypatch.setitem(sys.modules, "kmeans_pytorch", kmeans)  # RecBole 1.2.1
    monkeypatch.setattr(host_ldiffrec, "kmeans", kmeans.kmeans, raising=False)  # RecBole 1.2.0
    np.save(shop / "dataset" / "shop" / "item_emb.npy", np.zeros((20, 2)))
    folder = shop / "dataset"
    config, _, (train, _, _) = build_data(folder, "LDiffRec", "shop", **settings)
    host_config, _, (host_train, _, _) = build_data(folder, "recbole:LDiffRec", "shop", **settings)
    torch.manual_seed(0)
    given = clusters if settings["n_cate"] > 1 else torch.zeros_like(clusters)
    ours = grown(config.model_class(config, train.dataset, cluster_ids=given)).eval()
    theirs = host_config.model_class(host_config, host_train.dataset).eval()
    seen = set()
    with torch.no_grad():
        for parameter, host, place in same_parameters(ours, theirs):
            host[place] = parameter
            seen.add(parameter)
        if theirs.n_cate == 1:  # the padding has no part in anything, the softmax included
            linears(theirs.autoencoder.decoder)[-1].weight[0] = 0
            linears(theirs.autoencoder.decoder)[-1].bias[0] = -1e9
    assert seen == set(ours.parameters())
    return ours, theirs


def test_the_network_is_recboles_with_the_same_weights(beside, users, monkeypatch):
    ours, theirs = beside
    noise = torch.randn(29, ours.denoiser.out.out_features)  # of the corruption
    monkeypatch.setattr(torch, "randn", lambda *shape, **_: noise.reshape(shape))
    monkeypatch.setattr(torch, "randn_like", lambda like: noise.view_as(like))
    items = slice(1, None) if theirs.n_cate == 1 else slice(None)
    batch = users(*range(1, 30))
    rows = theirs.get_rating_matrix(batch["user_id"])
    with torch.no_grad():
        _, latent, kl = theirs.autoencoder.Encode(rows)
        mu, log_variance = ours.autoencoder.encode(ours.bags(batch["user_id"]))
        assert latent.std(dim=0).max() > 0.1, "the control: users differ"
        close(mu, latent)
        close(kl_divergence(Normal(mu, (log_variance / 2).exp()), Normal(0, 1)).sum(1).mean(), kl)
        close(ours.autoencoder.decode(latent), theirs.autoencoder.Decode(latent)[:, items])
        scores = ours.full_sort_predict(batch)
        close(scores[:, 1:], theirs.full_sort_predict(batch)[:, 1:])
    assert (scores[:, 0] == 0).all()


def test_the_loss_and_its_gradients_are_recboles_while_the_weights_anneal(
    beside, users, drawn, without_dropout, monkeypatch
):
    # RecBole's likelihood is of the row after dropout, ours of the row itself.
    ours, theirs = (model.train() for model in beside)
    without_dropout(ours, theirs)
    batch = users(*range(1, 30))
    size = (29, ours.denoiser.out.out_features)
    seen = []
    for _ in range(6):
        t, factor = torch.randint(1, 5, (29,)), torch.rand(29) + 0.5
        normals = torch.randn(size), torch.randn(size)  # of the latents, of the corruption
        drawn(ours, t, factor, *normals, *normals)
        monkeypatch.setattr(theirs, "sample_timesteps", lambda *_, at=(t - 1, 1 / factor): at)
        seen.append((*ours.annealed(), ours.calculate_loss(batch), theirs.calculate_loss(batch)))
        *_, loss, host_loss = seen[-1]
        close(loss.double(), host_loss.double())
        for model, value in ((ours, loss), (theirs, host_loss)):
            model.zero_grad()
            value.backward()
        for parameter, host, place in same_parameters(ours, theirs):
            close(parameter.grad, host.grad[place], rel=1e-4)
    lamda, anneal, _, _ = zip(*seen)
    assert len(set(lamda)) == 5 and len(set(anneal)) == 4, "the control: both change, to a cap"


# ------------------------------------------------------------------------------------- the network


def latents_by_hand(model, rows):
    """Mu and log-variance of dense rows, shape: [B, n], cluster by cluster."""
    mu, log_variance = [], []
    for c, encoder in enumerate(model.autoencoder.encoders):
        h = rows[:, [item for item, cluster in enumerate(CLUSTERS) if cluster == c]]
        for layer in linears(encoder):
            h = torch.tanh(F.linear(h, layer.weight, layer.bias))
        half = h.shape[1] // 2
        mu.append(h[:, :half])
        log_variance.append(h[:, half:])
    return torch.cat(mu, dim=1), torch.cat(log_variance, dim=1)


def scores_by_hand(model, latent):
    """Scores of the items in their own order, shape: [B, n]."""
    scores, begin = torch.empty(len(latent), 20), 0
    if len(model.autoencoder.decoders) == 1:
        (layer,) = linears(model.autoencoder.decoders)
        weight = iter(F.linear(latent, layer.weight, layer.bias).T)
        for c in range(3):
            for item in range(20):
                if CLUSTERS[item] == c:
                    scores[:, item] = next(weight)
        return scores
    for c, decoder in enumerate(model.autoencoder.decoders):
        *inner, last = linears(decoder)
        h = latent[:, begin : begin + (inner or [last])[0].in_features]
        begin += h.shape[1]
        for layer in inner:
            h = torch.tanh(F.linear(h, layer.weight, layer.bias))
        items = [item for item, cluster in enumerate(CLUSTERS) if cluster == c]
        scores[:, items] = F.linear(h, last.weight, last.bias)
    assert begin == latent.shape[1]
    return scores


NETWORKS = {
    "one map": {"in_dims": [6]},
    "deep encoders": {"in_dims": [6, 10]},
    "decoders": {"in_dims": [6, 10], "out_dims": [8, 12]},
}


@pytest.mark.parametrize("network", NETWORKS)
@torch.no_grad()
def test_each_cluster_has_an_encoder_and_the_decoder_gives_back_its_items(built, users, network):
    model = grown(built(clusters=CLUSTERS, **NOISY, **NETWORKS[network])).eval()
    batch = users(*range(1, 30))
    rows = model.histories.dense(batch["user_id"])
    expected = latents_by_hand(model, rows)
    for ours, by_hand in zip(model.autoencoder.encode(model.bags(batch["user_id"])), expected):
        close(ours, by_hand)
    scores = scores_by_hand(model, model.walk_plain(expected[0]))
    close(model.full_sort_predict(batch)[:, 1:], scores)
    assert scores.std(dim=0).max() > 1e-3
    # the control: other places, other scores
    model.load_state_dict(model.state_dict() | {"cluster_ids": model.cluster_ids.flip(0)})
    assert not torch.allclose(model.full_sort_predict(batch)[:, 1:], scores, atol=1e-2)


@pytest.mark.parametrize("network", NETWORKS)
def test_latents_know_their_own_items_and_reach_all_or_their_own(built, network):
    data = Rows([(1, item) for item in range(1, 21)], 2, 21)
    model = grown(built(clusters=CLUSTERS, data=data, **NOISY, **NETWORKS[network])).eval()
    owner = torch.tensor([0, 0, 0, 1, 2, 2])  # of the latents
    own = owner[:, None] == torch.tensor(CLUSTERS)  # [d, n]

    def encode(weight):
        bags = Bags(torch.zeros(20).long(), model.place, weight, torch.zeros(1).long())
        return torch.cat(model.autoencoder.encode(bags))

    reach = torch.autograd.functional.jacobian(encode, torch.ones(20))  # [2, d, n]
    assert torch.equal(reach[0] != 0, own) and torch.equal(reach[1] != 0, own)

    def decode(latent):
        return model.autoencoder.decode(latent[None])[0, model.place]

    reach = torch.autograd.functional.jacobian(decode, torch.randn(6)).T != 0  # [d, n]
    assert torch.equal(reach, own if network == "decoders" else torch.ones_like(own))


@pytest.mark.parametrize("network", NETWORKS)
def test_renaming_the_items_permutes_the_scores_and_nothing_else(
    built, checkerboard, users, drawn, network
):
    data = checkerboard[0]
    new = torch.randperm(20, generator=torch.Generator().manual_seed(3))  # item i is now new[i]
    pairs = zip(data.inter_feat["user_id"].tolist(), data.inter_feat["item_id"].tolist())
    renamed = Rows([(user, int(new[item - 1]) + 1) for user, item in pairs], 101, 21)
    clusters = torch.empty(20, dtype=torch.long)
    clusters[new] = torch.tensor(CLUSTERS)

    settings = NOISY | NETWORKS[network]
    before = grown(built(clusters=CLUSTERS, **settings)).eval()
    after = built(clusters=clusters.tolist(), data=renamed, seed=1, **settings).eval()
    mixed = built(clusters=CLUSTERS, data=renamed, seed=1, **settings).eval()

    # where the networks' columns are of now: items stand cluster by cluster, in order of their ids
    was = {int(new[i]): i for i in range(20)}
    first = sorted(range(20), key=lambda i: (CLUSTERS[i], i))
    second = sorted(range(20), key=lambda j: (int(clusters[j]), j))
    columns = [first.index(was[j]) for j in second]
    state, begin = dict(before.state_dict()), 0
    for c, encoder in enumerate(before.autoencoder.encoders):
        size = encoder[0].in_features
        part = [column - begin for column in columns[begin : begin + size]]
        begin += size
        name = f"autoencoder.encoders.{c}.0.weight"
        state[name] = state[name][:, part]
        if "out_dims" in settings:
            for name in ("weight", "bias"):
                name = f"autoencoder.decoders.{c}.4.{name}"
                state[name] = state[name][part]
    if "out_dims" not in settings:
        for name in ("autoencoder.decoders.0.0.weight", "autoencoder.decoders.0.0.bias"):
            state[name] = state[name][columns]
    after.load_state_dict(state | {"cluster_ids": clusters})
    mixed.load_state_dict(state | {"cluster_ids": torch.tensor(CLUSTERS)})

    batch, t, eps = users(*range(1, 101)), torch.arange(100) % 4 + 1, torch.randn(100, 6)
    scores = [model.full_sort_predict(batch)[:, 1:] for model in (before, after, mixed)]
    close(scores[1][:, new], scores[0])
    assert not torch.allclose(scores[2][:, new], scores[0], atol=1e-2)  # the control
    losses = []
    for model in (before, after, mixed):
        drawn(model, t, 1.0, eps)
        losses.append(model.calculate_loss(batch).item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert losses[2] != pytest.approx(losses[0], rel=1e-3)


def test_a_model_that_loads_anothers_clusters_scores_as_the_other(built, users):
    batch = users(*range(1, 30))
    first = grown(built(clusters=CLUSTERS, **NOISY, in_dims=[6])).eval()
    second = built(clusters=CLUSTERS[::-1], seed=1, **NOISY, in_dims=[6]).eval()
    own = second.full_sort_predict(batch)
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.full_sort_predict(batch), first.full_sort_predict(batch))
    assert not torch.allclose(own, first.full_sort_predict(batch), atol=1e-2)  # the control


def test_predict_gives_the_scores_of_the_ranking(built, users):
    model = grown(built(clusters=CLUSTERS, **NOISY, in_dims=[6])).eval()
    scores = model.full_sort_predict(users(1, 2, 2))
    some = model.predict(users(1, 2, 2, items=[3, 4, 20]))
    close(some, scores[torch.arange(3), torch.tensor([3, 4, 20])])


# -------------------------------------------------------------------------------- shares of a width


@pytest.mark.parametrize("sizes", [[20], [10, 4, 6], [1, 2, 500], [29, 71], [3, 3, 3, 1], [1, 1]])
@pytest.mark.parametrize("dim", [4, 7, 20, 100])
def test_latents_are_shared_in_proportion_to_the_items(sizes, dim):
    shares = ClusterVAE(sizes, [dim], [], "tanh").latents
    exact = np.array(sizes) / sum(sizes) * dim
    assert sum(shares) == dim and min(shares) >= 1 and len(shares) == len(sizes)
    assert (np.abs(np.array(shares) - exact)[:-1] <= 1).all(), "rounded, and at least 1"
    assert abs(shares[-1] - exact[-1]) < len(sizes)  # what is left


def test_every_width_is_shared_in_proportion_to_the_items():
    vae = ClusterVAE([10, 4, 6], [6, 20, 10], [40, 10], "tanh")
    widths = [[layer.weight.shape for layer in linears(net)] for net in vae.encoders]
    assert widths[0] == [(5, 10), (10, 5), (2 * 3, 10)]
    assert widths[1] == [(2, 4), (4, 2), (2 * 1, 4)]
    assert widths[2] == [(3, 6), (6, 3), (2 * 2, 6)]
    widths = [[layer.weight.shape for layer in linears(net)] for net in vae.decoders]
    assert widths[0] == [(20, 3), (5, 20), (10, 5)]
    assert widths[1] == [(8, 1), (2, 8), (4, 2)]
    assert widths[2] == [(12, 2), (3, 12), (6, 3)]


@pytest.mark.parametrize(
    "in_dims, out_dims, message",
    [
        ([2], [], "in_dims 2 leaves nothing for the last of 3 clusters, which hold"),
        ([6, 2], [], "in_dims 2 leaves nothing"),
        ([6], [2], "out_dims 2 leaves nothing"),
    ],
)
def test_a_width_below_the_number_of_clusters_is_refused(built, in_dims, out_dims, message):
    with pytest.raises(ValueError, match=message):
        built(clusters=CLUSTERS, in_dims=in_dims, out_dims=out_dims)
    built(clusters=CLUSTERS, in_dims=[3], out_dims=[3])  # the control: one for each


# ------------------------------------------------------------------------------------------- loss


@pytest.mark.parametrize("name", ["LDiffRec", "LTDiffRec"])
@pytest.mark.parametrize("reweight", [True, False])
def test_the_loss_is_that_of_the_paper_by_hand(built, users, drawn, checkerboard, name, reweight):
    data = checkerboard[0]
    weights = {"w_min": 0.2, "w_max": 0.8} if name == "LTDiffRec" else {}
    model = grown(
        built(
            name,
            CLUSTERS,
            **NOISY | weights,
            **{"in_dims": [6, 10], "out_dims": [8], "reweight": reweight},
            **{"lamda": 0.4, "anneal_steps": 0, "vae_anneal_steps": 10, "vae_anneal_cap": 0.9},
        )
    ).eval()
    model.batches.fill_(3)
    user = torch.tensor([4, 9, 100, 1])
    rows = torch.zeros(4, 20)
    for row, u in enumerate(user):
        items = data.inter_feat["item_id"][data.inter_feat["user_id"] == u] - 1  # in time
        rows[row, items] = torch.linspace(0.2, 0.8, len(items)) if weights else torch.ones(1)
    t, factor, eps = torch.tensor([1, 2, 4, 2]), torch.tensor([1, 3, 0.5, 2]), torch.randn(4, 6)
    drawn(model, t, factor, eps)
    loss = model.calculate_loss(users(*user.tolist()))

    mu, log_variance = latents_by_hand(model, rows)
    alpha_bar = torch.tensor(1 - np.linspace(0.05, 0.5, 4)).float()[t - 1, None]
    denoised = model.denoiser(alpha_bar.sqrt() * mu + (1 - alpha_bar).sqrt() * eps, t)
    error = (denoised - mu).square().mean(dim=1)
    if reweight:
        snr = (1 - np.linspace(0.05, 0.5, 4)) / np.linspace(0.05, 0.5, 4)
        error = error * torch.tensor([1, *(snr[:-1] - snr[1:])]).float()[t - 1]
    stored = model.timesteps.losses
    close(stored[[1, 4], 0], error[[0, 2]])  # before the factor
    diffusion_loss = (error * factor).mean()
    likelihood = -(F.log_softmax(scores_by_hand(model, denoised), dim=1) * rows).sum(1).mean()
    kl = kl_divergence(Normal(mu, (log_variance / 2).exp()), Normal(0, 1)).sum(1).mean()
    vae_loss = likelihood + 0.3 * kl
    both = (0.4, 1) if reweight else (1, 0.4)
    close(loss, both[0] * diffusion_loss + both[1] * vae_loss)
    assert min(diffusion_loss, likelihood, kl) > 0.1, "the control: every part matters"


def test_interactions_are_dropped_from_the_encoded_row_only_and_only_in_training(
    built, users, monkeypatch
):
    off = {"lamda": 0, "anneal_cap": 0, "vae_anneal_cap": 0}
    model = built(clusters=CLUSTERS, in_dims=[6], **off)
    batch = users(*range(1, 101))
    rows = model.histories.dense(batch["user_id"])
    logits, encoded, encode = torch.randn(100, 20), [], model.autoencoder.encode

    def watched(bags):
        encoded.append(bags.weight)
        return encode(bags)

    monkeypatch.setattr(model.autoencoder, "encode", watched)
    monkeypatch.setattr(model.autoencoder, "decode", lambda latent: logits)
    places = sorted(range(20), key=lambda i: (CLUSTERS[i], i))
    likelihood = -(F.log_softmax(logits, dim=1) * rows[:, places]).sum(1).mean()
    for training in (True, False):
        close(model.train(training).calculate_loss(batch), likelihood)
    dropped, whole = encoded
    assert (whole == 1).all()
    assert (dropped == 0).float().mean().item() == pytest.approx(0.1, abs=0.04)
    close(dropped[dropped > 0], torch.tensor(1 / 0.9).expand(int((dropped > 0).sum())))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("reparam", [True, False])
def test_latents_are_drawn_only_in_training_and_only_with_reparam(
    built, users, drawn, without_dropout, monkeypatch, reparam, training
):
    batch, latents = users(*range(1, 30)), []
    model = grown(built(clusters=CLUSTERS, **NOISY, in_dims=[6], reparam=reparam)).train(training)
    without_dropout(model)
    diffusion_loss = model.diffusion_loss

    def watched(x0):
        latents.append(x0)
        return diffusion_loss(x0)

    monkeypatch.setattr(model, "diffusion_loss", watched)
    draw, eps = torch.randn(29, 6), torch.randn(29, 6)
    draws = [draw, eps] if reparam and training else [eps]
    drawn(model, torch.ones(29).long(), 1.0, *draws)
    model.calculate_loss(batch)
    expected, log_variance = model.autoencoder.encode(model.bags(batch["user_id"]))
    if reparam and training:
        expected = expected + log_variance.exp().sqrt() * draw
    close(latents[0], expected)


# --------------------------------------------------------------------------------------- annealing


@pytest.mark.parametrize(
    "settings, expected",  # (batches, epochs) -> (lamda, anneal)
    [
        (
            {"anneal_unit": "batch", "anneal_steps": 10, "vae_anneal_steps": 20},
            {(0, 0): (0.8, 0), (1, 0): (0.72, 0.05), (5, 9): (0.4, 0.25), (7, 1): (0.24, 0.3),
             (8, 0): (0.2, 0.3), (10, 0): (0.2, 0.3), (99, 3): (0.2, 0.3)},
        ),
        (
            {"anneal_unit": "epoch", "anneal_steps": 10, "vae_anneal_steps": 20},
            {(0, 0): (0.8, 0), (1, 0): (0.8, 0.05), (5, 1): (0.72, 0.25), (99, 5): (0.4, 0.3),
             (99, 8): (0.2, 0.3), (99, 50): (0.2, 0.3)},
        ),
        (
            {"anneal_unit": "epoch", "anneal_steps": 0, "vae_anneal_steps": 0},
            {(0, 0): (0.8, 0.3), (50, 50): (0.8, 0.3)},
        ),
        (
            {"anneal_unit": "batch", "anneal_steps": 0, "anneal_cap": 0.9, "vae_anneal_steps": 0},
            {(0, 0): (0.9, 0.3), (50, 50): (0.9, 0.3)},
        ),
    ],
)  # fmt: skip
def test_lamda_falls_and_the_weight_of_the_divergence_rises(built, settings, expected):
    model = built(**{"lamda": 0.8, "anneal_cap": 0.2, "vae_anneal_cap": 0.3} | settings)
    for (batches, epochs), weights in expected.items():
        model.batches.fill_(batches)
        model.epochs.fill_(epochs)
        assert model.annealed() == pytest.approx(weights)


@pytest.mark.parametrize("unit", ["batch", "epoch"])
def test_training_counts_batches_and_epochs(run, monkeypatch, unit):
    seen = []
    annealed = ldiffrec.LDiffRec.annealed

    def watched(self):
        seen.append(annealed(self))
        return seen[-1]

    monkeypatch.setattr(ldiffrec.LDiffRec, "annealed", watched)
    result = run(
        "LDiffRec",
        **{"in_dims": [4], "dims_dnn": [8], "epochs": 3, "train_batch_size": 16},
        **{"lamda": 1.0, "anneal_cap": 0.0, "anneal_steps": 10, "anneal_unit": unit},
        **{"vae_anneal_cap": 1.0, "vae_anneal_steps": 100},
    )
    steps = range(9) if unit == "batch" else [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [lamda for lamda, _ in seen] == pytest.approx([1 - step / 10 for step in steps])
    assert [anneal for _, anneal in seen] == pytest.approx([step / 100 for step in range(9)])
    last = checkpoint.load(result["checkpoint"].replace(".best.", ".last."))["state_dict"]
    assert (int(last["batches"]), int(last["epochs"])) == (9, 3)


# -------------------------------------------------------------------------------------- both walks


DEPTHS = [[16], [12, 9], [8, 9, 10, 12]]
WALKS = {
    "published": {"noise_schedule": "linear-var", "steps": 7, "noise_scale": 0.5},
    "cosine": {"noise_schedule": "cosine", "steps": 6, "beta_fixed": False},
    "one level": {"steps": 1, "noise_schedule": "linear-var"},
    "no noise": {"steps": 2, "noise_scale": 0},
    "corrupted": {"noise_schedule": "cosine", "steps": 6, "sampling_steps": 4},
    "fewer steps": {"noise_schedule": "cosine", "steps": 9, "walk_steps": 4},
    "linear": {"mlp_act_func": "none", "steps": 4, "noise_schedule": "binomial"},
}


@pytest.mark.parametrize("clusters", [None, CLUSTERS], ids=["C1", "C3"])
@pytest.mark.parametrize("dims", DEPTHS, ids=str)
@pytest.mark.parametrize(
    "name, walk", [("LTDiffRec", "published"), *(("LDiffRec", walk) for walk in WALKS)]
)
def test_the_walk_without_the_latents_is_the_plain_walk(
    built, users, monkeypatch, name, walk, dims, clusters
):
    settings = {"in_dims": [6, 10], "dims_dnn": dims} | WALKS[walk]
    model = grown(built(name, clusters, **settings)).eval()
    assert model.walks_without_items
    noise = torch.randn(29, 6)
    monkeypatch.setattr(torch, "randn", lambda *shape, **_: noise.reshape(shape))
    monkeypatch.setattr(torch, "randn_like", lambda like: noise.view_as(like))
    batch = users(*range(1, 30))
    fast = model.full_sort_predict(batch)
    model.walks_without_items = False
    plain = model.full_sort_predict(batch)
    assert plain[:, 1:].std(dim=0).max() > 1e-3, "the control: users differ"
    close(fast, plain)


@pytest.mark.parametrize(
    "settings", [{"norm": True}, {"sampling_noise": True}, {"mean_type": "eps"}], ids=str
)
def test_where_the_walk_is_not_linear_in_the_latents_it_is_plain(built, users, settings):
    model = grown(built(clusters=CLUSTERS, **NOISY | {"in_dims": [6]} | settings)).eval()
    batch = users(*range(1, 30))
    mu, _ = model.autoencoder.encode(model.bags(batch["user_id"]))
    torch.manual_seed(3)
    plain = scores_by_hand(model, model.walk_plain(mu))
    torch.manual_seed(3)
    close(model.full_sort_predict(batch)[:, 1:], plain)
    torch.manual_seed(3)
    model.walks_without_items = True  # the control: it would be wrong
    assert not torch.allclose(model.full_sort_predict(batch)[:, 1:], plain, atol=1e-3)


# --------------------------------------------------------------------------- parameters and learner


@pytest.fixture
def assembled(build_data, shop, small):
    """Gives a function from settings to a trainer of a small model on the shop's data."""

    def assemble(**settings):
        settings = small("LDiffRec", in_dims=[4], dims_dnn=[8], **settings)
        config, _, (train, _, _) = build_data(shop / "dataset", "LDiffRec", "shop", **settings)
        torch.manual_seed(0)
        model = config.model_class(config, train.dataset, item_clusters(config, train.dataset))
        return get_trainer(config)(config, model)

    return assemble


@pytest.mark.parametrize(
    "settings, rates",
    [
        ({}, (0.01, 0.01)),
        ({"lr1": 0.1}, (0.1, 0.01)),
        ({"lr2": 0.2}, (0.01, 0.2)),
        ({"lr1": 0.1, "lr2": 0.0}, (0.1, 0.0)),
        ({"lr1": 0.0, "lr2": 0.1, "learner": "adamw", "weight_decay": 0.1}, (0.0, 0.1)),
    ],
)
def test_one_optimiser_has_a_rate_for_the_auto_encoder_and_one_for_the_denoiser(
    assembled, users, settings, rates
):
    trainer = assembled(learning_rate=0.01, **settings)
    model = trainer.model.train()
    optimizers = [one for one in vars(trainer).values() if isinstance(one, torch.optim.Optimizer)]
    assert optimizers == [trainer.optimizer]
    groups = trainer.optimizer.param_groups
    assert [group["lr"] for group in groups] == list(rates)
    assert all(group["weight_decay"] == settings.get("weight_decay", 0) for group in groups)
    for group, part in zip(groups, (model.autoencoder, model.denoiser), strict=True):
        assert set(group["params"]) == set(part.parameters())
    owned = [parameter for group in groups for parameter in group["params"]]
    assert len(owned) == len(set(owned)) and set(owned) == set(model.parameters())

    before = [parameter.detach().clone() for parameter in owned]
    model.calculate_loss(users(*range(1, 30))).backward()
    trainer.optimizer.step()
    moved = [not torch.equal(p, was) for p, was in zip(owned, before)]
    first = len(groups[0]["params"])
    assert all(moved[:first]) == any(moved[:first]) == (rates[0] > 0)
    assert all(moved[first:]) == any(moved[first:]) == (rates[1] > 0)


def test_a_plateau_lowers_both_rates(run):
    plateau = {"factor": 0.5, "patience": 0, "threshold": 0.9}
    small = {"in_dims": [4], "dims_dnn": [8], "epochs": 3}
    result = run("LDiffRec", **small, lr1=0.02, lr2=0.04, lr_scheduler=plateau)
    last = checkpoint.load(result["checkpoint"].replace(".best.", ".last."))
    groups = last["optimizers"]["optimizer"]["param_groups"]
    assert [group["lr"] for group in groups] == [0.005, 0.01]


def test_only_the_ends_of_the_auto_encoder_are_as_wide_as_there_are_items(built):
    model = built(data=Rows([(1, item) for item in range(1, 501)], 2, 501), **NOISY, in_dims=[6, 9])
    wide = {
        name: [size for size in parameter.shape if size >= 500]
        for name, parameter in model.named_parameters()
        if max(parameter.shape) >= 500
    }
    assert wide == {
        "autoencoder.encoders.0.0.weight": [500],
        "autoencoder.decoders.0.0.weight": [500],
        "autoencoder.decoders.0.0.bias": [500],
    }
    autoencoder = 500 * 9 + 9 + 9 * 12 + 12 + 6 * 500 + 500
    denoiser = 10 * 10 + 10 + (6 + 10) * 7 + 7 + 7 * 5 + 5 + 5 * 6 + 6
    assert sum(p.numel() for p in model.parameters()) == autoencoder + denoiser


@pytest.mark.parametrize("name", ["LDiffRec", "LTDiffRec"])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_parameter_is_trained(built, users, name, network):
    model = built(name, CLUSTERS, **NOISY, **NETWORKS[network], vae_anneal_steps=0).train()
    model.calculate_loss(users(*range(1, 101))).backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_what_training_remembers_and_the_clusters_are_in_the_state(built, users):
    model = built(clusters=CLUSTERS, in_dims=[6]).train()
    model.calculate_loss(users(*range(1, 50)))
    state = model.state_dict()
    assert (int(state["batches"]), int(state["epochs"])) == (1, 0)
    assert state["cluster_ids"].tolist() == CLUSTERS
    assert state["timesteps.seen"].sum() == 49
    assert not [name for name in state if name.startswith(("diffusion", "histories", "place"))]


# -------------------------------------------------------------------------------- time and learning


def test_later_interactions_weigh_more_in_the_encoder_and_in_the_likelihood(built, drawn):
    pairs = [(1, 4), (2, 1), (1, 2), (1, 3), (2, 5), (1, 6), (3, 2)]
    user, dense = torch.tensor([1, 2, 3]), torch.zeros(3, 6)
    for item, weight in zip((4, 2, 3, 6), (0.2, 0.4, 0.6, 0.8)):
        dense[0, item - 1] = weight
    dense[1, 0], dense[1, 4], dense[2, 1] = 0.2, 0.8, 0.8  # the last one is an only one
    settings = {**NOISY, "in_dims": [4], "vae_anneal_cap": 0, "lamda": 0, "anneal_cap": 0}
    for name, expected in (("LTDiffRec", dense), ("LDiffRec", (dense > 0).float())):
        data = Rows(pairs, 5, 7)
        times = {"w_min": 0.2, "w_max": 0.8} if name == "LTDiffRec" else {}
        model = grown(built(name, data=data, **settings | times)).eval()
        (encoder,), (decoder,) = model.autoencoder.encoders, model.autoencoder.decoders
        mu, log_variance = encoder(expected).chunk(2, dim=1)
        ours = model.autoencoder.encode(model.bags(user))
        close(ours[0], mu)
        close(ours[1], log_variance)
        t, eps = torch.tensor([1, 2, 3]), torch.randn(3, 4)
        drawn(model, t, 1.0, eps)
        loss = model.calculate_loss({"user_id": user})
        logits = decoder(model.denoiser(model.diffusion.q_sample(mu, t, eps), t))
        close(loss, -(F.log_softmax(logits, dim=1) * expected).sum(1).mean())


@pytest.mark.parametrize("out_dims", [[], [24]], ids=["one map", "decoders"])
def test_the_checkerboard_is_learnt_across_clusters(built, checkerboard, out_dims):
    data, missing = checkerboard
    settings = {"noise_schedule": "linear-var", "noise_scale": 1, "noise_min": 0.01}
    settings |= {"noise_max": 0.1, "beta_fixed": False, "vae_anneal_cap": 0.01, "dims_dnn": [32]}
    model = built(
        clusters=CLUSTERS, in_dims=[32], out_dims=out_dims, **settings, lr1=0.01, lr2=0.01
    )
    user = torch.arange(1, 101)

    def hit():
        scores = model.eval().full_sort_predict({"user_id": user})
        scores[:, 0] = -torch.inf
        scores[:, 1:][model.histories.dense(user) > 0] = -torch.inf
        return (scores.argmax(dim=1) == missing[user]).float().mean().item()

    assert hit() < 0.35  # one of eleven items is right
    optimizer = torch.optim.AdamW(model.parameter_groups())
    for _ in range(40):
        model.train()
        for part in user[torch.randperm(100)].split(25):
            optimizer.zero_grad()
            model.calculate_loss({"user_id": part}).backward()
            optimizer.step()
    assert hit() == 1.0


# ----------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"anneal_unit": "step"}, "anneal_unit is 'step', it must be one of batch, epoch"),
        ({"n_cate": 0}, "n_cate is 0, it must be a whole number above 0"),
        ({"n_cate": 21}, r"n_cate is 21; .* 1..20"),
        ({"n_cate": 1.5}, "n_cate is 1.5, it must be a whole number"),
        ({"n_cate": True}, "n_cate is True, it must be a whole number"),
        ({"in_dims": 300}, "in_dims is 300, it must be a list of whole numbers"),
        ({"out_dims": [1.5]}, r"out_dims is \[1.5\], it must be a list"),
        ({"lamda": -0.1}, "lamda is -0.1, it must be a number of at least 0"),
        ({"vae_anneal_steps": "many"}, "vae_anneal_steps is 'many', it must be a number"),
        ({"in_dims": []}, "in_dims is .* at least one"),
        ({"ae_act_func": "tanhh"}, "ae_act_func is 'tanhh', it must be one of tanh"),
        ({"time-aware": True}, "--model=LTDiffRec"),
        ({"dims_dnn": []}, "dims_dnn is .* at least one"),
        ({"mean_type": "v"}, "mean_type is 'v', it must be one of x0, eps"),
    ],
)
@pytest.mark.parametrize("name", ["LDiffRec", "LTDiffRec"])
def test_what_no_model_can_be_built_with_is_refused(built, name, settings, message):
    with pytest.raises(ValueError, match=message):
        built(name, **settings)


def test_weights_of_time_that_do_not_grow_are_refused(built):
    with pytest.raises(ValueError, match="is above w_max"):
        built("LTDiffRec", w_min=0.6, w_max=0.5)
