"""What does the package expect of every model? One function per law.

Letters: B rows of a batch, n_items the number of items with the padding.
"""

from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.utils import ModelType

from recbole_diffusion.data.dataloader import ROW
from recbole_diffusion.quick_start.saved_run import load_run
from recbole_diffusion.testing.lists import compare_lists
from recbole_diffusion.testing.subject import EPOCHS
from recbole_diffusion.trainer import checkpoint
from recbole_diffusion.trainer.choose import get_trainer
from recbole_diffusion.trainer.randomness import own_randomness
from recbole_diffusion.trainer.scoring import asked_by_row

LEARNT, CHANCE = 0.8, 0.35  # hit@1 that shows learning, and that guessing stays below


@torch.no_grad()
def score(network, batch, seed=0):
    """Scores of all items under a seed, shape: [B, n_items]."""
    with own_randomness(seed):
        return network.full_sort_predict(batch).view(len(batch), -1).float()


@torch.no_grad()
def scores_by_row(network, loader, seed=0):
    """Scores of all items for all rows of a loader, as an evaluation asks for them.

    Args:
        network (torch.nn.Module): the model.
        loader (FullRankDataLoader): rows to rank.
        seed (int): of the evaluation.

    Returns:
        torch.Tensor: in the order of the rows' numbers, shape: [n_rows, n_items].
    """
    number, found = [], []
    with asked_by_row(network, seed, loader._dataset):
        for rows, *_ in loader:
            found.append(network.full_sort_predict(rows).view(len(rows), -1).float())
            number.append(rows[ROW])
    return torch.cat(found)[torch.cat(number).argsort()]


@contextmanager
def constant_noise():
    """Takes 1/2 for every standard normal number, so that noise depends on no shape."""

    def like(x, **options):
        return torch.full_like(x, 0.5)

    def of_shape(*size, **options):
        kept = ("dtype", "device", "requires_grad")
        options = {key: value for key, value in options.items() if key in kept}
        size = size[0] if len(size) == 1 and not isinstance(size[0], int) else size
        return torch.full(tuple(size), 0.5, **options)

    with patch.object(torch, "randn_like", like), patch.object(torch, "randn", of_shape):
        yield


@contextmanager
def watched_forward(network, seen):
    """Appends the arguments of every call of ``network.forward`` to a list."""
    forward = network.forward

    def watched(*arguments):
        seen.append(arguments)
        return forward(*arguments)

    network.forward = watched
    try:
        yield
    finally:
        del network.forward


def differences(a, b, path=""):
    """Where two nested values are not equal to the last bit.

    Args:
        a (object): tensors, arrays and plain values in dictionaries, lists and tuples.
        b (object): the same.
        path (str): where they stand.

    Returns:
        list of str: paths of what differs.
    """
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [d for key in a for d in differences(a[key], b[key], f"{path}.{key}")]
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
        return [d for i, (x, y) in enumerate(zip(a, b)) for d in differences(x, y, f"{path}.{i}")]
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return [] if torch.equal(a, b) else [path]
    return [] if np.array_equal(a, b) else [path]


def kept(file):
    """Tensors and plain values that a training has made: weights, optimisers, random states."""
    wanted = "state_dict other_parameter counters optimizers schedulers random loaders cur_step"
    state = checkpoint.load(file)
    wanted = [*wanted.split(), "epoch", "best_epoch"]
    return checkpoint.encode({key: state[key] for key in wanted if key in state})


def _first(paths):
    return ", ".join(paths[:3]) + (", ..." if len(paths) > 3 else "") + " differ"


# ---------------------------------------------------------------- the laws
def loss_and_gradients_are_finite(subject):
    """``calculate_loss`` gives a finite number whose gradient reaches the weights."""
    network = subject.fresh.network.train()
    loss = network.calculate_loss(subject.fresh.rows)
    loss = sum(loss) if isinstance(loss, tuple) else loss
    subject.demand(loss.numel() == 1, "calculate_loss gives one number", f"shape {[*loss.shape]}")
    subject.demand(torch.isfinite(loss).all(), "the loss is finite", loss.item())
    weights = {name: p for name, p in network.named_parameters() if p.requires_grad}
    if loss.requires_grad:
        loss.backward()
    moved = {name: p.grad for name, p in weights.items() if p.grad is not None}
    bad = [name for name, gradient in moved.items() if not torch.isfinite(gradient).all()]
    network.zero_grad()
    network.eval()
    subject.demand(not bad, "gradients are finite", f"that of {bad[:1]} is not")
    counts = network.type == ModelType.TRADITIONAL  # fitted when it is built
    reached = moved or not weights or counts
    subject.demand(reached, "the gradient of the loss reaches the weights")


