"""An ``order`` invariant and one object, over all paths together: where there are too many to go
through one by one.

As in `judging`, a happening that is not certain to concern the object is left out in one run and
put in, as each kind that the relation listens to, in others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from tcstatic.invariants.relations import monitor_of, needs_of
from tcstatic.invariants.relations.order import OrderMonitor
from tcstatic.lint.rooted import WILD, Failure, Judged, Rooted, with_trail
from tcstatic.model import Event, Invariant, Observation
from tcstatic.program.paths import Happening
from tcstatic.program.paths.folding import End, Fold

_NOTHING: Final[frozenset[int]] = frozenset()
Verdict = Callable[[Observation], str]


@final
class _At:
    """Where paths are: the monitor's position, what failed on the way and what did not."""

    __slots__ = ("failed", "key", "monitor", "passed", "previous")

    def __init__(
        self,
        monitor: OrderMonitor,
        failed: frozenset[int] = _NOTHING,
        passed: frozenset[int] = _NOTHING,
        previous: int = 0,
    ) -> None:
        self.monitor = monitor
        self.failed = failed
        self.passed = passed
        self.previous = previous
        self.key = (monitor.position(), failed, passed, previous)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _At) and self.key == other.key


@final
class _Run:
    """One assumption about what is uncertain. State: events made, and failures seen."""

    def __init__(
        self, invariant: Invariant, rooted: Rooted, role: str, number: int, verdict: Verdict
    ) -> None:
        self._invariant = invariant
        self._rooted = rooted
        self._role = role
        self._number = number
        self._verdict = verdict
        self._events: dict[tuple[int, str], Event] = {}
        self.seen: dict[int, tuple[Observation, Happening]] = {}

    def fresh(self) -> OrderMonitor:
        """A monitor that has seen nothing."""
        monitor = monitor_of(self._invariant)
        assert isinstance(monitor, OrderMonitor)
        return monitor

    def advance(self, one: Happening, kind: str, at: _At) -> _At:
        """Where a happening leads."""
        if at.previous == id(one) and self._rooted.stands_for_several(
            one, self._role, self._number
        ):
            return at
        monitor = at.monitor.copy()
        if kind == f"{self._role}.new":
            monitor = self.fresh()
        failed, passed = at.failed, at.passed
        for observation in monitor.feed(self._event(one, kind)):
            if self._verdict(observation) == "fail":
                failed |= {id(one)}
                self.seen.setdefault(id(one), (with_trail(observation, one), one))
            else:
                passed |= {id(one)}
        return _At(monitor, failed, passed, id(one))

    def _event(self, one: Happening, kind: str) -> Event:
        known = self._events.get((id(one), kind))
        if known is None:
            known = self._rooted.event(one)
            subjects = {**known.subjects, self._role: (self._number,)}
            if kind != known.kind or (self._role and subjects != known.subjects):
                known = known._replace(kind=kind, subjects=subjects)
            self._events[id(one), kind] = known
        return known


def judge_together(
    invariant: Invariant,
    rooted: Rooted,
    role: str,
    number: int,
    concerns: Callable[[Happening], str],
    verdict: Verdict,
) -> Judged:
    """What a root says of an invariant and one object."""
    kinds = sorted(needs_of(invariant).events - {"end"})
    run = _Run(invariant, rooted, role, number, verdict)
    certain = _ends(run, rooted, concerns, "")
    if certain is None:
        return Judged((), 0, "too many paths")
    uncertain = any((how := concerns(one)) == WILD or how.endswith("?") for one in rooted.every)
    failed, passed, held = _outcome(certain)
    for kind in kinds if uncertain else ():
        ends = _ends(_Run(invariant, rooted, role, number, verdict), rooted, concerns, kind)
        if ends is None:
            return Judged((), 0, "too many paths")
        also, not_, _ = _outcome(ends)
        passed |= not_ | (failed - also)
    failures = tuple(
        Failure(run.seen[key][0], rooted.before(run.seen[key][1]), True)
        for key in run.seen
        if key in failed and key not in passed
    )
    doubt = "an object is handed to code that is not known" if uncertain else ""
    return Judged(failures, held, doubt)


def _ends(
    run: _Run, rooted: Rooted, concerns: Callable[[Happening], str], assumed: str
) -> list[End] | None:
    """Where all paths end if what is uncertain is of the assumed kind; None if that is too much."""

    def kind_of(one: Happening) -> str:
        how = concerns(one)
        if how == WILD:
            return assumed
        if how.endswith("?"):
            return assumed if how == f"{assumed}?" else ""
        return how

    def advance(one: Happening, at: object) -> _At:
        assert isinstance(at, _At)
        return run.advance(one, kind_of(one), at)

    fold = Fold(lambda one: bool(kind_of(one)), advance, rooted.effort)
    ends = fold.run(rooted.root.block, _At(run.fresh()))
    rooted.effort = max(fold.left, 0)
    if fold.cut:
        return None
    last = rooted.end()
    if last is None or "end" not in needs_of(run._invariant).events:
        return ends
    return [
        end._replace(state=advance(last, end.state))
        for end in ends
        if end.ended not in ("raise", "stop")
    ]


def _outcome(ends: list[End]) -> tuple[set[int], set[int], int]:
    """What fails on some full path, what passes on some full path, and how much held at all."""
    failed: set[int] = set()
    passed: set[int] = set()
    held = 0
    for end in ends:
        at = end.state
        assert isinstance(at, _At)
        held += len(at.passed)
        if end.full:
            failed |= at.failed
            passed |= at.passed - at.failed
    return failed, passed, held
