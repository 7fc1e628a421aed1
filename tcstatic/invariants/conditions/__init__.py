"""Precondition text, a small tree of it, and its truth over the fields of a context."""

from tcstatic.invariants.conditions.parsing import parse
from tcstatic.invariants.conditions.possible import Values, possible
from tcstatic.invariants.conditions.printing import to_text
from tcstatic.invariants.conditions.tree import (
    And,
    Compare,
    Condition,
    Constant,
    Field,
    Has,
    Not,
    Operator,
    Or,
    fields_of,
)
from tcstatic.invariants.conditions.truth import Judge, compile_condition, evaluate

__all__ = [
    "And",
    "Compare",
    "Condition",
    "Constant",
    "Field",
    "Has",
    "Judge",
    "Not",
    "Operator",
    "Or",
    "Values",
    "compile_condition",
    "evaluate",
    "fields_of",
    "parse",
    "possible",
    "to_text",
]