def scores_have_one_row_per_history_and_one_column_per_item(subject):
    """``full_sort_predict`` gives finite scores, shape: [B, n_items]."""
    network, batch = subject.fresh.network, subject.fresh.batch
    with torch.no_grad():
        found = network.full_sort_predict(batch)
    law = f"full_sort_predict gives {len(batch)} x {network.n_items} scores, of rows and items"
    subject.demand(found.numel() == len(batch) * network.n_items, law, f"shape {[*found.shape]}")
    finite = torch.isfinite(found.view(len(batch), -1)[:, 1:]).all()
    subject.demand(finite, "scores are finite")


def predict_gives_the_score_of_the_ranking(subject):
    """``predict`` equals ``full_sort_predict`` at the item, under the same seed."""
    network, batch = subject.fresh.network, subject.fresh.batch
    item = torch.arange(len(batch)) % (network.n_items - 1) + 1
    with_item = Interaction({**batch.interaction, network.ITEM_ID: item})
    with own_randomness(0), torch.no_grad():
        found = network.predict(with_item).float()
    law = "predict gives the scores that full_sort_predict gives the items"
    subject.demand(found.shape == item.shape, law, f"shape {[*found.shape]}, not [{len(item)}]")
    expected = score(network, batch)[torch.arange(len(batch)), item]
    far = (found - expected).abs().max().item()
    subject.demand(torch.allclose(found, expected, rtol=1e-4, atol=1e-4), law, f"{far:.3g} apart")


def scores_of_a_row_do_not_depend_on_the_others(subject):
    """A row is scored alone as it is in a batch, with the same noise."""
    network, batch = subject.fresh.network, subject.fresh.batch
    with constant_noise():
        whole, alone = score(network, batch), score(network, batch[:1])
    far = (whole[:1] - alone).abs().max().item()
    law = "the scores of a row do not depend on the other rows of its batch"
    subject.demand(torch.allclose(whole[:1], alone, rtol=1e-4, atol=1e-4), law, f"{far:.3g} apart")


def batches_change_no_scores(subject):
    """A row of an evaluation is scored alone as in batches of any size, noise included."""
    network, found = subject.fresh.network, []
    for users in (512, 7, 1):
        test = subject.loaders(subject.config(eval_users_per_batch=users))[2]
        found.append(scores_by_row(network, test))
    far = max((scores - found[0]).abs().max().item() for scores in found)
    law = (
        "the scores of a row are the same in batches of 512, 7 and 1, so noise in them is drawn by "
        "diffusion.row_noise.normal_like"
    )
    same = all(torch.allclose(scores, found[0], rtol=1e-4, atol=1e-4) for scores in found)
    subject.demand(same, law, f"{far:.3g} apart")


def the_seed_decides_scores(subject):
    """Scores under one seed are equal, and scoring changes nothing that is stored."""
    network, batch = subject.fresh.network, subject.fresh.batch
    before = {name: value.clone() for name, value in network.state_dict().items()}
    same = torch.equal(score(network, batch), score(network, batch))
    subject.demand(same, "scores under one seed are equal")
    changed = differences(before, network.state_dict())
    subject.demand(not changed, "scoring changes nothing that is stored", changed)


def cropping_changes_neither_loss_nor_scores(subject):
    """What the trait ``croppable`` says: padding behind histories is not seen."""
    network, found = subject.fresh.network, []
    for crop in (True, False):
        train, _, _ = subject.loaders(subject.config(crop_history=crop))
        rows = train._dataset[torch.arange(8)]  # of the first users, with short histories
        with constant_noise(), own_randomness(0), torch.no_grad():
            loss = network.calculate_loss(rows)
            loss = sum(loss) if isinstance(loss, tuple) else loss
            scores = score(network, rows)
        found.append((rows[network.ITEM_SEQ].shape[1], loss, scores))
    (short, loss, scores), (long, padded_loss, padded_scores) = found
    law = "it says that it is croppable, so padding changes neither loss nor scores"
    subject.demand(short < long, "the check needs a batch that can be cropped", f"{short}, {long}")
    far = (scores - padded_scores).abs().max().item()
    same = torch.allclose(scores, padded_scores, rtol=1e-4, atol=1e-4)
    subject.demand(same, law, f"scores {far:.3g} apart")
    same = torch.allclose(loss, padded_loss, rtol=1e-4, atol=1e-5)
    subject.demand(same, law, f"losses {loss.item():.6g} and {padded_loss.item():.6g}")


def what_is_drawn_at_construction_is_stored(subject):
    """A model that is given the weights of another scores as the other, whatever its seed was."""
    config, dataset, network, _, batch = subject.fresh
    trainer = get_trainer(config)(config, network)
    trainer.attach(dataset)
    file = subject.folder / "drawn.pth"
    checkpoint.save(file, trainer._state(0))
    other = subject.network(config, dataset, 1, file)
    heir = get_trainer(config)(config, other)
    heir.attach(dataset)
    heir._load_weights(file)
    far = (score(network, batch) - score(other.eval(), batch)).abs().max().item()
    law = "what is drawn at construction is in state_dict, as a parameter or a persistent buffer"
    found = f"with the weights of another, scores are {far:.3g} apart from the other's"
    subject.demand(far <= 1e-6, law, found)


