"""Plans: what a user writes, and the trainings it means."""

from pathlib import Path

import pytest

from recbole_diffusion.benchmark.plan import make_plan, run_id, space_of
from recbole_diffusion.cli.main import main
from recbole_diffusion.config.foreign import NAMED
from recbole_diffusion.config.values import ConfigError


def plan_of(**options):
    return make_plan({"models": "SASRec,Pop", "dataset": "shop"} | options)


def ids(plan):
    return [run_id(r, plan.dataset, plan.settings | r.entry.settings, 2) for r in plan.runs()]


def test_the_defaults_are_one_protocol_for_all():
    plan = plan_of()
    assert plan.settings["mask_history"] is False and plan.settings["candidates"] == "all"
    assert plan.seeds == [2020, 2021, 2022, 2023, 2024]
    assert [entry.label for entry in plan.entries] == ["SASRec", "Pop"]
    assert all(run.phase == "seed" for run in plan.runs())


def test_the_command_line_wins_over_the_file_and_both_over_the_defaults(tmp_path):
    file = tmp_path / "plan.yaml"
    file.write_text(
        "dataset: shop\nmodels: [SASRec]\nseeds: [7, 9]\ntune: 2\n"
        "settings: {hidden_size: 32, mask_history: True}\n"
    )
    plan = make_plan({"seeds": "3", "hidden_size": "16", "max_train_seconds": "60"}, file)
    assert plan.seeds == [2020, 2021, 2022] and plan.tune == 2
    assert plan.settings["hidden_size"] == 16 and plan.settings["mask_history"] is True
    assert plan.settings["max_train_seconds"] == 60
    assert make_plan({}, file).settings["hidden_size"] == 32


def test_files_of_settings_count_for_all_or_for_one_row(tmp_path):
    (tmp_path / "all.yaml").write_text("hidden_size: 8\nn_layers: 1\n")
    (tmp_path / "one.yaml").write_text("n_layers: 3\n")
    models = {"a": {"model": "SASRec", "config_files": [str(tmp_path / "one.yaml")]}, "Pop": None}
    plan = plan_of(models=models, config_files=str(tmp_path / "all.yaml"))
    assert plan.settings["hidden_size"] == 8 and plan.settings["n_layers"] == 1
    assert plan.entries[0].settings == {"n_layers": 3} and plan.entries[1].settings == {}


def test_default_or_published_settings_are_for_all_rows_or_for_one(tmp_path):
    file = tmp_path / "plan.yaml"
    file.write_text(
        "dataset: shop\nmodels:\n  a: {model: SASRec, settings: default}\n"
        "  b: {model: SASRec, settings: {settings: default, n_layers: 1}}\n  SASRec:\n"
    )
    plan = make_plan({"settings": "published"}, file)
    assert plan.settings["settings"] == "published"
    assert [entry.settings for entry in plan.entries] == [
        {"settings": "default"}, {"settings": "default", "n_layers": 1}, {},
    ]  # fmt: skip
    file.write_text("dataset: shop\nmodels: [SASRec]\nsettings: default\n")
    assert make_plan({}, file).settings["settings"] == "default"
    assert "settings" not in plan_of().settings
    file.write_text("dataset: shop\nmodels: [SASRec]\nsettings: [default]\n")
    with pytest.raises(ConfigError, match=r"settings is \['default'\], neither .* nor a word"):
        make_plan({}, file)


def test_trials_and_the_first_seed_of_a_row_come_together_then_the_other_seeds():
    plan = plan_of(models="SASRec,EASE", seeds=2, tune=2)
    order = [(run.entry.label, run.phase, run.number) for run in plan.runs()]
    row = [("trial", 0), ("trial", 1), ("seed", 0)]
    first = [(label, *what) for label in ("SASRec", "EASE") for what in row]
    assert order == [*first, ("SASRec", "seed", 1), ("EASE", "seed", 1)]


def test_where_there_is_nothing_to_choose_one_trial_is_enough():
    runs = plan_of(tune=3).runs()
    trials = [run.entry.label for run in runs if run.phase == "trial"]
    assert trials == ["SASRec"] * 3 + ["Pop"]
    assert not [run for run in plan_of().runs() if run.phase == "trial"]


