"""Whether a condition can hold where some fields can have few values only.

Values are tried, field by field: of those fields all that they can have, of others that are asked
more than once some of each kind and about each constant that they are compared with, which is as
good as all. What is asked once may be anything. Two fields that are compared with one another, and
what takes too long, are left to a solver (`tcstatic.infer.smt.satisfiable`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final, final

from tcstatic.invariants.conditions.tree import And, Compare, Condition, Field, Has, Not, Or
from tcstatic.invariants.conditions.truth import evaluate
from tcstatic.model import Scalar

Values = Mapping[str, tuple[Scalar, ...]]
"""Of some fields, the values that they can have where they are there at all; none: never there."""

# Values that are tried; a step takes some ten microseconds.
MOST_TRIED: Final = 1000
_MISSING: Final = object()
_ANY: Final = frozenset({True, False, None})
_THERE: Final = frozenset({True, False})
_Truths = frozenset[bool | None]


def possible(condition: Condition, values: Values) -> bool | None:
    """Return whether the condition can be true; None where that is not told by trying."""
    asked = Counter(_asked(condition))
    pairs = {name for atom in _atoms(condition) for name in _compared(atom)}
    tried: dict[str, tuple[Any, ...]] = {}
    told = pairs <= values.keys()
    for name in sorted(asked, key=lambda one: (-asked[one], one)):
        if name in values:
            tried[name] = (*values[name], _MISSING)
        elif asked[name] > 1 and name not in pairs:
            tried[name] = tuple(_samples(name, condition))
    try:
        found = _Trial(condition, tried).finds({}, [*tried])
    except OverflowError:
        return None
    return found if told or not found else None


@final
class _Trial:
    """State: how many values may still be tried."""

    def __init__(self, condition: Condition, tried: Mapping[str, tuple[Any, ...]]) -> None:
        self._condition = condition
        self._tried = tried
        self._left = MOST_TRIED

    def finds(self, chosen: dict[str, Any], left: list[str]) -> bool:
        """Whether the condition can be true with what was chosen; raises OverflowError."""
        self._left -= 1
        if self._left < 0:
            raise OverflowError
        fields = {name: value for name, value in chosen.items() if value is not _MISSING}
        if True not in _truths(self._condition, fields, chosen.keys()):
            return False
        if not left:
            return True
        name, *others = left
        return any(self.finds({**chosen, name: one}, others) for one in self._tried[name])


def _atoms(condition: Condition) -> Iterator[Condition]:
    match condition:
        case Not(item):
            yield from _atoms(item)
        case And(items) | Or(items):
            for item in items:
                yield from _atoms(item)
        case _:
            yield condition


def _compared(atom: Condition) -> tuple[str, ...]:
    """The fields of an atom that compares two of them."""
    if isinstance(atom, Compare) and isinstance(atom.right, Field):
        return atom.left.name, atom.right.name
    return ()


def _samples(name: str, condition: Condition) -> Iterator[Any]:
    """Values of a field between which the atoms of the condition tell; more of them would be told
    apart by none."""
    constants = [one for atom in _atoms(condition) for one in _constants(name, atom)]
    yield from (True, False, _MISSING)
    if not constants:
        return
    yield None
    numbers = sorted(
        {0.0, *(float(one) for one in constants if isinstance(one, int | float) and one == one)}
    )
    yield from (math.nan, -math.inf, *numbers, math.inf)
    yield from ((low + high) / 2 for low, high in pairwise((-1e308, *numbers, 1e308)))
    for text in {"", *(one for one in constants if isinstance(one, str))}:
        yield text
        yield f"{text}\0"


def _constants(name: str, atom: Condition) -> Iterator[Scalar]:
    if isinstance(atom, Compare) and atom.left.name == name and not isinstance(atom.right, Field):
        choices = atom.right if isinstance(atom.right, tuple) else (atom.right,)
        yield from (one.value for one in choices)


def _asked(condition: Condition) -> Iterator[str]:
    """The fields of each atom, as often as they are asked."""
    for atom in _atoms(condition):
        match atom:
            case Field(name) | Has(name):
                yield name
            case Compare(left, _, right):
                yield left.name
                if isinstance(right, Field):
                    yield right.name


def _truths(condition: Condition, fields: Mapping[str, Scalar], known: Collection[str]) -> _Truths:
    """What the condition may be, where these of the `known` fields are there and no other one."""
    match condition:
        case Not(item):
            truths = _truths(item, fields, known)
            return frozenset(None if one is None else not one for one in truths)
        case And(items) | Or(items):
            decisive = isinstance(condition, Or)
            return _decided_by(decisive, [_truths(item, fields, known) for item in items])
    if all(name in known for name in _asked(condition)):
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
