"""On real data lists out of a checkpoint are those of the evaluation, and of anyone alike."""

import importlib
import sys
from pathlib import Path

import pytest

from recbole_diffusion.quick_start import run_recbole_diffusion
from recbole_diffusion.testing.lists import compare_lists

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).resolve().parents[2] / "dataset_scripts"
# Script and its first argument; None: RecBole brings the data along.
RAW = {
    "retail": ("retail", "retail/events.csv.gz"),
    "ml-1m-diffrec": ("diffrec", "ml-1m-diffrec"),
    "zhihu": ("zhihu", "zhihu/sequences.txt"),
    "ml-100k": None,
}


@pytest.mark.parametrize(
    "model, dataset, rows",
    [
        ("ICDDT", "retail", 2174),
        ("DiffRec", "ml-1m-diffrec", 5949),
        ("DreamRec", "zhihu", 6739),
        ("SASRec", "ml-100k", 942),
    ],
)
def test_lists_of_real_people_are_those_of_the_evaluation(
    shared_path, tmp_path, monkeypatch, model, dataset, rows
):
    settings = {"use_gpu": False, "show_progress": False, "max_train_seconds": 5, "seed": 1}
    if RAW[dataset]:
        script, raw = RAW[dataset]
        monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
        convert = importlib.import_module(script).convert
        convert(shared_path(f"data/{raw}"), tmp_path / dataset)
        settings["data_path"] = str(tmp_path)
    monkeypatch.chdir(tmp_path)
    checkpoint = run_recbole_diffusion(model, dataset, config_dict=settings)["checkpoint"]
    found = compare_lists(checkpoint, k=20)
    assert (found.rows, found.others, found.copies) == (rows, [], [])
