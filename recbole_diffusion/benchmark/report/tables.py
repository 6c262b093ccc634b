"""Which model is best, how sure is that, and what does it cost? As tables of any printer."""

from recbole_diffusion.benchmark.report.board import COSTS
from recbole_diffusion.benchmark.report.cells import (
    Cell,
    Table,
    effect,
    figure,
    interval,
    metric_label,
    over_seeds,
    p_text,
    quantity,
    settings_text,
    share,
    signed,
    spread_cell,
    text_cell,
)
from recbole_diffusion.benchmark.report.sentences import ALPHA, ablation_sentences
from recbole_diffusion.quick_start.still_rose import STILL_ROSE

MOST_COLUMNS = 6  # of the accuracy table; the rest is in the CSV
LEVEL = "†"


def shown_metrics(board):
    """The metrics of the accuracy table: all if few, else those of the main k or name.

    One that equals another for every model is left out: Recall is Hit where rows have one target.

    Args:
        board (Board): what was measured.

    Returns:
        list of str: metrics in the order of the records.
    """
    metrics = list(board.best)
    if len(metrics) > MOST_COLUMNS:
        name, _, k = board.metric.partition("@")
        metrics = [m for m in metrics if m.partition("@")[0] == name or m.partition("@")[2] == k]
    # The main metric first, so that it is never the one left out.
    metrics.sort(key=lambda metric: metric != board.metric)
    different = {tuple(row.test.get(m) for row in board.models): m for m in reversed(metrics)}
    return [metric for metric in board.best if metric in different.values()]


def significance(board, label, metric):
    """How a row stands against the best of a metric.

    Args:
        board (Board): what was measured.
        label (str): the row.
        metric (str): the metric.

    Returns:
        str: "best", "n.s.", "below" or "not available".
    """
    if board.best.get(metric) == label:
        return "best"
    one = board.against_best.get(metric, {}).get(label)
    if one is None:
        return "not available"
    return "n.s." if one.holm >= ALPHA else "below"


def tables(board):
    """All tables of the board, empty ones left out.

    Args:
        board (Board): what was measured.

    Returns:
        list of Table: in the order to be read.
    """
    makers = (_accuracy, _significance, _all_rows, _variance, _cost, _beyond, _never_trained)
    makers += (_ablations, _papers, _training, _walks, _trial_table, _failures, _sittings)
    return [table for table in (make(board) for make in makers) if table.rows]


def _accuracy(board):
    metrics = shown_metrics(board)
    rows = []
    for row in board.models:
        cells = [text_cell(row.label), Cell(f"{len(row.seeds)} / {row.asked}", len(row.seeds))]
        for metric in metrics:
            stands = significance(board, row.label, metric)
            mark = f" {LEVEL}" if stands == "n.s." else ""
            cells.append(spread_cell(row.test.get(metric), mark, stands == "best"))
        cells.append(spread_cell(row.valid.get(board.metric)))
        rows.append(cells)
    note = (
        "Mean ± standard deviation over training seeds, on test. Best in bold; "
        f"{LEVEL} not significantly below the best (Holm p of at least {ALPHA}, over users). "
        "Without a mark: significantly below, or not tested."
    )
    left = len(board.best) - len(metrics)
    if left:
        note += f" The CSV has {left} more."
    head = ["model", "seeds", *map(metric_label, metrics)]
    return Table("accuracy", "Leaderboard", note, [*head, f"validation {_main(board)}"], rows)


def _main(board):
    return metric_label(board.metric)


def _significance(board):
    rows = []
    for row in board.models:
        spread, users = row.test.get(board.metric), row.users.get(board.metric)
        if spread is None:
            continue
        cells = [text_cell(row.label), figure(spread.mean), Cell(over_seeds(spread))]
        cells.append(Cell(interval(users.low, users.high) if users else "not available"))
        one = board.against_best[board.metric].get(row.label)
        stands = significance(board, row.label, board.metric)
        if one is None:
            why = board.no_test.get(row.label)
            word = f"{stands}: {why}" if why and stands != "best" else stands
            cells += [Cell("–"), Cell("–"), Cell("–"), Cell(word + _rising(row), stands)]
        else:
            text = f"{signed(one.difference)} ({signed(one.low)} to {signed(one.high)})"
            cells += [
                Cell(text, one.difference),
                Cell(p_text(one.holm), one.holm),
                effect(one),
                Cell(stands + _rising(row), stands),
            ]
        rows.append(cells)
    note = (
        f"{_main(board)} on test. 95% intervals of the mean: over training seeds (what training "
        "again changes; none with one seed) and over users (what other users would change). The "
        "test is paired, on per-row means over seeds, with errors clustered by user; p is "
        "two-sided and corrected by Holm over all comparisons with the best; d is Cohen's d_z. It "
        "holds for these trained models: what training again changes, the interval over seeds "
        "says. What was ended by time while validation still rose might be better with more."
    )
    head = ["model", _main(board), "95% over seeds", "95% over users", "against the best", "p"]
    return Table("significance", "Significance", note, [*head, "d", "verdict"], rows)


