"""Events that are at hand, in stretches like those of a trace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import final

from tcstatic.model import Event, Stretch


@final
@dataclass(frozen=True, slots=True)
class Plain:
    """Events of which none is known to say what another one says."""

    events: Sequence[Event]

    @property
    def says(self) -> range:
        """Each has its own number."""
        return range(len(self.events))

    @property
    def firsts(self) -> range:
        """Each is the first of its number."""
        return range(len(self.events))

    @property
    def settled(self) -> Sequence[int]:
        """No driver has seen them."""
        return (0,) * len(self.events)

    def made(self, places: Sequence[int]) -> list[Event]:
        """Return the events at these places."""
        return [self.events[place] for place in places]


def stretches_of(told: Iterable[Event | Stretch]) -> Iterator[Stretch]:
    """Yield stretches as they are, and what events lie between them as others."""
    for are_events, some in groupby(told, key=lambda one: isinstance(one, Event)):
        if are_events:
            yield Plain(tuple(one for one in some if isinstance(one, Event)))
        else:
            yield from (one for one in some if not isinstance(one, Event))