def test_trials_have_a_seed_that_no_row_has():
    plan = plan_of(seeds=[11, 5], tune=1)
    assert {run.seed for run in plan.runs() if run.phase == "trial"} == {4}


def test_the_first_trial_has_the_defaults_and_the_others_differ_but_not_from_sitting_to_sitting():
    plan, again = plan_of(tune=3), plan_of(tune=3)
    sasrec, pop = plan.entries
    drawn = [plan.sampled(sasrec, number) for number in range(4)]
    assert drawn[0] == {} and len({str(one) for one in drawn}) == 4
    assert drawn == [again.sampled(again.entries[0], number) for number in range(4)]
    assert set(drawn[1]) == set(space_of(sasrec))
    assert plan.sampled(pop, 1) == {}  # nothing to tune
    two = plan_of(models={"a": {"model": "SASRec"}, "b": {"model": "SASRec"}})
    assert two.sampled(two.entries[0], 1) != two.sampled(two.entries[1], 1)


def test_a_run_is_named_by_all_that_its_result_depends_on():
    plain = ids(plan_of())
    assert len(set(plain)) == len(plain)
    assert ids(plan_of()) == plain
    assert ids(plan_of(jobs=2, threads=2)) == plain
    assert not set(ids(plan_of(hidden_size=16))) & set(plain)
    assert not set(ids(plan_of(max_train_seconds=5))) & set(plain)
    assert set(ids(plan_of(seeds=6))) > set(plain)  # more seeds keep what there is
    assert set(ids(plan_of(models="SASRec,Pop,EASE"))) > set(plain)
    run = plan_of().runs()[0]
    assert run_id(run, "shop", {}, 2) != run_id(run, "shop", {}, 3)
    assert run_id(run, "shop", {}, 2) != run_id(run, "jd", {}, 2)
    for change in ({"seed": 1}, {"number": 7}, {"phase": "trial"}):
        assert run_id(run._replace(**change), "shop", {}, 2) != run_id(run, "shop", {}, 2)


def test_ablations_follow_what_they_ablate_and_have_its_settings():
    models = {
        "mine": {"model": "DreamRec", "settings": {"hidden_size": 8}},
        "recbole:DiffRec": None,
    }
    plan = plan_of(models=models, ablate=True, tune=1)
    variants = [entry for entry in plan.entries if entry.ablates]
    assert plan.entries[0].label == "mine" and len(variants) >= 3
    assert plan.entries[-1].label == "recbole:DiffRec"  # RecBole's has none
    for entry in variants:
        assert entry.ablates == "mine" and entry.label == f"mine ({entry.change})"
        assert entry.settings["hidden_size"] == 8 and len(entry.settings) > 1
    assert {run.entry.label for run in plan.runs() if run.phase == "trial"} == {
        "mine",
        "recbole:DiffRec",
    }


MINE = {"model": "DreamRec", "settings": {"hidden_size": 8, "learning_rate": 0.1}}


def test_a_row_of_a_file_can_be_an_ablation_as_the_shipped_ones_are():
    shipped = plan_of(models={"mine": MINE}, ablate=True, tune=2)
    wanted = next(entry for entry in shipped.entries if entry.change == "no noise")
    own = {"ablates": "mine", "settings": wanted.own, "change": "no noise"}
    plan = plan_of(models={wanted.label: own, "Pop": None, "mine": MINE}, tune=2)
    labels = [entry.label for entry in plan.entries]
    assert labels == ["Pop", "mine", wanted.label]  # it follows what it ablates
    assert plan.entries[-1] == wanted
    assert {run.entry.label for run in plan.runs() if run.phase == "trial"} == {"Pop", "mine"}
    row = plan_of(models={wanted.label: MINE, "mine": MINE}, tune=2)  # the control
    assert {run.entry.label for run in row.runs() if run.phase == "trial"} == set(labels[1:])


def test_an_ablation_can_have_another_model_and_files_and_need_not_say_its_change(tmp_path):
    (tmp_path / "one.yaml").write_text("hidden_size: 4\n")
    own = {"ablates": "mine", "model": "SASRec", "config_files": [str(tmp_path / "one.yaml")]}
    entry = plan_of(models={"mine": MINE, "b": own}).entries[1]
    assert (entry.model, entry.change, entry.own) == ("SASRec", None, {"hidden_size": 4})
    assert entry.settings == {"hidden_size": 4, "learning_rate": 0.1}


