"""Which settings of a trained model can be moved, and to what?"""

from typing import NamedTuple

from recbole_diffusion.config import traits
from recbole_diffusion.evaluator.curves import walks
from recbole_diffusion.explore.histories import table_of
from recbole_diffusion.explore.lists import seeded

WEIGHTS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)
ALL_UP_TO = 32  # levels of which every number of steps is offered
STEPS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000)
SAMPLES = (1, 2, 5, 10, 20)


class Control(NamedTuple):
    """A setting that can be moved after training.

    Attributes:
        name (str): of the setting.
        label (str): what a reader sees.
        hint (str): what it does, in a sentence.
        values (list of str): what it can be, rising.
        changes (list of dict): for each value the attributes of the model to set, as of
            `evaluator.curves.changed`; ``{}`` leaves it as it is.
        own (int): which of them is the run's.
    """

    name: str
    label: str
    hint: str
    values: list
    changes: list
    own: int


def controls_of(recommender):
    """What can be moved of a model.

    Args:
        recommender (Recommender): the model.

    Returns:
        list of Control: none for a model without a reverse walk.
    """
    model = recommender.model
    says, found = traits.of(type(model)), []
    if says.weighs_guidance:
        own = model.guidance_weight
        weights = sorted({*WEIGHTS, own})
        found.append(
            Control(
                "guidance_weight",
                "Guidance weight w",
                "0 is the plain prediction; more follows the history more closely",
                [f"{weight:g}" for weight in weights],
                [{} if weight == own else {"guidance_weight": weight} for weight in weights],
                weights.index(own),
            )
        )
    if says.shorter_walk is not None:
        found.append(_steps(model, says.shorter_walk))
    if says.corrupts_history:
        levels = _counts(model.diffusion.steps, 0, model.sampling_steps)
        found.append(
            Control(
                "sampling_steps",
                "Level the history is corrupted to, T'",
                "the reverse walk takes all its steps from there",
                [str(level) for level in levels],
                [
                    {} if level == model.sampling_steps else {"sampling_steps": level}
                    for level in levels
                ],
                levels.index(model.sampling_steps),
            )
        )
    if says.corrupts_history or draws(recommender):
        hint = "scores are the mean over so many draws of the noise"
        found.append(
            Control(
                "samples",
                "Number of samples",
                hint + (", of which there is none at T' = 0" if says.corrupts_history else ""),
                [str(count) for count in SAMPLES],
                [{}] * len(SAMPLES),
                0,
            )
        )
    return found


def _steps(model, walk):
    """The control of the number of reverse steps."""
    T = model.diffusion.steps
    if walk == "sampler" and model.sampler != "ddim":
        counts = _counts(T, 1)
        changes = walks(model, counts)
        name = "in closed form" if model.sampler == "exact" else f"by {model.sampler} sampling"
        return Control(
            "steps",
            "Reverse steps",
            f"the run's own walk goes over all {T} levels, {name}; the others are DDIM's",
            [*(f"{count} by DDIM" for count in counts), f"{T} {name}"],
            [*(changes[count] for count in counts), {}],
            len(counts),
        )
    own = len(model.levels) - 1
    counts = _counts(T, 1, own)
    changes = walks(model, counts)
    where = " of DDIM" if walk == "sampler" else ""
    return Control(
        "steps",
        f"Reverse steps{where}",
        f"passes from noise to the vector, of {T} levels",
        [str(count) for count in counts],
        [{} if count == own else changes[count] for count in counts],
        counts.index(own),
    )


def _counts(T, least, own=None):
    """Numbers from the least one to T, all of them where there are few, and the run's own."""
    some = range(least, T + 1) if T <= ALL_UP_TO else (least, *STEPS, T)
    return sorted({n for n in some if n <= T} | ({own} if own is not None else set()))


def draws(recommender):
    """Whether a model draws noise when it scores a history (bool): are two seeds two scores?"""
    if recommender.reads not in ("sequence", "row"):
        return False
    history = table_of(recommender, [(recommender.tokens[recommender.item_field][1], None)])
    first = recommender.score(history).to_numpy()
    with seeded(recommender, recommender.seed + 1):
        return bool((recommender.score(history).to_numpy() != first).any())
