"""What is learnt from some healthy scripts, checked on others: triggered, violated, transfer.

    python -m tests.benchmarks.learning [--traces FOLDER] [--seeds N] [--causes N] [--blind FOLDER]

Records each healthy fixture once (into FOLDER, where what lies there already is taken). A fold
leaves one kind of scripts out (`kinds`), learns from k scripts of other kinds, drawn by a seed, and
checks all scripts of that kind: nothing is judged by what was learnt from its like. A second run of
a script of each kind, with another seed where it takes one, is judged by what was learnt from the
first one. Then transfer: what is learnt from scripts
of one kind, on another one of this kind. `--blind` names scripts that are nobody's fixtures: they
are checked, too, by what is learnt from the fixtures, and never learnt from.
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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from tcstatic.check.replay import judged
from tcstatic.infer import Wanted, infer
from tcstatic.infer.inferring import learn_from, observe
from tcstatic.infer.surveying import Survey
from tcstatic.model import Invariant, RunView
from tcstatic.trace import open_trace
from tests.benchmarks.kinds import KINDS, kinds_of

FIXTURES: Final = Path(__file__).parents[2] / "fixtures"
LIBRARY: Final = FIXTURES / "learning"
# Share of violated among triggered invariants, by the number of scripts that were learnt from.
BOUNDS: Final = {1: 0.02, 4: 0.007, 6: 0.004}
ANOTHER_SEED: Final = ("--seed", "7")
LEAST_TRIGGERED, LEAST_RELATIONS = 30, 5
TRANSFERRED, LEAST_TRANSFERRED = 6, 0.6
HEADER: Final = (
    "inputs   learnt  triggered  relations  violated of triggered    share  bound  "
    "least triggered in a script"
)


def scripts() -> dict[str, Path]:
    """The healthy fixtures, by name."""
    found = {f"scripts/{one.parent.name}": one for one in FIXTURES.glob("scripts/*/train.py")}
    found |= {f"healthy/{one.stem}": one for one in FIXTURES.glob("healthy/*.py")}
    found |= {f"learning/{one.stem}": one for one in LIBRARY.glob("healthy/*.py")}
    return dict(sorted(found.items()))


def record(
    script: Path,
    folder: Path,
    *options: str,
    library: Path | None = None,
    given: Sequence[str] = (),
) -> RunView | None:
    """The trace of a script, of its first rank, recorded unless it is there; None if it fails.

    `library` is a folder of packages that the script may import, `given` its arguments.
    """
    if not folder.exists():
        command = [sys.executable, "-m", "tcstatic", "run", "--quiet", "--trace", str(folder)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if library is not None:
            known = os.environ.get("PYTHONPATH", "")
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(library), known]))
        done = subprocess.run(
            [*command, *options, str(script), *given],
            env=environment,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            print(f"{script}: {done.stderr[-300:].decode(errors='replace')}")
            return None
    return min(open_trace(folder).runs, key=lambda run: run.facts.rank)


def recorded(name: str, script: Path, traces: Path, given: Sequence[str] = ()) -> RunView | None:
    """The trace of a fixture, with the calls of its library where it has one."""
    folder = traces / name.replace("/", "_")
    if name.startswith("learning/"):
        return record(script, folder, "--include", "minitrain", library=LIBRARY, given=given)
    return record(script, folder, given=given)


def learnt(runs: Mapping[str, RunView]) -> tuple[Invariant, ...]:
    """What is inferred from some runs."""
    return infer({name: run.events for name, run in runs.items()}, Wanted()).invariants


@final
@dataclass(frozen=True, slots=True)
class Seen:
    """A run with its survey, which is made once however often it is learnt from."""

    run: RunView
    survey: Survey


def seen(runs: Mapping[str, RunView]) -> dict[str, Seen]:
    """Survey all runs."""
    surveys = observe({name: run.stretches for name, run in runs.items()})
    return {name: Seen(run, surveys[name]) for name, run in runs.items()}


def taught(every: Mapping[str, Seen], names: Iterable[str]) -> tuple[Invariant, ...]:
    """What is inferred from the runs of these names."""
    return learn_from({name: every[name].survey for name in names}).invariants


@final
@dataclass(slots=True)
class Tally:
    """Of all folds with one number of inputs."""

    triggered: list[int] = field(default_factory=list)
    relations: list[int] = field(default_factory=list)
    violated: int = 0
    learnt: list[int] = field(default_factory=list)
    causes: Counter[str] = field(default_factory=Counter)
    places: dict[str, set[str]] = field(default_factory=dict)

    def add(self, invariants: Sequence[Invariant], name: str, run: RunView) -> None:
        """Check a run that was not learnt from."""
        by_code = {one.code: one for one in invariants}
        counts = judged(run, tuple(invariants)).invariants
        self.triggered.append(len(counts.checked))
        self.relations.append(len({by_code[code].relation for code in counts.checked}))
        self.violated += len(counts.violated)
        for code in counts.violated:
            said = _said(by_code[code])
            self.causes[said] += 1
            self.places.setdefault(said, set()).add(name)

    def row(self, inputs: int) -> str:
        """One line of the table."""
        total = sum(self.triggered)
        share = self.violated / max(total, 1)
        return (
            f"{inputs:6} {statistics.median(self.learnt):8.0f} "
            f"{statistics.median(self.triggered):10.0f} {statistics.median(self.relations):10.0f} "
            f"{self.violated:9} of {total:9} {share:8.2%} {BOUNDS[inputs]:6.1%} "
            f"{min(self.triggered):6}"
        )

    def told(self, most: int) -> None:
        """Print what was violated most often, and where."""
        for said, times in self.causes.most_common(most):
            print(f"         {times:4} {said}  [{', '.join(sorted(self.places[said])[:3])}]")


def _said(one: Invariant) -> str:
    said = one.message.removeprefix("this run differs from healthy ones: ")
    return f"{one.relation}: {said}" + (f" | when {one.when}" if one.when else "")


def folds(kinds: Mapping[str, str], inputs: int, seeds: int) -> list[tuple[str, list[str]]]:
    """For each kind, and each seed: the kind that is left out, and so many scripts of others."""
    found = []
    for kind in KINDS:
        others = sorted(name for name, its in kinds.items() if its != kind)
        for seed in range(seeds):
            found.append((kind, random.Random(f"{kind} {inputs} {seed}").sample(others, inputs)))
    return found


def table(
    every: Mapping[str, Seen],
    kinds: Mapping[str, str],
    blind: Mapping[str, RunView],
    seeds: int,
    causes: int,
) -> None:
    """Print how what was learnt from so many scripts fared on kinds that were left out."""
    total = f"{len(every)} scripts of {len(set(kinds.values()))} kinds"
    print(f"{total}: learnt from other kinds than the one checked; medians over scripts checked")
    print(HEADER)
    unseen: dict[int, Tally] = {}
    for inputs in BOUNDS:
        tally = Tally()
        unseen[inputs] = Tally()
        for number, (kind, chosen) in enumerate(folds(kinds, inputs, seeds)):
            invariants = taught(every, chosen)
            tally.learnt.append(len(invariants))
            unseen[inputs].learnt.append(len(invariants))
            for name in sorted(name for name, its in kinds.items() if its == kind):
                tally.add(invariants, name, every[name].run)
            for place, (name, run) in enumerate(sorted(blind.items())):
                if place % len(KINDS) == number % len(KINDS):
                    unseen[inputs].add(invariants, name, run)
        print(tally.row(inputs), flush=True)
        tally.told(causes)
    if blind:
        print(f"{len(blind)} scripts that are no fixtures, by what the same folds have learnt")
        print(HEADER)
    for inputs, tally in unseen.items() if blind else ():
        print(tally.row(inputs))
        tally.told(causes)


def again(every: Mapping[str, Seen], traces: Path) -> None:
    """Print how many invariants a second run violates of those that the first one taught, over one
    script of each kind, and over all scripts the run that was learnt from."""
    taught_by = {name: taught(every, [name]) for name in every}
    own = [judged(every[name].run, taught_by[name]).invariants.violated for name in every]
    print(f"violated in the run that was learnt from: {sum(map(len, own))} in {len(own)} scripts")
    violated = triggered = seeded = 0
    ran = ([name for name in names if name in every] for names in KINDS.values())
    chosen = [names[0] for names in ran if names]
    for name in chosen:
        script = scripts()[name]
        given = ANOTHER_SEED if ANOTHER_SEED[0] in script.read_text(encoding="utf-8") else ()
        run = recorded(name, script, traces / "again", given)
        if run is None:
            continue
        counts = judged(run, taught_by[name]).invariants
        seeded += bool(given)
        violated += len(counts.violated)
        triggered += len(counts.checked)
    print(
        f"violated in a second run: {violated} of {triggered} in {len(chosen)} scripts, "
        f"{seeded} of them with another seed"
    )


def transfer(every: Mapping[str, Seen], kinds: Mapping[str, str]) -> None:
    """Print how much of what is learnt from scripts of one kind triggers and holds on another."""
    print("transfer within a kind: each script is checked by what others of its kind teach")
    print("kind                     inputs   learnt  triggered and held  violated")
    for kind in KINDS:
        names = sorted(name for name, its in kinds.items() if its == kind)
        inputs = min(len(names) - 1, TRANSFERRED)
        if inputs < 2:
            continue
        shares, sizes, violated = [], [], 0
        for name in names:
            others = [one for one in names if one != name]
            invariants = taught(every, random.Random(name).sample(others, inputs))
            counts = judged(every[name].run, invariants).invariants
            violated += len(counts.violated)
            sizes.append(len(invariants))
            held = len(counts.checked) - len(counts.violated)
            shares.append(held / max(len(invariants), 1))
        bound = f"(bound {LEAST_TRANSFERRED:.0%})" if inputs == TRANSFERRED else "(too few for it)"
        print(
            f"{kind:24} {inputs:6} {statistics.median(sizes):8.0f} "
            f"{statistics.median(shares):8.0%} {violated:19}  {bound}",
            flush=True,
        )


def main(arguments: Sequence[str] = ()) -> None:
    """Record, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--traces", type=Path, help="where traces are kept")
    parser.add_argument("--seeds", type=int, default=2, help="draws for each kind left out")
    parser.add_argument("--causes", type=int, default=5, help="how many violated are shown")
    parser.add_argument("--blind", type=Path, help="a folder of healthy scripts, no fixtures")
    options = parser.parse_args(arguments)
    kinds = kinds_of(scripts())
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.traces or Path(temporary)
        runs = {name: recorded(name, script, folder) for name, script in scripts().items()}
        ran = {name: run for name, run in runs.items() if run is not None}
        others = sorted(options.blind.glob("*.py")) if options.blind else []
        blind = {one.stem: record(one, folder / f"blind_{one.stem}") for one in others}
        every = seen(ran)
        kinds = {name: kind for name, kind in kinds.items() if name in ran}
        outside = {name: run for name, run in blind.items() if run is not None}
        table(every, kinds, outside, options.seeds, options.causes)
        again(every, folder)
        transfer(every, kinds)
    print(f"CPU {time.process_time() - begun:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
