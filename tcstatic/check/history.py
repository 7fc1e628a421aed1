"""What happened to each object: the events that made, wrapped, copied, froze or replaced it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, final

from tcstatic.model import Event

# Kinds that say something of an object's identity or mode, rather than of one use of it.
STRUCTURAL: Final = frozenset(
    """model.new model.train model.eval model.move model.mutate model.freeze model.load
    optimizer.new optimizer.load optimizer.zero_grad wrap.new grad.write""".split()
)
KEPT: Final = 32  # last events per object; a switch of mode per epoch fills this in 16 epochs


@final
class History:
    """Events by object number, in order. Bounded per object: the first, and the last ones.

    State: `_first` and `_last` by number; `_seen_from` (kind, place) pairs that an object already
    has are moved to the end instead of growing the list, so that loops cost nothing.
    """

    def __init__(self) -> None:
        self._first: dict[int, Event] = {}
        self._last: dict[int, deque[Event]] = {}

    def note(self, event: Event) -> None:
        """Remember an event that changes objects."""
        if event.kind not in STRUCTURAL:
            return
        for numbers in event.subjects.values():
            for number in numbers:
                self._first.setdefault(number, event)
                kept = self._last.setdefault(number, deque(maxlen=KEPT))
                if kept and (kept[-1].kind, kept[-1].where) == (event.kind, event.where):
                    kept.pop()
                kept.append(event)

    def first(self, number: int) -> Event | None:
        """Return the event that an object was first seen in."""
        return self._first.get(number)

    def of(self, numbers: Iterable[int]) -> tuple[Event, ...]:
        """Return the events of several objects, each once, in order."""
        found: dict[int, Event] = {}
        for number in numbers:
            first = self._first.get(number)
            if first is not None:
                found[first.sequence] = first
            for event in self._last.get(number, ()):
                found[event.sequence] = event
        return tuple(found[sequence] for sequence in sorted(found))
