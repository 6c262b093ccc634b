"""What happens when a trial ends? Only `tune` imports this file, because it imports Ray."""

import sys

from ray.tune import Callback
from tqdm import tqdm

from recbole_diffusion import progress
from recbole_diffusion.config.files import write_json
from recbole_diffusion.tune.trial import STOPPED, read_record, tidy


class Watch(Callback):
    """Says how trials go and end, and deletes models as soon as a better one is there.

    Args:
        mode (str): max or min.
        metric (str): name of the score.
        trials (Path): where every trial has a folder, named by its id.
        of (int): how many trials there will be.
        concurrent (int): trials at once.
        quiet (bool): say only how trials fail.
    """

    def __init__(self, mode, metric, trials, of, concurrent, quiet):
        self.mode, self.metric, self.trials = mode, metric, trials
        self.of, self.concurrent, self.quiet = of, concurrent, quiet
        self.bar = None

    def __getstate__(self):
        return vars(self) | {"bar": None}  # Ray keeps it with the search

    def on_trial_start(self, iteration, trials, trial, **info):
        if self.bar is None:
            self.bar = progress.bar(self.of, "tune", not self.quiet, "trial")

    def on_trial_result(self, iteration, trials, trial, result, **info):
        if self.bar is not None:
            self.bar.set_postfix_str(f"epoch {result['epoch']}: {result['score']:.6f}")

    def on_experiment_end(self, trials, **info):
        if self.bar is not None:
            self.bar.close()

    def on_trial_complete(self, iteration, trials, trial, **info):
        folder = self.trials / trial.trial_id
        record = read_record(folder)
        if "stopped_by" not in record:  # only the scheduler ends a trial that has not ended itself
            write_json(folder / "trial.json", record | {"stopped_by": STOPPED})
        folders = [self.trials / known.trial_id for known in trials]
        over = tidy(folders, self.mode)
        ended = len(over) + sum("error" in read_record(folder) for folder in folders)
        if self.quiet:
            return
        each = sum(known["seconds"] for _, known in over) / len(over)
        rest = progress.left(each * (self.of - ended) / self.concurrent)
        self._say(
            f"trial {ended} of {self.of}: {self.metric} {record['score']:.6f}, "
            f"{record['seconds']:.0f} s, best so far {over[0][1]['score']:.6f}"
            + f"; {rest}"
            * (ended < self.of)
        )
        self._count(ended)

    def on_trial_error(self, iteration, trials, trial, **info):
        error = read_record(self.trials / trial.trial_id).get("error", "its process died")
        self._say(f"trial failed: {error}")

    def _say(self, line):
        with tqdm.external_write_mode(file=sys.stdout):
            print(line, flush=True)

    def _count(self, ended):
        if self.bar is not None:
            self.bar.update(ended - self.bar.n)
