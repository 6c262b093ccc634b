"""The process of a run: what it counts, draws and averages, and how it ends."""

import fcntl
import json
import os
import subprocess
import sys
import termios
from array import array
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from recbole.model.sequential_recommender import SASRec
from warm import Worker, until

from recbole_diffusion.benchmark import worker
from recbole_diffusion.benchmark.plan import make_plan
from recbole_diffusion.benchmark.protocol import describe, held_out_hash
from recbole_diffusion.config import traits
from recbole_diffusion.config.config import Config
from recbole_diffusion.quick_start import item_table
from recbole_diffusion.quick_start.quick_start import fit, read_data
from recbole_diffusion.trainer.scoring import ScoresError
from recbole_diffusion.trainer.trainer import TrainerHooks

WALK = {"sampler": "ddim", "sampling_steps": 3}


@pytest.fixture
def fitted(shop, small):
    """Gives a function from a model and settings to its configuration and its fitted run."""

    def fitted(model, **settings):
        measured = {"mask_history": False, "topk": [2, 5, 10], "valid_metric": "NDCG@10"}
        settings = small(model, epochs=1) | measured | settings
        config = Config(model, "shop", config_dict=settings)
        return config, fit(config)

    return fitted


@pytest.fixture
def tested(fitted, shop):
    """Gives a function from a model, a number of samplings and settings to what a test gives."""

    def tested(model, sampling_seeds, **settings):
        config, run = fitted(model, **settings)
        loaders = run.train_data, run.valid_data, run.test_data
        protocol = describe(config, *(loader._dataset for loader in loaders))
        job = {"sampling_seeds": sampling_seeds, "users_file": str(shop / "users.parquet")}
        job |= {"held_out_hash": protocol["held_out_hash"]}
        return config, run, job, worker.test(job, config, run)

    return tested


@pytest.mark.parametrize(
    "model, network, settings, expected",
    [
        ("ICDDT", "output_norm", {"truncation": 1.0}, 4),
        ("ICDDT", "output_norm", {"truncation": 0.5}, 2),
        ("DreamRec", "denoiser", WALK, 6),
        ("DreamRec", "denoiser", {"sampler": "exact"}, 0),
        ("DimeRec", "denoiser", {}, 2),
        ("recbole:DiffRec", "mlp", {"steps": 3}, 3),
        ("recbole:DiffRec", "mlp", {"steps": 3, "noise_scale": 0.0}, 3),
    ],
)
def test_denoiser_calls_are_the_passes_of_the_network(fitted, model, network, settings, expected):
    _, run = fitted(model, **settings)
    passes = []
    part = getattr(run.trainer.model, network)
    # With and without history can be one call on twice the rows: rows are counted, not calls.
    part.register_forward_hook(lambda module, given, out: passes.append(len(out)))
    run.trainer.evaluate(run.test_data, load_best_model=False)
    rows = sum(len(batch[0]) for batch in run.test_data)
    assert rows > 1 and sum(passes) == expected * rows
    assert traits.denoiser_calls(run.trainer.model) == expected


def test_a_model_without_a_denoiser_has_no_denoiser_calls(fitted):
    for model in ("SASRec", "Pop"):
        assert traits.denoiser_calls(fitted(model)[1].trainer.model) is None


def test_what_is_reported_is_the_mean_over_samplings_and_each_draws_its_own(tested, shop):
    config, run, _, result = tested("DreamRec", 3)
    samplings = result["samplings"]
    assert result["samples"] and len(samplings) == 3
    assert len({json.dumps(one) for one in samplings}) == 3
    table = pd.read_parquet(shop / "users.parquet")
    for name, mean in result["test"].items():
        assert mean == pytest.approx(np.mean([one[name] for one in samplings]))
        assert mean == pytest.approx(table[name].mean(), abs=1e-6)
    assert 0 <= result["agreement"] < 1
    # The first is what the run command tests with, and afterwards evaluations are as before.
    assert run.trainer.observer is None
    assert run.trainer.evaluate(run.test_data) == samplings[0]


