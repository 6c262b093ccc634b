"""What a run prints: lines worth reading on a terminal, everything in the file of its log."""

import os
import pty
import re
import struct
import subprocess
import sys
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pytest

import recbole_diffusion
from recbole_diffusion.cli.main import main
from recbole_diffusion.cli.parsing import with_verbosity
from recbole_diffusion.cli.run import table
from recbole_diffusion.quick_start.still_rose import STILL_ROSE, what_to_set

MOST_LINES = 30  # of a run of three epochs
REPOSITORY = Path(recbole_diffusion.__file__).parents[1]
HOST_WORDS = ("train loss", "Average actions", "valid result", "Remain Fields")


def command(small, *more, model="SASRec", **settings):
    """A run of three epochs as people start one, with progress bars."""
    settings = small(model, epochs=3, **settings)
    del settings["show_progress"]
    arguments = [f"--{key}={value}" for key, value in settings.items()]
    run = ["-m", "recbole_diffusion", "run", f"--model={model}", "--dataset=shop"]
    return [sys.executable, *run, *arguments, *more]


def printed(small, *more, model="SASRec"):
    """Standard output and standard error of a run, both files."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        command(small, *more, model=model), capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def log_of(out):
    return Path(re.search(r"^log: (\S+)$", out, re.MULTILINE)[1]).read_text()


@pytest.mark.slow
def test_a_run_says_data_split_epochs_table_and_files_in_few_lines(shop, small):
    out, said = printed(small)
    lines = said.splitlines()
    assert lines[0].startswith("shop: 40 users, 20 items, 400 interactions (")
    assert "buy" in lines[0] and "view" in lines[0]
    assert re.match(r"split: \d+ training and \d+ validation rows; leave-one-out of buy", lines[1])
    assert re.match(r"SASRec, [\d,]+ parameters, made in", lines[2])
    for epoch, line in enumerate(lines[3:6], start=1):
        assert re.match(rf"epoch {epoch} of 3: loss [\d.]+, ndcg@10 0\.\d{{4}}", line)
        assert ("left" in line) == (epoch < 3)
    assert "(best so far)" in lines[3] and len(lines) == 6
    assert len((out + said).splitlines()) <= MOST_LINES
    assert "\r" not in out + said and "\x1b" not in out + said
    assert not any(word in out + said for word in HOST_WORDS)
    assert "validation, of the best epoch:" in out
    assert Path(re.search(r"best model: (\S+)", out)[1]).is_file()
    log = log_of(out)  # the control: it was all said, to the file
    assert all(word in log for word in HOST_WORDS) and "epoch 3 of 3: loss" in log


@pytest.mark.slow
def test_quiet_shows_the_table_alone_and_verbose_what_the_log_has(shop, small):
    out, said = printed(small, "--quiet", "--topk=[5,10,30]")
    assert said == "" and out.startswith("\nSASRec on shop, seed 2020: test\n")
    assert "it is cut to [5, 10]" in log_of(out)  # warnings too are in the log
    out, said = printed(small, "--verbose")
    assert all(word in said for word in HOST_WORDS) and "\r" not in said


@pytest.mark.slow
def test_warnings_stay_visible_and_a_run_without_gradients_has_few_lines_too(shop, small):
    out, said = printed(small, "--topk=[5,10,30]", model="Pop")
    assert "WARNING  topk is [5, 10, 30], but there are 20 items" in said
    assert "epoch 1 of 1: " in said and len((out + said).splitlines()) <= MOST_LINES
    assert STILL_ROSE not in out


@pytest.mark.slow
def test_debugging_shows_everything(shop, small):
    _, said = printed(small, "--state=DEBUG", model="Pop")
    assert "General Hyper Parameters" in said and "Average actions" in said


@pytest.mark.slow
def test_on_a_terminal_bars_say_what_is_left_of_the_run_and_break_no_line(shop, small):
    process, terminal = pty.fork()
    if process == 0:
        os.environ["PYTHONPATH"] = str(REPOSITORY)
        ioctl(2, TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        started = command(small, model="ICDDT", train_batch_size=1)  # an epoch of seconds
        os.execv(started[0], started)
    shown = b""
    try:
        while part := os.read(terminal, 65536):
            shown += part
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    assert os.waitpid(process, 0)[1] == 0
    text = re.sub(r"\x1b\[[\d;]*m", "", shown.decode())
    assert re.search(r"\repoch 1 of 3 [^\r\n]* \d+/\d+, about \d+ s left", text)
    lines = [line.rsplit("\r", 1)[-1] for line in text.replace("\r\n", "\n").split("\n")]
    assert [line[:12] for line in lines if line.startswith("epoch")] == [
        f"epoch {epoch} of 3" for epoch in (1, 2, 3)
    ]
    assert len(lines) <= MOST_LINES


@pytest.mark.parametrize(
    "changes, said",
    [
        ({}, "validation still rose when epochs ended it: the same command with --epochs=6"),
        (
            {"stopped_by": "max_train_seconds"},
            "when max_train_seconds ended it: the same command with --max_train_seconds=20",
        ),
        ({"stopped_by": "early stopping"}, None),
        ({"best_epoch": 2}, None),
        ({"curve": [[3, 1.0, 0.3]], "epochs": 3}, None),  # one validation does not rise
        ({"curve": []}, None),
    ],
)
def test_a_run_that_still_rose_says_what_to_set(changes, said):
    result = {
        "best_epoch": 3, "epochs": 3, "stopped_by": "epochs",
        "curve": [[1, 0.1, 0.1], [2, 0.2, 0.2], [3, 0.3, 0.3]],
        "config": {"epochs": 3, "max_train_seconds": 10},
    } | changes  # fmt: skip
    found = what_to_set(result)
    assert found is None if said is None else said in found and "--resume" in found
    whole = result | {
        "model": "A", "dataset": "b", "seed": 1, "protocol": "p", "test_result": {"hit@5": 0.1},
        "best_valid_result": {"hit@5": 0.25}, "never_trained_items": None, "train_seconds": 1,
        "valid_seconds": 1, "eval_seconds": 1, "parameters": 1, "checkpoint": None, "log": "a.log",
    }  # fmt: skip
    lines = table(whole).splitlines()
    assert (lines[-1] == found) if found else lines[-1] == "log: a.log"
    assert "0.2500" in table(whole)


def test_what_it_says_to_set_goes_on(run):
    first = run("SASRec", epochs=2, learning_rate=0.01)
    assert "--epochs=4 --resume" in what_to_set(first)
    more = run("SASRec", epochs=4, learning_rate=0.01, resume=True)
    assert more["curve"][:2] == first["curve"] and len(more["curve"]) == 4


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"quiet": True, "verbose": True}, "--quiet and --verbose say both"),
        ({"quiet": True, "verbosity": "normal"}, "--quiet and --verbosity say both"),
        ({"verbose": "3"}, "--verbose takes no value"),
    ],
)
def test_how_much_is_shown_is_said_once(settings, message):
    with pytest.raises(ValueError, match=message):
        with_verbosity(settings)
    assert with_verbosity({"quiet": True, "seed": "1"}) == {"verbosity": "quiet", "seed": "1"}
    assert with_verbosity({"verbosity": "verbose"}) == {"verbosity": "verbose"}


def test_an_odd_verbosity_is_refused(shop, capsys):
    assert main(["run", "--model=Pop", "--dataset=shop", "--verbosity=loud"]) == 2
    assert "verbosity is 'loud', it must be" in capsys.readouterr().err
