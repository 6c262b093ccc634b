"""Which values of which settings may a search try?"""

import math
from pathlib import Path

import numpy as np
import pytest

from recbole_diffusion.config.config import Config
from recbole_diffusion.config.names import MODELS, resolve
from recbole_diffusion.config.paths import properties_dir
from recbole_diffusion.config.space import Domain, grid, read_space, sample, to_ray
from recbole_diffusion.config.values import ConfigError

SHIPPED = sorted((properties_dir() / "tune").glob("*.yaml"))
ALL_KINDS = """\
# a comment
learning_rate: {loguniform: [1.0e-4, 1e-2]}  # another
dropout_prob: {uniform: [0.1, 0.5]}
n_layers: {randint: [1, 3]}
hidden_size: {quniform: [32, 96, 32]}
dims_dnn: {choice: [[300], [600, 200, 600]]}
"""


def written(folder, text):
    path = Path(folder, "space.yaml")
    path.write_text(text)
    return path


def test_every_kind_is_read_and_draws_stay_inside(tmp_path):
    space = read_space(written(tmp_path, ALL_KINDS))
    assert list(space) == [
        "learning_rate",
        "dropout_prob",
        "n_layers",
        "hidden_size",
        "dims_dnn",
    ]
    generator = np.random.default_rng(1)
    draws = [sample(space, generator) for _ in range(300)]
    for key, domain in space.items():
        assert all(draw[key] in domain for draw in draws)
    assert {draw["n_layers"] for draw in draws} == {1, 2, 3}  # both ends are in
    assert {draw["hidden_size"] for draw in draws} == {32, 64, 96}
    assert {str(draw["dims_dnn"]) for draw in draws} == {"[300]", "[600, 200, 600]"}
    assert {type(value) for draw in draws for value in draw.values()} == {int, float, list}


def test_loguniform_is_even_in_the_logarithm_and_uniform_is_not():
    generator = np.random.default_rng(2)
    shares = {}
    for kind in ("loguniform", "uniform"):
        domain = Domain(kind, (1e-4, 1e-2))
        shares[kind] = np.mean([domain.sample(generator) < 1e-3 for _ in range(2000)])
    assert abs(shares["loguniform"] - 0.5) < 0.05 and abs(shares["uniform"] - 0.09) < 0.05


def test_a_drawn_float_is_short_to_type_and_never_leaves_its_range():
    generator = np.random.default_rng(3)
    for low, high in ((1e-4, 1e-2), (0.123456, 0.123459), (1234.56, 1234.59)):
        for kind in ("uniform", "loguniform"):
            domain = Domain(kind, (low, high))
            draws = [domain.sample(generator) for _ in range(50)]
            assert all(value in domain for value in draws)
            short = [value for value in draws if value not in (low, high)]
            assert all(value == float(f"{value:.3g}") for value in short)


def test_a_seed_gives_the_same_draws_and_another_does_not(tmp_path):
    space = read_space(written(tmp_path, ALL_KINDS))

    def draws(seed):
        generator = np.random.default_rng(seed)
        return [sample(space, generator) for _ in range(5)]

    assert draws(1) == draws(1) != draws(2)


def test_a_grid_is_all_combinations(tmp_path):
    text = "a: {choice: [x, [1]]}\nb: {randint: [0, 1]}\nc: {quniform: [0.1, 0.3, 0.1]}\n"
    combinations = grid(read_space(written(tmp_path, text)))
    assert len(combinations) == len({str(c) for c in combinations}) == 12
    assert {"a": [1], "b": 1, "c": 0.3} in combinations  # not 0.30000000000000004
    assert grid({}) == [{}]


@pytest.mark.parametrize("kind", ["uniform", "loguniform"])
def test_a_grid_of_a_continuous_range_is_refused_by_name(kind):
    with pytest.raises(ConfigError, match=f"lr is {kind}"):
        grid({"lr": Domain(kind, (0.1, 0.2))})


def test_files_of_recbole_are_read_with_exponents_and_plain_values(tmp_path):
    text = (
        "learning_rate loguniform -8,0\n\nembedding_size choice [64, 96 , 128]\n"
        "mlp choice ['[64,64]','[128]']\nwidths choice [(8, 4), (16,)]\n"
        "dropout uniform 0.1, 0.5\nk quniform 50,200,50\n"
    )
    space = read_space(written(tmp_path, text))
    assert space["learning_rate"].kind == "loguniform"
    assert space["learning_rate"].values == pytest.approx((math.exp(-8), 1.0))
    assert space["embedding_size"].values == (64, 96, 128)
    assert space["mlp"].values == ("[64,64]", "[128]")
    assert space["widths"].values == ([8, 4], [16])
    assert space["dropout"].values == (0.1, 0.5)
    assert space["k"].members == [50, 100, 150, 200]


