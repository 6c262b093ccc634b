"""What does a report say in words? The protocol, and what the ablations show."""

from recbole_diffusion.benchmark.report.cells import (
    metric_label,
    p_text,
    quantity,
    settings_text,
    signed,
)
from recbole_diffusion.quick_start.protocol_line import protocol_line
from recbole_diffusion.quick_start.still_rose import STILL_ROSE

ALPHA = 0.05
OTHER_TASK = 0.2  # difference in the share of targets seen before


def line_of(board):
    """Split, test rows, masking, candidates and device of all rows of a board.

    Args:
        board (Board): what was measured.

    Returns:
        str: a line of `protocol_line`; empty before the first run.
    """
    if not board.protocol:
        return ""
    configs = [row.config for row in board.rows if row.config]
    found = dict(board.protocol)
    if configs:  # older versions wrote less of it into the protocol
        one = configs[0]
        found = {
            "split_files": one.get("benchmark_filename"),
            "split_sequences": one.get("SPLIT"),
        } | found
        found["eval_args"] = (one.get("eval_args") or {}) | found["eval_args"]
        devices = sorted({str(config["device"]) for config in configs if config.get("device")})
        if devices:
            found["device"] = " and ".join(devices)
    return protocol_line(found)


def protocol_sentences(board):
    """What all models of the board had in common.

    Args:
        board (Board): what was measured.

    Returns:
        str: a few sentences.
    """
    plan, found = board.plan, board.protocol
    said = [f"Data set: {plan['dataset']}."]
    if found:
        said.append(f"Protocol: {line_of(board)}.")
        said.append(
            f"{found['n_train_rows']:,} training rows, {found['valid_rows']:,} validation rows and "
            f"{found['test_rows']:,} test rows of {found['users']:,} users; {found['items']:,} "
            f"items. Hash of the held-out rows: {found['held_out_hash']}. A metric is a mean over "
            f"{found['unit']}."
        )
        if found["rows_without_history"]:
            said.append(f"{found['rows_without_history']:,} test rows have no history.")
        test, valid = found["seen_before"], found.get("valid_seen_before")  # once not measured
        of_valid = "" if valid is None else f" and {valid:.1%} of the validation targets"
        said.append(
            f"Every model has mask_history={found['mask_history']}, "
            f"candidates={found['candidates']}, train_rows={found['train_rows']} and "
            f"train_behaviors={found['train_behaviors']}; {test:.1%} of the test targets{of_valid} "
            "stand in their user's earlier history."
        )
        if valid is not None and abs(test - valid) > OTHER_TASK:
            said.append(
                "So validation and test are different tasks here, and what is best on validation, "
                "by which epochs and trials are chosen, may be far from best on test."
            )
        if found.get("behaviors"):
            said.append(f"Behaviour that is predicted: {found['behaviors']}.")
    else:
        said.append("The protocol is not recorded yet.")
    seconds = plan.get("max_train_seconds")
    budget = f"max_train_seconds={seconds:g}" if seconds else "no limit of time (max_train_seconds)"
    seeds = ", ".join(map(str, plan["seeds"]))
    said.append(
        f"Budget of a run: {budget}; trials a model: {plan['tune']}, chosen on validation; "
        f"training seeds: {seeds}; samplings of a trained model that samples: "
        f"{plan['sampling_seeds']}; threads a run: {plan['threads']}; runs at once: {plan['jobs']}."
    )
    others = {k: v for k, v in plan["settings"].items() if k not in found and k not in plan}
    if others:
        said.append(f"Settings of all models: {settings_text(others)}.")
    hints = [row.config["prepare_hint"] for row in board.rows if row.config.get("prepare_hint")]
    if hints:
        said.append(f"The data: {' '.join(hints[0].split())}")
    if plan.get("version"):
        hosts = " and ".join(sorted({host for row in board.rows for host in row.recbole}))
        said.append(f"recbole-diffusion {plan['version']}{hosts and f' on RecBole {hosts}'}.")
    return " ".join(said)


