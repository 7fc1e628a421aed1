"""``python -m tests.benchmarks.preconditions``: are preconditions found again, and how fast.

Contexts are made as traces have them: a stage that decides much, flags that follow others but for
some noise, a step and a rank, names, an id that is new in each, a copy of another field. A true
precondition of one, two or three conjunctions of 1-3 literals labels them; then once more with 1 %
of the failures made accidental successes. What is learnt must be equivalent to the truth: proved by
Z3 over the values that the fields have; or the same in each of the contexts, where these are not
enough to tell, and the answer says that it could be another one (counted apart). CPU time is that
of `learn`, in one process. Seeded.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tcstatic.infer.smt import Example, equivalent, learn
from tcstatic.infer.smt.columns import columns
from tcstatic.invariants.conditions import And, Condition, Or, compile_condition, parse, to_text
from tcstatic.model import Scalar

CASES = {1: 100, 2: 80, 3: 20}
SIZES = ((60, 10_000), (60, 10_000), (40, 3_000), (20, 1_000))
"""Atoms and contexts, by turns: half of the cases have the largest size."""
LEAST_RIGHT, MOST_MEDIAN, MOST_WORST = 0.95, 50.0, 2_000.0
ACCIDENTAL = 0.01
Fields = dict[str, Scalar]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case: how the answer compares with the truth, CPU milliseconds, and both as text."""

    verdict: str
    milliseconds: float
    truth: str
    learned: str


def makers(atoms: int, rng: random.Random) -> list[tuple[str, Callable[[Fields], Scalar]]]:
    """The fields of a world with about so many atoms; each is made from those before it."""
    fields: list[tuple[str, Callable[[Fields], Scalar]]] = [
        ("stage", lambda _: rng.choice(("train", "train", "train", "eval", "test"))),
        ("step", lambda _: rng.randrange(50)),
        ("rank", lambda _: rng.randrange(4)),
        ("dtype", lambda _: rng.choice(("float32", "float32", "bfloat16", "float16"))),
        ("optimizer", lambda _: rng.choice(("SGD", "Adam", "AdamW", "LBFGS", "Adagrad"))),
        ("id", lambda made: rng.getrandbits(40)),
        ("mode", lambda made: made["stage"]),
        ("training", lambda made: made["stage"] == "train" or rng.random() < 0.1),
    ]
    # step, rank, dtype, optimizer and stage give 24 atoms between them; each flag gives one.
    flags = max(0, atoms - 25) if atoms > 25 else 6
    if atoms < 25:
        fields = [one for one in fields if one[0] not in ("optimizer", "rank")]
    for number in range(flags):
        name = f"same(f{number:02})" if number % 5 == 0 else f"flag{number:02}"
        earlier = [one for one, _ in fields if one.startswith(("flag", "same", "training"))]
        fields.append((name, follower(rng.choice(earlier), number, rng)))
    return fields


def follower(other: str, number: int, rng: random.Random) -> Callable[[Fields], Scalar]:
    """A flag of its own (of each 4 the first 2), or a noisy copy of another one."""
    if number % 4 < 2:
        bias = rng.choice((0.2, 0.5, 0.5, 0.8))
        return lambda _: rng.random() < bias
    noise = rng.choice((0.05, 0.25))
    return lambda made: bool(made[other]) != (rng.random() < noise)


def world(atoms: int, contexts: int, rng: random.Random) -> list[Fields]:
    """Contexts, no two of them equal."""
    fields = makers(atoms, rng)
    made: list[Fields] = []
    for _ in range(contexts):
        one: Fields = {}
        for name, make in fields:
            one[name] = make(one)
        made.append(one)
    return made


def literal(name: str, contexts: Sequence[Fields], rng: random.Random) -> Condition:
    """A literal about the field."""
    value = rng.choice(contexts)[name]
    if isinstance(value, bool):
        return parse(name if value else f"not {name}")
    if name == "step":
        return parse(f"step {rng.choice(('<=', '>'))} {rng.randrange(5, 45)}")
    if name in ("optimizer", "dtype") and rng.random() < 0.4:
        others = sorted({str(one[name]) for one in contexts} - {str(value)})
        return parse(f"{name} in {tuple(sorted((str(value), rng.choice(others))))}")
    return parse(f"{name} {rng.choice(('==', '==', '!='))} {value!r}")


