"""All that some examples have in common, as a condition: the specific end of the version space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from tcstatic.infer.smt.columns import MISSING, Column, Group, is_number
from tcstatic.infer.smt.literals import Atom, Table
from tcstatic.infer.smt.thresholds import is_threshold, limit_of
from tcstatic.invariants.conditions import And, Compare, Condition, Constant, Field, Has, Not, Or

# Fields with more values say nothing about what is common.
_MOST_CHOICES: Final = 4


def specific_of(
    columns: Sequence[Column], table: Table, terms: Sequence[tuple[Sequence[Atom], int]]
) -> Condition | None:
    """Return, for each term, all that the positive examples under it have in common.

    A term is its atoms and the positive examples that it covers.
    """
    return joined_or([joined_and(_common(columns, table, atoms, cover)) for atoms, cover in terms])


def joined_and(atoms: Sequence[Atom]) -> Condition | None:
    """The conjunction; None, which is always true, of nothing."""
    if len(atoms) < 2:
        return atoms[0] if atoms else None
    return And(tuple(atoms))


def joined_or(items: Sequence[Condition | None]) -> Condition | None:
    """The disjunction of different conditions; always true if one of them is, or there is none."""
    kept = [item for item in dict.fromkeys(items) if item is not None]
    if len(kept) < 2 or None in items:
        return kept[0] if kept and None not in items else None
    return Or(tuple(kept))


def _common(columns: Sequence[Column], table: Table, own: Sequence[Atom], cover: int) -> list[Atom]:
    atoms: list[Atom] = []
    told: set[str] = set()
    for column in columns:
        here = [code for code, bits in enumerate(column.bits) if bits.positive & cover]
        common = list(_of_field(column, [column.values[code] for code in here]))
        if common:
            told.add(column.name)
        atoms += common
    limits = [literal.atom for literal in table.literals if not cover & ~literal.true.positive]
    for atom in _strongest([*own, *filter(is_threshold, limits)]):
        if field_of(atom) not in told:
            atoms.append(atom)
    return atoms


def _strongest(atoms: Sequence[Atom]) -> Iterator[Atom]:
    """Of thresholds in one direction only the one that implies the others; all other atoms."""
    limits: dict[tuple[str, str], Compare] = {}
    for atom in atoms:
        if not (is_threshold(atom)):
            yield atom
            continue
        place = atom.left.name, atom.operator
        other = limits.setdefault(place, atom)
        if (limit_of(atom) < limit_of(other)) == (atom.operator == "<="):
            limits[place] = atom
    yield from limits.values()


def _of_field(column: Column, values: list[Any]) -> Iterator[Atom]:
    field = Field(column.name)
    if MISSING in values:
        if len(values) == 1:
            yield Not(Has(column.name))
        return
    if any(isinstance(value, Group) or value != value for value in values):
        return
    if len(values) == 1:
        (value,) = values
        if all(isinstance(one, bool) or one is MISSING for one in column.values):
            yield field if value else Not(field)
        else:
            yield Compare(field, "==", Constant(value))
    elif 1 < len(values) <= _MOST_CHOICES and _are_names(values):
        yield Compare(field, "in", tuple(map(Constant, values)))


def _are_names(values: list[Any]) -> bool:
    """Whether a list of them is worth reading: no numbers, and not True and False."""
    return any(isinstance(value, str) for value in values) and not any(map(is_number, values))


def field_of(atom: Atom) -> str:
    """The field that the atom asks about."""
    match atom:
        case Field(name) | Has(name):
            return name
        case Not(Field(name) | Has(name)):
            return name
        case Compare(Field(name)):
            return name
    raise AssertionError(atom)
