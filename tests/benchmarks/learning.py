"""What is learnt from some healthy scripts, checked on others: triggered, violated, transfer.

    python -m tests.benchmarks.learning [--traces FOLDER] [--folds N]

Records each healthy fixture once (into FOLDER, where what lies there already is taken), learns from
k of them, drawn by a fixed seed, and checks all others: no script is judged by what was learnt from
it. A second run of a script is judged by what was learnt from the first one.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from tcstatic.check.replay import judged
from tcstatic.infer import Wanted, infer
from tcstatic.model import Invariant, RunView
from tcstatic.trace import open_trace

FIXTURES: Final = Path(__file__).parents[2] / "fixtures"
# Share of violated among triggered invariants, by the number of scripts that were learnt from.
BOUNDS: Final = {1: 0.02, 4: 0.007, 6: 0.004}
LEAST_TRIGGERED, LEAST_RELATIONS = 30, 5


def scripts() -> dict[str, Path]:
    """The healthy fixtures of one process, by name."""
    found = {f"scripts/{one.parent.name}": one for one in FIXTURES.glob("scripts/*/train.py")}
    found |= {f"healthy/{one.stem}": one for one in FIXTURES.glob("healthy/*.py")}
    return {
        name: path
        for name, path in sorted(found.items())
        if "init_process_group" not in path.read_text(encoding="utf-8") and "ddp" not in name
    }


def record(
    script: Path, folder: Path, *options: str, library: Path | None = None
) -> RunView | None:
    """The trace of a script, recorded unless it is there; None if it cannot be run alone.

    `library` is a folder of packages that the script may import.
    """
    if not folder.exists():
        command = [sys.executable, "-m", "tcstatic", "run", "--quiet", "--trace", str(folder)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if library is not None:
            known = os.environ.get("PYTHONPATH", "")
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(library), known]))
        done = subprocess.run(
            [*command, *options, str(script)], env=environment, capture_output=True, check=False
        )
        if done.returncode:
            print(f"{script}: {done.stderr[-300:].decode(errors='replace')}")
            return None
    return open_trace(folder).runs[0]


def learnt(runs: Mapping[str, RunView]) -> tuple[Invariant, ...]:
    """What is inferred from some runs."""
    return infer({name: run.events for name, run in runs.items()}, Wanted()).invariants


@final
@dataclass(slots=True)
class Tally:
    """Of all folds with one number of inputs."""

    triggered: list[int] = field(default_factory=list)
    relations: list[int] = field(default_factory=list)
    violated: int = 0
    learnt: list[int] = field(default_factory=list)
    causes: Counter[str] = field(default_factory=Counter)

    def add(self, invariants: Sequence[Invariant], run: RunView) -> None:
        """Check a run that was not learnt from."""
        by_code = {one.code: one for one in invariants}
        counts = judged(run, tuple(invariants)).invariants
        self.triggered.append(len(counts.checked))
        self.relations.append(len({by_code[code].relation for code in counts.checked}))
        self.violated += len(counts.violated)
        self.causes.update(by_code[code].message for code in counts.violated)

    def row(self, inputs: int) -> str:
        """One line of the table."""
        total = sum(self.triggered)
        share = self.violated / max(total, 1)
        return (
            f"{inputs:6} {statistics.median(self.learnt):8.0f} "
            f"{statistics.median(self.triggered):10.0f} {statistics.median(self.relations):10.0f} "
            f"{self.violated:9} of {total:6} {share:8.2%} {BOUNDS[inputs]:6.1%}"
        )


def main(arguments: Sequence[str] = ()) -> None:
    """Record, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--traces", type=Path, help="where traces are kept")
    parser.add_argument("--folds", type=int, default=8)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.traces or Path(temporary)
        runs = {}
        for name, script in scripts().items():
            run = record(script, folder / name.replace("/", "_"))
            if run is not None:
                runs[name] = run
        table(runs, options.folds)


def table(runs: Mapping[str, RunView], folds: int) -> None:
    """Print what was learnt from so many scripts, and how it fared on the others."""
    print(f"{len(runs)} healthy scripts; medians over programs that were not learnt from")
    print("inputs   learnt  triggered  relations  violated               share  bound")
    begun = time.process_time()
    for inputs in BOUNDS:
        tally = Tally()
        chooser = random.Random(inputs)
        for _ in range(folds):
            chosen = chooser.sample(sorted(runs), inputs)
            invariants = learnt({name: runs[name] for name in chosen})
            tally.learnt.append(len(invariants))
            for name, run in runs.items():
                if name not in chosen:
                    tally.add(invariants, run)
        print(tally.row(inputs), flush=True)
        for message, times in tally.causes.most_common(5):
            print(f"         {times:4} {message}")
    own = [len(judged(run, learnt({name: run})).invariants.violated) for name, run in runs.items()]
    print(f"violated in the run that was learnt from: {sum(own)}")
    print(f"CPU {time.process_time() - begun:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
