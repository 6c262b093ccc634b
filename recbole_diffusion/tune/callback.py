"""What happens when a trial ends? Only `tune` imports this file, because it imports Ray."""

from ray.tune import Callback

from recbole_diffusion.config.files import write_json
from recbole_diffusion.tune.trial import STOPPED, read_record, tidy


class Watch(Callback):
    """Says how trials end and deletes models as soon as a better one is there.

    Args:
        mode (str): max or min.
        metric (str): name of the score.
        trials (Path): where every trial has a folder, named by its id.
    """

    def __init__(self, mode, metric, trials):
        self.mode, self.metric, self.trials = mode, metric, trials

    def on_trial_complete(self, iteration, trials, trial, **info):
        folder = self.trials / trial.trial_id
        record = read_record(folder)
        if "stopped_by" not in record:  # only the scheduler ends a trial that has not ended itself
            write_json(folder / "trial.json", record | {"stopped_by": STOPPED})
        over = tidy([self.trials / known.trial_id for known in trials], self.mode)
        print(
            f"trial {len(over)}: {self.metric} {record['score']:.6f}, best so far "
            f"{over[0][1]['score']:.6f}",
            flush=True,
        )

    def on_trial_error(self, iteration, trials, trial, **info):
        error = read_record(self.trials / trial.trial_id).get("error", "its process died")
        print(f"trial failed: {error}", flush=True)
