"""Conditions -> formulas of Z3, in three values: when a condition is true, and when it is false.

A field is its kind (missing, None, False, True, number, string, NaN) and, for numbers and strings,
a place on a line on which the constants of all conditions stand in order. So strings need no theory
of strings, and integers, floats and infinities compare as Python compares them. Between two
neighbours on the line there is always room, which for a few pairs of strings ("a" and "a\\0") is
more than there is: then an implication is not found, never a wrong one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Any, final

import z3

from tcstatic.infer.smt.columns import is_number
from tcstatic.invariants.conditions import And, Compare, Condition, Constant, Field, Has, Not, Or
from tcstatic.model import Scalar


@final
class Kind(IntEnum):
    """What a field is."""

    MISSING, NONE, FALSE, TRUE, NUMBER, STRING, NAN = range(7)


def constants_of(condition: Condition) -> Iterator[Scalar]:
    """All constants of the condition."""
    match condition:
        case Compare(_, _, Constant(value)):
            yield value
        case Compare(_, _, tuple() as choices):
            yield from (one.value for one in choices)
        case Not(item):
            yield from constants_of(item)
        case And(items) | Or(items):
            for item in items:
                yield from constants_of(item)


def kind_of(value: Scalar) -> Kind:
    """The kind of a value."""
    if value is None:
        return Kind.NONE
    if isinstance(value, bool):
        return Kind.TRUE if value else Kind.FALSE
    if isinstance(value, str):
        return Kind.STRING
    return Kind.NUMBER if value == value else Kind.NAN


@final
class Encoding:
    """State: the variables of the fields named so far, and what limits them."""

    def __init__(self, constants: Iterable[Scalar]) -> None:
        known = [0, "", *constants]
        self._numbers: list[Any] = sorted(
            {value for value in known if isinstance(value, int | float) and is_number(value)}
        )
        strings = sorted({value for value in known if isinstance(value, str)})
        self._place: dict[Any, int] = {number: place for place, number in enumerate(self._numbers)}
        self._place |= {string: place for place, string in enumerate(strings)}
        self._fields: dict[str, tuple[Any, Any]] = {}
        self.limits: list[Any] = []

    def true(self, condition: Condition) -> Any:
        """When the condition is true."""
        return self._truths(condition)[0]

    def any_of(self, name: str, values: Iterable[Scalar], *, missing: bool) -> Any:
        """When the field has one of the values; or, if that may be, is missing."""
        kind, _ = self._field(name)
        return z3.Or(
            *([kind == Kind.MISSING] if missing else []),
            *(self._is(name, value, nan=True) for value in values),
        )

    def _truths(self, condition: Condition) -> tuple[Any, Any]:
        """When it is true, and when it is false; neither: unknown."""
        match condition:
            case Field(name):
                return self._flag(name)
            case Has(name):
                kind, _ = self._field(name)
                return kind != Kind.MISSING, kind == Kind.MISSING
            case Not(item):
                true, false = self._truths(item)
                return false, true
            case And(items):
                both = [self._truths(item) for item in items]
                return z3.And(*(one for one, _ in both)), z3.Or(*(one for _, one in both))
            case Or(items):
                both = [self._truths(item) for item in items]
                return z3.Or(*(one for one, _ in both)), z3.And(*(one for _, one in both))
            case Compare(left, operator, right):
                if isinstance(right, Field):
                    return self._against_field(left.name, operator, right.name)
                return self._against_constants(left.name, operator, right)

    def _field(self, name: str) -> tuple[Any, Any]:
        if name not in self._fields:
            kind, place = z3.Int(f"kind {name}"), z3.Real(f"place {name}")
            self._fields[name] = kind, place
            self.limits += [kind >= 0, kind < len(Kind)]
            self.limits.append(z3.Implies(kind == Kind.STRING, place >= 0))
            for end, sign in ((self._numbers[0], -1), (self._numbers[-1], 1)):
                if end == sign * math.inf:
                    limit = sign * place <= sign * self._place[end]
                    self.limits.append(z3.Implies(kind == Kind.NUMBER, limit))
        return self._fields[name]

    def _flag(self, name: str) -> tuple[Any, Any]:
        kind, place = self._field(name)
        empty = z3.Or(
            kind == Kind.NONE,
            kind == Kind.FALSE,
            z3.And(kind == Kind.NUMBER, place == self._place[0]),
            z3.And(kind == Kind.STRING, place == self._place[""]),
        )
        return z3.And(kind != Kind.MISSING, z3.Not(empty)), empty

    def _is(self, name: str, value: Scalar, *, nan: bool = False) -> Any:
        """When the field equals the value; NaN equals nothing, but can be asked for."""
        kind, place = self._field(name)
        wanted = kind_of(value)
        if wanted is Kind.NAN and not nan:
            return z3.BoolVal(False)
        if wanted in (Kind.NUMBER, Kind.STRING):
            return z3.And(kind == wanted, place == self._place[value])
        return kind == wanted

    def _against_constants(
        self, name: str, operator: str, right: Constant | tuple[Constant, ...]
    ) -> tuple[Any, Any]:
        kind, place = self._field(name)
        choices = right if isinstance(right, tuple) else (right,)
        if operator in ("==", "!=", "in"):
            equal = z3.Or(*(self._is(name, one.value) for one in choices))
            unequal = z3.And(kind != Kind.MISSING, z3.Not(equal))
            return (unequal, equal) if operator == "!=" else (equal, unequal)
        (constant,) = choices
        wanted = kind_of(constant.value)
        nothing = z3.BoolVal(False)
        if wanted is Kind.NAN:
            return nothing, z3.Or(kind == Kind.NUMBER, kind == Kind.NAN)
        if wanted not in (Kind.NUMBER, Kind.STRING):
            return nothing, nothing
        ordered = _ordered(operator, place, self._place[constant.value])
        false = z3.And(kind == wanted, z3.Not(ordered))
        if wanted is Kind.NUMBER:
            false = z3.Or(false, kind == Kind.NAN)
        return z3.And(kind == wanted, ordered), false

    def _against_field(self, left: str, operator: str, right: str) -> tuple[Any, Any]:
        (kind, place), (other, second) = self._field(left), self._field(right)
        if operator in ("==", "!="):
            valued = z3.Or(kind == Kind.NUMBER, kind == Kind.STRING)
            equal = z3.And(
                kind == other,
                kind != Kind.MISSING,
                kind != Kind.NAN,
                z3.Implies(valued, place == second),
            )
            present = z3.And(kind != Kind.MISSING, other != Kind.MISSING)
            unequal = z3.And(present, z3.Not(equal))
            return (unequal, equal) if operator == "!=" else (equal, unequal)
        numeric = z3.And(*(z3.Or(k == Kind.NUMBER, k == Kind.NAN) for k in (kind, other)))
        strings = z3.And(kind == Kind.STRING, other == Kind.STRING)
        exact = z3.Or(strings, z3.And(kind == Kind.NUMBER, other == Kind.NUMBER))
        true = z3.And(exact, _ordered(operator, place, second))
        return true, z3.And(z3.Or(numeric, strings), z3.Not(true))


def _ordered(operator: str, one: Any, other: Any) -> Any:
    match operator:
        case "<":
            return one < other
        case "<=":
            return one <= other
        case ">":
            return one > other
    return one >= other
