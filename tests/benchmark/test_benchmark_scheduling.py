"""What is run when, and which record counts: benchmarks whose trainings are made up."""

import io
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from recbole_diffusion.benchmark import process, runner
from recbole_diffusion.benchmark.journal import FORMAT, read_journal
from recbole_diffusion.benchmark.plan import make_plan
from recbole_diffusion.benchmark.report.board import read_board
from recbole_diffusion.benchmark.report.tables import tables

METRICS = ["hit@10", "ndcg@10"]
SEEN = {"seen_before": 0.5, "valid_seen_before": 0.25}
PROTOCOL = {
    "dataset": "made-up",
    "unit": "users",
    "held_out_hash": "ab",
    "valid_hash": "cd",
    "mask_history": False,
    "candidates": "all",
    "held_out_items": "any",
    "train_rows": "all",
    "train_behaviors": "all",
    "topk": [10],
    "metrics": ["hit", "ndcg"],
    "valid_metric": "ndcg@10",
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user"},
}
COUNTS = ("test_rows", "valid_rows", "users", "items", "n_train_rows", "rows_without_history")
PROTOCOL |= dict.fromkeys(COUNTS, 2) | SEEN


class Ended:
    """A process that ends when it has been looked at ``looks`` times."""

    def __init__(self):
        self.looks, self.returncode, self.stdin = 0, 0, io.BytesIO()
        self.ended = lambda: None

    def poll(self):
        self.looks -= 1
        if self.looks >= 0:
            return None
        self.ended()
        return self.returncode

    def wait(self):
        return self.returncode

    def kill(self):
        pass


class Trainings:
    """Stands for `subprocess` in the runner: trainings give what ``score`` says of a job.

    Args:
        score (callable): takes a job; a text is an error.
        looks (callable): takes a job; how often a training is looked at before it ends.
        seconds (callable): takes a job; what the clock says more when a training has ended.
        describe (callable): takes a label; what is found out about it.

    Attributes:
        jobs (list of tuple): names and jobs in the order they were started.
        most (int): trainings that ran at once.
        now (float): the clock.
    """

    PIPE = STDOUT = None

    def __init__(self, score, looks, seconds, describe):
        self.score, self.looks, self.seconds, self.describe = score, looks, seconds, describe
        self.jobs, self.running, self.most, self.now = [], [], 0, 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        pass

    def ended(self, process, seconds):
        self.running.remove(process)
        self.now += seconds

    def Popen(self, command, **options):
        files = [Path(file) for file in command[-2:]]
        job = json.loads(files[0].read_text())
        process = Ended()
        if job["kind"] == "describe":
            result = {label: self.describe(label) for label in job["entries"]}
        else:
            self.jobs.append((files[0].name.removesuffix(".job.json"), job))
            value, process.looks = self.score(job), self.looks(job)
            process.ended = lambda: self.ended(process, self.seconds(job))
            self.running.append(process)
            self.most = max(self.most, len(self.running))
            metrics = dict.fromkeys(METRICS, value)
            result = {"best_valid_result": metrics, "test": metrics, "samplings": [metrics]}
            result |= {"counts": {}, "epochs": 1, "best_epoch": 1, "stopped_by": "epochs"}
            result["config"] = job["settings"] | {"model": job["model"], "prepare_hint": "Get it."}
            if isinstance(value, str):
                result = {"error": value}
            elif job["kind"] != "trial":
                frame = pd.DataFrame({"user": ["a", "b"], "row": 0} | dict.fromkeys(METRICS, value))
                Path(job["users_file"]).parent.mkdir(exist_ok=True)
                frame.to_parquet(job["users_file"])
        files[1].write_text(json.dumps(result))
        return process


