"""A stream of numbers that stand for events -> what the driver says of the events.

What was said once, while the monitors remembered as much, is said again: of each event that comes
again only its number is looked at, and of the events only those are made that something new is said
of, or that a monitor remembers by then.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import compress, islice
from typing import Any, Final, final

from tcstatic.check.asking import asked_by, is_told
from tcstatic.check.driver import Driver
from tcstatic.check.history import History
from tcstatic.check.working import Rule, keys_of
from tcstatic.invariants.relations import Recalling
from tcstatic.invariants.relations.called import CALL
from tcstatic.model import Asked, AskedStretch, Event

MOST_STATES: Final = 1 << 14  # that are known, and
MOST_NUMBERS: Final = 1 << 17  # of what was said, before all are forgotten
# Where more than one event in RARELY says something new, they are judged one by one for a while.
RARELY: Final = 4
WINDOW: Final = 256
LONGEST_REST: Final = 1 << 14
CHUNK: Final = 512  # events that are made at once
NOTHING: Final = Asked()
NOW: Final = -1  # in place of one that was remembered: the event itself
# What one remembers after an event: of each of its events, which it was before.
_Sources = tuple[int, ...]


@final
class _Known:
    """What comes of an event: how the counts grow, how memories change, and which state follows.
    The `rest` of the rules judge the event for themselves."""

    __slots__ = ("counts", "follows", "moves", "rest")

    def __init__(
        self,
        follows: _State,
        counts: tuple[tuple[str, str, int], ...],
        moves: Mapping[int, _Sources],
        rest: tuple[Rule, ...],
    ) -> None:
        self.follows, self.counts, self.moves, self.rest = follows, counts, moves, rest


@final
class _State:
    """What all monitors remember, but for the events; and what is `known` to come of events, by
    number: of those that no rule judges for itself, and of the others (`partly`)."""

    __slots__ = ("known", "memories", "partly")

    def __init__(self, memories: tuple[Hashable, ...]) -> None:
        self.memories = memories
        self.known: dict[int, _Known] = {}
        self.partly: dict[int, _Known] = {}


@final
class Tabled:
    """Judges the events of one run, stretch by stretch.

    State: of the stretch at hand, the `_numbers` of its events, and the `_places` of those. `_path`
    what came of those from `_since` on, up to the next; `_held` the events that each monitor
    remembered at `_since`, as such or by their index; `_noted` up to where the history goes.
    `_now` is behind the last event that was taken. `_credit` grows with each event that comes
    again, and falls with each that says something new; once it is spent, `_rest` events are judged
    one by one (`_plain`: the monitors themselves remember), and next time `_pause`.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        driver.recollect = self._recollect
        recalling = [
            rule for rule in driver.rules if isinstance(rule.monitor, Recalling) and is_told(rule)
        ]
        self._seats = {id(rule): seat for seat, rule in enumerate(recalling)}
        self._monitors = [rule.monitor for rule in recalling if isinstance(rule.monitor, Recalling)]
        self._told = {id(rule) for rule in driver.rules if is_told(rule)}
        self._asked: dict[tuple[str, ...], Asked | None] = {}
        self._known: dict[Hashable, int] = {}
        self._noting: set[int] = set()
        self._states: dict[tuple[Hashable, ...], _State] = {}
        self._uses: Counter[_Known] = Counter()
        self._credit, self._rest, self._pause = WINDOW, 0, WINDOW
        self._plain = False
        self._judged: Event | None = None
        self._held: list[Sequence[Event | int]] = []
        self._stretch: AskedStretch | None = None
        self._state = _State(())
        self._begin([], [])
        self._resume()

    def asking(
        self, kind: str, values: Mapping[str, Any], subjects: Mapping[str, Any]
    ) -> Asked | None:
        """What the rules ask of an event."""
        event = Event(kind, 0, None, subjects, values)
        labels = keys_of(event)
        if labels not in self._asked:
            rules = self._driver.rules_of(labels)
            told = [rule for rule in rules if id(rule) in self._told]
            names = ("name", "role") if kind == CALL else ()
            self._asked[labels] = asked_by(told, names) if rules else None
        asked = self._asked[labels]
        return NOTHING if asked is None and History.notes(event) else asked

    def feed(self, stretch: AskedStretch) -> None:
        """Judge the events of a stretch, settled where they were settled live."""
        driver = self._driver
        if len(self._known) > MOST_NUMBERS or len(self._states) > MOST_STATES:
            self._known, self._states = {}, {}
            self._noting = set()
            self._resume()
        every = stretch.alike(self.asking, self._known)
        places = [place for place, number in enumerate(every) if number >= 0]
        self._stretch = stretch
        self._begin(places, [every[place] for place in places])
        settling = _Settling(stretch, places)
        at = 0
        while True:
            if driver.failing and at in settling.due:
                driver.settle()
            if at == len(places):
                break
            at = self._judge(at, settling.following(at) if driver.failing else len(places))
        self._end()

    def _begin(self, places: list[int], numbers: list[int]) -> None:
        self._places, self._numbers = places, numbers
        self._path: list[_Known] = []
        self._since = self._noted = self._now = 0

    def _end(self) -> None:
        """Let everyone remember real events, and count what came again."""
        if self._plain:
            self._resume()
        self._recollect()
        self._rebase()
        self._recall(range(len(self._monitors)))
        for known, times in self._uses.items():
            for counter, code, number in known.counts:
                self._driver.count(counter, code, number * times)
        self._uses.clear()
        if self._places:
            self._driver.was_last(*self._made([len(self._places) - 1]))
        self._begin([], [])

    def _judge(self, at: int, end: int) -> int:
        """Judge events up to one that says something new, or must be judged for itself; return how
        far."""
        if self._rest:
            return self._judge_plainly(at, min(end, at + self._rest, at + CHUNK))
        path, known = self._path, self._state.known
        start = len(path)
        for number in islice(self._numbers, at, end):
            found = known.get(number)
            if found is None:
                break
            path.append(found)
            known = found.follows.known
        came = len(path) - start
        if came:
            self._state = path[-1].follows
            self._credit = min(self._credit + came, WINDOW)
            at += came
            self._now = at
        if at == end:
            return at
        self._now = at + 1
        partly = self._state.partly.get(self._numbers[at])
        if partly is None:
            self._judge_anew(at)
        else:
            self._judge_partly(at, partly)
        self._judged = None
        return at + 1

    def _judge_partly(self, at: int, known: _Known) -> None:
        """Judge an event by the rules that must judge it for themselves."""
        (event,) = self._made([at])
        self._judged = event
        seats = [self._seats[id(rule)] for rule in known.rest if id(rule) in self._seats]
        if seats:
            self._rebase()
            self._recall(seats)
        state, self._state = self._state, known.follows
        self._path.append(known)
        judged = self._driver.judge_by(known.rest, event)
        if any(not alone and id(rule) in self._told for rule, _, alone in judged):
            # What fails no more, is judged with the others next time.
            del state.partly[self._numbers[at]]

    def _judge_anew(self, at: int) -> None:
        """Judge an event by all rules, and know from now on what comes of it."""
        self._spend()
        (event,) = self._made([at])
        self._judged = event
        driver, number = self._driver, self._numbers[at]
        if number not in self._noting and History.notes(event):
            self._noting.add(number)
            driver.note(event)  # an object may be seen for the first time
        rules = driver.rules_of(keys_of(event))
        seats = {self._seats[id(rule)] for rule in rules if id(rule) in self._seats}
        self._rebase()
        self._recall(seats)
        before = {seat: self._held[seat] for seat in seats}
        judged = driver.judge_each(event)
        memories, moves = list(self._state.memories), {}
        for seat in sorted(seats):
            memories[seat], events = self._monitors[seat].remembered()
            moves[seat] = _sources(before[seat], events, event)
        rest = [rule for rule, _, alone in judged if alone or id(rule) not in self._told]
        counts = [one for rule, counted, _ in judged if rule not in rest for one in counted]
        found = _Known(
            self._state_of(tuple(memories)), tuple(counts), moves, tuple(dict.fromkeys(rest))
        )
        own = self._state.partly if rest or event.kind == "gap" else self._state.known
        own[number] = found
        self._path.append(found)
        self._uses[found] -= 1  # it was counted by the driver
        self._state = found.follows

    def _judge_plainly(self, at: int, end: int) -> int:
        """Judge events one by one, up to the first that fails."""
        if not self._plain:
            self._recollect()
            self._rebase()
            self._recall(range(len(self._monitors)))
            self._plain = True
        failing = self._driver.failing
        for event in self._made(range(at, end)):
            self._driver.judge(event)
            at += 1
            self._rest -= 1
            if not failing and self._driver.failing:
                break
        self._noted = self._now = at
        if not self._rest:
            self._resume()
        return at

    def _resume(self) -> None:
        """Take over what the monitors remember by themselves."""
        told = [monitor.remembered() for monitor in self._monitors]
        self._held = [events for _, events in told]
        self._state = self._state_of(tuple(memory for memory, _ in told))
        self._since, self._plain = self._now, False

    def _spend(self) -> None:
        self._credit -= RARELY
        if self._credit < 0:
            self._credit, self._rest = WINDOW // 2, self._pause
            self._pause = min(2 * self._pause, LONGEST_REST)
        elif self._credit > WINDOW - 2 * RARELY:
            self._pause = WINDOW

    def _state_of(self, memories: tuple[Hashable, ...]) -> _State:
        state = self._states.get(memories)
        if state is None:
            state = self._states[memories] = _State(memories)
        return state

    def _made(self, which: Sequence[int]) -> list[Event]:
        """Return the events of some indices; the one that is judged is the same each time."""
        if self._stretch is None or not which:
            return []
        made = self._stretch.made([self._places[one] for one in which])
        if self._judged is not None and which[-1] == self._now - 1:
            made[-1] = self._judged
        return made

    def _recollect(self) -> None:
        """Let the history hold the last events of each number up to now."""
        start, end = self._noted, self._now
        self._noted = end
        last = dict(zip(self._numbers[start:end], range(start, end), strict=True))
        for event in self._made(sorted(last[one] for one in self._noting & last.keys())):
            self._driver.note(event)

    def _recall(self, seats: Iterable[int]) -> None:
        """Let monitors remember what they do in this state, with the events of `_held`."""
        asked = {one for seat in seats for one in self._held[seat] if isinstance(one, int)}
        which = sorted(asked)
        made = dict(zip(which, self._made(which), strict=True))
        for seat in seats:
            events = [made[one] if isinstance(one, int) else one for one in self._held[seat]]
            self._held[seat] = events
            self._monitors[seat].recall(self._state.memories[seat], events)

    def _rebase(self) -> None:
        """Follow all memories back from now: to an event of the path, or one that was held."""
        for seat, events in _followed_back(self._path, self._since, self._held):
            self._held[seat] = events
        self._uses.update(self._path)
        self._path, self._since = [], self._since + len(self._path)


