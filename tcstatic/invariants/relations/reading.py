"""What monitors read of events, so that events which answer alike need be judged only once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, final, runtime_checkable

from tcstatic.model import ABSENT, Event, Question


@final
@dataclass(frozen=True, slots=True)
class Reads:
    """What a monitor reads of an event's values, members and context, each with what it asks.

    Events that answer alike, of one kind and with the same subjects, give observations of which as
    many hold, whichever members they are about. `over` selects members; `members` is None where
    none is read. Under the names `derived` contexts hold what no field of the event is.
    """

    values: Mapping[str, Question] = field(default_factory=dict)
    members: Mapping[str, Question] | None = None
    over: str = ""
    derived: frozenset[str] = frozenset()
    context: Mapping[str, Question] = field(default_factory=dict)


@runtime_checkable
class Reading(Protocol):
    """A monitor that can tell what it reads."""

    def reads(self) -> Reads:
        """Return what it reads, besides kind, function and subjects of an event."""
        ...


@runtime_checkable
class Recalling(Protocol):
    """A monitor whose memory can be taken out, and put back."""

    def remembered(self) -> tuple[Hashable, list[Event]]:
        """Return what it remembers but for the events, which are places in a list; and that list.

        Of one memory, monitors say the same of events that answer alike, whatever is in the list.
        """
        ...

    def recall(self, memory: Any, events: Sequence[Event]) -> None:
        """Remember this, and nothing else."""
        ...


def exactly(value: Any) -> Hashable:
    """A question: what is it?"""
    try:
        hash(value)
    except TypeError:
        return type(value), repr(value)
    return type(value), value


def is_true(value: Any) -> Hashable:
    """A question: does it count as true?"""
    return value is not ABSENT and bool(value)


def is_there(value: Any) -> Hashable:
    """A question: is there such a field?"""
    return value is not ABSENT