def _rising(row):
    """What stands beside a verdict on a model that was not done with learning."""
    if not row.rising:
        return ""
    seeds = "" if row.rising == len(row.seeds) else f" ({row.rising} of {len(row.seeds)} seeds)"
    return f", ended by time while {STILL_ROSE}{seeds}"


def _all_rows(board):
    metrics = shown_metrics(board)
    rows = [
        [text_cell(row.label), *(figure(row.all_rows.get(metric)) for metric in metrics)]
        for row in board.rows
        if row.all_rows
    ]
    note = "Divided by all test rows; a row without history counts as a miss."
    head = ["model", *map(metric_label, metrics)]
    return Table("all-rows", "All test rows", note, head, rows)


def _variance(board):
    rows = []
    for row in board.rows:
        if board.metric in row.sampling_sd and board.metric in row.test:
            spread = row.test[board.metric]
            rows.append(
                [
                    text_cell(row.label),
                    figure(spread.mean),
                    figure(spread.sd, lambda x: "–" if x is None else f"{x:.5f}"),
                    figure(row.sampling_sd[board.metric], lambda x: f"{x:.5f}"),
                    Cell(f"{len(row.seeds)} × {row.samplings}", len(row.seeds) * row.samplings),
                    figure(row.agreement, share),
                ]
            )
    note = (
        f"Models that sample, {_main(board)} on test: the standard deviation over training seeds "
        "(of the means over samplings) and, pooled, over samplings of one trained model. Shared: "
        "items that the top lists of two samplings have in common."
    )
    head = ["model", _main(board), "sd over training", "sd over sampling", "seeds × samplings"]
    return Table("variance", "Two variances", note, [*head, "shared"], rows)


def _cost(board):
    keys = [key for key in COSTS if any(row.costs[key] is not None for row in board.rows)]
    rows = [
        [text_cell(row.label), *(figure(row.costs[key], quantity) for key in keys)]
        for row in board.rows
        if not row.external
    ]
    note = (
        "Means over seeds. Denoiser calls are per scored user: 0 in closed form, – where there is "
        "no denoiser."
    )
    if "energy_wh" in keys:
        note += " Training Wh: codecarbon's estimate for building, training and validation."
    return Table("cost", "Cost", note, ["model", *(COSTS[key] for key in keys)], rows)


def _beyond(board):
    k = board.metric.partition("@")[2]
    found = list(dict.fromkeys(m for row in board.rows for m in row.beyond))
    metrics = [m for m in found if m.partition("@")[2] == k] or found
    rows = [
        [text_cell(row.label), *(figure(row.beyond.get(metric)) for metric in metrics)]
        for row in board.rows
        if row.beyond
    ]
    head = ["model", *(_beyond_label(m) for m in metrics)]
    note = "Means over seeds, on test."
    return Table("beyond", "Beyond accuracy", note, head, rows)


def _beyond_label(metric):
    name, at, k = metric.partition("@")
    words = {
        "itemcoverage": "Item coverage",
        "averagepopularity": "Average popularity",
        "giniindex": "Gini index",
        "tailpercentage": "Tail share",
        "shannonentropy": "Shannon entropy",
    }
    return words.get(name, name.capitalize()) + at + k


def _never_trained(board):
    rows = []
    k = board.metric.partition("@")[2]
    for row in board.rows:
        found = row.never_trained
        if found and found.get("items"):
            barred = (found.get("barred") or {}).get(board.metric)
            before = row.test.get(board.metric)
            rows.append(
                [
                    text_cell(row.label),
                    figure(found["items"], quantity),
                    figure(found.get(f"slots@{k}"), share),
                    figure(found.get(f"hits@{k}"), share),
                    figure(before and before.mean),
                    figure(barred),
                ]
            )
    note = (
        "Items that training never saw keep their initial embedding: hits on them are luck or an "
        f"artefact. Shares of the first {k} places and of the hits in them, and the metric with "
        "such items barred."
    )
    head = ["model", "items", f"places@{k}", f"hits@{k}", _main(board)]
    head.append(f"{_main(board)} barred")
    return Table("never-trained", "Never-trained items", note, head, rows)