def test_what_is_tested_is_the_best_model_not_the_last(tested):
    _, run, job, result = tested("SASRec", 1)
    for weights in run.trainer.model.parameters():
        weights.data.normal_()  # stands for epochs after the best
    assert run.trainer.evaluate(run.test_data, load_best_model=False) != result["test"]
    assert worker.test(job, run.trainer.config, run)["test"] == result["test"]


def test_trainings_of_neighbouring_seeds_share_no_sampling(tested, monkeypatch):
    seeds, evaluate = [], TrainerHooks.evaluate

    def watched(self, *arguments, **options):
        if self.observer is not None:
            seeds.append(self.evaluation_seed)
        return evaluate(self, *arguments, **options)

    monkeypatch.setattr(TrainerHooks, "evaluate", watched)
    for seed in (2020, 2021):
        tested("DreamRec", 3, seed=seed)
    assert len(seeds) == len(set(seeds)) == 6 and {2020, 2021} < set(seeds)


def test_a_model_that_does_not_draw_is_tested_twice_and_counts_once(tested):
    _, _, _, result = tested("SASRec", 5)
    assert not result["samples"] and len(result["samplings"]) == 1 and result["agreement"] == 1
    _, _, _, once = tested("SASRec", 1)
    assert once["test"] == result["test"] and once["agreement"] is None


def test_the_time_of_scoring_is_without_what_the_benchmark_keeps(tested, monkeypatch):
    keep = worker.rows.RankedRows.collect

    def slow(self, *batch):
        keep(self, *batch)
        self.seconds += 100

    monkeypatch.setattr(worker.rows.RankedRows, "collect", slow)
    _, _, _, result = tested("Pop", 1)
    assert result["eval_seconds"] < -90  # the hundred seconds that did not pass are taken off
    assert result["ms_per_user"] == pytest.approx(1000 * result["eval_seconds"] / 39, rel=1e-3)


def test_data_that_changed_since_the_table_began_are_refused(tested):
    config, run, job, _ = tested("Pop", 1)
    with pytest.raises(ValueError, match="the data have changed"):
        worker.test(job | {"held_out_hash": "another"}, config, run)


def test_a_trial_is_not_tested_and_leaves_no_checkpoint(shop, small):
    settings = small("SASRec", checkpoint_dir="kept")
    job = {"kind": "trial", "model": "SASRec", "dataset": "shop", "settings": settings}
    result = worker.run(job)
    assert "test" not in result and result["checkpoint"] is None and result["best_valid_result"]
    assert not list(shop.glob("kept/*"))


@pytest.mark.parametrize("kind", ["trial", "seed"])
def test_a_model_whose_scores_are_not_finite_is_no_row(kind, shop, small, monkeypatch):
    rank = SASRec.full_sort_predict
    monkeypatch.setattr(SASRec, "full_sort_predict", lambda *rows: rank(*rows) / 0)
    settings = small("SASRec", checkpoint_dir="kept")
    job = {"kind": kind, "model": "SASRec", "dataset": "shop", "settings": settings}
    with pytest.raises(ScoresError, match="scores of SASRec are not finite: -?inf in row"):
        worker.run(job)
    assert not list(shop.glob("kept/*.best.pth")) and not list(shop.glob("*.parquet"))


