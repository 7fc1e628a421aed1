"""Thresholds of a chosen term, moved to the loosest numbers that still reject all negatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, TypeGuard, final

from tcstatic.infer.smt.columns import Column, Number, is_number
from tcstatic.infer.smt.literals import Atom, Table
from tcstatic.infer.smt.terms import Term
from tcstatic.invariants.conditions import Compare, Constant

_DIGITS = bytes.maketrans(b"\0\1", b"01")


@final
@dataclass(frozen=True, slots=True)
class Loosened:
    """The atoms of a term and whom they cover; which thresholds were moved, by field."""

    atoms: tuple[Atom, ...]
    cover: int
    moved: tuple[tuple[str, Number], ...]


def loosened(term: Term, table: Table, columns: Mapping[str, Column]) -> Loosened:
    """Return the term with the loosest thresholds, which are values that were seen."""
    atoms = [table.literals[index].atom for index in term.literals]
    positives = [table.positive[index] for index in term.literals]
    negatives = [table.negative[index] for index in term.literals]
    moved: list[tuple[str, Number]] = []
    for place, atom in enumerate(atoms):
        if not is_threshold(atom):
            continue
        rest = table.every.negative
        for other, bits in enumerate(negatives):
            if other != place:
                rest &= bits
        values = _numbers_of(columns[atom.left.name])
        atoms[place] = looser = _moved(atom, values, rest, table)
        if looser != atom:
            moved.append((atom.left.name, limit_of(looser)))
            truth = _truth(looser, values)
            positives[place] = int(truth[: table.positives], 2)
            negatives[place] = int(truth[table.positives :], 2)
    cover = table.every.positive
    for bits in positives:
        cover &= bits
    return Loosened(tuple(atoms), cover, tuple(moved))


def ends(column: Column, some: int, positives: int) -> tuple[Number, ...]:
    """Where thresholds would have to stand to keep all numbers of some positive examples."""
    if not column.cuts:
        return ()
    values = _numbers_of(column)
    kept = set(filter(is_number, compress(values, map(int, format(some, f"0{positives}b")))))
    if not kept:
        return ()
    below = [value for value in set(values) if is_number(value) and value < min(kept)]
    return (max(kept), max(below)) if below else (max(kept),)


def is_threshold(atom: Atom) -> TypeGuard[Compare]:
    """Whether the atom is ``field <= number`` or ``field > number``."""
    return isinstance(atom, Compare) and atom.operator in ("<=", ">")


def limit_of(atom: Compare) -> Number:
    """The number of a threshold."""
    assert isinstance(atom.right, Constant)
    assert isinstance(atom.right.value, int | float)
    return atom.right.value


def tightest(atom: Compare, column: Column, cover: int, table: Table) -> Compare:
    """The tightest threshold that keeps these positive examples."""
    values = _numbers_of(column)
    flags = map(int, format(cover, f"0{table.positives}b"))
    kept = set(compress(values[: table.positives], flags))
    if atom.operator == "<=":
        return Compare(atom.left, "<=", Constant(max(kept)))
    least = min(kept)
    below = max(value for value in set(values) if is_number(value) and value < least)
    return Compare(atom.left, ">", Constant(below))


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
    limit = limit_of(atom)
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
