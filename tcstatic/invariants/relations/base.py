"""What a relation is: a schema of parameters, what must be observed, and a monitor.

Checking, replay and inference are written once, elsewhere; they all run the same monitors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Final, Protocol

from tcstatic.invariants.conditions import compile_condition, parse
from tcstatic.model import EVENT_KINDS, Context, Event, Member, Needs, Observation

Params = Mapping[str, Any]


class Monitor(Protocol):
    """Fed events one by one, in order; yields what it could judge."""

    def feed(self, event: Event) -> Iterator[Observation]:
        """Return the observations that this event completes."""
        ...


class Relation(Protocol):
    """A template of invariants. To add one: one file here with a class like the others."""

    name: ClassVar[str]

    def check(self, params: Params) -> None:
        """Raise ValueError, with the key concerned, if the parameters make no sense."""
        ...

    def needs(self, params: Params) -> Needs:
        """Return the events and the state that the monitor must be fed."""
        ...

    def monitor(self, params: Params) -> Monitor:
        """Return a fresh monitor."""
        ...


RELATIONS: Final[dict[str, Relation]] = {}


def register(relation: type[Relation]) -> type[Relation]:
    """Make a relation known by its name; a name twice is an error."""
    if relation.name in RELATIONS:
        raise ValueError(f"relation {relation.name!r} is defined twice")
    RELATIONS[relation.name] = relation()
    return relation


def check_keys(params: Params, allowed: tuple[str, ...], required: tuple[str, ...] = ()) -> None:
    """Raise ValueError for a key that is unknown or missing."""
    for key in params:
        if key not in allowed:
            raise ValueError(f"unknown key {key!r}; expected one of {', '.join(sorted(allowed))}")
    for key in required:
        if key not in params:
            raise ValueError(f"missing key {key!r}")


def event_kind(params: Params, key: str) -> str:
    """Return the event kind under `key`; raise ValueError if it is none."""
    value = params.get(key)
    if value not in EVENT_KINDS:
        raise ValueError(f"{key}: {value!r} is not an event kind")
    return str(value)


def over_members(text: str) -> Callable[[Member, Event], bool | None]:
    """Compile the condition that selects the members a relation is about ('' for all)."""
    if not text:
        return lambda member, event: True
    judge = compile_condition(parse(text))

    def selects(member: Member, event: Event) -> bool | None:
        return judge({**event.context.fields, **member.fields})

    return selects


def widened(event: Event, fields: Mapping[str, Any]) -> Context:
    """Return the event's context with further fields (scalars only)."""
    scalars = {
        k: v for k, v in fields.items() if v is None or isinstance(v, bool | int | float | str)
    }
    return Context({**event.context.fields, **scalars}, event.context.inferred)
