"""How are the parts of a file done on the machines of a Ray cluster?

No disk is shared: checkpoint and histories travel through Ray's object store, finished parts come
back to the driver, which writes them.
"""

import json
import logging
import os
import pickle
import tempfile
import warnings
from pathlib import Path

from recbole_diffusion.config.foreign import NAMED, vouch
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.quick_start.cluster import check_versions, joined, versions
from recbole_diffusion.recommend.files import content
from recbole_diffusion.recommend.recommender import load

TRIES = 3  # times that a worker is started again, and a part done again, after a death


def lists_of(recommender, asked, options, suffix):
    """The lists of one part.

    Args:
        recommender (Recommender): the model.
        asked (dict): ``histories`` and ``users`` of `Recommender.recommend`.
        options (dict): of the same.
        suffix (str): of the file.

    Returns:
        tuple: the part's file (bytes) and its counts (dict of plain values).
    """
    table = recommender.recommend(**asked, **options)
    lists = int(table[recommender.user_field].nunique())
    return content(table, suffix), recommender.report | {"lists": lists}


class Worker:
    """Does parts on a machine of the cluster; its model is loaded once.

    Args:
        checkpoint (ray.ObjectRef): of the file's bytes.
        model, seed: as of `load`.
        options (dict), suffix (str): as of `lists_of`.
        threads (int): of torch.
        named (str): classes that a person named.
        wanted (dict): of `cluster.versions`, on the driver.
    """

    def __init__(self, checkpoint, model, seed, options, suffix, threads, named, wanted):
        import ray
        import torch

        self.where = f"the machine {ray.util.get_node_ip_address()}"
        self.node = ray.get_runtime_context().get_node_id()
        self.options, self.suffix, self.error = options, suffix, None
        try:  # Ray would try again what fails, and say so at length
            check_versions(wanted, self.where)
            vouch(named)
            torch.set_num_threads(threads)
            with tempfile.TemporaryDirectory(prefix="recbole-diffusion-") as folder:
                file = Path(folder, "model.pth")
                file.write_bytes(ray.get(checkpoint))
                self.recommender = load(file, model, seed=seed)
        except Exception as error:
            self.error = self._said(error)

    def __call__(self, row):
        """Does a part: from ``number`` and ``asked`` to ``number``, ``content`` and ``report``.

        ``report`` is JSON with ``counts`` of `lists_of`, ``node`` (its id), or ``error`` in a line.
        """
        content, report = b"", {"error": self.error}
        if self.error is None:
            try:
                asked = pickle.loads(row["asked"])
                content, counts = lists_of(self.recommender, asked, self.options, self.suffix)
                report = {"counts": counts, "node": self.node}
            except Exception as error:
                report = {"error": self._said(error)}
        return {"number": row["number"], "content": content, "report": json.dumps(report)}

    def _said(self, error):
        text = " ".join(str(error).split())
        known = isinstance(error, (ValueError, ImportError)) and text
        text = text if known else f"{type(error).__name__}: {text}"
        return text if text.startswith(self.where) else f"{self.where}: {text}"


def on_cluster(address, cpus, checkpoint, model, seed, options, suffix, todo):
    """Does parts on a cluster; each comes when it is done, in any order.

    Args:
        address (str), cpus (int): as of `cluster.joined`; a task has as many threads.
        checkpoint (str or Path), model, seed: as of `load`.
        options (dict), suffix (str): as of `lists_of`.
        todo (dict of int to callable): by number what gives ``asked`` of `lists_of`.

    Yields:
        tuple: number of the part, its file (bytes), its counts (dict), id of the node it was done
        on (str).

    Raises:
        ConfigError: as of `cluster.joined`, or if a part fails in spite of being done again.
        ImportError: without Ray Data.
    """
    if address.startswith("ray://"):
        raise ConfigError(
            f"--address={address}: Ray Data runs on the cluster's network, so give HOST:PORT of "
            "the cluster instead of its client's port"
        )
    with joined(address, cpus) as ray:
        try:
            import pyarrow
            from ray import data
        except ImportError as error:
            raise ImportError(
                f'--address needs Ray Data: pip install "recbole-diffusion[cluster]" ({error})'
            ) from error
        for name in ("ray.data", "ray._private", "ray"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        context = data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        workers = sum(
            int(node["Resources"].get("CPU", 0) // cpus) for node in ray.nodes() if node["Alive"]
        )
        given = ray.put(Path(checkpoint).read_bytes())
        blocks = [
            ray.put(pyarrow.table({"number": [number], "asked": [pickle.dumps(asked())]}))
            for number, asked in todo.items()
        ]
        with warnings.catch_warnings():
            # Of how retries are bounded, which Ray has no other word for until 2.64.
            warnings.simplefilter("ignore", DeprecationWarning)
            done = data.from_arrow_refs(blocks).map(
                Worker,
                fn_constructor_kwargs={
                    "checkpoint": given,
                    "model": model,
                    "seed": seed,
                    "options": options,
                    "suffix": suffix,
                    "threads": cpus,
                    "named": os.environ.get(NAMED, ""),
                    "wanted": versions(),
                },
                compute=data.ActorPoolStrategy(
                    size=min(workers, len(todo)), max_tasks_in_flight_per_actor=1
                ),
                num_cpus=cpus,
                max_restarts=TRIES,
                max_task_retries=TRIES,
            )
        try:
            for row in done.iter_rows():
                report = json.loads(row["report"])
                if "error" in report:
                    raise ConfigError(report["error"])
                yield row["number"], row["content"], report["counts"], report["node"]
        except ray.exceptions.RayError as error:
            raise ConfigError(
                f"a part was given up after {TRIES + 1} workers had died of it (too little "
                f"memory?); the same command goes on. Ray: {' '.join(str(error).split())[:300]}"
            ) from error
