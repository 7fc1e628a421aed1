"""Positive and negative contexts -> a precondition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress

from tcstatic.errors import Unlearnable
from tcstatic.infer.smt.alternatives import alternatives
from tcstatic.infer.smt.columns import Column, columns, recut
from tcstatic.infer.smt.examples import Example, Learned
from tcstatic.infer.smt.literals import Costs, Table, tabulate
from tcstatic.infer.smt.searching import Found, Search
from tcstatic.infer.smt.specific import joined_and, joined_or, specific_of
from tcstatic.infer.smt.terms import Term, Work
from tcstatic.infer.smt.thresholds import Loosened, loosened

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
    rejected = sum(example.count for example in negatives)
    read = columns(positives, negatives)
    if not negatives:
        table = tabulate(read, costs)
        always = Term((0, ()), (), table.every.positive, 0)
        found = Found((always,), True, 0)
        return _learned(positives, [loosened(always, table, {})], read, table, 0, found)
    work = Work(effort)
    for _ in range(_ROUNDS):
        table = tabulate(read, costs)
        found = Search(table, most_terms, accidental, work).run()
        by_name = {column.name: column for column in read}
        terms = [loosened(term, table, by_name) for term in found.terms]
        moved = {
            (name, cut)
            for term in terms
            for name, cut in term.moved
            if cut not in by_name[name].cuts
        }
        if not moved or work.done:
            break
        for name in {name for name, _ in moved}:
            cuts = [*by_name[name].cuts, *(cut for field, cut in moved if field == name)]
            by_name[name] = recut(by_name[name], cuts, positives, negatives)
        read = list(by_name.values())
    if not found.terms:
        raise Unlearnable(
            "no precondition can be learnt: no atom tells any of the "
            f"{len(positives)} positive examples from all negative ones"
        )
    return _learned(positives, terms, read, table, rejected, found)


def _learned(
    positives: Sequence[Example],
    terms: Sequence[Loosened],
    read: Sequence[Column],
    table: Table,
    rejected: int,
    found: Found,
) -> Learned:
    cover = 0
    for term in terms:
        cover |= term.cover
    chosen = compress(positives, map(int, format(cover, f"0{len(positives)}b")))
    covered = sum(example.count for example in chosen)
    uncovered = sum(example.count for example in positives) - covered
    return Learned(
        joined_or([joined_and(term.atoms) for term in terms]),
        specific_of(read, table, [(term.atoms, term.cover) for term in terms]),
        covered,
        uncovered,
        rejected,
        found.exact,
        _reason(found, terms, table, read),
    )


def _reason(found: Found, terms: Sequence[Loosened], table: Table, read: Sequence[Column]) -> str:
    by_name = {column.name: column for column in read}
    said = [
        "proved: no other formula of these atoms does better"
        if found.exact
        else "not proved to be the simplest"
    ]
    if found.conflicts:
        said.append(f"{found.conflicts} positive examples cannot be told from a negative one")
    said += [
        f"instead of {text} these examples allow {', '.join(others)}"
        for text, others in alternatives(found.terms, terms, table, by_name).items()
    ]
    return "; ".join(said)
