"""One piece of a benchmark in a process of its own: reads a job, writes what came out.

``python -m recbole_diffusion.benchmark.worker JOB.json RESULT.json``. It ends when its standard
input does, that is with the process that started it.
"""

import hashlib
import json
import os
import sys
import threading
import traceback
from pathlib import Path

import numpy as np

from recbole_diffusion.benchmark.external import _read as read_lists
from recbole_diffusion.benchmark.external import measure
from recbole_diffusion.benchmark.protocol import describe, held_out_hash
from recbole_diffusion.config import traits
from recbole_diffusion.config.config import Config
from recbole_diffusion.config.files import write_json
from recbole_diffusion.config.names import resolve
from recbole_diffusion.config.values import as_texts
from recbole_diffusion.evaluator import ranked_rows as rows
from recbole_diffusion.evaluator.curves import quality_by_steps
from recbole_diffusion.evaluator.divisors import over_all_rows
from recbole_diffusion.quick_start.quick_start import fit, read_data, training_report

SEEDS_APART = 10_000  # of two samplings, so that no two models of a benchmark share their noise


def main(job_file, result_file):
    """Does one job; what it raises is written down too.

    Args:
        job_file (str): JSON with ``kind`` (``describe``, ``external``, ``trial`` or ``seed``) and
            what that needs, and ``models``, the names of all models of the benchmark.
        result_file (str): where the result goes: a dictionary, with ``error`` if it failed.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    try:
        _meet(job["models"])
        result = {"describe": describe_all, "external": external}.get(job["kind"], run)(job)
    except Exception as error:
        traceback.print_exc()
        result = {"error": one_line(error)}
    write_json(result_file, result)


def _meet(models):
    """Resolves all models of a benchmark: whose key a shared setting is, is then known."""
    for name in models:
        try:
            resolve(name)
        except Exception:
            continue  # the row of that model says why


def _end_with_parent():
    # Not through sys.stdin, whose lock would be held when the interpreter ends, which aborts it.
    while os.read(0, 1):
        pass
    os._exit(1)


def one_line(error):
    """An exception in one line; its name where that says more than the message."""
    text = " ".join(str(error).split())
    expected = isinstance(error, (ValueError, FileNotFoundError, ImportError))
    return text if expected and text else f"{type(error).__name__}: {text}"


def describe_all(job):
    """Reads the data of every entry and says under which protocol it would be measured.

    Args:
        job (dict): ``entries``, label to ``model``, ``dataset`` and ``settings``; ``lists``, name
            to the file of lists of another program.

    Returns:
        dict: label to ``protocol`` and ``warnings`` (list of str), or to ``error`` in a line.

    Raises:
        DataError: if lists cannot be read.
    """
    result = {}
    for path in job["lists"].values():
        read_lists(path)
    for label, entry in job["entries"].items():
        try:
            config = Config(entry["model"], entry["dataset"], None, as_texts(entry["settings"]))
            _, (train, valid, test) = read_data(config)
            valid_set = None if valid is None else valid._dataset
            protocol = describe(config, train._dataset, valid_set, test._dataset)
            found = {"protocol": protocol, "warnings": config.warnings}
        except Exception as error:
            if not isinstance(error, ValueError):
                traceback.print_exc()
            found = {"error": one_line(error)}
        result[label] = found
        print(label, found, flush=True)
    return result


def external(job):
    """Measures the lists of another program on the rows of a model of ours.

    Args:
        job (dict): ``path`` of the lists, ``model``, ``dataset`` and ``settings`` of a model that
            shares the table, ``held_out_hash`` and ``users_file``.

    Returns:
        dict: ``test``, ``beyond``, ``counts`` and ``users_hash``, the SHA-256 of ``users_file``.

    Raises:
        DataError: if the lists are malformed or cannot be measured here.
        ValueError: if the held-out rows are not those of the table.
    """
    config = Config(job["model"], job["dataset"], None, as_texts(job["settings"]))
    _, loaders = read_data(config)
    _check_held_out(job, loaders[2]._dataset)
    measured = measure(job["path"], config, loaders[0]._dataset, loaders[2])
    return {
        "test": measured.test,
        "beyond": measured.beyond,
        "counts": measured.counts,
        "users_hash": _write_table(job["users_file"], measured.per_user),
    }


def _check_held_out(job, test_set):
    found = held_out_hash(test_set)
    if found != job["held_out_hash"]:
        raise ValueError(
            f"the held-out rows (hash {found}) are no longer those of the table "
            f"({job['held_out_hash']}): the data have changed"
        )


def _write_table(path, table):
    """Writes values per user, and gives the SHA-256 of the file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".writing")
    try:
        table.to_parquet(beside, index=False, compression="zstd")
        content = beside.read_bytes()
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)  # of a full disk
    return hashlib.sha256(content).hexdigest()


