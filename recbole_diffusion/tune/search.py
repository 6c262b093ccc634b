"""Which settings are best on validation? A search with Ray Tune, which a kill does not end.

A trial is one training, selected on validation; nothing here looks at test rows. Everything is in
one folder: ``study.json`` says what is searched, ``ray/`` holds Ray's state and, in a folder a
trial, checkpoints and ``trial.json``. Ray's state are pickles: go on only in folders of your own.
"""

import json
import os
from pathlib import Path

import numpy as np
import yaml

from recbole_diffusion.config.config import Config
from recbole_diffusion.config.files import write_json
from recbole_diffusion.config.foreign import NAMED, refuse_unnamed, vouch
from recbole_diffusion.config.keys import of_kind
from recbole_diffusion.config.names import resolve
from recbole_diffusion.config.paths import properties_dir
from recbole_diffusion.config.properties import space_file
from recbole_diffusion.config.space import grid, read_space, sample, to_ray
from recbole_diffusion.config.values import ConfigError, as_texts, parse_value, read_yaml
from recbole_diffusion.quick_start.cluster import join, start_here
from recbole_diffusion.quick_start.quick_start import read_data
from recbole_diffusion.tune.folder import alone_in, claim, refuse_other
from recbole_diffusion.tune.trial import STOPPED, _line, read_record, run_trial, tidy

SEARCHES = ("random", "grid", "optuna")
SCHEDULERS = ("asha", "none")

# Read when Ray starts: no reports home, Ctrl-C as everywhere else, state on disk at once, results
# as plain files of ours, trials in the folder where the search was started.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
}


def tune(
    model,
    dataset,
    space,
    trials,
    search,
    scheduler,
    concurrent,
    address,
    output,
    files,
    settings,
    quiet=False,
):
    """Searches for the settings that are best on validation.

    A search that was killed goes on when it is called again in the same way: finished trials are
    kept, unfinished ones resume after their last whole epoch, failed ones are tried again, and the
    scheduler begins again to compare.

    Args:
        model (str): a model's name, see `resolve`.
        dataset (str): the data set's name.
        space (str or Path): a file for `read_space`; None is ``properties/tune/<Model>.yaml``.
        trials (int): number of trials; a grid tries all combinations.
        search (str): random, grid or optuna.
        scheduler (str): asha stops trials that fall behind, none does not.
        concurrent (int): trials at once.
        address (str): of a Ray cluster that sees the same files; None starts Ray here.
        output (str or Path): the folder; None is ``tune/<model>-<dataset>``.
        files (list of str): YAML files of settings of every trial.
        settings (dict): settings of every trial, over those of the files.
        quiet (bool): say nothing of trials but how they fail.

    Returns:
        dict: ``metric``, ``bigger`` (whether more is better), ``trials`` (a list of dict, the best
        first, the failed last), ``best`` (the first of them) and ``files`` (paths).

    Raises:
        ConfigError: on a setting, space or option that has no meaning, or a folder that holds
            another search or in which one is running.
        DataError: if the data are missing or unusable.
        ImportError: if Ray or Optuna is missing.
        ValueError: if every trial failed, with the first one's error.
    """
    study, config, space = plan(
        model, dataset, space, trials, search, scheduler, files, settings, concurrent
    )
    read_data(config)  # what is wrong with it would end every trial
    output = Path(output or Path("tune", f"{config['model']}-{config['dataset']}")).resolve()
    refuse_other(output, study)
    with alone_in(output):
        claim(output, study)
        folders = search_with_ray(study, config, space, concurrent, address, output, quiet)
        return conclude(study, config, folders, output)


