"""A segment's columns -> what its events name: mappings, places, members; each is one object.

What a file holds is checked before it is used: it may be damaged, or made to do harm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple, final

from tcstatic.model import Location, Member
from tcstatic.trace.cells import (
    EPOCH,
    INTEGER,
    MOVING,
    NEXT_INTEGER,
    NEXT_REAL,
    REAL,
    STEP,
    TEXT,
    TRUE,
    Cell,
    value_of,
)
from tcstatic.trace.interning import INFERRED

# What moves in an event: its whole numbers, and its other ones.
Taken = tuple[Iterator[int], Iterator[float]]
_CONSTANTS: Final = (None, False, True)
_TYPES: Final = {"int64": "q", "int32": "i", "uint8": "B", "double": "d"}


@final
class Template(NamedTuple):
    """A mapping as it was written: `fields` as they are but for those that move, by name.

    `steps` and `epochs` are the event's own; of `taken` each takes one of the event's numbers.
    """

    fields: dict[str, Any]
    moving: bool
    steps: tuple[str, ...]
    epochs: tuple[str, ...]
    taken: tuple[tuple[str, int], ...]
    integers: int
    reals: int
    inferred: frozenset[str]


def numbers(column: Any) -> list[Any]:
    """Return a column of numbers without nulls."""
    if column.null_count:
        raise ValueError("a number is missing")
    buffer = column.buffers()[1]
    if buffer is None or not len(column):
        return []
    code: Any = _TYPES[str(column.type)]
    seen = memoryview(buffer).cast("B").cast(code)
    found: list[Any] = seen[column.offset : column.offset + len(column)].tolist()
    return found


def texts(column: Any) -> list[str]:
    """Return a column of texts without nulls; those that are equal are one object."""
    said, rows = words(column)
    return list(map(said.__getitem__, rows))


def ends(column: Any) -> list[int]:
    """Return where the lists of a column begin, and where the last one ends."""
    if column.null_count or column.offset:
        raise ValueError("a list is missing")
    found = numbers(column.offsets)
    return found or [0]


def sliced(items: Sequence[Any], bounds: Sequence[int]) -> list[Any]:
    """Return the lists of a column, given its items."""
    return [items[start:end] for start, end in pairwise(bounds)]


def words(column: Any) -> tuple[list[str], list[int]]:
    """Return the different texts of a column without nulls, and which of them each row has."""
    if column.null_count:
        raise ValueError("a text is missing")
    encoded = column.dictionary_encode()
    if encoded.dictionary.null_count:
        raise ValueError("a text is missing")
    return encoded.dictionary.to_pylist(), numbers(encoded.indices)


def templates(column: Any) -> list[Template]:
    """Return all mappings of a segment, in the order in which they were first said."""
    bounds = ends(column.values)
    fields = column.values.values
    _no_nulls(fields)
    named, rows = words(fields.field("name"))
    names = list(map(named.__getitem__, rows))
    types = numbers(fields.field("type"))
    values = _values(fields, types)
    return [
        _template(names[start:end], types[start:end], values[start:end])
        for start, end in pairwise(bounds)
    ]


def _values(fields: Any, types: list[int]) -> list[Any]:
    """Return the values of all fields; None for those that move."""
    integers, reals = numbers(fields.field("integer")), numbers(fields.field("real"))
    said, rows = words(fields.field("text"))
    own, bounds = numbers(fields.field("numbers").values), ends(fields.field("numbers"))
    found: list[Any] = []
    for place, type_ in enumerate(types):
        if type_ <= TRUE:
            found.append(_CONSTANTS[type_])
        elif type_ == INTEGER:
            found.append(integers[place])
        elif type_ == REAL:
            found.append(reals[place])
        elif type_ == TEXT:
            found.append(said[rows[place]])
        elif type_ in MOVING:
            found.append(None)
        else:
            numbers_ = tuple(own[bounds[place] : bounds[place + 1]])
            text = said[rows[place]].encode()
            found.append(value_of(Cell(type_, integers[place], reals[place], text, numbers_)))
    return found


def _template(names: list[str], types: list[int], values: list[Any]) -> Template:
    fields = dict(zip(names, values, strict=True))
    if MOVING.isdisjoint(types) and INFERRED not in fields:
        return Template(fields, False, (), (), (), 0, 0, frozenset())
    inferred: Any = fields.pop(INFERRED, ())
    moving = [(name, code) for name, code in zip(names, types, strict=True) if code in MOVING]
    codes = [code for _, code in moving]
    return Template(
        fields,
        bool(moving),
        tuple(name for name, code in moving if code == STEP),
        tuple(name for name, code in moving if code == EPOCH),
        tuple((name, code) for name, code in moving if code in (NEXT_INTEGER, NEXT_REAL)),
        codes.count(NEXT_INTEGER),
        codes.count(NEXT_REAL),
        frozenset(inferred),
    )


def locations(column: Any, known: dict[Location, Location]) -> list[Location | None]:
    """Return all places of a segment, and at the end none: -1 stands for it."""
    items = column.values
    _no_nulls(items)
    fields = [
        texts(items.field("file")),
        *(numbers(items.field(n)) for n in ("line", "column", "end_line", "end_column")),
        texts(items.field("function")),
    ]
    made = (Location(*row) for row in zip(*fields, strict=True))
    return [*(known.setdefault(place, place) for place in made), None]


@final
class Group:
    """A tuple of members as it was written. Members of one mapping take what moves in it once: of
    the `different` ones, in their order, each with how many members have it."""

    __slots__ = ("_fixed", "_own", "different", "integers", "moving", "reals")

    def __init__(self, own: Sequence[tuple[int, str, Template]]) -> None:
        self._own = own
        every = {id(one): one for _, _, one in own}
        times = Counter(id(one) for _, _, one in own)
        self.different = tuple((one, times[key]) for key, one in every.items())
        self.moving = any(one.moving for one, _ in self.different)
        self.integers = sum(one.integers for one, _ in self.different)
        self.reals = sum(one.reals for one, _ in self.different)
        self._fixed = () if self.moving else self._made({k: m.fields for k, m in every.items()})

    def _made(self, fields: dict[int, dict[str, Any]]) -> tuple[Member, ...]:
        return tuple([Member(number, name, fields[id(one)]) for number, name, one in self._own])

    @property
    def dated(self) -> bool:
        """Whether a step or an epoch is put in."""
        return any(one.steps or one.epochs for one, _ in self.different)

    def filled(self, step: int, epoch: int, taken: Taken) -> tuple[Member, ...]:
        """Return the members, with what moves put in."""
        if not self.moving:
            return self._fixed
        fields = {id(one): filled(one, step, epoch, taken) for one, _ in self.different}
        return self._made(fields)


@final
class Groups:
    """All tuples of members of a segment; at -1 the empty one. State: those asked for before."""

    def __init__(self, new_members: Any, new_groups: Any, maps: Sequence[Template]) -> None:
        items = new_members.values
        _no_nulls(items)
        rows = numbers(items.field("fields"))
        check_rows(rows, len(maps))
        self._members = [
            (number, name, maps[row])
            for number, name, row in zip(
                numbers(items.field("number")), texts(items.field("name")), rows, strict=True
            )
        ]
        self._rows = numbers(new_groups.values.values)
        check_rows(self._rows, len(self._members))
        self._ends = ends(new_groups.values)
        self._made = {-1: Group(())}

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row: int) -> Group:
        found = self._made.get(row)
        if found is None:
            rows = self._rows[self._ends[row] : self._ends[row + 1]]
            found = self._made[row] = Group([self._members[one] for one in rows])
        return found


def filled(one: Template, step: int, epoch: int, taken: Taken) -> dict[str, Any]:
    """Return a mapping with what moves put in; what it takes of the numbers is not left over."""
    if not one.moving:
        return one.fields
    fields = one.fields.copy()
    for name in one.steps:
        fields[name] = step
    for name in one.epochs:
        fields[name] = None if epoch < 0 else epoch
    for name, code in one.taken:
        fields[name] = next(taken[0] if code == NEXT_INTEGER else taken[1])
    return fields


def check_rows(rows: Sequence[int], known: int, lowest: int = 0) -> None:
    """Raise ValueError where a number names nothing."""
    if rows and (min(rows) < lowest or max(rows) >= known):
        raise ValueError("a row is named that is not there")


def _no_nulls(column: Any) -> None:
    if column.null_count:
        raise ValueError("a row is missing")
