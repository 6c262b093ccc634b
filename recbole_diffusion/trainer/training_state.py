"""Does the training state of a checkpoint fit this run? What fits is put in its place."""

import inspect
import math

import torch
from torch import nn

from recbole_diffusion.trainer.fields import shown
from recbole_diffusion.trainer.randomness import random_states, set_random_states

ERRORS = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError, RuntimeError)


class Unfit(ValueError):
    """A state is not one of this run; the message says which and why."""


def restore_optimizers(optimizers, states):
    """Puts optimisers where they were.

    What the settings decide is that of the settings; the learning rates and what the optimisers
    have collected are those of the states.

    Args:
        optimizers (dict): name to torch.optim.Optimizer.
        states (dict): name to what its ``state_dict`` was.

    Raises:
        Unfit: if they are not of these optimisers on these weights.
    """
    if optimizers.keys() != states.keys():
        raise Unfit(f"optimizers is of {sorted(states)}, here of {sorted(optimizers)}")
    for name, optimizer in optimizers.items():
        groups = _groups(name, optimizer, states[name].get("param_groups"))
        collected = states[name].get("state")
        _check_collected(name, optimizer, collected)
        optimizer.load_state_dict({"state": collected, "param_groups": groups})


def _groups(name, optimizer, saved):
    """The groups of an optimiser, with the learning rates that were saved."""
    groups = optimizer.state_dict()["param_groups"]
    if not isinstance(saved, list) or not all(isinstance(group, dict) for group in saved):
        raise Unfit(f"optimizers: {name} has no param_groups")
    if [group.get("params") for group in saved] != [group["params"] for group in groups]:
        raise Unfit(f"optimizers: {name} is of other weights")
    for group, then in zip(groups, saved):
        rate = then.get("lr")
        if type(rate) not in (int, float) or not 0 <= rate < math.inf:
            raise Unfit(f"optimizers: {name} has the learning rate {shown(rate)}")
        group["lr"] = rate
    return groups


def _check_collected(name, optimizer, collected):
    """Refuses moments and the like that are not of the optimiser's weights."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    template = _after_a_step(optimizer)
    if not isinstance(collected, dict):
        raise Unfit(f"optimizers: the state of {name} is {shown(collected)}")
    for index, found in collected.items():
        if type(index) is not int or not 0 <= index < len(weights):
            raise Unfit(f"optimizers: {name} has a state of no weight, {shown(index)}")
        if not isinstance(found, dict) or found.keys() != template.keys():
            raise Unfit(f"optimizers: the state of {name} is not {sorted(template)}")
        for key, like in template.items():
            if not _is_like(found[key], like, weights[index]):
                raise Unfit(f"optimizers: {key} of {name} is {shown(found[key])} or not a number")


def _is_like(value, like, weight):
    if not isinstance(like, torch.Tensor):
        return type(value) is type(like)
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided:
        return False
    if value.is_complex() or torch.isnan(value).any():
        return False
    if like.dim() == 0:  # a count of steps
        return value.dim() == 0 and bool(value >= 0)
    return value.shape == weight.shape and value.dtype == weight.dtype


def _after_a_step(optimizer):
    """What an optimiser of this kind has collected of a weight after one step."""
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.ones(1)
    if isinstance(optimizer, torch.optim.SparseAdam):
        weight.grad = weight.grad.to_sparse()
    taken = inspect.signature(type(optimizer)).parameters
    own = {key: value for key, value in optimizer.param_groups[0].items() if key in taken}
    own.pop("params")
    twin = type(optimizer)([weight], **own)
    twin.step()
    return twin.state[weight]


def restore_schedulers(schedulers, states):
    """Puts schedulers of the learning rate where they were.

    Raises:
        Unfit: if they are not of these schedulers.
    """
    if schedulers.keys() != states.keys():
        raise Unfit(f"schedulers is of {sorted(states)}, here of {sorted(schedulers)}")
    for name, scheduler in schedulers.items():
        now, moved = scheduler.state_dict(), {}
        for key in ("best", "num_bad_epochs", "cooldown_counter", "last_epoch", "_last_lr"):
            if key not in now:
                continue
            value = states[name].get(key)
            numbers = value if key == "_last_lr" and isinstance(value, list) else [value]
            kinds = (int, float) if key in ("best", "_last_lr") else (int,)
            if not all(type(one) in kinds and one == one for one in numbers):
                raise Unfit(f"schedulers: {key} of {name} is {shown(value)}")
            moved[key] = value
        scheduler.load_state_dict(now | moved)


def restore_counters(model, counters):
    """Gives a model back the numbers that it counts outside its weights.

    Raises:
        Unfit: if one is none of the model's numbers.
    """
    for name in counters:
        now = vars(model).get(name, 0)
        if type(now) not in (int, float) or name in dir(type(model)) or not name.isidentifier():
            raise Unfit(f"counters: {name} is no number of this model")
    vars(model).update(counters)


def check_random(states, loaders):
    """Refuses random states that no generator can take; the run's own go on as they were.

    Args:
        states (dict): of `random_states`.
        loaders (list of torch.Tensor): states of generators of loaders.

    Raises:
        Unfit: naming the generator.
    """
    own = random_states()
    for name, value in own.items():
        if name not in states:
            raise Unfit(f"random holds no state of {name}")
        if name == "cuda":
            if not isinstance(states[name], list):
                raise Unfit(f"random: the states of {name} are {shown(states[name])}")
            if not value:
                continue  # there is no GPU here, or there was none
        try:
            set_random_states(own | {name: states[name]})
        except ERRORS as error:
            raise Unfit(f"random: the state of {name} is none ({error})") from error
        finally:
            set_random_states(own)
    for state in loaders:
        try:
            torch.Generator().set_state(state.cpu())
        except ERRORS as error:
            raise Unfit(f"loaders: a state is none ({error})") from error
