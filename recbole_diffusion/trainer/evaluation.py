"""How is a model ranked and measured?"""

from time import monotonic

import torch

from recbole_diffusion import ranks
from recbole_diffusion.evaluator.never_trained import NeverTrainedAudit
from recbole_diffusion.trainer.distributed import sharing
from recbole_diffusion.trainer.scoring import asked_by_row


class EvaluationHooks:
    """Evaluation of a trainer, repeatable and audited; mixed in by `TrainerHooks`."""

    @torch.no_grad()
    def evaluate(self, eval_data, load_best_model=True, model_file=None, show_progress=False):
        """Ranks and measures as RecBole does, with a random generator of its own.

        Two evaluations of one model are equal, whatever the batches, and how often one evaluates
        does not change training. Several processes rank some batches each, and measure all rows,
        as one process would. Fills ``never_trained`` and ``eval_seconds``.

        Args:
            eval_data (DataLoader): the rows to rank.
            load_best_model (bool): load the best checkpoint first.
            model_file (str): load this checkpoint instead.
            show_progress (bool): a progress bar, if standard error is a terminal.

        Returns:
            dict: metric name to value, None if there are no rows.

        Raises:
            ScoresError: if the model gives scores that are not finite.
        """
        if load_best_model:
            self._load_weights(model_file or self.saved_model_file)
        if not eval_data:
            return None
        self._audit = NeverTrainedAudit(self.config, self.trained_items)
        begin = monotonic()
        asked = asked_by_row(self.model, self.evaluation_seed, eval_data._dataset)
        show_progress = show_progress and ranks.first()
        own = -(-len(eval_data) // ranks.count())  # batches of this process
        with asked, sharing(eval_data), self._bar_of_ranking(own, show_progress):
            result = super().evaluate(eval_data, load_best_model=False, show_progress=False)
        self.eval_seconds = monotonic() - begin
        self.never_trained = self._audit.report(self.eval_collector.data_struct, self.evaluator)
        return ranks.from_first(lambda: floats(result))  # machines may round differently

    def _full_sort_batch_eval(self, batched_data):
        rows, scores, positive_u, positive_i = super()._full_sort_batch_eval(batched_data)
        scores = self._audit.collect(scores, rows, positive_u, positive_i)
        if self.observer is not None:
            self.observer.collect(scores, rows, positive_u, positive_i)
        self._ranked()
        return rows, scores, positive_u, positive_i

    def _neg_sample_batch_eval(self, batched_data):
        ranked = super()._neg_sample_batch_eval(batched_data)
        self._ranked()
        return ranked


def floats(result):
    """A result in Python's floats, which a checkpoint can hold; None stays None."""
    return None if result is None else {name: float(value) for name, value in result.items()}
