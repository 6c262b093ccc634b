"""Errors of libraries and of mathematics, said by the settings behind them."""

import pytest

from recbole_diffusion.config.config import Config
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.data.lines import DataError
from recbole_diffusion.quick_start.explain import naming_columns, naming_settings


def said(error, **settings):
    with pytest.raises(type(error) if settings.pop("as_it_is", False) else ConfigError) as found:
        with naming_settings(Config("SASRec", "tiny", config_dict=settings)):
            raise error
    return str(found.value)


def test_an_error_that_names_no_setting_gets_those_that_were_given():
    words = said(ValueError("beta is 0 at level 5"), hidden_size=8, seed=3, epochs=2)
    assert words == "beta is 0 at level 5; given were hidden_size = 8, seed = 3"  # epochs: no cause
    assert said(ValueError("beta is 0")) == "beta is 0"
    assert said(OverflowError("too large"), hidden_size=8).endswith("hidden_size = 8")


def test_an_error_that_names_its_setting_or_is_of_data_or_of_code_stays_as_it_is():
    assert said(ValueError("hidden_size is odd"), as_it_is=True, hidden_size=8) == (
        "hidden_size is odd"
    )
    assert said(DataError("line 5"), as_it_is=True, hidden_size=8) == "line 5"
    assert said(RuntimeError("a fault"), as_it_is=True, hidden_size=8) == "a fault"
    assert said(KeyError("fault"), as_it_is=True) == "'fault'"


def test_what_torch_cannot_do_is_said_by_the_key_that_asked_for_it():
    memory = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried\nstack")
    assert said(memory, hidden_size=8) == (
        "SASRec does not fit into memory (DefaultCPUAllocator: can't allocate memory: you tried); "
        "given were hidden_size = 8"
    )
    assert said(MemoryError(), inner_size=8).endswith("(MemoryError); given were inner_size = 8")
    sparse = RuntimeError("SparseAdam does not support dense gradients")
    assert said(sparse, learner="sparse_adam") == (
        "learner is sparse_adam, but SASRec has no sparse gradients"
    )
    words = said(RuntimeError("not implemented for 'BFloat16'"), enable_amp=True)
    assert words.startswith("enable_amp is True, but SASRec does not train in mixed precision on")


def test_an_assertion_is_a_question_of_settings_where_recbole_makes_it(run):
    with pytest.raises(ConfigError, match="DGCF does not take its settings: .*n_factors = 3"):
        run("DGCF", saved=False, n_factors=3)
    assert said(AssertionError("ours"), as_it_is=True, hidden_size=8) == "ours"


def test_an_error_of_reading_names_the_settings_of_columns_that_were_given(run):
    with pytest.raises(ConfigError, match=r"cannot be read: KeyError.*alias_of_item_id = \['a'\]"):
        run("BPR", saved=False, alias_of_item_id=["a"])
    with pytest.raises(ValueError, match="not found.*additional_feat_suffix"):
        run("BPR", saved=False, additional_feat_suffix="abc")
    with pytest.raises(KeyError), naming_columns(Config("BPR", "tiny")):  # the control: no setting
        raise KeyError("a fault")


@pytest.mark.parametrize(
    "model, settings, words",
    [
        ("LightGCN", {"enable_amp": True}, "enable_amp is True"),
        ("SASRec", {"learner": "sparse_adam"}, "learner is sparse_adam"),
        (
            "BERT4Rec",
            {"mask_ratio": 1e-30},
            "ended with RuntimeError.* mask_ratio = 1e-30",
        ),
        ("DiffRec", {"noise_scale": 1e30}, "given were .*noise_scale = 1e.30"),
        ("SASRec", {"initializer_range": 1e30}, "given were .*initializer_range = 1e.30"),
    ],
)
def test_a_run_that_cannot_be_ends_in_one_line(model, settings, words, run):
    with pytest.raises(ValueError, match=words):
        run(model, saved=False, epochs=1, **settings)
