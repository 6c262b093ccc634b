"""How good is a model with other guidance weights or fewer reverse steps?"""

from contextlib import contextmanager
from dataclasses import dataclass

from recbole_diffusion.config import traits


@dataclass
class Curve:
    """Validation metrics against a setting.

    Attributes:
        name (str): what the setting is.
        x (list): its values, rising.
        own (float): the model's own value, None if it walks another way.
        values (list of dict): metric name to value, for each x.
        barred (list of dict): the same with never-trained items barred; empty without such items.
        line (tuple): name, metrics and barred metrics of the model's own walk where that is not on
            the curve, else None.
        log (bool): whether the axis is logarithmic.
    """

    name: str
    x: list
    own: float
    values: list
    barred: list
    line: tuple = None
    log: bool = False


STEPS = (1, 2, 5, 10, 20)


@contextmanager
def changed(model, **attributes):
    """Puts a model into evaluation with other attributes, and back.

    ``eval`` and ``train`` drop what a model has derived from them.

    Args:
        model (torch.nn.Module): the model.
        **attributes: what to set.
    """
    before = {name: getattr(model, name) for name in attributes}
    training = model.training
    try:
        for name, value in attributes.items():
            setattr(model, name, value)
        model.eval()
        yield
    finally:
        for name, value in before.items():
            setattr(model, name, value)
        model.train(training)


def guidance_curve(trainer, valid_data, weights, show_progress=False):
    """Validation metrics against the guidance weight.

    Args:
        trainer (TrainerHooks): with the trained model, ``model``.
        valid_data (FullRankDataLoader): validation rows.
        weights (list of float): weights; the model's own is added.
        show_progress (bool): progress bars.

    Returns:
        Curve: what is to be drawn.
    """
    own = trainer.model.guidance_weight
    x = sorted({*weights, own})
    changes = [{"guidance_weight": weight} for weight in x]
    values, barred = _measured(trainer, valid_data, changes, show_progress)
    return Curve("guidance weight w", x, own, values, barred)


def walks(model, counts=None):
    """What makes a model take other numbers of reverse steps.

    Args:
        model (torch.nn.Module): a model with the trait ``shorter_walk``.
        counts (iterable of int): numbers of steps; None is the usual ones, as far as there are
            levels.

    Returns:
        dict of int to dict: number of steps to the attributes to set, as of `changed`.

    Raises:
        ValueError: if a number is not in 1..T.
    """
    walk, T = traits.of(type(model)).shorter_walk, model.diffusion.steps
    if counts is None:
        counts = [count for count in STEPS if count <= T]
    more = {"sampler": "ddim"} if walk == "sampler" else {}
    return {count: {"levels": model.levels_of(count)} | more for count in counts}


def steps_curve(trainer, valid_data, counts=None, show_progress=False):
    """Validation metrics against the number of reverse steps.

    A model that chooses among samplers walks by DDIM here; another walk of its own is a line.

    Args:
        trainer (TrainerHooks): with the trained model, ``model``, that has a ``shorter_walk``.
        valid_data (FullRankDataLoader): validation rows.
        counts (iterable of int): as of `walks`; the model's own is added if it is a walk of the
            kind that is drawn.
        show_progress (bool): progress bars.

    Returns:
        Curve: what is to be drawn.

    Raises:
        ValueError: as `walks` does.
    """
    model = trainer.model
    walk, changes = traits.of(type(model)).shorter_walk, walks(model, counts)
    own = line = None
    if walk == "sampler" and model.sampler != "ddim":
        (value,), barred = _measured(trainer, valid_data, [{}], show_progress)
        name = f"{model.sampler} walk over all {model.diffusion.steps} levels"
        line = (name, value, barred[0] if barred else None)
    else:
        own = len(model.levels) - 1
        changes[own] = {}
    x = sorted(changes)
    values, barred = _measured(trainer, valid_data, [changes[count] for count in x], show_progress)
    name = "reverse steps of DDIM" if walk == "sampler" else "reverse steps"
    return Curve(name, x, own, values, barred, line, log=True)


def _measured(trainer, valid_data, changes, show_progress):
    """The metrics to draw with some attributes of the model changed, and the same barred.

    Args:
        trainer (TrainerHooks): with the trained model, ``model``.
        valid_data (FullRankDataLoader): validation rows.
        changes (list of dict): attribute to value.
        show_progress (bool): progress bars.

    Returns:
        tuple: two lists of dicts of metric name to value; the second is empty where every item is
        trained.
    """
    metric = trainer.config["valid_metric"].lower()
    names = dict.fromkeys([metric, f"ndcg@{metric.partition('@')[2]}"])
    values, barred = [], []
    for place, attributes in enumerate(changes, start=1):
        trainer.doing = f"ranking {place} of {len(changes)}"
        with changed(trainer.model, **attributes):
            result = trainer.evaluate(valid_data, False, show_progress=show_progress)
        values.append({name: result[name] for name in names if name in result})
        without = (trainer.never_trained or {}).get("barred")
        if without is not None and trainer.config["candidates"] == "all":
            barred.append({name: without[name] for name in values[-1]})
    return values, barred


def quality_by_steps(fitted):
    """Validation metrics against the number of reverse steps.

    Args:
        fitted (Fitted): the trained run, with its best model.

    Returns:
        dict: ``name``, ``x``, ``values`` (a dict of metrics each) and ``own``; None for a model
        that does not choose how many steps it walks.
    """
    trainer = fitted.trainer
    if not fitted.valid_data or traits.of(type(trainer.model)).shorter_walk is None:
        return None
    curve = steps_curve(trainer, fitted.valid_data)
    return {"name": curve.name, "x": curve.x, "values": curve.values, "own": curve.own}