@pytest.fixture
def benchmark(tmp_path, monkeypatch):
    """Gives a function that runs a made-up benchmark and gives its runner."""
    (tmp_path / "space.yaml").write_text("hidden_size: {choice: [8, 16]}\n")

    def benchmark(
        score=lambda job: 0.5,
        looks=lambda job: 0,
        seconds=lambda job: 0,
        retry=False,
        protocols=None,
        describe=None,
        quiet=False,
        **options,
    ):
        def protocol(label):
            return {"protocol": PROTOCOL | (protocols or {}).get(label, {})}

        options = {"models": "SASRec", "dataset": "made-up", "seeds": 1} | options
        trainings = Trainings(score, looks, seconds, describe or protocol)
        monkeypatch.setattr(process, "subprocess", trainings)
        monkeypatch.setattr(runner, "time", trainings)
        said = []
        say = None if quiet else said.append
        made = runner.Runner(make_plan(options), tmp_path / "out", "", retry, say)
        made.run()
        return SimpleNamespace(
            jobs=trainings.jobs, most=trainings.most, said=said, state=made.state
        )

    benchmark.folder = tmp_path / "out"
    benchmark.tuned = {"mine": {"model": "SASRec", "space": str(tmp_path / "space.yaml")}}
    return benchmark


def last(folder):
    """The records of runs by label, phase and number; the last of each counts."""
    runs = [record for record in read_journal(folder / "journal.jsonl") if record["kind"] == "run"]
    return {(run["label"], run["phase"], run["number"]): run for run in runs}


def phases(ran):
    return [job["kind"] for _, job in ran.jobs]


def test_a_seed_waits_for_the_trials_that_are_run_again(benchmark):
    benchmark(lambda job: "broken", models=benchmark.tuned, tune=2)
    assert last(benchmark.folder)["mine", "seed", 0]["error"] == "all its trials failed"
    again = benchmark(models=benchmark.tuned, tune=2, retry=True, jobs=3, looks=lambda job: 3)
    assert phases(again) == ["trial", "trial", "seed"]
    assert last(benchmark.folder)["mine", "seed", 0]["status"] == "done"


def test_what_several_rows_say_is_said_once_and_the_protocol_in_words(benchmark):
    def describe(label):
        warnings = ["topk is cut", f"only {label} says this"]
        return {"protocol": PROTOCOL, "warnings": warnings}

    said = benchmark(models="SASRec,GRU4Rec", describe=describe).said
    assert said[1:4] == ["topk is cut", "only SASRec says this", "only GRU4Rec says this"]
    words = "leave-one-out in time order, 2 test interactions, history not masked, all items ranked"
    assert said[4].startswith(f"one protocol for all rows: {words}; seen before: 50.0% of the test")


def test_quiet_says_what_failed_and_nothing_else(benchmark, capsys):
    def some(job):
        return "broken" if job["model"] == "SASRec" else 0.5

    lists = benchmark.folder.parent / "lists.csv"
    lists.write_text("user,item,rank\n")
    options = {"models": "SASRec,GRU4Rec", "external": {"other": str(lists)}}
    benchmark(lambda job: "cut" if job["kind"] == "external" else some(job), quiet=True, **options)
    out, failures = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(
        r"other: cut\n\[\d/2\] SASRec .* seed 2020: failed: broken, 0 s; .*\n", failures
    )
    benchmark(lambda job: 0.5, quiet=True, retry=True, **options)
    assert capsys.readouterr() == ("", "")  # the control


def test_a_trial_that_wins_when_run_again_replaces_the_seeds(benchmark):
    def second_fails(job):
        return "broken" if job["kind"] == "trial" and "hidden_size" in job["settings"] else 0.1

    benchmark(second_fails, models=benchmark.tuned, tune=2)
    better = benchmark(
        lambda job: 0.9 if "hidden_size" in job["settings"] else 0.1,
        models=benchmark.tuned,
        tune=2,
        retry=True,
    )
    assert phases(better) == ["trial", "seed"]
    assert "hidden_size" in last(benchmark.folder)["mine", "seed", 0]["settings"]


def test_more_trials_that_win_nothing_leave_the_seeds_as_they_are(benchmark):
    benchmark(models=benchmark.tuned, tune=1, seeds=2)
    before = last(benchmark.folder)
    more = benchmark(lambda job: 0.1, models=benchmark.tuned, tune=3, seeds=2)
    assert phases(more) == ["trial", "trial"]
    assert {key: run["id"] for key, run in last(benchmark.folder).items() if "seed" in key} == {
        key: run["id"] for key, run in before.items() if "seed" in key
    }


