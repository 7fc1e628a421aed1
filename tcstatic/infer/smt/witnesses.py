"""Contexts in which a condition is true, guessed: most implications are refuted by one of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tcstatic.infer.smt.columns import is_number
from tcstatic.invariants.conditions import And, Compare, Condition, Constant, Field, Has, Not, Or
from tcstatic.model import Scalar

_OPPOSITE: Final[dict[str, str]] = {
    "==": "!=",
    "!=": "==",
    "<": ">=",
    ">=": "<",
    ">": "<=",
    "<=": ">",
}


def guesses(condition: Condition, *, wanted: bool = True) -> Iterator[dict[str, Scalar]]:
    """Yield contexts in which the condition may be true (or false): to be checked by the caller.

    They hold as few fields as possible; of an and, the first guess for each part is joined.
    """
    match condition:
        case Field(name):
            yield {name: wanted}
        case Has(name):
            yield {name: True} if wanted else {}
        case Not(item):
            yield from guesses(item, wanted=not wanted)
        case And(items) | Or(items):
            if isinstance(condition, And) is wanted:
                parts = [next(guesses(item, wanted=wanted), {}) for item in items]
                yield {name: value for part in parts for name, value in part.items()}
            else:
                for item in items:
                    yield from guesses(item, wanted=wanted)
        case Compare():
            yield from _compared(condition, wanted)


def _compared(compare: Compare, wanted: bool) -> Iterator[dict[str, Scalar]]:
    name, operator, right = compare.left.name, compare.operator, compare.right
    if isinstance(right, Constant):
        yield {name: _value(operator if wanted else _OPPOSITE[operator], right.value)}
    elif isinstance(right, tuple):
        values = [choice.value for choice in right]
        yield from ({name: value} for value in (values if wanted else [_other(values)]))


def _value(operator: str, constant: Scalar) -> Scalar:
    if operator == "!=":
        return _other([constant])
    if isinstance(constant, int | float) and is_number(constant) and operator in "<>":
        return constant + 1 if operator == ">" else constant - 1
    if isinstance(constant, str) and operator == ">":
        return constant + "_"
    return constant


def _other(values: list[Scalar]) -> Scalar:
    """A value of the first one's kind that is none of them."""
    if isinstance(values[0], bool) if values else False:
        return not values[0]
    return "_".join(str(value) for value in values) + "_"
