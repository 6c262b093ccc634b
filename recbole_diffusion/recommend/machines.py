"""How are the parts of a file done on the machines of a Ray cluster?

No disk is shared: checkpoint and histories travel through Ray's object store, finished parts come
back to the driver, which writes them.
"""

import json
import logging
import os
import pickle
import tempfile
import uuid
import warnings
from pathlib import Path
from typing import NamedTuple

from recbole_diffusion.config.foreign import NAMED, vouch
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.quick_start.cluster import check_versions, joined, versions
from recbole_diffusion.recommend.files import content
from recbole_diffusion.recommend.recommender import load

TRIES = 3  # times that a part is done again after the death of its worker


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


class Given(NamedTuple):
    """What every part is done with.

    Attributes:
        job (str): names the job: a process that did a part of it still has its model.
        checkpoint (ray.ObjectRef): of the file's bytes.
        model, seed: as of `load`.
        options (dict), suffix (str): as of `lists_of`.
        threads (int): of torch.
        named (str): classes that a person named.
        wanted (dict): of `cluster.versions`, on the driver.
    """

    job: str
    checkpoint: object
    model: str
    seed: int
    options: dict
    suffix: str
    threads: int
    named: str
    wanted: dict


_loaded = {}  # job to its recommender, of one job at a time


def do(row, given):
    """Does a part, on a machine of the cluster.

    Args:
        row (dict): ``number`` of the part, and ``asked`` of `lists_of`, pickled.
        given (Given): the rest.

    Returns:
        dict: ``number``, ``content`` (bytes of the file) and ``report``, JSON with the ``counts``
        of `lists_of` and the ``node`` (its id), or with ``error`` in a line.
    """
    import ray

    content, where = b"", f"the machine {ray.util.get_node_ip_address()}"
    try:  # Ray would say at length what fails
        recommender = _recommender(given, where)
        content, counts = lists_of(
            recommender, pickle.loads(row["asked"]), given.options, given.suffix
        )
        report = {"counts": counts, "node": ray.get_runtime_context().get_node_id()}
    except Exception as error:
        text = " ".join(str(error).split())
        known = isinstance(error, (ValueError, ImportError)) and text
        text = text if known else f"{type(error).__name__}: {text}"
        report = {"error": text if text.startswith(where) else f"{where}: {text}"}
    return {"number": row["number"], "content": content, "report": json.dumps(report)}


def _recommender(given, where):
    """The model, loaded by the first part that a process does."""
    import ray
    import torch

    if given.job not in _loaded:
        check_versions(given.wanted, where)
        vouch(given.named)
        torch.set_num_threads(given.threads)
        with tempfile.TemporaryDirectory(prefix="recbole-diffusion-") as folder:
            file = Path(folder, "model.pth")
            file.write_bytes(ray.get(given.checkpoint))
            found = load(file, given.model, seed=given.seed)
        _loaded.clear()
        _loaded[given.job] = found
    return _loaded[given.job]


def cluster(address, cpus):
    """The cluster that does parts, as of `cluster.joined`; ``with`` joins it.

    Args:
        address (str): as of `cluster.joined`, apart from ``ray://``.
        cpus (int): of a task.

    Raises:
        ConfigError: on an address of Ray's client.
        ImportError: without Ray Data.
    """
    if address.startswith("ray://"):
        raise ConfigError(
            f"--address={address}: Ray Data runs on the cluster's network, so give HOST:PORT of "
            "the cluster instead of its client's port"
        )
    return joined(address, cpus)


def on_cluster(ray, cpus, checkpoint, model, seed, options, suffix, todo):
    """Does parts on a cluster; each comes when it is done, in any order.

    Args:
        ray (module): Ray, joined.
        cpus (int): of a task, which has as many threads.
        checkpoint (str or Path), model, seed: as of `load`.
        options (dict), suffix (str): as of `lists_of`.
        todo (dict of int to callable): by number what gives ``asked`` of `lists_of`.

    Yields:
        tuple: number of the part, its file (bytes), its counts (dict), id of the node it was done
        on (str).

    Raises:
        ConfigError: if a part fails, or its workers died again and again.
        ImportError: without Ray Data.
    """
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
    given = Given(
        uuid.uuid4().hex,
        ray.put(Path(checkpoint).read_bytes()),
        model,
        seed,
        options,
        suffix,
        cpus,
        os.environ.get(NAMED, ""),
        versions(),
    )
    blocks = [
        ray.put(pyarrow.table({"number": [number], "asked": [pickle.dumps(asked())]}))
        for number, asked in todo.items()
    ]
    with warnings.catch_warnings():
        # Of `max_retries`, for which Ray has no other word until 2.64.
        warnings.simplefilter("ignore", DeprecationWarning)
        done = data.from_arrow_refs(blocks).map(
            do, fn_kwargs={"given": given}, num_cpus=cpus, max_retries=TRIES
        )
    try:
        for row in done.iter_rows():
            report = json.loads(row["report"])
            if "error" in report:
                raise ConfigError(report["error"])
            yield row["number"], row["content"], report["counts"], report["node"]
    except ray.exceptions.RayError as error:
        raise ConfigError(
            f"a part was given up after {TRIES + 1} workers had died of it (too little memory?); "
            f"the same command goes on. Ray: {' '.join(str(error).split())[:300]}"
        ) from error
