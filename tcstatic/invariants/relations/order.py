"""`order`: absence, existence and precedence of events, per subject.

The patterns are those of Dwyer, Avrunin and Corbett (ICSE 1999); each is a finite automaton:

- ``{existence: E, between: [A, B]}``: from each A to the next B there is an E;
- ``{absence: E, between: [A, B]}``: from the last A before a B to that B there is no E;
- ``{precedence: E, before: B}``: since the last B (or the start) there was an E before each B.

``same: ROLE`` runs one automaton per object in that role; ``given: G`` judges an interval only if
a G happened in it; ``since: VALUE`` names the event's value that tells when it began. Steps that
were not watched (a ``gap``) leave every automaton undecided.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

from tcstatic.invariants.relations.base import Params, check_keys, event_kind, observed, register
from tcstatic.model import EVENT_KINDS, Event, Needs, Observation

PATTERNS: Final = ("existence", "absence", "precedence")


@final
@dataclass(slots=True)
class _State:
    """One automaton. `opened` is the A of the open interval, `seen` the last E in it."""

    opened: Event | None = None
    seen: Event | None = None
    given: bool = False
    blind: bool = False


@final
class _OrderMonitor:
    """State: one `_State` per object; `_blind` after a gap, until an object's next B."""

    def __init__(self, params: Params) -> None:
        self._pattern = next(p for p in PATTERNS if p in params)
        self._event = params[self._pattern]
        between = params.get("between")
        self._first = between[0] if between else None
        self._last = between[1] if between else params["before"]
        self._given = params.get("given")
        self._role = params.get("same", "")
        self._since = params.get("since", "")
        self._states: dict[int, _State] = {}
        self._blind = False

    def feed(self, event: Event) -> Iterator[Observation]:
        if event.kind == "gap":
            self._states = {}
            self._blind = True
            return
        numbers = event.subjects.get(self._role, ()) if self._role else (0,)
        for number in numbers:
            state = self._states.get(number)
            if state is None:
                state = self._states[number] = _State(blind=self._blind)
            if event.kind == self._last:
                yield from self._judge(event, number, state)
            self._advance(event, state)

    def _judge(self, event: Event, number: int, state: _State) -> Iterator[Observation]:
        if self._pattern == "precedence":
            if not state.blind:
                yield self._observation(event, number, state, holds=state.seen is not None)
            state.blind = False
            state.seen = None
            return
        if state.opened is not None and (state.given or not self._given):
            present = state.seen is not None
            yield self._observation(
                event, number, state, holds=present == (self._pattern == "existence")
            )
        state.opened = state.seen = None
        state.given = False

    def _advance(self, event: Event, state: _State) -> None:
        if event.kind == self._first:
            state.opened, state.seen, state.given = event, None, False
        elif event.kind == self._event:
            state.seen = event
        if event.kind == self._given:
            state.given = True

    def _observation(self, event: Event, number: int, state: _State, *, holds: bool) -> Observation:
        trail = tuple(e for e in (state.opened, state.seen) if e is not None)
        return observed(event, (number,), holds=holds, trail=trail, since=self._since)


@final
@register
class Order:
    """Order of events; see the module's text."""

    name: ClassVar[str] = "order"

    def check(self, params: Params) -> None:
        """Raise ValueError if the parameters are not one pattern with its scope."""
        check_keys(params, (*PATTERNS, "between", "before", "same", "given", "since"))
        found = [pattern for pattern in PATTERNS if pattern in params]
        if len(found) != 1:
            raise ValueError(f"expected exactly one of {', '.join(PATTERNS)}")
        event_kind(params, found[0])
        if found[0] == "precedence":
            event_kind(params, "before")
        else:
            between: Any = params.get("between")
            if not isinstance(between, list | tuple) or len(between) != 2:
                raise ValueError("between: expected two event kinds")
            for kind in between:
                if kind not in EVENT_KINDS:
                    raise ValueError(f"between: {kind!r} is not an event kind")
        if "given" in params:
            event_kind(params, "given")

    def needs(self, params: Params) -> Needs:
        """Return the kinds named."""
        kinds = {params[p] for p in PATTERNS if p in params} | set(params.get("between", ()))
        kinds |= {params[k] for k in ("before", "given") if k in params}
        return Needs(frozenset(kinds))

    def monitor(self, params: Params) -> _OrderMonitor:
        """Return a fresh automaton."""
        return _OrderMonitor(params)
