"""What tests share."""

import os
import random
import sys
from pathlib import Path

import pytest
import recbole.model.sequential_recommender  # noqa: F401
import torch

from recbole_diffusion import compat
from recbole_diffusion.config import names
from recbole_diffusion.config.config import Config
from recbole_diffusion.data.choose import get_dataset
from recbole_diffusion.data.dataloader import prepare_data
from recbole_diffusion.quick_start.quick_start import run_recbole_diffusion
from recbole_diffusion.testing.made_up import write

torch.set_num_threads(1)  # small tensors; two threads only wait for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the same for processes that tests start
# RecBole's SINE turns it on for the whole process when it is imported, as it is with any sequential
# model of RecBole: backward passes take several times as long.
torch.autograd.set_detect_anomaly(False)

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_modifyitems(items):
    """Skips what is split by TS where RecBole has no such split."""
    reason = compat.too_new("TS")
    for item in items:
        if reason and "'TS'" in repr(vars(item).get("callspec")):
            item.add_marker(pytest.mark.skip(reason=f"the split TS {reason}"))


@pytest.fixture(scope="session")
def shared_path():
    """Gives the path of a file of the reference material, or skips the test without it."""

    def path_of(name):
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"{name}: the reference material is not part of the repository")
        return path

    return path_of


@pytest.fixture(scope="session")
def write_inter():
    """Gives a function that writes rows as an atomic file ``folder/name/name[.part].inter``."""
    return write


@pytest.fixture(scope="session")
def build_data():
    """Gives a function from settings to a configuration, its data set and the three loaders."""

    def build(folder, model, dataset="tiny", **settings):
        quiet = {"data_path": str(folder), "use_gpu": False, "show_progress": False}
        config = Config(model, dataset, config_dict=quiet | settings)
        data = get_dataset(config)(config)
        return config, data, prepare_data(config, data)

    return build


# Settings with which a model trains in a fraction of a second.
SMALL = {
    "ICDDT": {"hidden_size": 8, "n_layers": 1, "diffusion_steps": 4, "truncation": 1.0},
    "DreamRec": {"hidden_size": 8, "diffusion_steps": 4},
    "DimeRec": {"hidden_size": 8, "diffusion_steps": 4, "sampling_steps": 2, "n_negatives": 5},
    "DiffuRec": {"hidden_size": 8, "n_layers": 1, "n_heads": 1, "diffusion_steps": 4},
    "SASRec": {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1},
    "GRU4Rec": {"embedding_size": 8, "hidden_size": 8},
    "MultiVAE": {"latent_dimension": 4, "mlp_hidden_size": [8]},
    "RecVAE": {"latent_dimension": 4, "hidden_dimension": 8, "n_enc_epochs": 1},
    "LightGCN": {"embedding_size": 8, "n_layers": 1},
    "DiffRec": {"dims_dnn": [8]},
    "TDiffRec": {"dims_dnn": [8]},
    "LDiffRec": {"dims_dnn": [8], "in_dims": [4], "n_cate": 2, "cluster_epochs": 1},
    "LTDiffRec": {"dims_dnn": [8], "in_dims": [4], "n_cate": 2, "cluster_epochs": 1},
}


@pytest.fixture
def shop(tmp_path, monkeypatch, write_inter):
    """Writes behaviour data of 40 users and 20 items that mostly walk in a circle, and goes there.

    Returns:
        pathlib.Path: the working directory; the data are in ``dataset/shop``.
    """
    draw = random.Random(7)
    rows = []
    for user in range(40):
        item = draw.randrange(20)
        for time in range(10):
            rows.append((f"u{user}", f"i{item}", draw.choice(["view", "buy"]), time))
            item = (item + 1) % 20 if draw.random() < 0.8 else draw.randrange(20)
    write_inter(tmp_path / "dataset", "shop", rows)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def small():
    """Gives a function from a model and settings to those of a small run on the shop's data."""

    def settings_of(model, **settings):
        name = model if isinstance(model, str) else model.__name__
        quiet = {"show_progress": False, "use_gpu": False, "epochs": 2, "train_batch_size": 64}
        data = {
            "BEHAVIOR_FIELD": "behavior",
            "target_behavior": "buy",
            "MAX_ITEM_LIST_LENGTH": 6,
            "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
        }
        return quiet | data | SMALL.get(name, {}) | settings

    return settings_of


@pytest.fixture
def run(shop, small):
    """Gives a function from a model and settings to what a small run on the shop's data gives."""

    def run(model, saved=True, **settings):
        return run_recbole_diffusion(
            model, "shop", config_dict=small(model, **settings), saved=saved
        )

    return run


STRANGER = '''
from recbole.model.sequential_recommender import GRU4Rec


class Stranger(GRU4Rec):
    """GRU4Rec with a factor on its scores."""

    croppable = True

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.factor = config["score_factor"]

    def full_sort_predict(self, interaction):
        return self.factor * super().full_sort_predict(interaction)
'''


@pytest.fixture
def stranger(shop, monkeypatch):
    """Writes a model with its own properties/ into the working directory; gives its name."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(names, "newcomers", [])
    monkeypatch.delitem(sys.modules, "strange_module", raising=False)
    (shop / "strange_module.py").write_text(STRANGER)
    for folder in ("model", "tune"):
        (shop / "properties" / folder).mkdir(parents=True)
    own = shop / "properties"
    (own / "model" / "Stranger.yaml").write_text("score_factor: 2.0\nhidden_size: 16\n")
    (own / "model" / "Stranger@shop.yaml").write_text("hidden_size: 8\nembedding_size: 8\n")
    (own / "tune" / "Stranger.yaml").write_text("score_factor: {choice: [1.0, 2.0]}\n")
    (own / "ablations.yaml").write_text("Stranger:\n  no factor: {score_factor: 1.0}\n")
    yield "strange_module:Stranger"
    sys.modules.pop("strange_module", None)
