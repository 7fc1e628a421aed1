"""`order`: absence, existence and precedence of events, per subject.

The patterns are those of Dwyer, Avrunin and Corbett (ICSE 1999); each is a finite automaton:

- ``{existence: E, between: [A, B]}``: from each A to the next B there is an E;
- ``{absence: E, between: [A, B]}``: from the last A before a B to that B there is no E;
  with ``wide: VALUE``, where B's event has this value, from the first A since the last B;
- ``{precedence: E, before: B}``: since the last B (or the start) there was an E before each B.

- ``{within: E, between: [A, B]}``: each E lies between an A and its B; where one function is both
  A and B, it opens and closes in turn. ``outside``: none does. Both are about calls only.

``same: ROLE`` runs one automaton per object in that role; ``given: G`` judges an interval only if
a G happened in it; ``since: VALUE`` names the event's value that tells when it began. Steps that
were not watched (a ``gap``) leave every automaton undecided.
An event is named by its label: a kind, or ``call FUNCTION``. Where calls take part, a precedence
asks for an E at any time before, and an interval may close with the run (``end``).
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

from tcstatic.invariants.relations.base import (
    Monitor,
    Params,
    check_keys,
    context_of,
    event_kind,
    observed,
    register,
)
from tcstatic.invariants.relations.bracketed import BRACKETS, Bracketed
from tcstatic.invariants.relations.called import check_label, needs_labels
from tcstatic.invariants.relations.callproposing import orders, weak
from tcstatic.invariants.relations.proposing import LEAST_TIMES, ORDER_SHARE
from tcstatic.invariants.relations.reading import Reads, is_true
from tcstatic.invariants.relations.sequences import LabelOrder
from tcstatic.model import (
    Event,
    Hypothesis,
    Interval,
    Needs,
    Observation,
    Vocabulary,
)

_OF_OPTIMIZERS: Final = frozenset(
    "loss.backward optimizer.zero_grad optimizer.step grad.clip scaler.step scaler.unscale "
    "scheduler.step".split()
)
_STEPPED: Final = frozenset({"optimizer", "scheduler", "scaler"})
_ROUNDS: Final = frozenset({"optimizer.step", "scheduler.step", "scaler.step"})
_TURNS: Final = _ROUNDS | {"loss.backward"}
# What a program may do or leave: nothing is said of its absence; what is seen of an object by the
# way is nothing that a program does.
_OPTIONAL: Final = frozenset({"grad.clip", "scheduler.step"})
_NOTHING_DONE: Final = frozenset({"call", "state"})
PATTERNS: Final = ("existence", "absence", "precedence")


@final
@dataclass(slots=True)
class _State:
    """One automaton. `opened` is the A of the open interval, `seen` the last E in it; `earliest`
    and `seen_ever` are those of the interval that begins at the first A."""

    opened: Event | None = None
    seen: Event | None = None
    earliest: Event | None = None
    seen_ever: Event | None = None
    given: bool = False
    blind: bool = False


@final
class OrderMonitor:
    """`_plays` tells, by kind, whether an event is the B, the A, the E and the G.

    State: one `_State` per object; `_blind` after a gap, until an object's next B.
    """

    def __init__(self, params: Params) -> None:
        self._pattern = next(p for p in PATTERNS if p in params)
        between = params.get("between")
        first = between[0] if between else None
        last = between[1] if between else params["before"]
        self._given = params.get("given")
        kinds = {params[self._pattern], first, last, self._given}
        self._plays = {
            kind: (kind == last, kind == first, kind == params[self._pattern], kind == self._given)
            for kind in kinds
        }
        self._wide = params.get("wide", "")
        self._role = params.get("same", "")
        self._since = params.get("since", "")
        self._states: dict[int, _State] = {}
        self._blind = False

    def feed(self, event: Event) -> Sequence[Observation]:
        plays = self._plays.get(event.kind)
        if plays is None:
            if event.kind == "gap":
                self._states = {}
                self._blind = True
            return ()
        closes, opens, counts, gives = plays
        found: Sequence[Observation] = ()
        states, role = self._states, self._role
        for number in event.subjects.get(role, ()) if role else (0,):
            state = states.get(number)
            if state is None:
                state = states[number] = _State(blind=self._blind)
            if closes:
                one = self._judge(event, number, state)
                if one is not None:
                    found = (*found, one)
            if opens:
                state.opened, state.seen, state.given = event, None, False
                state.earliest = state.earliest or event
            elif counts:
                state.seen = event
                state.seen_ever = event if state.earliest else None
            if gives:
                state.given = True
        return found

    def position(self) -> tuple[object, ...]:
        """Where all automata are: monitors in one position say the same from here on."""
        return tuple(
            (number, id(s.opened), id(s.seen), id(s.earliest), id(s.seen_ever), s.given, s.blind)
            for number, s in sorted(self._states.items())
        )

    def standing(self, places: Mapping[int, int]) -> tuple[object, ...]:
        """Where all automata are, with events of `places` as places."""
        found: list[object] = [self._blind]
        for number, state in self._states.items():
            held = (state.opened, state.seen, state.earliest, state.seen_ever)
            where = [None if e is None else places.get(id(e), e) for e in held]
            found.append((number, *where, state.given, state.blind))
        return tuple(found)

    def reads(self) -> Reads:
        """Which interval ends."""
        return Reads({self._wide: is_true} if self._wide else {})

    def remembered(self) -> tuple[Hashable, list[Event]]:
        """Where all automata are, and the events that they hold."""
        events: dict[int, Event] = {}
        seats: dict[int, int] = {}
        found: list[Hashable] = [self._blind]
        for number, state in self._states.items():
            held = (state.opened, state.seen, state.earliest, state.seen_ever)
            for one in held:
                if one is not None and id(one) not in events:
                    seats[id(one)] = len(events)
                    events[id(one)] = one
            where = tuple([-1 if one is None else seats[id(one)] for one in held])
            found.append((number, where, state.given, state.blind))
        return tuple(found), list(events.values())

    def recall(self, memory: Any, events: Sequence[Event]) -> None:
        """Put all automata where they were, with these events."""
        self._blind, *states = memory
        self._states = {}
        for number, where, given, blind in states:
            opened, seen, earliest, ever = [events[one] if one >= 0 else None for one in where]
            self._states[number] = _State(opened, seen, earliest, ever, given, blind)

    def copy(self) -> OrderMonitor:
        """A monitor that goes on from here by itself."""
        twin = copy.copy(self)
        twin._states = {number: copy.copy(state) for number, state in self._states.items()}
        return twin

    def _judge(self, event: Event, number: int, state: _State) -> Observation | None:
        opened, seen, given = state.opened, state.seen, state.given or not self._given
        if self._wide and event.values.get(self._wide):
            opened, seen = state.earliest, state.seen_ever
        state.opened = state.seen = state.earliest = state.seen_ever = None
        state.given = False
        if self._pattern == "precedence":
            blind, state.blind = state.blind, False
            if blind:
                return None
            holds = seen is not None
        elif opened is None or not given:
            return None
        else:
            holds = (seen is not None) == (self._pattern == "existence")
        if holds:
            return Observation(True, event, context_of(event), (number,), event.values)
        trail = tuple(one for one in (opened, seen) if one is not None)
        return observed(event, (number,), holds=False, trail=trail, since=self._since)


@final
@register
class Order:
    """Order of events; see the module's text."""

    name: ClassVar[str] = "order"

    def check(self, params: Params) -> None:
        """Raise ValueError if the parameters are not one pattern with its scope."""
        every = (*PATTERNS, *BRACKETS)
        keys = (*every, "between", "before", "same", "given", "since", "wide")
        check_keys(params, keys)
        found = [pattern for pattern in every if pattern in params]
        if len(found) != 1:
            raise ValueError(f"expected exactly one of {', '.join(every)}")
        check_label(params[found[0]], found[0])
        if found[0] == "precedence":
            check_label(params.get("before"), "before")
        else:
            between: Any = params.get("between")
            if not isinstance(between, list | tuple) or len(between) != 2:
                raise ValueError("between: expected two event kinds")
            for label in between:
                check_label(label, "between")
        if "given" in params:
            event_kind(params, "given")

    def needs(self, params: Params) -> Needs:
        """Return the kinds named."""
        kinds = {params[p] for p in (*PATTERNS, *BRACKETS) if p in params}
        kinds |= set(params.get("between", ()))
        kinds |= {params[k] for k in ("before", "given") if k in params}
        return needs_labels(kinds)

    def monitor(self, params: Params) -> Monitor:
        """Return a fresh automaton."""
        if any(key in params for key in BRACKETS):
            return Bracketed(params)
        return LabelOrder(params) if self.needs(params).calls else OrderMonitor(params)

    def propose(self, vocabulary: Vocabulary) -> Iterator[Hypothesis]:
        """Return what usually lies between two events about one object, and what hardly ever."""
        yield from orders(vocabulary)
        spoken: dict[str, set[str]] = {}
        spoken_of = [one for one in vocabulary.intervals if _is_about(one)]
        for one in spoken_of:
            spoken.setdefault(one.role, set()).update((one.first, one.last, *one.within))
        for one in spoken_of:
            if one.times < LEAST_TIMES or not _take_turns(one, vocabulary):
                continue
            same = {"same": one.role} if one.role else {}
            about = {"between": [one.first, one.last], **same}
            for kind in sorted(spoken[one.role] - {one.first, one.last} - _NOTHING_DONE):
                share = one.within.get(kind, 0) / one.times
                if share >= ORDER_SHARE and (one.last in _ROUNDS or one.first in _ROUNDS):
                    runs = weak(vocabulary.runs) if kind in _OPTIONAL else 1
                    yield Hypothesis(self.name, {"existence": kind, **about}, runs=runs)
                elif share <= 1 - ORDER_SHARE and _is_left_out(kind, one):
                    yield Hypothesis(self.name, {"absence": kind, **about})
            if one.first != one.last and one.last in _ROUNDS:
                yield Hypothesis(self.name, {"precedence": one.first, "before": one.last, **same})


def _is_about(one: Interval) -> bool:
    """Whether the ends are what is done to optimizers, and a round ends with the last of them or
    begins with it. In which order modes are switched and models called is a habit of each
    program."""
    ends = {one.first, one.last}
    return one.role in _STEPPED and ends <= _OF_OPTIMIZERS and one.last in _TURNS


def _is_left_out(kind: str, one: Interval) -> bool:
    """Whether it says something that a kind does not lie in an interval: it is none that programs
    may do or leave, and where the next round begins, a whole round would lie there. How many
    backward passes a step takes is known at the step."""
    if kind in _OPTIONAL or one.first == one.last:
        return False
    return one.last in _ROUNDS or kind in _ROUNDS


def _take_turns(one: Interval, vocabulary: Vocabulary) -> bool:
    """Whether the two ends of an interval follow each other again and again: between what comes
    once and what comes often, anything lies by chance."""
    if one.first == one.last:
        return True
    back = (
        other.times
        for other in vocabulary.intervals
        if (other.role, other.first, other.last) == (one.role, one.last, one.first)
    )
    return one.times / 2 <= next(back, 0) + 1 <= 2 * one.times
