"""Whole small benchmarks: what is run, what is kept, what a kill or a failure leaves."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter

import pandas as pd
import pytest
from warm import WARM, WarmCommand, until

from recbole_diffusion.benchmark import process
from recbole_diffusion.benchmark.journal import read_journal
from recbole_diffusion.benchmark.plan import make_plan
from recbole_diffusion.benchmark.runner import Runner
from recbole_diffusion.quick_start.quick_start import run_recbole_diffusion

BROKEN = """
import os
from recbole_diffusion.model.sequential_recommender.dreamrec import DreamRec

class Broken(DreamRec):
    def calculate_loss(self, interaction):
        if os.path.exists("broken"):
            raise RuntimeError("the plate\\nfell")
        return super().calculate_loss(interaction)

class Killed(DreamRec):
    def calculate_loss(self, interaction):
        os.kill(os.getpid(), 9)
"""
SHOP = {
    "dataset": "shop",
    "seeds": 2,
    "epochs": 2,
    "train_batch_size": 64,
    "MAX_ITEM_LIST_LENGTH": 6,
    "BEHAVIOR_FIELD": "behavior",
    "target_behavior": "buy",
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
    "hidden_size": 8,
    "topk": [2, 5, 10],
}
CODE = "import sys; from recbole_diffusion.cli.main import main; sys.exit(main(sys.argv[1:]))"
COST = ("seconds", "ms_per_user", "mb", "peak")
DREAMREC = {"model": "DreamRec", "settings": {"diffusion_steps": 4}}


@pytest.fixture
def warm(monkeypatch):
    """Makes the processes of a benchmark begin with the libraries imported."""
    monkeypatch.setattr(process, "subprocess", WARM)


def start(output="out", **options):
    """Runs a benchmark to its end.

    Returns:
        tuple: the journal's records, and the lines that were said.
    """
    lines = []
    Runner(make_plan(SHOP | options), output, "command", say=lines.append).run()
    return read_journal(f"{output}/journal.jsonl"), lines


class Command:
    """A command in a process of its own; what it says goes to a file beside its output."""

    def __init__(self, arguments, output):
        self.file, self.output = output.with_suffix(".said"), output
        with open(self.file, "wb") as said:
            both = {"stdout": said, "stderr": subprocess.STDOUT}
            self.process = subprocess.Popen([sys.executable, "-uc", CODE, *arguments], **both)
        self.poll, self.kill, self.wait = self.process.poll, self.process.kill, self.process.wait

    def said(self):
        return self.file.read_text()

    def workers(self):
        """Processes that were started for its output and are still there."""
        listed = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True)
        mark = f"{self.output.name}/running/"
        return [line for line in listed.stdout.splitlines() if mark in line]


def files(folder):
    """Path to content of all files of a folder, and what else there is."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def last(records):
    """The records of runs by label, phase and number; the last of each counts."""
    runs = [record for record in records if record["kind"] == "run"]
    return {(run["label"], run["phase"], run["number"]): run for run in runs}


def kept(run):
    """What of a record must not depend on when and how fast it was made."""
    result = run["result"]
    keys = (
        "test",
        "samplings",
        "samples",
        "agreement",
        "beyond",
        "best_valid_result",
        "best_epoch",
    )
    curve = [[epoch, score] for epoch, _, score in result["curve"]]
    return [run["settings"], curve, *(result.get(key) for key in keys)]


