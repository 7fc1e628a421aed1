"""Traces -> invariants: survey, propose, observe, learn, prune."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

from tcstatic.infer.learning import MIN_SUPPORT, Learned, learned, violations
from tcstatic.infer.observing import Examples, Observing, propose
from tcstatic.infer.pruning import pruned
from tcstatic.infer.surveying import Survey
from tcstatic.infer.wording import invariant
from tcstatic.model import Event, Invariant

LEAST_RUNS: Final = 3
Events = Callable[[], Iterable[Event]]
"""Gives the events of a run."""


@final
@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be inferred: `relations` by name (all where none is named), the least `support`,
    whether what was learnt must hold on each run that it was not learnt from (`holdout`)."""

    relations: tuple[str, ...] = ()
    support: int = MIN_SUPPORT
    holdout: bool = True


@final
@dataclass(frozen=True, slots=True)
class Inferred:
    """What was inferred, and how many hypotheses were looked at."""

    invariants: tuple[Invariant, ...]
    learned: tuple[Learned, ...]
    hypotheses: int
    events: int


def infer(runs: Mapping[str, Events], wanted: Wanted = Wanted()) -> Inferred:
    """Return the invariants that all runs support, in the order of their relations."""
    survey = Survey()
    for run, events in runs.items():
        survey.add(run, events())
    observing = Observing(propose(survey.vocabulary(), wanted.relations))
    observing.each(survey.distinct)
    observing.order(survey.between)
    found = [
        one
        for examples in observing.examples
        if (one := _learned(examples, survey.runs, wanted)) is not None
    ]
    kept = pruned(found)
    return Inferred(
        tuple(invariant(one, number) for number, one in enumerate(kept, start=1)),
        tuple(kept),
        len(observing.examples),
        sum(one.runs.total() for one in survey.distinct),
    )


def least_runs(runs: int) -> int:
    """In how many of so many runs an invariant must have held: in one of one, in two of three, in
    three of six. What only one program does may be a habit of that program."""
    return min(1 + runs // 3, LEAST_RUNS)


def _learned(examples: Examples, runs: Sequence[str], wanted: Wanted) -> Learned | None:
    one = learned(examples, support=wanted.support)
    if one is None or not wanted.holdout or len(runs) < 2:
        return one
    if len(one.runs) < least_runs(len(runs)):
        return None
    for run in runs:
        without = learned(examples, support=wanted.support, without=run)
        if without is not None and violations(without, examples, run):
            return None
    return one
