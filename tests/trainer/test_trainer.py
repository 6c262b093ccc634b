"""Training that repeats, resumes, ends in time and says what went wrong; honest evaluation."""

import os
import runpy
import signal
from contextlib import contextmanager, nullcontext
from logging import INFO
from pathlib import Path

import pytest
import recbole.trainer.trainer
import torch
from marks import slow_but
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from warm import Call

from recbole_diffusion.config.config import Config
from recbole_diffusion.config.names import get_model
from recbole_diffusion.quick_start import quick_start
from recbole_diffusion.testing.laws import differences
from recbole_diffusion.trainer import checkpoint, evaluation, saving, scoring, trainer
from recbole_diffusion.trainer.checkpoint import CheckpointError
from recbole_diffusion.trainer.collapse import mean_pairwise_cosine

DIFFREC = ["DiffRec", "TDiffRec", "LDiffRec", "LTDiffRec"]
NEXT_ITEM = ["ICDDT", "DiffuRec", "DreamRec", "DimeRec"]
MODELS = [*NEXT_ITEM, "SASRec", "MultiVAE", "RecVAE", "LightGCN", *DIFFREC]
PLATEAU = {"factor": 0.5, "patience": 0, "threshold": 0.5}  # lowers the rate nearly every epoch
SAMPLED = {"loss": "sampled", "n_negatives": 8}


class Killed(Exception):
    """Stands for a kill in the middle of an epoch."""


@contextmanager
def hook(model, before=lambda model, n: None):
    """Calls a function with (model, n) before the n-th training batch, counted from 1.

    What it returns replaces the loss. Gives the list of the batches so far.
    """
    model_class = get_model(model)
    calculate_loss = model_class.calculate_loss
    batches = []

    def hooked(self, *batch, **flags):
        batches.append(len(batches) + 1)
        loss = before(self, len(batches))
        return calculate_loss(self, *batch, **flags) if loss is None else loss

    model_class.calculate_loss = hooked
    try:
        yield batches
    finally:
        model_class.calculate_loss = calculate_loss


def killing(last_breath):
    """A hook that kills before a batch."""

    def kill(_, n):
        if n == last_breath:
            raise Killed

    return kill


def path_of(result, kind):
    return result["checkpoint"].replace(".best.", f".{kind}.")


def state(result, kind="best"):
    """The checkpoint of a run, ``best`` or ``last``, without wall times and its own settings."""
    state = checkpoint.load(path_of(result, kind))
    for point in state.get("curve", []):
        del point[1]  # seconds
    for key in ("seconds", "budget_seconds", "config"):
        state.pop(key, None)
    return state


def outcome(result):
    """What of a result must repeat: all but times, memory, paths and settings."""
    keys = "best_epoch epochs stopped_by best_valid_result test_result never_trained_items".split()
    return {key: result[key] for key in [*keys, "split", "parameters", "walk"]}


