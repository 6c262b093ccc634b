"""What RecBole needs on these libraries: values that are right, and wrong without each repair."""

import importlib.util
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.data.dataset import (
    Dataset,
    SequentialDataset,
    dataset,
    kg_dataset,
    sequential_dataset,
)
from recbole.data.interaction import Interaction
from scipy.sparse import dok_matrix
from warm import Call

from recbole_diffusion import compat
from recbole_diffusion.config.config import Config
from recbole_diffusion.config.names import get_model, resolve
from recbole_diffusion.config.values import ConfigError

OLD = "1.2.0"
FILES = {
    "inter": ["user_id:token\titem_id:token\ttimestamp:float"]
    + [f"u{user}\ti{(user + time) % 5}\t{time}" for user in range(6) for time in range(4)],
    "user": ["user_id:token\tage:float\tjob:token\ttags:token_seq\tvector:float_seq"]
    + ["u0\t20\tcook\ta b c\t1 2", "u1\t\tnurse\t\t", "u2\t40\t\tb\t3", "u3\t60\tcook\ta c\t"],
}


@pytest.fixture
def host_data(tmp_path, monkeypatch):
    """A data set of RecBole's own class, read by RecBole's own Config, with gaps in its columns."""
    folder = tmp_path / "data" / "gaps"
    folder.mkdir(parents=True)
    for part, lines in FILES.items():
        (folder / f"gaps.{part}").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    config = Config(
        "BPR",
        "gaps",
        config_dict={
            "data_path": str(tmp_path / "data"),
            "load_col": {
                "inter": ["user_id", "item_id", "timestamp"],
                "user": ["user_id", "age", "job", "tags", "vector"],
            },
            "normalize_all": False,
            "use_gpu": False,
        },
    )
    data = Dataset(config)
    data.build()  # tables become tensors
    return data


def of_users(data, field):
    """Values of a column by user, RecBole's padding left out."""
    values = data.get_user_feature()[field]
    ids = data.token2id("user_id", [f"u{user}" for user in range(4)])
    return [values[i] for i in ids]


def test_missing_numbers_become_the_mean_and_missing_words_the_padding(host_data):
    ages = [float(age) for age in of_users(host_data, "age")]
    assert ages == [20, 40, 40, 60]  # RecBole's rule; the mean of 20, 40 and 60
    jobs = host_data.id2token("job", [int(job) for job in of_users(host_data, "job")])
    assert jobs.tolist() == ["cook", "nurse", "[PAD]", "cook"]
    for field in ("age", "job"):  # users without a line of their own are filled too
        assert torch.isfinite(host_data.get_user_feature()[field].double()).all()


def test_sequences_keep_their_own_lengths_and_an_empty_one_is_empty(host_data):
    tags = [host_data.id2token("tags", row.numpy()).tolist() for row in of_users(host_data, "tags")]
    pad = "[PAD]"
    assert tags == [["a", "b", "c"], [pad] * 3, ["b", pad, pad], ["a", "c", pad]]
    vectors = [row.tolist() for row in of_users(host_data, "vector")]
    assert vectors == [[1, 2], [0, 0], [3, 0], [0, 0]]


def test_a_ready_made_split_with_histories_has_the_length_of_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "made"
    folder.mkdir(parents=True)
    head = "user_id:token\titem_id_list:token_seq\titem_id:token\n"
    for part in ("train", "valid", "test"):
        (folder / f"made.{part}.inter").write_text(head + "u1\ta b c\td\nu2\ta\tb\nu3\tc d\ta\n")
    settings = {
        "data_path": str(tmp_path / "data"),
        "alias_of_item_id": ["item_id_list"],
        "load_col": {"inter": ["user_id", "item_id_list", "item_id"]},
    }
    # The name of the files makes our data set refuse other columns, so that it is set after.
    config = Config("FEARec", "made", config_dict=settings | {"use_gpu": False})
    config["benchmark_filename"] = ["train", "valid", "test"]
    data = SequentialDataset(config)
    train, *_ = data.build()
    assert train.inter_feat["item_length"].tolist() == [3, 1, 2]
    assert train.inter_feat["item_id_list"].count_nonzero(dim=1).tolist() == [3, 1, 2]


