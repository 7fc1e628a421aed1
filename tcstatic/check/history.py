"""What happened to each object: the events that made, wrapped, copied, froze or replaced it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, final

from tcstatic.model import Event, Location

# Kinds that say something of an object's identity or mode, rather than of one use of it.
STRUCTURAL: Final = frozenset(
    """model.new model.train model.eval model.move model.mutate model.freeze model.load
    optimizer.new optimizer.load optimizer.zero_grad wrap.new grad.write""".split()
)
# The role under which an event is kept for whoever may have to name it as a cause, whatever its
# kind; the numbers under it stand for listeners, not for objects.
HEARD: Final = "heard"
MOST_SEEN: Final = 4096  # places known by identity: those of a replay are all different objects
KEPT: Final = 32  # different events per object: (kind, place) pairs, so that loops cost nothing


@final
class History:
    """Events by object number. Of each kind and place only the last is kept, and the first of all.

    State: `_first` and `_last` by number; `_last` keeps (kind, place) -> event, each such
    pair as a number of its own: `_pairs`, and `_seen` by ``id`` of a place that it holds.
    """

    def __init__(self) -> None:
        self._first: dict[int, Event] = {}
        self._last: dict[int, dict[int, Event]] = {}
        self._pairs: dict[tuple[str, Location | None], int] = {}
        self._seen: dict[tuple[str, int], tuple[Location | None, int]] = {}

    def note(self, event: Event) -> None:
        """Remember an event that changes objects."""
        kind, where, subjects = event.kind, event.where, event.subjects
        if kind in STRUCTURAL:
            groups: Iterable[tuple[int, ...]] = subjects.values()
        elif HEARD in subjects:
            groups = (subjects[HEARD],)
        else:
            return
        # A place is hashed only the first time it is seen.
        known = self._seen.get((kind, id(where)))
        if known is not None and known[0] is where:
            pair = known[1]
        else:
            pair = self._new_pair(kind, where)
        everything = self._last
        for numbers in groups:
            for number in numbers:
                kept = everything.get(number)
                if kept is None:
                    self._first[number] = event
                    kept = everything[number] = {}
                kept[pair] = event
                if len(kept) > KEPT:
                    del kept[min(kept, key=lambda pair: kept[pair].sequence)]

    def _new_pair(self, kind: str, where: Location | None) -> int:
        """Return the number of (kind, place), at a place that is not known by identity."""
        if len(self._seen) > MOST_SEEN:
            self._seen = {}
        number = self._pairs.setdefault((kind, where), len(self._pairs))
        self._seen[kind, id(where)] = (where, number)
        return number

    @staticmethod
    def notes(event: Event) -> bool:
        """Whether an event is remembered."""
        return event.kind in STRUCTURAL or HEARD in event.subjects

    def first(self, number: int) -> Event | None:
        """Return the event that an object was first seen in."""
        return self._first.get(number)

    def of(self, numbers: Iterable[int]) -> tuple[Event, ...]:
        """Return the events of several objects, each once, in order."""
        found: dict[int, Event] = {}
        for number in numbers:
            first = self._first.get(number)
            if first is not None and first.kind in STRUCTURAL:
                found[first.sequence] = first
            for event in self._last.get(number, {}).values():
                found[event.sequence] = event
        return tuple(found[sequence] for sequence in sorted(found))
