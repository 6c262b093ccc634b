"""A Ray cluster of two machines on one: two raylets, on two addresses of the loopback."""

import contextlib
import os
import shutil
import tempfile

import pytest

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}

# A model that takes its time while a file is there, and leaves its traces in it, a line a batch.
SLOW = """
import os
import time

from recbole_diffusion.model.sequential_recommender.dreamrec import DreamRec


def trace():
    if os.path.exists({file!r}):
        with open({file!r}, "a") as file:
            print(os.getpid(), file=file)
        time.sleep({seconds})


class Slow(DreamRec):
    def full_sort_predict(self, interaction):
        trace()
        return super().full_sort_predict(interaction)
"""


@contextlib.contextmanager
def two_nodes():
    """Starts the cluster, and ends it whatever happens.

    Yields:
        ray.cluster_utils.Cluster: with ``address``; ``add`` starts a second machine anew.
    """
    if os.environ.get("TWO_NODES") != "1":
        pytest.skip("takes minutes and was seen to time out on a busy machine: set TWO_NODES=1")
    pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="rd", dir="/tmp")  # Ray's sockets need a short path
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        cluster = Cluster(
            initialize_head=True,
            head_node_args=NODE | {"node_ip_address": "127.0.0.2", "temp_dir": folder},
        )
        try:
            yield cluster
        finally:
            cluster.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def add(cluster):
    """Starts a second machine."""
    return cluster.add_node(node_ip_address="127.0.0.3", **NODE)


def in_small_parts(arguments):
    """The command, with parts of seven users."""
    import torch

    from recbole_diffusion.cli.main import main
    from recbole_diffusion.recommend import job

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    job.PART = 7
    return main(arguments)
