"""What cannot be used is refused in one line that names it, and leaves nothing half-written."""

import resource
import shutil
import time

import pandas as pd
import pytest
import torch
import warm

from recbole_diffusion.cli.main import main
from recbole_diffusion.quick_start import run_recbole_diffusion
from recbole_diffusion.recommend import job
from recbole_diffusion.testing.made_up import chain, write


@pytest.fixture(scope="module")
def trained(tmp_path_factory, small):
    """A checkpoint, trained once."""
    folder = tmp_path_factory.mktemp("shop")
    write(folder / "dataset", "shop", chain(n_users=40, n_items=20, length=10))
    where = {"data_path": str(folder / "dataset"), "checkpoint_dir": str(folder / "saved")}
    settings = small("SASRec", epochs=1, BEHAVIOR_FIELD=None, target_behavior=None, **where)
    return run_recbole_diffusion("SASRec", "shop", config_dict=settings)["checkpoint"]


@pytest.fixture
def place(tmp_path, trained, monkeypatch):
    """A working directory with model.pth and log.csv."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(trained, "model.pth")
    rows = [(f"u{n // 5}", f"i{n * 7 % 20}") for n in range(300)]
    pd.DataFrame(rows, columns=["user_id", "item_id"]).to_csv("log.csv", index=False)
    return tmp_path


RECOMMEND = ["recommend", "--histories=log.csv", "-k", "3", "--output=lists.csv"]
COMMANDS = {
    "recommend": RECOMMEND,
    "export": ["export", "--format=torchscript", "--output=out"],
    "serve": ["serve", "--port=0"],
}
WEIGHTS = ["export", "--format=safetensors", "--output=out"]


class Foreign:
    """Stands for what a pickle of another library holds."""


def of_a_later_version(path):
    state = torch.load(path, weights_only=True)
    torch.save(state | {"format": 99}, path)


BAD = {
    "missing": (lambda path: path.unlink(), "there is no checkpoint"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "there is no checkpoint"),
    "text": (lambda path: path.write_text("weights\n"), "is not a checkpoint of tensors"),
    "empty": (lambda path: path.write_bytes(b""), "is not a checkpoint of tensors"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:5000]), "is not a checkpoint of"),
    "a later version": (of_a_later_version, "written by a later version: it is of format 99"),
    "weights alone": (
        lambda path: torch.save({"weight": torch.ones(3)}, path),
        "is not a checkpoint of format",
    ),
    "RecBole's own": (
        lambda path: torch.save({"config": Foreign(), "epoch": 1, "state_dict": {}}, path),
        "RecBole's own checkpoints are pickles",
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("bad", BAD)
def test_a_checkpoint_that_is_none_is_refused(place, capsys, command, bad):
    if command == "serve":
        pytest.importorskip("fastapi_offline", reason="the extra `serve` is not installed")
    spoil, words = BAD[bad]
    spoil(place / "model.pth")
    before = sorted(place.rglob("*"))
    assert main([*COMMANDS[command], "--checkpoint=model.pth"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and "model.pth" in said[0] and words in said[0]
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "log.parquet is no parquet file"),
        (lambda path: path.write_text("user_id,item_id\n"), "log.parquet is no parquet file"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot read log.parquet: "),
        (
            lambda path: pd.DataFrame({"user_id": ["u1"], "item": ["i1"]}).to_parquet(path),
            "has no column item_id",
        ),
        (
            lambda path: pd.DataFrame({"user_id": [], "item_id": []}).to_parquet(path),
            "log.parquet holds no user",
        ),
        (
            lambda path: pd.DataFrame({"user_id": ["u1"], "item_id": [None]}).to_parquet(path),
            "row 1 of the histories: item_id is missing",
        ),
    ],
)
def test_a_parquet_file_that_cannot_be_used(place, capsys, spoil, words):
    pytest.importorskip("pyarrow")
    pd.read_csv("log.csv").to_parquet("log.parquet")
    spoil(place / "log.parquet")
    before = sorted(place.rglob("*"))
    command = [RECOMMEND[0], "--histories=log.parquet", *RECOMMEND[2:]]
    assert main([*command, "--checkpoint=model.pth"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert words in said[-1] and not any("Traceback" in line for line in said)
    assert sorted(place.rglob("*")) == before


def test_ids_that_are_all_unknown_are_refused(place, capsys):
    (place / "items.txt").write_text("new\nnewer\n")
    for option in ("candidates", "deny"):
        assert main([*RECOMMEND, "--checkpoint=model.pth", f"--{option}=items.txt"]) == 2
        assert f"none of the 2 items of {option} is known" in capsys.readouterr().err
    (place / "items.txt").write_text("new\ni3\n")
    assert main([*RECOMMEND, "--checkpoint=model.pth", "--deny=items.txt"]) == 0
    assert "1 items of items.txt (deny) are not known" in capsys.readouterr().out


# ---------------------------------------------------------------- in a process of its own
def on_a_small_disk(arguments, most):
    """The command where no file can be longer than some bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    return main(arguments)


