"""How do our figures compare with published ones? Only where both were measured alike.

Published figures are data: ``properties/papers/*.yaml``, a file for each table of a paper (or of a
published program, or of a rerun) on one data set:

    source: {name, authors, title, venue, year, arxiv or doi, table}
    kind: paper                # or program (the authors' program was run), or rerun (by others)
    dataset: zhihu             # our name of the data
    protocol:
      held_out: d7e844adfc67487c   # `held_out_hash` of the test rows; left out if not known
      divided_by: all_rows         # or rows_with_history, all_users, users_with_test
      users: {with_test: 9, all: 10}   # with divided_by: all_users
      mask_history: False
      candidates: all              # or trained, or the number of sampled items
      settings: {MAX_ITEM_LIST_LENGTH: 10}   # what else has to be equal
    figures:
      SASRec: {hit@20: 0.0162, ndcg@20: [0.0060, 0.0002]}   # a value, or a value and its sd
    note: What a reader has to know besides.
"""

import math

from recbole.evaluator.base_metric import TopkMetric
from recbole.evaluator.register import metrics_dict

from recbole_diffusion.config.names import resolve
from recbole_diffusion.config.paths import properties_dir
from recbole_diffusion.config.values import ConfigError, read_yaml

WHO = {"paper": "the paper", "program": "the published program", "rerun": "the rerun"}
DIVISORS = {
    "users_with_test": "users",
    "all_users": "users",
    "rows_with_history": "rows",
    "all_rows": "rows",
}
# Keys of each mapping of a file: those it must have, those it may have.
TOP = ({"source", "kind", "dataset", "protocol", "figures"}, {"note"})
SOURCE = ({"name", "year"}, {"authors", "title", "venue", "arxiv", "doi", "table"})
PROTOCOL = (set(), {"held_out", "divided_by", "users", "mask_history", "candidates", "settings"})
TOPK_METRICS = {name for name, metric in metrics_dict.items() if issubclass(metric, TopkMetric)}


def read_tables(folder=None):
    """Reads and checks the published tables.

    Args:
        folder (Path): where the YAML files are; None is ``properties/papers``.

    Returns:
        list of dict: the tables in order of their files' names; ``figures`` has our names of the
        models, and maps a metric to a pair of the value and its standard deviation (or None).

    Raises:
        ConfigError: if a file is malformed, with its path and what is wrong.
    """
    files = (folder or properties_dir() / "papers").glob("*.yaml")
    return [_read_table(file) for file in sorted(files, key=lambda file: file.stem)]


def check(protocol, rows, tables=None):
    """Holds our test figures against every published one of the same data and model.

    Args:
        protocol (dict): what was measured: dataset, held_out_hash, unit, mask_history, candidates,
            eval_args, rows_without_history, train_rows, settings.
        rows (list of dict): label, model, test (metric to mean over seeds), sd (metric to sample
            standard deviation over seeds, or None), all_rows (as test, rows without history
            counted as misses; or None) and seeds of each row of our table.
        tables (list of dict): published tables; None is `read_tables`.

    Returns:
        list of dict: label, model, source, metric, published, ours and verdict. A verdict is
        ``within one standard deviation`` (ours over seeds; if the published one is known, that of
        the difference of both), ``above by x``, ``below by x``, or ``not comparable, because``
        with the first reason. Models that no table names give nothing.

    Raises:
        ConfigError: if a published table is malformed.
    """
    tables = read_tables() if tables is None else tables
    found = []
    for row in rows:
        model = _canonical(row["model"])
        for table in tables:
            if table["dataset"] != protocol["dataset"]:
                continue
            for metric, (published, sd) in table["figures"].get(model, {}).items():
                ours, verdict = _compare(protocol, row, table, metric, published, sd)
                found.append(
                    {
                        "label": row["label"],
                        "model": model,
                        "source": source_name(table),
                        "metric": metric,
                        "published": published,
                        "ours": ours,
                        "verdict": verdict,
                    }
                )
    return found


def source_name(table):
    """Where a published table is from, in a few words: ``DiffRec, SIGIR 2023``."""
    source = table["source"]
    parts = [source["name"], f"{source['venue']} {source['year']}", source.get("table")]
    kinds = {"program": "the authors' program", "rerun": "a rerun"}
    return ", ".join(part for part in [*parts, kinds.get(table["kind"])] if part)


def _canonical(name):
    """Our name of a row's model; None for an outside program or a user's own class."""
    if name is None or (":" in name and not name.lower().startswith("recbole:")):
        return None
    try:
        return resolve(name)[0]
    except ValueError:
        return None


def _compare(protocol, row, table, metric, published, published_sd):
    """Our figure, counted as the table counts (or None), and the verdict."""
    reason = _difference(protocol, table)
    ours, share = row["test"].get(metric), 1.0
    divided_by = table["protocol"].get("divided_by")
    if divided_by == "all_users":
        users = table["protocol"]["users"]
        share = users["with_test"] / users["all"]
    elif divided_by == "all_rows" and protocol["rows_without_history"]:
        if row["all_rows"] is None:
            reason = reason or (
                f"{WHO[table['kind']]} divides by all rows, this table by those with a history"
            )
        elif ours:
            share = row["all_rows"][metric] / ours
    if reason is None and ours is None:
        reason = f"this table has no {metric}"
    if ours is None:
        return None, f"not comparable, because {reason}"
    ours *= share
    sd = (row["sd"] or {}).get(metric)
    difference = ours - published
    if reason is None and (row["seeds"] < 2 or sd is None):
        seeds = "one seed" if row["seeds"] == 1 else f"{row['seeds']} seeds"
        reason = f"{seeds}: no standard deviation, difference {difference:+.4f}"
    if reason is not None:
        return ours, f"not comparable, because {reason}"
    if abs(difference) <= math.hypot(sd * share, published_sd or 0):
        return ours, "within one standard deviation"
    return ours, f"{'above' if difference > 0 else 'below'} by {abs(difference):.4f}"