@pytest.mark.slow
def test_a_run_of_a_benchmark_is_that_of_the_run_command(warm, shop):
    records, _ = start(models={"SASRec": None, "mine": DREAMREC}, seeds=[7])
    runs = last(records)
    for label, model in (("SASRec", "SASRec"), ("mine", "DreamRec")):
        settings = {key: value for key, value in SHOP.items() if key not in ("dataset", "seeds")}
        settings |= {"seed": 7, "mask_history": False, "valid_metric": "NDCG@10"}
        settings |= {"show_progress": False, "diffusion_steps": 4}
        alone = run_recbole_diffusion(model, "shop", config_dict=settings)
        result = runs[label, "seed", 0]["result"]
        assert result["best_valid_result"] == alone["best_valid_result"]
        assert result["samplings"][0] == alone["test_result"]
        assert result["parameters"] == alone["parameters"]
        table = pd.read_parquet(f"out/{result['users_file']}")
        assert table["ndcg@10"].mean() == pytest.approx(result["test"]["ndcg@10"], abs=1e-6)
        assert len(result["curve"]) == 2 and result["curve"][-1][1] > result["curve"][0][1] > 0
    drawn, fixed = runs["mine", "seed", 0]["result"], runs["SASRec", "seed", 0]["result"]
    assert drawn["samples"] and len(drawn["samplings"]) == 2 and drawn["agreement"] < 1
    means = [sum(one["hit@10"] for one in drawn["samplings"]) / 2, drawn["test"]["hit@10"]]
    assert means[0] == pytest.approx(means[1])
    assert not fixed["samples"] and len(fixed["samplings"]) == 1 and fixed["agreement"] == 1
    assert drawn["denoiser_calls"] == 0 and fixed["denoiser_calls"] is None
    assert drawn["steps"]["x"] == [1, 2] and fixed["steps"] is None
    best = list(shop.glob("out/checkpoints/mine-seed0-*/*.pth"))
    assert [file.name.endswith(".best.pth") for file in best] == [True]
    assert drawn["checkpoint"] == str(best[0].relative_to(shop))
    assert not list(shop.glob("out/running/*"))


@pytest.mark.slow
def test_the_best_trial_on_validation_is_what_is_seeded_and_trials_see_no_test(warm, shop):
    space = shop / "space.yaml"
    space.write_text("learning_rate: {choice: [1.0e-9, 0.1]}\nce_weight: {choice: [1.0]}\n")
    entry = DREAMREC | {"space": str(space)}
    records, _ = start(models={"mine": entry}, tune=4, seeds=1, jobs=2)
    runs = last(records)
    trials = [run for (_, phase, _), run in sorted(runs.items()) if phase == "trial"]
    assert len(trials) == 4 and "learning_rate" not in trials[0]["settings"]
    assert {trial["seed"] for trial in trials} == {2019}
    assert all("test" not in t["result"] and "users_file" not in t["result"] for t in trials)
    valid = [trial["result"]["best_valid_result"]["ndcg@10"] for trial in trials]
    assert len(set(valid)) > 1
    best = trials[valid.index(max(valid))]["settings"] | {"seed": 2020}
    assert runs["mine", "seed", 0]["settings"] == best
    assert not list(shop.glob("out/checkpoints/*trial*/*.pth"))


@pytest.mark.slow
def test_a_strangers_key_in_settings_of_all_rows_warns_the_others_also_in_their_processes(
    stranger, shop
):
    records, lines = start(models=["SASRec", stranger], seeds=1, epochs=1, score_factor=3.0)
    assert {run["status"] for run in last(records).values()} == {"done"}
    said = [line for line in lines if "score_factor" in line]
    assert said == ["'score_factor' is a key of Stranger; SASRec does not read it"]
    configs = {
        record["label"]: record["config"] for record in records if record["kind"] == "config"
    }
    assert configs[stranger]["score_factor"] == 3.0


@pytest.mark.slow
def test_what_fails_or_cannot_share_the_table_is_said_and_the_rest_goes_on(warm, shop, monkeypatch):
    (shop / "plates.py").write_text(BROKEN)
    (shop / "broken").touch()
    models = {
        "Pop": None,
        "broken": {"model": "plates:Broken", "settings": {"diffusion_steps": 4}},
        "killed": {"model": "plates:Killed", "settings": {"diffusion_steps": 4}},
        "other k": {"model": "Pop", "settings": {"topk": [3, 10]}},
        "misspelt": {"model": "Pop", "settings": {"train_batchsize": 3}},
        "ItemKNN": {"settings": {"k": 10}},
    }
    records, lines = start(models=models, seeds=1)
    runs = last(records)
    assert runs["Pop", "seed", 0]["status"] == runs["ItemKNN", "seed", 0]["status"] == "done"
    assert runs["broken", "seed", 0]["error"] == "RuntimeError: the plate fell"
    assert "killed by signal 9 (out of memory?); see" in runs["killed", "seed", 0]["error"]
    assert "plate" in next(shop.glob("out/running/broken-*.log")).read_text()
    (refused,) = (record["reasons"] for record in records if record["kind"] == "refused")
    assert refused["other k"] == "its topk is [3, 10], that of the table [2, 5, 10]"
    assert "did you mean 'train_batch_size'" in refused["misspelt"]
    assert any("failed: RuntimeError: the plate fell" in line for line in lines)

    again, _ = start(models=models, seeds=1)
    assert [again[-1]["kind"], *again[:-1]] == ["sitting", *records]  # nothing is run twice
    (shop / "broken").unlink()
    plan = make_plan(SHOP | {"models": models, "seeds": 1})
    Runner(plan, "out", "command", retry=True, say=lines.append).run()
    runs = last(read_journal("out/journal.jsonl"))
    assert runs["broken", "seed", 0]["status"] == "done"
    assert runs["killed", "seed", 0]["status"] == "failed"