def test_a_table_is_whole_or_not_there(tested, shop, monkeypatch):
    config, run, job, _ = tested("Pop", 1)
    before = pd.read_parquet(shop / "users.parquet")

    def full(self, path, **_):
        with open(path, "wb") as half:
            half.write(b"PAR1")
        raise OSError("No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(OSError):
        worker.test(job, config, run)
    assert pd.read_parquet(shop / "users.parquet").equals(before)


TOKENS = ["👍", "a b", 'it\'s "it"', "4", "true", "[a]", "1:30", "é"]


def test_a_behaviour_is_the_same_in_a_run_a_benchmark_and_a_pretraining(shop, write_inter):
    rows = [(f"u{u}", f"i{(u + i) % 12}", TOKENS[u % 8], i) for u in range(40) for i in range(9)]
    write_inter(shop / "dataset", "shop", rows)
    general = {"dataset": "shop", "BEHAVIOR_FIELD": "behavior", "topk": [2], "models": "Pop"}
    general |= {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}}
    general |= {"valid_metric": "NDCG@2"}
    hashes = set()
    for token in TOKENS:
        typed = json.dumps(token, ensure_ascii=False)  # as in a shell, with YAML's quotes
        plan = make_plan(general | {"target_behavior": typed})
        entries = {"Pop": {"model": "Pop", "dataset": "shop", "settings": plan.settings}}
        job = json.loads(json.dumps({"entries": entries, "lists": {}}))
        protocol = worker.describe_all(job)["Pop"]["protocol"]
        assert protocol["behaviors"] == token and protocol["test_rows"] == 5
        hashes.add(protocol["held_out_hash"])
        settings = {key: general[key] for key in ("BEHAVIOR_FIELD", "topk", "eval_args")}
        settings |= {"target_behavior": typed, "pretrain": "SASRec", "use_gpu": False}
        config = Config("DreamRec", "shop", config_dict=settings | {"valid_metric": "NDCG@2"})
        assert config["target_behavior"] == token
        untrained = Mock(side_effect=ZeroDivisionError)
        with pytest.raises(ZeroDivisionError):
            item_table.train_first(config, untrained)
        (first,) = untrained.call_args.args
        assert first["target_behavior"] == token and first["split_seed"] == 2020
        assert protocol["held_out_hash"] == held_out_hash(read_data(first)[1][2]._dataset)
    assert len(hashes) == len(TOKENS)


def test_an_error_is_one_line_with_its_kind_where_the_message_needs_it():
    assert worker.one_line(ValueError("a\n b")) == "a b"
    assert worker.one_line(RuntimeError("x")) == "RuntimeError: x"
    assert worker.one_line(ValueError()) == "ValueError: "


@pytest.mark.slow
def test_a_worker_that_has_written_its_result_ends_in_peace(shop):
    job = {"kind": "describe", "entries": {"Pop": {"model": "Pop", "dataset": "nowhere"}}}
    job["lists"] = {}
    job["entries"]["Pop"]["settings"], job["models"] = {}, ["Pop", "no_such_module:Model"]
    (shop / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-m", "recbole_diffusion.benchmark.worker", "job.json", "r.json"]
    both = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    alone = subprocess.Popen(command, **both, text=True)
    said = alone.stdout.read()
    assert alone.wait() == 0 and "Fatal" not in said  # its input is still open
    assert "nowhere" in json.loads((shop / "r.json").read_text())["Pop"]["error"]
    alone.stdin.close()


def test_a_worker_ends_with_the_process_that_started_it(shop):
    (shop / "endless.py").write_text(
        "import time\nopen('begun', 'w').close()\ntime.sleep(3600)\nclass Model:\n    pass\n"
    )
    entry = {"model": "endless:Model", "dataset": "shop", "settings": {}}
    job = {"kind": "describe", "entries": {"endless": entry}, "models": ["endless:Model"]}
    job["lists"] = {}
    (shop / "out").mkdir()
    (shop / "out/job.json").write_text(json.dumps(job))
    command = [sys.executable, "-m", "recbole_diffusion.benchmark.worker", "out/job.json", "r.json"]
    with open(shop / "out/log", "ab") as log:
        endless = Worker(command, None, log, None, os.environ, True)
    until((shop / "begun").exists)
    endless.stdin.send_bytes(b"more")
    waiting = array("i", [1])

    def read():
        fcntl.ioctl(endless.stdin.fileno(), termios.FIONREAD, waiting)
        return not waiting[0]

    until(read)  # not at the first byte
    endless.stdin.close()  # as it closes when its process ends
    assert endless.wait() == 1
