"""Examples -> columns: one field each, its values as codes, and the examples of each code as bits.

The first example is the highest bit. Positive and negative examples have bits of their own.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import Any, Final, final

from tcstatic.infer.smt.examples import Example
from tcstatic.model import Scalar

MISSING: Final = object()
NAN: Final = float("nan")
# More values than this are grouped: numbers by where labels change, the rarer strings together.
MOST_CODES: Final = 100
# Thresholds of one field. A chosen one is moved to its best place afterwards.
MOST_CUTS: Final = 10
MOST_STRINGS: Final = 16

# How many examples are read at once.
_PART: Final = 200
# Where each of so many examples has a value of its own, it is an id, a path, a time.
_UNIQUE: Final = 32

Number = int | float


@final
@dataclass(frozen=True, slots=True)
class Group:
    """Several values under one code: numbers up to `high`, above the group before; or the rest."""

    high: Number | None


Value = Any
"""A Scalar, MISSING or a Group."""


@final
@dataclass(frozen=True, slots=True)
class Split:
    """The bits of some examples, positive and negative."""

    positive: int
    negative: int

    def __or__(self, other: Split) -> Split:
        return Split(self.positive | other.positive, self.negative | other.negative)


@final
@dataclass(frozen=True, slots=True)
class Column:
    """One field: `values` by code, the code of each example, the examples of each code.

    `cuts` are the numbers at which a threshold may stand, `single` the codes that were seen in one
    of several runs only. `raw` holds the values of all examples, positive ones first.
    """

    name: str
    values: tuple[Value, ...]
    positive: bytes
    negative: bytes
    bits: tuple[Split, ...]
    cuts: tuple[Number, ...]
    single: frozenset[int]
    raw: Sequence[Value]


def columns(positives: Sequence[Example], negatives: Sequence[Example]) -> list[Column]:
    """Return a column for each field, ordered by name."""
    every = [example.fields for example in (*positives, *negatives)]
    runs = _runs(positives, negatives)
    return [_column(name, raw, len(positives), runs) for name, raw in _turned(every)]


def recut(
    column: Column,
    cuts: Iterable[Number],
    positives: Sequence[Example],
    negatives: Sequence[Example],
) -> Column:
    """Return the column with more places for thresholds."""
    runs = _runs(positives, negatives)
    return _column(column.name, column.raw, len(positives), runs, more=frozenset(cuts))


def _turned(every: Sequence[Mapping[str, Scalar]]) -> Iterable[tuple[str, Sequence[Value]]]:
    """The values of each field, by name."""
    names = sorted(every[0])
    if set(map(len, every)) == {len(names)}:
        try:
            return _read(names, every, missing=False)
        except KeyError:
            pass
    return _read(sorted(set().union(*every)), every, missing=True)


def _read(
    names: list[str], every: Sequence[Mapping[str, Scalar]], *, missing: bool
) -> Iterable[tuple[str, Sequence[Value]]]:
    """Part by part: mappings are spread over memory, and those of a part stay in the cache.

    Raises KeyError for a field that is missing, unless that is allowed.
    """
    values: list[list[Value]] = [[] for _ in names]
    for start in range(0, len(every), _PART):
        part = every[start : start + _PART]
        for name, many in zip(names, values, strict=True):
            if missing:
                many.extend([fields.get(name, MISSING) for fields in part])
            else:
                many.extend(map(itemgetter(name), part))
    return zip(names, values, strict=True)


def is_number(value: Value) -> bool:
    """Whether thresholds apply to the value: no bool, and not NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _runs(
    positives: Sequence[Example], negatives: Sequence[Example]
) -> Sequence[frozenset[str]] | None:
    """The runs of each example; None where there are less than two to compare."""
    every = [example.runs for example in (*positives, *negatives)]
    return every if len(frozenset().union(*set(every))) > 1 else None


def _column(
    name: str,
    raw: Sequence[Value],
    positives: int,
    runs: Sequence[frozenset[str]] | None,
    more: frozenset[Number] = frozenset(),
) -> Column:
    kinds = set(map(type, raw))
    cuts: tuple[Number, ...] = ()
    values: tuple[Value, ...]
    if kinds == {bool}:
        codes, values = bytes(raw), (False, True)
    else:
        keys, meaning = _keys(raw, kinds)
        if len(raw) == len(meaning) >= _UNIQUE:
            codes, values = bytes(len(raw)), (Group(None),)
        else:
            cuts = tuple(sorted({*_cuts(keys, meaning, positives), *more}))
            code, values = _codes(keys, meaning, positives, cuts)
            codes = bytes(map(code.__getitem__, keys))
    positive, negative = codes[:positives], codes[positives:]
    bits = tuple(
        Split(_bits(positive, number), _bits(negative, number)) for number in range(len(values))
    )
    single = _single(codes, runs) if runs else frozenset()
    return Column(name, values, positive, negative, bits, cuts, single, raw)


