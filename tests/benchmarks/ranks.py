"""Faults on one of several ranks: which are found, where, and what healthy ranks are told.

    python -m tests.benchmarks.ranks [--faults N] [--healthy N] [--seed N] [--workload NAME]

Each run disturbs a weight, a gradient, a learning rate or the optimizer's state of one rank in one
step (see `disturbing/disturb.py`; the source that is watched does not show it). Found: an error
within two steps; `parameter`: the right one is named (a rate hits all, momentum all that clipping
ties together); `rank`: the right one is. A healthy run must be silent.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

HERE: Final = Path(__file__).parent
FOLDER: Final = HERE / "workloads" / "ranks"
KINDS: Final = ("weight", "gradient", "rate", "state")
STEPS: Final = 12
LATEST: Final = 9  # the last step that is disturbed: two more are needed to see it
SECONDS: Final = 300
# Ranks, and the parameters that a fault may hit.
WORKLOADS: Final = {
    "ddp": (2, ("0.weight", "0.bias", "3.weight", "3.bias")),
    "by_hand": (2, ("0.weight", "0.bias", "2.weight", "2.bias")),
    "shards": (4, ("0.weight", "1.norm.weight", "1.up", "2.down", "2.norm.bias", "3.weight")),
}
LEAST_FOUND, LEAST_NAMED = 0.98, 0.95


@final
@dataclass(frozen=True, slots=True)
class Fault:
    """What is disturbed, in which step, on which rank, of which parameter."""

    workload: str
    kind: str
    step: int
    rank: int
    parameter: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.step}:{self.rank}:{self.parameter}"


def drawn(seed: int, workloads: Sequence[str]) -> Fault:
    """The fault of a seed."""
    chooser = random.Random(seed)
    workload = chooser.choice(workloads)
    world, names = WORKLOADS[workload]
    kind, step = chooser.choice(KINDS), chooser.randint(1, LATEST)
    return Fault(workload, kind, step, chooser.randrange(world), chooser.choice(names))


def findings(workload: str, fault: Fault | None) -> list[dict[str, Any]]:
    """Watch a run of a workload, and return what its report says."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        watched = [sys.executable, "-m", "tcstatic", "run", "--quiet", "--overhead-budget", "100%"]
        done = subprocess.run(
            [*watched, "--report", str(report), str(FOLDER / f"{workload}.py")],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(
                    [str(HERE / "disturbing"), os.environ.get("PYTHONPATH", "")]
                ),
                "MEETING": str(Path(folder, "meeting")),
                "WORLD": str(WORKLOADS[workload][0]),
                "DISTURB": "" if fault is None else str(fault),
            },
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode or not report.exists():
            raise SystemExit(f"{workload} {fault}: {done.returncode}\n{done.stderr[-2000:]}")
        found: list[dict[str, Any]] = json.loads(report.read_text())["findings"]
        return found


def judged(fault: Fault, found: Sequence[dict[str, Any]]) -> tuple[bool, bool, bool]:
    """Whether a fault is found in time, its parameter named, and its rank."""
    due = [
        one
        for one in found
        if one["severity"] == "error" and fault.step <= (one["step"] or 0) <= fault.step + 2
    ]
    if not due:
        return False, False, False
    spread = fault.kind == "rate" or (fault.kind == "gradient" and fault.workload == "ddp")
    named = spread or any(f"{fault.parameter} " in one["message"] for one in due)
    return True, named, any(one["rank"] == fault.rank for one in due)


def main(arguments: Sequence[str] = ()) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--faults", type=int, default=300)
    parser.add_argument("--healthy", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workload", choices=WORKLOADS)
    options = parser.parse_args(arguments)
    workloads = [options.workload] if options.workload else list(WORKLOADS)
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for number in range(options.seed, options.seed + options.faults):
        fault = drawn(number, workloads)
        found = findings(fault.workload, fault)
        marks = judged(fault, found)
        for key in ((fault.workload, fault.kind), ("all", "")):
            counts[key]["faults"] += 1
            for name, mark in zip(("found", "parameter", "rank"), marks, strict=True):
                counts[key][name] += mark
        if not all(marks):
            told = [(one["message"], one["step"], one["rank"]) for one in found]
            print(f"{fault.workload} {fault}: {marks} {told}", flush=True)
    for key, count in sorted(counts.items()):
        cells = "".join(f"{count[name]:10}" for name in ("faults", "found", "parameter", "rank"))
        print(f"{' '.join(key):20}{cells}")
    alarms = 0
    for number in range(options.healthy):
        alarms += len(findings(workloads[number % len(workloads)], None))
    print(f"healthy runs: {options.healthy}, findings: {alarms}")
    print(f"wanted: found {LEAST_FOUND:.0%}, parameter and rank {LEAST_NAMED:.0%}, 0 findings")


if __name__ == "__main__":
    main(sys.argv[1:])
