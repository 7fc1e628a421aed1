"""A condition as text; `parse` gives the same tree back."""

from __future__ import annotations

import math

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


def to_text(condition: Condition) -> str:
    """Return the condition as text that parses to an equal tree."""
    match condition:
        case Field(name):
            return name
        case Has(name):
            return f"has({name})"
        case Compare(left, operator, right):
            return f"{left.name} {operator} {_operand(right)}"
        case Not(item):
            return f"not {_inner(item)}"
        case And(items):
            return " and ".join(map(_inner, items))
        case Or(items):
            return " or ".join(map(_inner, items))


def _inner(condition: Condition) -> str:
    text = to_text(condition)
    return f"({text})" if isinstance(condition, And | Or | Not) else text


def _operand(operand: Constant | Field | tuple[Constant, ...]) -> str:
    if isinstance(operand, Field):
        return operand.name
    if isinstance(operand, Constant):
        return _literal(operand)
    items = ", ".join(map(_literal, operand))
    return f"({items},)" if len(operand) == 1 else f"({items})"


def _literal(constant: Constant) -> str:
    # repr() of an infinite float is a name; a literal that overflows is the same float.
    if isinstance(constant.value, float) and math.isinf(constant.value):
        return "1e999" if constant.value > 0 else "-1e999"
    return repr(constant.value)
