"""Faults on one of several ranks: which are found, where, and what healthy ranks are told.

    python -m tests.benchmarks.ranks [--faults N] [--healthy N] [--seed N]
        [--workload NAME] [--kind KIND] [--budget P%]

Each run disturbs one rank in one step (see `disturbing/disturb.py`; the source that is watched does
not show it); faults take turns among all workloads and kinds, but for those that nobody can know
of: these are printed with the reason (see `reaching`). Found: an error within two steps, or a
warning where no more can be known; `parameter`: the right one is named (a rate hits all, momentum
all that clipping ties together, a seed none); `rank`: the right one is, of a batch the two that
share it. A healthy run must be silent.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from tests.benchmarks.reaching import KINDS, STILL, WARNED, WORKLOADS, combinations

HERE: Final = Path(__file__).parent
FOLDER: Final = HERE / "workloads" / "ranks"
STEPS: Final = 12
LATEST: Final = 9  # the last step that is disturbed: two more are needed to see it
SECONDS: Final = 120
LEAST_FOUND, LEAST_NAMED = 0.98, 0.95
MARKS: Final = ("found", "parameter", "rank")


@final
@dataclass(frozen=True, slots=True)
class Fault:
    """What is disturbed, in which step, on which rank, and what it hits."""

    workload: str
    kind: str
    step: int
    rank: int
    parameter: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.step}:{self.rank}:{self.parameter}"


def drawn(number: int, chosen: Sequence[tuple[str, str]]) -> Fault:
    """The fault of a number: workloads and kinds take turns, all else is drawn."""
    chooser = random.Random(number)
    name, kind = chosen[number % len(chosen)]
    workload = WORKLOADS[name]
    step, rank = chooser.randint(0, LATEST), chooser.randrange(workload.world)
    hit = chooser.choice(workload.targets(kind))
    return Fault(name, kind, step, rank, str(workload.seeds[rank]) if kind == "rng" else hit)


def findings(
    workload: str, fault: Fault | None, seed: int = 0, budget: str = "100%", world: int = 0
) -> list[dict[str, Any]]:
    """Watch a run of a workload, and return what its report says."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        watched = [sys.executable, "-m", "tcstatic", "run", "--quiet"]
        watched += ["--overhead-budget", budget] if budget else []
        done = subprocess.run(
            [*watched, "--report", str(report), str(FOLDER / f"{workload}.py")],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(
                    [str(HERE / "disturbing"), os.environ.get("PYTHONPATH", "")]
                ),
                "MEETING": str(Path(folder, "meeting")),
                "WORLD": str(world or WORKLOADS[workload].world),
                "DISTURB": "" if fault is None else str(fault),
                "SEED": str(seed),
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
    """Whether a fault is found in time, what it hit is named, and its rank."""
    enough = ("error", "warning") if fault.kind in WARNED else ("error",)
    due = [
        one
        for one in found
        if one["severity"] in enough and fault.step <= (one["step"] or 0) <= fault.step + 2
    ]
    if not due:
        return False, False, False
    spread = fault.kind == "gradient" and fault.workload == "ddp"
    spread = spread or fault.kind not in (*STILL, "buffer") or fault.kind == "rate"
    named = spread or any(f"{fault.parameter} " in one["message"] for one in due)
    ranks = any(one["rank"] == fault.rank for one in due)
    if fault.kind == "batch":
        ranks = any(f"rank {fault.rank} " in one["message"] for one in due)
    return True, named, ranks


def _disturbed(options: argparse.Namespace, chosen: Sequence[tuple[str, str]]) -> None:
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for number in range(options.seed, options.seed + options.faults):
        fault = drawn(number, chosen)
        began = time.monotonic()
        found = findings(fault.workload, fault, budget=options.budget)
        marks = judged(fault, found)
        for key in ((fault.workload, fault.kind), ("all", "")):
            counts[key]["faults"] += 1
            for name, mark in zip(MARKS, marks, strict=True):
                counts[key][name] += mark
        if not all(marks) or options.verbose:
            told = [(one["code"], one["message"], one["step"], one["rank"]) for one in found]
            took = f"{time.monotonic() - began:.0f} s"
            print(f"{fault.workload} {fault}: {marks} {took} {told}", flush=True)
    print(f"{'':20}{'faults':>10}{'found':>10}{'parameter':>10}{'rank':>10}")
    for key, count in sorted(counts.items()):
        cells = "".join(f"{count[name]:10}" for name in ("faults", *MARKS))
        print(f"{' '.join(key):20}{cells}")


def main(arguments: Sequence[str] = ()) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--faults", type=int, default=300)
    parser.add_argument("--healthy", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workload", choices=WORKLOADS, action="append")
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--budget", default="100%", help="'' for the default")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args(arguments)
    workloads = tuple(options.workload or WORKLOADS)
    kinds = tuple(options.kind or KINDS)
    chosen = [one for one in combinations(workloads) if one[1] in kinds]
    if chosen and options.faults:
        _disturbed(options, chosen)
    for name in workloads:
        for kind, why in WORKLOADS[name].beyond.items():
            if kind in kinds:
                print(f"{name + ' ' + kind:20}  out of reach: {why}")
    alarms = 0
    for number in range(options.healthy):
        workload = workloads[number % len(workloads)]
        found = findings(workload, None, options.seed + number, options.budget)
        alarms += len(found)
        for one in found:
            print(f"healthy {workload}: {one['code']} {one['message']} {one['step']}", flush=True)
    print(f"healthy runs: {options.healthy}, findings: {alarms}")
    print(f"wanted: found {LEAST_FOUND:.0%}, parameter and rank {LEAST_NAMED:.0%}, 0 findings")


if __name__ == "__main__":
    main(sys.argv[1:])
