"""Columns -> literals: the atoms that may stand in a precondition, and which examples have them.

What no precondition needs is dropped: literals that reject nothing or cover nothing, values that
are unique to an example, and of literals that the examples cannot tell apart all but the cheapest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.infer.smt.columns import MISSING, Column, Group, Split, is_number
from tcstatic.invariants.conditions import Compare, Constant, Field, Has, Not, to_text

Atom = Field | Not | Compare | Has
"""A condition without and, or: a flag, its negation, a comparison, the presence of a field."""
Costs = Callable[[Atom], int]

# One literal costs 10 and more, so that fewer literals win; then flags before constants before
# numbers. What was seen in one run only counts as two literals.
_STAGES: Final = frozenset({"stage", "phase"})
_SEEN_ONCE: Final = 10
# Numbers with more values than this have thresholds, but no equality.
_MOST_CONSTANTS: Final = 8
_MOST_CHOICES: Final = 4


def default_cost(atom: Atom) -> int:
    """What a literal costs where the caller does not say."""
    match atom:
        case Field():
            return 10
        case Not():
            return 13 if isinstance(atom.item, Has) else 11
        case Has():
            return 12
        case Compare(_, "in", tuple() as choices):
            numbers = any(is_number(choice.value) for choice in choices)
            return (16 if numbers else 12) + len(choices)
        case Compare(left, operator, Constant(value)) if not is_number(value):
            return (10 if left.name in _STAGES else 11) + (2 if operator == "!=" else 0)
        case Compare(_, "==" | "!="):
            return 17
    return 16


@final
@dataclass(frozen=True, slots=True)
class Literal:
    """An atom, the examples in which it is true, and its text, by which ties are broken."""

    atom: Atom
    text: str
    cost: int
    true: Split
    same: tuple[str, ...] = ()
    """Texts of other atoms that are true in the same examples."""

    @property
    def size(self) -> int:
        """How many constants there are after ``in``; 1 for all other atoms."""
        constants = self.atom.right if isinstance(self.atom, Compare) else None
        return len(constants) if isinstance(constants, tuple) else 1


@final
@dataclass(frozen=True, slots=True)
class Table:
    """All literals, cheapest first, and the literals of each example.

    A set of literals is an int, the literal at index i being the bit 1 << i; a set of examples is
    an int too, in which the first example is the highest bit.
    """

    literals: tuple[Literal, ...]
    positive: tuple[int, ...]
    negative: tuple[int, ...]
    positives: int
    negatives: int
    rows: tuple[tuple[bytes, bytes, tuple[int, ...]], ...]

    @property
    def every(self) -> Split:
        """All examples."""
        return Split((1 << self.positives) - 1, (1 << self.negatives) - 1)

    def of_positive(self, example: int) -> int:
        """The literals that are true in the positive example at this bit's index."""
        place = self.positives - 1 - example
        return sum([masks[codes[place]] for codes, _, masks in self.rows])

    def of_negative(self, example: int) -> int:
        """The literals that are true in the negative example at this bit's index."""
        place = self.negatives - 1 - example
        return sum([masks[codes[place]] for _, codes, masks in self.rows])


def tabulate(columns: Sequence[Column], costs: Costs | None = None) -> Table:
    """Return the table of the columns' literals."""
    positives = len(columns[0].positive) if columns else 0
    negatives = len(columns[0].negative) if columns else 0
    found: list[tuple[int, str, Atom, Split, int, tuple[int, ...]]] = []
    for index, column in enumerate(columns):
        for atom, codes in _atoms(column):
            true = _union(column, codes)
            if not true.positive or true.negative.bit_count() == negatives:
                continue
            cost = (costs or default_cost)(atom)
            if column.single and costs is None and _only_once(column, atom):
                cost += _SEEN_ONCE
            found.append((cost, to_text(atom), atom, true, index, codes))
    found.sort(key=lambda one: one[:2])
    kept: dict[Split, Literal] = {}
    masks = [[0] * len(column.values) for column in columns]
    for cost, text, atom, true, index, codes in found:
        if (first := kept.get(true)) is not None:
            kept[true] = Literal(first.atom, first.text, first.cost, true, (*first.same, text))
            continue
        for code in codes:
            masks[index][code] |= 1 << len(kept)
        kept[true] = Literal(atom, text, cost, true)
    literals = tuple(kept.values())
    return Table(
        literals,
        tuple(literal.true.positive for literal in literals),
        tuple(literal.true.negative for literal in literals),
        positives,
        negatives,
        tuple(
            (column.positive, column.negative, tuple(mask))
            for column, mask in zip(columns, masks, strict=True)
            if any(mask)
        ),
    )


