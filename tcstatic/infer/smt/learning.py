"""Positive and negative contexts -> a precondition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress

from tcstatic.errors import Unlearnable
from tcstatic.infer.smt.columns import Column, columns
from tcstatic.infer.smt.examples import Example, Learned
from tcstatic.infer.smt.literals import Atom, Costs, Table, tabulate
from tcstatic.infer.smt.searching import Found, Search
from tcstatic.infer.smt.specific import joined_and, joined_or, specific_of
from tcstatic.infer.smt.thresholds import loosened

EFFORT = 40_000
"""Steps of search by default: a step takes some microseconds, and most need a few hundred."""


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
    table = tabulate(read, costs)
    everything = (1 << len(positives)) - 1
    if not negatives:
        return _learned(positives, [((), everything)], read, table, 0, Found((), True, 0))
    found = Search(table, most_terms, accidental, effort).run() if table.literals else None
    if found is None or not found.terms:
        raise Unlearnable(
            "no precondition can be learnt: each of the "
            f"{len(positives)} positive examples has the context of a negative one"
        )
    by_name = {column.name: column for column in read}
    terms = [loosened(term, table, by_name) for term in found.terms]
    return _learned(positives, terms, read, table, rejected, found)


def _learned(
    positives: Sequence[Example],
    terms: Sequence[tuple[tuple[Atom, ...], int]],
    read: Sequence[Column],
    table: Table,
    rejected: int,
    found: Found,
) -> Learned:
    cover = 0
    for _, covered in terms:
        cover |= covered
    chosen = compress(positives, map(int, format(cover, f"0{len(positives)}b")))
    covered = sum(example.count for example in chosen)
    uncovered = sum(example.count for example in positives) - covered
    return Learned(
        joined_or([joined_and(atoms) for atoms, _ in terms]),
        specific_of(read, table, terms),
        covered,
        uncovered,
        rejected,
        found.exact,
        _reason(found, table),
    )


def _reason(found: Found, table: Table) -> str:
    said = [
        "proved: no other formula of these atoms does better"
        if found.exact
        else "not proved to be the simplest"
    ]
    if found.conflicts:
        said.append(f"{found.conflicts} positive examples share their context with a negative one")
    for index in sorted({index for term in found.terms for index in term.literals}):
        literal = table.literals[index]
        if literal.same:
            same = ", ".join(literal.same)
            said.append(f"{literal.text} cannot be told from {same} on these examples")
    return "; ".join(said)
