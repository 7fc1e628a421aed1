"""Traces -> invariants: survey, propose, observe, learn, prune."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, final

from tcstatic.infer.executors import each
from tcstatic.infer.learning import Learned, learned, least_runs, violations
from tcstatic.infer.observing import MIN_SUPPORT, Examples, Observing, claim_of, propose
from tcstatic.infer.pruning import pruned
from tcstatic.infer.surveying import Survey
from tcstatic.infer.wording import invariant
from tcstatic.model import Event, Hypothesis, Invariant, Stretch

# Hypotheses are learnt in so many parts where there is an executor.
_PARTS: Final = 8
Events = Callable[[], Iterable[Event] | Iterable[Stretch]]
"""Gives the events of a run; those of a trace are learnt from faster in stretches."""


@final
@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be inferred: `relations` by name (all where none is named), the least `support`,
    whether what was learnt must hold on each run that it was not learnt from (`holdout`), and the
    claims (`claim_of`) that are not to be learnt (`without`)."""

    relations: tuple[str, ...] = ()
    support: int = MIN_SUPPORT
    holdout: bool = True
    without: frozenset[str] = frozenset()


@final
@dataclass(frozen=True, slots=True)
class Inferred:
    """What was inferred, and how many hypotheses were looked at."""

    invariants: tuple[Invariant, ...]
    learned: tuple[Learned, ...]
    hypotheses: int
    events: int

    @property
    def claims(self) -> tuple[str, ...]:
        """What each of them claims, preconditions aside."""
        return tuple(claim_of(one.hypothesis) for one in self.learned)


def infer(
    runs: Mapping[str, Events], wanted: Wanted = Wanted(), executor: Executor | None = None
) -> Inferred:
    """Return the invariants that all runs support, in the order of their relations.

    The order of the runs does not matter, and neither does the `executor` that does the work: it is
    done in this process where there is none. What gives the events of a run goes to the executor,
    and so has to be picklable (`Run.stretches` is, where its workers see the same files).
    """
    return learn_from(observe(runs, executor), wanted, executor)


def observe(
    runs: Mapping[str, Events],
    executor: Executor | None = None,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Survey]:
    """Survey each run by itself: all that has to be known of it. `progress` is told of each."""
    found = {}
    names = sorted(runs)
    surveys = each(executor, _surveyed, [(name, runs[name]) for name in names])
    for name, survey in zip(names, surveys, strict=True):
        found[name] = survey
        if progress is not None:
            progress(1)
    return found


def joined(surveys: Mapping[str, Survey]) -> Survey:
    """All runs in one survey, in the order of their names."""
    whole = Survey()
    for name in sorted(surveys):
        whole.join(surveys[name])
    return whole


def learn_from(
    surveys: Mapping[str, Survey], wanted: Wanted = Wanted(), executor: Executor | None = None
) -> Inferred:
    """Return what `infer` does, of runs that were surveyed before, here or elsewhere."""
    whole = joined(surveys)
    proposed = propose(whole.vocabulary(), wanted.relations)
    hypotheses = [one for one in proposed if claim_of(one) not in wanted.without]
    parts = 1 if executor is None else max(1, min(_PARTS, len(hypotheses)))
    given = whole if executor is None else pickle.dumps(whole, pickle.HIGHEST_PROTOCOL)
    work = [(given, hypotheses[part::parts], wanted) for part in range(parts)]
    answers = list(each(executor, _part, work))
    every = [answers[n % parts][n // parts] for n in range(len(hypotheses))]
    kept = pruned([one for one in every if one is not None])
    return Inferred(
        tuple(invariant(one, number) for number, one in enumerate(kept, start=1)),
        tuple(kept),
        len(hypotheses),
        sum(one.runs.total() for one in whole.distinct),
    )


def _surveyed(given: tuple[str, Events]) -> Survey:
    run, events = given
    survey = Survey()
    survey.add(run, events())
    return survey


def _part(given: tuple[Survey | bytes, list[Hypothesis], Wanted]) -> list[Learned | None]:
    """What is learnt of some hypotheses."""
    told, hypotheses, wanted = given
    survey: Survey = pickle.loads(told) if isinstance(told, bytes) else told
    return [_learned(one, survey.runs, wanted) for one in observed(survey, hypotheses)]


def observed(survey: Survey, hypotheses: Sequence[Hypothesis]) -> list[Examples]:
    """In which contexts of all runs each hypothesis held, and in which it did not."""
    observing = Observing(hypotheses)
    observing.each(survey.distinct)
    observing.order(survey.between)
    observing.histories(survey.histories)
    return observing.examples


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
