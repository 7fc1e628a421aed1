"""A recorded run -> a report, by the same driver, settled where it was settled live."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from tcstatic.check.driver import Driver
from tcstatic.check.scope import MayHold, outside_of, told_cheaply
from tcstatic.check.silencing import parted
from tcstatic.check.tabling import Tabled
from tcstatic.invariants.relations import needs_of
from tcstatic.model import Invariant, Report, RunFacts, RunView

# The status of an invariant that was inferred.
LEARNT: Final = "learnt"
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
    findings, silenced = parted(driver.findings(), facts.suppressions)
    return Report(
        command="check",
        script=facts.script,
        exit_status=facts.exit_status,
        invariants=replace(counts, out_of_scope={**outside, **counts.out_of_scope}),
        findings=findings,
        probes=facts.probes,
        ranks=(facts.rank,),
        incomplete=tuple(_gaps(facts)),
        silenced=silenced,
    )


def replay(run: RunView, invariants: Sequence[Invariant]) -> Driver:
    """Feed a run's events to a driver; a run that was killed is not judged as one that ended."""
    driver = Driver(invariants)
    with _without_collector():
        tabled = Tabled(driver)
        for stretch in run.stretches():
            tabled.feed(stretch)
    driver.settle(final=run.facts.finished, whole=not run.facts.exit_status)
    return driver


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
