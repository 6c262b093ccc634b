"""Checkpoints: what comes back, what survives a kill, and what is refused."""

import io
import json
import os
import pickle
import random
import subprocess
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recbole.config import Config as HostConfig
from scipy import sparse

from recbole_diffusion.config.config import Config
from recbole_diffusion.trainer import checkpoint
from recbole_diffusion.trainer.checkpoint import CheckpointError
from recbole_diffusion.trainer.randomness import own_randomness, random_states, set_random_states
from recbole_diffusion.trainer.writing import reason, replacing


class Attack:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch attacked",)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def there_and_back(value):
    checkpoint.save("x.pth", {"value": value})
    return checkpoint.load("x.pth")["value"]


# ---------------------------------------------------------------- round trip
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.arange(6, dtype=np.float32)[::2],
        np.array(3.5),
        np.array([True, False]),
        np.zeros((0, 4), dtype=np.int16),
        np.broadcast_to(np.float64(2), (2, 2)),  # not writable
    ],
    ids=["matrix", "fortran", "strided", "no_axis", "bool", "empty", "read_only"],
)
def test_an_array_comes_back_with_its_values_shape_and_type(array):
    back = there_and_back(array)
    assert isinstance(back, np.ndarray)
    assert back.dtype == array.dtype and back.shape == array.shape
    assert np.array_equal(back, array)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok"])
def test_a_sparse_matrix_comes_back_as_csr_with_its_values(form):
    matrix = sparse.random(7, 5, density=0.4, random_state=0).asformat(form)
    back = there_and_back(matrix)
    assert back.format == "csr" and back.shape == matrix.shape
    assert (back != matrix.tocsr()).nnz == 0


def test_plain_values_come_back_in_their_containers():
    value = {
        "none": None,
        "tuple": (1, "a", (2.5, [np.float64(0.1), np.int64(3)])),
        7: {np.int64(8): True},
        "tensor": torch.arange(3),
    }
    back = there_and_back(value)
    assert back["none"] is None and back["tuple"] == (1, "a", (2.5, [0.1, 3]))
    assert type(back["tuple"][2][1][0]) is float and type(back["tuple"][2][1][1]) is int
    assert back[7] == {8: True}
    assert torch.equal(back["tensor"], value["tensor"])
    assert there_and_back(namedtuple("Pair", "a b")(1, 2)) == (1, 2)


@pytest.mark.parametrize("value", [object(), {1, 2}, Attack(), np.array(["a"]), np.array([None])])
def test_what_would_need_a_pickle_is_not_stored(value):
    with pytest.raises(CheckpointError, match="cannot be stored in a checkpoint"):
        checkpoint.save("x.pth", {"deep": [{"value": value}]})
    assert not os.path.exists("x.pth")


def test_random_states_come_back_and_give_the_same_numbers():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    states = there_and_back(random_states())
    first = draw()
    assert draw() != first
    set_random_states(states)
    assert draw() == first


# ---------------------------------------------------------------- a kill at any moment
def test_a_failure_in_the_middle_of_saving_leaves_the_old_file_and_nothing_else(monkeypatch):
    checkpoint.save("x.pth", {"value": 1})
    failures = [
        (OSError(28, "No space left on device"), CheckpointError),
        (RuntimeError("unexpected pos 768 vs 662"), CheckpointError),  # torch's own
        (KeyboardInterrupt(), KeyboardInterrupt),
    ]
    for failure, refusal in failures:

        def half(state, file, failure=failure):
            file.write(b"half of a checkpoint")
            raise failure

        monkeypatch.setattr(torch, "save", half)
        with pytest.raises(refusal) as raised:
            checkpoint.save("x.pth", {"value": 2})
        if refusal is CheckpointError:
            assert str(raised.value).startswith("x.pth could not be written: ")
        assert os.listdir() == ["x.pth"] and checkpoint.load("x.pth")["value"] == 1


def test_a_stop_inside_torch_stays_a_stop():
    """torch says RuntimeError where writing raises in the middle, whatever it is."""

    class Stopped(io.BytesIO):
        def write(self, data):
            if self.tell():
                raise KeyboardInterrupt
            return super().write(data)

    with pytest.raises(RuntimeError) as raised:  # the control
        torch.save({"value": torch.zeros(10)}, Stopped())
    with pytest.raises(KeyboardInterrupt):
        reason(raised.value)


