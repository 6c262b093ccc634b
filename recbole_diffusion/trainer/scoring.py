"""How is a model asked for scores? Each row with noise of its own, and finite ones or none."""

import math
from contextlib import contextmanager, nullcontext

import torch

from recbole_diffusion.data.dataloader import ROW
from recbole_diffusion.diffusion.row_noise import by_row
from recbole_diffusion.trainer.randomness import own_randomness

LARGE = 1e6  # a weight beyond it was not learnt, but thrown there


class ScoresError(ValueError):
    """Scores that are not finite: nothing can be ranked by them."""


@contextmanager
def asked_by_row(model, seed, dataset=None):
    """Within the block a model's scores are finite, and noise in them is drawn by row.

    Random numbers that a model draws otherwise come from generators of the block's own. RecBole's
    masks come after the scores, so that an infinite one is the model's own.

    Args:
        model (torch.nn.Module): whose ``full_sort_predict`` and ``predict`` are asked.
        seed (int): of all of it; see ``row_noise.by_row``. The rows are those that a batch names in
            the field ``ROW``; without it noise is drawn by batch.
        dataset (Dataset): the rows' data, for the users' tokens; None names their numbers.

    Raises:
        ScoresError: within the block, for scores that are not finite.
    """

    def asked(method):
        def ask(rows):
            numbered = by_row(seed, rows[ROW]) if ROW in rows else nullcontext()
            with numbered:
                scores = method(rows)
            check_finite(model, scores, rows, dataset)
            return scores

        return ask

    methods = ("full_sort_predict", "predict")
    before = {name: vars(model)[name] for name in methods if name in vars(model)}
    for name in methods:
        setattr(model, name, asked(getattr(model, name)))
    try:
        with own_randomness(seed):
            yield
    finally:
        for name in methods:
            delattr(model, name)
        vars(model).update(before)


def check_finite(model, scores, rows, dataset=None):
    """Refuses scores that are NaN or infinite; those of the padding, in column 0, do not count.

    Args:
        model (torch.nn.Module): whose scores they are.
        scores (torch.Tensor): of one item a row or of all, shape: [B], [B, n_items] or flat.
        rows (Interaction): the batch.
        dataset (Dataset): as of ``asked_by_row``.

    Raises:
        ScoresError: with model, first row and its user, share of the batch, and the cause if the
            weights show it.
    """
    if torch.isfinite(scores.sum()):  # the only pass over scores as they should be
        return
    scores = scores.reshape(len(rows), -1)
    scores = scores[:, 1:] if scores.shape[1] > 1 else scores
    bad = ~torch.isfinite(scores)
    bad_row = bad.any(dim=1)
    if not bad_row.any():
        return  # finite numbers with a sum that is not, or the padding alone
    first = int(bad_row.nonzero()[0])
    value = scores[first][bad[first]][0].item()
    where = f"row {int(rows[ROW][first])}" if ROW in rows else f"row {first} of its batch"
    user = user_of(rows, first, dataset)
    raise ScoresError(
        f"scores of {type(model).__name__} are not finite: {value} in {where}"
        + (f" (user {user})" if user is not None else "")
        + f", and in {bad_row.float().mean():.0%} of the {len(rows)} rows scored with it; "
        + cause(model, "the model's settings, and at its data")
    )


def user_of(rows, place, dataset=None):
    """The user of a row of a batch: the token if the data are given, else the number; or None."""
    field = getattr(dataset, "uid_field", None)
    if field is None or field not in rows:
        return None
    number = int(rows[field][place])
    return repr(str(dataset.field2id_token[field][number]))


def cause(model, what):
    """Why numbers that a model gives may not be finite, as its weights show.

    Args:
        model (torch.nn.Module): the model.
        what (str): what else to look at.

    Returns:
        str: the cause, with the keys that are likely to mend it.
    """
    advice = "lower learning_rate or set clip_grad_norm"
    largest = {
        name: weight.abs().max().item()  # NaN, if there is one
        for name, weight in model.named_parameters()
        if weight.numel()
    }
    bad = [name for name, value in largest.items() if not math.isfinite(value)]
    if bad:
        return (
            f"the weights {bad[0]} are not finite: {advice}, and look at the table that "
            "item_embeddings or pretrain has given, if there is one"
        )
    name = max(largest, key=largest.get, default=None)
    if name is not None and largest[name] > LARGE:
        return f"the weights {name} are as large as {largest[name]:.3g}: {advice}"
    return f"all weights are finite: look at {what}"
