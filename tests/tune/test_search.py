"""Which settings are best on validation?"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import yaml
from warm import until

from recbole_diffusion.cli.main import main
from recbole_diffusion.config.config import Config
from recbole_diffusion.model.sequential_recommender.gru4rec import GRU4Rec
from recbole_diffusion.quick_start.quick_start import fit, run_recbole_diffusion
from recbole_diffusion.trainer.checkpoint import config_text, settings_of_a_run
from recbole_diffusion.trainer.trainer import TrainerHooks
from recbole_diffusion.tune import search as tuning

CALLBACK = "recbole_diffusion.tune.callback"
GIVEN = {
    "BEHAVIOR_FIELD": "behavior",
    "target_behavior": "buy",
    "MAX_ITEM_LIST_LENGTH": 6,
    "eval_args": "{split: {LS: valid_and_test}, order: TO, mode: full}",
    "use_gpu": False,
    "show_progress": False,
}
SMALL = {"embedding_size": 8, "hidden_size": 8, "train_batch_size": 64, "epochs": 3}


def command(model="GRU4Rec", **settings):
    settings = GIVEN | (SMALL if model == "GRU4Rec" else {}) | settings
    return ["tune", f"--model={model}", "--dataset=shop"] + [
        f"--{key}={value}" for key, value in settings.items()
    ]


def spaced(text):
    Path("space.yaml").write_text(text)
    return "space.yaml"


@pytest.fixture
def without_ray(shop, monkeypatch):
    """Runs the trials of a list one after the other in this process; gives what they reported."""
    reports = []
    stand_in_for_ray(monkeypatch, reports.append)
    return reports


def stand_in_for_ray(monkeypatch, report):
    """Puts a stand-in in Ray's place, whose trials run where they are asked for.

    Returns:
        list of dict: what each search is asked for, as `Tuner` is given it.
    """
    asked, at = [], SimpleNamespace(trial=None)

    class Tuner:
        @staticmethod
        def can_restore(path):
            return False

        def __init__(self, trial, **options):
            asked.append(options)
            self.trial, self.options = trial, options

        def fit(self):
            results, run = [], self.options["run_config"]
            for number, sampled in enumerate(self.options["param_space"]["sampled"]["grid_search"]):
                at.trial, error = str(number), None
                try:
                    self.trial({"sampled": sampled})
                except ValueError as raised:
                    error = raised
                path = Path(run.storage_path, run.name, at.trial)
                results.append(SimpleNamespace(path=str(path), error=error))
            return results

    tune = ModuleType("ray.tune")
    tune.Tuner, tune.report = Tuner, report
    tune.RunConfig = tune.TuneConfig = SimpleNamespace
    tune.get_context = lambda: SimpleNamespace(get_trial_id=lambda: at.trial)
    tune.Callback = object
    schedulers = ModuleType("ray.tune.schedulers")
    schedulers.ASHAScheduler = lambda **options: options
    ray = ModuleType("ray")
    ray.tune, ray.is_initialized = tune, lambda: True
    modules = {"ray": ray, "ray.tune": tune, "ray.tune.schedulers": schedulers}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    # What is imported from the stand-in must not stay, nor what was from Ray be used here.
    monkeypatch.setitem(sys.modules, CALLBACK, None)
    del sys.modules[CALLBACK]
    return asked


def records(output="tune/GRU4Rec-shop"):
    return [tuning.read_record(path.parent) for path in sorted(Path(output).rglob("trial.json"))]


def test_the_trial_that_is_best_on_validation_is_kept_and_runs_again(without_ray, capsys):
    space = spaced("learning_rate: {choice: [1.0e-9, 0.01]}\n")
    assert main(command(space=space, search="grid", epochs=6)) == 0
    printed = capsys.readouterr().out
    worse, better = records()
    assert better["score"] > worse["score"] and better["sampled"] == {"learning_rate": 0.01}
    lines = printed.splitlines()
    assert "learning_rate=0.01" in lines[1] and "learning_rate=1e-09" in lines[2]
    assert [str(path) for path in Path("tune").resolve().rglob("*.pth")] == [better["checkpoint"]]

    output = Path("tune/GRU4Rec-shop")
    best = json.loads((output / "best.json").read_text())
    assert best["checkpoint"] == better["checkpoint"] in printed
    text = (output / "best.yaml").read_text()
    assert f"{better['score']:.6f}" in text and better["checkpoint"] in text
    found = run_recbole_diffusion(None, None, [str(output / "best.yaml")])
    assert found["config"]["learning_rate"] == 0.01 and found["config"]["hidden_size"] == 8
    assert found["best_valid_result"]["ndcg@10"] == pytest.approx(better["score"])


def test_test_rows_are_never_ranked(without_ray, monkeypatch):
    ranked = []
    evaluate = TrainerHooks.evaluate

    def watched(self, rows, *args, **kwargs):
        ranked.append(rows._dataset)
        return evaluate(self, rows, *args, **kwargs)

    monkeypatch.setattr(TrainerHooks, "evaluate", watched)
    seen = {}
    read = fit.__globals__["read_data"]

    def splits(config):
        data, loaders = read(config)
        seen.update(zip(("train", "valid", "test"), (part._dataset for part in loaders)))
        return data, loaders

    monkeypatch.setitem(fit.__globals__, "read_data", splits)
    space = spaced("window: {choice: [5]}\n")
    assert main(command("MarkovChain", space=space)) == 0
    assert ranked and all(rows is seen["valid"] for rows in ranked)
    run_recbole_diffusion(None, None, ["tune/MarkovChain-shop/best.yaml"])  # the control
    assert ranked[-1] is seen["test"]


def test_a_report_follows_every_validation_with_the_best_score_so_far(without_ray, monkeypatch):
    validated = []
    validate = TrainerHooks._valid_epoch

    def watched(self, *args, **kwargs):
        score, result = validate(self, *args, **kwargs)
        validated.append(score)
        return score, result

    monkeypatch.setattr(TrainerHooks, "_valid_epoch", watched)
    space = spaced("learning_rate: {choice: [0.5]}\n")
    main(command(space=space, epochs=12, eval_step=2))
    (record,) = records()
    assert [report["epoch"] for report in without_ray] == [2, 4, 6, 8, 10, 12, 12]
    scores = [report["score"] for report in without_ray]
    assert scores[:-1] == [max(validated[: n + 1]) for n in range(6)]
    assert scores[:-1] != validated, "the control: training has to waver"
    assert scores[-1] == record["score"]


@pytest.fixture
def two_layers_fail(monkeypatch):
    """Training a GRU4Rec of two layers is an error."""
    loss = GRU4Rec.calculate_loss

    def failing(model, rows):
        if model.num_layers == 2:
            raise ValueError("two layers are too many")
        return loss(model, rows)

    monkeypatch.setattr(GRU4Rec, "calculate_loss", failing)


def test_a_failed_trial_does_not_stop_the_others_and_is_told_in_a_line(
    without_ray, two_layers_fail, capsys
):
    space = spaced("num_layers: {choice: [1, 2, 3]}\n")
    assert main(command(space=space, search="grid")) == 0
    assert ["error" in record for record in records()] == [False, True, False]
    line = capsys.readouterr().out.splitlines()[3]
    assert line.split()[:2] == ["failed", "num_layers=2:"] and "two layers are too many" in line


def test_a_trial_whose_scores_are_not_finite_fails(without_ray, capsys, monkeypatch):
    rank = GRU4Rec.full_sort_predict

    def infinite(model, rows):
        return rank(model, rows) / (model.num_layers - 2)

    monkeypatch.setattr(GRU4Rec, "full_sort_predict", infinite)
    space = spaced("num_layers: {choice: [1, 2]}\n")
    assert main(command(space=space, search="grid")) == 0
    good, failed = records()
    assert "error" not in good and "scores of GRU4Rec are not finite" in failed["error"]
    assert "scores of GRU4Rec are not finite" in capsys.readouterr().out


def test_when_all_trials_fail_the_first_error_is_said_in_one_line(
    without_ray, two_layers_fail, capsys
):
    space = spaced("num_layers: {choice: [2]}\nlearning_rate: {choice: [0.01, 0.02]}\n")
    assert main(command(space=space, search="grid")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "all 2 trials failed" in line and "two layers are too many" in line
    assert not list(Path("tune").rglob("*.pth")) and not list(Path("tune").rglob("best.*"))


def test_a_data_set_that_is_missing_is_said_in_one_line_before_ray_starts(
    shop, capsys, monkeypatch
):
    monkeypatch.setattr(tuning, "search_with_ray", None)
    arguments = ["tune", "--model=SASRec", "--dataset=retail", "--output=out"]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "retail.inter" in said and "data prepare retail" in said
    assert not (shop / "out").exists()


class Killed(BaseException):
    """Ends a trial as a kill does."""


def test_an_interrupted_trial_goes_on_after_its_last_whole_epoch(shop):
    space = spaced("learning_rate: {choice: [0.01]}\n")
    study, config, space = tuning.plan(
        "GRU4Rec", "shop", space, 1, "grid", "none", [], GIVEN | SMALL | {"epochs": 5}, 1
    )
    epochs = []

    def report(told):
        epochs.append(told["epoch"])
        if told["epoch"] == 2 and len(epochs) == 2:
            raise Killed

    whole, broken = Path("whole").resolve(), Path("broken").resolve()
    tuning.run_trial(study, space, {"learning_rate": 0.01}, whole, lambda told: None)
    with pytest.raises(Killed):
        tuning.run_trial(study, space, {"learning_rate": 0.01}, broken, report)
    tuning.run_trial(study, space, {"learning_rate": 0.01}, broken, report)
    assert epochs == [1, 2, 3, 4, 5, 5]
    assert tuning.read_record(broken)["score"] == tuning.read_record(whole)["score"]
    tuning.run_trial(study, space, {"learning_rate": 0.01}, broken, report)
    assert epochs == [1, 2, 3, 4, 5, 5, 5]  # what is over only reports


def test_another_search_in_the_same_folder_is_refused_with_what_differs(without_ray, capsys):
    space = spaced("window: {choice: [5]}\n")
    assert main(command("MarkovChain", space=space, output="here")) == 0
    before = Path("here/best.yaml").read_text()
    for text, change, words in (
        ("window: {choice: [5]}", {"max_gap": 2}, "max_gap is None, not 2"),
        ("window: {choice: [5]}", {"trials": 3}, "trials is 20, not 3"),
        ("window: {choice: [6]}", {}, "window is ['choice', [5]], not"),
    ):
        again = {"space": spaced(text), "output": "here"} | change
        assert main(command("MarkovChain", **again)) == 2
        assert words in capsys.readouterr().err
    spaced("window: {choice: [5]}\n")
    assert main(command("MarkovChain", space=space, output="here")) == 0
    assert Path("here/best.yaml").read_text() == before
    assert main(command("MarkovChain", space=space, output="dataset")) == 2
    assert "holds no search" in capsys.readouterr().err


@pytest.mark.slow
def test_two_searches_in_one_folder_are_refused_and_a_killed_one_holds_nothing(
    without_ray, capsys, monkeypatch
):
    space = spaced("window: {choice: [5]}\n")
    arguments = command("MarkovChain", space=space, output="here")
    hold = "import sys, time; from pathlib import Path; "
    hold += "from recbole_diffusion.tune.folder import alone_in; held = alone_in('here'); "
    hold += "held.__enter__(); Path('held').touch(); time.sleep(3600)"
    other = subprocess.Popen([sys.executable, "-c", hold])
    try:
        until(Path("held").exists)
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "another search is running in" in line and "here" in line
        assert [path.name for path in Path("here").iterdir()] == [".lock"]
    finally:
        other.kill()
        other.wait()
    assert main(arguments) == 0  # the control


def test_a_value_of_the_space_that_its_setting_cannot_have_is_refused_at_once(
    shop, capsys, monkeypatch
):
    monkeypatch.setattr(tuning, "search_with_ray", None)
    space = spaced("train_batch_size: {choice: [64, 0]}\nwindow: {choice: [5]}\n")
    assert main(command("MarkovChain", space=space)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "space.yaml: train_batch_size is 0" in line
    assert not Path("tune").exists()


def test_a_trial_whose_score_is_not_finite_fails_and_the_search_goes_on(
    without_ray, capsys, monkeypatch
):
    space = spaced("learning_rate: {choice: [0.01, 0.02]}\n")
    score = TrainerHooks._valid_epoch

    def not_finite(self, *arguments, **named):
        value, result = score(self, *arguments, **named)
        return (float("nan") if self.config["learning_rate"] == 0.02 else value), result

    monkeypatch.setattr(TrainerHooks, "_valid_epoch", not_finite)
    assert main(command(space=space, search="grid", epochs=1)) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "learning_rate=0.01" in printed[1] and "failed" not in printed[1]
    (failed,) = (line for line in printed if "learning_rate=0.02" in line)
    assert "failed" in failed and "validation score is -inf" in failed


def test_a_damaged_record_of_a_search_is_named(without_ray, capsys):
    space = spaced("window: {choice: [5]}\n")
    assert main(command("MarkovChain", space=space, output="here")) == 0
    capsys.readouterr()
    for content in ("{", "[]", "\x00", '{"space": 3}'):
        Path("here/study.json").write_text(content)
        assert main(command("MarkovChain", space=space, output="here")) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "here" in line


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"search": "clever"}, "--search is 'clever', not one of random"),
        ({"scheduler": "hyperband"}, "--scheduler is 'hyperband'"),
        ({"trials": 0}, "--trials is 0"),
        ({"trials": "many"}, "invalid int value: 'many'"),
        ({"concurrent": 0}, "--concurrent is 0"),
        ({"window": 3}, "window is set to 3 and is searched"),
        ({"windw": 3}, "unknown setting 'windw'"),
        ({"resume": True}, "resume cannot be set"),
        ({"checkpoint_dir": "x"}, "checkpoint_dir cannot be set"),
        ({"space": "nowhere.yaml"}, "cannot read the search space nowhere.yaml"),
    ],
)
def test_mistakes_are_refused_before_anything_is_started(shop, change, words, capsys, monkeypatch):
    monkeypatch.setattr(tuning, "search_with_ray", None)
    settings = {"space": spaced("window: {choice: [5]}\n")} | change
    assert main(command("MarkovChain", **settings)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not Path("tune").exists()


def test_a_model_without_a_space_of_its_own_is_asked_for_one(shop, capsys):
    assert main(command("NARM")) == 2
    assert (
        "no search space comes with NARM: give one with --space=FILE\n" in capsys.readouterr().err
    )


def test_a_stranger_without_a_space_is_told_where_to_write_one(stranger, capsys):
    Path("properties/tune/Stranger.yaml").unlink()
    assert main(command(stranger)) == 2
    assert "properties/tune/Stranger.yaml" in capsys.readouterr().err


def test_random_trials_are_different_and_follow_the_seed(shop, monkeypatch):
    asked = stand_in_for_ray(monkeypatch, lambda report: None)
    space = spaced("window: {choice: [5, 10]}\nself_weight: {uniform: [0.1, 0.9]}\n")

    def drawn(trials, **settings):
        study, config, read = tuning.plan(
            "MarkovChain", "shop", space, trials, "random", "asha", [], GIVEN | settings, 1
        )
        monkeypatch.setattr(tuning, "run_trial", lambda *arguments: None)
        tuning.search_with_ray(study, config, read, 1, None, shop / "out")
        return asked[-1]["param_space"]["sampled"]["grid_search"]

    assert len({str(draw) for draw in drawn(20)}) == 20
    assert drawn(5, seed=1) == drawn(5, seed=1) != drawn(5, seed=2)
    spaced("window: {choice: [5, 10]}\n")
    assert sorted(draw["window"] for draw in drawn(20)) == [5, 10]
    spaced("")
    assert drawn(20) == [{}]


def test_settings_of_files_reach_a_trial_with_the_types_they_had(shop):
    Path("a.yaml").write_text("threshold: {rating: 3}\nval_interval: {1: '[0,1]'}\n")
    study, config, _ = tuning.plan(
        "Pop", "shop", None, 1, "random", "asha", ["a.yaml"], {"seed": "7"}, 1
    )
    assert study["settings"]["val_interval"] == {1: "[0,1]"} == config["val_interval"]
    assert study["settings"]["seed"] == config["seed"] == 7
    tuning.claim(Path("out"), study)
    tuning.claim(Path("out"), study)  # JSON, which has no such keys, is compared with JSON


def test_model_and_settings_may_come_from_files_and_the_command_line_wins(without_ray):
    Path("a.yaml").write_text("model: MarkovChain\ndataset: shop\nmax_gap: 1\nself_weight: 0.7\n")
    with open("a.yaml", "a") as file:
        file.write("window: 3\n")  # searched, so the file's value does not count
    space = spaced("window: {choice: [5]}\n")
    rest = [f"--{key}={value}" for key, value in GIVEN.items()]
    files = ["--config_files=a.yaml", f"--space={space}", "--max_gap", "2"]
    assert main(["tune", *files, *rest]) == 0
    best = yaml.safe_load(Path("tune/MarkovChain-shop/best.yaml").read_text())
    assert (best["max_gap"], best["self_weight"], best["window"]) == (2, 0.7, 5)


def test_a_class_of_the_users_and_recboles_own_are_tuned(without_ray):
    Path("mine.py").write_text(
        "from recbole_diffusion.model.sequential_recommender.markovchain import MarkovChain\n"
        "class Mine(MarkovChain):\n    pass\n"
    )
    assert main(command("mine:Mine", space=spaced("window: {choice: [5]}\n"))) == 0
    general = {"train_batch_size": 64, "epochs": 1, "dims_dnn": [8]}
    space = spaced("learning_rate: {choice: [0.01]}\n")
    assert main(command("recbole:DiffRec", space=space, **general)) == 0
    assert yaml.safe_load(Path("tune/DiffRec-shop/best.yaml").read_text())["model"] == (
        "recbole:DiffRec"
    )


def test_best_settings_are_those_of_the_best_trial_and_nothing_else(without_ray):
    main(command(space=spaced("learning_rate: {choice: [0.01]}\n")))
    written = Config(None, None, ["tune/GRU4Rec-shop/best.yaml"])
    given = GIVEN | SMALL | {"learning_rate": 0.01}
    typed = Config("GRU4Rec", "shop", None, given)
    assert settings_of_a_run(config_text(written)) == settings_of_a_run(config_text(typed))


@pytest.mark.parametrize(
    "settings, kind, expected",
    [
        ({"epochs": 60, "eval_step": 2}, "asha", (6, 61)),
        ({"epochs": 60, "eval_step": 10}, "asha", (10, 61)),
        ({"epochs": 1}, "asha", None),
        ({}, "none", None),
    ],
)
def test_asha_waits_a_tenth_of_the_epochs_and_leaves_the_last_one_alone(
    shop, monkeypatch, settings, kind, expected
):
    asked = stand_in_for_ray(monkeypatch, lambda report: None)
    monkeypatch.setattr(tuning, "run_trial", lambda *arguments: None)
    study, config, space = tuning.plan(
        "MarkovChain", "shop", spaced("window: {choice: [5]}\n"), 1, "grid", kind, [],
        GIVEN | settings, 1,
    )  # fmt: skip
    tuning.search_with_ray(study, config, space, 1, None, shop / "out")
    scheduler = asked[0]["tune_config"].scheduler
    if expected:
        assert scheduler.pop("time_attr") == "epoch"
        scheduler = (scheduler["grace_period"], scheduler["max_t"])
    assert scheduler == expected


def test_a_missing_library_is_said_with_the_command_that_installs_it(shop, capsys, monkeypatch):
    space = spaced("window: {choice: [5]}\n")
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(command("MarkovChain", space=space, search="optuna")) == 2
    said = capsys.readouterr().err
    assert "needs Optuna" in said and 'pip install "recbole-diffusion[tune]"' in said
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(command("MarkovChain", space=space, output="other")) == 2
    said = capsys.readouterr().err
    assert "needs Ray" in said and 'pip install "recbole-diffusion[tune]"' in said


@pytest.fixture(scope="module")
def local_ray():
    """Gives a function that starts Ray as a search does, for all searches of this file."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray, "shutdown", lambda: None)  # at the end of a search
        yield ray
    ray.shutdown()