def truth_of(terms: int, contexts: Sequence[Fields], rng: random.Random) -> Condition:
    """A true precondition that neither holds nearly everywhere nor nearly nowhere, no part of which
    is superfluous."""
    names = sorted(set(contexts[0]) - {"id", "mode"})
    sample = contexts[:1000]
    while True:
        parts = []
        for _ in range(terms):
            chosen = rng.sample(names, rng.randint(1, 3))
            literals = tuple(literal(name, contexts, rng) for name in chosen)
            parts.append(literals)
        if _is_fair(parts, sample):
            items = tuple(one[0] if len(one) == 1 else And(one) for one in parts)
            return items[0] if terms == 1 else Or(items)


def _is_fair(parts: Sequence[tuple[Condition, ...]], sample: Sequence[Fields]) -> bool:
    held = [_held(part, sample) for part in parts]
    every = set().union(*held)
    if not 0.03 * len(sample) <= len(every) <= 0.95 * len(sample):
        return False
    for place, part in enumerate(parts):
        others = set().union(*(one for number, one in enumerate(held) if number != place))
        if len(held[place] - others) < 0.02 * len(sample):
            return False
        for out in range(len(part)):
            wider = _held(part[:out] + part[out + 1 :], sample) - every
            if len(wider) < 0.01 * len(sample):
                return False
    return True


def _held(part: Sequence[Condition], sample: Sequence[Fields]) -> set[int]:
    judges = [compile_condition(one) for one in part]
    return {
        index
        for index, fields in enumerate(sample)
        if all(judge(fields) is True for judge in judges)
    }


def run(terms: int, number: int, accidental: float) -> Outcome:
    """One case."""
    rng = random.Random(f"{terms} {number}")
    contexts = world(*SIZES[number % len(SIZES)], rng)
    truth = truth_of(terms, contexts, rng)
    judge = compile_condition(truth)
    examples = [
        Example(fields, judge(fields) is True or rng.random() < accidental) for fields in contexts
    ]
    start = time.process_time()
    learned = learn(examples, accidental=accidental)
    spent = (time.process_time() - start) * 1000
    assert learned.general is not None
    found = compile_condition(learned.general)
    verdict = "wrong"
    if equivalent(learned.general, truth, examples):
        verdict = "proved"
    elif all((found(fields) is True) == (judge(fields) is True) for fields in contexts):
        verdict = "same here" if "these examples allow" in learned.reason else "not said"
    return Outcome(verdict, spent, to_text(truth), to_text(learned.general))


def measure(terms: int, cases: int, accidental: float, *, show: bool) -> bool:
    """Print one line of the table, and return whether it keeps the bounds."""
    outcomes = [run(terms, number, accidental) for number in range(cases)]
    times = [one.milliseconds for one in outcomes]
    verdicts = [one.verdict for one in outcomes]
    proved, same = verdicts.count("proved"), verdicts.count("same here")
    right, median, worst = (proved + same) / cases, statistics.median(times), max(times)
    kept = right >= LEAST_RIGHT and median <= MOST_MEDIAN and worst <= MOST_WORST
    print(
        f"{terms:>5} {accidental:>10.0%} {cases:>5} {proved:>6} {same:>9} {right:>8.1%} "
        f"{median:>9.1f} {worst:>9.1f}  {'kept' if kept else 'MISSED'}",
        flush=True,
    )
    for number, one in enumerate(outcomes):
        if show and (one.verdict in ("wrong", "not said") or one.milliseconds > MOST_WORST / 4):
            print(f"      case {number}: {one.verdict}, {one.milliseconds:.0f} ms")
            print(f"        truth   {one.truth}\n        learned {one.learned}")
    return kept


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, help="at most so many cases of a class")
    parser.add_argument("--show", action="store_true", help="show the cases that went wrong")
    options = parser.parse_args()
    largest = columns([Example(one, True) for one in world(*SIZES[0], random.Random(0))], [])
    print(f"largest size: {SIZES[0][1]} contexts, {len(largest)} fields")
    print(
        f"bounds: right >= {LEAST_RIGHT:.0%}, median <= {MOST_MEDIAN:.0f} ms, "
        f"worst <= {MOST_WORST:.0f} ms CPU"
    )
    print("terms accidental cases proved same_here    right median_ms  worst_ms")
    for terms, cases in CASES.items():
        for accidental in (0.0, ACCIDENTAL):
            measure(terms, min(cases, options.cases or cases), accidental, show=options.show)


if __name__ == "__main__":
    main()
