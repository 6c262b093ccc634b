"""Can a plan be run as it stands? Asked before anything is written."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from recbole_diffusion.benchmark.process import outcome_of, start_process
from recbole_diffusion.benchmark.protocol import refusal
from recbole_diffusion.quick_start.protocol_line import protocol_line


class Agreement(NamedTuple):
    """What was found out.

    Attributes:
        protocol (dict): that of the table.
        reasons (dict): label to the reason why a row is not run.
        lines (list of str): what is to be said.
    """

    protocol: dict
    reasons: dict
    lines: list


def check_output(output):
    """Refuses a folder that nothing can be written into; nothing is made.

    Args:
        output (Path): the folder.

    Raises:
        ValueError: with the reason.
    """
    path = Path(output)
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    if not path.is_dir():
        raise ValueError(f"--output={output}: {path} is not a folder")
    if not os.access(path, os.W_OK | os.X_OK):
        raise ValueError(f"--output={output}: {path} cannot be written into")


def agree(plan, table, where):
    """Finds out which models can share one protocol; the first that runs sets it.

    Args:
        plan (Plan): what is to be run.
        table (dict): the protocol that there is; empty if there is none.
        where (Path): the benchmark's folder, for messages.

    Returns:
        Agreement: protocol and reasons.

    Raises:
        ValueError: if none can be run, if the table's protocol is another one, or if lists of other
            programs cannot be read.
    """
    entries = {
        entry.label: {
            "model": entry.model,
            "dataset": plan.dataset,
            "settings": plan.settings | entry.settings,
        }
        for entry in plan.entries
    }
    for label, path in plan.external.items():
        if not Path(path).is_file():
            raise ValueError(f"--external: there is no file {path} for {label}")
    job = {"kind": "describe", "entries": entries, "lists": plan.external}
    found = _describe(plan, job)
    if isinstance(found.get("error"), str):  # else of a row of that name
        raise ValueError(found["error"])
    reasons = {label: one["error"] for label, one in found.items() if "error" in one}
    lines = [line for one in found.values() for line in one.get("warnings", [])]
    lines = list(dict.fromkeys(lines))  # once, if several rows give it
    protocols = {label: one["protocol"] for label, one in found.items() if "protocol" in one}
    if not protocols:
        raise ValueError("no model can be run: " + next(iter(reasons.values())))
    table = table or next(iter(protocols.values()))
    shared = {label: refusal(one, table) for label, one in protocols.items()}
    reasons |= {label: reason for label, reason in shared.items() if reason}
    if len(reasons) == len(found):
        raise ValueError(
            f"no model can be added to the table in {where}: {next(iter(reasons.values()))}"
        )
    for entry in plan.entries:
        if entry.ablates in reasons:
            reasons.setdefault(entry.label, f"{entry.ablates} is not in the table")
    lines += [f"{label} is not run: {reason}" for label, reason in reasons.items()]
    one = next(one for label, one in protocols.items() if label not in reasons)
    lines.append(
        f"one protocol for all rows: {protocol_line(one)}; seen before: {one['seen_before']:.1%} "
        f"of the test targets, {one['valid_seen_before']:.1%} of the validation targets"
    )
    whole = one | table  # tables of older versions say less
    return Agreement(whole, reasons, lines)


def _describe(plan, job):
    """What a process of its own says of all rows; its files are not in the benchmark's folder."""
    folder = Path(tempfile.mkdtemp(prefix="recbole-diffusion-"))
    job = job | {"models": [entry.model for entry in plan.entries]}
    process = start_process(folder, "describe", job, plan.threads)
    try:
        process.wait()
        outcome = outcome_of(process, folder, "describe")
    except BaseException:
        process.kill()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        process.stdin.close()
    if process.returncode == 0:  # else the message names the log
        shutil.rmtree(folder, ignore_errors=True)
    return outcome