def test_a_tie_goes_to_the_earlier_trial(benchmark):
    ran = benchmark(models=benchmark.tuned, tune=3)
    assert "hidden_size" not in ran.jobs[-1][1]["settings"]


def test_an_ablation_takes_the_best_trial_but_for_what_it_changes(benchmark):
    (benchmark.folder.parent / "space.yaml").write_text(
        "sampling_steps: {choice: [7]}\nlearning_rate: {choice: [0.5]}\n"
    )
    models = {"mine": benchmark.tuned["mine"] | {"model": "DreamRec"}}
    ran = benchmark(
        lambda job: 0.9 if "learning_rate" in job["settings"] else 0.1,
        models=models,
        tune=2,
        ablate=True,
    )
    records = last(benchmark.folder)
    assert records["mine", "seed", 0]["settings"]["sampling_steps"] == 7
    one_step = records["mine (one reverse step)", "seed", 0]["settings"]
    assert (one_step["sampling_steps"], one_step["learning_rate"]) == (1, 0.5)
    assert phases(ran).count("trial") == 2


@pytest.mark.slow
def test_results_of_another_plan_are_not_shown_until_there_are_new_ones(benchmark):
    benchmark(seeds=2, models={"a": {"model": "SASRec"}, "Pop": None})
    changed = {"a": {"model": "SASRec", "settings": {"n_layers": 1}}, "Pop": None}

    def stopped(job):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        benchmark(stopped, seeds=2, models=changed)
    board = read_board(benchmark.folder)
    assert [row.label for row in board.rows] == ["Pop"] and board.pending == ["a"]
    ran = benchmark(lambda job: 0.7, seeds=2, models=changed)
    assert len(ran.jobs) == 2
    assert read_board(benchmark.folder).row("a").test["hit@10"].mean == pytest.approx(0.7)
    benchmark(stopped, seeds=2, models={"a": {"model": "SASRec"}, "Pop": None})  # as it was
    assert read_board(benchmark.folder).row("a").test["hit@10"].mean == pytest.approx(0.5)


def test_a_seed_that_changed_its_place_in_the_plan_counts_once(benchmark):
    benchmark(seeds=[7, 9])
    benchmark(seeds=[9])
    assert read_board(benchmark.folder).row("SASRec").seeds == [9]
    benchmark(seeds=[9, 7])
    assert read_board(benchmark.folder).row("SASRec").seeds == [7, 9]


def test_a_row_that_can_share_the_table_no_more_is_not_shown(benchmark):
    models = {"Pop": None, "SASRec": None}
    benchmark(models=models)
    benchmark(models=models, protocols={"SASRec": {"topk": [7]}})
    board = read_board(benchmark.folder)
    assert [row.label for row in board.rows] == ["Pop"] and list(board.refused) == ["SASRec"]


def test_a_row_that_cannot_share_the_table_is_not_run_and_its_ablations_are_not(benchmark):
    refused = {"DreamRec": {"topk": [7]}}
    ran = benchmark(models="Pop,DreamRec", protocols=refused, ablate=True)
    assert [job["model"] for _, job in ran.jobs] == ["Pop"]
    assert ran.state.refused["DreamRec (no noise)"] == "DreamRec is not in the table"
    assert ran.state.refused["DreamRec"] == "its topk is [7], that of the table [10]"


def test_no_two_runs_share_a_checkpoint_or_a_file_of_values(benchmark):
    jobs = [job for _, job in benchmark(models=benchmark.tuned, tune=2, seeds=2).jobs]
    assert len({job["settings"]["checkpoint_dir"] for job in jobs}) == 4
    assert len({job["users_file"] for job in jobs}) == 4
    assert [job["steps"] for job in jobs if job["kind"] == "seed"] == [True, False]


@pytest.mark.parametrize("label", ["error", "describe", "a/b", "模型", "-rf", "../up"])
def test_a_row_can_have_any_name(benchmark, label):
    benchmark(models={label: {"model": "Pop"}})
    assert last(benchmark.folder)[label, "seed", 0]["status"] == "done"
    assert [row.label for row in read_board(benchmark.folder).rows] == [label]
    assert [path.parent.name for path in benchmark.folder.parent.glob("**/*.parquet")] == ["users"]


