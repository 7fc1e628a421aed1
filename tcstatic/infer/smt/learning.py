"""Positive and negative contexts -> a precondition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import final

from tcstatic.errors import Unlearnable
from tcstatic.infer.smt.alternatives import alternatives
from tcstatic.infer.smt.columns import Column, Number, columns, recut
from tcstatic.infer.smt.examples import Example, Learned
from tcstatic.infer.smt.literals import Costs, Table, tabulate
from tcstatic.infer.smt.searching import Found, Search
from tcstatic.infer.smt.specific import joined_and, joined_or, specific_of
from tcstatic.infer.smt.terms import Term, Work
from tcstatic.infer.smt.thresholds import Loosened, ends, loosened

EFFORT = 40_000
"""Steps of search by default: a step takes some microseconds, and most need a few hundred."""

# A threshold that was moved is a place for thresholds in the next round.
_ROUNDS = 3


def learn(
    examples: Iterable[Example],
    *,
    costs: Costs | None = None,
    accidental: float = 0.0,
    most_terms: int = 3,
    effort: int = EFFORT,
) -> Learned:
    """Return the precondition that rejects all negative examples, at both ends.

    Of all disjunctions of up to `most_terms` conjunctions of atoms, the most general one that is
    true in no negative example leaves the fewest positive ones uncovered, has the fewest terms,
    costs least (`costs` gives the cost of an atom), and comes first by its texts; in this order.
    `accidental` is the share of contexts outside of the true precondition in which the hypothesis
    holds by accident: with it, a literal must win as many positive examples as chance cannot.

    The answer depends on the examples and their order alone. The search stops after `effort` steps;
    what was found until then is returned, and `exact` is False.

    Raises Unlearnable where no positive example can be told from all negative ones.
    """
    given = list(examples)
    positives = [example for example in given if example.positive]
    negatives = [example for example in given if not example.positive]
    if not positives:
        raise Unlearnable("no precondition can be learnt: there is no positive example")
    read = columns(positives, negatives)
    if not negatives:
        table = tabulate(read, costs)
        always = Term((0, ()), (), table.every.positive, 0)
        always_true = _Round(read, table, Found((always,), True, 0), (loosened(always, table, {}),))
        return _learned(positives, 0, always_true)

    def search(table: Table, work: Work) -> Found:
        return Search(table, most_terms, accidental, work).run()

    def recutting(column: Column, cuts: Sequence[Number]) -> Column:
        return recut(column, cuts, positives, negatives)

    best = _best(read, costs, search, recutting, Work(effort), tails=accidental <= 0)
    if not best.found.terms:
        raise Unlearnable(
            "no precondition can be learnt: no atom tells any of the "
            f"{len(positives)} positive examples from all negative ones"
        )
    return _learned(positives, sum(example.count for example in negatives), best)


@final
@dataclass(frozen=True, slots=True)
class _Round:
    """One search, with the atoms that there were, and its terms with the loosest thresholds."""

    read: Sequence[Column]
    table: Table
    found: Found
    terms: tuple[Loosened, ...]

    @property
    def cover(self) -> int:
        """The positive examples that are covered."""
        cover = 0
        for term in self.terms:
            cover |= term.cover
        return cover

    @property
    def uncovered(self) -> int:
        """How many are not."""
        return self.table.positives - self.cover.bit_count()


def _best(
    read: Sequence[Column],
    costs: Costs | None,
    search: Callable[[Table, Work], Found],
    recutting: Callable[[Column, Sequence[Number]], Column],
    work: Work,
    *,
    tails: bool,
) -> _Round:
    """The best of a few rounds: each adds the places for thresholds that the one before lacked."""
    best: _Round | None = None
    for _ in range(_ROUNDS):
        table = tabulate(read, costs)
        found = search(table, work)
        by_name = {column.name: column for column in read}
        now = _Round(
            read, table, found, tuple(loosened(term, table, by_name) for term in found.terms)
        )
        if best is None or not tails or now.uncovered <= best.uncovered:
            best = now
        more = _more_cuts(now, tails=tails)
        if not more or work.done:
            break
        read = [
            recutting(column, more[column.name]) if column.name in more else column
            for column in read
        ]
    assert best is not None
    return best


def _more_cuts(now: _Round, *, tails: bool) -> dict[str, list[Number]]:
    """New places for thresholds, by field, with the old ones: those to which thresholds were moved;
    with `tails`, also the ends of what is not covered yet, if the search was no exact one."""
    wanted = [place for term in now.terms for place in term.moved]
    missing = now.table.every.positive & ~now.cover
    if tails and missing and not now.found.exact:
        wanted += [
            (column.name, cut)
            for column in now.read
            for cut in ends(column, missing, now.table.positives)
        ]
    more: dict[str, list[Number]] = {}
    for column in now.read:
        cuts = {cut for name, cut in wanted if name == column.name} - set(column.cuts)
        if cuts:
            more[column.name] = [*column.cuts, *cuts]
    return more


def _learned(positives: Sequence[Example], rejected: int, best: _Round) -> Learned:
    chosen = compress(positives, map(int, format(best.cover, f"0{len(positives)}b")))
    covered = sum(example.count for example in chosen)
    terms = [(term.atoms, term.cover) for term in best.terms]
    return Learned(
        joined_or([joined_and(atoms) for atoms, _ in terms]),
        specific_of(best.read, best.table, terms),
        covered,
        sum(example.count for example in positives) - covered,
        rejected,
        best.found.exact,
        _reason(best),
    )


def _reason(best: _Round) -> str:
    found, table = best.found, best.table
    by_name = {column.name: column for column in best.read}
    said = [
        "proved: no other formula of these atoms does better"
        if found.exact
        else "not proved to be the simplest"
    ]
    if found.conflicts:
        said.append(f"{found.conflicts} positive examples cannot be told from a negative one")
    said += [
        f"instead of {text} these examples allow {', '.join(others)}"
        for text, others in alternatives(found.terms, best.terms, table, by_name).items()
    ]
    return "; ".join(said)
