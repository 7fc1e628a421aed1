"""A root of a module with its events, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from tcstatic.model import Context, Event, Location, Observation
from tcstatic.program.paths import Happening, Root, happenings
from tcstatic.program.paths.values import Place

WILD: Final = "*"
_SEQUENCE: Final = 1_000_000
# Steps that questions to all paths of a root may take together: some 0.2 s.
EFFORT: Final = 10_000


@final
@dataclass(frozen=True, slots=True)
class Failure:
    """An observation that fails. `always`: on every full path on which it is made."""

    observation: Observation
    before: tuple[Event, ...]
    always: bool


@final
@dataclass(frozen=True, slots=True)
class Judged:
    """What a root says of an invariant."""

    failures: tuple[Failure, ...]
    held: int
    unknown: str = ""


@final
class Rooted:
    """A root with its events. State: events by happening, made once; the effort that is left."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.every = list(happenings(root.block))
        self.kinds = {one.kind for one in self.every}
        self._events: dict[int, Event] = {}
        self._order = {id(one): index for index, one in enumerate(self.every)}
        self._end: Happening | None = None
        self.effort = EFFORT

    def event(self, happening: Happening) -> Event:
        """A happening as the event that a run would show."""
        known = self._events.get(id(happening))
        if known is None:
            known = _event(happening, self._order.get(id(happening), _SEQUENCE))
            self._events[id(happening)] = known
        return known

    def before(self, happening: Happening) -> tuple[Event, ...]:
        """The events of all that is written before a happening."""
        return tuple(
            self.event(one) for one in self.every[: self._order.get(id(happening), len(self.every))]
        )

    def stands_for_several(self, happening: Happening, role: str, number: int) -> bool:
        """Whether a happening in a loop is about another object in each round."""
        known = self.root.machine.objects.get(number)
        several = len(happening.subjects.get(role, ())) > 1
        return several or (known is not None and known.made_in_loops > 0)

    def end(self) -> Happening | None:
        """What stands for the end of the program."""
        if self._end is None and self.every:
            last = self.every[-1]
            numbers: dict[str, set[int]] = {}
            for one in self.every:
                for role, found in one.subjects.items():
                    numbers.setdefault(role, set()).update(found)
            subjects = {role: tuple(sorted(found)) for role, found in numbers.items()}
            self._end = Happening("end", last.place, subjects)
        return self._end


def location(place: Place) -> Location:
    """Where a place lies, in the words of a report."""
    return place.module.location(place.node, place.function)


def _event(happening: Happening, sequence: int) -> Event:
    values = {
        key: value
        for key, value in happening.values.items()
        if value is not None and not key.startswith("#") and key != "regions"
    }
    facts = {key: value for key, value in happening.facts.items() if value is not None}
    inferred = set(happening.inferred)
    if happening.assumed:
        inferred.add("role")
    return Event(
        happening.kind,
        sequence,
        location(happening.place),
        happening.subjects,
        values,
        Context(facts, frozenset(inferred)),
    )


def with_trail(observation: Observation, one: Happening) -> Observation:
    trail = tuple(
        Event("call", -1, location(place), {}, {"operation": what})
        for what, place in one.values.get("#trail", ())
    )
    return observation._replace(trail=(*observation.trail, *trail))
