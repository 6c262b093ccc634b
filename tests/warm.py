"""Processes that begin with the libraries imported: a start takes a moment, not three seconds.

They are forked from a server that does nothing else, so that locks and threads of the tests are
not copied.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch

forkserver = multiprocessing.get_context("forkserver")
forkserver.set_forkserver_preload(
    [
        "recbole_diffusion.benchmark.worker",
        "recbole.model.general_recommender",
        "recbole.model.sequential_recommender",
        "torch._dynamo",  # which the first optimiser imports
        "pyarrow.parquet",
        "plotly.graph_objects",
        "statsmodels.api",
    ]
)


def begin(function, arguments, cwd, stdin, stdout, environment):
    """What a new process does: it takes folder, streams and environment, and calls a function."""
    os.setsid()
    # A shell starts what it runs behind its prompt with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    sys.path.insert(0, cwd)
    if stdin is not None:
        os.dup2(stdin.fileno(), 0)
    written = os.open(stdout, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(written, 1)
    os.dup2(written, 2)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    torch.autograd.set_detect_anomaly(False)  # as in conftest.py
    sys.exit(function(*arguments))


def until(happened, seconds=900):
    """Waits for what has to happen; the bound is only for what never does."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


class Process:
    """As much of `subprocess.Popen` as is asked for here."""

    def start(self, function, arguments, stdin, stdout, environment):
        arguments = (function, arguments, os.getcwd(), stdin, stdout, dict(environment))
        self.process = forkserver.Process(target=begin, args=arguments)
        self.process.start()

    @property
    def returncode(self):
        return self.process.exitcode

    def poll(self):
        return self.process.exitcode

    def kill(self):
        self.process.kill()

    def wait(self):
        until(lambda: self.process.exitcode is not None)
        return self.process.exitcode


class Call(Process):
    """A call of a function in the working directory; what it says goes to a file.

    Args:
        function (callable): of a module that a new process can import.
        arguments: of the function.
        said (Path): the file.
    """

    def __init__(self, function, *arguments, said):
        self.file = said
        self.file.write_bytes(b"")
        threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # with others, other roundings
        self.start(function, arguments, None, str(said), os.environ | threads)

    def said(self):
        return self.file.read_text()


class Worker(Process):
    """A process of a benchmark's runner. Its number goes into the file ``pids``."""

    def __init__(self, command, stdin, stdout, stderr, env, start_new_session):
        from recbole_diffusion.benchmark.worker import main

        *python, job, result = command
        assert python == [sys.executable, "-m", "recbole_diffusion.benchmark.worker"]
        read, self.stdin = multiprocessing.Pipe(duplex=False)
        self.start(main, (job, result), read, stdout.name, env)
        read.close()
        with open(Path(stdout.name).parents[1] / "pids", "a") as file:
            print(self.process.pid, file=file)


WARM = SimpleNamespace(Popen=Worker, PIPE=subprocess.PIPE, STDOUT=subprocess.STDOUT)


def command(arguments):
    """A command in which the processes of a benchmark begin warm."""
    from recbole_diffusion.benchmark import process
    from recbole_diffusion.cli.main import main

    process.subprocess = WARM
    return main(arguments)


class WarmCommand(Call):
    """A command; what it says goes to a file beside its output."""

    def __init__(self, arguments, output):
        self.output = output
        super().__init__(command, arguments, said=output.with_suffix(".said"))

    def workers(self):
        """Processes that were started for its output and are still there."""
        pids = self.output / "pids"
        return [pid for pid in pids.read_text().split() if alive(int(pid))]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