def plan(model, dataset, space, trials, search, scheduler, files, settings, concurrent):
    """Reads and checks what is to be searched, before anything is started.

    Args:
        model, dataset, space, trials, search, scheduler, files, settings, concurrent: as of `tune`.

    Returns:
        tuple: the study (dict of plain values), the configuration of its first trial, and the space
        (dict).

    Raises:
        ConfigError: as `tune` does.
    """
    for option, value, known in (
        ("search", search, SEARCHES),
        ("scheduler", scheduler, SCHEDULERS),
    ):
        if value not in known:
            raise ConfigError(f"--{option} is '{value}', not one of {', '.join(known)}")
    for option, value in (("trials", trials), ("concurrent", concurrent)):
        if value < 1:
            raise ConfigError(f"--{option} is {value}, it must be at least 1")
    vouch(model, settings)
    given = {}
    for file in files:
        given |= read_yaml(file)
    given |= {k: parse_value(v) if isinstance(v, str) else v for k, v in settings.items()}
    named = {"model": given.pop("model", None), "dataset": given.pop("dataset", None)}
    model, dataset = model or named["model"], dataset or named["dataset"]
    for name, value in (("model", model), ("dataset", dataset)):
        if value is None:
            raise ConfigError(f"no {name} given: set --{name}=... or `{name}:` in a file")
    for key in of_kind("tune"):
        if key in given:
            raise ConfigError(f"{key} cannot be set: every trial has its own")
    for key, name in (("model", model), ("pretrain", given.get("pretrain"))):
        refuse_unnamed(name, f"the {key} of a settings file", key)
    canonical, model_class = resolve(model)
    file = space or space_file(model_class)
    if space is None and not (file and file.is_file()):
        own = f", or write {file}" if file and properties_dir() not in file.parents else ""
        raise ConfigError(
            f"no search space comes with {canonical}: give one with --space=FILE{own}"
        )
    space = read_space(file)
    for key in space:
        if key in settings:  # of a file's settings the searched ones do not count
            raise ConfigError(f"{key} is set to {given[key]} and is searched in {file}")
    first = {key: domain.values[0] for key, domain in space.items()}
    config = Config(model, dataset, None, as_texts(given | first))
    _check_values(space, lambda key, value: {**given, **first, key: value}, model, dataset, file)
    study = {
        "model": model,
        "dataset": dataset,
        "search": search if space else "grid",  # of one trial, with nothing to choose
        "trials": trials,
        "scheduler": scheduler,
        "space": {key: [domain.kind, list(domain.values)] for key, domain in space.items()},
        "settings": given,
        "started_in": os.getcwd(),  # relative paths begin there
    }
    return study, config, space


def _check_values(space, settings_with, model, dataset, file):
    """Refuses now what would fail a trial: a value of the space that is no value of its setting."""
    for key, domain in space.items():
        for value in domain.values[1:2] if domain.kind != "choice" else domain.values[1:]:
            try:
                Config(model, dataset, None, as_texts(settings_with(key, value)))
            except ConfigError as error:
                raise ConfigError(f"{file}: {error}") from error


