"""How is a job done in a process of its own, and what came of it?

In a folder, by the name of the job: ``NAME.job.json`` is what the process reads,
``NAME.result.json`` what it writes, ``NAME.log`` what it says. What failed leaves its log.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from recbole_diffusion.benchmark import sitting


def describe():
    """Where processes run, as of `sitting.describe`."""
    return sitting.describe()


def start_process(folder, name, job, threads):
    """Starts a worker on a job.

    Args:
        folder (Path): for its files; made if it is not there.
        name (str): of the job.
        job (dict): plain values, see worker.py.
        threads (int): of the process.

    Returns:
        subprocess.Popen: the process; it ends when its standard input is closed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    job_file, result_file, log = _files(folder, name)
    job_file.write_text(json.dumps(job), encoding="utf-8")
    result_file.unlink(missing_ok=True)
    variables = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "MKL")}
    with open(log, "ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "recbole_diffusion.benchmark.worker", job_file, result_file],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | variables,
            start_new_session=True,  # Ctrl-C reaches this process alone, which ends the others
        )


def outcome_of(process, folder, name):
    """What a process that has ended wrote down, or in a line how it ended without.

    Args:
        process (subprocess.Popen): the process.
        folder (Path): of its files, which are deleted.
        name (str): of the job.

    Returns:
        dict: plain values; ``error`` where it failed.
    """
    job_file, result_file, log = _files(folder, name)
    if not result_file.is_file():
        code = process.returncode
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        memory = " (out of memory?)" if code == -9 else ""
        return {"error": f"the process {how}{memory}; see {log}"}
    outcome = json.loads(result_file.read_text(encoding="utf-8"))
    result_file.unlink()
    job_file.unlink()
    if "error" not in outcome:
        log.unlink()
    return outcome


def _files(folder, name):
    """Job, result and log of a process."""
    return [Path(folder, f"{name}.{kind}") for kind in ("job.json", "result.json", "log")]