def summary(board):
    """The board for a person in a hurry.

    Args:
        board (Board): what was measured.

    Returns:
        list of str: who is best, what cannot be told from it, what it costs, what the ablations
        show, how much the seeds say and what might rise; fewer where less is known.
    """
    best = board.row(board.best.get(board.metric))
    if best is None:
        return []
    metric = metric_label(board.metric)
    against = board.against_best.get(board.metric, {})
    level = [label for label, one in against.items() if one.holm >= ALPHA]
    untested = [row.label for row in board.models if row is not best and row.label not in against]
    said = [f"{best.label} has the highest {metric} on test, {best.test[board.metric].mean:.4f}."]
    if level:
        said.append(f"{_listed(level)} cannot be told from it by these rows.")
    elif against:
        others = "the other" if len(against) == 1 else "all others that were tested"
        said.append(f"It is significantly above {others}, over users.")
    if untested:
        said.append(f"{_listed(untested)} could not be tested against it.")
    train, score = best.costs.get("train_seconds"), best.costs.get("ms_per_user")
    if train is not None and score is not None:
        cheap = [
            row for row in board.models
            if row.label in level and (row.costs.get("train_seconds") or train) < train
        ]  # fmt: skip
        takes = "had" if best.ended == "max_train_seconds" else "takes"
        cost = f"{best.label} {takes} {quantity(train)} s to train"
        cost += f"; it takes {quantity(score)} ms to rank for a user"
        if cheap:
            least = min(cheap, key=lambda row: row.costs["train_seconds"])
            cost += f"; {least.label} takes {quantity(least.costs['train_seconds'])} s to train"
        said.append(cost + ".")
    said += _of_ablations(board)
    if 0 < (most := max(len(row.seeds) for row in board.models)) < 3:
        seeds = "one training seed" if most == 1 else "two training seeds"
        said.append(f"With {seeds} it is hardly known what training again would change.")
    rising = [
        f"{row.label} ({row.rising} of {len(row.seeds)} seeds)"
        for row in board.models
        if row.rising
    ]
    if rising:
        said.append(
            f"{_listed(rising)} might rise with more time: training was ended by time while "
            f"{STILL_ROSE}."
        )
    return said


def _of_ablations(board):
    """Whether what was switched off made a difference, in one sentence; none without ablations."""
    tested = board.ablations.get(board.metric, {})
    parts = {"above": [], "below": []}
    for label, one in tested.items():
        if one.holm < ALPHA:
            parts["above" if one.difference > 0 else "below"].append(label)
    found = [
        f"{_listed(labels)} {'are' if len(labels) > 1 else 'is'} significantly {word}"
        for word, labels in parts.items()
        if labels
    ]
    if found:
        return [f"Of {len(tested)} ablations {' and '.join(found)} the model it ablates."]
    several = len(tested) > 1
    none = f"None of {len(tested)} ablations differs" if several else "The ablation does not differ"
    return [f"{none} significantly from the model it ablates."] if tested else []


def _listed(labels):
    """Labels as a sentence names them, the first ones of many."""
    shown = list(labels[:4]) + ([f"{len(labels) - 4} more"] if len(labels) > 4 else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def ablation_sentences(board):
    """Says of each ablation whether its main metric differs from what it ablates.

    Args:
        board (Board): what was measured.

    Returns:
        list of str: one sentence an ablation.
    """
    said = []
    metric = metric_label(board.metric)
    for row in board.rows:
        if not row.ablates:
            continue
        name = f"{row.ablates} with {row.change}" if row.change else row.label
        one = board.ablations.get(board.metric, {}).get(row.label)
        if one is None:
            said.append(f"{name}: not tested ({board.no_test.get(row.label, 'no values')}).")
            continue
        if one.holm >= ALPHA:
            said.append(
                f"{name} does not differ significantly from {row.ablates} in {metric} "
                f"(difference {signed(one.difference)}, p {p_text(one.holm)})."
            )
        else:
            word = "below" if one.difference < 0 else "above"
            by = f"by {abs(one.difference):.4f} (p {p_text(one.holm)}, d {abs(one.effect):.2f})"
            said.append(f"{name} is significantly {word} {row.ablates} in {metric}, {by}.")
    return said
