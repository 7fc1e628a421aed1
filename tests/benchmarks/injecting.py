"""Breaks the programs of fixtures/tutorials in one place each, and counts what lint or run finds.

    python -m tests.benchmarks.injecting [--script NAME] [--operator NAME] [--json FILE]

Only a mutant that runs to its end counts: another is loud by itself. One that prints the same and
leaves the same parameters, buffers and optimizer states is equivalent, and left out. Each is run
under tcstatic, and linted where that says nothing about the line. Exit status 1 where the bounds of
`BOUNDS` are missed, or an original has a finding.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import textwrap
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any, Final, final

from tests.benchmarks.survivors import STANDINGS, reason_of
from tests.golden.running import FIXTURES, TCSTATIC, Ended, Runs
from tests.properties.faults import faults_of
from tests.properties.mutants import Mutant

TUTORIALS: Final = FIXTURES / "tutorials"
# Of one operator, at most so many mutants of one program, and so many of all.
EACH: Final = 2
MOST: Final = 14
# An original takes about one; a rank that waits for another takes for ever.
SECONDS: Final = 60
# Mutants that count, the share of them that is found, and the share found at the mutated line.
BOUNDS: Final = (300, 0.85, 0.75)
NOT_KNOWN: Final = "no reason known"
OUTCOMES: Final = ("equivalent", "crashed", "at line", "elsewhere", "missed")
# What a digest of a tensor says beside its value.
ASIDE: Final = re.compile(r" (True|False)? ?version \w+| gradient .*$")


@final
@dataclass(frozen=True, slots=True)
class Found:
    """One finding: by which command, its code, severity, line and message."""

    command: str
    code: str
    severity: str
    line: int
    message: str


@final
@dataclass(frozen=True, slots=True)
class Judged:
    """A mutant of a program and what came of it."""

    script: str
    mutant: Mutant
    outcome: str
    found: tuple[Found, ...]


@final
@dataclass(frozen=True, slots=True)
class Effect:
    """What a program did: how it ended, what it printed and what it left."""

    status: tuple[int, ...]
    printed: tuple[str, ...]
    state: tuple[str, ...]


@final
class Bench:
    """A folder with the programs' data, and a server that runs programs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tutorials"
        self.observed = folder / "observed"
        for one in (self.folder, self.observed):
            one.mkdir(parents=True)
        shutil.copytree(FIXTURES / "data", folder / "data")
        self.runs = Runs(folder)

    def fork(self, script: str, *words: str, observed: bool = False) -> Ended:
        ranks = 1 if "lint" in words else ranks_of(script)
        environment = {"OBSERVED": str(self.observed)} if observed else {}
        path = str(self.folder / script)
        return self.runs.fork(
            *words,
            path,
            cwd=self.folder,
            ranks=ranks,
            environment=environment,
            seconds=SECONDS,
        )

    def watched(self, script: str, text: str) -> tuple[Effect, list[Found]]:
        """Run a program under tcstatic, which changes nothing of what it does."""
        (self.folder / script).write_text(text, encoding="utf-8")
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        words = (*TCSTATIC, "run", "--quiet", "--report", str(report))
        ended = self.fork(script, *words, observed=True)
        state = []
        for path in self.observed.iterdir():
            lines = path.read_text(encoding="utf-8").split("\n")
            kept = [one for one in lines if one.startswith(("final.tensor", "final.optimizer"))]
            state.append("\n".join(ASIDE.sub("", line) for line in kept))
            path.unlink()
        effect = Effect(ended.status, ended.stdout, tuple(sorted(state)))
        if not report.exists():
            return effect, []
        return effect, _found("run", script, json.loads(report.read_text(encoding="utf-8")))

    def linted(self, script: str) -> list[Found]:
        words = (*TCSTATIC, "lint", "--output-format", "json", "--no-cache")
        ended = self.fork(script, *words)
        return _found("lint", script, json.loads(ended.stdout[0]))


def ranks_of(script: str) -> int:
    return 2 if script.startswith("ddp_") else 1


def _found(command: str, script: str, report: Any) -> list[Found]:
    return [
        Found(command, one["code"], one["severity"], one["line"], one["message"])
        for one in report["findings"]
        if Path(one["file"]).name == script
    ]


def judge(bench: Bench, script: str, mutant: Mutant, original: Effect) -> Judged:
    """Run watched; lint where that says nothing about the line."""
    effect, found = bench.watched(script, mutant.text)
    if any(effect.status):
        return Judged(script, mutant, "crashed", ())
    if effect == original:
        return Judged(script, mutant, "equivalent", ())
    if not any(one.line in mutant.lines and one.severity != "note" for one in found):
        found += bench.linted(script)
    if any(one.line in mutant.lines for one in found):
        return Judged(script, mutant, "at line", tuple(found))
    return Judged(script, mutant, "elsewhere" if found else "missed", tuple(found))


def chosen(scripts: Sequence[Path], operators: Sequence[str]) -> list[tuple[str, Mutant]]:
    """Choose mutants: of each operator the programs in turn, first sites first.

    All operators come in turn, so that the first results show what the others will.
    """
    queues: dict[str, list[tuple[int, int, str, Mutant]]] = defaultdict(list)
    for number, path in enumerate(scripts):
        counts: Counter[str] = Counter()
        for mutant in faults_of(path.read_text(encoding="utf-8")):
            turn = counts[mutant.kind]
            counts[mutant.kind] += 1
            if turn < EACH and (not operators or mutant.kind in operators):
                queues[mutant.kind].append((turn, number, path.name, mutant))
    turns: list[tuple[int, str, Mutant]] = []
    for shift, queue in enumerate(queues.values()):
        # Each operator begins with another program.
        last = len(scripts)
        ranked = sorted(queue, key=lambda one: (one[0], (one[1] + 5 * shift) % last))[:MOST]
        turns += [(place, name, mutant) for place, (_, _, name, mutant) in enumerate(ranked)]
    return [(name, mutant) for _, name, mutant in sorted(turns, key=lambda one: one[0])]


