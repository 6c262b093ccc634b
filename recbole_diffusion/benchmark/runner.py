"""Runs a plan: each training in a process of its own, its outcome in the journal."""

import hashlib
import json
import sys
import time
from pathlib import Path

from recbole_diffusion import __version__, progress
from recbole_diffusion.benchmark import process as here
from recbole_diffusion.benchmark.agreement import agree, check_output
from recbole_diffusion.benchmark.journal import FORMAT, Journal, State, place, read_journal
from recbole_diffusion.benchmark.plan import run_id
from recbole_diffusion.config.keys import of_kind

WAIT = 0.1  # seconds between looks at the running processes


class Runner:
    """One sitting of a benchmark.

    Args:
        plan (Plan): what is to be run.
        output (str or Path): the benchmark's folder; what its journal has is not run again.
        command (str): how this benchmark is started, for its reports.
        retry (bool): run again what failed.
        say (callable): takes a line of progress; None says only what failed, on stderr.
        machines (module or Machines): starts the trainings; None starts them on this machine.
    """

    def __init__(self, plan, output, command="", retry=False, say=print, machines=None):
        self.plan, self.output, self.say = plan, Path(output), say
        self.command, self.retry = command, retry
        self.machines = machines or here
        self.state = State()
        self.running = []
        self.shown = 0.0  # when the bar was written last

    def run(self):
        """Runs what is left. Nothing is written before it is known that the plan can be run.

        Raises:
            ValueError: if no model can be run, if the folder holds a benchmark of other data or
                another protocol, or if another process is at it.
            KeyboardInterrupt: as it comes, after the running trainings were stopped.
        """
        path = self.output / "journal.jsonl"
        check_output(self.output)
        with Journal(path) as journal:
            self.journal = journal
            self._read(path)
            self._say(f"reading {self.plan.dataset} as each of {len(self.plan.entries)} rows would")
            found = agree(self.plan, self.state.protocol, self.output)
            for line in found.lines:
                self._say(line)
            metric = self.plan.record()["metric"]
            if found.protocol["valid_metric"] != metric:
                raise ValueError(
                    f"valid_metric is {metric}, which is beyond the items there are: give "
                    f"--valid_metric={found.protocol['valid_metric']} and a topk that has it"
                )
            self._begin(found)
            self._measure_external()
            runs = self.plan.runs()
            left = [run for run in runs if self._to_do(run)]
            self._outdate_all_but([run for run in runs if run not in left])
            self.count = len(left)
            try:
                with progress.bar(self.count, "benchmark", self.say is not None, "run") as bar:
                    while left or self.running:
                        self._start(left)
                        self._collect(left)
                        self._show(bar, left)
                        time.sleep(WAIT)
            finally:
                for process, *_ in self.running:
                    process.stdin.close()
                    process.kill()
                    process.wait()

    # ---------------------------------------------------------------- what is known
    def _read(self, path):
        """Takes in what the journal has."""
        self.state = State(read_journal(path))
        dataset = self.state.protocol.get("dataset", self.plan.dataset)
        if dataset != self.plan.dataset:
            raise ValueError(
                f"{self.output} holds a benchmark on {dataset}, not on {self.plan.dataset}: give "
                "another --output"
            )
        if self.retry:
            done = self.state.done.items()
            self.state.done = {name: record for name, record in done if record["status"] == "done"}

    def _begin(self, found):
        """Writes the sitting, and plan, protocol and refusals if they are others."""
        plan = self.plan.record() | {"version": __version__, "command": self.command}
        self._write({"kind": "sitting", "format": FORMAT} | self.machines.describe())
        if self.state.plan != json.loads(json.dumps(plan)):
            self._write({"kind": "plan", "plan": plan})
        if self.state.protocol != found.protocol:
            self._write({"kind": "protocol", "protocol": found.protocol})
        if self.state.refused != found.reasons:
            self._write({"kind": "refused", "reasons": found.reasons})

    def _measure_external(self):
        """Measures the lists of other programs, with the loaders of the first row of the table."""
        entry = next(entry for entry in self.plan.entries if entry.label not in self.state.refused)
        for label, path in self.plan.external.items():
            content = hashlib.sha256(f"{label}\n".encode() + Path(path).read_bytes())
            name = f"external-{content.hexdigest()[:10]}-{self.state.protocol['held_out_hash']}"
            record = self.state.done.get(name)
            if record and record["status"] == "done":
                self._count(record)
                continue
            job = {
                "kind": "external",
                "path": path,
                "model": entry.model,
                "dataset": self.plan.dataset,
                "settings": self.plan.settings | entry.settings,
                "held_out_hash": self.state.protocol["held_out_hash"],
                "users_file": str(self.output / "users" / f"{name}.parquet"),
            }
            begin = time.monotonic()
            outcome = self._at_once(name, job)
            self._write(self._outcome_record(name, label, "external", 0, None, {}, begin, outcome))
            failed = "error" in outcome
            self._say(f"{label}: {outcome['error' if failed else 'counts']}", failed)

    def _settings(self, run):
        """Settings of a run, None while its trials are not all done."""
        base = run.entry.ablates or run.entry.label
        settings = self.plan.settings | run.entry.settings
        if run.phase == "trial":
            return settings | self.plan.sampled(run.entry, run.number) | {"seed": run.seed}
        if self.plan.tune:
            best = self._best_trial(base)
            if best is None:
                return None
            settings = settings | best | (run.entry.own or {})
        return settings | {"seed": run.seed}

    def _best_trial(self, label):
        """What the best trial of a row changed; None while one is missing.

        Raises:
            RuntimeError: if all of them failed.
        """
        entry = next(entry for entry in self.plan.entries if entry.label == label)
        trials = [run for run in self.plan.runs() if run.entry is entry and run.phase == "trial"]
        scored = []
        for run in trials:
            record = self.state.done.get(self._id(run, self._settings(run)))
            if record is None:
                return None
            if record["status"] == "done":
                metric = self.plan.record()["metric"]
                scored.append((record["result"]["best_valid_result"][metric], -run.number))
        if not scored:
            raise RuntimeError(f"all trials of {label} failed")
        return self.plan.sampled(entry, -max(scored)[1])

    def _id(self, run, settings):
        return run_id(run, self.plan.dataset, settings, self.plan.sampling_seeds)

    def _to_do(self, run):
        if run.entry.label in self.state.refused:
            return False
        settings = self._settings_or_failure(run)
        if settings is None:
            return True
        record = self.state.done.get(self._id(run, settings))
        if record is None:
            return True
        self._count(record)
        return False

    def _settings_or_failure(self, run):
        try:
            return self._settings(run)
        except RuntimeError:
            return self.plan.settings | run.entry.settings | {"seed": run.seed}

    # ---------------------------------------------------------------- processes
    def _start(self, left):
        """Starts what can be started, in order."""
        while len(self.running) < self.plan.jobs:
            for run in left:
                settings = self._settings_or_failure(run)
                if settings is not None:
                    break
            else:
                return
            left.remove(run)
            if not self._to_do(run):
                continue  # its trials chose what they had chosen before
            name = self._id(run, settings)
            if run.phase == "seed" and self.plan.tune and self._all_trials_failed(run):
                failure = {"error": "all its trials failed"}
                self._record(run, name, settings, time.monotonic(), failure, left)
                continue
            job = {
                "kind": run.phase,
                "model": run.entry.model,
                "dataset": self.plan.dataset,
                "settings": settings
                | {
                    "checkpoint_dir": str(self.output / "checkpoints" / name),
                    "resume": True,  # of a run that was killed, else it begins again
                    "show_progress": False,
                },
                "held_out_hash": self.state.protocol["held_out_hash"],
                "sampling_seeds": self.plan.sampling_seeds,
                "users_file": str(self.output / "users" / f"{name}.parquet"),
                "steps": run.number == 0,
            }
            process = self._process(self.machines, name, job)
            self.running.append((process, run, name, settings, time.monotonic()))

    def _all_trials_failed(self, run):
        try:
            self._best_trial(run.entry.ablates or run.entry.label)
        except RuntimeError:
            return True
        return False

    def _process(self, machines, name, job):
        job = job | {"models": [entry.model for entry in self.plan.entries]}
        return machines.start_process(self.output / "running", name, job, self.plan.threads)

    def _at_once(self, name, job):
        """Runs one process here and waits for what it writes down."""
        process = self._process(here, name, job)
        try:
            process.wait()
        finally:
            process.stdin.close()
            process.kill()
        return here.outcome_of(process, self.output / "running", name)

    def _collect(self, left):
        """Records what has ended."""
        for ended in [one for one in self.running if one[0].poll() is not None]:
            self.running.remove(ended)
            process, run, name, settings, begin = ended
            process.stdin.close()
            outcome = self.machines.outcome_of(process, self.output / "running", name)
            self._record(run, name, settings, begin, outcome, left)

    def _record(self, run, name, settings, begin, outcome, left):
        shown = {
            key: value
            for key, value in settings.items()
            if key not in self.plan.settings or self.plan.settings[key] != value
        }
        what = (run.entry.label, run.phase, run.number, run.seed, shown)
        record = self._outcome_record(name, *what, begin, outcome)
        self._write(record)
        self._progress(record, left)

    def _outcome_record(self, name, label, phase, number, seed, settings, begin, outcome):
        record = {
            "kind": "run",
            "id": name,
            "label": label,
            "phase": phase,
            "number": number,
            "seed": seed,
            "settings": settings,
            "wall_seconds": round(time.monotonic() - begin, 2),
        }
        if "error" in outcome:
            return record | {"status": "failed", "error": outcome["error"]}
        config = outcome.pop("config", None)
        if phase != "trial":
            outcome["users_file"] = f"users/{name}.parquet"
            if config:
                record["config"] = self._config_id(label, config)
        return record | {"status": "done", "result": outcome}

    def _config_id(self, label, config):
        """The id of a row's configuration, which is written if the journal does not have it."""
        config = {key: value for key, value in config.items() if key not in of_kind("seed")}
        content = json.dumps([label, config], sort_keys=True)
        name = hashlib.sha256(content.encode()).hexdigest()[:10]
        if name not in self.state.configs:
            self._write({"kind": "config", "id": name, "label": label, "config": config})
        return name

    def _write(self, record):
        """Adds a record to the journal and to what is known."""
        self.journal.append(record)
        self.state.add(record)

    def _count(self, record):
        """Writes a record again if it is of an earlier plan that is this one again."""
        last = self.state.runs.get(place(record))
        if last is None or last["id"] != record["id"]:
            self._write(record)

    def _outdate_all_but(self, runs):
        """Says that what else an earlier plan gave is not a result of this one."""
        count = {(run.entry.label, run.phase, run.number) for run in runs}
        count |= {(label, "external", 0) for label in self.plan.external}
        for what in [what for what in self.state.runs if what not in count]:
            self._write({"kind": "outdated"} | dict(zip(("label", "phase", "number"), what)))

    def _progress(self, record, left):
        of = self.count
        at = of - len(left) - len(self.running)
        metric = self.plan.record()["metric"]
        if record["status"] == "failed":
            what = f"failed: {record['error']}"
        else:
            what = f"validation {metric} {record['result']['best_valid_result'][metric]:.4f}"
        number = record["number" if record["phase"] == "trial" else "seed"]
        self._say(
            f"[{at}/{of}] {record['label']} ({self._row(record['label'])}) {record['phase']} "
            f"{number}: {what}, {record['wall_seconds']:.0f} s; "
            f"{progress.left(self._left(left))}",
            record["status"] == "failed",
        )

    def _say(self, line, failed=False):
        if self.say is not None:
            self.say(line)
        elif failed:
            print(line, file=sys.stderr, flush=True)

    def _show(self, bar, left):
        """Shows on a terminal which rows are being trained."""
        if bar.disable or time.monotonic() < self.shown + 1:
            return
        self.shown = time.monotonic()
        rows = dict.fromkeys(
            f"{run.entry.label} {run.phase} {run.number}" for _, run, *_ in self.running
        )
        bar.n = self.count - len(left) - len(self.running)
        known = self.state.done or self.plan.settings["max_train_seconds"]
        rest = progress.left(self._left(left)) if known else ""
        bar.set_postfix_str(", ".join([*rows, rest] if rest else rows))

    def _row(self, label):
        """Which row of the table a label is, in words."""
        labels = [entry.label for entry in self.plan.entries]
        return f"row {labels.index(label) + 1} of {len(labels)}"

    def _left(self, left):
        """Seconds that what is left may take: runs cost what those of their row did."""
        walls = {}
        for record in self.state.done.values():
            walls.setdefault(record["label"], []).append(record["wall_seconds"])
        known = {label: sum(w) / len(w) for label, w in walls.items()}
        usual = self.plan.settings["max_train_seconds"] or sum(known.values()) / len(known)
        total = sum(known.get(run.entry.label, usual) for run in left)
        for _, run, _, _, begin in self.running:
            gone = time.monotonic() - begin
            total += max(known.get(run.entry.label, usual) - gone, 0)
        return total / self.plan.jobs