def training_repeats(subject):
    """Two trainings under one seed end with equal weights and random states."""
    again, _ = subject.train("again", epochs=EPOCHS, eval_step=1)
    differ = differences(kept(subject.trained[0].last_file), kept(again.last_file))
    subject.demand(not differ, "two trainings under one seed are equal", _first(differ))


def a_checkpoint_scores_as_the_model(subject):
    """A model that is loaded from its checkpoint scores as the one that was saved."""
    trainer, test = subject.trained
    before = trainer.evaluate(test)
    batch = next(iter(test))[0]
    found = load_run(trainer.saved_model_file, subject.model_class)
    same = torch.equal(score(trainer.model.eval(), batch), score(found.trainer.model, batch))
    law = "a model that is loaded from its checkpoint scores as the one that was saved"
    subject.demand(same and found.trainer.evaluate(found.test_data) == before, law)


def lists_out_of_a_checkpoint_are_those_of_the_evaluation(subject):
    """Without the data, users have the lists of the evaluation; so has who had the same items."""
    trainer, _ = subject.trained
    found = compare_lists(trainer.saved_model_file, subject.model_class)
    law = (
        "lists out of a checkpoint are those of the evaluation, so what scores are made of is in "
        "state_dict or other_parameter, or in the history"
    )
    wrong = f"{len(found.others)} of {found.rows} users have other lists"
    subject.demand(found.rows and not found.others, law, wrong)
    law = "somebody new with a user's history has the user's list, or none where users are learnt"
    wrong = f"{len(found.copies)} of {found.rows} copies have others"
    subject.demand(not found.copies, f"{law}, see the trait reads", wrong)


def a_resumed_training_ends_as_one_left_alone(subject):
    """A training that is interrupted and resumed ends with the same weights, bit for bit."""
    if subject.fitted_at_once:
        return  # there is nothing to interrupt
    whole, _ = subject.trained
    cut, _ = subject.train("cut", epochs=EPOCHS, eval_step=1, stop_after=EPOCHS - 1)
    resumed, _ = subject.train("cut", epochs=EPOCHS, eval_step=1, resume=cut.last_file)
    differ = []
    for kind in ("last_file", "saved_model_file"):
        differ += differences(kept(getattr(whole, kind)), kept(getattr(resumed, kind)))
    law = "a training that is resumed ends as one left alone, so what it counts is in state_dict"
    subject.demand(not differ, law, _first(differ))


def it_learns_what_can_be_learnt(subject):
    """The next item of a chain, or a checkerboard, is at chance before training and known after."""
    before, after = subject.hits("known")
    data = "a chain of items" if subject.sequential else "a checkerboard"
    found = f"hit@1 is {after:.2f} after {subject.settings['epochs']} epochs, {before:.2f} before"
    hint = f"{found}; give check_model settings with which it learns, or more epochs"
    subject.demand(after >= LEARNT, f"it learns {data}", hint)
    if not subject.fitted_at_once:
        subject.demand(before <= CHANCE, f"it has to be trained to know {data}", found)


def it_does_not_learn_what_is_random(subject):
    """On random items it stays at chance: it does not see what it is asked for."""
    found = subject.hits("random")
    law = "on random items it stays at chance, so it does not see its targets"
    subject.demand(max(found) <= CHANCE, law, f"hit@1 is {max(found):.2f}")


def the_walk_asks_forward_as_often_as_it_says(subject):
    """Rows that pass ``forward`` for a scored row: ``denoiser_calls``."""
    network, batch = subject.fresh.network, subject.fresh.batch
    seen = []
    with watched_forward(network, seen):
        score(network, batch)
    rows = sum(len(arguments[0]) for arguments in seen) / len(batch)
    law = f"a scored row passes forward denoiser_calls = {network.denoiser_calls} times"
    subject.demand(rows == network.denoiser_calls, law, f"it does {rows:g} times")
    steps = len(network.levels) - 1
    law = f"a walk of {steps} steps calls forward once a step"
    subject.demand(len(seen) in (0, steps), law, f"it does {len(seen)} times")


def ablate_x_t_hides_x_t(subject):
    """With ``ablate_x_t`` the network is shown 0 in place of x_t, in training and in scoring."""
    network = subject.network(subject.config(ablate_x_t=True), subject.fresh.dataset)
    seen = []
    with watched_forward(network, seen), own_randomness(0):
        network.train().calculate_loss(subject.fresh.rows)
        network.eval()
        score(network, subject.fresh.batch)
    law = "with ablate_x_t: True the network is shown 0 in place of x_t"
    subject.demand(not any(x_t.any() for x_t, *_ in seen), law)
    subject.demand(seen, "training calls forward(x_t, t, guidance)")
