"""How long until a data set is read, sorted and split, and how much memory does it take?

    python benchmarks/data_path.py
    python benchmarks/data_path.py --rows 100000 1000000 --recbole
    python benchmarks/data_path.py --taobao 100000000

The data are made up: items by Zipf's law, three behaviours, stamps in milliseconds, about 50
interactions a user, and the rows in order of time, so that users are mixed. Each data set is
prepared for SASRec with L = 50 in a process of its own, by this package and, with ``--recbole``, by
RecBole's own data set, which copies every prefix. Seconds are those of the clock and of the
processor. Memory is what the process takes more at its peak than after its imports, and ``raw`` is
the size of the columns themselves: four numbers of 8 bytes a row. ``--taobao`` makes up lines like
those of UserBehavior.csv and turns them into an atomic file with dataset_scripts/taobao.py.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BEHAVIORS = np.array(["view", "cart", "buy"], dtype=object)
BLOCK = 1_000_000  # rows written at once


def make(folder, rows):
    """Writes the files of a data set.

    Args:
        folder (Path): where.
        rows (int): interactions.

    Returns:
        str: the name of the data set.
    """
    name = f"zipf-{rows}"
    file = folder / name / f"{name}.inter"
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists():
        return name
    draw = np.random.default_rng(0)
    users, items = max(rows // 50, 10), max(min(rows // 20, 200_000), 10)
    weight = np.cumsum(1 / np.arange(1, items + 1))
    writing = file.with_suffix(".writing")
    with open(writing, "w") as out:
        out.write("user_id:token\titem_id:token\tbehavior:token\ttimestamp:float\n")
        stamp = 1_600_000_000_000
        for first in range(0, rows, BLOCK):
            count = min(BLOCK, rows - first)
            user = draw.integers(users, size=count)
            item = np.searchsorted(weight, draw.random(count) * weight[-1])
            behavior = BEHAVIORS[draw.choice(3, size=count, p=[0.8, 0.12, 0.08])]
            time_of = stamp + np.cumsum(draw.integers(1, 2000, size=count))
            stamp = int(time_of[-1])
            columns = zip(user.tolist(), item.tolist(), behavior, time_of.tolist())
            out.writelines(f"u{u}\ti{i}\t{b}\t{t}\n" for u, i, b, t in columns)
    writing.rename(file)
    return name


def measure(way, name, folder):
    """Prepares a data set.

    Args:
        way (str): ``ours`` or ``recbole``.
        name (str): of the data set.
        folder (str): which holds it.

    Returns:
        dict of str to float: ``seconds``, ``cpu_seconds`` and ``memory_mb``.
    """
    settings = {
        "data_path": folder,
        "MAX_ITEM_LIST_LENGTH": 50,
        "load_col": {"inter": ["user_id", "item_id", "behavior", "timestamp"]},
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
        "train_neg_sample_args": None,
        "show_progress": False,
    }
    if way == "recbole":
        from recbole_diffusion import compat

        compat.apply()
        from recbole.config import Config
        from recbole.data import create_dataset, data_preparation

        def prepare():
            sys.argv = sys.argv[:1]
            config = Config("SASRec", name, config_dict=settings)
            data = create_dataset(config)
            return data_preparation(config, data)
    else:
        from recbole_diffusion.config import Config
        from recbole_diffusion.quick_start.quick_start import read_data

        def prepare():
            more = {"BEHAVIOR_FIELD": "behavior", "target_behavior": ["view", "cart", "buy"]}
            return read_data(Config("SASRec", name, config_dict=settings | more))

    import torch  # noqa: F401

    before, began, cpu = resident(), time.perf_counter(), time.process_time()
    ready = prepare()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    del ready
    return {"seconds": seconds, "cpu_seconds": cpu, "memory_mb": peak - before}


def taobao(folder, rows):
    """Turns a made-up UserBehavior.csv into an atomic file and prints what it took."""
    raw, draw = folder / "UserBehavior.csv", np.random.default_rng(0)
    kinds = np.array(["pv", "fav", "cart", "buy"], dtype=object)
    with open(raw, "w") as out:
        for first in range(0, rows, BLOCK):
            count = min(BLOCK, rows - first)
            user = draw.integers(1, max(rows // 100, 2), size=count)
            item = (draw.pareto(0.5, size=count).clip(max=1e12) * 1000).astype(np.int64)
            item = item % 4_000_000 + 1
            kind = kinds[draw.choice(4, size=count, p=[0.9, 0.03, 0.05, 0.02])]
            stamp = draw.integers(1_511_539_200, 1_512_316_800, size=count)
            columns = zip(user.tolist(), item.tolist(), kind, stamp.tolist())
            out.writelines(f"{u},{i},{i % 9000},{k},{t}\n" for u, i, k, t in columns)
    script = Path(__file__).parents[1] / "dataset_scripts" / "taobao.py"
    began = time.perf_counter()
    command = [sys.executable, script, "--input", raw, "--output", folder / "taobao"]
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"taobao.py: {rows:,} lines in {seconds:.0f} s, at most {peak:,.0f} MB of memory")


def resident():
    """Memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--recbole", action="store_true", help="RecBole's own data set, too")
    parser.add_argument("--taobao", type=int, metavar="ROWS", help="the data set script instead")
    parser.add_argument("--folder", help="where the data are made; default: a temporary one")
    parser.add_argument("--one", nargs=2, metavar=("WAY", "NAME"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*arguments.one, arguments.folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.folder or temporary)
        if arguments.taobao:
            taobao(folder, arguments.taobao)
            return
        ways = ["ours", "recbole"] if arguments.recbole else ["ours"]
        print("| rows | way | seconds | of the processor | memory, MB | raw, MB |")
        print("|---:|---|---:|---:|---:|---:|")
        curves = {way: [] for way in ways}
        for rows in arguments.rows:
            name = make(folder, rows)
            for way in ways:
                command = [sys.executable, __file__, "--folder", folder, "--one", way, name]
                result = subprocess.run(command, capture_output=True, text=True)
                if result.returncode:
                    print(f"| {rows:,} | {way} | failed: {result.stderr.strip()[-200:]} |")
                    continue
                found = json.loads(result.stdout.strip().split("\n")[-1])
                curves[way].append((rows, found["cpu_seconds"]))
                print(
                    f"| {rows:,} | {way} | {found['seconds']:.1f} | {found['cpu_seconds']:.1f} | "
                    f"{found['memory_mb']:,.0f} | {rows * 32 / 1e6:,.0f} |",
                    flush=True,
                )
        for way, points in curves.items():
            for (fewer, short), (more, long) in zip(points, points[1:]):
                grows = math.log(long / short) / math.log(more / fewer)
                print(f"{way}: seconds grow with rows to the power {grows:.2f} from {fewer:,} on")


if __name__ == "__main__":
    main()
