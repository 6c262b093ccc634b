"""Odd values for any key: a setting is taken, or refused in a line that names it."""

import random

import pytest

from recbole_diffusion.config.config import Config
from recbole_diffusion.config.keys import of_kind
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.quick_start.quick_start import run_recbole_diffusion

ODD = [
    -1, 0, 1, 0.5, -0.5, 1e30, float("nan"), float("inf"), "", "abc", True, False, None, [], {},
    [1], [[1]], ["a"], {"a": 1}, "1:30", "2017-11-25", "👍", 10**400, "'5'", "1_000", "None",
    "a" * 10_000, "a\0b", "../a", "[5,inf)", 2**40, "{a:1}", "[", "!!int x", "*a",
]  # fmt: skip
MODELS = ["SASRec", "LightGCN", "ICDDT", "LDiffRec", "DreamRec", "MultiVAE", "ItemKNN"]
LONG = {"epochs", "model", "dataset", "checkpoint_dir", "data_path", "result_file", "resume"}


def drawn(count, seed, models=MODELS):
    """Models with a key that they read and an odd value, at random."""
    draw = random.Random(seed)
    keys = {}
    for _ in range(count):
        model = draw.choice(models)
        if model not in keys:
            known = Config(model, "tiny").declared.kinds.keys() & Config(model, "tiny").known
            keys[model] = sorted(known - LONG - set(of_kind("which_run")))
        yield model, draw.choice(keys[model]), draw.choice(ODD)


def test_a_configuration_takes_an_odd_value_or_names_its_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused = 0
    for model, key, value in drawn(60, seed=1):
        try:
            Config(model, "tiny", config_dict={"use_gpu": False} | {key: value})
        except ConfigError as error:
            refused += 1
            assert key in str(error) and "\n" not in str(error) and len(str(error)) < 500
    assert 35 < refused < 60  # most are odd, and some are legal


@pytest.mark.slow
def test_a_run_with_an_odd_value_ends_or_names_its_key(shop, small):
    ended = 0
    for model, key, value in drawn(220, seed=2):
        settings = small(model, epochs=1, topk=[5], valid_metric="NDCG@5") | {key: value}
        try:
            run_recbole_diffusion(model, "shop", config_dict=settings, saved=False)
            ended += 1
        except ValueError as error:
            assert key in str(error), f"{model} with {key} = {value!r}: {error}"
    assert ended > 10  # the control: legal values were among them