@pytest.mark.slow
def test_lists_of_another_program_count_once_whatever_stands_beside_them(benchmark):
    files = [benchmark.folder.parent / name for name in ("a.csv", "b.csv")]
    for file in files:
        file.write_text(file.name)
    a, b = map(str, files)

    def score(job):
        return {a: 0.2, b: 0.6}.get(job.get("path"), 0.5)

    def shown():
        rows = read_board(benchmark.folder).rows
        return {row.label: row.test["hit@10"].mean for row in rows if row.external}

    benchmark(score, external={"x": a})
    benchmark(score, external={"new": a, "x": b})
    assert shown() == pytest.approx({"new": 0.2, "x": 0.6})
    benchmark(score, external={"x": b, "same": b})
    assert shown() == pytest.approx({"x": 0.6, "same": 0.6})
    benchmark(score, external={"x": a})
    assert shown() == pytest.approx({"x": 0.2})
    assert not benchmark(score, external={"x": a}).jobs


def test_a_misspelt_data_set_does_not_take_the_folder(benchmark):
    def nowhere(label):
        return {"error": "no such data"}

    with pytest.raises(ValueError, match="no such data"):
        benchmark(models="Pop", dataset="mad-up", describe=nowhere)
    benchmark(models="Pop")
    with pytest.raises(ValueError, match="holds a benchmark on made-up, not on mad-up"):
        benchmark(models="Pop", dataset="mad-up")


def test_what_failed_is_run_again_only_when_asked(benchmark):
    benchmark(lambda job: "broken")
    assert benchmark().jobs == [] and len(benchmark(retry=True).jobs) == 1
    assert benchmark(retry=True).jobs == []  # done is done


def test_not_more_runs_at_a_time_than_jobs(benchmark):
    ran = benchmark(models="SASRec,Pop", seeds=3, jobs=2, looks=lambda job: 2)
    assert ran.most == 2 and len(ran.jobs) == 6


def test_what_is_stopped_leaves_no_process(benchmark, monkeypatch):
    killed = []
    monkeypatch.setattr(Ended, "kill", lambda self: killed.append((self, self.stdin.closed)))

    def interrupted(job):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # when the first has ended
        benchmark(models="SASRec,Pop", jobs=2, seconds=interrupted)
    assert [closed for _, closed in killed] == [True, True]
    assert len(benchmark(models="SASRec,Pop").jobs) == 2


def test_the_time_left_is_that_of_the_rows_own_runs_shared_by_the_jobs(benchmark):
    def left(seconds, **options):
        shutil.rmtree(benchmark.folder, ignore_errors=True)
        ran = benchmark(
            models="SASRec,Pop", seeds=2, seconds=lambda job: seconds[job["model"]], **options
        )
        lines = [line for line in ran.said if line.startswith("[")]
        return [line.partition("about ")[2] for line in lines]

    unlike = {"SASRec": 6, "Pop": 20}
    # Pop as usual, which is what SASRec took; then each row as its own
    assert left(unlike, jobs=1) == ["18 s left", "26 s left", "20 s left", "0 s left"]
    usual = left(unlike, jobs=1, max_train_seconds=30)
    assert usual[:2] == ["66 s left", "26 s left"]
    # both end after 4 + 4 seconds, and two runs of 8 are left, or one of 8 at the end
    assert left({"SASRec": 4, "Pop": 4}, jobs=2)[:2] == ["8 s left", "8 s left"]


def test_trials_of_a_plan_that_searched_more_are_not_shown_and_come_back_with_it(benchmark):
    wide = benchmark.tuned
    empty = benchmark.folder.parent / "nothing.yaml"
    empty.write_text("# nothing\n")
    narrow = {"mine": wide["mine"] | {"space": str(empty)}}
    benchmark(lambda job: 0.9 if "hidden_size" in job["settings"] else 0.1, models=wide, tune=3)
    assert len(read_board(benchmark.folder).trials) == 3
    benchmark(models=narrow, tune=3)
    assert [trial["number"] for trial in read_board(benchmark.folder).trials] == [0]
    again = benchmark(models=wide, tune=3)
    assert len(read_board(benchmark.folder).trials) == 3 and not again.jobs


