"""Rounds of a program that say what the rounds before them said: judged once, and counted.

Training repeats itself: from one step to the next, the same things happen at the same places. Once
all monitors stand after a round where they stood before it, and every count has grown as in the
round before, another round like it changes nothing but the counts. It is held back, and the last
one is handed on as soon as something else happens, so that whoever remembers an event remembers
the newest of its like.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.model import Event

ENDS: Final = "optimizer.step"
# Fields of a context that differ at every event.
MOVING: Final = frozenset({"step", "optimizer_step", "epoch", "loss"})
LONGEST: Final = 1024  # events of a round that is kept
# Rounds that go by between two looks at a program that never repeats itself.
LONGEST_REST: Final = 63

# Kind, place, subjects, values, members and rank of an event.
_STILL: Final[Callable[[Event], tuple[Any, ...]]] = operator.itemgetter(0, 2, 3, 4, 6, 9)
# What monitors remember, with events of the round as places in it; and all counts, by name.
Standing = tuple[tuple[object, ...], Counter[Any]]
# Asked at the end of a round, given the place of each of its events by ``id``; None where some
# monitor cannot tell what it remembers.
Ask = Callable[[Mapping[int, int]], Standing | None]


@final
class _Pattern:
    """What an event says, but for when."""

    __slots__ = ("_fixed", "_read", "_size", "_still")

    def __init__(self, event: Event) -> None:
        fields = event.context.fields
        names = [name for name in fields if name not in MOVING]
        self._still = _STILL(event)
        self._size = len(fields)
        self._read: Callable[[Any], Any] = operator.itemgetter(*names) if names else _nothing
        self._fixed = self._read(fields)

    def fits(self, event: Event) -> bool:
        """Whether `event` says the same; what is the same object is told at once."""
        fields = event.context.fields
        try:
            same: bool = self._read(fields) == self._fixed
            return same and _STILL(event) == self._still and len(fields) == self._size
        except KeyError:
            return False


def _nothing(fields: Mapping[str, Any]) -> None:
    return None


@final
@dataclass(frozen=True, slots=True)
class Withheld:
    """What was held back: whole rounds, by how much each count grew in one, the last of them, and
    what has come since."""

    rounds: int
    grown: Counter[Any]
    last: Sequence[Event]
    since: Sequence[Event]


@final
class Repetition:
    """Finds that rounds repeat themselves, and holds them back while they do.

    A round ends with a step of the optimizer that was seen to step first (`_leader`).

    State: `_round` the events of the round in progress, `_patterns` of the one before it,
    `_standings` at the ends of rounds that were alike; `_rest` the rounds to let go by unseen, and
    `_pause` how many it will be next time. While `_holding`: `_position` in the round, and what
    `Withheld` tells.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._leader: tuple[int, ...] | None = None
        self._round: list[Event] = []
        self._patterns: list[_Pattern] = []
        self._standings: list[Standing] = []
        self._rest = self._pause = 0
        self._holding = False
        self._position = self._rounds = 0
        self._grown: Counter[Any] = Counter()
        self._last: list[Event] = []

    @property
    def holding(self) -> bool:
        """Whether what comes is held back while it fits."""
        return self._holding

    def hold_back(self, events: Sequence[Event], start: int) -> int:
        """Hold back the events from `start` on that are the next of rounds that repeat themselves:
        nobody need see them. Return the index of the first that is not."""
        patterns, position, kept = self._patterns, self._position, self._round
        for index in range(start, len(events)):
            event = events[index]
            if not patterns[position].fits(event):
                break
            kept.append(event)
            position += 1
            if position == len(patterns):
                self._rounds += 1
                self._last, kept, position = kept, [], 0
        else:
            index = len(events)
        self._position, self._round = position, kept
        return index

    def give_back(self) -> Withheld:
        """Return what was held back, and begin anew."""
        found = Withheld(self._rounds, self._grown, self._last, self._round)
        self._holding = False
        self._pause = 0
        self._begin()
        return found

    def seen(self, event: Event) -> None:
        """An event was judged: see whether a round ends with it that is like those before."""
        if self._rest:
            self._rest -= event.kind == ENDS
            return
        events = self._round
        events.append(event)
        if event.kind != ENDS:
            if len(events) >= LONGEST:
                self._lie_down()
            return
        who = event.subjects.get("optimizer")
        if self._leader is None:
            self._leader = who
        if who == self._leader:
            self._round = []
            self._ended(events)

    def _ended(self, events: list[Event]) -> None:
        fitting = len(events) == len(self._patterns) and all(
            pattern.fits(event) for pattern, event in zip(self._patterns, events, strict=True)
        )
        if self._patterns and not fitting:
            self._lie_down()
            return
        standing = self._ask({id(event): place for place, event in enumerate(events)})
        if standing is None:
            self._lie_down()
            return
        if not fitting:
            self._patterns = [_Pattern(event) for event in events]
        self._standings.append(standing)
        if len(self._standings) == 3:
            self._decide(events)

    def _decide(self, events: list[Event]) -> None:
        """Hold back from here on, if the last two rounds have left everything as it was."""
        (_, first), (before, second), (after, third) = self._standings
        grown = _grown(second, third)
        if before != after or grown != _grown(first, second):
            self._lie_down()
            return
        self._holding = True
        self._grown, self._last = grown, events
        self._position = self._rounds = 0

    def _lie_down(self) -> None:
        self._rest = self._pause
        self._pause = min(2 * self._pause + 1, LONGEST_REST)
        self._begin()

    def _begin(self) -> None:
        self._leader = None
        self._round, self._patterns, self._standings = [], [], []


def _grown(before: Counter[Any], after: Counter[Any]) -> Counter[Any]:
    found = Counter(after)
    found.subtract(before)
    return Counter({name: number for name, number in found.items() if number})