def test_a_matrix_of_keys_takes_values_by_row_and_column():
    compat.apply()
    matrix = dok_matrix((3, 4), dtype=np.float32)
    matrix._update({(0, 1): 1.0, (2, 3): 2.0})
    expected = np.zeros((3, 4))
    expected[0, 1], expected[2, 3] = 1, 2
    assert np.array_equal(matrix.toarray(), expected)


def test_recboles_names_of_types_are_there():
    compat.apply()
    for name in ("bool", "int", "float", "complex", "object", "str", "long", "unicode"):
        assert np.zeros(1, dtype=vars(np)[name]).dtype is not None
    assert np.zeros(2, dtype=vars(np)["float"]).dtype == np.float64


def test_scores_of_ngcf_are_the_same_twice_and_training_drops_out(build_data, shop, small):
    config, _, (train, *_) = build_data(
        shop / "dataset", "NGCF", "shop", **small("NGCF", embedding_size=8, hidden_size_list=[8])
    )
    model = get_model("NGCF")(config, train._dataset)
    assert model.message_dropout > 0
    model.eval()
    first, second = model.forward(), model.forward()
    assert torch.equal(first[0], second[0])
    model.train()
    assert not torch.equal(model.forward()[0], model.forward()[0])
    assert model.message_dropout > 0


@pytest.mark.parametrize("name", ["DiffRec", "LDiffRec"])
def test_recboles_diffrec_scores_a_user_and_an_item_as_its_full_ranking_does(
    name, build_data, shop, small
):
    small_net = small(name) | {"n_cate": 1, "sampling_steps": 0}
    config, _, (train, *_) = build_data(shop / "dataset", f"recbole:{name}", "shop", **small_net)
    model = config.model_class(config, train._dataset).eval()
    pairs = Interaction({"user_id": torch.tensor([1, 2, 3]), "item_id": torch.tensor([4, 5, 6])})
    full = model.full_sort_predict(pairs).reshape(3, -1)
    scores = model.predict(pairs)
    assert scores.shape == (3,)
    torch.testing.assert_close(scores, full[[0, 1, 2], [4, 5, 6]])


def test_recboles_diffrec_trains_without_noise(build_data, shop, small):
    settings = small("DiffRec") | {"noise_scale": 0.0, "reweight": True}
    config, _, (train, *_) = build_data(shop / "dataset", "recbole:DiffRec", "shop", **settings)
    model = config.model_class(config, train._dataset)
    loss = model.calculate_loss(Interaction({"user_id": torch.tensor([1, 2, 3])}))
    assert torch.isfinite(loss) and not model.reweight


@pytest.mark.slow
def test_training_looks_for_no_anomalies(tmp_path, monkeypatch):
    left_out = "import leave_out; " if "leave_out" in sys.modules else ""
    code = f"{left_out}import torch; from recbole_diffusion.config import Config; "
    code += "Config('SASRec', 'ml-100k'); print(torch.is_anomaly_enabled())"
    path = os.pathsep.join([str(Path(compat.__file__).parents[1]), os.getcwd()])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert done.stdout.strip() == "False", done.stderr


# ---------------------------------------------------------------- each repair
# A run of RecBole's that fails, or a test of this file that does, without the repair.
WITHOUT = {
    "numpy's old type names": "test_recboles_names_of_types_are_there",
    "dok_matrix._update": "test_a_matrix_of_keys_takes_values_by_row_and_column",
    "gaps are filled": "test_missing_numbers_become_the_mean_and_missing_words_the_padding",
    "empty sequences are read": "test_sequences_keep_their_own_lengths_and_an_empty_one_is_empty",
    "lengths of rows": "test_a_ready_made_split_with_histories_has_the_length_of_each",
    "no dropout at evaluation": "test_scores_of_ngcf_are_the_same_twice_and_training_drops_out",
    "DiffRec without noise": "test_recboles_diffrec_trains_without_noise",
    "DiffRec and LDiffRec score pairs": (
        "test_recboles_diffrec_scores_a_user_and_an_item_as_its_full_ranking_does"
    ),
    "training without anomaly detection": "test_training_looks_for_no_anomalies",
}


def test_every_repair_has_a_test_that_fails_without_it():
    assert set(WITHOUT) == {repair.name for repair in compat.REPAIRS}


