"""A recorded run -> a report, by the same driver, settled where it was settled live."""

from __future__ import annotations

import contextlib
import gc
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import compress
from typing import Final, final

from tcstatic.check.driver import Driver
from tcstatic.check.scope import MayHold, outside_of, told_cheaply
from tcstatic.invariants.relations import needs_of
from tcstatic.model import Event, Invariant, Report, RunFacts, RunView, Stretch

# The status of an invariant that was inferred.
LEARNT: Final = "learnt"
# Events that are made at once: few enough to be gone before the collector looks for cycles.
CHUNK: Final = 512
LINTED: Final = "decided from the source by tcstatic lint"


def judged(
    run: RunView, invariants: Sequence[Invariant], may_hold: MayHold = told_cheaply
) -> Report:
    """Return what the invariants say of a run. Those that were out of scope live are so again, and
    others for the same reasons; `may_hold` tells whether a precondition can hold there."""
    facts = run.facts
    outside = _out_of_scope(facts, invariants, may_hold)
    driver = replay(run, [one for one in invariants if one.code not in outside])
    counts = driver.counts()
    return Report(
        command="check",
        script=facts.script,
        exit_status=facts.exit_status,
        invariants=replace(counts, out_of_scope={**outside, **counts.out_of_scope}),
        findings=driver.findings(),
        probes=facts.probes,
        ranks=(facts.rank,),
        incomplete=tuple(_gaps(facts)),
    )


def replay(run: RunView, invariants: Sequence[Invariant]) -> Driver:
    """Feed a run's events to a driver; a run that was killed is not judged as one that ended."""
    driver = Driver(invariants)
    with _without_collector():
        for stretch in run.stretches():
            _feed(driver, stretch)
    driver.settle(final=run.facts.finished, whole=not run.facts.exit_status)
    return driver


def _feed(driver: Driver, stretch: Stretch) -> None:
    """Feed the events that can make a difference, settled where it was settled live; of rounds
    that say what the one before them did, only the last."""
    says, concerns = stretch.says, _concerns(driver, stretch)
    places = list(compress(range(len(says)), map(concerns.__getitem__, says)))
    told = [says[place] for place in places]
    settled = {bisect_right(places, row) for row in compress(range(len(says)), stretch.settled)}
    ends = sorted({*settled, len(places)})
    made = _Made(stretch, places)
    if 0 in settled and driver.failing:
        driver.settle()
    at = 0
    while at < len(told):
        rounds = _alike(told, at, driver.repeated)
        if rounds > 1:
            at += (rounds - 1) * driver.repeated
            driver.count_repeated(rounds - 1)
        end = ends[bisect_right(ends, at)]
        driver.feed_all(made.between(at, end))
        at = end
        if at in settled and driver.failing:
            driver.settle()


def _concerns(driver: Driver, stretch: Stretch) -> list[bool]:
    """Of each number, whether what it says can make a difference."""
    firsts = stretch.firsts
    chunks = (stretch.made(firsts[at : at + CHUNK]) for at in range(0, len(firsts), CHUNK))
    return [driver.concerns(event) for chunk in chunks for event in chunk]


def _alike(told: Sequence[int], at: int, length: int) -> int:
    """How many rounds of this length follow that say what the one before them did, at least."""
    most = (len(told) - at) // length if 0 < length <= at else 0
    if not most or told[at : at + length] != told[at - length : at]:
        return 0
    found = more = 1
    while more and found < most:
        more = min(more, most - found)
        end = at + found * length
        if told[end : end + more * length] == told[at : at + more * length]:
            found, more = found + more, 2 * more
        else:
            more //= 2
            most = min(most, found + 2 * more)
    return found


@final
class _Made:
    """Events of a stretch, at some of its places. State: those from `_start` on that were made
    ahead; `_ahead` more next time, as long as none is passed over."""

    def __init__(self, stretch: Stretch, places: Sequence[int]) -> None:
        self._stretch, self._places = stretch, places
        self._start, self._ahead = 0, 1
        self._events: Sequence[Event] = ()

    def between(self, start: int, end: int) -> Sequence[Event]:
        """Return the events from the start-th to before the end-th of the places."""
        if end > self._start + len(self._events):
            passed_over = start > self._start + len(self._events)
            self._ahead = 1 if passed_over else min(2 * self._ahead, CHUNK)
            self._start = start
            self._events = self._stretch.made(self._places[start : max(end, start + self._ahead)])
        return self._events[start - self._start : end - self._start]


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Events hold no cycles, and to look for some takes as long as to read the events."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _out_of_scope(
    facts: RunFacts, invariants: Sequence[Invariant], may_hold: MayHold
) -> dict[str, str]:
    outside = outside_of(invariants, facts.assumed, may_hold)
    lost = {one.kind for one in facts.dropped}
    for one in invariants:
        missing = sorted(needs_of(one).events & lost)
        # A code of what was learnt is another invariant in each file.
        if one.code in facts.out_of_scope and one.status != LEARNT:
            outside[one.code] = facts.out_of_scope[one.code]
        elif "run" not in one.feeds:
            outside[one.code] = LINTED
        elif missing:
            outside[one.code] = f"not all events were recorded of: {', '.join(missing)}"
    return outside


def _gaps(facts: RunFacts) -> Iterator[str]:
    who = f"rank {facts.rank}"
    if facts.problem:
        yield f"{who}: {facts.problem}"
    elif not facts.finished:
        yield f"{who} ended without a last word (killed?): its last events are missing"
    for one in facts.dropped:
        yield (
            f"{who}: {one.count} events were not recorded, all {one.kind} from event {one.since} on"
        )