def _difference(protocol, table):
    """The first thing that was measured otherwise, in words, or None."""
    who, theirs = WHO[table["kind"]], table["protocol"]
    if theirs.get("held_out") is None:
        return f"it is not known which rows {who} held out"
    if theirs["held_out"] != protocol["held_out_hash"]:
        return "other held-out rows"
    unit = DIVISORS.get(theirs.get("divided_by"))
    if unit not in (None, protocol["unit"]):
        return f"{who} gives means over {unit}, this table over {protocol['unit']}"
    if theirs["mask_history"] != protocol["mask_history"]:
        if theirs["mask_history"]:
            return f"{who} masks history, this table does not"
        return f"this table masks history, {who} does not"
    if type(theirs["candidates"]) is int:
        return f"{who} ranks among {theirs['candidates']} sampled items"
    mode = protocol["eval_args"]["mode"]
    mode = mode["test"] if isinstance(mode, dict) else mode
    if mode != "full":
        return f"this table ranks among sampled items ({mode}), {who} does not"
    if theirs["candidates"] != protocol["candidates"]:
        return (
            f"the candidates of {who} are {theirs['candidates']} items, those of this table "
            f"{protocol['candidates']}"
        )
    ours = protocol["settings"] | protocol
    for key, value in theirs.get("settings", {}).items():
        if ours.get(key) != value:
            other = ours.get(key, "not stated")
            return f"{key} is {value} in {who} and {other} in this table"
    return None


def _read_table(file):
    """One file, checked; see `read_tables`."""

    def require(holds, message):
        if not holds:
            raise ConfigError(f"{file}: {message}")

    def keys(value, where, must, may):
        require(isinstance(value, dict), f"{where} is {value!r}, not `key: value` lines")
        missing, unknown = must - set(value), set(value) - must - may
        require(not missing, f"{where} lacks {', '.join(sorted(missing))}")
        require(not unknown, f"{where} has the unknown {', '.join(sorted(map(str, unknown)))}")

    table = read_yaml(file)
    keys(table, "the file", *TOP)
    source, protocol = table["source"], table["protocol"]
    keys(source, "source", *SOURCE)
    require("arxiv" in source or "doi" in source, "source has neither arxiv nor doi")
    require(type(source["year"]) is int, f"year is {source['year']!r}, not a number")
    texts = {key: value for key, value in source.items() if key != "year"}
    for key, value in (texts | {"dataset": table["dataset"]}).items():
        require(isinstance(value, str) and value, f"{key} is {value!r}, not text")
    source.setdefault("venue", "arXiv")
    require(table["kind"] in WHO, f"kind is {table['kind']!r}, not one of {list(WHO)}")
    # Where the rows are known, all else that decides must be.
    known = isinstance(protocol, dict) and "held_out" in protocol
    keys(protocol, "protocol", {"mask_history", "candidates"} if known else set(), PROTOCOL[1])
    held_out = protocol.get("held_out", "0" * 16)
    is_hash = isinstance(held_out, str) and len(held_out) == 16
    require(
        is_hash, f"held_out is {held_out!r}, not 16 digits in quotes; leave out what is unknown"
    )
    for key, allowed in (("divided_by", tuple(DIVISORS)), ("mask_history", (True, False))):
        value = protocol.get(key, allowed[0])
        require(value in allowed, f"{key} is {value!r}, not one of {list(allowed)}")
    among = protocol.get("candidates", "all")
    require(
        among in ("all", "trained") or (type(among) is int and among > 0),
        f"candidates is {among!r}, not all, trained or a number of sampled items",
    )
    keys(protocol.get("settings", {}), "settings", set(), set(protocol.get("settings") or ()))
    if protocol.get("divided_by") == "all_users":
        keys(protocol.get("users"), "protocol users", {"with_test", "all"}, set())
        with_test, users = protocol["users"]["with_test"], protocol["users"]["all"]
        require(0 < with_test <= users, f"{with_test} users with a test row of {users} in all")
    require(isinstance(table["figures"], dict) and table["figures"], "figures are missing")
    figures = {}
    for name, values in table["figures"].items():
        try:
            model = resolve(str(name))[0]
        except ValueError as error:
            raise ConfigError(f"{file}: {error}") from error
        require(model not in figures, f"figures has {model} twice")
        require(isinstance(values, dict) and values, f"{name} has no `metric: value` lines")
        figures[model] = {}
        for metric, value in values.items():
            base, _, k = str(metric).partition("@")
            is_metric = base in TOPK_METRICS and k.isdecimal()
            require(is_metric, f"{name} has {metric!r}, no metric@k of {sorted(TOPK_METRICS)}")
            pair = value if isinstance(value, list) and len(value) == 2 else [value]
            good = all(type(part) is float and 0 < part < 1 for part in pair)
            require(good, f"{name} {metric} is {value!r}, not a share between 0 and 1")
            figures[model][metric] = (pair[0], pair[1] if len(pair) == 2 else None)
    return table | {"figures": figures}
