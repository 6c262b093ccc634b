"""What does a trainer say of how far it is?"""

from contextlib import contextmanager
from logging import getLogger
from time import monotonic

from recbole_diffusion import progress
from recbole_diffusion.config import traits
from recbole_diffusion.trainer.short_walks import most_walks

logger = getLogger(__name__)


class TellingHooks:
    """A line an epoch, and bars that say what is left of the run; mixed in by `TrainerHooks`."""

    def seconds_left(self, share=None):
        """Seconds that the rest of a run may take, while it trains, up to the end of the test.

        Epochs cost what those before did, and the test as much as a validation; a search for a
        shorter walk what it costs at most. Early stopping may end a run sooner.

        Args:
            share (float): of the batches of the current epoch that are done; None between epochs.

        Returns:
            float: None where nothing is known yet.
        """
        epochs = self.epochs - self.epochs_done
        gone = 0 if share is None else monotonic() - self._epoch_begin
        if self.epochs_done:
            each = self.train_seconds / self.epochs_done
            seconds = max(each * epochs - gone, 0)
        elif share:
            seconds = gone / share * epochs - gone
        else:
            return None
        validation = self.valid_seconds / len(self.curve) if self.curve else 0.0
        if self._has_validation:
            validations = self.epochs // self.eval_step - self.epochs_done // self.eval_step
            seconds += validation * validations
        budget = self.config["max_train_seconds"]
        if budget is not None:
            seconds = min(seconds, max(budget - self.spent_seconds(), 0))
        if self._has_validation and traits.seeks_steps(self.model):
            seconds += validation * most_walks(self.model.diffusion.steps)
        return seconds + validation

    def spent_seconds(self):
        """Seconds of ``max_train_seconds`` that are spent, those before a resume too (float)."""
        return self.seconds_before + monotonic() - self._begin

    @contextmanager
    def _bar_of_epoch(self, total, show_progress):
        """Gives a function to call after each batch of an epoch."""
        words = f"epoch {self._epoch + 1} of {self.epochs}"
        with progress.bar(total, words, show_progress) as bar:

            def done():
                if bar.disable:
                    return
                rest = self.seconds_left((bar.n + 1) / total)
                bar.set_postfix_str(progress.left(rest), refresh=False)
                bar.update()

            yield done

    @contextmanager
    def _bar_of_ranking(self, total, show_progress):
        """Has ``self._ranked`` called after each ranked batch."""
        with progress.bar(total, self.doing, show_progress) as bar:

            def done():
                if bar.disable:
                    return
                if self._watched is not None and self.stopped_by is None:  # it trains
                    rest = self.seconds_left()
                elif self.search_ends is not None:
                    rest = max(self.search_ends - monotonic(), 0)
                else:
                    rest = progress.time_left(bar)
                bar.set_postfix_str(progress.left(rest), refresh=False)
                bar.update()

            self._ranked = done
            try:
                yield
            finally:
                self._ranked = None

    def _tell_epoch(self, epoch, score=None):
        """Says in a line how an epoch went.

        Args:
            epoch (int): from 0.
            score (float): of its validation; None without one.
        """
        parts = [f"loss {self.train_loss_dict[epoch]:.4f}"]
        if score is not None:
            best = self.cur_step == 0  # RecBole counts validations since the best one
            parts.append(f"{self.valid_metric} {score:.4f}" + " (best so far)" * best)
        parts.append(f"{monotonic() - self._epoch_begin:.1f} s")
        rest = self.seconds_left()
        if rest is not None and self.epochs_done < self.epochs:
            parts.append(progress.left(rest))
        logger.info(f"epoch {epoch + 1} of {self.epochs}: {', '.join(parts)}")
