"""How much energy does a training take?"""

import pytest
import torch

from recbole_diffusion.config import contradictions
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.trainer import checkpoint


@pytest.mark.slow
def test_energy_is_measured_where_it_is_asked_for_and_changes_nothing_else(run):
    pytest.importorskip("codecarbon")
    plain = run("SASRec", checkpoint_dir="plain")
    asked = run("SASRec", checkpoint_dir="asked", measure_energy=True, epochs=2)
    assert plain["energy_wh"] is None
    longer = run("SASRec", measure_energy=True, epochs=30, stopping_step=100)
    assert longer["epochs"] == 30
    assert 0 < 2 * asked["energy_wh"] < longer["energy_wh"]
    first, second = (checkpoint.load(result["checkpoint"]) for result in (plain, asked))
    for name, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][name]), name
    resumed = run("SASRec", checkpoint_dir="asked", measure_energy=True, epochs=3, resume=True)
    assert resumed["epochs"] == 3 and resumed["energy_wh"] is None  # it would be of one epoch


def test_without_codecarbon_the_extra_is_named_before_data_are_read(run, monkeypatch):
    monkeypatch.setattr(contradictions, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"measure_energy needs codecarbon.*\[energy\]"):
        run("SASRec", measure_energy=True, data_path="nowhere")
    with pytest.raises(ValueError, match="nowhere"):  # the control
        run("SASRec", data_path="nowhere")
