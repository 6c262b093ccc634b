"""How is a Ray cluster joined, and can its machines do what is asked of them?"""

import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from importlib import metadata

from recbole_diffusion import __version__
from recbole_diffusion.config.values import ConfigError

LOOPBACK = "127.0.0.1"
PATIENCE = 20  # seconds that a cluster has to answer
LIBRARIES = ("recbole", "torch", "numpy", "pandas", "pyarrow")
QUIET = {"log_to_driver": False, "logging_level": logging.CRITICAL}
# Read when Ray starts.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no reports home
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # as Ray is to do from some release on, and warns
}


@contextmanager
def joined(address, cpus=1, gpus=0, memory=0, folder=None):
    """Joins a Ray cluster, and leaves it at the end if it was joined here.

    Args:
        address (str): as Ray has it: ``HOST:PORT``, ``auto``, ``local`` or ``ray://HOST:PORT``.
        cpus (int), gpus (float): of one task.
        memory (float): of one task, bytes.
        folder (Path): which all machines must see under the same path; None is no such folder.

    Yields:
        module: ``ray``.

    Raises:
        ImportError: without Ray.
        ConfigError: in a line, within a minute, if no cluster answers, no machine has what a task
            needs, or a machine lacks the package, has other versions of the libraries, or does not
            see the folder.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise ImportError(
            f'--address needs Ray: pip install "recbole-diffusion[cluster]" ({error})'
        ) from error
    began_here = not ray.is_initialized()
    try:
        if began_here:
            join(ray, address)
        _check_machines(ray, {"CPU": cpus, "GPU": gpus, "memory": memory}, folder)
        yield ray
    finally:
        if began_here:
            ray.shutdown()


def start_here(ray, cpus=None):
    """Starts Ray on this machine, for this machine alone.

    Args:
        ray (module): Ray.
        cpus (int): of tasks at once; None is all of the machine.
    """
    # Whoever reaches Ray's ports or its dashboard's job API runs code here. This is the switch that
    # Ray sets on macOS and Windows; on Linux it has no other way to listen on the loopback only.
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = False
    with ours():
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, **QUIET)
    listens_on = ray.nodes()[0]["NodeManagerAddress"]
    if listens_on != LOOPBACK:
        logging.getLogger().warning(
            f"Ray {ray.__version__} listens on {listens_on}: who reaches it can run code here"
        )


@contextmanager
def ours():
    """Keeps what is the process's own while Ray starts: what it does at SIGTERM, where Ray would
    end it without a word, and its standard error, where Ray's core would say its log level.
    """
    at_sigterm = signal.getsignal(signal.SIGTERM)
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, at_sigterm)


def versions():
    """The package and the libraries that results depend on (dict of str to str)."""
    found = {"recbole-diffusion": __version__}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            found[library] = "missing"
    return found


def check_versions(wanted, where):
    """Refuses to work with other versions than those of the driver.

    Args:
        wanted (dict of str to str): of `versions`, on the driver.
        where (str): which machine this is, for the message.

    Raises:
        ConfigError: with the first that differs.
    """
    refuse_difference(wanted, versions(), where)


def refuse_difference(wanted, found, where):
    """As `check_versions`, with what a machine said (dict of str to str)."""
    for name, version in wanted.items():
        if found[name] != version:
            raise ConfigError(
                f"{where} has {name} {found[name]}, here it is {version}: machines of a cluster "
                "need the same versions"
            )


def join(ray, address):
    """Joins a cluster, or with ``local`` starts Ray here.

    Args:
        ray (module): Ray.
        address (str): as of `joined`.

    Raises:
        ConfigError: in a line, within half a minute, if no cluster answers.
    """
    if address == "local":
        start_here(ray)
        return
    if not address.startswith("ray://"):  # Ray's client gives up by itself
        _knock(address)
    try:
        with ours():
            ray.init(address=address, **QUIET)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"--address={address}: {' '.join(str(error).split())}") from error


def _knock(address):
    """Asks in a process of its own: Ray would wait two minutes, and then end this one."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check"]
    command += [] if address == "auto" else ["--address", address]
    try:
        asked = subprocess.run(command, capture_output=True, timeout=PATIENCE)
        why = "" if asked.returncode == 0 else "no Ray cluster answers"
        if why and b"AuthToken" in asked.stdout + asked.stderr:
            raise ConfigError(
                f"--address={address}: the cluster asks for its token: set RAY_AUTH_MODE=token and "
                "RAY_AUTH_TOKEN as on its first machine"
            )
    except subprocess.TimeoutExpired:
        why = f"no Ray cluster answers within {PATIENCE} seconds"
    if why:
        raise ConfigError(
            f"--address={address}: {why}; give the address that `ray start --head` printed, "
            "HOST:PORT"
        )


def _check_machines(ray, needs, folder):
    """Asks every machine of the cluster, before any work."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    machines = [node for node in ray.nodes() if node["Alive"]]
    if not any(
        all(node["Resources"].get(name, 0) >= need for name, need in needs.items())
        for node in machines
    ):
        asked = ", ".join(f"{need:g} {name}" for name, need in needs.items() if need)
        most = ", ".join(
            f"{max(node['Resources'].get(name, 0) for node in machines):g} {name}"
            for name, need in needs.items()
            if need
        )
        raise ConfigError(
            f"no machine of the cluster has what a task needs ({asked}); the most is {most}"
        )
    token = None if folder is None else os.path.join(folder, f".shared-{os.getpid()}")

    def look():  # travels as code: the package may be missing there
        import os

        try:
            from recbole_diffusion.quick_start.cluster import versions
        except ImportError as error:
            return str(error), False
        return versions(), token is None or os.path.exists(token)

    try:
        if token is not None:
            open(token, "x").close()
        asked = {}
        for node in machines:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(look)
            asked[node["NodeManagerAddress"]] = task.remote()
        answers = dict(zip(asked, ray.get(list(asked.values()), timeout=3 * PATIENCE)))
    except ray.exceptions.RayError as error:
        raise ConfigError(
            f"the cluster's machines do not answer: {' '.join(str(error).split())[:300]}"
        ) from error
    finally:
        if token is not None:
            os.unlink(token)
    for name, (found, sees) in answers.items():
        where = f"the machine {name}"
        if isinstance(found, str):
            raise ConfigError(
                f"{where} cannot import recbole-diffusion ({found}): install version {__version__} "
                "there, with the same extras"
            )
        refuse_difference(versions(), found, where)
        if not sees:
            raise ConfigError(
                f"{where} does not see {folder}: its machines need a shared disk under the same "
                "path"
            )
