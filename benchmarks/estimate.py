"""How near is `recbole-diffusion estimate` to a run of one epoch?

    python benchmarks/estimate.py --model=DiffRec --dataset=ml-1m-diffrec --data_path=dataset

Each side is a process of its own, for its memory. Seconds are those of the processor, so that other
programs on the machine do not count; with one thread (OMP_NUM_THREADS=1) they are wall seconds of a
machine that does nothing else.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def measured(side, settings):
    """One side, in this process.

    Returns:
        dict of str to float: seconds, MiB.
    """
    from recbole_diffusion.config import Config
    from recbole_diffusion.quick_start import estimate, quick_start
    from recbole_diffusion.trainer import evaluation, trainer

    for module in (estimate, quick_start, evaluation, trainer):
        module.monotonic = time.process_time
    settings = dict(settings)
    model, dataset = settings.pop("model"), settings.pop("dataset")
    settings |= {"epochs": 1, "show_progress": False, "state": "WARNING", "use_gpu": False}
    if side == "estimated":
        found = estimate.estimate(Config(model, dataset, None, settings))
        disk = found["disk_mb"]
        seconds = {"train": found["epoch_seconds"], "valid": found["valid_seconds"]}
        seconds |= {"test": found["test_seconds"], "run": found["run_seconds"]}
    else:
        begin = time.process_time()
        found = quick_start.run_recbole_diffusion(model, dataset, None, settings)
        run = time.process_time() - begin
        disk = sum(p.stat().st_size for p in Path(".").rglob("*") if p.is_file()) / 2**20
        seconds = {"train": found["train_seconds"], "valid": found["valid_seconds"]}
        seconds |= {"test": found["eval_seconds"], "run": run}
    seconds = {f"{name}, s": value for name, value in seconds.items()}
    return seconds | {"peak memory, MiB": found["peak_memory_mb"], "disk, MiB": disk}


def main(arguments):
    """Prints both sides and their ratio."""
    from recbole_diffusion.cli.parsing import parse_settings

    settings = parse_settings(arguments)
    if "data_path" in settings:
        settings["data_path"] = str(Path(settings["data_path"]).resolve())
    sides = []
    for side in ("estimated", "measured"):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--side", side, json.dumps(settings)]
            done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, check=True)
        sides.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{' '.join(arguments)}\n{'':18}{'estimated':>10}{'measured':>10}{'ratio':>8}")
    for name, value in sides[0].items():
        true = sides[1][name]
        ratio = f"{value / true:.2f}" if true else ""
        print(f"{name:18}{value:>10.3g}{true:>10.3g}{ratio:>8}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        print(json.dumps(measured(sys.argv[2], json.loads(sys.argv[3]))))
    else:
        main(sys.argv[1:])
