"""What has a benchmark measured so far? Its records and values per user as one structure."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from recbole_diffusion.benchmark.journal import JournalError, State, read_journal
from recbole_diffusion.benchmark.report import statistics
from recbole_diffusion.benchmark.report.users import read_users
from recbole_diffusion.quick_start.still_rose import still_rose

COSTS = {  # key of a result -> head of a column
    "build_seconds": "building s",
    "train_seconds": "training s",
    "valid_seconds": "validation s",
    "eval_seconds": "scoring s",
    "ms_per_user": "ms per user",
    "denoiser_calls": "denoiser calls per user",
    "parameters": "parameters",
    "peak_memory_mb": "peak MiB",
    "energy_wh": "training Wh",
}


@dataclass
class Row:
    """One model of the leaderboard.

    Attributes:
        label, model (str): its name here and the name of the model.
        ablates, change (str): of an ablation, the label it is a variant of and what is changed.
        external (bool): whether its lists were imported, not computed here.
        asked (int): training seeds of the plan.
        seeds (list of int): those done.
        test, valid (dict): metric to statistics.Spread over seeds.
        users (dict): metric to statistics.Interval over users; empty where ``no_users`` says why.
        no_users (str): why there are no values per user, else "".
        sampling_sd (dict): metric to the deviation over samplings within a trained model; empty
            where the model does not sample.
        samplings (int): samplings of each trained model.
        agreement (float): share of common items in the top lists of two samplings, or None.
        costs (dict): keys of ``COSTS`` to means over seeds, None where unknown.
        beyond (dict): metric to mean over seeds, of other things than accuracy.
        never_trained (dict): the audit, means over seeds; None where there are no such items.
        all_rows (dict): metric to mean, divided by all test rows; None where all were ranked.
        epochs, ended (str): best and last epoch of each seed, and what ended the training.
        settings (dict): of the first seed, over the entry of the plan.
        config (dict): all settings of the row; {} where they are not recorded.
        recbole (list of str): the versions of RecBole it ran on; empty where none is recorded.
        rising (int): seeds whose training was ended by time while validation still rose: the last
            validation is their best.
        curves (list): (seed, points) where a point is [epoch, seconds, validation score].
        steps (dict): validation metrics against reverse steps, means over the seeds that were
            measured, or None.
        walks (list): (seed, report) where reverse steps were found, ``find_steps`` of a trainer.
    """

    label: str
    model: str
    ablates: str
    change: str
    external: bool
    asked: int
    seeds: list
    test: dict
    valid: dict
    users: dict
    no_users: str
    sampling_sd: dict
    samplings: int
    agreement: float
    costs: dict
    beyond: dict
    never_trained: dict
    all_rows: dict
    epochs: str
    ended: str
    rising: int
    settings: dict
    config: dict
    recbole: list
    curves: list
    steps: dict
    walks: list


@dataclass
class Board:
    """All that the printers need.

    Attributes:
        plan, protocol (dict): as recorded; ``protocol`` is empty before the first run.
        metric (str): the metric that orders the rows.
        rows (list of Row): best first, ablations among them.
        best (dict): metric to the label of the best row; ablations are not asked.
        against_best (dict): metric to {label: statistics.Comparison of it with the best}.
        ablations (dict): metric to {label: statistics.Comparison of it with what it ablates}.
        no_test (dict): label to why it was not compared.
        trials (list of dict): label, number, settings, valid, chosen, error.
        failed (list of dict): label, phase, number, seed, error.
        refused (dict): label to reason.
        pending (list of str): labels of the plan of which no seed has finished, failed or been
            refused.
        papers (list of dict): label, paper (or source), metric, published, ours, verdict.
        command (str): the commands that made all this.
        sittings (list of dict): starts of the runner, of `sitting.describe`; empty where an older
            version, which did not record them, was alone at it.
    """

    plan: dict
    protocol: dict
    metric: str
    rows: list
    best: dict
    against_best: dict
    ablations: dict
    no_test: dict
    trials: list
    failed: list
    refused: dict
    pending: list
    papers: list = field(default_factory=list)
    command: str = ""
    sittings: list = field(default_factory=list)

    @property
    def models(self):
        """list of Row: all but the ablations."""
        return [row for row in self.rows if not row.ablates]

    def row(self, label):
        """The row of a label, or None."""
        return next((row for row in self.rows if row.label == label), None)


def read_board(output, papers=(), command=""):
    """Reads what a benchmark has recorded so far.

    Args:
        output (str or Path): the folder with ``journal.jsonl`` and ``users/``.
        papers (list of dict): rows of the paper check.
        command (str): the commands to print.

    Returns:
        Board: also of a benchmark that is not finished.

    Raises:
        ValueError: there is no journal or no plan in it, a line is broken, its format is newer than
            this code, or files of values per user are damaged or hold different rows.
    """
    output = Path(output)
    path = output / "journal.jsonl"
    state = State(read_journal(path))
    plan, refused = state.plan, state.refused
    if plan is None:
        raise ValueError(f"{path} is not a journal of a benchmark")
    metric = plan["metric"]
    done, failed, trials = {}, [], []
    for run in state.runs.values():
        label = run["label"]
        rows_of_plan = plan.get("external", {}) if run["phase"] == "external" else plan["models"]
        if label not in rows_of_plan or label in refused:
            continue  # the plan was changed
        if run["phase"] == "seed" and run["seed"] not in plan["seeds"][run["number"] :][:1]:
            continue
        if run["phase"] == "trial" and run["number"] < plan["tune"]:
            trials.append(run)
        if run["status"] == "failed":
            failed.append({k: run.get(k) for k in ("label", "phase", "number", "seed", "error")})
        elif run["phase"] != "trial":
            done.setdefault(label, []).append(run)
    rows, tables = [], {}
    for label, of_label in done.items():
        of_label.sort(key=lambda run: (run.get("seed") or 0, run.get("number") or 0))
        table, missing = _values_per_user(output, label, of_label)
        tables[label] = table
        rows.append(_row(state, label, of_label, table, missing))
    # Rounded, since the mean of equal values depends on their order by a last digit.
    rows.sort(key=lambda row: -round(row.test[metric].mean, 9) if metric in row.test else np.inf)
    known = {*done, *refused, *(fail["label"] for fail in failed if fail["phase"] != "trial")}
    board = Board(
        plan=plan,
        protocol=state.protocol,
        metric=metric,
        rows=rows,
        best={},
        against_best={},
        ablations={},
        no_test={row.label: row.no_users for row in rows if row.no_users},
        trials=_trials(plan, trials, done),
        failed=failed,
        refused=refused,
        pending=[label for label in plan["models"] if label not in known],
        papers=list(papers),
        command=command,
        sittings=state.sittings,
    )
    _compare(board, tables)
    return board


def _values_per_user(output, label, runs):
    """The table of per-row means over seeds, or None and the reason."""
    frames = []
    for run in runs:
        name = run["result"].get("users_file")
        if not name or not (output / name).exists():
            return None, f"no values per user ({name or 'not recorded'})"
        frames.append(read_users(output / name, run["result"]))
    table = statistics.seed_means(frames, label)
    if table.index.get_level_values("user").nunique() < 2:
        return None, "values of one user only"
    return table, ""


def _row(state, label, runs, table, no_users):
    plan = state.plan
    results = [run["result"] for run in runs]
    entry = plan["models"].get(label, {})
    external = runs[0]["phase"] == "external"
    samples = any(result.get("samples") for result in results)
    sampling_sd = {}
    if samples:
        _same_metrics("samplings", [draw for one in results for draw in one.get("samplings", ())])
        for metric in results[0]["samplings"][0]:
            draws = [[draw[metric] for draw in result["samplings"]] for result in results]
            sampling_sd[metric] = statistics.within_seeds(draws)
    trained = [result for result in results if result.get("epochs") is not None]
    ended = Counter(result["stopped_by"] for result in trained)
    return Row(
        label=label,
        model=entry.get("model") or results[0].get("model") or label,
        ablates=entry.get("ablates") or "",
        change=entry.get("change") or "",
        external=external,
        asked=len(runs) if external else len(plan["seeds"]),
        seeds=[run.get("seed") for run in runs],
        test=_spreads(results, "test"),
        valid=_spreads(results, "best_valid_result"),
        users={} if table is None else {m: statistics.over_users(table[m]) for m in table},
        no_users=no_users,
        sampling_sd={m: sd for m, sd in sampling_sd.items() if sd is not None},
        samplings=max(len(result.get("samplings") or [0]) for result in results),
        agreement=_mean([result.get("agreement") for result in results]),
        costs={key: _mean([result.get(key) for result in results]) for key in COSTS},
        beyond=_means([result.get("beyond") for result in results]),
        never_trained=_means([result.get("never_trained") for result in results]) or None,
        all_rows=_means([result.get("all_rows") for result in results]) or None,
        epochs=", ".join(f"{one['best_epoch']} / {one['epochs']}" for one in trained),
        ended=_ended(ended),
        rising=sum(map(_rises, trained)),
        settings=_settings(runs[0], entry),
        config=state.config(runs[0]),
        recbole=sorted({result["recbole"] for result in results if result.get("recbole")}),
        curves=[(run.get("seed"), run["result"].get("curve") or []) for run in runs],
        steps=_steps([result.get("steps") for result in results]),
        walks=[(run.get("seed"), r["walk"]) for run, r in zip(runs, results) if r.get("walk")],
    )


def _rises(result):
    """Whether time ended a training whose last validation was its best."""
    return result["stopped_by"] == "max_train_seconds" and still_rose(result)


def _settings(run, entry):
    """What a run changed over its entry of the plan, but for its seed."""
    own = entry.get("settings") or {}
    return {
        key: value
        for key, value in run["settings"].items()
        if key != "seed" and (key not in own or own[key] != value)
    }


def _spreads(results, key):
    given = [result[key] for result in results if result.get(key)]
    metrics = list(given[0]) if given else []
    _same_metrics(key, given)
    return {m: statistics.over_seeds([one[m] for one in given]) for m in metrics}


def _same_metrics(key, dicts):
    for one in dicts:
        if set(one) != set(dicts[0]):
            raise JournalError(
                f"runs of one row have different metrics in {key}: {', '.join(one)} and "
                f"{', '.join(dicts[0])}"
            )


def _mean(values):
    values = [value for value in values if value is not None]
    if len(set(values)) < 2:
        return values[0] if values else None  # a count stays a whole number
    return sum(values) / len(values)


def _means(dicts):
    """Means of dicts of numbers or of dicts; {} if there is none."""
    dicts = [one for one in dicts if one]
    if not dicts:
        return {}
    return {
        key: _means([one.get(key) for one in dicts])
        if isinstance(value, dict)
        else _mean([one.get(key) for one in dicts])
        for key, value in dicts[0].items()
    }


def _ended(counts):
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{reason} ({count})" for reason, count in counts.items())


def _steps(curves):
    curves = [curve for curve in curves if curve]
    curves = [curve for curve in curves if curve["x"] == curves[0]["x"]]
    if not curves:
        return None
    points = zip(*(curve["values"] for curve in curves))
    return curves[0] | {"values": [_means(list(point)) for point in points]}


def _trials(plan, runs, done):
    listed, metric = [], plan["metric"]
    for run in runs:
        entry = plan["models"][run["label"]]
        settings = _settings(run, entry)
        valid = (run.get("result") or {}).get("best_valid_result", {}).get(metric)
        used = [_settings(seed, entry) for seed in done.get(run["label"], ())]
        listed.append(
            {
                "label": run["label"],
                "number": run["number"],
                "settings": settings,
                "valid": valid,
                "chosen": valid is not None and settings in used,
                "error": run.get("error", ""),
            }
        )
    return sorted(listed, key=lambda trial: (trial["label"], trial["number"]))


def _compare(board, tables):
    for metric in dict.fromkeys(m for row in board.models for m in row.test):
        rows = [row for row in board.models if metric in row.test]
        best = max(rows, key=lambda row: row.test[metric].mean).label
        board.best[metric] = best
        others = [row.label for row in rows if row.label != best]
        board.against_best[metric] = _family(tables, metric, [(other, best) for other in others])
        if metric == board.metric and board.row(best).no_users:
            for label in others:
                board.no_test.setdefault(label, f"the best, {best}, has no values per user")
        pairs = [
            (row.label, row.ablates) for row in board.rows if row.ablates and metric in row.test
        ]
        board.ablations[metric] = _family(tables, metric, pairs)
    for row in board.rows:
        base = row.ablates and board.row(row.ablates)
        if row.ablates and (not base or base.no_users):
            why = "has no values per user" if base else "has no finished seed"
            board.no_test.setdefault(row.label, f"{row.ablates} {why}")


def _family(tables, metric, pairs):
    usable = [
        (first, second)
        for first, second in pairs
        if all(tables.get(one) is not None and metric in tables[one] for one in (first, second))
    ]
    compared = [
        statistics.compare(tables[first][metric], tables[second][metric], (first, second))
        for first, second in usable
    ]
    return {one.first: one for one in statistics.holm(compared)}
