"""The ablations that are shipped as settings: each builds, trains, scores and does what it says."""

import pytest
import torch

from recbole_diffusion.config.config import Config
from recbole_diffusion.config.names import MODELS
from recbole_diffusion.config.paths import properties_dir
from recbole_diffusion.config.values import read_yaml
from recbole_diffusion.quick_start.quick_start import make_network, read_data
from recbole_diffusion.trainer.randomness import own_randomness

ABLATIONS = read_yaml(properties_dir() / "ablations.yaml")
ALL = [(model, name) for model, named in ABLATIONS.items() for name in named]
ROWS = ("DiffRec", "TDiffRec", "LDiffRec", "LTDiffRec")
FULL = {  # settings with which every part of the diffusion is at work
    "ICDDT": {"lambda_uncertainty": 1.0, "truncation": 1.0},
    "DiffuRec": {"lambda_uncertainty": 1.0},
    "DreamRec": {"guidance_weight": 2.0},
}


@pytest.fixture(scope="module")
def read():
    """What `read_data` gave for each model, which none of the settings here changes."""
    return {}


@pytest.fixture
def built(shop, small, read):
    """Gives a function from a model and settings to the model, a training and a test batch."""

    def build(model, **settings):
        data = {"dataset": "shop"} | small(model)
        config = Config(model, config_dict=data | FULL.get(model, {}) | settings)
        if model not in read:
            _, (train, _, test) = read_data(config)
            read[model] = train._dataset, next(iter(train)), next(iter(test))[0]
        dataset, *rows = read[model]
        torch.manual_seed(5)
        return make_network(config, dataset, None), *rows

    return build


def scores(network, rows, seed=1):
    network.eval()
    with own_randomness(seed):
        return network.full_sort_predict(rows)


def passes(network, rows):
    """How often scoring runs the network."""
    count = []
    if hasattr(network, "factors"):  # the walk without the items, of DiffRec's kind
        network.denoiser.inner.register_forward_hook(lambda *_: count.append(1))
    else:
        run = network.forward
        network.forward = lambda *args: count.append(1) or run(*args)
    scores(network, rows)
    return len(count)


def test_every_model_that_diffuses_has_its_ablations():
    assert set(ABLATIONS) == set(MODELS) - {"MarkovChain", "SASRec", "GRU4Rec"}
    known = {"one reverse step", "no noise", "no guidance", "x_t zeroed"}
    assert {name for _, name in ALL} == known


@pytest.mark.parametrize("model, name", ALL)
def test_an_ablated_model_trains_and_scores(built, model, name):
    settings = ABLATIONS[model][name]
    full = Config(model, "shop").final_config_dict
    assert set(settings) <= set(full)  # a key of another model would change nothing
    assert any(full[key] != value for key, value in settings.items())
    network, train, test = built(model, **settings)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    before = scores(network, test)
    network.train()
    network.calculate_loss(train).backward()
    optimizer.step()
    after = scores(network, test)
    assert after.view(len(test), -1)[:, 1:].isfinite().all()
    assert not torch.equal(before, after)


@pytest.mark.parametrize("model", ABLATIONS)
def test_one_reverse_step_is_one_pass_of_the_network(built, model):
    # The exact walk of DreamRec makes none at all.
    full = {"sampler": "ancestral"} if model == "DreamRec" else {}
    network, _, test = built(model, **full)
    assert passes(network, test) > 1  # the control
    network, _, test = built(model, **full | ABLATIONS[model]["one reverse step"])
    assert passes(network, test) == 1


@pytest.mark.parametrize("model", [m for m, named in ABLATIONS.items() if "x_t zeroed" in named])
def test_with_x_t_zeroed_scores_do_not_depend_on_where_the_walk_begins(built, model):
    # the exact walk of DreamRec draws its start and the noise of its steps at once
    plain = {"sampler": "ancestral", "reverse_noise": False} if model == "DreamRec" else {}

    def moved(**settings):
        network, _, test = built(model, **plain, **settings)
        before, start = scores(network, test), network.diffusion.start
        network.diffusion.start = lambda noise: start(noise + 5)
        return not torch.allclose(scores(network, test), before)

    assert moved()  # the control
    assert not moved(**ABLATIONS[model]["x_t zeroed"])


@pytest.mark.parametrize("model", ROWS)
def test_without_noise_rows_are_not_corrupted(built, model):
    def corrupted(network):
        x0, level = torch.ones(1, 3), torch.tensor([network.diffusion.steps])
        return not torch.equal(network.diffusion.q_sample(x0, level, torch.ones(1, 3)), x0)

    assert corrupted(built(model)[0])  # the control
    assert not corrupted(built(model, **ABLATIONS[model]["no noise"])[0])


@pytest.mark.parametrize("model, starts", [("DreamRec", 0), ("DimeRec", 1)])
def test_without_noise_a_walk_draws_nothing_on_its_way(built, model, starts, monkeypatch):
    draw, draws = torch.randn_like, []
    monkeypatch.setattr(torch, "randn_like", lambda x, **more: draws.append(1) or draw(x, **more))

    def drawn(**settings):
        network, _, test = built(model, **settings)
        draws.clear()
        scores(network, test)
        return len(draws)

    assert drawn(**ABLATIONS[model]["no noise"]) == starts
    assert drawn() > starts  # the control


def test_without_guidance_the_unconditional_prediction_counts_for_nothing(built):
    def moved(**settings):
        network, train, test = built("DreamRec", **settings)
        network.train()
        network.calculate_loss(train).backward()
        gradient = network.no_guidance.grad.abs().sum()
        before = scores(network, test)
        with torch.no_grad():
            network.no_guidance += 1
        return gradient > 0, not torch.allclose(before, scores(network, test))

    assert moved(guidance_dropout=0.5) == (True, True)  # the control
    assert moved(**ABLATIONS["DreamRec"]["no guidance"]) == (False, False)
