"""Lists for all people of a file, in parts: a killed job goes on with the parts it lacks."""

import hashlib
import json
import shutil
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from recbole_diffusion import __version__, progress
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.recommend.files import WRITTEN, join, put_text, read_ids, tables, write
from recbole_diffusion.recommend.machines import cluster, lists_of, on_cluster
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
    address=None,
    cpus=1,
    columns=None,
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
        address (str): of a Ray cluster whose machines do the parts, see `cluster.joined`; None does
            them here. The file is the same if torch has as many threads.
        cpus (int): of a worker of the cluster, which has as many threads.
        columns (dict of str to str): what ``histories`` calls the columns ``user``, ``item``,
            ``time`` and ``behavior``, where the data set had other names.
        **options: ``k``, ``exclude_seen``, ``target_behavior``, ``cold``, ``batch_size`` and
            ``ann`` of `Recommender.recommend`.

    Returns:
        dict of str to int: ``users``, ``lists``, ``unknown_rows``, ``cold_users``; with
        ``candidates`` and ``deny`` also ``unknown_candidates`` and ``unknown_deny``, with ``ann``
        ``ann_recall`` (float), its mean over the parts, and with ``address`` ``nodes``, how many
        machines did parts now.

    Raises:
        ConfigError: on an option out of range, or if the parts there are of another job.
        CheckpointError, DataError, ValueError: as of `load` and `Recommender.recommend`.
        OSError: if a file cannot be written.
        ImportError: with ``address`` and without Ray.
    """
    if isinstance(cpus, bool) or not isinstance(cpus, int) or cpus < 1:
        raise ConfigError(f"cpus is {cpus!r}; it must be a whole number above 0")
    output = Path(output)
    if output.suffix not in WRITTEN:
        raise ConfigError(f"output {output} is not one of {', '.join(WRITTEN)}")
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise ConfigError(f"output {output} cannot be written: is its folder there?")
    inputs = [checkpoint, histories, users, candidates, deny]
    if any(file is not None and Path(file).resolve() == output.resolve() for file in inputs):
        raise ConfigError(f"output {output} is one of the files that are read")
    recommender = load(checkpoint, model, seed=seed)
    asked = None if users is None else read_ids(users)
    options |= {name: read_ids(file) for name, file in _given(candidates, deny).items()}
    recommender.check(**options)
    found = None
    if histories is not None:
        names = recommender.names_of(columns or {})
        needed = [recommender.user_field, recommender.item_field]
        found = recommender.read(tables(histories, recommender.columns, names, needed))
        found = found if asked is None else found.only(asked)
    everybody = asked if found is None else found.users
    if everybody is None:
        raise ConfigError("give histories, users or both")
    if len(everybody) == 0:
        raise ConfigError(f"{histories} holds no user")
    folder = Path(f"{output}.parts")
    plan = {"seed": recommender.seed, "options": options, "inputs": digests(inputs)}
    plan |= {"part": PART, "version": __version__, "columns": columns}
    bounds = range(0, len(everybody), PART)
    parts = [folder / f"part-{number:05d}{output.suffix}" for number in range(len(bounds))]
    sizes = [min(PART, len(everybody) - first) for first in bounds]

    def asked_of(number):
        """What a part asks of `Recommender.recommend`."""
        first, last = bounds[number], bounds[number] + sizes[number]
        some = {"users": everybody[first:last]} if found is None else {}
        return some | ({} if found is None else {"histories": found.of(first, last)})

    nodes = set()
    with nullcontext() if address is None else cluster(address, cpus) as ray:
        begin(folder, json.dumps(plan, sort_keys=True, default=str))
        left = {
            number: partial(asked_of, number)
            for number, part in enumerate(parts)
            if not part.with_suffix(".json").is_file()
        }
        if ray is None:
            made = (
                (number, *lists_of(recommender, asked(), options, output.suffix), None)
                for number, asked in left.items()
            )
        else:
            what = (checkpoint, model, recommender.seed, options, output.suffix)
            made = on_cluster(ray, cpus, *what, left)
        done = len(everybody) - sum(sizes[number] for number in left)
        with progress.bar(len(everybody), "users", show_progress, "user", done) as bar:
            for number, lists, counts, node in made:
                write(lists, parts[number])
                put_text(json.dumps(counts), parts[number].with_suffix(".json"))
                nodes.add(node)
                bar.update(sizes[number])
    counts = [json.loads(part.with_suffix(".json").read_text()) for part in parts]
    report = {"users": len(everybody)}
    report |= {name: sum(one[name] for one in counts) for name in ("lists", "cold_users")}
    recalls = [one["ann_recall"] for one in counts if "ann_recall" in one]
    if address is not None:
        report["nodes"] = len(nodes)
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