def _keys(raw: Sequence[Value], kinds: set[type]) -> tuple[Sequence[Value], dict[Value, Value]]:
    """Values under which equal ones, and only those, are one; and what each stands for."""
    # 1 == True and both have one hash: a bool among numbers becomes a tuple.
    mixed = bool in kinds and bool(kinds & {int, float})
    keys = [(value,) if isinstance(value, bool) else value for value in raw] if mixed else raw
    if float in kinds and any(value != value for value in set(keys)):
        keys = [value if value == value else NAN for value in keys]
    meaning = {key: key[0] if isinstance(key, tuple) else key for key in dict.fromkeys(keys)}
    if {int, float} <= kinds:
        # 1 == 1.0: whichever came first, it is written as 1.
        meaning |= {key: key for key in keys if type(key) is int}
    return keys, meaning


def _codes(
    keys: Sequence[Value], meaning: dict[Value, Value], positives: int, cuts: tuple[Number, ...]
) -> tuple[dict[Value, int], tuple[Value, ...]]:
    """The code of each key, and the value of each code, ordered by kind and value."""
    order = sorted(meaning, key=lambda key: _order(meaning[key]))
    if len(order) <= MOST_CODES:
        return {key: number for number, key in enumerate(order)}, tuple(meaning[k] for k in order)
    kept = _prominent(keys, meaning, positives)
    values: list[Value] = [meaning[key] for key in order if key in kept]
    code = {key: number for number, key in enumerate(key for key in order if key in kept)}
    numbers = [key for key in order if is_number(meaning[key])]
    if numbers:
        first = len(values)
        values += [Group(high) for high in (*cuts, math.inf)]
        code |= {key: first + bisect_left(cuts, key) for key in numbers}
    others = [key for key in order if key not in code]
    if others:
        code |= dict.fromkeys(others, len(values))
        values.append(Group(None))
    return code, tuple(values)


def _order(value: Value) -> tuple[str, Any]:
    if is_number(value):
        return "number", value
    return type(value).__name__, value if isinstance(value, str | bool) else 0


def _prominent(
    keys: Sequence[Value], meaning: dict[Value, Value], positives: int
) -> frozenset[Value]:
    """Of many values that are no numbers: those on whose side the labels are most uneven."""
    held, failed = Counter(keys[:positives]), Counter(keys[positives:])
    uneven = {
        key: abs(held[key] * max(1, len(keys) - positives) - failed[key] * positives)
        for key in meaning
        if not is_number(meaning[key])
    }
    others = [key for key in uneven if not isinstance(meaning[key], str)]
    strings = sorted(
        (key for key in uneven if isinstance(meaning[key], str)),
        key=lambda key: (-uneven[key], meaning[key]),
    )
    return frozenset((*others, *strings[:MOST_STRINGS]))


def _cuts(keys: Sequence[Value], meaning: dict[Value, Value], positives: int) -> tuple[Number, ...]:
    """Values between which and the next larger one the labels change: at most MOST_CUTS.

    The ends of what the positive examples have come first, then where the shares of both labels
    below the value differ most, then values spread evenly over the rest.
    """
    numbers = sorted(filter(is_number, meaning))
    if len(numbers) < 2:
        return ()
    held, failed = Counter(keys[:positives]), Counter(keys[positives:])
    places = [
        place
        for place, (one, other) in enumerate(pairwise(numbers))
        if (held[one] or held[other]) and (failed[one] or failed[other])
    ]
    if len(places) > MOST_CUTS:
        places = _telling(places, numbers, held, failed)
    return tuple(numbers[place] for place in places)


def _telling(
    places: list[int],
    numbers: list[Number],
    held: Mapping[Number, int],
    failed: Mapping[Number, int],
) -> list[int]:
    total_held, total_failed = sum(held.values()), sum(failed.values())
    below_held = below_failed = 0
    difference: dict[int, int] = {}
    for place, number in enumerate(numbers):
        below_held += held[number]
        below_failed += failed[number]
        difference[place] = below_held * total_failed - below_failed * total_held
    chosen = {
        places[0],
        places[-1],
        max(places, key=lambda place: difference[place]),
        min(places, key=lambda place: difference[place]),
    }
    step = len(places) / (MOST_CUTS - len(chosen) + 1)
    chosen |= {places[int(step * (turn + 1)) - 1] for turn in range(MOST_CUTS - len(chosen))}
    return sorted(chosen)


def _bits(codes: bytes, number: int) -> int:
    table = b"0" * number + b"1" + b"0" * (255 - number)
    return int(codes.translate(table), 2) if codes else 0


def _single(codes: bytes, runs: Sequence[frozenset[str]]) -> frozenset[int]:
    seen: dict[int, frozenset[str]] = {}
    for number, some in set(zip(codes, runs, strict=True)):
        seen[number] = seen.get(number, frozenset()) | some
    return frozenset(number for number, some in seen.items() if len(some) < 2)
