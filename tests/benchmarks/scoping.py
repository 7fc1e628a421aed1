"""What the source spares a run: probes by name alone against those that are left, and findings.

    python -m tests.benchmarks.scoping [--sample] [--part I/N] [--jobs J]

Plans every fixture both ways and prints the table of sites. Then runs every example of every rule,
every fixture and every variant of the stories both ways, and names each finding that differs;
ends with 1 if one does. `--sample` runs a few of them, `--part 2/4` the second quarter: all parts
together run each program once. Each process waits for its runs, so that `--jobs` are those at work.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from tcstatic.model import Invariant, ProbePlan, RunOptions
from tcstatic.pipeline import Request, load_invariants
from tcstatic.rewrite import compile_plan
from tests.golden.variants import write_variants

FIXTURES: Final = Path(__file__).resolve().parents[2] / "fixtures"
# They start two ranks by themselves, or are to be started so.
RANKED: Final = frozenset(
    "local_sgd expert_parallel tensor_parallel population_training ddp_gloo bloom_176b".split()
)
SAMPLE: Final = ("TCS112", "TCS201", "TCS301", "TCS114", "lora", "gan", "flat_loss-split")


@final
@dataclass(frozen=True, slots=True)
class Program:
    """A script with the files beside it."""

    name: str
    script: Path
    ranks: int = 1


@final
@dataclass(frozen=True, slots=True)
class Part:
    """The `number`-th of so many parts, from 1."""

    number: int = 1
    of: int = 1

    @staticmethod
    def of_text(text: str) -> Part:
        """Read ``I/N``; raise ValueError where it is none."""
        number, of = (int(one) for one in text.split("/"))
        if not 1 <= number <= of:
            raise ValueError(text)
        return Part(number, of)


def fixtures() -> list[Path]:
    """The scripts of all fixtures that train."""
    patterns = ("scripts/*/train.py", "healthy/*.py", "stories/*/*.py")
    return [path for pattern in patterns for path in sorted(FIXTURES.glob(pattern))]


def plans(*, scoped: bool) -> Iterator[ProbePlan]:
    """Plan every fixture."""
    invariants = load_invariants(Request("", ""))
    for script in fixtures():
        yield compile_plan(script, script.parent, invariants, RunOptions(), scoped=scoped)


def count() -> tuple[int, int]:
    """Print the sites by kind; return how many there are by name alone, and scoped."""
    tallies: list[Counter[tuple[str, str]]] = []
    reasons: Counter[str] = Counter()
    for scoped in (False, True):
        start, tally = time.perf_counter(), Counter[tuple[str, str]]()
        for plan in plans(scoped=scoped):
            tally.update((site.probe, site.kind) for site in plan.sites)
            reasons.update(one.reason for one in plan.unprobed)
        seconds = time.perf_counter() - start
        tallies.append(tally)
        print(f"{'scoped' if scoped else 'by name'}: {seconds / len(fixtures()):.3f} s a plan")
    before, after = tallies
    for key, number in before.most_common():
        print(f"{number:6} {after[key]:6}  {' '.join(key)}")
    print(f"{before.total():6} {after.total():6}  in all: {after.total() / before.total():.1%}")
    for reason, number in reasons.most_common():
        print(f"{number:6}         {reason}")
    return before.total(), after.total()


def programs(folder: Path, invariants: Sequence[Invariant]) -> Iterator[Program]:
    """Every example, fixture and variant, each in a folder of its own."""
    for rule in invariants:
        for number, example in enumerate(rule.examples if "run" in rule.feeds else ()):
            name = f"{rule.code}-{number}-{example.kind}"
            path = folder / name / "train.py"
            path.parent.mkdir()
            path.write_text(example.text, encoding="utf-8")
            yield Program(name, path, example.ranks)
    for script in fixtures():
        if script.parent.parent.name == "stories":
            continue
        whole = script.name == "train.py"
        name = script.parent.name if whole else script.stem
        if whole:
            shutil.copytree(script.parent, folder / name)
        else:
            (folder / name).mkdir()
            shutil.copy(script, folder / name)
        yield Program(name, folder / name / script.name, 2 if name in RANKED else 1)
    for story in sorted((FIXTURES / "stories").iterdir()):
        for path in write_variants(story, folder / story.name, seed=0):
            name = f"{story.name}-{path.parents[1].name}-{path.parent.name}"
            yield Program(name, path, 2 if story.name in RANKED else 1)


def found(program: Program, invariants: Sequence[Invariant], *, scoped: bool) -> Any:
    """What a run of a program finds, and how many invariants were checked and held."""
    from tests.rules import serving

    serving.compile_plan = functools.partial(compile_plan, scoped=scoped)
    folder = program.script.parent
    (folder / "report.json").unlink(missing_ok=True)
    request = {
        "folder": str(folder),
        "script": program.script.name,
        "ranks": program.ranks,
        "ignore": (),
    }
    report = serving._answer(request, invariants)["report"]
    if report is None:
        return "no report"
    names = ("severity", "code", "file", "line", "step")
    findings = sorted([one[name] for name in names] for one in report["findings"])
    return findings, report["incomplete"], report["probes"]["disabled"]


def both(program: Program) -> tuple[Program, Any, Any]:
    """What a program finds by name alone, and scoped."""
    import torch

    torch.set_num_threads(1)
    invariants = load_invariants(Request("", ""))
    before, after = (found(program, invariants, scoped=one) for one in (False, True))
    return program, before, after


def compare(*, sample: bool, part: Part, jobs: int) -> int:
    """Run all of a part both ways; return how many differ."""
    folder = Path(tempfile.mkdtemp())  # a TemporaryDirectory would be removed by each fork's end
    every = sorted(
        programs(folder, load_invariants(Request("", ""))),
        key=lambda one: (one.ranks, one.script.stat().st_size, one.name),
    )
    if sample:
        every = [one for one in every if one.name.startswith(SAMPLE)]
    chosen = every[part.number - 1 :: part.of]
    compared = differing = findings = 0
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        for program, before, after in pool.imap_unordered(both, chosen):
            compared += 1
            findings += len(before[0])
            if before != after:
                differing += 1
                print(f"{program.name}: by name {before}; scoped {after}", flush=True)
    shutil.rmtree(folder)
    print(
        f"part {part.number} of {part.of}: {compared} of {len(every)} programs compared, "
        f"{findings} findings by name; {differing} programs differ"
    )
    return differing


def main() -> None:
    """Print the table, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", action="store_true", help="compare a few programs only")
    parser.add_argument("--part", type=Part.of_text, default=Part(), metavar="I/N")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    before, after = count()
    differing = compare(sample=given.sample, part=given.part, jobs=given.jobs)
    sys.exit(1 if differing or 2 * after > before else 0)


if __name__ == "__main__":
    main()