@pytest.mark.slow
def test_where_all_trials_of_a_row_fail_its_seeds_fail_too(warm, shop):
    (shop / "plates.py").write_text(BROKEN)
    (shop / "broken").touch()
    (shop / "space.yaml").write_text("learning_rate: {choice: [0.1, 0.2]}\n")
    entry = {"model": "plates:Broken", "settings": {"diffusion_steps": 4}, "space": "space.yaml"}
    records, _ = start(models={"broken": entry}, seeds=1, tune=1)
    assert last(records)["broken", "seed", 0]["error"] == "all its trials failed"


@pytest.mark.slow
def test_a_folder_holds_one_table(warm, shop, write_inter):
    start(models="Pop", seeds=1)
    with pytest.raises(ValueError, match="no model can be added to the table in out: its mask_h"):
        start(models="Pop", seeds=1, mask_history=True)
    lines = (shop / "dataset/shop/shop.inter").read_text().splitlines()
    rows = [line.split("\t") for line in lines[1:]]
    write_inter(shop / "dataset", "other", rows)
    with pytest.raises(ValueError, match="a benchmark on shop, not on other"):
        start(models="Pop", seeds=1, dataset="other")
    write_inter(shop / "dataset", "shop", rows[:-10])  # without the last user
    with pytest.raises(ValueError, match="its held-out test rows"):
        start(models="Pop", seeds=2)


@pytest.mark.slow
def test_more_models_and_seeds_add_to_what_there_is_and_the_last_record_is_the_plans(warm, shop):
    records, _ = start(models={"Pop": {"settings": {"train_batch_size": 1}}}, seeds=1)
    first = last(records)["Pop", "seed", 0]
    records, _ = start(models={"Pop": {"settings": {"train_batch_size": 2}}, "ItemKNN": None})
    assert len(last(records)) == 4 and last(records)["Pop", "seed", 0]["id"] != first["id"]
    records, lines = start(models={"Pop": {"settings": {"train_batch_size": 1}}}, seeds=1)
    assert last(records)["Pop", "seed", 0] == first  # written again, not run again
    assert not any(line.startswith("[") for line in lines)


def test_lists_of_another_program_are_a_row(warm, shop):
    (shop / "lists.csv").write_text("user,item,rank\nu0,i1,1\nu1,i2,1\n")
    records, lines = start(models="Pop", seeds=1, external={"other": "lists.csv"})
    row = last(records)["other", "external", 0]
    assert row["status"] == "done" and 0 <= row["result"]["test"]["hit@2"] <= 2 / 39
    table = pd.read_parquet(f"out/{row['result']['users_file']}")
    assert len(table) == 39  # one of forty bought but once
    assert any("'users_without_list': 38" in line for line in lines)
    before = files(shop / "out")
    (shop / "lists.csv").write_text("user,item,rank\nu0,i1,1\nu0,i1,2\n")
    with pytest.raises(ValueError, match="lists.csv line 3: item 'i1' is in the list of 'u0' twic"):
        start(models="Pop", seeds=1, external={"other": "lists.csv"})
    with pytest.raises(ValueError, match="no file gone.csv"):
        start(models="Pop", seeds=1, external={"other": "gone.csv"})
    assert files(shop / "out") == before