@pytest.mark.slow
@pytest.mark.parametrize("repair", compat.needed(), ids=lambda repair: repair.name)
def test_without_the_repair_these_libraries_fail(repair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "leave_out.py").write_text(
        "from recbole_diffusion import compat\n"
        f"compat.REPAIRS = tuple(r for r in compat.REPAIRS if r.name != {repair.name!r})\n"
    )
    command = ["-q", "-p", "no:cacheprovider", f"{__file__}::{WITHOUT[repair.name]}"]
    call = Call(pytest.main, [*command, "-p", "leave_out"], said=tmp_path / "said")
    assert call.wait() == 1, call.said()


@pytest.mark.slow
def test_with_the_repairs_the_same_tests_pass(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [f"{__file__}::{WITHOUT[repair.name]}" for repair in compat.needed()]
    call = Call(pytest.main, ["-q", "-p", "no:cacheprovider", *names], said=tmp_path / "said")
    assert call.wait() == 0, call.said()


def test_libraries_without_a_symptom_are_left_alone(monkeypatch):
    known = {"numpy": "1.26.4", "scipy": "1.12.0", "pandas": "2.2.0", "recbole": "1.2.1"}
    monkeypatch.setattr(compat, "version", known.__getitem__)
    assert [repair.name for repair in compat.needed()] == [
        "training without anomaly detection"
    ]  # on any
    known.update(numpy="2.0.0", pandas="3.0.0")
    assert len(compat.needed()) == 5


def test_repairs_are_made_once_by_every_config(monkeypatch, shop):
    compat.apply()  # what a Config needs
    made = []
    repair = compat.Repair(f"a test in {shop}", "", "", lambda: True, lambda: made.append(1))
    monkeypatch.setattr(compat, "REPAIRS", (repair,))
    for _ in range(2):
        Config("Pop", "shop")
    assert made == [1]


def test_a_column_keeps_its_length_where_it_is_no_column_of_sequences(monkeypatch):
    modules = [dataset, kg_dataset, sequential_dataset]
    for module in modules:
        monkeypatch.setattr(module, "len", len, raising=False)
    (repair,) = (repair for repair in compat.REPAIRS if repair.name == "lengths of rows")
    repair.apply()
    for module in modules:
        assert module.len(pd.Series([[1], [1, 2]], dtype=object)).tolist() == [1, 2]
        assert module.len(pd.Series([1.0, 2.0])) == 2 and module.len([1, 2, 3]) == 3


# ---------------------------------------------------------------- the two RecBoles
def test_what_only_recbole_1_2_1_has_is_said_in_a_line(monkeypatch, shop):
    monkeypatch.setattr(compat, "version", {"recbole": OLD}.get)
    assert "needs RecBole 1.2.1, this is 1.2.0" in compat.too_new("TS")
    assert compat.too_new("SASRec") is None
    folder = shop / "model" / "sequential_recommender"  # RecBole's models, as that release has them
    folder.mkdir(parents=True)
    module = "recbole.model.sequential_recommender.sasrec"
    (folder / "__init__.py").write_text(f"from {module} import SASRec\n")
    monkeypatch.setattr("recbole_diffusion.config.host_names.host_folder", lambda: shop)
    with pytest.raises(ValueError, match=r"^SASRecCPR needs RecBole 1.2.1.*recbole==1.2.1"):
        resolve("sasrec-cpr")
    monkeypatch.undo()
    if version("recbole") != OLD:
        assert compat.too_new("TS") is None and resolve("AsymKNN")
        return
    args = {"split": {"TS": [0.8, 0.1, 0.1]}, "order": "TO", "mode": "full"}
    with pytest.raises(ConfigError, match="the split TS needs RecBole 1.2.1"):
        Config("SASRec", "shop", config_dict={"eval_args": args})
    with pytest.raises(ConfigError, match="knn_method needs RecBole 1.2.1"):
        Config("ItemKNN", "shop", config_dict={"knn_method": "user"})


def test_models_that_cannot_run_are_refused_with_the_reason(monkeypatch, shop, small):
    from recbole_diffusion.quick_start.quick_start import run_recbole_diffusion

    find = importlib.util.find_spec
    without = lambda name, *rest: None if name == "faiss" else find(name, *rest)  # noqa: E731
    monkeypatch.setattr("importlib.util.find_spec", without)
    with pytest.raises(ValueError, match="NCL does not run here: needs faiss: pip install faiss"):
        run_recbole_diffusion("NCL", "shop", config_dict=small("NCL"))
    with pytest.raises(ConfigError, match="FM rates rows one by one.*mode: labeled"):
        run_recbole_diffusion("FM", "shop", config_dict=small("FM"))
