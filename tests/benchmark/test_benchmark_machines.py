"""A benchmark on a cluster: the table is that of one machine, whatever dies on the way."""

import os
import signal
from pathlib import Path

import pytest
import two_nodes
from test_benchmark_runner import DREAMREC, SHOP, kept, last, start
from warm import WARM, Call, alive, until

from recbole_diffusion.benchmark import process
from recbole_diffusion.benchmark.journal import read_journal
from recbole_diffusion.benchmark.plan import make_plan
from recbole_diffusion.cli.main import main
from recbole_diffusion.config.values import ConfigError

SUICIDE = """
import os

class Killed(DreamRec):
    def calculate_loss(self, interaction):
        os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def cluster():
    with two_nodes.two_nodes() as cluster:
        two_nodes.add(cluster)
        yield cluster


def settings(models):
    """A file of a small benchmark."""
    import yaml

    with open("plan.yaml", "w") as file:
        yaml.safe_dump(
            {
                "dataset": "shop",
                "models": models,
                "seeds": 1,
                "settings": {k: v for k, v in SHOP.items() if k not in ("dataset", "seeds")},
            },
            file,
        )
    return ["benchmark", "--config=plan.yaml", "--jobs=2", "--classes=slow_module:Slow"]


@pytest.mark.slow
def test_a_cluster_gives_the_table_of_one_machine_though_a_worker_is_killed(
    cluster, shop, monkeypatch
):
    code = two_nodes.SLOW.format(file=str(shop / "traces"), seconds=0.4) + SUICIDE
    (shop / "slow_module.py").write_text(code)
    mine = {"mine": DREAMREC | {"model": "slow_module:Slow"}, "Pop": {}}
    killed = {"killed": DREAMREC | {"model": "slow_module:Killed"}}
    arguments = settings(mine | killed)
    (shop / "traces").touch()
    arguments += ["--output=far", f"--address={cluster.address}"]
    command = Call(main, arguments, said=shop / "said")

    def traces():
        return [int(line) for line in (shop / "traces").read_text().split()]

    until(lambda: traces() or command.poll() is not None)
    training = traces()[0]
    worker = int(Path(f"/proc/{training}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(worker, signal.SIGKILL)  # Ray's, which waits for the training
    until(lambda: not alive(training))
    until(lambda: command.poll() is not None)
    assert command.poll() == 1, command.said()  # a row failed
    far = last(read_journal("far/journal.jsonl"))
    (shop / "traces").unlink()
    monkeypatch.setattr(process, "subprocess", WARM)
    near = last(start("near", models=mine, seeds=1)[0])
    assert set(near) == {("mine", "seed", 0), ("Pop", "seed", 0)}
    for what, run in near.items():
        assert kept(far[what]) == kept(run), what
    error = far["killed", "seed", 0]["error"]
    assert "was killed by signal 9" in error and "(begun 3 times)" in error
    assert "begun again (1 of 2 times): its worker died" in command.said()
    assert "a Ray cluster of 2 machines" in command.said()
    assert not [file for file in shop.glob("far/running/*") if "killed" not in file.name]


def test_what_a_run_asks_of_a_cluster_is_checked():
    plan = make_plan({"models": "Pop", "dataset": "shop", "gpus": 0.5, "memory_gib": "2"})
    assert (plan.gpus, plan.memory_gib) == (0.5, 2)
    for key, value in (("gpus", -1), ("memory_gib", "much"), ("gpus", True)):
        with pytest.raises(ConfigError, match=f"{key} is .*, not a number of at least 0"):
            make_plan({"models": "Pop", "dataset": "shop", key: value})


@pytest.mark.slow
def test_a_cluster_that_cannot_do_the_work_is_refused_in_a_line(cluster, shop, capsys):
    plain = ["benchmark", "--models=Pop", "--dataset=shop", "--output=out"]
    here = f"--address={cluster.address}"
    for options, words in (
        ([here, "--threads=3"], "no machine of the cluster has what a task needs (3 CPU)"),
        ([here, "--gpus=1"], "(1 CPU, 1 GPU); the most is 1 CPU, 0 GPU"),
        (["--address=127.0.0.9:1"], "no Ray cluster answers"),
        (["--address="], "--address takes HOST:PORT"),
    ):
        assert main(plain + options) == 2
        error = capsys.readouterr().err.strip().split("\n")
        assert len(error) == 1 and words in error[0]
        assert not (shop / "out").exists()
