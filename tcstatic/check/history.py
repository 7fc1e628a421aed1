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
KEPT: Final = 32  # different events per object: (kind, place) pairs, so that loops cost nothing


@final
class History:
    """Events by object number. Of each kind and place only the last is kept, and the first of all.

    State: `_first` and `_last` by number; `_last` keeps (kind, place) -> event in order of time.
    """

    def __init__(self) -> None:
        self._first: dict[int, Event] = {}
        self._last: dict[int, dict[tuple[str, Location | None], Event]] = {}

    def note(self, event: Event) -> None:
        """Remember an event that changes objects."""
        structural = event.kind in STRUCTURAL
        for role, numbers in event.subjects.items():
            if structural or role == HEARD:
                for number in numbers:
                    self._keep(number, event)

    def _keep(self, number: int, event: Event) -> None:
        self._first.setdefault(number, event)
        kept = self._last.setdefault(number, {})
        key = (event.kind, event.where)
        kept.pop(key, None)
        kept[key] = event
        if len(kept) > KEPT:
            del kept[next(iter(kept))]

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