def _ablations(board):
    metrics = shown_metrics(board)
    rows = []
    for base in dict.fromkeys(row.ablates for row in board.rows if row.ablates):
        variants = [row for row in board.rows if row.ablates == base]
        for row in [board.row(base), *variants]:
            if row is None:
                continue
            one = board.ablations.get(board.metric, {}).get(row.label)
            cells = [text_cell(row.label), *(spread_cell(row.test.get(m)) for m in metrics)]
            if one:
                cells += [
                    Cell(signed(one.difference), one.difference),
                    Cell(p_text(one.holm), one.holm),
                    effect(one),
                ]
            else:
                word = "–" if row.label == base else "not available"
                cells += [Cell("–"), Cell(word), Cell("–")]
            rows.append(cells)
    note = " ".join(ablation_sentences(board)) + (
        " Each is tested against what it ablates, with Holm's correction over all ablations."
    )
    head = ["model", *map(metric_label, metrics), f"Δ {_main(board)}", "p", "d"]
    return Table("ablations", "Ablations", note, head, rows)


def _papers(board):
    keys = ["label", "source", "metric", "published", "ours", "verdict"]

    def cell(value):
        return (
            figure(value)
            if isinstance(value, float)
            else text_cell("–" if value is None else value)
        )

    rows = [[cell(paper[key]) for key in keys] for paper in board.papers]
    note = "Published numbers beside ours."
    return Table("papers", "Paper check", note, ["model", "paper", *keys[2:]], rows)


def _training(board):
    rows = [
        [
            text_cell(row.label),
            text_cell(row.epochs),
            text_cell(row.ended),
            text_cell(settings_text(row.settings)),
        ]
        for row in board.rows
        if not row.external
    ]
    note = "Best epoch / epochs of each seed, what ended the training, settings over the defaults."
    head = ["model", "best / epochs", "ended by", "settings"]
    return Table("training", "Training", note, head, rows)


def _walks(board):
    rows = [
        [
            text_cell(row.label),
            figure(seed, str),
            Cell(f"{one['steps']} / {found['of']}", one["steps"], one["steps"] == found["steps"]),
            figure(one["agreement"]),
            figure(found["needed"]),
            figure(one["valid_score"], "{:.5f}".format),
            figure(one["seconds"], quantity),
        ]
        for row in board.rows
        for seed, found in row.walks
        for one in found["tried"]
    ]
    note = (
        "How few reverse steps rank as all do, on validation, once after training: the numbers "
        "that were tried, in bold the one that scoring takes. Agreement: items of the top 20 that "
        "a full walk has too; in the row of all steps, of two full walks. The search is part of "
        "validation s."
    )
    head = ["model", "seed", "steps", "agreement", "needed", "validation", "s"]
    return Table("walks", "Reverse steps", note, head, rows)


def _trial_table(board):
    rows = [
        [
            text_cell(trial["label"]),
            Cell(str(trial["number"]), trial["number"]),
            text_cell(settings_text(trial["settings"])),
            figure(trial["valid"]) if not trial["error"] else Cell(f"failed: {trial['error']}"),
            Cell("yes" if trial["chosen"] else "", int(trial["chosen"])),
        ]
        for trial in board.trials
    ]
    note = "Settings tried with one seed; the choice is made on validation alone."
    head = ["model", "trial", "settings", f"validation {_main(board)}", "chosen"]
    return Table("trials", "Trials", note, head, rows)


def _failures(board):
    rows = [
        [text_cell(fail["label"]), text_cell(_failed_run(fail)), text_cell(fail["error"])]
        for fail in board.failed
        if fail["phase"] != "trial"  # stands among the trials
    ]
    rows += [
        [text_cell(label), text_cell("refused"), text_cell(why)]
        for label, why in board.refused.items()
    ]
    rows += [
        [text_cell(label), text_cell("no finished seed yet"), text_cell("")]
        for label in board.pending
    ]
    head = ["model", "what", "reason"]
    return Table("failures", "Failed, refused and not finished", "", head, rows)


def _failed_run(fail):
    return "import failed" if fail["phase"] == "external" else f"seed {fail['seed']} failed"


def _sittings(board):
    alike = {}  # what was the same but for the date -> dates
    for sitting in board.sittings:
        versions = sitting["versions"]
        what = (_machine(sitting["machine"]), sitting["commit"], *versions.items())
        alike.setdefault(what, []).append(sitting["date"])
    rows = []
    for (machine, commit, *versions), dates in alike.items():
        days = sorted({date[:10] for date in dates})
        span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        software = ", ".join(f"{name} {version}" for name, version in versions if version)
        words = [machine, commit or "–", software]
        rows.append([text_cell(span), Cell(str(len(dates)), len(dates)), *map(text_cell, words)])
    note = "Starts of the benchmark: when, where and by which code. Equal ones share a row."
    head = ["dates (UTC)", "starts", "machine", "commit", "versions"]
    return Table("sittings", "Sittings", note, head, rows)


def _machine(machine):
    memory = machine["memory_gib"]
    parts = [machine["processor"], f"{machine['cores']} cores", memory and f"{memory:g} GiB"]
    return ", ".join(part for part in parts if part)