@pytest.mark.slow
def test_a_refused_plan_leaves_everything_as_it_was(warm, shop):
    refused = [
        ({"models": "Popp"}, "Pop"),
        ({"train_batchsize": 3}, "did you mean 'train_batch_size'"),
        ({"dataset": "nowhere"}, "nowhere"),
        ({"topk": [99]}, "topk"),
        ({"eval_args": SHOP["eval_args"] | {"mode": "uni5"}}, "a benchmark ranks all items"),
        ({"output": "a file"}, "a file is not a folder"),
    ]
    (shop / "a file").touch()
    start("kept", models="Pop", seeds=1)
    with open(shop / "kept/journal.jsonl", "ab") as journal:
        journal.write(b'{"check": "0')  # of a kill
    before = files(shop)
    for options, why in refused:
        for output in ("new", "kept"):
            with pytest.raises(ValueError, match=why) as error:
                start(**({"output": output, "models": "Pop"} | options))
            assert "\n" not in str(error.value)
            assert files(shop) == before
    records, _ = start("kept", models="Pop", seeds=2)  # the control
    assert len(last(records)) == 2


AT_RANDOM = {"split": {"RS": [0.6, 0.2, 0.2]}, "order": "RO", "mode": "full", "group_by": "user"}


@pytest.mark.slow
def test_a_random_split_is_one_for_all_rows_and_seeds_and_other_data_are_refused(
    warm, shop, write_inter
):
    plan = {"models": {"Pop": None, "ItemKNN": {"settings": {"k": 5}}}, "eval_args": AT_RANDOM}
    records, _ = start(**plan, jobs=2)
    protocol = next(record["protocol"] for record in records if record["kind"] == "protocol")
    assert protocol["split_seed"] == 2020
    one, two = (
        {where: kept(run) for where, run in last(found).items()}
        for found in (records, start("other", **plan, jobs=1)[0])
    )
    assert len(one) == 4 and one == two
    knn = [run["result"]["test"] for where, run in last(records).items() if "ItemKNN" in where]
    assert knn[0] == knn[1]  # a model without chance, on one split
    assert len(last(start(**plan, seeds=3)[0])) == 6  # and is the same at the next sitting
    drawn, _ = start("drawn", **plan, split_seed=7, seeds=[2020])  # the control: another split
    assert last(drawn)["ItemKNN", "seed", 0]["result"]["test"] != knn[0]
    with pytest.raises(ValueError, match="no model can be added .* its held-out test rows"):
        start(**plan, split_seed=7)
    with pytest.raises(ValueError, match="split_seed is None"):
        start(**plan, split_seed=None)
    lines = (shop / "dataset/shop/shop.inter").read_text().splitlines()[1:-10]
    write_inter(shop / "dataset", "shop", [line.split("\t") for line in lines])
    with pytest.raises(ValueError, match="its held-out test rows"):
        start(**plan, seeds=3)


