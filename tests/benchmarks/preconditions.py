"""``python -m tests.benchmarks.preconditions``: are preconditions found again, and how fast.

With ``--traces`` contexts are those of recorded scripts. Else they are made as traces have them: a
stage that decides much, flags that follow others but for some noise, a step and a rank, names, an
id that is new in each, a copy of another field. A true precondition of one, two or three
conjunctions of 1-3 literals labels them; then once more with 1 % of the failures made accidental
successes. What is learnt must be equivalent to the truth: proved by Z3 over the values that the
fields have; or, counted apart, the same in each of the contexts, where these leave it open and the
answer says so: it names what could stand instead, or its general and its specific end differ. CPU
time is that of `learn`, in one process. Seeded.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tcstatic.infer.smt import Example, equivalent, learn
from tcstatic.invariants.conditions import (
    And,
    Compare,
    Condition,
    Or,
    compile_condition,
    parse,
    to_text,
)
from tcstatic.model import Scalar
from tcstatic.trace import open_trace

REPO = Path(__file__).resolve().parents[2]

CASES = {1: 100, 2: 80, 3: 20}
SIZES = ((60, 10_000), (60, 10_000), (40, 3_000), (20, 1_000))
"""Atoms and contexts, by turns: half of the cases have the largest size."""
LEAST_RIGHT, MOST_MEDIAN, MOST_WORST = 0.95, 50.0, 2_000.0
ACCIDENTAL = 0.01
SCRIPTS = ("digits_cnn/train.py", "gan/train.py", "finetune_frozen/train.py")
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


def recorded(scripts: Sequence[Path], folder: Path) -> list[Fields]:
    """The contexts of the events of some scripts, with what the events say of themselves."""
    found: list[Fields] = []
    for number, script in enumerate(scripts):
        trace = folder / str(number)
        command = [sys.executable, "-m", "tcstatic", "run", "--quiet", "--trace", str(trace)]
        subprocess.run([*command, str(script)], check=True, capture_output=True, cwd=REPO)
        for event in open_trace(trace).events():
            values = {
                name: value
                for name, value in event.values.items()
                if isinstance(value, bool | int | float | str | None)
            }
            found.append({**values, **event.context.fields, "kind": event.kind})
    return found


def parts_of(every: Sequence[Fields], rng: random.Random) -> list[Fields]:
    """Different contexts of 25 of the fields, of which a third is often there."""
    counts = Counter(name for fields in every for name in fields)
    common = sorted(name for name, count in counts.items() if count > len(every) / 4)
    rare = sorted(name for name, count in counts.items() if len(every) / 50 < count)
    names = {*rng.sample(common, min(8, len(common))), *rng.sample(rare, min(25, len(rare)))}
    kept = [{name: fields[name] for name in sorted(names) if name in fields} for fields in every]
    return list({repr(one): one for one in kept}.values())


def literal(name: str, contexts: Sequence[Fields], rng: random.Random) -> Condition:
    """A literal about the field."""
    one = rng.choice(contexts)
    if name not in one:
        return parse(f"{rng.choice(('', 'not '))}has({name})")
    value = one[name]
    if isinstance(value, bool):
        return parse(name if value else f"not {name}")
    others = {fields[name] for fields in contexts if name in fields} - {value}
    if isinstance(value, int | float) and len(others) > 4:
        return parse(f"{name} {rng.choice(('<=', '>'))} {value!r}")
    if isinstance(value, str) and len(others) > 1 and rng.random() < 0.3:
        return parse(
            f"{name} in {tuple(sorted((value, str(rng.choice(sorted(others, key=repr))))))}"
        )
    return parse(f"{name} {rng.choice(('==', '==', '!='))} {value!r}")


def truth_of(terms: int, contexts: Sequence[Fields], rng: random.Random) -> Condition:
    """A true precondition that neither holds nearly everywhere nor nearly nowhere, no part of which
    is superfluous."""
    sample = contexts if len(contexts) < 1000 else rng.sample(contexts, 1000)
    names = sorted({name for fields in sample for name in fields} - {"id", "mode"})
    while True:
        parts = []
        for _ in range(terms):
            chosen = rng.sample(names, rng.randint(1, 3))
            literals = tuple(literal(name, sample, rng) for name in chosen)
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
            for fewer in _fewer(part[out]):
                kept = _held((*part[:out], fewer, *part[out + 1 :]), sample)
                if len(held[place] - others - kept) < 0.02 * len(sample):
                    return False
    return True


def _fewer(one: Condition) -> list[Condition]:
    """Return a literal `in` without one of its values, in turn: each counts as a term does."""
    if not isinstance(one, Compare) or not isinstance(one.right, tuple):
        return []
    values = one.right
    return [replace(one, right=values[:out] + values[out + 1 :]) for out in range(len(values))]


def _held(part: Sequence[Condition], sample: Sequence[Fields]) -> set[int]:
    judges = [compile_condition(one) for one in part]
    return {
        index
        for index, fields in enumerate(sample)
        if all(judge(fields) is True for judge in judges)
    }


def run(terms: int, number: int, accidental: float, traced: Sequence[Fields]) -> Outcome:
    """One case; on the contexts of traces if there are any."""
    rng = random.Random(f"{terms} {number}")
    contexts = parts_of(traced, rng) if traced else world(*SIZES[number % len(SIZES)], rng)
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
        open_ended = not equivalent(learned.general, learned.specific, examples)
        said = open_ended or "these examples allow" in learned.reason
        verdict = "same here" if said else "not said"
    return Outcome(verdict, spent, to_text(truth), to_text(learned.general))


def measure(
    terms: int, cases: int, accidental: float, traced: Sequence[Fields], *, show: bool
) -> None:
    """Print one line of the table."""
    outcomes = [run(terms, number, accidental, traced) for number in range(cases)]
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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, help="at most so many cases of a class")
    parser.add_argument("--show", action="store_true", help="show the cases that went wrong")
    parser.add_argument("--traces", action="store_true", help="only contexts of recorded scripts")
    options = parser.parse_args()
    print(
        f"bounds: right >= {LEAST_RIGHT:.0%}, median <= {MOST_MEDIAN:.0f} ms, "
        f"worst <= {MOST_WORST:.0f} ms CPU"
    )
    traced: list[Fields] = []
    if options.traces:
        with tempfile.TemporaryDirectory() as folder:
            traced = recorded([REPO / "fixtures/scripts" / name for name in SCRIPTS], Path(folder))
        sizes = [len(parts_of(traced, random.Random(number))) for number in range(9)]
        print(
            f"contexts of {len(traced)} events; {min(sizes)} to {max(sizes)} different ones a case"
        )
    else:
        every = world(*SIZES[0], random.Random(0))
        print(f"made up; the largest size: {len(every)} contexts, {len(every[0])} fields")
    print("terms accidental cases proved same_here    right median_ms  worst_ms")
    for terms, cases in CASES.items():
        for accidental in (0.0, ACCIDENTAL):
            number = min(cases, options.cases or cases)
            measure(terms, number, accidental, traced, show=options.show)


if __name__ == "__main__":
    main()
