"""Truth of a condition over fields, in three values.

None is unknown: a field that is missing, or that cannot be ordered against the other side. It
propagates by Kleene's logic: what the known parts decide is decided.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from tcstatic.invariants.conditions.tree import (
    And,
    Compare,
    Condition,
    Constant,
    Field,
    Has,
    Not,
    Or,
)
from tcstatic.model import Scalar

Judge = Callable[[Mapping[str, Scalar]], bool | None]

_MISSING: Final = object()
_ORDERINGS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def evaluate(condition: Condition, fields: Mapping[str, Scalar]) -> bool | None:
    """Return whether the condition holds over `fields`; None where that is unknown."""
    return compile_condition(condition)(fields)


def compile_condition(condition: Condition) -> Judge:
    """Return a function of the fields that does the work of `evaluate` without the tree."""
    match condition:
        case Field(name):
            return _truthy(name)
        case Has(name):
            return lambda fields: name in fields
        case Compare():
            return _compare(condition)
        case Not(item):
            return _not(compile_condition(item))
        case And(items):
            return _decided_by(False, tuple(map(compile_condition, items)))
        case Or(items):
            return _decided_by(True, tuple(map(compile_condition, items)))


def _truthy(name: str) -> Judge:
    def judge(fields: Mapping[str, Scalar]) -> bool | None:
        value = fields.get(name, _MISSING)
        return None if value is _MISSING else bool(value)

    return judge


def _not(inner: Judge) -> Judge:
    def judge(fields: Mapping[str, Scalar]) -> bool | None:
        truth = inner(fields)
        return None if truth is None else not truth

    return judge


def _decided_by(decisive: bool, items: tuple[Judge, ...]) -> Judge:
    """One decisive item decides (False for and, True for or); else unknown wins."""

    def judge(fields: Mapping[str, Scalar]) -> bool | None:
        truth: bool | None = not decisive
        for item in items:
            one = item(fields)
            if one is decisive:
                return decisive
            if one is None:
                truth = None
        return truth

    return judge


def _compare(compare: Compare) -> Judge:
    name, right = compare.left.name, compare.right
    if isinstance(right, tuple):
        return _in(name, tuple(constant.value for constant in right))
    test = _test(compare.operator)
    if isinstance(right, Constant):
        return _against_constant(name, test, right.value)
    return _against_field(name, test, right.name)


def _in(name: str, choices: tuple[Scalar, ...]) -> Judge:
    def judge(fields: Mapping[str, Scalar]) -> bool | None:
        value: Any = fields.get(name, _MISSING)
        if value is _MISSING:
            return None
        return any(_equal(value, choice) for choice in choices)

    return judge


def _against_constant(
    name: str, test: Callable[[Any, Any], bool | None], constant: Scalar
) -> Judge:
    def judge(fields: Mapping[str, Scalar]) -> bool | None:
        value = fields.get(name, _MISSING)
        return None if value is _MISSING else test(value, constant)

    return judge


def _against_field(name: str, test: Callable[[Any, Any], bool | None], other: str) -> Judge:
    def judge(fields: Mapping[str, Scalar]) -> bool | None:
        value, second = fields.get(name, _MISSING), fields.get(other, _MISSING)
        return None if value is _MISSING or second is _MISSING else test(value, second)

    return judge


def _test(name: str) -> Callable[[Any, Any], bool | None]:
    if name == "==":
        return _equal
    if name == "!=":
        return lambda one, other: not _equal(one, other)
    order = _ORDERINGS[name]
    return lambda one, other: order(one, other) if _ordered(one, other) else None


def _equal(one: Any, other: Any) -> bool:
    """Equality that keeps the type of a bool: 1 is not True; 1 is 1.0."""
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _ordered(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return False
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    return numbers or (isinstance(one, str) and isinstance(other, str))
