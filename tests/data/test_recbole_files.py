"""Configuration files of RecBole run on ml-100k as they are, and split it as RecBole does."""

from pathlib import Path

import pytest
import recbole
import torch
from recbole.data.dataset import Dataset

from recbole_diffusion.cli.main import main as command_line
from recbole_diffusion.config import Config
from recbole_diffusion.data.choose import get_dataset
from recbole_diffusion.data.lines import DataError

QUICK = Path(recbole.__file__).parent / "properties/quick_start_config"
QUIET = {"use_gpu": False, "show_progress": False, "state": "ERROR"}

# Those of RecBole's documentation: a general model, a sequential one, and all four columns.
GENERAL = """\
USER_ID_FIELD: user_id
ITEM_ID_FIELD: item_id
load_col:
    inter: [user_id, item_id]
epochs: 500
train_batch_size: 4096
eval_batch_size: 4096
train_neg_sample_args:
    distribution: uniform
    sample_num: 1
    alpha: 1.0
    dynamic: False
    candidate_num: 0
eval_args:
    group_by: user
    order: RO
    split: {'RS': [0.8,0.1,0.1]}
    mode: full
metrics: ['Recall', 'MRR', 'NDCG', 'Hit', 'Precision']
topk: 10
valid_metric: MRR@10
metric_decimal_place: 4
"""
SEQUENTIAL = """\
USER_ID_FIELD: user_id
ITEM_ID_FIELD: item_id
TIME_FIELD: timestamp
load_col:
    inter: [user_id, item_id, timestamp]
ITEM_LIST_LENGTH_FIELD: item_length
LIST_SUFFIX: _list
MAX_ITEM_LIST_LENGTH: 50
train_neg_sample_args: ~
eval_args:
    group_by: user
    order: TO
    split: {'LS': 'valid_and_test'}
    mode: full
"""
PAIRS = "load_col: {inter: [user_id, item_id]}\n"
FOUR = "load_col: {inter: [user_id, item_id, rating, timestamp]}\n"


@pytest.fixture
def load(tmp_path):
    """Returns a function from a model and the text or the path of files to config and data set."""

    def run(model, *files, **settings):
        paths = []
        for file in files:
            if not isinstance(file, Path):
                path = tmp_path / f"{len(paths)}.yaml"
                path.write_text(file)
                file = path
            paths.append(str(file))
        config = Config(model, "ml-100k", paths, QUIET | settings)
        return config, get_dataset(config)(config)

    return run


def pairs(part):
    rows = part.inter_feat
    return sorted(zip(rows["user_id"].tolist(), rows["item_id"].tolist()))


def sizes(data):
    return [len(part.inter_feat) for part in data.build()]


@pytest.mark.parametrize(
    "model, files, expected",
    [
        ("BPR", [GENERAL], [80_808, 9_596, 9_596]),
        ("BPR", [PAIRS], [80_808, 9_596, 9_596]),
        ("BPR", [SEQUENTIAL], [98_114, 943, 943]),
        ("SASRec", [SEQUENTIAL], [97_171, 943, 943]),
        ("SASRec", [SEQUENTIAL, QUICK / "sequential.yaml"], [97_171, 943, 943]),
    ],
)
def test_a_file_that_leaves_the_rating_out_reads_pairs(load, model, files, expected):
    config, data = load(model, *files)
    assert config["BEHAVIOR_FIELD"] is None and "'rating'" in config.warnings[0]
    assert "rating" not in data.inter_feat
    assert sizes(data) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "files",
    [
        [FOUR],
        [QUICK / "sequential.yaml"],
        [QUICK / "special_sequential_on_ml-100k.yaml"],
        [QUICK / "sequential.yaml", QUICK / "special_sequential_on_ml-100k.yaml"],
        [QUICK / "context-aware_ml-100k.yaml"],
        [QUICK / "knowledge_base.yaml"],
        [QUICK / "sequential_DIN_on_ml-100k.yaml"],
    ],
)
def test_a_file_that_loads_the_rating_keeps_the_behaviours(load, files):
    for model in ("BPR", "SASRec"):
        config, data = load(model, *files)
        assert config["target_behavior"] == "like" and not config.warnings
        _, alike = load(model)  # without a file
        found = sizes(data)
        assert found == sizes(alike) and found[2] == 942  # one user likes nothing


def test_the_random_split_of_a_file_is_recboles(load):
    config, data = load("BPR", GENERAL)
    torch.manual_seed(5)
    ours = data.build()
    torch.manual_seed(5)
    host = Dataset(config).build()
    assert [pairs(part) for part in ours] == [pairs(part) for part in host]
    torch.manual_seed(6)  # control: another draw is another split
    assert pairs(ours[2]) != pairs(Dataset(config).build()[2])


def test_behaviours_that_are_asked_for_are_not_left_out(load):
    with pytest.raises(DataError, match="column 'rating' is not among the loaded columns"):
        load("BPR", SEQUENTIAL, target_behavior="like")


def test_a_sequential_model_without_times_is_refused_as_before(load):
    with pytest.raises(DataError, match="column 'timestamp' is not among the loaded columns"):
        load("SASRec", PAIRS)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["BPR", "LightGCN", "Pop"])
def test_the_quick_start_file_trains(model, tmp_path):
    file = tmp_path / "test.yaml"
    file.write_text(GENERAL)
    words = [f"--model={model}", "--dataset=ml-100k", f"--config_files={file}", "--epochs=1"]
    words += ["--use_gpu=False", "--show_progress=False", f"--checkpoint_dir={tmp_path}"]
    assert command_line(["run", *words]) == 0
