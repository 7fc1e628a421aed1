"""What is learnt from healthy programs of one library, and which faults in others it finds.

    python -m tests.benchmarks.library [--traces FOLDER] [--folds N] [--show NAME]

Records the programs of `fixtures/learning` with the calls of their library (into FOLDER, where what
lies there already is taken). Learns from k healthy ones, drawn by a fixed seed, and checks all
others: none is judged by what was learnt from it. Then learns from all healthy ones, and checks the
bad ones, whose line to mend ends in ``# expect: learnt``: `found` where anything learnt is
violated, `line` where the first finding is there, `any` where one of the findings is.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tcstatic.check.replay import judged
from tcstatic.model import Finding, Invariant, RunView
from tests.benchmarks.learning import BOUNDS, learnt, record

FOLDER: Final = Path(__file__).parents[2] / "fixtures" / "learning"
LIBRARY: Final = "minitrain"
MARK: Final = "# expect: learnt"
LEAST_FOUND, LEAST_LINES = 12 / 15, 9 / 15


def recorded(script: Path, folder: Path) -> RunView | None:
    """The trace of a program with the calls of its library; None if it fails."""
    return record(script, folder, "--include", LIBRARY, library=FOLDER)


def expected(folder: Path) -> set[tuple[str, int]]:
    """The lines to mend of a bad program, files relative to its folder."""
    return {
        (path.relative_to(folder).as_posix(), number)
        for path in sorted(folder.rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if MARK in line
    }


def false_alarms(runs: Mapping[str, RunView], folds: int) -> None:
    """Print how what was learnt from so many programs fared on the others."""
    print(f"{len(runs)} healthy programs of one library")
    print("inputs   learnt  of calls  triggered  relations  violated               share  bound")
    for inputs, bound in BOUNDS.items():
        chooser = random.Random(inputs)
        sizes, calls, triggered, relations = [], [], [], []
        violated = 0
        causes: Counter[str] = Counter()
        for _ in range(folds):
            chosen = chooser.sample(sorted(runs), inputs)
            invariants = {one.code: one for one in learnt({name: runs[name] for name in chosen})}
            sizes.append(len(invariants))
            calls.append(sum("call " in str(one.params) for one in invariants.values()))
            for name in runs.keys() - set(chosen):
                counts = judged(runs[name], tuple(invariants.values())).invariants
                triggered.append(len(counts.checked))
                relations.append(len({invariants[code].relation for code in counts.checked}))
                violated += len(counts.violated)
                causes.update(invariants[code].message for code in counts.violated)
        share = violated / max(sum(triggered), 1)
        print(
            f"{inputs:6} {statistics.median(sizes):8.0f} {statistics.median(calls):9.0f} "
            f"{statistics.median(triggered):10.0f} {statistics.median(relations):10.0f} "
            f"{violated:9} of {sum(triggered):6} {share:8.2%} {bound:6.1%}",
            flush=True,
        )
        for message, times in causes.most_common(8):
            print(f"         {times:4} {message}")


def told(finding: Finding) -> str:
    """A finding in one line."""
    return f"{finding.where.file}:{finding.where.line} {finding.message}"


def faults(invariants: Sequence[Invariant], traces: Path, show: str) -> None:
    """Print which bad programs are found, and where."""
    found = lines = some = total = 0
    print(f"{len(invariants)} invariants: {Counter(one.relation for one in invariants)}")
    print("found line any  violated  program")
    for folder in sorted((FOLDER / "bad").iterdir()):
        run = recorded(folder / "train.py", traces / f"bad_{folder.name}")
        if run is None:
            continue
        report = judged(run, invariants)
        findings = [one for one in report.findings if one.code.startswith("INF")]
        places = [(one.where.file, one.where.line) for one in findings]
        right = expected(folder)
        total += 1
        found += bool(findings)
        lines += bool(places) and places[0] in right
        some += bool(right & set(places))
        marks = [bool(findings), bool(places) and places[0] in right, bool(right & set(places))]
        cells = "".join(f"{'yes' if mark else '-':>5}" for mark in marks)
        print(f"{cells} {len(report.invariants.violated):8}  {folder.name}")
        if show in (folder.name, "all"):
            print(f"        expected {sorted(right)}")
            for one in findings[:12]:
                print(f"        {told(one)}")
    print(f"found {found} of {total}, the first line right in {lines}, one of the lines in {some}")
    print(f"wanted: {LEAST_FOUND:.0%} and {LEAST_LINES:.0%}")


def main(arguments: Sequence[str] = ()) -> None:
    """Record, and print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--traces", type=Path, help="where traces are kept")
    parser.add_argument("--folds", type=int, default=6)
    parser.add_argument("--show", default="", help="a bad program whose findings are printed")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        traces = options.traces or Path(temporary)
        runs = {}
        for script in sorted((FOLDER / "healthy").glob("*.py")):
            run = recorded(script, traces / f"healthy_{script.stem}")
            if run is not None:
                runs[script.stem] = run
        if options.folds:
            false_alarms(runs, options.folds)
        begun = time.process_time()
        invariants = learnt(runs)
        print(f"learnt from all healthy programs in {time.process_time() - begun:.1f} s CPU")
        faults(invariants, traces, options.show)


if __name__ == "__main__":
    main(sys.argv[1:])
