"""Invariants at work: the monitor, the conditions and the diagnosis of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.check.causes import Diagnosis
from tcstatic.check.repeating import MOVING
from tcstatic.invariants.conditions import Judge, compile_condition, fields_of, parse
from tcstatic.invariants.relations import Reading, Remembering, monitor_of
from tcstatic.invariants.relations.called import CALL, label_of_call, labels_of
from tcstatic.invariants.relations.sequences import END
from tcstatic.model import Event, Invariant, Member, Needs, Observation

# The status of an invariant that was inferred.
LEARNT: Final = "learnt"
# Relations whose monitors judge each event by itself.
STATELESS: Final = frozenset({"effect", "member", "count", "argument", "result", "equal", "flow"})

MOST_KNOWN: Final = 16  # events of one kind that are known again

_Remembers = Callable[[Mapping[int, int]], tuple[object, ...]]


@final
class Rule:
    """An invariant at work: what feeds its monitor, its precondition and diagnosis.

    `when` is the scope of every observation; `unless` excuses a failed one, and has nothing to
    say where the relation holds; under `doubt` it waits for the end; where `seen` is not met, no
    reference run has shown such a context. What was learnt to be there (`wanted`) is not missed in
    a program that never does it. `explains` are the codes that it explains, itself or by
    others. Where it `derives`, conditions are asked of a failed one about what no field of the
    event is. `standing` tells what a monitor remembers that may be asked for it; one that `repeats`
    remembers nothing.
    """

    __slots__ = (
        "code",
        "derives",
        "diagnosis",
        "doubt",
        "excuse",
        "explains",
        "feed",
        "invariant",
        "monitor",
        "repeats",
        "scope",
        "seen",
        "standing",
        "wanted",
    )

    def __init__(self, invariant: Invariant) -> None:
        self.invariant = invariant
        self.monitor = monitor = monitor_of(invariant)
        self.feed: Callable[[Event], Iterable[Observation]] = monitor.feed
        self.code = invariant.code
        self.diagnosis = Diagnosis(invariant)
        self.scope = _compiled(invariant.when)
        self.excuse = _compiled(invariant.unless)
        self.doubt = _compiled(invariant.doubt)
        self.seen = _compiled(invariant.seen)
        params = invariant.params if invariant.status == LEARNT else {}
        self.wanted: str = params.get("existence") or params.get("precedence") or ""
        asked = _fields(invariant.when) | _fields(invariant.unless)
        self.repeats = invariant.relation in STATELESS and not asked & MOVING
        derived = monitor.reads().derived if isinstance(monitor, Reading) else frozenset()
        conditions = (invariant.when, invariant.unless, invariant.doubt, invariant.seen)
        self.derives = bool(derived & frozenset().union(*map(_fields, conditions)))
        self.standing: _Remembers | None = None
        if isinstance(monitor, Remembering):
            self.repeats = False
            self.feed = _once(monitor.feed)
            if not asked & MOVING:
                self.standing = monitor.standing
        self.explains: frozenset[str] = frozenset()


@final
@dataclass(frozen=True, slots=True)
class Known:
    """How an event of these `values` and `members` fared: what it gave where all held, by code, and
    the `rest` of the rules, which judge each event for itself."""

    values: Mapping[str, Any]
    members: tuple[Member, ...]
    held: tuple[tuple[str, int], ...]
    rest: tuple[Rule, ...]


@final
class Kind:
    """The rules that judge events of one kind, and how the last of them fared.

    State: `last` is that event; `held` what it gave, by code, where nothing failed and an event
    that says the same is judged the same; `again` the other rules, None while `last` is half
    judged; `times` how many events have said the same since; `_known` some that were judged before.
    """

    __slots__ = ("_known", "again", "held", "last", "rules", "times")

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.last: Event | None = None
        self.held: list[tuple[str, int]] = []
        self.again: list[Rule] | None = None
        self.times = 0
        self._known: dict[object, Known] = {}

    def known(self, event: Event) -> Known | None:
        """How an event fared that said the same, if one did not long ago."""
        found = self._known.get(_said(event))
        return found if found is not None and found.values is event.values else None

    def keep(self, event: Event, held: Iterable[tuple[str, int]], rest: Iterable[Rule]) -> None:
        """Know an event again, by the objects that it is made of: they are kept alive."""
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        known = Known(event.values, event.members, tuple(held), tuple(rest))
        self._known[_said(event)] = known


def _said(event: Event) -> object:
    """What an event says, but for where and when."""
    fields = event.context.fields.items()
    still = tuple([field for field in fields if field[0] not in MOVING])
    return id(event.values), id(event.members), still


def _once(feed: Callable[[Event], Iterable[Observation]]) -> Callable[[Event], Any]:
    """Feed an event once to a monitor that remembers, by however many labels it is known."""
    last: Event | None = None

    def fed(event: Event) -> Iterable[Observation]:
        nonlocal last
        if event is last:
            return ()
        last = event
        return feed(event)

    return fed


def labels_needed(needs: Needs) -> Iterable[str]:
    """What the events are known by that a monitor must be fed."""
    yield from (kind for kind in needs.events if kind != CALL or not needs.calls)
    yield "gap"
    if needs.calls:
        yield from sorted(map(label_of_call, needs.calls))
        yield from (CALL, END)  # a call without a name tells that others are left out


def keys_of(event: Event) -> tuple[str, ...]:
    return (event.kind,) if event.kind != CALL else labels_of(event) or (CALL,)


def explained(invariant: Invariant, explains: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """Return the codes that an invariant explains, itself or by way of others; never its own."""
    found: set[str] = set()
    todo = list(invariant.explains)
    while todo:
        code = todo.pop()
        if code not in found:
            found.add(code)
            todo.extend(explains.get(code, ()))
    return frozenset(found - {invariant.code})


def _fields(text: str) -> frozenset[str]:
    return fields_of(parse(text)) if text else frozenset()


def _compiled(text: str) -> Judge | None:
    return compile_condition(parse(text)) if text else None
