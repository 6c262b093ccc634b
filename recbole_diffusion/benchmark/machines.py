"""How is a job done in a process on a machine of a Ray cluster, and what came of it?

The machines share a disk with the driver, on which the data, the benchmark's folder and the files
of `process` stand under the same paths: a training that dies with its machine goes on after its
last epoch on another one.
"""

import os
from pathlib import Path
from types import SimpleNamespace

from recbole_diffusion.benchmark.agreement import check_output
from recbole_diffusion.benchmark.process import outcome_of, start_process
from recbole_diffusion.benchmark.runner import Runner
from recbole_diffusion.benchmark.sitting import describe
from recbole_diffusion.config.foreign import NAMED, vouch
from recbole_diffusion.quick_start.cluster import check_versions, joined, versions

TRIES = 2  # times that a job is begun again after its worker was killed


def do(folder, name, job, threads, cwd, named, wanted):
    """Does a job; this is what runs as a Ray task.

    Args:
        folder, name, job, threads: as of `process.start_process`.
        cwd (str): where the driver runs: relative paths begin there.
        named (str): classes that a person named.
        wanted (dict): of `cluster.versions`, on the driver.

    Returns:
        dict: as of `process.outcome_of`; with ``killed`` where a signal ended the process.
    """
    try:
        check_versions(wanted, "a machine of the cluster")
        vouch(named)
        os.chdir(cwd)
        process = start_process(folder, name, job, threads)
    except (OSError, ValueError) as error:
        return {"error": " ".join(str(error).split())}
    try:
        process.wait()
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
    outcome = outcome_of(process, folder, name)
    return outcome | ({"killed": True} if process.returncode < 0 else {})


class Task:
    """A job on the cluster; to its reader a process, which ends when its outcome is there.

    Args:
        ray (module): Ray, joined.
        begin (callable): submits the job and gives its ray.ObjectRef.
        say (callable): takes a line where the job is begun again.
    """

    def __init__(self, ray, begin, say):
        self.ray, self.begin, self.say = ray, begin, say
        self.outcome, self.deaths = None, 0
        self.ref = begin()
        self.stdin = SimpleNamespace(close=lambda: None)

    def poll(self):
        """0 when the outcome is there, else None."""
        if self.outcome is None and self.ray.wait([self.ref], timeout=0)[0]:
            self._take()
        return None if self.outcome is None else 0

    def kill(self):
        """Ends the job, and the process in which it is done."""
        if self.outcome is None:
            self.ray.cancel(self.ref, force=True)

    def wait(self):
        """As of `subprocess.Popen`, after `kill`."""
        if self.outcome is None:
            self.ray.wait([self.ref], timeout=10)

    def _take(self):
        try:
            outcome = self.ray.get(self.ref)
        except self.ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines()
            outcome = {"error": f"its worker died: {' '.join(lines)[:200]}", "killed": True}
        if outcome.pop("killed", False):
            self.deaths += 1
            if self.deaths <= TRIES:
                self.say(f"begun again ({self.deaths} of {TRIES} times): {outcome['error']}")
                self.ref = self.begin()
                return
            outcome["error"] += f" (begun {self.deaths} times)"
        self.outcome = outcome


class Machines:
    """Where a runner's processes are: on a joined cluster; has the functions of process.py.

    Args:
        ray (module): Ray, joined.
        gpus (float): of a job.
        memory (float): of a job, bytes; 0 declares none.
        say (callable): takes a line of progress; None says nothing.
    """

    def __init__(self, ray, gpus, memory, say):
        self.ray, self.say = ray, say
        self.resources = {"num_gpus": gpus} | ({"memory": int(memory)} if memory else {})

    def describe(self):
        """As of `sitting.describe`; the seconds are those of the cluster."""
        found = describe()
        alive = sum(node["Alive"] for node in self.ray.nodes())
        words = f"a Ray cluster of {alive} machines; the driver: {found['machine']['processor']}"
        found["machine"]["processor"] = words
        return found

    def start_process(self, folder, name, job, threads):
        """As of `process.start_process`, on a machine that has the threads as free CPUs."""
        task = self.ray.remote(num_cpus=threads, max_retries=0, **self.resources)(do)
        given = (folder, name, job, threads, os.getcwd(), os.environ.get(NAMED, ""), versions())
        say = self.say or (lambda line: None)
        return Task(self.ray, lambda: task.remote(*given), lambda line: say(f"{name}: {line}"))

    def outcome_of(self, process, folder, name):
        """As of `process.outcome_of`."""
        return process.outcome


def run_on_cluster(address, plan, output, command="", retry=False, say=print):
    """Runs a plan on a cluster; the journal stays here.

    Args:
        address (str): as of `cluster.joined`.
        plan, output, command, retry, say: as of `Runner`.

    Raises:
        ConfigError, ImportError: as of `cluster.joined`.
        ValueError, KeyboardInterrupt: as of `Runner.run`.
    """
    check_output(output)
    memory = plan.memory_gib * 2**30
    shared = Path(output).absolute()
    while not shared.is_dir():
        shared = shared.parent
    with joined(address, plan.threads, plan.gpus, memory, shared) as ray:
        machines = Machines(ray, plan.gpus, memory, say)
        Runner(plan, output, command, retry, say, machines).run()