def test_rows_of_a_file_that_ablate_are_not_ablated_themselves():
    models = {"mine": MINE, "b": {"ablates": "mine", "settings": {"hidden_size": 4}}}
    plan = plan_of(models=models, ablate=True)
    assert {entry.ablates for entry in plan.entries} == {None, "mine"}
    assert len(plan.entries) == len(plan_of(models={"mine": MINE}, ablate=True).entries) + 1


@pytest.mark.parametrize(
    "row, says",
    [
        ({"ablates": "mien"}, "model b ablates 'mien', which is not a row; did you mean 'mine'"),
        ({"ablates": "Xyz"}, "ablates 'Xyz', which is not a row; there are mine, Pop"),
        ({"ablates": "b"}, "model b ablates 'b', which is an ablation itself"),
        ({"ablates": "c"}, "model b ablates 'c', which is an ablation itself"),
        ({"ablates": "mine", "space": "space.yaml"}, "model b has a search space, but an ablation"),
        ({"ablates": "mine", "settings": {"seed": 3}}, "model b: seed is the same for all rows"),
        ({"ablates": "mine", "model": "SASRek"}, "did you mean SASRec"),
        ({"model": "Pop", "change": "no noise"}, "model b has a change, but not the row"),
    ],
)
def test_an_ablation_that_has_no_meaning_is_refused_in_a_line(row, says):
    models = {"mine": MINE, "Pop": None, "c": {"ablates": "mine"}}
    assert len(plan_of(models=models).entries) == 3  # the control
    with pytest.raises(ValueError, match=says):
        plan_of(models=models | {"b": row})


@pytest.mark.parametrize(
    "options, says",
    [
        ({"models": {1: {"model": "Pop"}, "1": {"model": "Pop"}}}, "two rows are called '1'"),
        ({"models": ""}, "no models given"),
        ({"models": None}, "no models given"),
        ({"dataset": None}, "no dataset given"),
        ({"models": "SASRec,SASRek"}, "did you mean SASRec"),
        ({"models": {"a": {"setings": {}}}}, "setings"),
        ({"models": {"a": 3}}, "model a has '3'"),
        ({"models": {"SASRec": {"settings": {"seed": 3}}}}, "seed is the same for all rows"),
        ({"models": {"SASRec": {"settings": {"max_train_seconds": 3}}}}, "the same for all rows"),
        ({"seeds": 0}, "seeds is 0"),
        ({"seeds": "[1,1]"}, "different ones"),
        ({"seeds": "many"}, "seeds is 'many'"),
        ({"tune": -1}, "tune is -1"),
        ({"ablate": "maybe"}, "ablate is 'maybe'"),
        ({"sampling_seeds": 0}, "sampling_seeds is 0"),
        ({"jobs": "all"}, "jobs is 'all'"),
        ({"max_train_seconds": "abc"}, "max_train_seconds is 'abc', not a number above 0"),
        ({"max_train_seconds": 0}, "max_train_seconds is 0"),
        ({"seed": 3}, "seed is set by the benchmark itself"),
        ({"external": "a.csv"}, "not a mapping"),
        ({"external": {"Pop": "a.csv"}}, "two rows are called 'Pop'"),
        ({"models": "FPMC", "tune": 2}, "FPMC.yaml"),
    ],
)
def test_what_has_no_meaning_is_refused_in_a_line(options, says):
    with pytest.raises(ValueError, match=says):
        plan_of(**options)


def test_a_misspelt_key_of_a_file_is_answered_with_the_nearest(tmp_path):
    (tmp_path / "plan.yaml").write_text("dataset: shop\nmodls: [SASRec]\n")
    with pytest.raises(ConfigError, match="no 'modls'; did you mean 'models'"):
        make_plan({}, tmp_path / "plan.yaml")
    (tmp_path / "plan.yaml").write_text("dataset: shop\nhidden_size: 3\n")
    with pytest.raises(ConfigError, match="settings of runs go to"):
        make_plan({}, tmp_path / "plan.yaml")