@pytest.fixture
def scores(monkeypatch):
    """Gives a function that sets the validation scores of the epochs to come."""

    def scores(*values):
        following = iter(values)
        monkeypatch.setattr(
            recbole.trainer.trainer, "calculate_valid_score", lambda *_: next(following)
        )

    return scores


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only when it is told to, by ``clock[0] += seconds``."""
    now = [0.0]
    for module in (trainer, saving, evaluation):
        monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


# ---------------------------------------------------------------- repeating
@pytest.mark.parametrize("model", slow_but(("ICDDT", "DiffRec"), [*MODELS, "GRU4Rec"]))
def test_the_same_command_twice_gives_the_same_numbers_and_weights(model, run):
    pairwise = {"loss_type": "BPR"} if model == "GRU4Rec" else {}  # draws negative samples
    first = run(model, checkpoint_dir="first", **pairwise)
    second = run(model, checkpoint_dir="second", **pairwise)
    assert outcome(first) == outcome(second)
    assert not differences(state(first, "last"), state(second, "last"))
    other = run(model, checkpoint_dir="other", seed=1, **pairwise)  # the control
    assert differences(state(first)["state_dict"], state(other)["state_dict"])


# ---------------------------------------------------------------- resuming
@pytest.mark.parametrize(
    "model, eval_step, epochs, more",  # killed in these epochs, counted from 0
    slow_but(
        ("ICDDT", "LTDiffRec"),
        [(model, 1, [2], {}) for model in MODELS]
        + [(model, 2, [1, 2], {}) for model in ("ICDDT", "SASRec")]
        + [(model, 1, [2], SAMPLED) for model in ("ICDDT", "DimeRec", "SASRec")],
    ),
)
def test_a_run_killed_in_an_epoch_and_resumed_ends_as_if_it_had_not_been(
    model, eval_step, epochs, more, run
):
    settings = {"epochs": 4, "eval_step": eval_step, "lr_scheduler": PLATEAU}
    settings = settings | {"train_batch_size": 32} | more
    with hook(model) as batches:
        whole = run(model, checkpoint_dir="whole", **settings)
    per_epoch = len(batches) // whole["epochs"]
    assert whole["epochs"] == 4 and per_epoch > 1

    for epoch in epochs:
        folder = f"killed_{epoch}"
        with hook(model, killing(epoch * per_epoch + 2)), pytest.raises(Killed):
            run(model, checkpoint_dir=folder, **settings)
        with hook(model) as batches:
            resumed = run(model, checkpoint_dir=folder, resume=True, **settings)
        assert len(batches) == (4 - epoch) * per_epoch
        assert outcome(resumed) == outcome(whole)
        for kind in ("last", "best"):
            assert not differences(state(resumed, kind), state(whole, kind)), kind


@pytest.mark.parametrize("model", ["LDiffRec", "LTDiffRec"])
def test_the_clusters_of_a_resumed_run_are_those_it_began_with(model, run, monkeypatch):
    settings = {"epochs": 4, "train_batch_size": 16, "anneal_unit": "epoch", "n_cate": 3}
    whole = run(model, checkpoint_dir="whole", **settings)
    with hook(model, killing(8)), pytest.raises(Killed):
        run(model, checkpoint_dir="killed", **settings)
    last = next(Path("killed").glob("*.last.pth"))
    then = checkpoint.load(last)
    began_with = then["state_dict"]["cluster_ids"]
    assert len(began_with.unique()) == 3 and int(then["state_dict"]["epochs"]) == 2

    monkeypatch.setattr(quick_start, "item_clusters", None)
    resumed = run(model, checkpoint_dir="killed", resume=True, **settings)
    assert outcome(resumed) == outcome(whole)
    assert not differences(state(resumed, "last"), state(whole, "last"))
    weights = state(resumed, "last")["state_dict"]
    assert torch.equal(weights["cluster_ids"], began_with)
    assert (int(weights["batches"]), int(weights["epochs"])) == (12, 4)
    with pytest.raises(TypeError, match="not callable"):  # the control: a new run asks for them
        run(model, checkpoint_dir="new", **settings)

    # what the file holds is what is used, whatever the clusters would be now
    ids = began_with.flip(0)
    checkpoint.save(last, then | {"state_dict": then["state_dict"] | {"cluster_ids": ids}})
    other = run(model, checkpoint_dir="killed", resume=True, **settings)
    others = state(other, "last")["state_dict"]
    assert torch.equal(others["cluster_ids"], ids)
    assert differences(others | {"cluster_ids": began_with}, weights)


def test_clusters_are_taken_only_from_a_checkpoint_that_fits(run, shop):
    last = path_of(run("LDiffRec"), "last")
    for model, settings, message in (
        ("LTDiffRec", {}, "holds a LDiffRec, not a LTDiffRec"),
        ("DiffRec", {}, "holds a LDiffRec, not a DiffRec"),
        ("LDiffRec", {"n_cate": 3}, "with n_cate = 2, here it is 3"),
        ("LDiffRec", {"anneal_unit": "epoch"}, "with anneal_unit = batch, here it is epoch"),
        ("LDiffRec", {"in_dims": [5]}, "do not fit this model"),
    ):
        with pytest.raises(CheckpointError, match=message):
            run(model, **({"resume": last} | settings))
    other = path_of(run("DiffRec"), "last")
    with pytest.raises(CheckpointError, match="holds a DiffRec, not a LDiffRec"):
        run("LDiffRec", resume=other)

    data = shop / "dataset" / "shop" / "shop.inter"
    text = data.read_text()
    data.write_text(text.replace("\ti7\t", "\tlamp\t"))
    with pytest.raises(CheckpointError, match="other data: .*fingerprint .*'shop' here"):
        run("LDiffRec", resume=last)
    data.write_text(text)
    run("LDiffRec", resume=last)  # the control


def test_a_run_killed_before_its_first_checkpoint_starts_anew(run, caplog):
    whole = run("ICDDT", checkpoint_dir="whole")
    with hook("ICDDT", killing(2)), pytest.raises(Killed):
        run("ICDDT", checkpoint_dir="killed")
    resumed = run("ICDDT", checkpoint_dir="killed", resume=True)
    assert "nothing to resume" in caplog.text
    assert not differences(state(resumed, "last"), state(whole, "last"))


def test_the_curve_of_a_resumed_run_is_that_of_one_left_alone(run, shop, small):
    def fitted(folder, **settings):
        settings = small("SASRec", epochs=3, checkpoint_dir=folder) | settings
        return quick_start.fit(Config("SASRec", "shop", config_dict=settings)).trainer

    def scores(curve):
        return [[epoch, score] for epoch, _, score in curve]

    whole = fitted("whole")
    assert [epoch for epoch, *_ in whole.curve] == [1, 2, 3]
    spent = [seconds for _, seconds, _ in whole.curve]
    assert sorted(set(spent)) == spent
    assert spent[-1] == pytest.approx(whole.train_seconds + whole.valid_seconds, abs=1e-3)
    fitted("part", epochs=2)
    resumed = fitted("part", resume=True)
    assert scores(resumed.curve) == scores(whole.curve)
    assert resumed.curve[2][1] > resumed.curve[1][1]  # seconds go on too

    (last,) = shop.glob("part/*.last.pth")
    old = checkpoint.load(last)  # of a version without curves
    del old["format"], old["curve"]
    checkpoint.save(last, old)
    assert (
        scores(fitted("part", resume=True, epochs=4).curve)
        == scores(fitted("four", epochs=4).curve)[3:]
    )


def test_resuming_without_validation_goes_on_with_the_last_epoch(run):
    settings = {"eval_args": {"split": {"LS": "test_only"}, "order": "TO", "mode": "full"}}
    whole = run("ICDDT", checkpoint_dir="whole", epochs=3, **settings)
    run("ICDDT", checkpoint_dir="part", epochs=2, **settings)
    resumed = run("ICDDT", checkpoint_dir="part", resume=True, epochs=3, **settings)
    assert outcome(resumed) == outcome(whole)
    assert whole["best_epoch"] == 3 and whole["best_valid_result"] is None
    assert not differences(state(resumed, "last"), state(whole, "last"))


@pytest.mark.parametrize("model", ["ICDDT", "SASRec"])
def test_a_process_killed_with_sigkill_and_resumed_ends_as_if_it_had_not_been(model, run, small):
    settings = small(model, epochs=4, train_batch_size=32)
    with hook(model) as batches:
        whole = run(model, checkpoint_dir="whole", **settings)
    last_breath = len(batches) // 2 + 2
    Path("killed.py").write_text(
        "import os, signal\n"
        "from recbole_diffusion.quick_start.quick_start import run_recbole_diffusion\n"
        "from recbole_diffusion.config.names import get_model\n"
        f"model_class = get_model({model!r})\n"
        "calculate_loss, batches = model_class.calculate_loss, []\n"
        "def kill(self, batch):\n"
        "    batches.append(1)\n"
        f"    if len(batches) == {last_breath}:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return calculate_loss(self, batch)\n"
        "model_class.calculate_loss = kill\n"
        f"settings = {settings | {'checkpoint_dir': 'killed'}!r}\n"
        f"run_recbole_diffusion({model!r}, 'shop', config_dict=settings)\n"
    )
    killed = Call(runpy.run_path, "killed.py", said=Path("said"))
    assert killed.wait() == -signal.SIGKILL, killed.said()
    resumed = run(model, checkpoint_dir="killed", resume=True, **settings)
    assert outcome(resumed) == outcome(whole)
    for kind in ("last", "best"):
        assert not differences(state(resumed, kind), state(whole, kind)), kind


def test_a_run_that_stopped_early_does_not_train_on(run, scores):
    scores(0.5, 0.4, 0.3)
    stopped = run("SASRec", epochs=9, stopping_step=1)
    assert (stopped["epochs"], stopped["best_epoch"]) == (3, 1)
    assert stopped["stopped_by"] == "early stopping"
    with hook("SASRec") as batches:
        resumed = run("SASRec", epochs=9, stopping_step=1, resume=True)
    assert outcome(resumed) == outcome(stopped) and not batches

    # killed after the last epoch's checkpoint, before the end of training was written into it
    last = checkpoint.load(path_of(stopped, "last"))
    checkpoint.save(path_of(stopped, "last"), last | {"stopped_by": None})
    with hook("SASRec") as batches:
        assert outcome(run("SASRec", epochs=9, stopping_step=1, resume=True)) == outcome(stopped)
    assert not batches

    scores(0.2, 0.1)  # the control: with more patience it does
    patient = run("SASRec", epochs=5, stopping_step=9, resume=True)
    assert (patient["epochs"], patient["stopped_by"]) == (5, "epochs")


@pytest.mark.slow
def test_more_epochs_go_on_from_where_a_finished_run_ended(run):
    whole = run("ICDDT", checkpoint_dir="whole", epochs=3)
    run("ICDDT", checkpoint_dir="part", epochs=1)
    resumed = run("ICDDT", checkpoint_dir="part", epochs=3, resume=True)
    assert outcome(resumed) == outcome(whole)
    with hook("ICDDT") as batches:
        assert outcome(run("ICDDT", checkpoint_dir="part", epochs=3, resume=True)) == outcome(whole)
    assert not batches


def test_a_checkpoint_that_does_not_fit_is_refused(run, shop):
    result = run("SASRec")
    last = path_of(result, "last")
    for model, settings, message in (
        ("GRU4Rec", {}, "holds a SASRec, not a GRU4Rec"),
        ("SASRec", {"learning_rate": 0.5}, "with learning_rate = 0.001, here it is 0.5"),
        ("SASRec", {"hidden_size": 16}, "do not fit this model"),
        ("SASRec", {"resume": result["checkpoint"]}, "no training state"),
        ("SASRec", {"resume": "nowhere.last.pth"}, "there is no checkpoint nowhere.last.pth"),
    ):
        with pytest.raises(CheckpointError, match=message):
            run(model, **({"resume": last} | settings))

    data = shop / "dataset" / "shop" / "shop.inter"
    text = data.read_text()
    data.write_text(text.replace("u7\t", "anna\t"))
    mark = state(result)["fingerprint"]
    with pytest.raises(CheckpointError, match=f"other data: .*fingerprint {mark}.*'shop' here"):
        run("SASRec", resume=last)

    data.write_text(text)
    os.rename(result["checkpoint"], "away")
    with pytest.raises(CheckpointError, match="the run's best model so far, is not there"):
        run("SASRec", resume=last)
    Path(result["checkpoint"]).write_bytes(Path("away").read_bytes()[:-100])
    before = Path(last).read_bytes()
    with pytest.raises(CheckpointError, match=f"{result['checkpoint']} is not a checkpoint"):
        run("SASRec", resume=last, epochs=3)
    assert Path(last).read_bytes() == before  # nothing was trained
    os.rename("away", result["checkpoint"])
    assert outcome(run("SASRec", resume=last)) == outcome(result)  # the control


def test_code_in_a_checkpoint_does_not_run_when_it_is_resumed(run):
    result = run("SASRec")
    last = checkpoint.load(path_of(result, "last"))
    for text in ("__import__('os').system('touch attacked')", '{"note": "__import__(\'os\')"}'):
        checkpoint.save(path_of(result, "last"), last | {"config": text})
        try:
            run("SASRec", resume=True)
        except ValueError:
            pass  # the text is no JSON
    assert not Path("attacked").exists()


# ---------------------------------------------------------------- budget of time
@pytest.mark.parametrize("over", [0, 1], ids=["at_the_end_of_an_epoch", "within_an_epoch"])
@pytest.mark.parametrize("eval_step", [1, 5])
def test_training_ends_at_the_next_batch_after_its_seconds_and_is_evaluated(
    eval_step, over, run, clock, caplog
):
    def second(*_):
        clock[0] += 1

    with hook("ICDDT", second) as batches:
        run("ICDDT", epochs=1)
    per_epoch = len(batches)
    budget = 2 * per_epoch + over
    settings = {"epochs": 20, "eval_step": eval_step, "max_train_seconds": budget}
    with caplog.at_level(INFO), hook("ICDDT", second) as batches:
        result = run("ICDDT", **settings)
    assert len(batches) == budget
    assert result["stopped_by"] == "max_train_seconds" and result["epochs"] == 2 + over
    assert result["best_valid_result"] is not None and result["test_result"] is not None
    assert f"max_train_seconds = {budget} are over" in caplog.text
    assert result["train_seconds"] == budget

    with hook("ICDDT", second) as batches:  # a spent budget stays spent
        again = run("ICDDT", resume=True, **settings)
    assert not batches and outcome(again) == outcome(result)
    with hook("ICDDT", second) as batches:  # a larger one goes on
        run("ICDDT", resume=True, **(settings | {"max_train_seconds": budget + 3}))
    assert len(batches) == 3


@pytest.mark.parametrize("model", ["SASRec", "RecVAE", "Pop", "MarkovChain"])
def test_a_budget_of_nothing_trains_one_batch(model, run):
    result = run(model, epochs=5, max_train_seconds=1e-9)
    assert result["epochs"] == 1 and result["test_result"] is not None


def test_a_budget_without_validation_is_kept_too(run, clock):
    def second(*_):
        clock[0] += 1

    with hook("ICDDT", second) as batches:
        result = run("ICDDT", epochs=9, eval_step=0, max_train_seconds=3)
    assert len(batches) == 3 and result["stopped_by"] == "max_train_seconds"
    assert result["best_valid_result"] is None and result["test_result"] is not None


# ---------------------------------------------------------------- what goes wrong
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_loss_that_is_not_finite_ends_training_with_epoch_batch_and_cause(value, run):
    with hook("SASRec") as batches:
        run("SASRec", epochs=1)

    def overflow(model, n):
        if n == len(batches) + 2:
            return torch.tensor(float(value), requires_grad=True)

    message = (
        f"the training loss is {value} in epoch 1, batch 1 with learning_rate 0.001; all weights"
    )
    with hook("SASRec", overflow), pytest.raises(ValueError, match=message):
        run("SASRec")


def test_weights_that_are_not_finite_are_named_as_the_cause(run):
    def spoil(model, n):
        if n == 2:
            with torch.no_grad():
                model.item_embedding.weight[3] = torch.inf

    message = "batch 1 with learning_rate 0.001; the weights item_embedding.weight are not finite"
    with hook("SASRec", spoil), pytest.raises(ValueError, match=message):
        run("SASRec")


# ---------------------------------------------------------------- optimiser
def rates(result):
    return [
        group["lr"] for group in state(result, "last")["optimizers"]["optimizer"]["param_groups"]
    ]


def test_a_loss_that_stays_lowers_the_learning_rate(run):
    def flat(model, n):
        return 1 + 0 * next(model.parameters()).sum()

    plateau = {"factor": 0.5, "patience": 0}
    with hook("SASRec", flat):
        lowered = run("SASRec", epochs=4, lr_scheduler=plateau)
        kept = run("SASRec", epochs=4)
    assert rates(lowered) == [0.001 * 0.5**3]  # the first epoch is the one to better
    assert rates(kept) == [0.001]
    with pytest.raises(ValueError, match="lr_scheduler is {'speed': 1}, it must be a mapping of"):
        run("SASRec", lr_scheduler={"speed": 1})


@pytest.mark.parametrize("model", ["SASRec", "RecVAE"])
def test_the_decay_rates_of_adam_reach_every_optimiser(model, run):
    def betas(result):
        optimizers = state(result, "last")["optimizers"].values()
        return {group["betas"] for optimizer in optimizers for group in optimizer["param_groups"]}

    assert betas(run(model, adam_betas=[0.8, 0.9])) == {(0.8, 0.9)}
    assert betas(run(model, seed=1)) == {(0.9, 0.999)}


# ---------------------------------------------------------------- selection
def test_early_stopping_tests_the_best_epoch_and_not_the_last(run, scores):
    scores(0.1, 0.9, 0.2, 0.1)
    result = run("SASRec", epochs=9, stopping_step=1, checkpoint_dir="stopped")
    assert (result["best_epoch"], result["epochs"]) == (2, 4)
    scores(0.1, 0.9)
    short = run("SASRec", epochs=2, checkpoint_dir="short")
    assert result["test_result"] == short["test_result"]
    assert not differences(state(result)["state_dict"], state(short, "last")["state_dict"])
    assert differences(state(result)["state_dict"], state(result, "last")["state_dict"])
    assert result["best_valid_result"] == short["best_valid_result"]
    assert state(result)["best_valid_result"] == result["best_valid_result"]
    assert state(result)["best_valid_score"] == 0.9


@pytest.mark.parametrize("model", ["SASRec", "Pop", "ItemKNN", "EASE", "LightGCN", "MarkovChain"])
def test_the_best_model_comes_back_from_its_file_alone(model, run, assemble):
    result = run(model)
    fresh, (_, _, test) = assemble(model, seed=5)
    for name in fresh.model.other_parameter():
        setattr(fresh.model, name, None)
    found = fresh.evaluate(test, model_file=result["checkpoint"])
    assert found == result["test_result"]


@pytest.mark.parametrize("model", ["Pop", "ItemKNN", "EASE"])
def test_models_that_only_count_are_validated_whatever_eval_step_is(model, run):
    result = run(model, epochs=9, eval_step=5)
    assert result["epochs"] == 1 and result["best_valid_result"] is not None


def test_the_stages_of_a_pretrained_model_of_recbole_are_stored_without_pickles(run):
    short = {"pretrain_epochs": 2, "save_step": 2, "metrics_k": 5}
    first = run("RaCT", train_stage="actor_pretrain", **short)
    assert torch.load(first["checkpoint"], weights_only=True)["model"] == "RaCT"
    second = run("RaCT", train_stage="critic_pretrain", pre_model_path=first["checkpoint"], **short)
    assert second["test_result"] is not None


# ---------------------------------------------------------------- evaluation
def test_how_often_one_evaluates_does_not_change_training(run, monkeypatch):
    def weights(eval_step):
        result = run("ICDDT", epochs=3, eval_step=eval_step)
        return state(result, "last")["state_dict"]

    assert not differences(weights(1), weights(3))
    for own in ("own_randomness", "by_row"):
        monkeypatch.setattr(scoring, own, lambda *arguments: nullcontext())
    assert differences(weights(1), weights(3))  # the control


def test_two_evaluations_of_one_model_are_equal(assemble, monkeypatch):
    fresh, (_, valid, test) = assemble("ICDDT")
    drawn = []
    generate = fresh.model.generate

    def watched(*arguments):
        drawn.append(generate(*arguments))
        return drawn[-1]

    monkeypatch.setattr(fresh.model, "generate", watched)
    first = fresh.evaluate(test, load_best_model=False)
    torch.rand(5)
    assert fresh.evaluate(test, load_best_model=False) == first
    assert torch.equal(*drawn)
    for own in ("own_randomness", "by_row"):
        monkeypatch.setattr(scoring, own, lambda *arguments: nullcontext())
    fresh.evaluate(test, load_best_model=False)
    assert not torch.equal(*drawn[1:])  # the control


# ---------------------------------------------------------------- logs
def test_losses_rates_metrics_and_embeddings_are_drawn(run):
    run("ICDDT", epochs=2)
    files = list(Path("log_tensorboard").rglob("events*"))
    tags = set()
    for file in files:
        events = EventAccumulator(str(file)).Reload()
        tags |= set(events.Tags()["scalars"])
        if "Loss/Train" in events.Tags()["scalars"]:
            assert [event.step for event in events.Scalars("Loss/Train")] == [0, 1]
    assert {
        "Loss/Train", "Train/learning_rate", "Train/seconds", "Valid/ndcg@10", "Valid/hit@5",
        "Embedding/norm", "Embedding/spread",
    } <= tags  # fmt: skip


@pytest.mark.parametrize("model", ["DiffRec", "LDiffRec"])
def test_mixed_precision_trains_and_scores(model, run):
    plain, mixed = (run(model, enable_amp=amp) for amp in (False, True))
    assert mixed["test_result"]["ndcg@10"] == pytest.approx(
        plain["test_result"]["ndcg@10"], abs=0.1
    )
    weight = "denoiser.out.weight"
    weights = [checkpoint.load(r["checkpoint"])["state_dict"][weight] for r in (plain, mixed)]
    assert not torch.equal(*weights), "the control"
    torch.testing.assert_close(*weights, rtol=0, atol=0.05)


def test_the_mean_pairwise_cosine_is_that_of_all_pairs():
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)) + 0.5
    unit = torch.nn.functional.normalize(x)
    cosines = (unit @ unit.T)[~torch.eye(30, dtype=torch.bool)]
    assert mean_pairwise_cosine(x) == pytest.approx(cosines.mean().item(), abs=1e-6)
    assert mean_pairwise_cosine(torch.ones(5, 4)) == pytest.approx(1)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda weight: weight.mul_(0.05), "they shrank to 5% of their norm"),
        (lambda weight: weight.add_(3), "they point in one direction (mean pairwise cosine 1.0"),
        (lambda weight: None, None),  # the control
    ],
)
def test_embeddings_that_collapse_are_warned_of_once_with_advice(change, words, run, caplog):
    def collapse(model, n):
        with torch.no_grad():
            if n == 1:
                change(model.item_embedding.weight[1:])

    with caplog.at_level(INFO), hook("DreamRec", collapse):
        run("DreamRec", epochs=3, learning_rate=1e-5)
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    warnings = [text for text in warnings if "collapse" in text]
    assert len(warnings) == (words is not None)
    assert words is None or (words in warnings[0] and "normalize: True" in warnings[0])
    assert caplog.text.count("mean pairwise cosine") - len(warnings) * ("1.0" in str(words)) == 3


def test_embeddings_that_no_loss_pulls_together_are_not_warned_of(run, caplog):
    def collapse(model, n):
        with torch.no_grad():
            model.item_embedding.weight.add_(3)

    with caplog.at_level(INFO), hook("SASRec", collapse):
        run("SASRec", epochs=1)
    assert "embeddings collapse" not in caplog.text
