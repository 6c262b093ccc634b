"""A made-up benchmark: records and values per user with known differences."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

METRICS = [f"{name}@{k}" for name in ("hit", "ndcg") for k in (5, 10)]
SCRIPT = "<script>boom()</script>"  # a label that must not run
PLAN = {
    "dataset": "retail",
    "models": {
        "ICDDT": {"model": "ICDDT", "settings": {}},
        "SASRec": {"model": "SASRec", "settings": {}},
        "Twin": {"model": "SASRec", "settings": {"tie": True}},
        SCRIPT: {"model": "Pop", "settings": {}},
        "EASE": {"model": "EASE", "settings": {}},
        "Broken": {"model": "GRU4Rec", "settings": {}},
        "Later": {"model": "GRU4Rec", "settings": {}},
        "ICDDT (one step)": {
            "model": "ICDDT",
            "settings": {"sampling_steps": 1},
            "ablates": "ICDDT",
            "change": "one step",
        },
        "ICDDT (same)": {
            "model": "ICDDT",
            "settings": {"x": 1},
            "ablates": "ICDDT",
            "change": "the same",
        },
    },
    "external": {"Imported": "lists.csv"},
    "seeds": [2020, 2021, 2022],
    "tune": 2,
    "sampling_seeds": 2,
    "max_train_seconds": 300,
    "threads": 1,
    "jobs": 2,
    "settings": {"MAX_ITEM_LIST_LENGTH": 20, "max_train_seconds": 300, "mask_history": False},
    "metric": "ndcg@10",
    "version": "0.9",
}
PROTOCOL = {
    "dataset": "retail",
    "held_out_hash": "ab12cd",
    "unit": "users",
    "test_rows": 400,
    "valid_rows": 300,
    "users": 400,
    "items": 30113,
    "train_rows": "all",
    "train_behaviors": "all",
    "n_train_rows": 86697,
    "mask_history": False,
    "candidates": "all",
    "seen_before": 0.3125,
    "valid_seen_before": 0.2468,
    "eval_args": {},
    "topk": [5, 10],
    "rows_without_history": 0,
    "behaviors": None,
}
# Means of the made-up per-row values; Twin is ICDDT with noise that cancels.
LEVELS = {"ICDDT": 0.30, "SASRec": 0.24, "Twin": 0.30, SCRIPT: 0.05, "Imported": 0.20}
LEVELS |= {"ICDDT (one step)": 0.22, "ICDDT (same)": 0.30}
SAMPLING = ("ICDDT", "ICDDT (one step)", "ICDDT (same)")


class Journal:
    """Writes what the runner of a benchmark writes.

    Args:
        output (Path): the folder.
        users (int): rows, one per user.
    """

    def __init__(self, output, users=400):
        self.output, self.users, self.runs = output, users, 0
        (output / "users").mkdir(parents=True)
        self.hard = np.random.default_rng(0).normal(0, 0.1, users)  # what a user is for all models

    def write(self, **record):
        with open(self.output / "journal.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def values(self, label, seed, users=None):
        """Per-row values around the level of a model, rows in another order in each file."""
        draw = np.random.default_rng([abs(hash_of(label)), seed or 0])
        users = users or self.users
        noise = draw.normal(0, 0.02, users) + draw.normal(0, 0.002)
        if label == "Twin":
            same = self.values("ICDDT", seed, users).sort_index()["ndcg@10"]
            noise = same - LEVELS[label] - self.hard[:users] + noise - noise.mean() - 0.0003
        ndcg = (LEVELS[label] + self.hard[:users] + noise).round(6)
        frame = pd.DataFrame({"user": [f"u{i}" for i in range(users)], "row": 0})
        shift = {"ndcg@10": 0, "ndcg@5": -0.02, "hit@10": 0.1, "hit@5": 0.05}
        for metric in METRICS:
            frame[metric] = (ndcg + shift[metric]).round(6)
        return frame.sample(frac=1, random_state=draw.integers(1000))

    def run(self, label, seed=2020, phase="seed", number=0, frame=None, settings=None, **changes):
        """Records a finished run; ``frame`` are its values per row, made up if None."""
        self.runs += 1
        name = f"{self.runs:04x}"
        frame = self.values(label, seed) if frame is None else frame
        test = frame[METRICS].mean().to_dict()
        draw = np.random.default_rng(self.runs)
        sampled = label in SAMPLING
        valid = {m: test[m] + 0.01 for m in METRICS}
        result = {
            "model": PLAN["models"].get(label, {}).get("model", label),
            "dataset": "retail",
            "seed": seed,
            "best_epoch": 8,
            "epochs": 10,
            "stopped_by": "early stopping",
            "best_valid_result": valid,
            "build_seconds": 0.5,
            "train_seconds": 1000 * LEVELS[label] ** 2 + draw.uniform(0, 5),
            "valid_seconds": 3.0,
            "eval_seconds": 0.25,
            "ms_per_user": 20 * LEVELS[label] ** 3,
            "peak_memory_mb": 812.0,
            "parameters": 1081536,
            "denoiser_calls": 5.0 if sampled else None,
            "config": {"seed": seed, "note": SCRIPT},
            "curve": [
                [e, 10.0 * e, valid["ndcg@10"] * (1 - 0.6**e) + draw.normal(0, 0.002)]
                for e in range(1, 11)
            ],
        }
        if phase != "trial":
            file = f"users/{name}.parquet"
            frame.to_parquet(self.output / file)
            noise = draw.normal(0, 0.001, 2) if sampled else np.zeros(2)
            noise -= noise.mean()
            result |= {
                "test": test,
                "samplings": [{m: test[m] + e for m in METRICS} for e in noise],
                "samples": sampled,
                "agreement": 0.83 if sampled else 1.0,
                "beyond": {
                    "itemcoverage@10": LEVELS[label],
                    "giniindex@10": 0.9,
                    "averagepopularity@10": 12.5,
                    "giniindex@5": 0.8,
                },
                "never_trained": None,
                "all_rows": None,
                "steps": None,
                "users_file": file,
            }
        if phase == "external":
            result = {key: result[key] for key in ("test", "beyond", "users_file")}
        where = {"label": label, "phase": phase, "number": number, "seed": seed}
        settings = (settings or {}) | {"seed": seed}
        how = {"status": "done", "settings": settings, "wall_seconds": 9.0}
        self.write(kind="run", id=name, **where, **how, result=result | changes)
        return name

    def fail(self, label, error, phase="seed", number=0, seed=2020, settings=None):
        self.runs += 1
        where = {"label": label, "phase": phase, "number": number, "seed": seed}
        settings = (settings or {}) | {"seed": seed}
        how = {"status": "failed", "error": error, "settings": settings, "wall_seconds": 1.0}
        self.write(kind="run", id=f"{self.runs:04x}", **where, **how)


def hash_of(text):
    """A number of a text that is the same in every process."""
    return int.from_bytes(text.encode()[-4:], "big")


@pytest.fixture(scope="session")
def journal():
    """Gives a function from a folder to a journal with plan and protocol, and no runs."""

    def start(folder, users=400, **plan):
        made = Journal(folder, users)
        made.write(kind="plan", plan=PLAN | plan)
        made.write(kind="protocol", protocol=PROTOCOL)
        return made

    return start


@pytest.fixture(scope="session")
def made_up():
    """What the made-up benchmark is made of."""
    return SimpleNamespace(metrics=METRICS, script=SCRIPT, plan=PLAN, levels=LEVELS)


@pytest.fixture(scope="session")
def output(tmp_path_factory, journal):
    """The folder of a benchmark in which everything happened once."""
    made = journal(tmp_path_factory.mktemp("benchmark"))
    made.write(kind="refused", reasons={"EASE": "30,113 items | more than 15,000"})
    steps = {"name": "reverse steps of DDIM", "x": [1, 2, 5], "own": 5}
    audit = {"items": 87, "slots@5": 0.02, "hits@5": 0.1, "slots@10": 0.04, "hits@10": 0.125}
    audit["barred"] = {m: 0.28 for m in METRICS}
    tried = [(1, 0.8123, 0.29), (2, 0.9914, 0.3011), (16, 1.0, 0.3012)]
    walk = {"steps": 2, "of": 16, "draws": False, "needed": 0.99, "seconds": 9.0}
    walk["tried"] = [
        {"steps": steps, "agreement": agreed, "valid_score": score, "seconds": 0.1 * steps}
        for steps, agreed, score in tried
    ]
    made.run("SASRec", 2019, phase="trial", number=0)
    made.run("SASRec", 2019, phase="trial", number=1, settings={"hidden_size": 64})
    made.fail("ICDDT", "out of memory", phase="trial", number=0, settings={"d": [1, 2]})
    for number, seed in enumerate(PLAN["seeds"]):
        for label in ("ICDDT", "SASRec", "Twin", SCRIPT, "ICDDT (one step)"):
            changes = {}
            if label in SAMPLING:
                values = [{m: LEVELS[label] * part for m in METRICS} for part in (0.7, 0.9, 1)]
                changes = {"steps": steps | {"values": values}, "never_trained": audit}
                changes["walk"] = walk if label == "ICDDT" else None
            chosen = {"hidden_size": 64} if label == "SASRec" else {}
            made.run(label, seed, number=number, settings=chosen, **changes)
        same = made.values("ICDDT", seed)
        shuffled = same.sample(frac=1, random_state=seed)
        made.run("ICDDT (same)", seed, number=number, frame=shuffled)
    made.run("Imported", None, phase="external")
    for number, seed in enumerate(PLAN["seeds"]):
        made.fail("Broken", f"ValueError: {SCRIPT}", seed=seed, number=number)
    return made.output