def slowly(arguments):
    """The command in small parts, each of which takes a while."""
    plain = job.write

    def write(table, path):
        time.sleep(0.3)
        plain(table, path)

    job.PART, job.write = 7, write
    return main(arguments)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["recommend", "export", "safetensors"])
def test_a_full_disk_leaves_nothing_that_looks_whole(place, command):
    said = place / "said"
    if command == "safetensors":
        pytest.importorskip("safetensors", reason="the extra export is not installed")
    arguments = [*COMMANDS.get(command, WEIGHTS), "--checkpoint=model.pth"]
    process = warm.Call(on_a_small_disk, arguments, 1500, said=said)
    assert process.wait() == 2, process.said()
    lines = [line for line in process.said().splitlines() if line.startswith("recbole-diffusion")]
    assert len(lines) == 1 and "File too large" in lines[0] and "Traceback" not in process.said()
    left = {path.name for path in place.rglob("*")} - {"model.pth", "log.csv", "said"}
    assert left <= {"lists.csv.parts", "job.json"}
    process = warm.Call(on_a_small_disk, arguments, 10**9, said=said)  # the control
    assert process.wait() == 0, process.said()


@pytest.mark.slow
def test_a_killed_command_goes_on_to_the_file_of_an_undisturbed_one(place, monkeypatch):
    arguments = [*RECOMMEND, "--checkpoint=model.pth"]
    process = warm.Call(slowly, arguments, said=place / "said")
    warm.until(lambda: len(list(place.glob("lists.csv.parts/*.json"))) >= 3)  # job.json and 2
    process.kill()
    process.wait()
    done = {path.name: path.read_bytes() for path in place.glob("lists.csv.parts/part*.csv")}
    assert not (place / "lists.csv").exists() and 2 <= len(done) < 9
    monkeypatch.setattr(job, "PART", 7)
    scored, plain = [], job.write
    monkeypatch.setattr(job, "write", lambda table, path: (scored.append(path), plain(table, path)))
    assert main(arguments) == 0
    assert len(scored) + len(done) in (9, 10)  # 60 users; a part without its counts is made anew
    assert sorted(path.name for path in place.glob("lists*")) == ["lists.csv"]
    assert main([*arguments[:-2], "--output=other.csv", arguments[-1]]) == 0
    assert (place / "lists.csv").read_bytes() == (place / "other.csv").read_bytes()


def test_parts_of_another_size_are_of_another_job(place, monkeypatch, capsys):
    (place / "lists.csv").mkdir()  # in the way
    assert main([*RECOMMEND, "--checkpoint=model.pth"]) == 2
    (place / "lists.csv").rmdir()

    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(job, "write", stop)
        assert main([*RECOMMEND, "--checkpoint=model.pth"]) == 130
    assert "the same command goes on with the parts it lacks" in capsys.readouterr().err
    monkeypatch.setattr(job, "PART", 7)
    assert main([*RECOMMEND, "--checkpoint=model.pth"]) == 2
    assert "holds parts of another job" in capsys.readouterr().err
    assert not (place / "lists.csv").exists()
