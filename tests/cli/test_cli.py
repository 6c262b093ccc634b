"""The command line: what it understands, and how it says no."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import recbole_diffusion
from recbole_diffusion.benchmark import runner
from recbole_diffusion.benchmark.report import text as printers
from recbole_diffusion.benchmark.report import write as pages
from recbole_diffusion.cli.main import COMMANDS, main
from recbole_diffusion.cli.parsing import parse_settings
from recbole_diffusion.cli.run import table
from recbole_diffusion.quick_start import quick_start
from recbole_diffusion.tune import search as tuning

REPOSITORY = Path(recbole_diffusion.__file__).parents[1]
RESULT = {
    "model": "ICDDT", "dataset": "shop", "seed": 1, "best_epoch": 3, "epochs": 9,
    "protocol": "leave-one-out", "stopped_by": "early stopping", "train_seconds": 1.2,
    "valid_seconds": 3.4,
    "eval_seconds": 0.5, "parameters": 12345, "checkpoint": "saved/x.best.pth",
    "test_result": {"hit@5": 0.1, "hit@10": 0.2, "ndcg@5": 0.05, "ndcg@10": 0.075},
    "test_result_all_users": None,
    "never_trained_items": {
        "items": 7, "slots@10": 0.5, "hits@5": 0.1, "hits@10": 0.25,
        "barred": {"hit@5": 0.09, "hit@10": 0.15, "ndcg@5": 0.04, "ndcg@10": 0.06},
    },
}  # fmt: skip


@pytest.fixture
def called(monkeypatch):
    """Replaces the run by one that only notes what it is given."""
    calls = []

    def run(*arguments):
        calls.append(arguments)
        return RESULT

    monkeypatch.setattr(quick_start, "run_recbole_diffusion", run)
    return calls


def refused(capsys, *arguments):
    """Runs a command that must fail, and gives its one line."""
    assert main(list(arguments)) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.startswith("recbole-diffusion: ") and error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    "arguments, settings",
    [
        (["--epochs=3", "--seed", "4"], {"epochs": "3", "seed": "4"}),
        (["--resume"], {"resume": True}),
        (["--resume", "--seed", "4"], {"resume": True, "seed": "4"}),
        (["--note=a=b"], {"note": "a=b"}),
        (["--rate", "-1e-3"], {"rate": "-1e-3"}),
        (["--config_files", "a.yaml", "b.yaml"], {"config_files": "a.yaml b.yaml"}),
        (["--eval_args={split: {LS: test_only}}"], {"eval_args": "{split: {LS: test_only}}"}),
        (["--empty="], {"empty": ""}),
        ([], {}),
    ],
)
def test_settings_are_pairs_with_or_without_an_equals_sign(arguments, settings):
    assert parse_settings(arguments) == settings


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["epochs=3"], "'epochs=3' is not a setting: write --key=value"),
        (["-e", "3"], "'-e' is not a setting"),
        (["--"], "'--' is not a setting"),
        (["--=3"], "'--=3' is not a setting"),
        (["--a=1", "--a=1"], "--a is given twice"),
        (["--a", "1", "--b", "2", "--a=3"], "--a is given twice"),
    ],
)
def test_what_is_no_setting_is_refused(arguments, message, capsys):
    assert message in refused(capsys, "run", *arguments)


@pytest.mark.parametrize(
    "arguments, shown",
    [
        (["run", "--a\0b=1"], r"a\x00b"),
        (["run", "--seed=\x1b[31m"], r"\x1b[31m"),
        (["ru\x1b[2Jn"], r"no command 'ru\x1b[2Jn'"),
        (["run", "--dataset=é日本👍", "--data_path=nowhere"], "é日本👍"),  # the control
    ],
)
def test_a_refusal_moves_no_cursor(arguments, shown, capsys):
    error = refused(capsys, *arguments)
    assert shown in error and error.removesuffix("\n").isprintable()


@pytest.mark.parametrize(
    "setting, message",
    [
        ("--resume=nowhere.last.pth", "there is no checkpoint nowhere.last.pth"),
        (f"--resume={'é' * 200}", "there is no checkpoint éé"),
        ("--checkpoint_dir=a.yaml/kept", "checkpoint_dir 'a.yaml/kept': a.yaml is a file"),
        ("--result_file=saved", "result_file 'saved' is a folder of checkpoint_dir 'saved'"),
    ],
)
def test_files_that_are_not_there_or_in_the_way_are_found_first(shop, setting, message, capsys):
    Path("a.yaml").write_text("{}")
    before = {path for path in shop.rglob("*") if "log" not in path.parts[-2:]}
    assert message in refused(capsys, "run", "--model=Pop", "--dataset=shop", setting)
    assert not (shop / "saved").exists()
    assert Path("a.yaml").is_file() and before <= set(shop.rglob("*"))


def test_without_arguments_icddt_runs_on_ml_100k(called, capsys):
    assert main(["run"]) == 0
    assert called == [("ICDDT", "ml-100k", [], {})]


def test_settings_files_model_and_data_set_reach_the_run(called):
    main(["run", "--model", "sasrec", "--dataset=7", "--config_files=a.yaml b.yaml", "--seed=3"])
    assert called == [("sasrec", "7", ["a.yaml", "b.yaml"], {"seed": "3"})]
    main(["run", "--config_files=a.yaml"])
    assert called[1] == (None, None, ["a.yaml"], {})  # both may stand in the file


def test_the_command_line_wins_over_files(run, shop, small, monkeypatch):
    import json

    Path("a.yaml").write_text(json.dumps(small("MultiVAE", seed=3, epochs=1)))
    arguments = ["run", "--model=MultVAE", "--dataset=shop", "--config_files=a.yaml"]
    arguments += ["--epochs", "2", "--learning_rate=1e-2", "--result_file=r.json"]
    assert main(arguments) == 0
    result = json.loads(Path("r.json").read_text())
    assert (result["epochs"], result["seed"], result["config"]["learning_rate"]) == (2, 3, 0.01)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--learning_rat=1"], "did you mean 'learning_rate'"),
        (["--model=ICDTT"], "no model is called 'ICDTT'; did you mean ICDDT"),
        (["--model"], "model is True, it must be a name"),
        (["--model=os:getcwd"], "is not a class of a recommender"),
        (["--dataset=nowhere"], "data set 'nowhere' has no nowhere.inter"),
        (["--config_files=nowhere.yaml"], "cannot read the config file nowhere.yaml"),
        (["--metrics=[HR]"], "no metric named 'HR'"),
        (["--topk=ten"], "topk"),
        (["--epochs="], "epochs is None"),
        (
            ["--truncation=2"],
            "truncation is 2, it must be a number above 0 up to 1",
        ),
        (["--adam_betas=[1,2]"], "adam_betas"),
        (["--resume=nowhere.last.pth"], "there is no checkpoint nowhere.last.pth"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, message, capsys, shop):
    assert message in refused(capsys, "run", *arguments)


def test_a_broken_installation_points_to_the_doctor(capsys, monkeypatch):
    def broken(arguments):
        raise ImportError("numpy.core.multiarray\nfailed to import")

    monkeypatch.setitem(COMMANDS, "run", broken)
    error = refused(capsys, "run")
    assert "numpy.core.multiarray failed to import; `recbole-diffusion doctor`" in error


def test_an_interrupt_says_how_to_go_on(capsys, monkeypatch):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, "run", interrupted)
    assert main(["run"]) == 130
    assert "with --resume goes on" in capsys.readouterr().err


def test_while_debugging_the_traceback_stays():
    with pytest.raises(ValueError, match="ICDTT"):
        main(["run", "--model=ICDTT", "--state=DEBUG"])


def test_an_unknown_command_is_answered_with_the_known_ones(capsys):
    assert "no command 'recomend'; did you mean 'recommend'? there are run" in refused(
        capsys, "recomend"
    )
    assert "no command 'describe'; did you mean 'data describe'?" in refused(
        capsys, "describe", "shop"
    )
    assert "no command 'train'; there are run, benchmark, tune, recommend" in refused(
        capsys, "train"
    )


@pytest.mark.parametrize(
    "command, said",
    [
        ("recommend --checkpont=x", "no option --checkpont; did you mean --checkpoint?"),
        ("export --fromat onnx", "no option --fromat; did you mean --format?"),
        ("serve --prot=1", "no option --prot; did you mean --port?"),
        ("recommend --quiddity", "required: --checkpoint, --output"),  # the control: none is near
    ],
)
def test_a_misspelt_option_is_named_with_the_nearest(command, said, capsys):
    assert said in refused(capsys, *command.split())


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command(arguments, capsys):
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {command} " in out for command in COMMANDS)


def test_the_help_of_run_and_the_version_need_no_recbole(capsys):
    assert main(["run", "--help"]) == 0
    assert "--resume" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == recbole_diffusion.__version__


def test_the_table_shows_every_metric_and_what_it_cost(called, capsys):
    main(["run"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "ICDDT on shop, seed 1: test"
    assert lines.pop(2) == RESULT["protocol"]
    assert lines[2].split() == ["@5", "@10"]
    assert lines[3].split() == ["hit", "0.1000", "0.2000"]
    assert lines[4].split() == ["ndcg", "0.0500", "0.0750"]
    assert lines[5] == "7 candidates were never trained on, 25.0% of the hits at 10"
    assert lines[6] == "with them barred: hit@10 0.1500, ndcg@10 0.0600"
    assert lines[7].startswith("best epoch 3 of 9 (ended by early stopping), 1 s training")
    assert "12,345 parameters" in lines[7] and lines[8] == "best model: saved/x.best.pth"


def test_the_table_over_all_users_follows_when_it_was_asked_for():
    both = RESULT | {"test_result_all_users": {"hit@5": 0.05, "hit@10": 0.1}}
    lines = table(both).splitlines()
    assert lines[6] == "divided by all users, also those without a test row:"
    assert [line.split() for line in lines[7:9]] == [["@5", "@10"], ["hit", "0.0500", "0.1000"]]
    assert "divided" not in table(RESULT)


@pytest.mark.parametrize("metric", ["gauc", "itemcoverage@5"])
def test_the_table_takes_metrics_of_every_kind(metric):
    text = table(RESULT | {"test_result": {metric: 0.5}, "never_trained_items": None})
    assert "0.5000" in text


@pytest.fixture
def benched(monkeypatch):
    """Replaces runner and pages by ones that note what they are given; ``failed`` is the board's.

    Returns:
        SimpleNamespace: started (Runners), reported (folders), failed (list).
    """
    seen = SimpleNamespace(started=[], reported=[], failed=[])
    monkeypatch.setattr(runner.Runner, "run", lambda self: seen.started.append(self))
    files = [Path("out/leaderboard.md")]
    board = SimpleNamespace(failed=seen.failed)
    monkeypatch.setattr(pages, "write_pages", lambda w: seen.reported.append(w) or (board, files))
    monkeypatch.setattr(printers, "markdown", lambda board, only: "# the table")
    return seen


def test_a_benchmark_runs_its_plan_and_then_shows_the_table_and_where_it_is(benched, capsys):
    arguments = ["--models=SASRec,Pop", "--dataset=shop", "--seeds=2", "--topk=[3,5]"]
    assert main(["benchmark", *arguments]) == 0
    (started,) = benched.started
    assert [entry.label for entry in started.plan.entries] == ["SASRec", "Pop"]
    assert started.plan.settings["topk"] == [3, 5] and not started.retry
    assert benched.reported == ["benchmark/shop"] and started.output == Path("benchmark/shop")
    assert capsys.readouterr().out == "# the table\nout/leaderboard.md\n"
    # What reports show as the command is what a shell takes.
    assert shlex.split(started.command) == ["recbole-diffusion", "benchmark", *arguments]


def test_default_settings_are_asked_for_in_the_same_way_of_every_command(
    called, benched, monkeypatch
):
    main(["run", "--model=SASRec", "--dataset=shop", "--settings=default"])
    assert called[-1][3] == {"settings": "default"}
    main(["benchmark", "--models=SASRec", "--dataset=shop", "--settings=default"])
    assert benched.started[-1].plan.settings["settings"] == "default"
    seen = []
    monkeypatch.setattr(tuning, "tune", lambda **options: seen.append(options["settings"]))
    monkeypatch.setattr(tuning, "table", str)
    main(["tune", "--model=SASRec", "--dataset=shop", "--settings=default"])
    assert seen == [{"settings": "default"}]


def test_a_benchmark_takes_a_file_a_folder_and_retry(benched, tmp_path):
    (tmp_path / "plan.yaml").write_text("dataset: shop\nmodels: [Pop]\nseeds: 3\n")
    file = f"--config={tmp_path / 'plan.yaml'}"
    assert main(["benchmark", file, "--output=out", "--retry", "--seeds=1"]) == 0
    (started,) = benched.started
    assert started.plan.seeds == [2020] and started.retry
    assert started.output == Path("out") and benched.reported == ["out"]


def test_a_benchmark_with_a_failed_run_ends_with_1(benched):
    benched.failed.append({"label": "Pop"})
    assert main(["benchmark", "--models=Pop", "--dataset=shop"]) == 1
    assert main(["benchmark", "--report", "--output=out"]) == 1


@pytest.mark.parametrize(
    "arguments, folder",
    [
        (["--output=out"], "out"),
        (["--models=Pop", "--dataset=shop"], "benchmark/shop"),
        (["--models=Pop", "--dataset=shop", "--output=out"], "out"),
    ],
)
def test_a_report_runs_nothing(benched, arguments, folder):
    assert main(["benchmark", "--report", *arguments]) == 0
    assert benched.reported == [folder] and not benched.started


def test_lists_of_other_programs_are_names_with_files(benched):
    arguments = ["benchmark", "--models=Pop", "--dataset=shop"]
    assert main([*arguments, "--external=mine=a=1.csv,b c=b.csv"]) == 0
    assert benched.started[0].plan.external == {"mine": "a=1.csv", "b c": "b.csv"}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "no dataset given"),
        (["--dataset=shop"], "no models given"),
        (["--models=Popp", "--dataset=shop"], "no model is called 'Popp'; did you mean Pop"),
        (["Pop"], "'Pop' is not a setting: write --key=value"),
        (["--models=Pop", "--dataset=shop", "--seeds=0"], "seeds is 0"),
        (["--models=Pop", "--dataset=shop", "--external=a.csv"], "--external takes NAME=FILE"),
        (["--models=Pop", "--dataset=shop", "--external=a="], "--external takes NAME=FILE"),
        (["--models=Pop", "--dataset=shop", "--external"], "--external takes NAME=FILE"),
        (["--models=Pop", "--dataset=shop", "--max_train_seconds=abc"], "is 'abc', not a number"),
        (["--models=Pop", "--dataset=shop", "--output"], "--output a folder"),
        (["--config"], "--config takes a file"),
        (["--config=nowhere.yaml"], "cannot read the config file nowhere.yaml"),
        (["--report", "--output=nowhere"], "nowhere/journal.jsonl is not a journal of a benchmark"),
        (
            ["--models=Pop", "--dataset=shop", "--output=file"],
            "file is not a folder",
        ),
        (
            ["--models=Pop", "--dataset=shop", "--output=file/x"],
            "file is not a folder",
        ),
    ],
)
def test_a_mistake_in_a_benchmark_is_one_line_and_exit_code_2(
    arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert message in refused(capsys, "benchmark", *arguments)


@pytest.mark.parametrize("library", ["statsmodels", "plotly", "pyarrow"])
def test_a_library_that_a_benchmark_lacks_is_said_before_anything_is_trained(
    library, benched, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, library, None)
    said = refused(capsys, "benchmark", "--models=Pop", "--dataset=shop")
    assert 'pip install "recbole-diffusion[benchmark]"' in said and library in said
    assert not benched.started


def test_an_interrupted_benchmark_says_that_the_same_command_goes_on(capsys, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner.Runner, "run", interrupted)
    assert main(["benchmark", "--models=Pop", "--dataset=shop"]) == 130
    assert capsys.readouterr().err == ("recbole-diffusion: interrupted; the same command goes on\n")


def test_the_help_of_the_benchmark_names_its_options_and_runs_nothing(benched, capsys):
    assert main(["benchmark", "--models=Pop", "--help"]) == 0
    out = capsys.readouterr().out
    options = "output seeds max_train_seconds mask_history sampling_seeds ablate external retry"
    assert all(f"--{option}" in out for option in [*options.split(), "report", "tune", "jobs"])
    assert not benched.started and not benched.reported


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--topk=ten"], ["--epochs=1"]])
def test_the_script_of_the_checkout_does_the_same(arguments, shop, small):
    settings = [f"--{key}={value}" for key, value in small("ICDDT").items() if key != "epochs"]
    command = [sys.executable, str(REPOSITORY / "run_recbole_diffusion.py"), "--dataset=shop"]
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        [*command, *settings, *arguments], env=environment, capture_output=True, text=True
    )
    if arguments == ["--topk=ten"]:
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert done.stderr.strip().splitlines()[-1].startswith("recbole-diffusion: ")
    else:
        assert done.returncode == 0, done.stderr
        assert "ICDDT on shop, seed 2020: test" in done.stdout


@pytest.mark.parametrize("module", ["recbole_diffusion", "recbole_diffusion.cli"])
def test_both_modules_are_the_command(module):
    command = [sys.executable, "-m", module, "--version"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert (found.returncode, found.stdout.strip()) == (0, recbole_diffusion.__version__)


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_mistake():
    settings = f"{sys.executable} -m recbole_diffusion settings EASE"
    command = f"set -o pipefail; {settings} | true"
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=REPOSITORY)
    assert (found.returncode, found.stderr) == (141, "")
