"""What happens between two calls that open and close something, and nowhere else: the pairs of
calls that do so in a run, what lies within or outside of them, and the monitor.

Two methods of one class open and close if they take turns on each object; one method alone does
both if it is called an even number of times on each (exchanged, and back).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Final, final

from tcstatic.invariants.relations.base import Params, leaves_out, observed
from tcstatic.invariants.relations.called import called_in, matcher
from tcstatic.invariants.relations.callstreams import Run
from tcstatic.invariants.relations.proposing import is_argument
from tcstatic.model import Event, Observation

WITHIN, OUTSIDE = "within", "outside"
BRACKETS: Final = (WITHIN, OUTSIDE)
LEAST_PAIRS: Final = 2  # of opening and closing, in a run
_Pair = tuple[str, str]
_Claim = tuple[_Pair, str, str]
INNER: Final = ("loss.backward", "optimizer.step")


def pairs_of(run: Run) -> set[_Pair]:
    """The pairs that open and close in a run: a method that is its own counterpart, and is given
    nothing, or two."""
    found: set[_Pair] = set()
    for objects in _turns(run).values():
        methods = sorted({label for stream in objects for label, _ in stream})
        streams = [[label for label, _ in stream] for stream in objects]
        given = {label for stream in objects for label, is_given in stream if is_given}
        for label in methods:
            times = [stream.count(label) for stream in streams]
            in_turn = all(n % 2 == 0 for n in times) and sum(times) >= 2 * LEAST_PAIRS
            if in_turn and label not in given:
                found.add((label, label))
        for first, last in product(methods, repeat=2):
            if first != last and _take_turns(streams, first, last):
                found.add((first, last))
    return found


def _turns(run: Run) -> dict[str, list[list[tuple[str, bool]]]]:
    """By class, and of each object: the methods that were called on it, in order, each with whether
    it was given anything. What a method calls of its own object is left out."""
    found: dict[str, dict[int, list[tuple[str, bool]]]] = defaultdict(lambda: defaultdict(list))
    begun: dict[int, int] = {}
    for event, labels in reversed(run):
        for number in event.subjects.get("self", ()):
            if event.sequence >= begun.get(number, event.sequence + 1):
                continue
            begun[number] = event.sequence - event.values.get("lasted", 0)
            given = any(map(is_argument, event.values))
            for label in filter(called_in, labels):
                found[label.rpartition(".")[0]][number].append((label, given))
    return {name: [one[::-1] for one in objects.values()] for name, objects in found.items()}


def _take_turns(objects: Sequence[list[str]], first: str, last: str) -> bool:
    pairs = 0
    for stream in objects:
        both = [label for label in stream if label in (first, last)]
        if both != [first, last] * (len(both) // 2):
            return False
        pairs += len(both) // 2
    return pairs >= LEAST_PAIRS


def places_in(run: Run, pairs: Sequence[_Pair]) -> Iterator[_Claim]:
    """Of each pair, what a run does within it only, and what outside of it only, once it was
    opened for the first time. What is part of opening and closing itself is left out."""
    for pair in pairs:
        state = _Open(*pair)
        seen: dict[str, set[bool]] = defaultdict(set)
        inner = _inner(run, pair)
        for index, (event, labels) in enumerate(run):
            if state.opened and index not in inner:
                for label in labels:
                    if label not in pair:
                        seen[label].add(bool(state.open))
            state.take(event)
        for label, inside in seen.items():
            if len(inside) == 1:
                yield pair, label, WITHIN if True in inside else OUTSIDE


def bracketed(runs: Sequence[Run], common: Sequence[str], needed: int) -> Iterator[_Claim]:
    """What lies within, or outside of, a pair in all runs that have both, at least so many."""
    every = [pairs_of(run) for run in runs]
    having = Counter(pair for pairs in every for pair in pairs)
    torn = {
        pair
        for run, pairs in zip(runs, every, strict=True)
        for pair in having.keys() - pairs
        if any(pair[0] in labels or pair[1] in labels for _, labels in run)
    }
    known = sorted(pair for pair, times in having.items() if times >= needed and pair not in torn)
    held: Counter[_Claim] = Counter()
    for run, pairs in zip(runs, every, strict=True):
        held.update(places_in(run, [pair for pair in known if pair in pairs]))
    asked = {*common, *INNER}
    found = {
        one
        for one, times in held.items()
        if times >= needed and one[1] in asked and (*one[:2], _other(one[2])) not in held
    }
    filled = {pair for pair, _, where in found if where == WITHIN}
    yield from sorted(one for one in found if one[2] == WITHIN or _is_apart(one, filled))


def _is_apart(claim: _Claim, filled: set[_Pair]) -> bool:
    """Whether something is of those that what lies between may keep out: it is done to the same
    object, or is a training step; where something lies between at all."""
    pair, label, _ = claim
    alike = label.rpartition(".")[0] == pair[0].rpartition(".")[0]
    return pair in filled and (alike or label in INNER)


def _other(where: str) -> str:
    return OUTSIDE if where == WITHIN else WITHIN


def _inner(run: Run, pair: _Pair) -> set[int]:
    """The events that lie within a call that opens or closes, or around one."""
    spans = [
        (event.sequence - event.values.get("lasted", 0), event.sequence)
        for event, labels in run
        if pair[0] in labels or pair[1] in labels
    ]
    found: set[int] = set()
    position = 0
    for index, (event, _) in enumerate(run):
        while position < len(spans) and spans[position][1] < event.sequence:
            position += 1
        begun = event.sequence - event.values.get("lasted", 0)
        inside = position < len(spans) and spans[position][0] <= event.sequence
        around = position > 0 and begun <= spans[position - 1][1]
        if inside or around:
            found.add(index)
    return found


@final
class _Open:
    """State: the objects on which it is `open`, each with what opened it; the `last` event that
    opened or closed; whether it was ever `opened`."""

    __slots__ = ("_closes", "_opens", "last", "open", "opened")

    def __init__(self, first: str, last: str) -> None:
        self._opens, self._closes = matcher(first), matcher(last)
        self.open: dict[int, Event] = {}
        self.last: Event | None = None
        self.opened = False

    def take(self, event: Event) -> None:
        opens, closes = self._opens(event), self._closes(event)
        if not (opens or closes):
            return
        self.last = event
        for number in event.subjects.get("self", ()) or (0,):
            if closes and number in self.open:
                del self.open[number]
            elif opens:
                self.open[number] = event
                self.opened = True


@final
class Bracketed:
    """Whether an event lies within, or outside of, what two calls open and close. Not judged before
    it was opened at all, nor where it lies around what opens or closes.

    State: `_open`; `_off` once some calls were left out.
    """

    def __init__(self, params: Params) -> None:
        self._wanted = WITHIN in params
        self._concerns = matcher(params[WITHIN if self._wanted else OUTSIDE])
        self._open = _Open(*params["between"])
        self._off = False

    def feed(self, event: Event) -> Sequence[Observation]:
        """Judge an event of the label."""
        if leaves_out(event):
            self._off = True
        if self._off:
            return ()
        state = self._open
        found: Sequence[Observation] = ()
        if state.last is not None and state.opened and self._concerns(event):
            begun = event.sequence - event.values.get("lasted", 0)
            if begun > state.last.sequence:
                holds = bool(state.open) == self._wanted
                trail = () if holds or not state.open else (*state.open.values(),)
                found = (observed(event, (), holds=holds, trail=trail),)
        state.take(event)
        return found

    def standing(self, places: Mapping[int, int]) -> tuple[object, ...]:
        """What is open."""
        state = self._open
        last = None if state.last is None else places.get(id(state.last), state.last)
        return self._off, state.opened, last, tuple(state.open)