def test_a_search_space_can_be_the_users_own(tmp_path):
    (tmp_path / "space.yaml").write_text("hidden_size: {choice: [4, 8]}\n")
    models = {"FPMC": {"space": str(tmp_path / "space.yaml")}}
    plan = plan_of(models=models, tune=2)
    assert plan.sampled(plan.entries[0], 1)["hidden_size"] in (4, 8)


def test_a_budget_counts_wherever_it_is_written(tmp_path):
    (tmp_path / "budget.yaml").write_text("max_train_seconds: 7\n")
    (tmp_path / "plan.yaml").write_text("settings: {max_train_seconds: 8}\n")
    (tmp_path / "beside.yaml").write_text("max_train_seconds: 9\nsettings: {}\n")
    assert plan_of(config_files=str(tmp_path / "budget.yaml")).settings["max_train_seconds"] == 7
    for file, seconds in (("plan.yaml", 8), ("beside.yaml", 9)):
        options = {"models": "Pop", "dataset": "shop"}
        plan = make_plan(options, tmp_path / file)
        assert plan.settings["max_train_seconds"] == plan.record()["max_train_seconds"] == seconds
        over = make_plan(options | {"max_train_seconds": "5"}, tmp_path / file)
        assert over.settings["max_train_seconds"] == 5
    assert plan_of().settings["max_train_seconds"] is None


@pytest.mark.parametrize("key", ["train_rows", "topk", "max_train_seconds", "seed"])
def test_a_search_space_cannot_change_what_all_rows_share(tmp_path, key):
    (tmp_path / "space.yaml").write_text(f"{key}: {{choice: [4, 8]}}\n")
    models = {"FPMC": {"space": str(tmp_path / "space.yaml")}}
    with pytest.raises(ConfigError, match=f"model FPMC: {key} is the same for all rows"):
        plan_of(models=models, tune=2)
    assert plan_of(models=models).tune == 0  # the control: without trials it is not read


def test_a_file_names_what_all_rows_share_with_or_without_settings(tmp_path):
    file = tmp_path / "plan.yaml"
    head = "dataset: shop\nmodels: [Pop]\n"
    shared = "max_train_seconds: 60\nmask_history: True\n"
    file.write_text(head + shared)
    plan = make_plan({}, file)
    assert plan.settings["max_train_seconds"] == 60 and plan.settings["mask_history"] is True
    file.write_text(head + "settings:\n" + "".join(f"  {line}\n" for line in shared.splitlines()))
    assert make_plan({}, file) == plan
    assert make_plan({"mask_history": "False"}, file).settings["mask_history"] is False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--output="], "--output is empty"),
        (["--config="], "--config is empty"),
        (["--models=Pop,Pop"], "two rows are called 'Pop'"),
        (["--external=a=x.csv,a=y.csv"], "--external names two files a"),
        (["--dataset=../shop"], "dataset is '../shop', which is the name of no folder"),
        (["--split_seed=None"], "split_seed is None, not a whole number"),
        (["--report=maybe"], "--report is 'maybe'"),
        (["--ablate=1"], "ablate is 1, neither True nor False"),
        (["--report", "--output=nowhere", "--seeds=1"], "is not a journal of a benchmark"),
    ],
)
def test_mistakes_of_the_command_are_one_line_and_leave_nothing(
    arguments, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    usual = {"--models": "Pop", "--dataset": "shop"}
    given = {argument.partition("=")[0] for argument in arguments}
    arguments += [f"{key}={value}" for key, value in usual.items() if key not in given]
    assert main(["benchmark", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not list(tmp_path.iterdir())


def test_a_class_that_only_the_file_names_is_taken_where_the_command_names_it_too(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(NAMED, raising=False)
    Path("plan.yaml").write_text("models: {mine: {model: 'no_such_file:Model'}}\ndataset: shop\n")
    assert main(["benchmark", "--config=plan.yaml"]) == 2
    said = "name it on the command line, --classes=no_such_file:Model, or import it first"
    assert said in capsys.readouterr().err
    assert main(["benchmark", "--config=plan.yaml", "--classes=no_such_file:Model"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no_such_file" in line and "--classes" not in line  # it was looked for
