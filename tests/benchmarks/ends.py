"""Ranks that end early, skip steps or are killed: every run ends by itself, and says so.

    python -m tests.benchmarks.ends [--runs N] [--seed N]

Each run draws how two ranks train together, what one of them does, and in which step. A run hangs
if a rank has to be killed after SECONDS. Whoever nothing happens to ends as it does under `python`;
no probe is switched off; and where a rank could not say its last word, the report says that.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.golden.running import TCSTATIC, Ended, runs

SCRIPT: Final = Path(__file__).parent / "workloads" / "ranks" / "ends.py"
STYLES: Final = ("ddp", "no_sync", "by_hand")
ENDS: Final = "kill term raise leave vanish break skip skip_all evaluate more late none".split()
HEALTHY: Final = frozenset({"skip_all", "evaluate", "late", "none"})
SILENT: Final = frozenset({"kill", "vanish"})
SECONDS: Final = 90
LAST: Final = 9


def drawn(seed: int) -> tuple[str, str, str, str]:
    """How the ranks of a seed train, what happens, to which rank, in which step."""
    chooser = random.Random(seed)
    what, style = ENDS[seed % len(ENDS)], chooser.choice(STYLES)
    return style, what, str(chooser.randrange(2)), str(chooser.randint(0, LAST))


def wrong(words: tuple[str, str, str, str], folder: Path) -> list[str]:
    """What is wrong with a watched run, against the same under `python`."""
    _, what, who, _ = words
    report = folder / "report.json"
    bare = runs().fork(str(SCRIPT), *words, cwd=folder, ranks=2, seconds=SECONDS)
    options = ("run", "--overhead-budget", "100%", "--report", str(report))
    watched = runs().fork(
        *TCSTATIC, *options, str(SCRIPT), *words, cwd=folder, ranks=2, seconds=SECONDS
    )
    found = []
    if watched.status != bare.status:
        found.append(f"status {watched.status}, under python {bare.status}")
    if watched.stdout != bare.stdout:
        found.append(f"printed {watched.stdout}, under python {bare.stdout}")
    if not report.exists():
        return [*found, "no report"]
    said: Any = json.loads(report.read_text(encoding="utf-8"))
    if said["probes"]["disabled"]:
        found.append(f"switched off: {said['probes']['disabled']}")
    if what in SILENT and not any(f"rank {who} " in line for line in said["incomplete"]):
        found.append(f"nothing is said of rank {who}: {said['incomplete']}")
    if what in HEALTHY and said["findings"]:
        found.append(f"findings: {[one['code'] for one in said['findings']]}")
    return found + hanging(watched, bare)


def hanging(watched: Ended, bare: Ended) -> list[str]:
    """Whether a rank was killed that nobody killed under `python`."""
    pairs = zip(watched.status, bare.status, strict=True)
    return ["hangs" for mine, theirs in pairs if mine == -9 and theirs != -9]


def main(arguments: Sequence[str] = ()) -> None:
    """Print what is wrong, and how many runs of each kind went well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    good: Counter[str] = Counter()
    every: Counter[str] = Counter()
    for seed in range(options.seed, options.seed + options.runs):
        words = drawn(seed)
        with tempfile.TemporaryDirectory() as folder:
            problems = wrong(words, Path(folder))
        every[words[1]] += 1
        good[words[1]] += not problems
        if problems:
            print(f"{seed} {' '.join(words)}: {'; '.join(problems)}", flush=True)
    for what, count in every.items():
        print(f"{what:10}{good[what]:5} of {count}")
    print(f"all       {good.total():5} of {every.total()}")


if __name__ == "__main__":
    main(sys.argv[1:])
