"""Thresholds of a chosen term, moved to the loosest numbers that still reject all negatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

from tcstatic.infer.smt.columns import Column, is_number
from tcstatic.infer.smt.literals import Atom, Table
from tcstatic.infer.smt.terms import Term
from tcstatic.invariants.conditions import Compare, Constant


def loosened(
    term: Term, table: Table, columns: Mapping[str, Column]
) -> tuple[tuple[Atom, ...], int]:
    """Return the term's atoms, with the loosest thresholds, and whom they cover."""
    atoms = [table.literals[index].atom for index in term.literals]
    true = [table.literals[index].true for index in term.literals]
    positives = [one.positive for one in true]
    negatives = [one.negative for one in true]
    for place, atom in enumerate(atoms):
        if not (isinstance(atom, Compare) and atom.operator in ("<=", ">")):
            continue
        rest = table.every.negative
        for other, bits in enumerate(negatives):
            if other != place:
                rest &= bits
        values = columns[atom.left.name].raw
        atoms[place] = moved = _moved(atom, values, rest, table)
        truth = [_holds(moved, value) for value in values]
        positives[place] = _packed(truth[: table.positives])
        negatives[place] = _packed(truth[table.positives :])
    cover = table.every.positive
    for bits in positives:
        cover &= bits
    return tuple(atoms), cover


def _moved(atom: Compare, values: Sequence[Any], rest: int, table: Table) -> Compare:
    flags = map(int, format(rest, f"0{table.negatives}b"))
    against = list(filter(is_number, compress(values[table.positives :], flags)))
    if not against:
        return atom
    if atom.operator == ">":
        return Compare(atom.left, ">", Constant(max(against)))
    least = min(against)
    return Compare(
        atom.left,
        "<=",
        Constant(max(value for value in values if is_number(value) and value < least)),
    )


def _holds(atom: Compare, value: Any) -> bool:
    assert isinstance(atom.right, Constant)
    limit: Any = atom.right.value
    return is_number(value) and bool(value <= limit if atom.operator == "<=" else value > limit)


def _packed(truth: Sequence[bool]) -> int:
    return int("".join("1" if one else "0" for one in truth), 2) if truth else 0