def judge_all(
    cases: list[tuple[str, Mutant]], jobs: int, tell: Callable[[Judged], object]
) -> tuple[list[Judged], list[Judged]]:
    """Judge the mutants; return with them the originals that have findings."""
    with tempfile.TemporaryDirectory() as folder:
        benches: Queue[Bench] = Queue()
        for number in range(jobs):
            benches.put(Bench(Path(folder) / str(number)))

        def program(name: str) -> tuple[Effect, list[Found]]:
            bench = benches.get()
            text = (TUTORIALS / name).read_text(encoding="utf-8")
            effect, found = bench.watched(name, text)
            found += bench.linted(name)
            benches.put(bench)
            return effect, found

        def one(case: tuple[str, Mutant]) -> Judged:
            bench = benches.get()
            judged = judge(bench, *case, originals[case[0]][0])
            benches.put(bench)
            tell(judged)
            return judged

        names = sorted({name for name, _ in cases})
        with ThreadPoolExecutor(jobs) as pool:
            originals = dict(zip(names, pool.map(program, names), strict=True))
            judged = list(pool.map(one, cases))
        while not benches.empty():
            benches.get().runs.close()
    nothing = Mutant("original", "", frozenset(), frozenset(), "", 0)
    loud = [
        Judged(n, nothing, "", tuple(f)) for n, (e, f) in originals.items() if f or any(e.status)
    ]
    return judged, loud


def table(judged: list[Judged]) -> str:
    """Return what came of each operator's mutants, and the sums."""
    rows = [f"{'operator':34} {'mutants':>7}  " + "  ".join(f"{one:>10}" for one in OUTCOMES)]
    for name in [*sorted({one.mutant.kind for one in judged}), "all"]:
        own = [one for one in judged if name in (one.mutant.kind, "all")]
        counts = Counter(one.outcome for one in own)
        rows.append(f"{name:34} {len(own):7}  " + "  ".join(f"{counts[o]:10}" for o in OUTCOMES))
    return "\n".join(rows)


def shares(judged: list[Judged]) -> tuple[int, float, float]:
    """Return how many count, the share of them that is found, and that at the line."""
    counts = Counter(one.outcome for one in judged)
    total = counts["at line"] + counts["elsewhere"] + counts["missed"]
    found = counts["at line"] + counts["elsewhere"]
    return total, found / max(1, total), counts["at line"] / max(1, total)


def noted(judged: list[Judged]) -> int:
    """Return how many were told by notes alone, which fail no command."""
    told = [one.found for one in judged if one.found]
    return sum(all(each.severity == "note" for each in found) for found in told)


def survivors(judged: list[Judged]) -> str:
    """List what was missed, and what was told about another line, each with how it stands with it
    and the reason; last the sums."""
    standings: Counter[str] = Counter()
    rows = []
    for one in judged:
        if one.outcome in ("missed", "elsewhere"):
            edit = textwrap.shorten(one.mutant.edit.replace("\\n", " "), 110)
            rows.append(f"{one.outcome}: {one.script}:{one.mutant.site}: {one.mutant.kind}: {edit}")
            told = {f"{f.code} at line {f.line}" for f in one.found}
            rows.extend(f"    told: {each}" for each in sorted(told))
            reason = reason_of(one.mutant.kind, one.script, one.mutant.site)
            rows.append(f"    {reason or NOT_KNOWN}")
            standings[reason.standing if reason else NOT_KNOWN] += 1
    sums = ", ".join(f"{standings[one]} {one}" for one in (*STANDINGS, NOT_KNOWN))
    return "\n".join([*rows, f"survivors: {sums}"])


def main() -> int:
    """Break, run, lint, watch, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--script", action="append", help="only mutants of this program")
    parser.add_argument("--operator", action="append", default=[], help="only these mutants")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--json",
        type=Path,
        help="write each mutant and what was found here, one a line, as soon as it is known",
    )
    options = parser.parse_args()
    paths = sorted(TUTORIALS.glob("*.py"))
    if options.script:
        paths = [path for path in paths if path.stem in options.script]
    with (options.json or Path(os.devnull)).open("w", encoding="utf-8") as lines:

        def tell(one: Judged) -> None:
            print(json.dumps(as_json(one)), file=lines, flush=True)

        judged, loud = judge_all(chosen(paths, options.operator), options.jobs, tell)
    print(table(judged), survivors(judged), sep="\n\n")
    for one in loud:
        print(f"original {one.script}: {one.found or 'fails'}")
    total, found, here = shares(judged)
    print(f"\n{total} mutants count: {found:.1%} found, {here:.1%} at the mutated line")
    print(f"{noted(judged)} of them by notes alone; {len(loud)} of {len(paths)} originals have any")
    if options.script or options.operator:
        return bool(loud)
    return bool(loud) or total < BOUNDS[0] or found < BOUNDS[1] or here < BOUNDS[2]


def as_json(judged: Judged) -> dict[str, Any]:
    mutant = judged.mutant
    return {
        "script": judged.script,
        "operator": mutant.kind,
        "outcome": judged.outcome,
        "site": mutant.site,
        "lines": sorted(mutant.lines),
        "edit": mutant.edit,
        "found": [[f.command, f.code, f.severity, f.line, f.message] for f in judged.found],
    }


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
