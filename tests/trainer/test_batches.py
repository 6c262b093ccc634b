"""How rows are put into batches for evaluation, and by how many processes, changes no number."""

import pytest

from recbole_diffusion.testing.laws import differences
from recbole_diffusion.trainer import checkpoint

OURS = {
    "ICDDT": {},
    "DiffuRec": {},
    "DreamRec": {"reverse_noise": True},
    "DimeRec": {"reverse_noise": True},
    "DiffRec": {"sampling_noise": True, "noise_scale": 1.0},
    "TDiffRec": {"sampling_steps": 3, "noise_scale": 1.0},
    "LDiffRec": {"sampling_noise": True, "noise_scale": 1.0},
    "LTDiffRec": {"sampling_steps": 3, "noise_scale": 1.0},
    "MarkovChain": {},
}
HOSTS = {name: {} for name in "SASRec GRU4Rec BERT4Rec LightGCN MultiVAE BPR EASE".split()}
HOSTS["GRU4Rec, pairs"] = {"loss_type": "BPR"}
FAST = ("ICDDT", "BPR")
BERT4REC = {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1}


def outcome(result):
    """Metrics, and what the checkpoints hold but for times and settings."""
    found = {key: result[key] for key in ("best_valid_result", "test_result", "best_epoch")}
    for kind in ("best", "last"):
        state = checkpoint.load(result["checkpoint"].replace(".best.", f".{kind}."))
        kept = ("state_dict", "other_parameter", "optimizers", "random", "loaders", "epoch")
        found[kind] = checkpoint.encode({key: state[key] for key in kept if key in state})
    return found


@pytest.mark.parametrize(
    "name, settings",
    [
        pytest.param(*pair, marks=[] if pair[0] in FAST else pytest.mark.slow, id=pair[0])
        for pair in (OURS | HOSTS).items()
    ],
)
def test_neither_batches_of_evaluation_nor_processes_change_a_run(name, settings, run):
    model = name.partition(",")[0]
    small = BERT4REC if model == "BERT4Rec" else {}
    slow = name not in FAST
    changes = [{"worker": 2}, {"eval_users_per_batch": 7}]
    if slow:
        changes += [{"eval_users_per_batch": users} for users in (1, 64, 512)]
        changes += [{"eval_users_per_batch": 7, "worker": 2}]
    first = outcome(run(model, checkpoint_dir="first", **small, **settings))
    for change in changes:
        where = "-".join(f"{key}{value}" for key, value in change.items())
        other = outcome(run(model, checkpoint_dir=where, **small, **settings, **change))
        assert not differences(first, other), where
    other = outcome(run(model, checkpoint_dir="other", **small, **settings, seed=3))
    if model not in ("MarkovChain", "EASE"):
        assert differences(first, other)  # the control