def test_nothing_in_a_file_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    attack = "__import__('os').mkdir('owned')"
    for text in (f"a choice [{attack}]\n", f"a uniform {attack},1\n"):
        with pytest.raises(ConfigError, match="a: "):
            read_space(written(tmp_path, text))
    read_space(written(tmp_path, f'a: {{choice: ["{attack}"]}}\n'))
    assert not Path("owned").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr: {normal: [0, 1]}", "lr: 'normal' is none of"),
        ("lr normal 0,1", "lr: 'normal' is none of"),
        ("lr: {uniform: [0.2, 0.1]}", "lr: .*low 0.2 and high 0.1"),
        ("lr: {uniform: [0.1, 0.1]}", "lr: .*low must be below"),
        ("lr: {loguniform: [0, 1]}", "lr: .*above 0"),
        ("lr: {choice: []}", "lr: choice has nothing"),
        ("lr: {uniform: [0.1]}", "lr: uniform takes"),
        ("lr: {uniform: [0.1, .nan]}", "lr: uniform takes"),
        ("lr: {uniform: [a, b]}", "lr: uniform takes"),
        ("lr: {randint: [0.5, 2]}", "lr: randint takes the whole numbers"),
        ("lr: {quniform: [1, 2, 0]}", "lr: .*q 0"),
        ("lr: {quniform: [1, 10, 4]}", "lr: .*no multiples of 4"),
        ("lr: {choice: [1]}\nlr: {choice: [2]}", "lr is there twice"),
        ("lr choice [1]\nlr choice [2]", "lr is there twice"),
        ("lr: [1, 2]", "lr is .*not one"),
        ("lr: {choice: [1], uniform: [0, 1]}", "lr is .*not one"),
        ("lr: {choice: 1}", "lr: choice has 1"),
        ("lr choice 64", "lr: 64 is not a list"),
        ("lr choice", "no `setting kind values` line"),
        ("a: [", "not valid YAML"),
    ],
)
def test_what_has_no_meaning_is_refused_with_file_and_key(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words) as refusal:
        read_space(written(tmp_path, text))
    assert "space.yaml" in str(refusal.value)


def test_an_empty_file_has_nothing_to_search_and_a_missing_one_is_refused(tmp_path):
    assert read_space(written(tmp_path, "# nothing\n")) == {}
    with pytest.raises(ConfigError, match="nowhere"):
        read_space(tmp_path / "nowhere")


def test_ray_draws_the_same_values(tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed")
    space = read_space(written(tmp_path, ALL_KINDS))
    for key, domain in to_ray(space).items():
        draws = [domain.sample() for _ in range(60)]
        assert all(draw in space[key] for draw in draws)
        if space[key].members is not None:
            assert all(member in draws for member in space[key].members)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_space_is_the_models_own_and_holds_its_defaults(path):
    space = read_space(path)
    first = {key: domain.values[0] for key, domain in space.items()}
    name = resolve(path.stem)[0]
    assert name == path.stem
    assert Config(name, "any", None, first)  # strict keys
    defaults = Config(name, "any")
    for key, domain in space.items():
        default = defaults[key]
        if default is None and key in ("lr1", "lr2"):
            default = defaults["learning_rate"]
        assert default in domain, (key, default)


def test_every_model_of_ours_has_a_space_and_no_key_of_another_model(caplog):
    names = {path.stem for path in SHIPPED}
    assert set(MODELS) <= names
    for path in SHIPPED:
        first = {key: domain.values[0] for key, domain in read_space(path).items()}
        Config(path.stem, "any", None, first)
    assert "does not read it" not in caplog.text
    Config("Pop", "any", None, {"lr1": 1})  # the control
    assert "does not read it" in caplog.text


def test_a_value_off_the_range_or_between_its_steps_is_not_in_a_domain():
    assert 0.5 not in Domain("loguniform", (1e-4, 1e-2))
    assert 2.5 not in Domain("randint", (1, 3)) and "2" not in Domain("randint", (1, 3))
    assert 40 not in Domain("quniform", (32, 96, 32))
