"""Quality against the number of reverse steps is that of the walks that it names."""

import pytest
import torch

from recbole_diffusion.config.config import Config
from recbole_diffusion.evaluator.curves import quality_by_steps, walks
from recbole_diffusion.quick_start.quick_start import fit


@pytest.fixture
def fitted(shop, small):
    """Gives a function from a model and settings to a small trained run."""

    def fitted(model, **settings):
        return fit(Config(model, "shop", config_dict=small(model, epochs=1, **settings)))

    return fitted


@pytest.mark.parametrize(
    "model, settings, own",
    [
        ("ICDDT", {"truncation": 0.75}, 3),
        ("DimeRec", {"sampling_steps": 2}, 2),
        ("DreamRec", {"sampler": "ddim", "sampling_steps": 3}, 3),
    ],
)
def test_the_models_own_number_of_steps_is_on_the_curve_and_the_model_is_as_before(
    model, settings, own, fitted
):
    run = fitted(model, **settings)
    network = run.trainer.model
    before = {name: value.clone() for name, value in network.state_dict().items()}
    expected = run.trainer.evaluate(run.valid_data, load_best_model=False)
    curve = quality_by_steps(run)
    assert curve["x"] == sorted({1, 2, own})  # 5 is more than the 4 levels there are
    assert curve["own"] == own
    at_own = curve["values"][curve["x"].index(own)]
    assert at_own and at_own == {name: expected[name] for name in at_own}
    others = [v for x, v in zip(curve["x"], curve["values"]) if x != own]
    assert any(value != at_own for value in others)
    after = network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("model", ["ICDDT", "DimeRec", "DreamRec"])
def test_more_steps_than_levels_are_refused(model, fitted):
    with pytest.raises(ValueError, match="5 steps over 4 levels"):
        walks(fitted(model).trainer.model, [5])


def test_a_model_that_cannot_take_fewer_steps_has_no_curve(fitted):
    assert quality_by_steps(fitted("SASRec")) is None
