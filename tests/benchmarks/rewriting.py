"""Rewrites whole installed packages with a probe in every place, and prints what that costs.

    python -m tests.benchmarks.rewriting [PACKAGE ...]

A package need not be installed: ``TCSTATIC_BENCH_PACKAGES`` may name folders, joined as in
``PATH``, that hold unpacked ones. One that is found nowhere is left out, and named. Exit status 1
if a file fails.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tcstatic.errors import InputError
from tcstatic.model import Failed, Rewritten, Skipped
from tcstatic.program.source import decode, read_module
from tcstatic.rewrite import compile_instrumented, every_site, instrument, select_sites

PACKAGES = ("torch", "transformers", "libcst")
UNPACKED = "TCSTATIC_BENCH_PACKAGES"
# Read by pieces: results of one piece are all that is kept of its files.
PIECE = 25


@dataclass
class Figures:
    """What came of some files; times are CPU seconds."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        self.counts += other.counts
        self.seconds += other.seconds
        self.problems += other.problems


def rewrite_one(path: Path, figures: Figures) -> None:
    """Read, rewrite, check and compile one file."""
    source = path.read_bytes()
    counts, seconds = figures.counts, figures.seconds
    started = time.process_time()
    try:
        facts = read_module(path, source, path.stem)
        sites = every_site(facts, 1)
        counts["production sites"] += len(select_sites(facts, 1))
    except InputError:
        counts["no Python of this version"] += 1
        return
    read = time.process_time()
    outcome = instrument(path, source, sites)
    rewritten = time.process_time()
    counts[type(outcome).__name__] += 1
    counts["lines"] += source.count(b"\n")
    seconds["read"] += read - started
    seconds["rewrite"] += rewritten - read
    if isinstance(outcome, Rewritten):
        counts["insertions"] += outcome.insertions
        assert len(decode(outcome.text.encode()).lines) == len(decode(source).lines)
        try:
            compile_instrumented(source, outcome.text, str(path))
        except SyntaxError:
            counts["no Python that compiles"] += 1
        seconds["compile"] += time.process_time() - rewritten
    elif isinstance(outcome, Failed):
        figures.problems.append(f"failed: {path}: {outcome.error}")
    elif isinstance(outcome, Skipped):
        figures.problems.append(f"skipped: {path}: {outcome.reason}")


def rewrite_piece(paths: list[Path]) -> Figures:
    figures = Figures()
    for path in paths:
        rewrite_one(path, figures)
    gc.collect()
    return figures


def files_of(package: str) -> list[Path]:
    named = os.environ.get(UNPACKED, "").split(os.pathsep)
    folders = [path for folder in named if folder and (path := Path(folder, package)).is_dir()]
    if not folders:
        spec = importlib.util.find_spec(package)
        folders = [Path(path) for path in (spec.submodule_search_locations or [])] if spec else []
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def pieces(paths: list[Path]) -> Iterator[list[Path]]:
    for start in range(0, len(paths), PIECE):
        yield paths[start : start + PIECE]


def report(package: str, figures: Figures) -> None:
    counts = figures.counts
    kilolines = counts["lines"] / 1000
    print(
        f"{package}: {counts['Rewritten'] + counts['Unchanged']} files, {kilolines:.0f} kline, "
        f"{counts['insertions']} insertions, {counts['production sites']} sites in a real run; "
        f"{counts['Skipped']} skipped, {counts['Failed']} failed"
    )
    costs = ", ".join(
        f"{name} {1000 * spent / kilolines:.0f}" for name, spent in figures.seconds.items()
    )
    print(f"  CPU ms per kline: {costs}")
    for problem in figures.problems:
        print(f"  {problem}")


def main(packages: Iterable[str] = PACKAGES) -> int:
    """Print the figures of each package; return how many files failed."""
    failed = 0
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for package in packages:
            paths = files_of(package)
            if not paths:
                print(f"{package}: not installed, and in no folder of {UNPACKED}")
                continue
            figures = Figures()
            for part in pool.map(rewrite_piece, pieces(paths)):
                figures.add(part)
            report(package, figures)
            failed += figures.counts["Failed"]
    return failed


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:] or PACKAGES)))