def rewrite(file, old, new):
    """Makes a journal one of format 2, which has no checks, with something else in it."""
    lines = re.sub('"check": "[0-9a-f]{16}", ', "", file.read_text())
    assert old in lines
    file.write_text(lines.replace(f'"format": {FORMAT}', '"format": 2').replace(old, new))


def test_a_trial_without_the_metric_is_an_error_and_no_failed_trial(benchmark):
    benchmark(models=benchmark.tuned, tune=2)
    file = benchmark.folder / "journal.jsonl"
    rewrite(file, '"best_valid_result"', '"other"')
    with pytest.raises(ValueError, match="line [0-9]+ .* result.best_valid_result is missing"):
        benchmark(models=benchmark.tuned, tune=2)


def test_a_table_that_an_older_version_began_learns_what_that_did_not_measure(benchmark):
    benchmark(models="Pop")
    file = benchmark.folder / "journal.jsonl"
    rewrite(file, ', "valid_seen_before": 0.25', "")
    assert "valid_seen_before" not in read_board(benchmark.folder).protocol
    again = benchmark(models="Pop", protocols={"Pop": {"test_targets": 7, "seen_before": 0.9}})
    assert not again.jobs  # what is done stays done
    protocol = read_board(benchmark.folder).protocol
    assert protocol == PROTOCOL | {"test_targets": 7}  # and what was measured stays as it was
    before = file.read_text().count('"kind": "protocol"')
    benchmark(models="Pop")
    assert file.read_text().count('"kind": "protocol"') == before == 2


def test_each_start_writes_a_sitting_and_the_first_record_has_the_format(benchmark):
    for starts in (1, 2):
        benchmark(models="Pop")
        records = read_journal(benchmark.folder / "journal.jsonl")
        sittings = [record for record in records if record["kind"] == "sitting"]
        assert len(sittings) == starts and records[0] == sittings[0]
    assert {sitting["format"] for sitting in sittings} == {FORMAT}
    assert read_board(benchmark.folder).sittings == sittings


def test_a_start_on_other_data_leaves_the_journal_as_it_is(benchmark):
    benchmark(models="Pop")
    before = (benchmark.folder / "journal.jsonl").read_bytes()
    with pytest.raises(ValueError, match="give another --output"):
        benchmark(models="Pop", dataset="other")
    assert (benchmark.folder / "journal.jsonl").read_bytes() == before


def configs(folder):
    return [r for r in read_journal(folder / "journal.jsonl") if r["kind"] == "config"]


def test_a_configuration_is_written_once_a_row_and_the_row_has_it(benchmark):
    models = benchmark.tuned | {"Pop": None}
    benchmark(models=models, tune=2, seeds=3, jobs=2)
    found = configs(benchmark.folder)
    assert sorted(record["label"] for record in found) == ["Pop", "mine"]
    assert len(last(benchmark.folder)) == 9  # the control: three trials and six seeds
    assert not any("config" in run["result"] for run in last(benchmark.folder).values())
    board = read_board(benchmark.folder)
    for record in found:
        config = board.row(record["label"]).config
        assert config == record["config"] and config["prepare_hint"] == "Get it."
        assert not {"seed", "checkpoint_dir"} & set(config)
    assert {row.config["model"] for row in board.rows} == {"SASRec", "Pop"}


def test_a_row_whose_settings_change_and_change_back_has_the_configuration_of_its_runs(benchmark):
    def layers(n):
        models = {"mine": {"model": "SASRec", "settings": {"n_layers": n}}}
        ran = benchmark(models=models, seeds=2)
        return len(ran.jobs), read_board(benchmark.folder).row("mine").config["n_layers"]

    assert [layers(1), layers(3), layers(1)] == [(2, 1), (2, 3), (0, 1)]
    assert len(configs(benchmark.folder)) == 2


