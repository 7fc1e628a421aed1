"""The tree of a condition."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, final

from tcstatic.model import Scalar

Operator = Literal["==", "!=", "<", "<=", ">", ">=", "in"]


@final
@dataclass(frozen=True, slots=True)
class Constant:
    """A literal. `kind` takes part in equality, because 1 == True == 1.0 in Python."""

    value: Scalar
    kind: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", type(self.value).__name__)


@final
@dataclass(frozen=True, slots=True)
class Field:
    """A field of the context: its value in a comparison, its truthiness on its own.

    The name may be ``same(x)`` or ``distinct(x)``: whether x is equal in all witnesses of an
    observation, or differs in each.
    """

    name: str


@final
@dataclass(frozen=True, slots=True)
class Has:
    """``has(name)``: whether the context has the field at all. Never unknown."""

    name: str


@final
@dataclass(frozen=True, slots=True)
class Compare:
    """`left operator right`; `right` is a tuple of constants for ``in``, and only there."""

    left: Field
    operator: Operator
    right: Constant | Field | tuple[Constant, ...]


@final
@dataclass(frozen=True, slots=True)
class Not:
    """Negation; unknown stays unknown."""

    item: Condition


@final
@dataclass(frozen=True, slots=True)
class And:
    """Conjunction of two or more conditions."""

    items: tuple[Condition, ...]


@final
@dataclass(frozen=True, slots=True)
class Or:
    """Disjunction of two or more conditions."""

    items: tuple[Condition, ...]


Condition = And | Or | Not | Compare | Field | Has


def fields_of(condition: Condition) -> frozenset[str]:
    """Return the names of all fields that the condition asks about."""
    match condition:
        case Field(name) | Has(name):
            return frozenset((name,))
        case Compare(left, _, Field(name)):
            return frozenset((left.name, name))
        case Compare(left):
            return frozenset((left.name,))
        case Not(item):
            return fields_of(item)
        case And(items) | Or(items):
            return frozenset().union(*map(fields_of, items))
