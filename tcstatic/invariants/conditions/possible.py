"""Whether a condition can hold where some fields can have few values only.

The values of those fields are tried; what is known of nothing else may be anything, each time it is
asked. So "no" is always right; "yes" is, where no unknown field is asked twice; else it takes a
solver (`tcstatic.infer.smt.satisfiable`) to tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from math import prod
from typing import Final

from tcstatic.invariants.conditions.tree import And, Compare, Condition, Field, Has, Not, Or
from tcstatic.invariants.conditions.truth import evaluate
from tcstatic.model import Scalar

Values = Mapping[str, tuple[Scalar, ...]]
"""Of some fields, the values that they can have where they are there at all; none: never there."""

# Combinations of values that are tried.
MOST_TRIED: Final = 4096
_ANY: Final = frozenset({True, False, None})
_THERE: Final = frozenset({True, False})
_Truths = frozenset[bool | None]


def possible(condition: Condition, values: Values) -> bool | None:
    """Return whether the condition can be true; None where that is not told by trying."""
    asked = list(_asked(condition))
    unknown = [name for name in asked if name not in values]
    known = sorted({name for name in asked if name in values})
    if prod(len(values[name]) + 1 for name in known) > MOST_TRIED:
        return None
    for chosen in product(*(((), *((value,) for value in values[name])) for name in known)):
        fields = {name: one[0] for name, one in zip(known, chosen, strict=True) if one}
        if True in _truths(condition, fields, frozenset(known)):
            alone = max(Counter(unknown).values(), default=0) < 2
            return True if alone else None
    return False


def _asked(condition: Condition) -> Iterator[str]:
    """The fields of each atom, as often as they are asked."""
    match condition:
        case Field(name) | Has(name):
            yield name
        case Compare(left, _, right):
            yield left.name
            if isinstance(right, Field):
                yield right.name
        case Not(item):
            yield from _asked(item)
        case And(items) | Or(items):
            for item in items:
                yield from _asked(item)


def _truths(condition: Condition, fields: Mapping[str, Scalar], known: frozenset[str]) -> _Truths:
    """What the condition may be, where these of the `known` fields are there and no other one."""
    match condition:
        case Not(item):
            truths = _truths(item, fields, known)
            return frozenset(None if one is None else not one for one in truths)
        case And(items) | Or(items):
            decisive = isinstance(condition, Or)
            return _decided_by(decisive, [_truths(item, fields, known) for item in items])
    if known.issuperset(_asked(condition)):
        return frozenset({evaluate(condition, fields)})
    return _THERE if isinstance(condition, Has) else _ANY


def _decided_by(decisive: bool, items: Iterable[_Truths]) -> _Truths:
    """An and is false where one item is, an or true; it is otherwise where all items are."""
    every = list(items)
    found: set[bool | None] = set()
    if any(decisive in one for one in every):
        found.add(decisive)
    if all((not decisive) in one for one in every):
        found.add(not decisive)
    open_ones = [one - {decisive} for one in every]
    if all(open_ones) and any(None in one for one in open_ones):
        found.add(None)
    return frozenset(found)
