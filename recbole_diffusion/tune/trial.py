"""What does one trial do, and what does it write down?"""

import json
import math
from pathlib import Path

from recbole_diffusion.config.config import Config
from recbole_diffusion.config.files import write_json
from recbole_diffusion.config.values import ConfigError, as_texts
from recbole_diffusion.quick_start.quick_start import fit

STOPPED = "scheduler"


def run_trial(study, space, sampled, folder, report):
    """Trains with one choice of settings and writes down how it goes.

    A trial that was killed goes on after its last whole epoch; one that is over only reports.

    Args:
        study (dict): of `plan`.
        space (dict): setting to `Domain`.
        sampled (dict): setting to the value to try.
        folder (Path): for the checkpoints and ``trial.json``.
        report (callable): called with a dict of ``score``, the best on validation so far, and
            ``epoch``, after each validation and at the end.

    Raises:
        ConfigError, DataError, ValueError: as `quick_start.fit` does.
    """
    record = read_record(folder)
    if "stopped_by" in record:
        report({"score": record["score"], "epoch": record["epoch"]})
        return
    sampled = {key: domain.short(sampled[key]) for key, domain in space.items()}
    record = {"sampled": sampled}

    def tell(trainer, **more):
        if not math.isfinite(trainer.best_valid_score):
            raise ValueError(f"its validation score is {trainer.best_valid_score}")
        record.update(
            score=float(trainer.best_valid_score),
            epoch=trainer.epochs_done,
            best_epoch=trainer.best_epoch,
            seconds=round(trainer.train_seconds + trainer.valid_seconds, 1),
            checkpoint=trainer.saved_model_file,
            **more,
        )
        write_json(folder / "trial.json", record)
        report({"score": record["score"], "epoch": record["epoch"]})

    try:
        write_json(folder / "trial.json", record)
        unfinished = any(folder.glob("*.last.pth"))
        of_trial = {"checkpoint_dir": str(folder), "resume": unfinished}
        given = study["settings"] | sampled | of_trial
        config = Config(study["model"], study["dataset"], None, as_texts(given))
        trainer = fit(config, after_validation=tell).trainer
        if not trainer.best_valid_result:
            raise ValueError("nothing was validated: the data have no validation rows")
        tell(trainer, stopped_by=trainer.stopped_by)
    except Exception as error:
        record["error"] = _line(error)
        write_json(folder / "trial.json", record)
        raise


def read_record(folder):
    """What a trial has written down.

    Args:
        folder (Path): the trial's.

    Returns:
        dict: ``sampled``; after a validation ``score``, ``epoch``, ``best_epoch``, ``seconds`` and
        ``checkpoint``; at the end ``stopped_by`` or ``error``. Empty for a trial not begun.
    """
    path = folder / "trial.json"
    return read_json(path) if path.is_file() else {}


def read_json(path):
    """What a search has written down of itself or of a trial.

    Args:
        path (Path): the file.

    Returns:
        dict: plain values.

    Raises:
        ConfigError: if it is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged ({error}): delete its folder") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is damaged (it holds no mapping): delete its folder")
    return found


def tidy(folders, mode):
    """Deletes the checkpoints of trials that are over, but for the best model.

    Args:
        folders (list of Path): of the trials.
        mode (str): max or min.

    Returns:
        list of tuple: folder and record of the trials that are over and did not fail, best first.
    """
    records = [(folder, read_record(folder)) for folder in folders]
    over = [(folder, record) for folder, record in records if "stopped_by" in record]
    over.sort(key=lambda pair: pair[1]["score"], reverse=mode == "max")
    for place, (folder, record) in enumerate(over):
        for file in folder.glob("*.pth"):
            if place > 0 or file != Path(record["checkpoint"]):
                file.unlink()
    return over


def _line(error):
    return " ".join(str(error).split()) or type(error).__name__
