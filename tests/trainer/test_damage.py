"""Damaged checkpoints: refused in a line that names the file, or read with the same result."""

import json
import os
import random
import zipfile
from pathlib import Path

import pytest
import torch

from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.quick_start.quick_start import run_recbole_diffusion
from recbole_diffusion.quick_start.saved_run import load_run
from recbole_diffusion.trainer import checkpoint
from recbole_diffusion.trainer.checkpoint import CheckpointError
from recbole_diffusion.trainer.content import digest_of

NAN = float("nan")


class Trained:
    """A run of a small model, what it comes to, and how its files are used again."""

    def __init__(self, model, settings):
        self.model, self.settings = model, settings
        self.best = Path(run_recbole_diffusion(model, "shop", config_dict=settings)["checkpoint"])
        self.last = Path(str(self.best).replace(".best.", ".last."))
        self.files = {file: file.read_bytes() for file in (self.best, self.last)}
        self.whole = {use: use(self) for use in (Trained.load, Trained.resume)}
        self.restore()

    def restore(self):
        for file, content in self.files.items():
            file.write_bytes(content)

    def load(self):
        found = load_run(self.best)
        return found.trainer.evaluate(found.test_data, load_best_model=False)

    def resume(self):
        settings = self.settings | {"epochs": 3, "resume": str(self.last)}
        return run_recbole_diffusion(self.model, "shop", config_dict=settings)["test_result"]

    def outcome(self, use, file):
        """What came of a use of the files: the result of whole ones, or a line; never more."""
        try:
            result = use(self)
        except (CheckpointError, ConfigError) as error:
            assert file.name in str(error) and "\n" not in str(error)
            return str(error)
        finally:
            self.restore()
        assert result == self.whole[use]
        return None


@pytest.fixture
def trained(shop, small):
    settings = small("DreamRec", lr_scheduler={"factor": 0.5, "patience": 0}, state="CRITICAL")
    return Trained("DreamRec", settings)


USES = [(Trained.load, "best"), (Trained.resume, "last")]
SLOW = [USES[0], pytest.param(*USES[1], marks=pytest.mark.slow)]


@pytest.mark.parametrize("use, kind", SLOW)
def test_damaged_bytes_are_refused_or_do_not_matter(use, kind, trained):
    file = getattr(trained, kind)
    whole = trained.files[file]
    draw = random.Random(5)
    refused = 0
    for number in range(24):
        damaged = bytearray(whole)
        place = draw.randrange(len(whole))
        if number % 3 == 0:
            del damaged[place:]
        elif number % 3 == 1:
            damaged[place] ^= 1 << draw.randrange(8)
        else:
            damaged[place : place + 100] = draw.randbytes(100)
        file.write_bytes(damaged)
        refused += trained.outcome(use, file) is not None
    assert refused > 15
    for other in (b"", b"not a checkpoint", whole[:-1], whole[1:]):
        file.write_bytes(other)
        assert trained.outcome(use, file)


def test_one_flipped_bit_of_a_weight_is_noticed(trained):
    content = torch.load(trained.best, weights_only=True)
    weight = content["state_dict"]["item_embedding.weight"]
    stored = weight.clone()
    with torch.no_grad():
        weight.view(torch.int32)[3, 2] ^= 1
    assert torch.allclose(weight, stored) and not torch.equal(weight, stored)
    torch.save(content, trained.best)
    assert "is damaged, or was changed by hand" in trained.outcome(Trained.load, trained.best)
    del content["digest"]  # the control, and what earlier versions wrote
    torch.save(content, "older.best.pth")
    model = load_run("older.best.pth").trainer.model
    assert torch.equal(model.item_embedding.weight, weight)


FIELDS = {
    "model": ["SASRec", "evil:Model", 5, None],
    "class": ["nowhere:DreamRec", 5],
    "dataset": ["other", None],
    "config": ["", "{}", "[]", "[" * 10_000, 5, json.dumps({"model": "DreamRec"})],
    "fingerprint": ["0", 0],
    "tokens": [None, {}, {"user_id": 5}, {"user_id": "a"}],
    "interactions": [
        5,
        {},
        {"rows": [1, 2, 3], "stored": 1, "events": "", "order": "", "split": ""},
    ],
    "epoch": [None, "1", 1.0, -2, NAN, True],
    "best_epoch": [-1, 10**6, 1.5],
    "best_valid_score": [None, NAN, "high"],
    "best_valid_result": [5, {"hit@10": None}],
    "state_dict": [None, {}, {"weight": 5}, {5: torch.zeros(2)}],
    "other_parameter": [None, [], {"forward": 5}],
}
TRAINING = {
    "optimizers": [
        None,
        {},
        {"optimizer": {}},
        {"optimizer": {"state": {}, "param_groups": []}},
        {"optimizer": {"state": {}, "param_groups": [{"params": [0], "lr": 0.1}]}},
        {"other": {"state": {}, "param_groups": []}},
    ],
    "counters": [None, {"n_items": "5"}, {"forward": 5}, {"a b": 1}, {"n_items": NAN}],
    "schedulers": [None, {}, {"optimizer": {}}, {"optimizer": {"best": "low"}}, {"other": {}}],
    "cur_step": [None, -1, "0"],
    "random": [None, {}, {"python": (3, (1, 2), None)}, {"python": 5, "numpy": 5, "torch": 5}],
    "loaders": [None, [], [5], [torch.zeros(3)], [torch.zeros(3, dtype=torch.uint8)]],
    "seconds": [None, [1], [1, NAN], [1, -1]],
    "curve": [None, [5], [[1, 2]]],
    "budget_seconds": [None, -1, NAN, "long"],
}


