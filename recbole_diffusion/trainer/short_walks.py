"""How few reverse steps rank as all of them do? Asked once, of the best model, on validation."""

import math
from logging import getLogger
from time import monotonic

import torch

from recbole_diffusion import ranks
from recbole_diffusion.config import traits
from recbole_diffusion.evaluator.curves import changed
from recbole_diffusion.evaluator.gathering import in_order
from recbole_diffusion.evaluator.ranked_rows import agreement
from recbole_diffusion.trainer import checkpoint

logger = getLogger(__name__)

TOP = 20  # items of the lists that are compared
NEARLY = 0.01  # share of the agreement of two full walks that a shorter one may stay below
ALIKE = 0.99  # agreement with the full walk, where nothing is drawn
AS_GOOD = 0.0005  # difference in the metric of validation, where nothing is drawn


class TopLists:
    """Keeps the first items of every ranked row; given to a trainer as ``observer``.

    Attributes:
        seconds (float): wall time spent here, to be taken off that of an evaluation.
    """

    def __init__(self):
        self.lists, self.seconds = [], 0.0

    def collect(self, scores, rows, positive_u, positive_i):
        """Takes in one batch; arguments and shapes are those of `NeverTrainedAudit.collect`."""
        begin = monotonic()
        self.lists.append(scores.topk(min(TOP, scores.shape[1] - 1)).indices.cpu())
        self.seconds += monotonic() - begin


class ShortWalkHooks:
    """``walk_steps: auto`` of a trainer, and ICDDT's ``truncation: auto``; mixed in by
    `TrainerHooks`.

    The number of steps goes into the best checkpoint with its evidence, ``walk_report``.
    """

    def _after_fit(self, valid_data, show_progress):
        if not traits.seeks_steps(self.model):
            wanted = self.config["walk_steps"]
            walks = traits.of(type(self.model)).shorter_walk is not None
            if wanted == "auto" or (wanted is not None and not walks):
                name = self.config["model"]
                logger.info(f"walk_steps: {wanted}: {name} has no walk that could be shorter")
            return
        if not (valid_data and self._saved and self.best_epoch):
            self.logger.warning(
                "the reverse walk keeps its steps: fewer are looked for on validation rows, on the "
                "best model that was saved, and there is none"
            )
            return
        state = checkpoint.load(self.saved_model_file)
        self._load_weights(self.saved_model_file, state)
        if "walk_report" not in state:  # else decided before this resume
            state["walk_report"] = self.find_steps(valid_data, show_progress)
            state["state_dict"] = self.model.state_dict()
            state["other_parameter"] = self.model.other_parameter()
            checkpoint.save(self.saved_model_file, state)
        self.walk_report = state["walk_report"]
        self.valid_seconds += self.walk_report["seconds"]

    @torch.no_grad()
    def find_steps(self, valid_data, show_progress=False):
        """Finds how few steps rank as a walk over all T levels does, and has the model take them.

        Where walks draw, the lists must agree with a full walk's as well as those of a full walk
        with another seed do, within ``NEARLY`` of that. Where they do not, the agreement must be
        ``ALIKE``, and the metric of validation within ``AS_GOOD``. The numbers of steps are tried
        twice as many at a time, then halfway between: the fewest, if more steps agree better.

        Args:
            valid_data (DataLoader): validation rows.
            show_progress (bool): progress bars.

        Returns:
            dict: steps, of (T), draws, needed (agreement), agreement_between_seeds, tried (a list
            of steps, agreement, valid_score and seconds, of this number and of all that were
            tried), valid_result and valid_result_full_walk (metrics with the run's own seed), and
            the seconds of all this.
        """
        begin, T, metric = monotonic(), self.model.diffusion.steps, self.config["valid_metric"]
        logger.info(f"walk: how few steps rank the validation rows as all {T} do?")
        lists, full, seconds = self._walked(valid_data, T, 0, show_progress)
        self.search_ends = begin + most_walks(T) * seconds
        self.logger.info(f"walk: {T} steps take {seconds:.1f} s, {metric} {self._score(full):.6f}")
        others, _, _ = self._walked(valid_data, T, 1, show_progress)
        draws, between = not torch.equal(lists, others), _shared(lists, others)
        needed = between * (1 - NEARLY) if draws else ALIKE
        tried = {T: {"agreement": between, "valid_score": self._score(full), "seconds": seconds}}

        def ranks_as_all(steps):
            found, result, seconds = self._walked(valid_data, steps, 2, show_progress)
            agreed, score = _shared(lists, found), self._score(result)
            tried[steps] = {"agreement": agreed, "valid_score": score, "seconds": seconds}
            self.logger.info(
                f"walk: {steps} of {T} steps agree {agreed:.4f} ({needed:.4f} needed), {metric} "
                f"{score:.6f}, {seconds:.1f} s"
            )
            return agreed >= needed and (draws or abs(score - self._score(full)) <= AS_GOOD)

        steps = fewest(T, ranks_as_all)
        self.model.take_steps(steps)
        metrics = self.evaluate(valid_data, load_best_model=False, show_progress=show_progress)
        self.search_ends = None
        logger.info(
            f"walk: {steps} of {T} steps from here on, found in {monotonic() - begin:.1f} s; "
            f"top-{TOP} agreement with all {tried[steps]['agreement']:.4f}, of two walks over all "
            f"{between:.4f}; {metric} {self._score(metrics):.6f} with {steps}, "
            f"{self._score(full):.6f} with {T}"
        )
        return {
            "steps": steps,
            "of": T,
            "draws": draws,
            "needed": needed,
            "agreement_between_seeds": between,
            "tried": [{"steps": count} | tried[count] for count in sorted(tried)],
            "valid_result": metrics,
            "valid_result_full_walk": full,
            "seconds": round(monotonic() - begin, 3),
        }

    def _walked(self, valid_data, steps, other_seed, show_progress):
        """Top items of every row, shape: [n_rows, 20], metrics, and seconds without the lists."""
        observer, seed = self.observer, self.evaluation_seed
        self.observer, self.evaluation_seed = TopLists(), seed + other_seed
        self.doing = f"walk of {steps} steps, of {self.model.diffusion.steps}"
        try:
            with changed(self.model, levels=self.model.short_levels(steps)):
                result = self.evaluate(valid_data, False, show_progress=show_progress)
            seconds = round(self.eval_seconds - self.observer.seconds, 3)
            lists = in_order(ranks.of_all(self.observer.lists))
            return lists, result, seconds
        finally:
            self.observer, self.evaluation_seed = observer, seed

    def _score(self, result):
        return result[self.valid_metric]


def _shared(a, b):
    return agreement(a.numpy(), b.numpy())


def most_walks(T):
    """How many walks over all T levels a search costs as much as, at most.

    Two of them and the last evaluation, at most two for 1, 2, 4 and so on steps, and one for each
    number between.

    Args:
        T (int): number of levels.

    Returns:
        int: walks.
    """
    return 4 + math.ceil(math.log2(T))


def fewest(most, enough):
    """The smallest number that is enough, if all above one that is are enough too.

    Asks for 1, 2, 4 and so on, then halves what is left.

    Args:
        most (int): enough without being asked.
        enough (Callable): of a number from 1 to ``most`` - 1; is asked once of each.

    Returns:
        int: the number; the one below it, if any, was asked and is not enough.
    """
    low, high = 0, 1
    while high < most and not enough(high):
        low, high = high, 2 * high
    high = min(high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
