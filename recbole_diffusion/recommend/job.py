"""Lists for all people of a file, in parts: a killed job goes on with the parts it lacks."""

import hashlib
import json
import shutil
from pathlib import Path

from tqdm import tqdm

from recbole_diffusion import __version__
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.recommend.files import WRITTEN, join, put_text, read_ids, tables, write
from recbole_diffusion.recommend.recommender import load

PART = 20_000  # users


def recommend_file(
    checkpoint,
    output,
    histories=None,
    users=None,
    candidates=None,
    deny=None,
    model=None,
    seed=None,
    show_progress=True,
    **options,
):
    """Writes lists for all people of a file.

    Parts of 20,000 users are written into the folder ``<output>.parts`` and joined at the end, so
    that ``output`` is there when it is whole, and the same call goes on after a kill.

    Args:
        checkpoint (str or Path): the model's.
        output (str or Path): the file to write, .csv, .parquet or .jsonl, with the columns of
            `Recommender.recommend`.
        histories (str or Path): .csv, .tsv, .parquet or .inter, as of `Recommender.recommend`.
        users (str or Path): file of the users to recommend to, one a line; None is all of
            ``histories``.
        candidates (str or Path): file of the items that may be recommended, one a line.
        deny (str or Path): file of items that may not.
        model (str): as of `load`.
        seed (int): as of `load`.
        show_progress (bool): a bar of the users done, with the time left.
        **options: ``k``, ``exclude_seen``, ``target_behavior``, ``cold``, ``batch_size`` and
            ``ann`` of `Recommender.recommend`.

    Returns:
        dict of str to int: ``users``, ``lists``, ``unknown_rows``, ``cold_users``; with
        ``candidates`` and ``deny`` also ``unknown_candidates`` and ``unknown_deny``, and with
        ``ann`` ``ann_recall`` (float), its mean over the parts.

    Raises:
        ConfigError: on an option out of range, or if the parts there are of another job.
        CheckpointError, DataError, ValueError: as of `load` and `Recommender.recommend`.
        OSError: if a file cannot be written.
    """
    output = Path(output)
    if output.suffix not in WRITTEN:
        raise ConfigError(f"output {output} is not one of {', '.join(WRITTEN)}")
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise ConfigError(f"output {output} cannot be written: is its folder there?")
    recommender = load(checkpoint, model, seed=seed)
    asked = None if users is None else read_ids(users)
    options |= {name: read_ids(file) for name, file in _given(candidates, deny).items()}
    recommender.check(**options)
    found = None
    if histories is not None:
        found = recommender.read(tables(histories, recommender.columns))
        found = found if asked is None else found.only(asked)
    everybody = asked if found is None else found.users
    if everybody is None:
        raise ConfigError("give histories, users or both")
    if len(everybody) == 0:
        raise ConfigError(f"{histories} holds no user")
    folder = Path(f"{output}.parts")
    inputs = [checkpoint, histories, users, candidates, deny]
    plan = {"seed": recommender.seed, "options": options, "inputs": digests(inputs)}
    plan |= {"part": PART, "version": __version__}
    begin(folder, json.dumps(plan, sort_keys=True, default=str))
    parts, recalls, report = (
        [],
        [],
        {"users": len(everybody), "lists": 0, "unknown_rows": 0, "cold_users": 0},
    )
    # Closed also by an error, so that its words begin a line.
    with tqdm(total=len(everybody), unit="user", disable=not show_progress, mininterval=1) as bar:
        for number, first in enumerate(range(0, len(everybody), PART)):
            last = min(first + PART, len(everybody))
            part = folder / f"part-{number:05d}{output.suffix}"
            counts = folder / f"part-{number:05d}.json"
            parts.append(part)
            if not counts.is_file():
                some = {"users": everybody[first:last]} if found is None else {}
                some |= {} if found is None else {"histories": found.of(first, last)}
                table = recommender.recommend(**some, **options)
                write(table, part)
                lists = int(table[recommender.user_field].nunique())
                put_text(json.dumps(recommender.report | {"lists": lists}), counts)
            done = json.loads(counts.read_text())
            report["lists"] += done["lists"]
            report["cold_users"] += done["cold_users"]
            recalls += [done["ann_recall"]] if "ann_recall" in done else []
            bar.update(last - first)
    report["unknown_rows"] = 0 if found is None else found.unknown_rows
    report |= recommender.unknown_listed(options.get("candidates"), options.get("deny"))
    if recalls:
        report["ann_recall"] = sum(recalls) / len(recalls)
    join(parts, output)
    shutil.rmtree(folder)
    return report


def _given(candidates, deny):
    named = {"candidates": candidates, "deny": deny}
    return {name: file for name, file in named.items() if file is not None}


def begin(folder, plan):
    """Makes the folder of the parts, or checks that those there are of the same job.

    Args:
        folder (Path): of the parts.
        plan (str): what decides what is in them.

    Raises:
        ConfigError: if they are of another.
    """
    file = folder / "job.json"
    if file.is_file() and file.read_text() != plan:
        raise ConfigError(
            f"{folder} holds parts of another job (other files, options, seed or version): remove "
            "it to begin anew"
        )
    folder.mkdir(exist_ok=True)
    put_text(plan, file)


def digests(files):
    """What the files hold, by name; None stands for no file."""
    found = {}
    for name in filter(None, files):
        with open(name, "rb") as file:
            found[str(name)] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