@pytest.mark.slow
@pytest.mark.parametrize("use, kind", USES)
def test_a_field_that_is_missing_or_wrong_is_named(use, kind, trained):
    """Also where the hash is right, as in a file that another program made."""
    file = getattr(trained, kind)
    words = {"class": "--model=", "state_dict": "weights", "optimizers": "training state"}
    state = checkpoint.load(file)
    for name, values in (FIELDS if use is Trained.load else TRAINING).items():
        for value in values:
            checkpoint.save(file, state | {name: value})
            said = trained.outcome(use, file)
            assert said and (name in said or words[name] in said), (name, value, said)
        if name not in ("class", "interactions", "curve"):  # which earlier versions have not
            checkpoint.save(file, {key: state[key] for key in state if key != name})
            assert name in trained.outcome(use, file) or name == "optimizers"


@pytest.mark.parametrize("use, kind", USES)
def test_weights_that_do_not_fit_are_named(use, kind, trained):
    file = getattr(trained, kind)
    state = checkpoint.load(file)
    weights = state["state_dict"]
    name, value = next(iter(weights.items()))
    for other in (value[:-1], value.double(), value * NAN, value.to_sparse(), value.unsqueeze(0)):
        checkpoint.save(file, state | {"state_dict": weights | {name: other}})
        assert name in trained.outcome(use, file)
    checkpoint.save(file, state | {"state_dict": weights | {"more": value}})
    assert "more is none of its own" in trained.outcome(use, file)


def test_the_state_of_an_optimizer_that_does_not_fit_is_named(trained):
    state = checkpoint.load(trained.last)
    groups = state["optimizers"]["optimizer"]["param_groups"]
    collected = state["optimizers"]["optimizer"]["state"]
    first = collected[0]
    others = [
        (collected | {0: first | {"exp_avg": first["exp_avg"][:-1]}}, groups),
        (collected | {0: first | {"exp_avg": first["exp_avg"] * NAN}}, groups),
        (collected | {0: first | {"step": None}}, groups),
        (collected | {0: {"step": first["step"]}}, groups),
        (collected | {"0": first}, groups),
        (collected | {10**6: first}, groups),
        (collected, [groups[0] | {"lr": "0.1"}]),
        (collected, [groups[0] | {"lr": -1.0}]),
        (collected, groups * 2),
    ]
    for found, of in others:
        optimizers = {"optimizer": {"state": found, "param_groups": of}}
        checkpoint.save(trained.last, state | {"optimizers": optimizers})
        assert "optimizers: " in trained.outcome(Trained.resume, trained.last)
    changed = [groups[0] | {"betas": "none", "of_old": 5}]  # the settings decide these
    optimizers = {"optimizer": {"state": collected, "param_groups": changed}}
    checkpoint.save(trained.last, state | {"optimizers": optimizers})
    assert trained.outcome(Trained.resume, trained.last) is None


def test_a_folder_is_no_checkpoint(shop):
    os.mkdir("x.best.pth")
    with pytest.raises(CheckpointError, match="there is no checkpoint x.best.pth"):
        load_run("x.best.pth")


# ---------------------------------------------------------------- what is made to do harm
def test_a_file_that_unpacks_to_more_than_it_is_is_refused(tmp_path):
    checkpoint.save(tmp_path / "x.pth", {"value": torch.zeros(10)})
    with zipfile.ZipFile(tmp_path / "x.pth") as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
        for name, part in parts.items():
            bomb.writestr(name, part if not name.endswith("/data/0") else bytes(10**8))
    assert (tmp_path / "bomb.pth").stat().st_size < 10**6
    with pytest.raises(CheckpointError, match="bomb.pth is not a checkpoint.*unpack to 100"):
        checkpoint.load(tmp_path / "bomb.pth")


def test_values_that_are_more_than_their_file_are_refused(tmp_path):
    file = tmp_path / "x.pth"
    doubled = [0]
    for _ in range(40):
        doubled = [doubled, doubled]
    circle = []
    circle.append(circle)
    huge = torch.zeros(1).expand(10**12)
    for value in (doubled, circle, huge, torch.zeros(3, device="meta")):
        torch.save({"format": checkpoint.FORMAT, "value": value}, file)
        with pytest.raises(CheckpointError, match="x.pth is damaged: it "):
            checkpoint.load(file)


@pytest.mark.parametrize(
    "value",
    [
        torch.arange(6.0).reshape(2, 3).T,
        torch.zeros(1).expand(4),
        torch.eye(3).to_sparse(),
        torch.eye(3).to_sparse_csr(),
        torch.tensor([1 + 2j]),
        torch.ones(3, dtype=torch.bfloat16),
        torch.tensor(True),
        torch.zeros(0, 2),
        {"nested": [(1, None, "é\ud800", -0.0, float("inf"))]},
    ],
    ids=str,
)
def test_what_may_be_stored_comes_back_with_its_hash(value, tmp_path):
    checkpoint.save(tmp_path / "x.pth", {"value": value})
    back = checkpoint.load(tmp_path / "x.pth")["value"]
    assert digest_of(back) == digest_of(checkpoint.encode(value))


def test_different_values_have_different_hashes():
    values = [0, 0.0, -0.0, "0", None, False, [], (), {}, [0], [[0]], [0, 0], {"a": 0}, {"a": [0]}]
    zeros = torch.zeros(2, 3)
    values += [zeros, zeros.T, zeros.double(), zeros.int(), zeros.to_sparse(), zeros[0], ["0", ""]]
    assert len({digest_of(value) for value in values}) == len(values)