def search_with_ray(study, config, space, concurrent, address, output, quiet=False):
    """Runs the trials, or those that are left.

    Args:
        study, config, space: of `plan`.
        concurrent (int): trials at once.
        address (str): of a Ray cluster; None starts Ray here, if none was started.
        output (Path): the folder.
        quiet (bool): as of `tune`.

    Returns:
        list of Path: folders of the trials, each with a ``trial.json``.

    Raises:
        ImportError: if Ray or Optuna is missing.
    """
    searcher, points = _searcher(study, config, space)
    try:
        import ray
        from ray import tune as ray_tune

        if not hasattr(ray_tune, "RunConfig"):
            raise ImportError(f"Ray {ray.__version__} is too old")
    except ImportError as error:
        raise ImportError(
            f'tuning needs Ray: pip install "recbole-diffusion[tune]" ({error})'
        ) from error
    from recbole_diffusion.tune.callback import Watch

    trials = output / "ray"
    of = study["trials"] if searcher else len(points["grid_search"])

    named = os.environ.get(NAMED)

    def trial(params):
        vouch(named)  # in a process that Ray may have started before
        os.chdir(study["started_in"])
        folder = trials / ray_tune.get_context().get_trial_id()  # Ray's own is a copy
        run_trial(study, space, params["sampled"], folder, ray_tune.report)

    mode = "max" if config["valid_metric_bigger"] else "min"
    began_here = not ray.is_initialized()
    _start(ray, concurrent, address)
    try:
        if ray_tune.Tuner.can_restore(str(trials)):
            tuner = ray_tune.Tuner.restore(str(trials), trial, resume_errored=True)
        else:
            tuner = ray_tune.Tuner(
                trial,
                param_space={"sampled": points},
                tune_config=ray_tune.TuneConfig(
                    metric="score",
                    mode=mode,
                    search_alg=searcher,
                    scheduler=_scheduler(study, config),
                    num_samples=study["trials"] if searcher else 1,
                    max_concurrent_trials=concurrent,
                    reuse_actors=False,  # RecBole's logger and seeds are a process's
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=ray_tune.RunConfig(
                    name=trials.name,
                    storage_path=str(output),
                    verbose=0,
                    callbacks=[Watch(mode, config["valid_metric"], trials, of, concurrent, quiet)],
                ),
            )
        results = tuner.fit()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on") from None
    finally:
        if began_here:
            ray.shutdown()
    folders = []
    for result in results:
        folders.append(Path(result.path))
        record = read_record(folders[-1])
        if result.error and "error" not in record:  # its process died
            record["error"] = _line(str(result.error).strip().splitlines()[-1])
            write_json(folders[-1] / "trial.json", record)
    return folders


def _start(ray, concurrent, address):
    """Joins a cluster, or starts Ray on this machine, for this machine alone."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        return
    if address:
        join(ray, address)
        return
    # Ray would give every trial a single thread.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, os.cpu_count() // concurrent)))
    start_here(ray, concurrent)


def _searcher(study, config, space):
    """Ray's searcher, None for a list of points, and what to search."""
    if study["search"] == "optuna":
        try:
            import optuna
            from ray.tune.search.optuna import OptunaSearch
        except ImportError as error:
            raise ImportError(
                f'--search optuna needs Optuna: pip install "recbole-diffusion[tune]" ({error})'
            ) from error
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        return OptunaSearch(seed=config["seed"]), to_ray(space)
    points = grid(space) if study["search"] == "grid" else _draws(space, study, config["seed"])
    return None, {"grid_search": points}


def _draws(space, study, seed):
    """Different random settings, fewer than asked for where there are not as many."""
    generator = np.random.default_rng(seed)
    draws = [sample(space, generator) for _ in range(100 * study["trials"])]
    return list({repr(draw): draw for draw in draws}.values())[: study["trials"]]


def _scheduler(study, config):
    """ASHA from a tenth of the epochs on; None where it would have nothing to stop."""
    grace = max(config["eval_step"], config["epochs"] // 10)
    if study["scheduler"] == "none" or grace >= config["epochs"]:
        return None
    from ray.tune.schedulers import ASHAScheduler

    # Nothing is stopped at its last epoch: what a trainer does after it belongs to the trial.
    return ASHAScheduler(time_attr="epoch", grace_period=grace, max_t=config["epochs"] + 1)


def conclude(study, config, folders, output):
    """Sorts the trials, keeps the best one's model, and writes ``best.yaml`` and ``best.json``.

    Args:
        study, config: of `plan`.
        folders (list of Path): of the trials.
        output (Path): where to write.

    Returns:
        dict: as `tune` does.

    Raises:
        ValueError: if every trial failed, with the first one's error.
    """
    mode = "max" if config["valid_metric_bigger"] else "min"
    over = tidy(folders, mode)
    failed = [(folder, read_record(folder)) for folder in folders]
    failed = [(folder, record) for folder, record in failed if "error" in record]
    for folder, _ in failed:
        for file in folder.glob("*.pth"):
            file.unlink()
    if not over:
        raise ValueError(
            f"all {len(failed)} trials failed, the first with: {failed[0][1]['error']}"
        )
    best = over[0][1]
    files = {"settings": str(output / "best.yaml"), "result": str(output / "best.json")}
    metric = config["valid_metric"]
    named = {"model": study["model"], "dataset": study["dataset"]}
    text = f"# Validation {metric} {best['score']:.6f}; the model: {best['checkpoint']}\n"
    text += yaml.safe_dump(named | study["settings"] | best["sampled"], sort_keys=False)
    Path(files["settings"]).write_text(text, encoding="utf-8")
    write_json(files["result"], named | {"metric": metric} | best)
    return {
        "metric": metric,
        "bigger": bool(config["valid_metric_bigger"]),
        "trials": [record for _, record in over + failed],
        "best": best,
        "files": files,
    }


def table(result):
    """The trials as text, a line each, the best first.

    Args:
        result (dict): of `tune`.

    Returns:
        str: the table, and where the best settings and the best model are.
    """
    lines = [f"{result['metric']:>12} {'epochs':>7} {'best':>5} {'seconds':>8}  settings"]
    for record in result["trials"]:
        words = " ".join(f"{k}={_typed(v)}" for k, v in record.get("sampled", {}).items())
        if "error" in record:
            lines.append(f"{'failed':>12} {'':22}  {words or 'not begun'}: {record['error']}")
            continue
        mark = "" if record["stopped_by"] != STOPPED else "  (stopped early)"
        lines.append(
            f"{record['score']:12.6f} {record['epoch']:7} {record['best_epoch']:5} "
            f"{record['seconds']:8.1f}  {words or '(nothing to choose)'}{mark}"
        )
    lines.append(f"best settings: {result['files']['settings']}")
    lines.append(f"best model: {result['best']['checkpoint']}")
    return "\n".join(lines)


def _typed(value):
    """A value as it is typed on the command line."""
    return json.dumps(value, separators=(",", ":")) if isinstance(value, list) else value
