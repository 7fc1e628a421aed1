"""Atoms that could stand in the place of a chosen one: the examples cannot tell them apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tcstatic.infer.smt.columns import Column
from tcstatic.infer.smt.literals import Table
from tcstatic.infer.smt.terms import Term
from tcstatic.infer.smt.thresholds import Loosened, is_threshold, tightest
from tcstatic.invariants.conditions import to_text

_MOST_SHOWN: Final = 3


def alternatives(
    terms: Sequence[Term],
    loosened: Sequence[Loosened],
    table: Table,
    columns: Mapping[str, Column],
) -> dict[str, list[str]]:
    """Return, for the text of each atom that has some, a few texts that would do as well."""
    found: dict[str, list[str]] = {}
    for place, (term, own) in enumerate(zip(terms, loosened, strict=True)):
        alone = own.cover
        for other, another in enumerate(loosened):
            if other != place:
                alone &= ~another.cover
        for index, atom in zip(term.literals, own.atoms, strict=True):
            others = [*table.literals[index].same, *_instead(term, index, alone, table)]
            if is_threshold(atom) and alone:
                tight = tightest(atom, columns[atom.left.name], alone, table)
                others = [to_text(tight), *others]
            text = to_text(atom)
            if different := [other for other in dict.fromkeys(others) if other != text]:
                found[text] = different[:_MOST_SHOWN]
    return found


def _instead(term: Term, index: int, alone: int, table: Table) -> Iterator[str]:
    """Literals that reject the same and keep what this term alone covers."""
    rest = table.every.negative
    for other in term.literals:
        if other != index:
            rest &= table.negative[other]
    for other, literal in enumerate(table.literals):
        rejects = not rest & table.negative[other]
        if other not in term.literals and rejects and not alone & ~table.positive[other]:
            yield literal.text