def _union(column: Column, codes: tuple[int, ...]) -> Split:
    positive = negative = 0
    for code in codes:
        positive |= column.bits[code].positive
        negative |= column.bits[code].negative
    return Split(positive, negative)


def _only_once(column: Column, atom: Atom) -> bool:
    """Whether the atom names a constant that was seen in one of several runs only."""
    if not isinstance(atom, Compare):
        return False
    named = atom.right if isinstance(atom.right, tuple) else (atom.right,)
    constants = {(one.kind, one.value) for one in named if isinstance(one, Constant)}
    return any(
        (type(value).__name__, value) in constants
        for value in (column.values[code] for code in column.single)
        if value is not MISSING and not isinstance(value, Group)
    )


def _atoms(column: Column) -> Iterator[tuple[Atom, tuple[int, ...]]]:
    """Each atom with the codes for which it is true."""
    if len(column.values) < 2:
        return
    codes = range(len(column.values))
    present = tuple(code for code in codes if column.values[code] is not MISSING)
    if len(present) < len(codes):
        yield Has(column.name), present
        yield Not(Has(column.name)), tuple(code for code in codes if code not in present)
    if all(isinstance(column.values[code], bool) for code in present):
        for code in present:
            field = Field(column.name)
            yield (field if column.values[code] else Not(field)), (code,)
        return
    yield from _constants(column, present)
    yield from _thresholds(column)


def _constants(column: Column, present: tuple[int, ...]) -> Iterator[tuple[Atom, tuple[int, ...]]]:
    field = Field(column.name)
    named = [code for code in present if not isinstance(column.values[code], Group)]
    numbers = [code for code in named if is_number(column.values[code])]
    if len(numbers) > _MOST_CONSTANTS:
        named = [code for code in named if code not in numbers]
    named = [code for code in named if column.values[code] == column.values[code]]
    if _unique(column, named):
        return
    for code in named:
        constant = Constant(column.values[code])
        yield Compare(field, "==", constant), (code,)
        yield Compare(field, "!=", constant), tuple(one for one in present if one != code)
    for choice in _choices(column, named, len(present)):
        constants = tuple(Constant(column.values[code]) for code in choice)
        yield Compare(field, "in", constants), choice


def _unique(column: Column, named: list[int]) -> bool:
    """Whether each of many constants belongs to one example alone: an id, or a path."""
    counts = [
        column.bits[code].positive.bit_count() + column.bits[code].negative.bit_count()
        for code in named
    ]
    return len(named) > _MOST_CHOICES and max(counts) == 1


def _choices(column: Column, named: list[int], present: int) -> Iterator[tuple[int, ...]]:
    """Sets of 2-4 constants: for a cut between labels, those in which most is positive come first
    (Fisher 1958); and all pairs where there are four."""

    def share(code: int) -> float:
        held, failed = (
            column.bits[code].positive.bit_count(),
            column.bits[code].negative.bit_count(),
        )
        return held / (held + failed)

    order = sorted(named, key=lambda code: (-share(code), code))
    found = {tuple(sorted(order[:size])) for size in range(2, _MOST_CHOICES + 1)}
    some = tuple(code for code in named if column.bits[code].positive)
    if 2 <= len(some) <= _MOST_CHOICES:
        found.add(some)
    if len(named) == _MOST_CHOICES:
        found |= {(one, other) for one in named for other in named if one < other}
    yield from sorted(choice for choice in found if 2 <= len(choice) < present)


def _thresholds(column: Column) -> Iterator[tuple[Atom, tuple[int, ...]]]:
    numbers: list[tuple[int, Any]] = [
        (code, value.high if isinstance(value, Group) else value)
        for code, value in enumerate(column.values)
        if is_number(value) or (isinstance(value, Group) and value.high is not None)
    ]
    field = Field(column.name)
    for cut in column.cuts:
        constant = Constant(cut)
        yield Compare(field, "<=", constant), tuple(code for code, high in numbers if high <= cut)
        yield Compare(field, ">", constant), tuple(code for code, high in numbers if high > cut)