@pytest.mark.slow
def test_a_journal_with_a_configuration_in_every_record_is_read_and_goes_on(benchmark):
    benchmark(models="Pop,SASRec")
    file = benchmark.folder / "journal.jsonl"
    records = read_journal(file)
    whole = {record["id"]: record["config"] for record in records if record["kind"] == "config"}
    old = [record for record in records if record["kind"] not in ("config", "sitting")]
    for record in old:
        if record["kind"] == "run":
            record["result"]["config"] = whole[record.pop("config")] | {"seed": 2020}
    file.write_text("".join(json.dumps(record) + "\n" for record in old))
    for row in read_board(benchmark.folder).rows:
        assert row.config["seed"] == 2020 and row.config["model"] == row.model
    assert len(benchmark(models="Pop,SASRec,EASE").jobs) == 1  # what is done stays done
    assert [record["label"] for record in configs(benchmark.folder)] == ["EASE"]
    assert all(row.config["model"] == row.model for row in read_board(benchmark.folder).rows)


def test_an_ablation_of_a_file_takes_the_best_trial_of_its_base_under_its_own_settings(benchmark):
    (benchmark.folder.parent / "space.yaml").write_text(
        "hidden_size: {choice: [16]}\nlearning_rate: {choice: [0.5]}\nn_layers: {choice: [3]}\n"
    )
    # Its base sets hidden_size too, and a trial chooses another; n_layers is its own alone.
    base = benchmark.tuned["mine"] | {"settings": {"hidden_size": 8}}
    own = {"ablates": "mine", "settings": {"n_layers": 1}, "change": "one layer"}
    best = {"mine": base, "shallow": own, "alike": {"ablates": "mine"}}
    ran = benchmark(
        lambda job: 0.9 if "learning_rate" in job["settings"] else 0.1, models=best, tune=2, seeds=2
    )

    def settings(label):
        found = last(benchmark.folder)[label, "seed", 0]["settings"]
        return [found[key] for key in ("hidden_size", "learning_rate", "n_layers")]

    assert settings("mine") == settings("alike") == [16, 0.5, 3]
    assert settings("shallow") == [16, 0.5, 1]
    trials = [name for name, job in ran.jobs if job["kind"] == "trial"]
    assert len(trials) == 2 and all(name.startswith("mine-") for name in trials)


def test_what_an_ablation_sets_stays_where_its_base_sets_the_same_and_a_trial_another(benchmark):
    (benchmark.folder.parent / "space.yaml").write_text("hidden_size: {choice: [16]}\n")
    base = benchmark.tuned["mine"] | {"settings": {"hidden_size": 8}}
    models = {"mine": base, "small": {"ablates": "mine", "settings": {"hidden_size": 8}}}
    benchmark(lambda job: job["settings"]["hidden_size"] / 100, models=models, tune=2)
    found = last(benchmark.folder)
    assert found["mine", "seed", 0]["settings"]["hidden_size"] == 16
    assert found["small", "seed", 0]["settings"]["hidden_size"] == 8


@pytest.mark.slow
def test_an_ablation_of_a_file_is_tested_against_its_base_in_the_table_of_ablations(benchmark):
    values = {1: 0.2, 2: 0.5, 3: 0.4}
    models = {
        "mine": {"model": "SASRec", "settings": {"n_layers": 2}},
        "shallow": {"ablates": "mine", "settings": {"n_layers": 1}, "change": "one layer"},
        "deep": {"model": "SASRec", "settings": {"n_layers": 3}},  # the control: no ablation
    }
    benchmark(lambda job: values[job["settings"]["n_layers"]], models=models)
    board = read_board(benchmark.folder)
    assert [row.label for row in board.models] == ["mine", "deep"]
    assert {one.first: one.second for one in board.ablations["ndcg@10"].values()} == {
        "shallow": "mine"
    }
    assert board.ablations["ndcg@10"]["shallow"].difference == pytest.approx(-0.3)
    (table,) = (table for table in tables(board) if table.name == "ablations")
    assert [row[0].text for row in table.rows] == ["mine", "shallow"]
    assert "mine with one layer" in table.note