@pytest.fixture
def full_disk(tmp_path):
    """A folder of half a MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=512k", "tmpfs"]
    done = subprocess.run(["mount", *options, folder], capture_output=True, timeout=30)
    if done.returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True, timeout=30)


def test_a_full_disk_is_said_in_a_line_and_the_old_file_stays(full_disk):
    file = full_disk / "x.pth"
    checkpoint.save(file, {"value": torch.zeros(1000)})
    for size in (200_000, 2_000_000):
        with pytest.raises(CheckpointError, match="x.pth could not be written: No space left on d"):
            checkpoint.save(file, {"value": torch.zeros(size)})
        assert os.listdir(full_disk) == ["x.pth"]
    assert torch.equal(checkpoint.load(file)["value"], torch.zeros(1000))
    checkpoint.save(file, {"value": torch.ones(10_000)})  # there is room again


def test_what_a_killed_process_left_is_deleted_and_what_a_living_one_writes_is_not():
    checkpoint.save("x.pth", {"value": 1})
    Path("x.pth.0a0a.writing").write_bytes(b"of a killed process")
    Path("y.pth.0a0a.writing").write_bytes(b"of another run that was killed")
    Path("y.json.writing").write_bytes(b"of something else")
    Path("z.pth.0a0a.writing").touch()  # may be one that was begun this moment
    with replacing(Path("x.pth")) as first:
        first.write(b"half")
        assert sorted(os.listdir())[0] == "x.pth"
        checkpoint.save("x.pth", {"value": 2})  # another writer, at the same time
        assert len(os.listdir()) == 4 and checkpoint.load("x.pth")["value"] == 2
    assert sorted(os.listdir()) == ["x.pth", "y.json.writing", "z.pth.0a0a.writing"]
    assert Path("x.pth").read_bytes() == b"half"  # each was whole when it took the place


def test_a_reader_never_sees_half_a_file(monkeypatch):
    checkpoint.save("x.pth", {"value": 1})
    seen = []
    write = torch.save

    def watched(state, file):
        write(state, file)
        seen.append(checkpoint.load("x.pth")["value"])

    monkeypatch.setattr(torch, "save", watched)
    checkpoint.save("x.pth", {"value": 2})
    assert seen == [1] and checkpoint.load("x.pth")["value"] == 2


# ---------------------------------------------------------------- what is refused
def test_a_malicious_pickle_is_refused_and_runs_nothing():
    torch.save({"format": checkpoint.FORMAT, "value": Attack()}, "evil.pth")
    with pytest.raises(CheckpointError, match="evil.pth is not a checkpoint of tensors"):
        checkpoint.load("evil.pth")
    with open("plain.pth", "wb") as file:
        pickle.dump(Attack(), file)
    with pytest.raises(CheckpointError, match="plain.pth is not a checkpoint of tensors"):
        checkpoint.load("plain.pth")
    assert not os.path.exists("attacked")
    torch.load("evil.pth", weights_only=False)  # the control: the attack works
    assert os.path.exists("attacked")


def test_code_in_the_text_of_a_configuration_stays_text():
    text = "__import__('os').system('touch attacked')"
    state = {"config": json.dumps({"note": text, "seed": text, "epochs": 1})}
    checkpoint.save("x.pth", state)
    state = checkpoint.load("x.pth")
    assert checkpoint.settings_of_a_run(state["config"]) == {"note": text, "seed": text}
    with pytest.raises(CheckpointError, match="seed = __import__"):
        checkpoint.check_settings(state, Config("Pop", "tiny"), "x.pth")
    assert not os.path.exists("attacked")
    eval(text)  # the control: the host would have run it
    assert os.path.exists("attacked")


def test_our_checkpoints_load_as_weights_only():
    checkpoint.save("x.pth", {"array": np.arange(3), "random": random_states()})
    assert torch.load("x.pth", weights_only=True)["format"] == checkpoint.FORMAT


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_a_truncated_file_is_refused_by_name(size):
    checkpoint.save("x.pth", {"value": torch.zeros(1000)})
    with open("x.pth", "rb") as file:
        whole = file.read()
    with open("x.pth", "wb") as file:
        file.write(whole[:size])
    with pytest.raises(CheckpointError, match="x.pth is not a checkpoint"):
        checkpoint.load("x.pth")


def test_a_checkpoint_of_recbole_is_refused_with_the_reason():
    torch.save({"config": HostConfig("BPR", "tiny"), "epoch": 1}, "host.pth")
    with pytest.raises(CheckpointError, match="RecBole's own checkpoints are pickles"):
        checkpoint.load("host.pth")


def test_other_files_are_refused_by_name():
    with pytest.raises(CheckpointError, match="there is no checkpoint nowhere.pth"):
        checkpoint.load("nowhere.pth")
    torch.save({"format": -1}, "old.pth")
    with pytest.raises(CheckpointError, match="old.pth is not a checkpoint of format"):
        checkpoint.load("old.pth")
    torch.save(torch.zeros(3), "tensor.pth")
    with pytest.raises(CheckpointError, match="tensor.pth is not a checkpoint of format"):
        checkpoint.load("tensor.pth")


# ---------------------------------------------------------------- which data, which run
def data(
    users=("[PAD]", "a", "b"), items=("[PAD]", "x", "y"), behaviors=("[PAD]", "buy"), **config
):
    return SimpleNamespace(
        uid_field="user",
        iid_field="item",
        dataset_name="shop",
        field2id_token={"user": users, "item": items, "behavior": behaviors},
        config={"behavior_input": True, "BEHAVIOR_FIELD": "behavior"} | config,
    )


def mark(dataset):
    return checkpoint.fingerprint(checkpoint.tokens(dataset))


def test_the_fingerprint_knows_every_token_and_its_place():
    assert mark(data()) == mark(data(users=list(data().field2id_token["user"])))
    others = [
        data(users=("[PAD]", "b", "a")),
        data(items=("[PAD]", "x", "z")),
        data(users=("[PAD]", "a"), items=("[PAD]", "b", "x", "y")),
        data(behaviors=("[PAD]", "view")),
        data(BEHAVIOR_FIELD=None),
    ]
    assert len({mark(dataset) for dataset in [data(), *others]}) == 6
    alone = data(behavior_input=False)  # a model without behaviours does not care for them
    assert mark(alone) == mark(data(behavior_input=False, behaviors=("[PAD]", "view")))


def test_other_data_are_refused_with_both_fingerprints():
    state = {"fingerprint": mark(data())}
    other = data(items=("[PAD]", "x", "z"))
    checkpoint.check_data(state, data(), "x.pth")
    with pytest.raises(CheckpointError, match=f"{mark(data())}.*'shop' here {mark(other)}"):
        checkpoint.check_data(state, other, "x.pth")


def test_a_run_is_named_by_what_decides_its_training():
    def name(**settings):
        return checkpoint.run_name(Config("ICDDT", "tiny", config_dict=settings))

    assert name() == name(epochs=3, checkpoint_dir="elsewhere", topk=[10], state="ERROR", worker=1)
    names = {name(), name(seed=1), name(learning_rate=0.1), name(diffusion_steps=3)}
    assert len(names) == 4
    assert all(text.startswith("ICDDT-tiny-") for text in names)


@pytest.mark.parametrize("model", ["ICDDT", "DiffuRec", "DimeRec", "SASRec", "GRU4Rec", "DiffRec"])
def test_settings_that_came_later_are_not_in_the_name_of_a_run_that_is_as_before(model):
    one_row = {"all_positions": False} if model in ("SASRec", "GRU4Rec") else {}

    def kept(**settings):
        config = Config(model, "tiny", config_dict=one_row | settings)
        return checkpoint.settings_of_a_run(checkpoint.config_text(config), model)

    late = {"compile", "loss", "all_positions", *(["n_negatives"] if model != "DimeRec" else [])}
    assert late & set(kept()) == ({"all_positions"} if model == "DimeRec" else set())
    assert kept(compile=True) == kept() | {"compile": True}  # the control
    if model != "DiffRec":
        assert kept(loss="sampled")["loss"] == "sampled"


def test_a_key_that_a_model_always_had_is_in_its_name():
    names = {
        checkpoint.run_name(Config("DreamRec", "tiny", config_dict={"all_positions": value}))
        for value in (True, False)
    }
    text = checkpoint.config_text(Config("DreamRec", "tiny", config_dict={"all_positions": False}))
    assert len(names) == 2
    assert checkpoint.settings_of_a_run(text, "DreamRec")["all_positions"] is False


def test_other_settings_are_refused_with_both_values():
    def config(**settings):
        return Config("ICDDT", "tiny", config_dict=settings)

    state = {"config": checkpoint.config_text(config(learning_rate=0.1))}
    checkpoint.check_settings(state, config(learning_rate=0.1, epochs=9), "x.pth")
    with pytest.raises(CheckpointError, match="with learning_rate = 0.1, here it is 0.2"):
        checkpoint.check_settings(state, config(learning_rate=0.2), "x.pth")


# ---------------------------------------------------------------- own randomness
def test_a_block_with_own_randomness_repeats_and_leaves_no_trace():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    before = random_states()
    with own_randomness(5):
        first = draw()
    with pytest.raises(KeyError), own_randomness(5):
        assert draw() == first
        raise KeyError("a failure inside")
    with own_randomness(6):
        assert draw() != first
    after = draw()
    set_random_states(before)
    assert draw() == after
