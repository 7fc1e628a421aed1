"""Monitors of what lies between calls, and within them: they remember earlier events.

After a ``gap``, or once calls were left out (``sampled``), they are silent where what they did not
see would matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.invariants.relations.base import Params, context_of, leaves_out, observed
from tcstatic.invariants.relations.called import matcher
from tcstatic.model import Event, Observation

CONTAINS: Final = ("contains", "lacks")
END: Final = "end"
OBJECT: Final = "object"  # whatever a call has to do with
_Places = Mapping[int, int]


def _numbers(event: Event, role: str) -> tuple[int, ...]:
    """The objects that an event is about in a role; 0 for a whole run."""
    if not role:
        return (0,)
    return objects_of(event) if role == OBJECT else event.subjects.get(role, ())


def objects_of(event: Event) -> tuple[int, ...]:
    """The objects that a call is made on, makes, or is given."""
    subjects = event.subjects
    found = [number for role in ("self", "made", "given") for number in subjects.get(role, ())]
    return tuple(dict.fromkeys(found))


def _place(event: Event | None, places: _Places) -> object:
    return None if event is None else places.get(id(event), event)


@final
class Containing:
    """Whether an event of one label lies within a call of another.

    State: the `_last` such event, and the last gap.
    """

    def __init__(self, params: Params) -> None:
        self._is_call = matcher(params["call"])
        self._wanted = "contains" in params
        self._is_inner = matcher(params["contains" if self._wanted else "lacks"])
        self._last: Event | None = None
        self._gap: Event | None = None

    def feed(self, event: Event) -> Sequence[Observation]:
        """Judge a call when it has returned."""
        found: Sequence[Observation] = ()
        if event.kind == "gap":
            self._gap = event
        elif self._is_call(event):
            begun = event.sequence - event.values.get("lasted", 0)
            unseen = event.values.get("sampled") or self._is_within(self._gap, begun)
            if not unseen:
                inside = self._is_within(self._last, begun)
                trail = (self._last,) if inside and self._last is not None else ()
                holds = inside == self._wanted
                key = event.subjects.get("self", ())
                found = (observed(event, key, holds=holds, trail=() if holds else trail),)
        if self._is_inner(event):
            self._last = event
        return found

    @staticmethod
    def _is_within(event: Event | None, begun: int) -> bool:
        return event is not None and event.sequence >= begun

    def standing(self, places: _Places) -> tuple[object, ...]:
        """The events that are remembered."""
        return _place(self._last, places), _place(self._gap, places)


@final
@dataclass(slots=True)
class _Counted:
    """Since the last closing event. `opened` is that event, `told` whether there were too many."""

    opened: Event | None = None
    count: int = 0
    told: bool = False


@final
class CountedPer:
    """How many events of one label lie between two events of another, or in the whole run.

    What came before the first closing event is not judged. State: by object; `_off` once some were
    left out, `_seen` the last one.
    """

    def __init__(self, params: Params) -> None:
        self._counts, self._closes = matcher(params["of"]), matcher(params["per"])
        self._whole, self._role = params["per"] == END, params.get("same", "")
        self._least = params.get("at_least", 0)
        self._most = params.get("at_most", float("inf"))
        self._states: dict[int, _Counted] = {}
        self._off = False
        self._seen: Event | None = None

    def feed(self, event: Event) -> Sequence[Observation]:
        """Judge at the closing event; at once where there are too many."""
        if event.kind == "gap":
            self._states.clear()
            self._off = self._off or self._whole
            return ()
        if self._off or event.values.get("sampled"):
            self._off = True
            return ()
        found: list[Observation] = []
        if self._closes(event):
            everything = event.kind == END
            numbers = tuple(self._states) if everything else _numbers(event, self._role)
            found += [one for number in numbers for one in self._close(event, number)]
        if self._counts(event):
            found += [one for n in _numbers(event, self._role) for one in self._count(event, n)]
        return found

    def _close(self, event: Event, number: int) -> Sequence[Observation]:
        state = self._states.get(number)
        self._states[number] = _Counted(event)
        if state is None or state.told or (state.opened is None and event.kind != END):
            return ()
        if self._seen is None:
            return ()  # what this program never does, it does not forget
        trail = (self._seen,)
        holds = state.count >= self._least
        return (observed(event, (number,), holds=holds, trail=() if holds else trail),)

    def _count(self, event: Event, number: int) -> Sequence[Observation]:
        self._seen = event
        state = self._states.get(number)
        if state is None:
            if not self._whole:
                return ()
            state = self._states[number] = _Counted()
        state.count += 1
        if state.count <= self._most or state.told:
            return ()
        state.told = True
        return (observed(event, (number,), holds=False),)

    def standing(self, places: _Places) -> tuple[object, ...]:
        """All counts."""
        every = self._states.items()
        return (
            self._off,
            _place(self._seen, places),
            *((n, s.count, s.told, _place(s.opened, places)) for n, s in every),
        )


@final
@dataclass(slots=True)
class _Order:
    """Of one object: the last opening event with no closing one since, the last event in question
    since then, and the first one ever."""

    opened: Event | None = None
    seen: Event | None = None
    ever: Event | None = None


@final
class LabelOrder:
    """Existence, absence and precedence where calls take part; a run's `end` closes, too.

    State: by object; `_off` once some events were left out.
    """

    def __init__(self, params: Params) -> None:
        self._pattern = next(p for p in ("existence", "absence", "precedence") if p in params)
        between: Any = params.get("between")
        first, last = between or ("", params["before"])
        self._whole = last == END
        self._counts, self._opens, self._closes = map(matcher, (params[self._pattern], first, last))
        self._role = params.get("same", "")
        self._states: dict[int, _Order] = {}
        self._off = False

    def feed(self, event: Event) -> Sequence[Observation]:
        """Judge at the closing event."""
        if leaves_out(event):
            self._off = True
        if self._off:
            return ()
        if event.kind == END:
            closed = tuple(self._states) if self._whole else ()
            return [one for number in closed for one in self._close(event, self._states[number])]
        closes, opens, counts = self._closes(event), self._opens(event), self._counts(event)
        if not (closes or opens or counts):
            return ()
        found: list[Observation] = []
        for number in _numbers(event, self._role):
            state = self._states.setdefault(number, _Order())
            if closes:
                found += self._close(event, state)
            if opens:
                state.opened, state.seen = event, None
            elif counts:
                state.seen = event
            if counts:
                state.ever = state.ever or event
        return found

    def _close(self, event: Event, state: _Order) -> Sequence[Observation]:
        opened, seen, state.opened, state.seen = state.opened, state.seen, None, None
        if self._pattern == "precedence":
            holds, opened = state.ever is not None, None
        elif opened is None:
            return ()
        else:
            holds = (seen is not None) == (self._pattern == "existence")
        trail = tuple(one for one in (opened, seen) if one is not None)
        if holds:
            return (Observation(True, event, context_of(event), (), event.values),)
        return (observed(event, (), holds=False, trail=trail),)

    def standing(self, places: _Places) -> tuple[object, ...]:
        """Where all automata are."""
        every = self._states.items()
        events = ((n, (s.opened, s.seen, s.ever)) for n, s in every)
        return self._off, *((n, *(_place(e, places) for e in three)) for n, three in events)


@final
class Matched:
    """Whether two functions are given, or give, the same: each is compared with the last of the
    other. State: the last event of each that says something."""

    def __init__(self, params: Params) -> None:
        self._sides = (
            (matcher(params["of"]), params["field"]),
            (matcher(params["as"]), params["as_field"]),
        )
        self._last: list[Event | None] = [None, None]

    def feed(self, event: Event) -> Sequence[Observation]:
        """Judge an event of either by the last one of the other."""
        for mine, (concerns, field) in enumerate(self._sides):
            if field not in event.values or not concerns(event):
                continue
            self._last[mine] = event
            other = self._last[1 - mine]
            if other is None:
                return ()
            got, theirs = event.values[field], other.values[self._sides[1 - mine][1]]
            holds = got == theirs and type(got) is type(theirs)
            return (observed(event, (), holds=holds, trail=() if holds else (other,)),)
        return ()

    def standing(self, places: _Places) -> tuple[object, ...]:
        """The last events."""
        return tuple(_place(one, places) for one in self._last)
