"""Thresholds of a chosen term, moved to the loosest numbers that still reject all negatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

from tcstatic.infer.smt.columns import Column, is_number
from tcstatic.infer.smt.literals import Atom, Table
from tcstatic.infer.smt.terms import Term
from tcstatic.invariants.conditions import Compare, Constant

_DIGITS = bytes.maketrans(b"\0\1", b"01")


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
        values = _numbers_of(columns[atom.left.name])
        atoms[place] = moved = _moved(atom, values, rest, table)
        truth = _truth(moved, values)
        positives[place] = int(truth[: table.positives], 2)
        negatives[place] = int(truth[table.positives :], 2)
    cover = table.every.positive
    for bits in positives:
        cover &= bits
    return tuple(atoms), cover


def _moved(atom: Compare, values: Sequence[Any], rest: int, table: Table) -> Compare:
    flags = map(int, format(rest, f"0{table.negatives}b"))
    against = list(filter(is_number, set(compress(values[table.positives :], flags))))
    if not against:
        return atom
    if atom.operator == ">":
        return Compare(atom.left, ">", Constant(max(against)))
    least = min(against)
    below = max(value for value in set(values) if is_number(value) and value < least)
    return Compare(atom.left, "<=", Constant(below))


def _truth(atom: Compare, values: Sequence[Any]) -> bytes:
    """One digit for each value: whether the atom is true of it."""
    assert isinstance(atom.right, Constant)
    limit: Any = atom.right.value
    true = {
        value
        for value in set(values)
        if is_number(value) and (value <= limit if atom.operator == "<=" else value > limit)
    }
    return bytes(map(true.__contains__, values)).translate(_DIGITS)


def _numbers_of(column: Column) -> Sequence[Any]:
    """Its values, without bools: in a set, True and 1 would be one."""
    if bool not in set(map(type, column.raw)):
        return column.raw
    return [None if isinstance(value, bool) else value for value in column.raw]
