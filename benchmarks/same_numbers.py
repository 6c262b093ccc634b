"""Do other libraries, or another Python, give the same metrics?

One epoch of every model on ml-100k with histories of 20, from one seed, in a process and a thread
each. Run it with each Python, then compare::

    python benchmarks/same_numbers.py run --output old.json
    python benchmarks/same_numbers.py compare old.json new.json
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from time import monotonic

REPOSITORY = Path(__file__).resolve().parents[1]
OURS = "ICDDT DiffRec LDiffRec TDiffRec LTDiffRec DreamRec DimeRec MarkovChain".split()
HOST = (
    "SASRec GRU4Rec BERT4Rec Caser NARM STAMP SRGNN CORE FPMC MultiVAE RecVAE LightGCN NGCF "
    "SimpleX ItemKNN EASE Pop BPR NeuMF NCL recbole:DiffRec recbole:LDiffRec"
).split()
SETTINGS = {"NCL": ["--num_clusters=100"]}  # its default is more than there are users
LIBRARIES = "recbole torch numpy pandas scipy scikit-learn".split()


def run(model, output):
    """Trains and tests one model for an epoch.

    Args:
        model (str): a model's name.
        output (Path): a folder for its files.

    Returns:
        dict: ``seconds`` and either ``valid`` and ``test`` (metric to value) or ``error``.
    """
    result = output / "result.json"
    result.unlink(missing_ok=True)
    command = [sys.executable, REPOSITORY / "run_recbole_diffusion.py", f"--model={model}"]
    command += ["--dataset=ml-100k", "--epochs=1", "--show_progress=False", "--use_gpu=False"]
    command += [f"--result_file={result}", "--MAX_ITEM_LIST_LENGTH=20", *SETTINGS.get(model, [])]
    begin = monotonic()
    done = subprocess.run(
        command, cwd=output, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True
    )
    seconds = round(monotonic() - begin, 1)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        return {"seconds": seconds, "error": lines[-1] if lines else f"exit {done.returncode}"}
    told = json.loads(result.read_text(encoding="utf-8"))
    return {"seconds": seconds, "valid": told["best_valid_result"], "test": told["test_result"]}


def versions():
    """dict: Python's and the libraries' versions, None for one that is missing."""
    found = {"python": python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def compare(before, after):
    """The two results as a Markdown table.

    Args:
        before (dict): of a results file.
        after (dict): of another.

    Returns:
        tuple: the table (str), and whether all metrics that both have are equal to 1e-6 (bool).
    """
    lines = ["| | before | after |", "|---|---|---|"]
    for name in before["versions"]:
        lines.append(f"| {name} | {before['versions'][name]} | {after['versions'][name]} |")
    lines += ["", "| model | test NDCG@10 before | after | largest difference of all metrics |"]
    lines.append("|---|---|---|---|")
    equal = True
    for model, old in before["models"].items():
        new = after["models"].get(model, {"error": "not run"})
        if "error" in old or "error" in new:
            equal = equal and ("error" in old) == ("error" in new)
            words = [run.get("error") or f"{run['test']['ndcg@10']:.6f}" for run in (old, new)]
            lines.append(f"| {model} | {words[0]} | {words[1]} | |")
            continue
        differences = [
            abs(old[part][metric] - new[part][metric])
            for part in ("valid", "test")
            for metric in old[part]
        ]
        equal = equal and max(differences) <= 1e-6
        lines.append(
            f"| {model} | {old['test']['ndcg@10']:.6f} | {new['test']['ndcg@10']:.6f} | "
            f"{max(differences):.6f} |"
        )
    return "\n".join(lines), equal


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("run", help="train and test").add_argument
    add("--output", type=Path, required=True, help="a .json file; models in it are kept")
    add("--models", default=",".join(OURS + HOST), help="names parted by commas")
    add = commands.add_parser("compare", help="two results as a table").add_argument
    add("before", type=Path)
    add("after", type=Path)
    options = parser.parse_args()
    if options.command == "compare":
        files = (options.before, options.after)
        table, equal = compare(*(json.loads(file.read_text()) for file in files))
        print(table)
        return 0 if equal else 1
    told = {"models": {}}
    if options.output.is_file():
        told = json.loads(options.output.read_text())
    told["versions"] = versions()
    with tempfile.TemporaryDirectory() as folder:
        for model in options.models.split(","):
            if model not in told["models"]:
                told["models"][model] = run(model, Path(folder))
                print(model, told["models"][model], flush=True)
                options.output.write_text(json.dumps(told, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
