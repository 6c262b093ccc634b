"""How few reverse steps rank as all of them do?"""

import numpy as np
import torch

from recbole_diffusion.evaluator.curves import changed
from recbole_diffusion.trainer import checkpoint
from recbole_diffusion.trainer.scoring import asked_by_row
from recbole_diffusion.trainer.trainer import DiffusionTrainer


class TruncationTrainer(DiffusionTrainer):
    """Decides once, on the best model, how many reverse steps scoring needs (``truncation: auto``).

    The smallest S is taken whose top-20 lists agree with a full walk's as well as two full walks
    with different seeds agree with each other, within one point. S is written into the best
    checkpoint; ``truncation_report`` holds the evidence.
    """

    TOP = 20

    def _after_fit(self, valid_data, show_progress):
        if self.config["truncation"] != "auto" or not valid_data or not self._saved:
            return
        state = checkpoint.load(self.saved_model_file)
        self._load_weights(self.saved_model_file, state)
        if "truncation_report" in state:  # decided before this resume
            self.truncation_report = state["truncation_report"]
            return
        self.truncation_report = self.decide_truncation(valid_data)
        state["state_dict"] = self.model.state_dict()
        state["truncation_report"] = self.truncation_report
        checkpoint.save(self.saved_model_file, state)

    @torch.no_grad()
    def decide_truncation(self, valid_data):
        """Finds the shortest walk that ranks as the full one does and sets ``walk_steps`` to it.

        Args:
            valid_data (DataLoader): validation rows.

        Returns:
            dict: steps, both agreements, and the validation metrics at S and at T.
        """
        full = self.model.diffusion.steps
        self.model.levels = self.model.levels_of(full)
        metrics_full = self.evaluate(valid_data, load_best_model=False)
        reference = self._top_lists(valid_data, full, seed=0)
        between = _agreement(reference, self._top_lists(valid_data, full, seed=1))
        agreement = {}
        for steps in range(1, full + 1):
            agreement[steps] = _agreement(reference, self._top_lists(valid_data, steps, seed=2))
            if agreement[steps] >= between - 0.01:
                break
        steps = choose_truncation(agreement, between)
        self.model.levels = self.model.levels_of(steps)
        metrics = self.evaluate(valid_data, load_best_model=False)
        self.logger.info(
            f"truncation: {steps} of {full} steps; top-{self.TOP} agreement with the full walk "
            f"{agreement[steps]:.4f}, of two full walks {between:.4f}; validation "
            f"{self.config['valid_metric']} {metrics[self.valid_metric]:.6f} with {steps}, "
            f"{metrics_full[self.valid_metric]:.6f} with {full}"
        )
        return {
            "steps": steps,
            "agreement": {str(s): share for s, share in agreement.items()},
            "agreement_between_seeds": between,
            "valid_result": metrics,
            "valid_result_full_walk": metrics_full,
        }

    def _top_lists(self, valid_data, steps, seed):
        """Top items of every validation row, shape: [n_rows, 20]."""
        lists, levels = [], self.model.levels_of(steps)
        asked = asked_by_row(self.model, seed, valid_data._dataset)
        with changed(self.model, levels=levels), asked:
            for rows, _, _, _ in valid_data:
                scores = self.model.full_sort_predict(rows.to(self.device))
                scores[:, 0] = -np.inf
                lists.append(scores.topk(min(self.TOP, scores.shape[1] - 1)).indices)
        return torch.cat(lists)


def _agreement(a, b):
    """Mean share of one list's items that the other list has too."""
    return (a[:, :, None] == b[:, None, :]).any(-1).float().mean().item()


def choose_truncation(agreement, agreement_between_seeds, tolerance=0.01):
    """The shortest walk whose lists are as good as a full walk's (``truncation: auto``).

    Args:
        agreement (dict[int, float]): for each number of steps, the share of the top of the full
            walk's lists that this shorter walk finds.
        agreement_between_seeds (float): the same share for two full walks with different seeds.
        tolerance (float): how far below a shorter walk may stay.

    Returns:
        int: the smallest number of steps that agrees well enough, or the largest there is.

    Raises:
        ValueError: if there is nothing to choose from.
    """
    if not agreement:
        raise ValueError("no walk to choose from: the agreements are empty")
    enough = [s for s, share in agreement.items() if share >= agreement_between_seeds - tolerance]
    return min(enough, default=max(agreement))
