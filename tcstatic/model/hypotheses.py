"""Hypotheses: relations with parameters that a trace suggests, and the vocabulary of a trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from tcstatic.model.events import Event, Scalar

Value = tuple[str, Scalar]
"""A scalar with the name of its type, because 1 == True == 1.0 in Python."""


@final
@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A relation with parameters. `when` says which of its events it is about (one function's
    calls); `judged` are fields that it judges itself, so that no precondition may ask them. It is
    learnt only if it held in so many `runs`."""

    relation: str
    params: Mapping[str, Any]
    when: str = ""
    judged: frozenset[str] = frozenset()
    runs: int = 1


@final
@dataclass(frozen=True, slots=True)
class FieldSeen:
    """What a field was: each value with how often, and in how many runs; `equals` are other fields
    of the same events, with how often they had the same value and how often both were there."""

    values: Mapping[Value, int] = field(default_factory=dict)
    runs: Mapping[Value, int] = field(default_factory=dict)
    equals: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How often the field was there."""
        return sum(self.values.values())


@final
@dataclass(frozen=True, slots=True)
class Group:
    """Events of one kind (of calls: of one function, `name`): their fields, the sets of objects
    among their values, and the fields of their members."""

    kind: str
    name: str = ""
    events: int = 0
    fields: Mapping[str, FieldSeen] = field(default_factory=dict)
    sets: frozenset[str] = frozenset()
    members: Mapping[str, FieldSeen] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True)
class Interval:
    """What lay between an event of one kind and the next of another, about one object: how often
    there was such a stretch, and in how many of them each kind occurred."""

    role: str
    first: str
    last: str
    times: int
    within: Mapping[str, int]


@final
@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What traces speak of; hypotheses are made of it. `histories` are, by run, the calls in their
    order with what happened between them, as far as they are remembered."""

    groups: tuple[Group, ...] = ()
    intervals: tuple[Interval, ...] = ()
    runs: int = 1
    histories: Mapping[str, Sequence[Event]] = field(default_factory=dict)
