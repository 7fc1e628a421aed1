"""Rules -> what they ask of events of each kind: events that answer alike fare alike."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, Final, final

from tcstatic.check.working import Rule
from tcstatic.invariants.conditions import (
    And,
    Compare,
    Condition,
    Field,
    Has,
    Not,
    Or,
    compile_condition,
    parse,
)
from tcstatic.invariants.relations import Reading, Reads, Recalling, Remembering
from tcstatic.invariants.relations.reading import exactly
from tcstatic.model import ABSENT, Asked, Invariant, Question, Questions

MOST_ANSWERED: Final = 1024  # values whose answers are kept
_SETS: Final = (frozenset, tuple)  # values that no condition is asked about
_Found = dict[str, list[Question]]


def asked_by(rules: Iterable[Rule], names: Iterable[str] = ()) -> Asked:
    """Return all that rules ask of events of one kind, and what the values of these names are."""
    values: _Found = defaultdict(list)
    context: _Found = defaultdict(list)
    members: _Found = defaultdict(list)
    of_members = False
    for name in names:
        values[name].append(exactly)
    for reads, conditions in map(_asked, rules):
        for name, question in reads.values.items():
            values[name].append(question)
        for name, question in reads.context.items():
            context[name].append(question)
        for name, question in conditions:
            values[name].append(_Scalar(question))
            context[name].append(question)
        if reads.members is not None:
            of_members = True
            for name, question in (*reads.members.items(), *_of(reads.over), *conditions):
                members[name].append(question)
    asked = _questions(members) if of_members else None
    return Asked(_questions(values), _questions(context), asked)


def is_told(rule: Rule) -> bool:
    """Whether all can be told that the monitor of a rule reads, and remembers."""
    monitor = rule.monitor
    if not isinstance(monitor, Reading):
        return False
    return isinstance(monitor, Recalling) or not isinstance(monitor, Remembering)


def _texts(invariant: Invariant) -> Iterator[str]:
    every = (invariant.when, invariant.unless, invariant.doubt, invariant.seen)
    return filter(None, every)


def _asked(rule: Rule) -> tuple[Reads, list[tuple[str, Question]]]:
    """What the monitor of a rule reads, and what its conditions ask."""
    conditions = [one for text in _texts(rule.invariant) for one in _of(text)]
    return rule.monitor.reads() if isinstance(rule.monitor, Reading) else Reads(), conditions


def _of(text: str) -> list[tuple[str, Question]]:
    """What a condition asks of each field."""
    return [*_atoms(parse(text))] if text else []


def _atoms(condition: Condition) -> Iterator[tuple[str, Question]]:
    match condition:
        case Field(name) | Has(name):
            yield name, _Holds(name, condition)
        case Compare(left, _, Field(name)):
            yield from ((left.name, exactly), (name, exactly))
        case Compare(left):
            yield left.name, _Holds(left.name, condition)
        case Not(item):
            yield from _atoms(item)
        case And(items) | Or(items):
            for item in items:
                yield from _atoms(item)


@final
class _Holds:
    """A question: is a condition met that is about this field alone?"""

    def __init__(self, name: str, condition: Condition) -> None:
        self._name, self._judge = name, compile_condition(condition)
        self._key = condition

    def __call__(self, value: Any) -> Hashable:
        if value is ABSENT:
            return "absent"
        return self._judge({self._name: value})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Holds) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@final
class _Scalar:
    """The same question, of a value: one that is a set does not stand for a field of a context."""

    def __init__(self, question: Question) -> None:
        self._question = question

    def __call__(self, value: Any) -> Hashable:
        return self._question(ABSENT if isinstance(value, _SETS) else value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Scalar) and self._question == other._question

    def __hash__(self) -> int:
        return hash((_Scalar, self._question))


def _questions(found: Mapping[str, Iterable[Question]]) -> Questions:
    return tuple((name, _all_of(tuple(dict.fromkeys(found[name])))) for name in sorted(found))


def _all_of(questions: tuple[Question, ...]) -> Question:
    """Ask all questions at once; what many events say is answered once."""
    if len(questions) == 1:
        ask: Callable[[Any], Hashable] = questions[0]
    else:

        def ask(value: Any) -> Hashable:
            return tuple([question(value) for question in questions])

    kept = functools.lru_cache(MOST_ANSWERED, typed=True)(ask)

    def answer(value: Any) -> Hashable:
        try:
            return kept(value)
        except TypeError:  # a list, or what holds one
            return ask(value)

    return answer
