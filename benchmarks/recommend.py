"""How long do lists out of a large catalogue take, and how much memory?

    python benchmarks/recommend.py
    python benchmarks/recommend.py --items 5000000 --users 200 --spread 0
    python benchmarks/recommend.py --checkpoint=FILE.best.pth --histories 1000000

The first two search items; the third runs the command ``recommend`` over made-up histories.

Items and users are made up: points around ``--groups`` centres, with ``--spread`` 0 without any, so
that nothing tells where the best items lie. Each way runs in a process of its own, for its memory;
seconds are those of the processor, and speeds of one call can be compared. ``plain`` holds the
scores of all items of a batch at once.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from recbole_diffusion.recommend.index import Blocks, Nearest, best, search_in_batches
from recbole_diffusion.recommend.recommender import load

WAYS = ("data", "plain", "blocks", "ann")


def made_up(arguments):
    """Items and users.

    Returns:
        tuple of torch.Tensor: shape: [n + 1, D] and [n_users, D].
    """
    draw, size = np.random.default_rng(0), arguments.size
    centre = draw.standard_normal((arguments.groups, size), dtype=np.float32)

    def around(count):
        points = draw.standard_normal((count, size), dtype=np.float32)
        if arguments.spread:
            points *= arguments.spread
            points += centre[draw.integers(len(centre), size=count)]
        return points

    items = around(arguments.items + 1)
    items *= np.exp(0.3 * draw.standard_normal((len(items), 1), dtype=np.float32))
    items[0] = 0
    return torch.from_numpy(items), torch.from_numpy(around(arguments.users))


def measure(way, arguments):
    """Makes the lists one way.

    Returns:
        dict of str to float: seconds and peak memory in MB.
    """
    items, users = made_up(arguments)
    candidate = torch.ones(len(items), dtype=torch.bool)
    candidate[0] = False
    batches = list(torch.arange(len(users)).split(arguments.batch))
    found, begin = {}, time.process_time()
    if way == "plain":
        for batch in batches:
            scores = users[batch] @ items.T
            scores[:, ~candidate] = -torch.inf
            best(scores, arguments.k)
    elif way != "data":
        search = {"blocks": Blocks, "ann": Nearest}[way](items, candidate)
        if way == "ann":
            found["building"] = time.process_time() - begin
            _, found["recall"] = search_in_batches(search, users, batches, arguments.k)
            found["breadth"] = search.breadth
            begin = time.process_time()
        for batch in batches:
            search.search(users[batch], arguments.k)
    found["seconds"] = time.process_time() - begin
    found["MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def histories(checkpoint, count, longest, path):
    """Writes histories of known items, 1 to ``longest`` of each user."""
    recommender, draw = load(checkpoint), np.random.default_rng(0)
    user = np.repeat(np.arange(count), draw.integers(1, longest + 1, size=count))
    table = {recommender.user_field: user}
    told = recommender.behavior_column
    for field in (recommender.item_field, *([told] if told else [])):
        names = np.array(recommender.tokens[field][1:], dtype=object)
        table[field] = names[draw.integers(len(names), size=len(user))]
    pd.DataFrame(table).to_parquet(path, index=False)
    return len(user)


def whole_file(arguments):
    """Runs the command over a file and prints seconds and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        given, output = Path(folder, "histories.parquet"), Path(folder, "lists.parquet")
        lines = histories(arguments.checkpoint, arguments.histories, arguments.longest, given)
        command = [sys.executable, "-m", "recbole_diffusion", "recommend", "-k", str(arguments.k)]
        command += [f"--checkpoint={arguments.checkpoint}", f"--histories={given}"]
        begin = time.monotonic()
        subprocess.run([*command, f"--output={output}"], check=True)
        seconds = time.monotonic() - begin
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"{arguments.histories} histories ({lines} lines), k {arguments.k}: {seconds:.0f} s, "
            f"{used.ru_utime + used.ru_stime:.0f} s of the processor, peak memory "
            f"{used.ru_maxrss / 1024:.0f} MB, {output.stat().st_size >> 20} MB written"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--size", type=int, default=64, help="of the embeddings")
    parser.add_argument("-k", type=int, default=20)
    parser.add_argument("--batch", type=int, default=512, help="users at once")
    parser.add_argument("--groups", type=int, default=2000)
    parser.add_argument("--spread", type=float, default=0.7, help="of a group; 0: no groups")
    parser.add_argument("--way", choices=WAYS, help="one of them, here, as JSON")
    parser.add_argument("--checkpoint", help="run the command, over --histories")
    parser.add_argument("--histories", type=int, default=1_000_000)
    parser.add_argument("--longest", type=int, default=10, help="history")
    arguments = parser.parse_args()
    if arguments.checkpoint:
        whole_file(arguments)
        return
    if arguments.way:
        print(json.dumps(measure(arguments.way, arguments)))
        return
    print(
        f"{arguments.items} items, D {arguments.size}, {arguments.users} users in batches of "
        f"{arguments.batch}, k {arguments.k}, {torch.get_num_threads()} threads"
    )
    seconds = base = None
    for way in WAYS:
        command = [sys.executable, *sys.argv, f"--way={way}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
        if way == "data":
            base = found["MB"]
            print(f"libraries, items and users: {base:.0f} MB")
            continue
        seconds = seconds or found["seconds"]
        text = f"{way}: {found['seconds']:.1f} s, {seconds / found['seconds']:.2f} of plain's speed"
        text += f", {found['MB'] - base:.0f} MB more"
        if way == "ann":
            text += (
                f"; recall {found['recall']:.3f} at breadth {found['breadth']}, "
                f"{found['building']:.0f} s to build"
            )
        print(text)


if __name__ == "__main__":
    main()
