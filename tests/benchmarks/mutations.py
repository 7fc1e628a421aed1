"""Breaks real training programs in one place each, and counts what lint finds, on the line.

    python -m tests.benchmarks.mutations [--corpus FOLDER] [--count 200] [--seed 0] [--json FILE]

FOLDER is that of ``tests.benchmarks.corpus``; without it, fixtures/ alone is broken. Each mutant
lies in a copy of its project, so that lint sees the files around it. `--json` writes every mutant
with what was said of it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from tests.benchmarks.corpus import python_files
from tests.properties.mutants import Mutant, mutants_of

ROOT = Path(__file__).parents[2]
# Files that train are all read; of a project's others, a sample of this size.
OTHER_FILES: Final = 12
TRAINS: Final = (b".backward(", b"zero_grad")
OTHERS: Final = (b"ModuleList", b"functional", b"kl_div", b"requires_grad", b"state_dict")
OUTCOMES: Final = ("found", "elsewhere", "other code", "missed", "already", "failed")
SECONDS: Final = 120


@final
@dataclass(frozen=True, slots=True)
class Case:
    """A mutant of one file of a project."""

    project: Path
    file: Path
    mutant: Mutant


@final
@dataclass(frozen=True, slots=True)
class Answer:
    """What lint said of the mutant; `new` are the findings that the original does not have."""

    case: Case
    outcome: str
    new: tuple[tuple[str, str, int, str], ...]


def projects(corpus: Path | None) -> list[Path]:
    """Return the folders that are broken, each of them a project of its own."""
    scripts = sorted((ROOT / "fixtures" / "scripts").iterdir())
    own = [*(one for one in scripts if one.is_dir()), ROOT / "fixtures" / "healthy"]
    library = sorted((corpus / "lib").iterdir()) if corpus else []
    return own + [one for one in library if one.is_dir() and one.name != "torch-installed"]


def candidates(project: Path, chance: random.Random) -> Iterator[Case]:
    """Yield every mutant of a project's files, in a fixed order."""
    trained, others = [], []
    for path in python_files(project):
        source = path.read_bytes()
        if b"torch" not in source or b"\r" in source:
            continue
        if any(word in source for word in TRAINS):
            trained.append(path)
        elif any(word in source for word in OTHERS):
            others.append(path)
    for path in trained + chance.sample(others, min(len(others), OTHER_FILES)):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for mutant in mutants_of(text):
            yield Case(project, path.relative_to(project), mutant)


def choose(cases: list[Case], count: int, chance: random.Random) -> list[Case]:
    """Choose kinds in turn; within a kind, files that are not chosen yet and projects in turn."""
    queues: dict[str, list[Case]] = {}
    for kind in sorted({case.mutant.kind for case in cases}):
        own = [case for case in cases if case.mutant.kind == kind]
        chance.shuffle(own)
        seen: Counter[object] = Counter()
        ranked = []
        for case in own:
            key = (case.project, case.file)
            ranked.append((seen[key], seen[case.project], len(ranked), case))
            seen.update([key, case.project])
        queues[kind] = [case for *_, case in sorted(ranked, key=lambda one: one[:3])]
    chosen: list[Case] = []
    while len(chosen) < count and any(queues.values()):
        for queue in queues.values():
            if queue and len(chosen) < count:
                chosen.append(queue.pop(0))
    return sorted(chosen, key=lambda one: (one.project.name, str(one.file), one.mutant.kind))


class Judge:
    """Lints originals and mutants in a copy of their project."""

    def __init__(self, project: Path, folder: Path, command: list[str]) -> None:
        self.copy = folder / project.name
        self.command = command
        self.originals: dict[Path, list[tuple[str, str, int, str]] | None] = {}
        for path in python_files(project):
            target = self.copy / path.relative_to(project)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)

    def findings(self, file: Path) -> list[tuple[str, str, int, str]] | None:
        """Return (code, file, line, message) of each finding; None where lint failed."""
        command = [*self.command, str(file), "--output-format", "json", "--no-cache"]
        try:
            done = subprocess.run(
                command, cwd=self.copy, capture_output=True, text=True, timeout=SECONDS, check=False
            )
            found = json.loads(done.stdout)["findings"]
        except (subprocess.TimeoutExpired, ValueError, KeyError):
            return None
        return [(one["code"], one["file"], one["line"], one["message"]) for one in found]

    def answer(self, case: Case) -> Answer:
        target = self.copy / case.file
        if case.file not in self.originals:
            self.originals[case.file] = self.findings(case.file)
        before = self.originals[case.file]
        original = target.read_bytes()
        target.write_text(case.mutant.text, encoding="utf-8")
        after = self.findings(case.file)
        target.write_bytes(original)
        return verdict(case, before, after)