GATED = """
import os
import time
from recbole_diffusion.model.sequential_recommender.dreamrec import DreamRec

class Gated(DreamRec):
    def __init__(self, config, dataset, **given):
        super().__init__(config, dataset, **given)
        self.run, self.seed, self.batches = config["checkpoint_dir"], config["seed"], 0

    def calculate_loss(self, interaction):
        self.batches += 1
        with open("batches", "a") as file:
            print(os.path.basename(self.run), file=file)
        if os.path.exists(f"hold-{self.seed}-{self.batches}"):
            with open("held", "a") as file:
                print(os.path.basename(self.run), file=file)
            time.sleep(3600)
        return super().calculate_loss(interaction)
"""
# Where a benchmark is killed: at a word that it says, once another run is done, or in a training
# with this seed (2019 is that of trials) before a batch, in epochs.
IN_TRAININGS = [(2019, 1), (2020, 2)]
ANOTHER = "another run"
KNN = {"ItemKNN": {"settings": {"k": 5}}}
EVERYWHERE = ["reading", IN_TRAININGS[0], ANOTHER, IN_TRAININGS[1]]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command, kills, others",
    [
        pytest.param(WarmCommand, IN_TRAININGS, {}, id="twice"),
        pytest.param(Command, EVERYWHERE, KNN, id="everywhere", marks=pytest.mark.slow),
    ],
)
def test_a_benchmark_killed_again_and_again_gives_the_table_of_one_left_alone(
    shop, command, kills, others
):
    settings = {key: value for key, value in SHOP.items() if key != "dataset"}
    settings.pop("seeds")
    (shop / "gated.py").write_text(GATED)
    space = "ce_weight: {choice: [0.3, 1.0, 3.0]}\nlearning_rate: {loguniform: [1.0e-3, 0.1]}\n"
    (shop / "space.yaml").write_text(space)
    gated = {"model": "gated:Gated", "settings": {"diffusion_steps": 4}, "space": "space.yaml"}
    models = {"mine": gated} | others
    epochs, trials, seeds = 3, 2, len(models)
    plan = {"dataset": "shop", "models": models, "jobs": 2, "tune": trials, "seeds": seeds}
    plan["settings"] = settings | {"epochs": epochs, "train_batch_size": 32}
    (shop / "plan.json").write_text(json.dumps(plan))  # JSON is YAML
    batches, held = shop / "batches", shop / "held"

    def begin(output):
        arguments = ["--config=plan.json", f"--output={output}", "--classes=gated:Gated"]
        return command(["benchmark", *arguments], shop / output)

    alone = begin("alone")
    assert alone.wait() == 0, alone.said()
    every = Counter(batches.read_text().split())
    assert len(every) == trials + seeds and len(set(every.values())) == 1
    per_epoch = every.most_common(1)[0][1] // epochs
    assert per_epoch > 1
    batches.unlink()

    def done():
        path = shop / "killed/journal.jsonl"
        records = read_journal(path) if path.exists() else []
        return sum(record["kind"] == "run" for record in records)

    resumed = set()
    for where in kills:
        # While it waits for another run, no seed gets as far as it is to be killed in next.
        seed, epochs_before = where if isinstance(where, tuple) else (2020, 0)
        hold = shop / f"hold-{seed}-{epochs_before * per_epoch + 1}"
        hold.touch()
        process, before = begin("killed"), done()

        def there(process=process, where=where, before=before):
            assert process.poll() is None, process.said()  # or it ended before it was killed
            if where == ANOTHER:
                return done() > before
            return held.exists() if isinstance(where, tuple) else where in process.said()

        until(there)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        until(lambda process=process: not process.workers())  # what it had started ends with it
        hold.unlink()
        if held.exists() and isinstance(where, tuple) and epochs_before:
            resumed |= set(held.read_text().split())
        held.unlink(missing_ok=True)
    last_one = begin("killed")
    assert last_one.wait() == 0, last_one.said()
    tables = [last(read_journal(f"{output}/journal.jsonl")) for output in ("alone", "killed")]
    assert tables[0].keys() == tables[1].keys() and len(tables[0]) == (trials + seeds) * len(models)
    for key, run in tables[0].items():
        assert kept(run) == kept(tables[1][key]), key
    boards = [pd.read_csv(f"{output}/leaderboard.csv") for output in ("alone", "killed")]
    cost = [name for name in boards[0] if any(word in name for word in COST)]
    assert cost and len(cost) < len(boards[0].columns) / 2
    pd.testing.assert_frame_equal(*(board.drop(columns=cost) for board in boards))
    ids = [r["id"] for r in read_journal("killed/journal.jsonl") if r["kind"] == "run"]
    assert len(ids) == len(set(ids))  # what was done was not done again
    again = Counter(batches.read_text().split())
    assert len(resumed) > 1
    if kills == IN_TRAININGS:
        for run in resumed:  # that before which it was killed counts twice, and no other
            assert again[run] == every[run] + 1


@pytest.mark.slow
def test_threads_are_those_of_the_plan(shop, monkeypatch):
    (shop / "threads.py").write_text(
        "import torch\nfrom recbole.model.general_recommender import Pop\n"
        "class Pops(Pop):\n    def __init__(self, config, dataset):\n"
        "        raise RuntimeError(f'{torch.get_num_threads()} threads')\n"
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one CPU has one thread")
    records, _ = start(models={"Pop": {"model": "threads:Pops"}}, seeds=1, threads=2)
    assert "2 threads" in last(records)["Pop", "seed", 0]["error"]
