"""How commands end: by SIGTERM as by Ctrl-C, and beside each other; in processes of their own."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from warm import WarmCommand, until

from recbole_diffusion.cli.main import main
from recbole_diffusion.cli.signals import is_sigterm, sigterm_as_interrupt

SETTINGS = [
    "--dataset=shop",
    "--use_gpu=False",
    "--show_progress=False",
    "--train_batch_size=64",
    "--MAX_ITEM_LIST_LENGTH=6",
    "--epochs=2000",
    "--stopping_step=2000",
]
DREAMREC = ["run", "--model=DreamRec", "--hidden_size=8", "--diffusion_steps=4", *SETTINGS]
# A shell starts what it runs behind its prompt with SIGINT ignored.
AS_AT_A_PROMPT = (
    "import signal, sys\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from recbole_diffusion.cli import signals\n"
)


def wait_for(process, seconds=120):
    until(lambda: process.poll() is not None, seconds)
    return process.returncode


def test_sigterm_is_an_interrupt_inside_and_what_it_was_outside():
    code = AS_AT_A_PROMPT + (
        "import os\n"
        "def told():\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "before = signal.getsignal(signal.SIGTERM)\n"
        "try:\n    signals.sigterm_as_interrupt(told)\n"
        "except KeyboardInterrupt as stop:\n    print(signals.is_sigterm(stop), flush=True)\n"
        "assert signal.getsignal(signal.SIGTERM) is before\n"
        "told()\n"  # the control: it ends the process
        "print('still there')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\n" and done.returncode == -signal.SIGTERM


def test_an_interrupt_says_of_what_kind_it_was(capsys, monkeypatch):
    from recbole_diffusion.cli.main import COMMANDS
    from recbole_diffusion.cli.signals import Terminated

    for kind, code, word in (
        (KeyboardInterrupt, 130, "interrupted"),
        (Terminated, 143, "terminated"),
    ):

        def stopped(arguments, kind=kind):
            try:
                raise kind
            except KeyboardInterrupt:
                raise KeyboardInterrupt("the same command goes on") from None

        monkeypatch.setitem(COMMANDS, "run", stopped)
        assert main(["run"]) == code
        assert capsys.readouterr().err == f"recbole-diffusion: {word}; the same command goes on\n"
    assert not is_sigterm(ValueError())
    assert sigterm_as_interrupt(len, "abc") == 3


@pytest.mark.parametrize("number, code, word", [(15, 143, "terminated"), (2, 130, "interrupted")])
def test_a_run_that_is_told_to_end_says_how_to_go_on(number, code, word, shop):
    process = WarmCommand(DREAMREC, shop / "out")
    try:
        until(lambda: list(shop.glob("saved/*.last.pth")), 120)
        os.kill(process.process.pid, number)
        assert wait_for(process) == code
    finally:
        process.kill()
    said = process.said()
    assert f"recbole-diffusion: {word}; the same command with --resume goes on" in said
    assert "Traceback" not in said
    assert not list(shop.glob("saved/*.writing"))
    again = WarmCommand([*DREAMREC, "--resume", "--max_train_seconds=1"], shop / "again")
    try:
        assert wait_for(again) == 0
    finally:
        again.kill()
    assert "resumed from saved/" in again.said()


def test_two_runs_of_one_command_in_one_second_have_files_of_their_own(shop):
    command = [*DREAMREC[:-2], "--epochs=2"]
    both = [WarmCommand(command, shop / name) for name in ("one", "two")]
    try:
        assert [wait_for(process) for process in both] == [0, 0], both[0].said() + both[1].said()
    finally:
        for process in both:
            process.kill()
    assert len(list(shop.glob("saved/*.best.pth"))) == 2
    assert len(list(shop.glob("saved/*.last.pth"))) == 2
    assert len(list(shop.glob("log/DreamRec/*.log"))) == 2
    assert len(list(shop.glob("log_tensorboard/*"))) == 2
    models = [re.search(r"best model: (\S+)", process.said())[1] for process in both]
    assert models[0] != models[1] and all(Path(name).is_file() for name in models)


@pytest.mark.slow
def test_a_benchmark_that_is_told_to_end_ends_its_processes(shop):
    settings = [one for one in SETTINGS[:-1] if "show_progress" not in one]
    options = ["--models=DreamRec", "--seeds=1", "--output=out", *settings]
    process = WarmCommand(["benchmark", *options], shop / "out")
    try:
        until(lambda: list(shop.glob("out/checkpoints/*/*.last.pth")), 300)
        assert process.workers()
        os.kill(process.process.pid, signal.SIGTERM)
        assert wait_for(process) == 143
        time.sleep(0.2)
        assert not process.workers()
    finally:
        process.kill()
    assert "recbole-diffusion: terminated; the same command goes on" in process.said()
