"""The loss that torch.compile makes is that of the model."""

import pytest
import torch

from recbole_diffusion.config.config import Config
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.quick_start.explain import naming_settings

# Compiled code draws other random numbers.
WITHOUT_CHANCE = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "epochs": 1}


@pytest.fixture
def compiled(monkeypatch):
    """Puts a count in the place of torch's compiler; a list with an entry a call of the loss."""
    calls = []

    def count(function, dynamic):
        def counted(interaction):
            calls.append(dynamic)
            return function(interaction)

        return counted

    monkeypatch.setattr(torch, "compile", count)
    return calls


def test_every_step_trains_on_the_compiled_loss_if_asked_for(compiled, run):
    plain = run("DreamRec", epochs=2, BEHAVIOR_FIELD=None, target_behavior=None)
    assert compiled == []
    same = run("DreamRec", epochs=2, BEHAVIOR_FIELD=None, target_behavior=None, compile=True)
    assert len(compiled) >= 2 and all(compiled)
    assert same["test_result"] == plain["test_result"]


def test_the_model_has_its_own_loss_again_after_training(compiled, assemble):
    trainer, (train, valid, _) = assemble("ICDDT", compile=True, epochs=1)
    trainer.fit(train, valid)
    assert compiled and "calculate_loss" not in vars(trainer.model)


@pytest.mark.slow
def test_compiled_steps_give_the_weights_of_plain_ones(assemble):
    weights = []
    for settings in ({}, {"compile": True}, {"learning_rate": 0.002}):
        trainer, (train, valid, _) = assemble("SASRec", **WITHOUT_CHANCE, **settings)
        trainer.fit(train, valid)
        weights.append(trainer.model.item_embedding.weight.detach().clone())
    torch.testing.assert_close(weights[1], weights[0], rtol=0, atol=1e-4)
    assert (weights[2] - weights[0]).abs().max() > 1e-3, "the control"


def test_a_machine_without_a_compiler_is_told_which_setting_asks_for_it(shop, small):
    Failure = type("InductorError", (RuntimeError,), {"__module__": "torch._inductor.exc"})
    config = Config("SASRec", "shop", config_dict=small("SASRec", compile=True))
    words = "compile is True, but the loss of SASRec cannot be compiled here: no C"
    with pytest.raises(ConfigError, match=words), naming_settings(config):
        raise Failure("no C++ compiler")
    with pytest.raises(RuntimeError, match="another"), naming_settings(config):
        raise RuntimeError("another")