@pytest.fixture
def searched(local_ray, shop):
    """The folder of a whole search with Ray, which is still there."""
    space = spaced("window: {choice: [5]}\n")
    assert main(command("MarkovChain", space=space)) == 0
    return Path("tune/MarkovChain-shop")


def listeners(process):
    """Addresses that a process and those it started listen on, in hexadecimal."""
    tasks = Path("/proc", str(process), "task")
    children = [int(c) for file in tasks.glob("*/children") for c in file.read_text().split()]
    inodes = set()
    for link in Path("/proc", str(process), "fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(link).removeprefix("socket:[").removesuffix("]"))
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path("/proc", str(process), "net", name).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in inodes:
                found.add(words[1].partition(":")[0])
    return found.union(*map(listeners, children))


@pytest.mark.slow
def test_a_search_with_ray_gives_settings_that_run_listens_on_the_loopback_and_reports_to_nobody(
    searched, local_ray
):
    (record,) = records(searched)
    assert record["stopped_by"] and record["sampled"] == {"window": 5}
    best = run_recbole_diffusion(None, None, [str(searched / "best.yaml")])
    assert best["best_valid_result"]["ndcg@10"] == pytest.approx(record["score"])
    assert local_ray.nodes()[0]["NodeManagerAddress"] == "127.0.0.1"
    # Ray has no public way to say whether its dashboard, which has the job API, is on.
    assert not local_ray._private.worker.global_worker.node.address_info["webui_url"]
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    if Path("/proc/net/tcp").exists():  # which Linux has
        local_ray.get(local_ray.remote(lambda: None).remote())  # a worker is there
        loopback = {"0100007F", "0000000000000000FFFF00000100007F", 31 * "0" + "1"}
        loopback.add("00000000000000000000000001000000")
        assert listeners(os.getpid()) and listeners(os.getpid()) <= loopback
        with socket.create_server(("", 0)):  # the control
            assert not listeners(os.getpid()) <= loopback


@pytest.mark.slow
def test_ray_stops_what_falls_behind_keeps_what_is_done_and_tries_again_what_failed(
    local_ray, shop, capfd
):
    (shop / "failing.py").write_text(
        "from recbole.model.sequential_recommender import GRU4Rec\n"
        "class Failing(GRU4Rec):\n"
        "    def __init__(self, config, dataset):\n"
        "        if config['learning_rate'] == 0.5:\n"
        "            raise ValueError('this rate fails')\n"
        "        super().__init__(config, dataset)\n"
    )
    space = spaced("learning_rate: {choice: [0.01, 1.0e-9, 0.5]}\n")
    settings = SMALL | {"epochs": 20, "stopping_step": 50}
    again = command("failing:Failing", space=space, search="grid", **settings)
    assert main(again) == 0
    printed = capfd.readouterr().out
    best, stopped, failed = records("tune/Failing-shop")
    assert (best["stopped_by"], best["epoch"]) == ("epochs", 20)
    assert (stopped["stopped_by"], stopped["epoch"]) == ("scheduler", 2)
    assert "this rate fails" in failed["error"] and "failed" in printed
    assert "stopped early" in printed and "trial 1 of 3: NDCG@10" in printed
    assert [str(path) for path in Path("tune").resolve().rglob("*.pth")] == [best["checkpoint"]]
    files = sorted(Path("tune").rglob("trial.json"))
    times = [path.stat().st_mtime_ns for path in files]
    assert main(again) == 0
    assert sorted(Path("tune").rglob("trial.json")) == files
    later = [path.stat().st_mtime_ns for path in files]
    assert times[:2] == later[:2] and later[2] > times[2]


@pytest.mark.slow
def test_optuna_searches_ranges_and_choices_with_short_values(local_ray, shop):
    pytest.importorskip("optuna", reason="Optuna is not installed")
    space = spaced("window: {choice: [5, 10]}\nself_weight: {loguniform: [0.01, 1.0]}\n")
    assert main(command("MarkovChain", space=space, search="optuna", trials=2)) == 0
    values = [record["sampled"]["self_weight"] for record in records("tune")]
    assert len(set(values)) == 2 and all(value == float(f"{value:.3g}") for value in values)


GATED = """
import os
import time
from recbole.model.sequential_recommender import GRU4Rec

class Gated(GRU4Rec):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.rate, self.batches = config["learning_rate"], 0

    def calculate_loss(self, interaction):
        self.batches += 1
        if self.training and os.path.exists(f"hold-{self.rate}") and self.batches > 6:
            time.sleep(3600)
        return super().calculate_loss(interaction)
"""


@pytest.mark.slow
def test_a_killed_search_goes_on_where_it_was(shop):
    pytest.importorskip("ray", reason="Ray is not installed")
    (shop / "gated.py").write_text(GATED)
    for rate in ("0.01", "0.02"):
        (shop / f"hold-{rate}").touch()  # a trial waits in its epochs until it is killed
    space = spaced("learning_rate: {choice: [0.01, 0.02]}\n")
    settings = SMALL | {"epochs": 6, "stopping_step": 100, "output": "out"}
    arguments = command("gated:Gated", space=space, search="grid", scheduler="none", **settings)
    program = (
        "import signal, sys; from recbole_diffusion.cli.main import main\n"
        # A shell that starts tests in the background makes their processes ignore it.
        "signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(main())"
    )

    def start():
        return subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait(process, happened):
        def there():
            assert process.poll() is None, process.communicate()[1]
            return happened()

        until(there)

    def epochs():
        return [record.get("epoch", 0) for record in records("out")]

    process = start()
    wait(process, lambda: sum(epochs()) > 0)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130 and "interrupted; the same command goes on" in said
    (first,) = records("out")
    assert "stopped_by" not in first and 0 < first["epoch"] < 6

    (shop / "hold-0.01").unlink()
    process = start()
    wait(process, lambda: len(epochs()) == 2 and epochs()[1] > 0)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    one, two = records("out")
    assert (one["stopped_by"], one["epoch"]) == ("epochs", 6)
    assert "stopped_by" not in two and 0 < two["epoch"] < 6
    assert one["checkpoint"] == first["checkpoint"]  # resumed, not begun again
    done = sorted(Path("out").rglob("trial.json"))[0]
    changed = done.stat().st_mtime_ns

    (shop / "hold-0.02").unlink()
    process = start()
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert done.stat().st_mtime_ns == changed
    finished = records("out")
    assert len(finished) == 2 and finished[0] == one
    assert finished[1]["checkpoint"] == two["checkpoint"]
    assert finished[1]["epoch"] == 6
