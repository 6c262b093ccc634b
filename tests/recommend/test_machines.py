"""Lists by a cluster: the file is that of one machine, whatever dies on the way."""

import os
import signal
import sys

import pandas as pd
import pytest
import two_nodes
from warm import Call, until

from recbole_diffusion.cli.main import main
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.quick_start import run_recbole_diffusion
from recbole_diffusion.quick_start.cluster import refuse_difference, versions
from recbole_diffusion.recommend import job

MODEL = "slow_module:Slow"


@pytest.fixture(scope="module")
def cluster():
    with two_nodes.two_nodes() as cluster:
        yield cluster


@pytest.fixture
def second(cluster):
    """The second machine, anew for every test."""
    node = two_nodes.add(cluster)
    yield node
    if node in cluster.worker_nodes:
        cluster.remove_node(node)


@pytest.fixture
def asked(shop, small, monkeypatch):
    """A checkpoint whose model is slow while the file ``traces`` is there, and histories."""
    slow = two_nodes.SLOW.format(file=str(shop / "traces"), seconds=0.4)
    (shop / "slow_module.py").write_text(slow)
    monkeypatch.syspath_prepend(str(shop))
    monkeypatch.delitem(sys.modules, "slow_module", raising=False)
    settings = small("DreamRec", epochs=1, BEHAVIOR_FIELD=None, target_behavior=None)
    checkpoint = run_recbole_diffusion(MODEL, "shop", config_dict=settings)["checkpoint"]
    table = pd.read_csv(shop / "dataset/shop/shop.inter", sep="\t")
    table.columns = [name.partition(":")[0] for name in table]
    table[["user_id", "item_id", "timestamp"]].to_csv("log.csv", index=False)
    return [f"--checkpoint={checkpoint}", "--histories=log.csv", "-k", "3", f"--model={MODEL}"]


def whole(asked, shop, monkeypatch):
    """The file as this process makes it."""
    monkeypatch.setattr(job, "PART", 7)
    assert main(["recommend", *asked, "--output=whole.csv"]) == 0
    return (shop / "whole.csv").read_bytes()


def begun(asked, cluster, shop):
    """Starts the command on the cluster, in parts of seven users, slowly."""
    (shop / "traces").touch()
    arguments = ["recommend", *asked, "--output=lists.csv", f"--address={cluster.address}"]
    return Call(two_nodes.in_small_parts, arguments, said=shop / "said")


def workers(shop):
    """Numbers of the processes that scored, in order."""
    return [int(line) for line in (shop / "traces").read_text().split()]


def parts(shop):
    return sorted(file.name for file in shop.glob("lists.csv.parts/part-*.csv"))


@pytest.mark.slow
def test_two_machines_give_the_file_of_one(asked, cluster, second, shop, monkeypatch):
    expected = whole(asked, shop, monkeypatch)
    command = begun(asked, cluster, shop)
    assert command.wait() == 0, command.said()
    assert (shop / "lists.csv").read_bytes() == expected
    assert "machines of the cluster that did parts: 2" in command.said()
    assert len(set(workers(shop))) == 2 and os.getpid() not in workers(shop)
    assert not parts(shop) and "ray" not in command.said().lower(), command.said()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["worker", "machine"])
def test_what_dies_in_the_middle_is_done_again(what, asked, cluster, second, shop, monkeypatch):
    expected = whole(asked, shop, monkeypatch)
    command = begun(asked, cluster, shop)
    until(lambda: len(workers(shop)) >= 3 or command.poll() is not None)
    if what == "worker":
        os.kill(workers(shop)[-1], signal.SIGKILL)  # which has just begun a part
    else:
        cluster.remove_node(second, allow_graceful=False)
    assert command.wait() == 0, command.said()
    assert (shop / "lists.csv").read_bytes() == expected
    if what == "worker":
        assert len(workers(shop)) > 6  # parts in all: one was done again


@pytest.mark.slow
def test_a_killed_command_goes_on_with_the_parts_it_lacks(
    asked, cluster, second, shop, monkeypatch
):
    expected = whole(asked, shop, monkeypatch)
    command = begun(asked, cluster, shop)
    until(lambda: len(parts(shop)) >= 2 or command.poll() is not None)
    command.kill()
    command.wait()
    there = {name: (shop / "lists.csv.parts" / name).stat().st_mtime_ns for name in parts(shop)}
    assert 2 <= len(there) < 6 and not (shop / "lists.csv").exists()
    before = len(workers(shop))
    command = begun(asked, cluster, shop)
    assert command.wait() == 0, command.said()
    assert (shop / "lists.csv").read_bytes() == expected
    assert len(workers(shop)) - before <= 6 - len(there) + 2  # of the killed one two may end


@pytest.mark.slow
def test_a_cluster_that_cannot_do_the_work_is_refused_in_a_line(
    asked, cluster, shop, monkeypatch, capsys
):
    plain = ["recommend", *asked, "--output=out.csv"]
    here = f"--address={cluster.address}"
    for options, words in (
        ([here, "--cpus=2"], "no machine of the cluster has what a task needs (2 CPU)"),
        ([here, "--cpus=0"], "cpus is 0; it must be a whole number above 0"),
        (["--address=nonsense"], "no Ray cluster answers"),
        (["--address=ray://127.0.0.9:1"], "give HOST:PORT of the cluster instead"),
        (["--address=127.0.0.9:1"], "no Ray cluster answers"),
    ):
        assert main(plain + options) == 2
        error = capsys.readouterr().err.strip().split("\n")[-1]
        assert error.startswith("recbole-diffusion: ") and words in error
        assert not (shop / "out.csv").exists()
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main([*plain, here]) == 2
    assert 'pip install "recbole-diffusion[cluster]"' in capsys.readouterr().err


def test_other_versions_on_a_machine_are_said():
    here = versions()
    refuse_difference(here, here, "the machine 10.0.0.2")
    words = "the machine 10.0.0.2 has torch 1.0, here it is "
    with pytest.raises(ConfigError, match=words):
        refuse_difference(here, here | {"torch": "1.0"}, "the machine 10.0.0.2")