def _followed_back(
    path: Sequence[_Known], since: int, held: Sequence[Sequence[Event | int]]
) -> Iterable[tuple[int, list[Event | int]]]:
    """Return, of each monitor whose memory changes on a path, what it remembers behind it."""
    found: dict[int, list[Event | int]] = {}
    # Of what is not found yet: its place in the memory, and where it was in an earlier one.
    wanted: dict[int, list[tuple[int, int]]] = {}
    for index in range(len(path) - 1, -1, -1):
        for seat, sources in path[index].moves.items():
            if seat not in found:
                found[seat] = [NOW] * len(sources)
                wanted[seat] = list(enumerate(range(len(sources))))
            if wanted[seat]:
                earlier = [(place, sources[one]) for place, one in wanted[seat]]
                for place, one in earlier:
                    found[seat][place] = since + index if one == NOW else NOW
                wanted[seat] = [(place, one) for place, one in earlier if one != NOW]
        if len(found) == len(held) and not any(wanted.values()):
            break
    for seat, rest in wanted.items():
        for place, one in rest:
            found[seat][place] = held[seat][one]
    return found.items()


def _sources(
    before: Collection[Event | int], events: Sequence[Event], event: Event
) -> tuple[int, ...]:
    """Of each event that is remembered after `event`, which it was before."""
    where = {id(one): place for place, one in enumerate(before)}
    return tuple([NOW if one is event else where[id(one)] for one in events])


@final
class _Settling:
    """Where the driver has settled: after how many of the events at some places."""

    def __init__(self, stretch: AskedStretch, places: Sequence[int]) -> None:
        self._stretch, self._places = stretch, places

    @cached_property
    def due(self) -> frozenset[int]:
        """All of them."""
        settled = self._stretch.settled
        rows = compress(range(len(settled)), settled)
        return frozenset(bisect_right(self._places, row) for row in rows)

    @cached_property
    def _ends(self) -> list[int]:
        return sorted({*self.due, len(self._places)})

    def following(self, at: int) -> int:
        """The next one, or the end."""
        return self._ends[bisect_right(self._ends, at)]