def verdict(case: Case, before: Any, after: Any) -> Answer:
    """Compare by code, file and message; lines move, and an old finding is known without them."""
    if before is None or after is None:
        return Answer(case, "failed", ())
    known = Counter((code, file, message) for code, file, _, message in before)
    new = []
    for code, file, line, message in after:
        if known[code, file, message] > 0:
            known[code, file, message] -= 1
        else:
            new.append((code, file, line, message))
    mutant = case.mutant
    right = [one for one in new if one[0] in mutant.codes]
    here = [one for one in new if one[1].endswith(case.file.name) and one[2] in mutant.lines]
    if any(one in here for one in right):
        outcome = "found"
    elif right:
        outcome = "elsewhere"
    elif here:
        outcome = "other code"
    else:
        outcome = "already" if any(one[0] in mutant.codes for one in before) else "missed"
    return Answer(case, outcome, tuple(new))


def judge_project(project: Path, cases: list[Case], command: list[str]) -> list[Answer]:
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(project, Path(folder), command)
        return [judge.answer(case) for case in cases]


def judge_all(cases: list[Case], command: list[str], jobs: int) -> list[Answer]:
    """Lint every mutant, and every original once."""
    grouped: dict[Path, list[Case]] = defaultdict(list)
    for case in cases:
        grouped[case.project].append(case)
    with ThreadPoolExecutor(jobs) as pool:
        parts = pool.map(lambda one: judge_project(one[0], one[1], command), grouped.items())
        return [answer for part in parts for answer in part]


def table(answers: list[Answer]) -> str:
    """Return what came of each kind, and the share found on the line."""
    rows = [f"{'kind':28} {'sites':>5}  " + "  ".join(f"{one:>10}" for one in OUTCOMES)]
    for kind in [*sorted({one.case.mutant.kind for one in answers}), "all"]:
        own = [one for one in answers if kind in (one.case.mutant.kind, "all")]
        counts = Counter(one.outcome for one in own)
        figures = "  ".join(f"{counts[one]:10}" for one in OUTCOMES)
        rows.append(f"{kind:28} {len(own):5}  {figures}")
    found = sum(one.outcome == "found" for one in answers)
    rows.append(f"found on the line: {found} of {len(answers)} ({found / len(answers):.1%})")
    return "\n".join(rows)


def as_json(answer: Answer) -> dict[str, Any]:
    mutant = answer.case.mutant
    return {
        "project": answer.case.project.name,
        "file": str(answer.case.file),
        "kind": mutant.kind,
        "outcome": answer.outcome,
        "expected": sorted(mutant.codes),
        "lines": sorted(mutant.lines),
        "site": mutant.site,
        "edit": mutant.edit,
        "new": [list(one) for one in answer.new],
    }


def chosen_cases(options: argparse.Namespace) -> list[Case]:
    chance = random.Random(options.seed)
    found = [case for project in projects(options.corpus) for case in candidates(project, chance)]
    if options.kind:
        found = [case for case in found if case.mutant.kind in options.kind]
    return choose(found, options.count, chance)


def write_mutants(cases: list[Case], folder: Path) -> None:
    """Write each mutant as a file of its own, to be read."""
    for number, case in enumerate(cases):
        name = f"{number:03}_{case.mutant.kind}_{case.project.name}_{case.file.name}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(case.mutant.text, encoding="utf-8")


def main() -> int:
    """Break, lint, print; exit status 1 where less than 80 % is found on the line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--corpus", type=Path, help="folder of tests.benchmarks.corpus")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--kind", action="append", help="only mutants of this kind")
    parser.add_argument("--json", type=Path, help="write every mutant and its answer here")
    parser.add_argument("--mutants", type=Path, help="write the mutants here, and lint nothing")
    options = parser.parse_args()
    cases = chosen_cases(options)
    if options.mutants:
        write_mutants(cases, options.mutants)
        return 0
    answers = judge_all(cases, [sys.executable, "-m", "tcstatic", "lint"], options.jobs)
    if options.json:
        options.json.write_text(json.dumps([as_json(one) for one in answers], indent=1) + "\n")
    print(table(answers))
    return sum(one.outcome == "found" for one in answers) < 0.8 * len(answers)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
