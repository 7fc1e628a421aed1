"""Examples -> an invariant: its precondition, the contexts in which it was seen, its support.

Both ends of the version space are kept: `when` is the most general formula that excludes every
failure, `seen` the most specific one that the contexts in which it held allow. What fails between
the two was never seen, and is no violation (Mitchell 1982; design.md, Preconditions).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.infer.distinct import Fields
from tcstatic.infer.observing import MIN_SUPPORT, Examples
from tcstatic.infer.smt import Example, Unlearnable, learn
from tcstatic.invariants.conditions import (
    And,
    Compare,
    Condition,
    Constant,
    Field,
    Has,
    Not,
    compile_condition,
    fields_of,
    parse,
)
from tcstatic.invariants.relations.proposing import DESCRIBING
from tcstatic.model import Hypothesis, Scalar

# Less than this share of what holds must be covered: otherwise the precondition says little.
LEAST_COVERED: Final = 0.5
# Where it tells modes apart: what is done in one of them is done in the other too, at times.
LEAST_IN_CONTEXT: Final = 0.1
# What a field may have been for the most specific formula to list it.
MOST_LISTED: Final = 4
CONTEXT: Final = frozenset("stage grad_enabled loss_scaled autocast inference world_size".split())
# Of the values of an event, those that describe its subject whatever happens to it, and what else
# there was in the round: with how many backward passes a step was made at most. Not among them:
# words that only tell programs apart, and what a fault brings about itself, or else nothing that is
# wrong would be in a context that was seen.
_WORDS: Final = frozenset("type loss made_by shapes quantity".split())
_EFFECTS: Final = frozenset(
    "trained_before trained_by_this left_in_train untracked_moves ever_changed replaced "
    "scheduled_too_often stepping cleared_other_optimizer".split()
)
LISTED: Final = CONTEXT | (DESCRIBING - _WORDS - _EFFECTS) | {"backwards", "gradient_nonzero"}
# Told of a call only where it is on, and what types of results depend on.
MODES: Final = ("autocast",)
_ROWS: Final = "_rows"
LEAST_RUNS: Final = 3
_Counted = list[tuple[Fields, int, frozenset[str]]]


@final
@dataclass(frozen=True, slots=True)
class Learned:
    """A hypothesis with its precondition: how often it `held` inside it, in how many `contexts` and
    which runs, and how many failures it excludes; `members` are fields of what is judged one by
    one."""

    hypothesis: Hypothesis
    when: Condition | None
    seen: Condition | None
    held: int
    contexts: int
    excluded: int
    runs: tuple[str, ...]
    members: frozenset[str] = frozenset()


def least_runs(runs: int) -> int:
    """In how many of so many runs an invariant must have held: in one of one, in two of three, in
    three of six. What only one program does may be a habit of that program."""
    return min(1 + runs // 3, LEAST_RUNS)


def learned(examples: Examples, *, support: int = MIN_SUPPORT, without: str = "") -> Learned | None:
    """Return what was learnt of a hypothesis, from all runs but `without`; None if nothing."""
    held = _counted(examples.contexts(held=True), without)
    failed = _counted(examples.contexts(held=False), without)
    needed = examples.hypothesis.runs
    if needed > 2:
        support = min(support, needed)  # each of so many programs has chosen it
    if sum(times for _, times, _ in held) < support:
        return None
    volatile = _volatile(held + failed)
    told = _told(held, failed, volatile, examples.members, support)
    if told is None:
        return None
    when, inside = told
    covered = sum(times for _, times, _ in inside)
    runs = sorted({run for _, _, in_runs in inside for run in in_runs})
    if len(runs) + bool(without) < needed:
        return None
    excluded = sum(times for _, times, _ in failed)
    return Learned(
        examples.hypothesis,
        when,
        seen_in(inside, volatile, examples.hypothesis.params),
        covered,
        len(inside),
        excluded,
        tuple(runs),
        frozenset(examples.members),
    )


def _told(
    held: _Counted, failed: _Counted, volatile: frozenset[str], members: set[str], support: int
) -> tuple[Condition | None, _Counted] | None:
    """The precondition, and what holds inside it; None where there is none that covers enough. If
    all that can be asked says too little, the context alone may: it tells modes apart."""
    if not failed:
        return None, held
    every = frozenset(name for fields, _, _ in held + failed for name in fields)
    total = sum(times for _, times, _ in held)
    for ignored, share in ((volatile, LEAST_COVERED), (every - CONTEXT, LEAST_IN_CONTEXT)):
        try:
            when = learn(_given(held, failed, ignored)).general
        except Unlearnable:
            continue
        if when is None or (members and not _splits(when, members)):
            continue
        meets = _judge(when)
        inside = [one for one in held if meets(one[0])]
        if sum(times for _, times, _ in inside) >= max(support, share * total):
            return when, inside
    return None


def reason(examples: Examples) -> str:
    """What the solver says of the precondition: whether it is the simplest, and what else these
    examples allow. Raises Unlearnable where there is none."""
    held, failed = (_counted(examples.contexts(held=one), "") for one in (True, False))
    return learn(_given(held, failed, _volatile(held + failed))).reason


def _given(held: _Counted, failed: _Counted, volatile: frozenset[str]) -> list[Example]:
    return [
        Example(_asked(fields, volatile), positive, times, runs)
        for positive, many in ((True, held), (False, failed))
        for fields, times, runs in many
    ]


def _splits(when: Condition, members: set[str]) -> bool:
    """Whether each part of a precondition is about the event, or about the members judged."""
    parts = when.items if isinstance(when, And) else (when,)
    return all(fields_of(part) <= members or not fields_of(part) & members for part in parts)


def violations(one: Learned, examples: Examples, run: str) -> int:
    """How often what was learnt is violated in a run: it fails where it applies, and in a context
    like those in which it was seen."""
    applies, seen = _judge(one.when), _judge(one.seen)
    return sum(
        counts[run]
        for fields, counts in examples.contexts(held=False)
        if run in counts and applies(fields) and seen(fields)
    )


def seen_in(
    inside: _Counted, volatile: frozenset[str], params: Mapping[str, Any]
) -> Condition | None:
    """The most specific formula over what describes a context and its subject; of the modes that
    types of results depend on, it says which were never on."""
    every = [fields for fields, _, _ in inside]
    said = [value for value in params.values() if isinstance(value, str)]
    modes = MODES if any(value.endswith("_dtype") for value in said) else ()
    batches = {_dimensions(value) for value in said if value.endswith(_ROWS)}
    parts: list[Condition] = [
        Not(Has(name)) for name in modes if not any(name in fields for fields in every)
    ]
    for name in sorted({name for fields in every for name in fields}):
        if not all(name in fields for fields in every):
            continue
        numbers = [value for fields in every if isinstance(value := fields[name], int | float)]
        least = min(numbers, default=0) if len(numbers) == len(every) else 0
        if least > 0 and all(type(value) is float for value in numbers):
            # a rate, a scale: at nought, nothing moves
            parts.append(Compare(Field(name), ">", Constant(0)))
        if least > 1 and name in batches:
            # of what has one dimension, the rows are no batch
            parts.append(Compare(Field(name), ">", Constant(1)))
        listed = _listed(name, inside) if name in LISTED and name not in volatile else []
        if listed and all(type(value) is int for value in listed):
            parts.append(Compare(Field(name), "<=", Constant(listed[-1])))
        elif listed:
            parts.append(_one_of(name, listed))
    if len(parts) < 2:
        return parts[0] if parts else None
    return And(tuple(parts))


def _listed(name: str, inside: _Counted) -> list[Scalar]:
    """What a field was, in as many programs as an invariant must have held in; nothing where that
    is a measurement or a size."""
    values: dict[tuple[str, Scalar], frozenset[str]] = {}
    for fields, _, in_runs in inside:
        key = type(fields[name]).__name__, fields[name]
        values[key] = values.get(key, frozenset()) | in_runs
    needed = least_runs(len(frozenset().union(*values.values())))
    kept = sorted((key for key, in_runs in values.items() if len(in_runs) >= needed), key=str)
    if not all(_is_listed(value) for _, value in kept) or len(kept) > MOST_LISTED:
        return []
    return [value for _, value in kept]


def _dimensions(rows: str) -> str:
    """The field that tells how many dimensions a tensor has, of whose rows another one tells."""
    return f"{rows.removesuffix(_ROWS)}_ndim"


def _is_listed(value: Scalar) -> bool:
    """Whether a value is no measurement and no size."""
    return isinstance(value, bool | str | None) or value in (0, 1)


def _one_of(name: str, values: list[Scalar]) -> Condition:
    if len(values) == 1 and values[0] is True:
        return Field(name)
    if len(values) == 1 and values[0] is False:
        return Not(Field(name))
    if len(values) == 1:
        return Compare(Field(name), "==", Constant(values[0]))
    return Compare(Field(name), "in", tuple(Constant(value) for value in values))


def _counted(contexts: Iterable[tuple[Fields, Mapping[str, int]]], without: str) -> _Counted:
    found: _Counted = []
    for fields, counts in contexts:
        kept = {run: times for run, times in counts.items() if run != without}
        if kept:
            found.append((fields, sum(kept.values()), frozenset(kept)))
    return found


def _volatile(every: _Counted) -> frozenset[str]:
    """Fields that say of each run something else: a program's own names and sizes."""
    runs = frozenset().union(*(in_runs for _, _, in_runs in every))
    if len(runs) < 2:
        return frozenset()
    values: dict[str, dict[Scalar, set[str]]] = {}
    for fields, _, in_runs in every:
        for name, value in fields.items():
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                values.setdefault(name, {}).setdefault(value, set()).update(in_runs)
    return frozenset(
        name
        for name, seen in values.items()
        if len(seen) > 1 and all(len(in_runs) < 2 for in_runs in seen.values())
    )


def _asked(fields: Fields, volatile: frozenset[str]) -> dict[str, Scalar]:
    return {name: value for name, value in fields.items() if name not in volatile}


def _judge(condition: Condition | None) -> Callable[[Fields], bool]:
    if condition is None:
        return lambda fields: True
    judge = compile_condition(condition)
    return lambda fields: judge(fields) is True


def parsed(text: str) -> Condition | None:
    """A condition from its text; None for no condition."""
    return parse(text) if text else None
