"""Thousands of generated programs and damaged real files through lint: no crash, no hang.

    python -m tests.benchmarks.fuzzing [--count 20000] [--seed 0] [--corpus FOLDER] [--keep FOLDER]

A tenth comes from hypothesmith, a tenth from unusual spelling, three tenths are made of what
training is made of, and one half are files of the corpus (fixtures/ without one), damaged.
"""

from __future__ import annotations

import argparse
import random
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesmith
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.benchmarks.corpus import python_files
from tests.properties.damage import damage
from tests.properties.linting import LIMIT, Outcome, lint_text
from tests.properties.programs import PROGRAMS
from tests.properties.training_programs import training_program

FIXTURES = Path(__file__).parents[2] / "fixtures"
IMPORT = b"import torch\n"


def files(corpus: Path | None, chance: random.Random) -> list[Path]:
    """Return files that train and a few others, shuffled."""
    found = python_files(corpus / "lib" if corpus else FIXTURES)
    trains = [path for path in found if b"backward(" in path.read_bytes()]
    others = chance.sample(found, min(len(found), len(trains) // 2))
    return chance.sample(trains, len(trains)) + others


def damaged(corpus: Path | None, count: int, chance: random.Random) -> Iterator[bytes]:
    """Yield damaged files, each file again and again with other damage."""
    found = files(corpus, chance)
    for number in range(count):
        yield damage(found[number % len(found)].read_bytes(), chance.randrange(2**32))


def trained(count: int, chance: random.Random) -> Iterator[bytes]:
    for _ in range(count):
        yield training_program(chance.randrange(2**32)).encode()


def drawn(strategy: st.SearchStrategy[str], count: int, number: int) -> list[bytes]:
    """Return examples of a strategy; hypothesis leaves out what it has drawn before."""
    texts: list[bytes] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(text: str) -> None:
        texts.append(IMPORT + text.encode("utf-8", "replace"))

    collect()
    return texts


def run(
    name: str, texts: Iterator[bytes], keep: Callable[[str, bytes, Outcome], None]
) -> Counter[str]:
    """Lint each text; print and return what came of them."""
    counts: Counter[str] = Counter()
    slowest = 0.0
    for text in texts:
        outcome = lint_text(text)
        counts[outcome.status] += 1
        slowest = max(slowest, outcome.seconds)
        if outcome.bad:
            keep(name, text, outcome)
    shown = ", ".join(f"{status} {number}" for status, number in sorted(counts.items()))
    print(f"{name}: {sum(counts.values())} programs: {shown}; slowest {slowest:.2f} s", flush=True)
    return counts


class Keeper:
    """Prints a failure of each cause once, and keeps its program."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.seen: Counter[str] = Counter()

    def __call__(self, name: str, text: bytes, outcome: Outcome) -> None:
        cause = outcome.detail or outcome.status
        self.seen[cause] += 1
        if self.seen[cause] == 1:
            print(f"  {outcome.status} after {outcome.seconds:.2f} s: {cause}", flush=True)
        if self.folder and self.seen[cause] <= 3:
            self.folder.mkdir(parents=True, exist_ok=True)
            number = sum(self.seen.values())
            (self.folder / f"{outcome.status}_{number:04}_{name}.py").write_bytes(text)


def main() -> int:
    """Run all of it; exit status 1 where something crashed or took longer than the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", type=Path, help="folder of tests.benchmarks.corpus")
    parser.add_argument("--keep", type=Path, help="keep programs that fail in this folder")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    chance, tenth, keeper = random.Random(options.seed), options.count // 10, Keeper(options.keep)
    grammar = drawn(hypothesmith.from_grammar(), tenth // 2, options.seed)
    grammar += drawn(hypothesmith.from_node(), tenth // 2, options.seed)
    total = run("training", trained(3 * tenth, chance), keeper)
    total += run("damaged", damaged(options.corpus, 5 * tenth, chance), keeper)
    total += run("spelling", iter(drawn(PROGRAMS, tenth, options.seed)), keeper)
    total += run("hypothesmith", iter(grammar), keeper)
    bad = sum(total[one] for one in ("crash", "hang", "slow"))
    print(f"{sum(total.values())} programs, {bad} of them crash, hang or take over {LIMIT} s")
    for cause, number in keeper.seen.most_common():
        print(f"  {number} times: {cause}")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