def run(job):
    """Trains one model, selected on validation; with ``kind: seed`` it is tested too.

    Args:
        job (dict): ``kind``, ``model``, ``dataset``, ``settings``, and for a seed
            ``held_out_hash``, ``sampling_seeds``, ``users_file`` and ``steps`` (whether quality
            against reverse steps is measured).

    Returns:
        dict: what leaderboards and reports show of a run.

    Raises:
        ValueError: if the held-out rows are not those of the table.
    """
    config = Config(job["model"], job["dataset"], None, as_texts(job["settings"]))
    fitted = fit(config)
    trainer = fitted.trainer
    result = {"checkpoint": None}
    if job["kind"] == "seed":
        result["checkpoint"] = trainer.saved_model_file
        result |= test(job, config, fitted)
        result["steps"] = quality_by_steps(fitted) if job["steps"] else None
    else:
        Path(trainer.saved_model_file).unlink(missing_ok=True)
    Path(trainer.last_file).unlink(missing_ok=True)
    return training_report(config, trainer) | result  # now, for the peak of memory


def test(job, config, fitted):
    """Tests the selected model, as often as there are sampling seeds if it draws when scoring.

    Args:
        job (dict): as in `run`.
        config (Config): the run's configuration.
        fitted (Fitted): the trained run.

    Returns:
        dict: ``test`` (means over samplings), ``samplings``, ``samples``, ``agreement``,
        ``beyond``, ``never_trained``, ``all_rows``, cost of scoring, and ``users_hash``, the
        SHA-256 of ``users_file``. Of what is not a mean over samplings, that of the first.

    Raises:
        ValueError: if the held-out rows are not those of the table.
    """
    trainer, test_set = fitted.trainer, fitted.test_data._dataset
    _check_held_out(job, test_set)
    samplings, tables, lists, first = [], [], [], {}
    for i in range(job["sampling_seeds"]):
        trainer.evaluation_seed = config["seed"] + i * SEEDS_APART
        trainer.observer = rows.RankedRows(config)
        result = trainer.evaluate(fitted.test_data, load_best_model=i == 0)
        table, ranked = trainer.observer.finish(test_set)
        if i == 0:
            seconds = trainer.eval_seconds - trainer.observer.seconds
            first = {"never_trained": trainer.never_trained}
        elif i == 1 and np.array_equal(ranked, lists[0]):
            lists.append(ranked)
            break  # it does not draw
        samplings.append(result)
        tables.append(table)
        lists.append(ranked)
    trainer.observer, trainer.evaluation_seed = None, config["seed"]
    metrics = [name for name in tables[0] if name not in ("user", "row")]
    mean = tables[0][["user", "row"]].copy()
    for name in metrics:
        mean[name] = np.mean([table[name] for table in tables], axis=0).round(6)
    means = {name: float(np.mean([s[name] for s in samplings])) for name in samplings[0]}
    return first | {
        "test": means,
        "users_hash": _write_table(job["users_file"], mean),
        "samplings": samplings,
        "samples": len(samplings) > 1,
        "agreement": rows.agreement(lists[0], lists[1]) if len(lists) > 1 else None,
        "beyond": rows.beyond_accuracy(config, lists[0], trainer.dataset),
        "all_rows": over_all_rows(config, fitted.split, means),
        "eval_seconds": round(seconds, 3),
        "ms_per_user": 1000 * seconds / len(mean),
        "denoiser_calls": traits.denoiser_calls(trainer.model),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
