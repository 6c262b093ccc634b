"""How good is a model with other guidance weights or fewer reverse steps?"""

from contextlib import contextmanager
from dataclasses import dataclass

import torch

from recbole_diffusion.diffusion.reverse import evenly_spaced


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


NEEDS = {  # kind of picture: what it asks of a model
    "map": ("items", "guidance", "generate"),
    "guidance": ("items", "guidance", "generate", "guidance_weight"),
    "steps": ("items", "guidance", "generate", "levels", "diffusion"),
}


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


def guidance_curve(trainer, valid_data, weights):
    """Validation metrics against the guidance weight.

    Args:
        trainer (TrainerHooks): with the trained model, ``model``.
        valid_data (FullRankDataLoader): validation rows.
        weights (list of float): weights; the model's own is added.

    Returns:
        Curve: what is to be drawn.
    """
    own = trainer.model.guidance_weight
    x = sorted({*weights, own})
    values, barred = _measured(trainer, valid_data, [{"guidance_weight": weight} for weight in x])
    return Curve("guidance weight w", x, own, values, barred)


def steps_curve(trainer, valid_data, levels):
    """Validation metrics against the number of reverse steps.

    A model that chooses among samplers walks by DDIM here; another walk of its own is a line.

    Args:
        trainer (TrainerHooks): with the trained model, ``model``.
        valid_data (FullRankDataLoader): validation rows.
        levels (dict of int to list): number of steps to the levels visited; the model's own is
            added if it is one of them.

    Returns:
        Curve: what is to be drawn.
    """
    model = trainer.model
    sampler = getattr(model, "sampler", None)
    skips = {} if sampler is None else {"sampler": "ddim"}
    own = line = None
    if sampler in (None, "ddim"):
        own = len(model.levels) - 1
        levels = {**levels, own: model.levels}
    else:
        (value,), barred = _measured(trainer, valid_data, [{}])
        name = f"{sampler} walk over all {model.diffusion.steps} levels"
        line = (name, value, barred[0] if barred else None)
    x = sorted(levels)
    values, barred = _measured(
        trainer, valid_data, [{"levels": levels[count], **skips} for count in x]
    )
    name = "reverse steps of DDIM" if skips else "reverse steps"
    return Curve(name, x, own, values, barred, line, log=True)


def _measured(trainer, valid_data, changes):
    """The metrics to draw with some attributes of the model changed, and the same barred.

    Args:
        trainer (TrainerHooks): with the trained model, ``model``.
        valid_data (FullRankDataLoader): validation rows.
        changes (list of dict): attribute to value.

    Returns:
        tuple: two lists of dicts of metric name to value; the second is empty where every item is
        trained.
    """
    metric = trainer.config["valid_metric"].lower()
    names = dict.fromkeys([metric, f"ndcg@{metric.partition('@')[2]}"])
    values, barred = [], []
    for attributes in changes:
        with changed(trainer.model, **attributes):
            result = trainer.evaluate(valid_data, load_best_model=False)
        values.append({name: result[name] for name in names if name in result})
        without = (trainer.never_trained or {}).get("barred")
        if without is not None and trainer.config["candidates"] == "all":
            barred.append({name: without[name] for name in values[-1]})
    return values, barred


WALKS = (1, 2, 4, 8, 16)  # reverse steps of models that walk the lowest levels only


def quality_by_steps(config, fitted):
    """Validation metrics against the number of reverse steps.

    Args:
        config (Config): the run's configuration.
        fitted (Fitted): the trained run, with its best model.

    Returns:
        dict: ``name``, ``x``, ``values`` (a dict of metrics each) and ``own``; None for a model
        that does not choose how many steps it walks.
    """
    trainer, model = fitted.trainer, fitted.trainer.model
    if not fitted.valid_data:
        return None
    if all(hasattr(model, name) for name in NEEDS["steps"]):
        T = model.diffusion.steps
        levels = {count: evenly_spaced(T, count) for count in STEPS if count <= T}
        curve = steps_curve(trainer, fitted.valid_data, levels)
        return {"name": curve.name, "x": curve.x, "values": curve.values, "own": curve.own}
    if not hasattr(model, "walk_steps"):
        return None
    own = int(model.walk_steps)
    x = sorted({own, *(steps for steps in WALKS if steps <= config["diffusion_steps"])})
    values = []
    for steps in x:
        with changed(model, walk_steps=torch.tensor(steps, device=model.walk_steps.device)):
            values.append(trainer.evaluate(fitted.valid_data, load_best_model=False))
    return {"name": "reverse steps", "x": x, "values": values, "own": own}
