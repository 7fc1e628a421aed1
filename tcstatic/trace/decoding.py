"""A segment's columns -> events; what is said of several events is one object.

What a file holds is checked before it is used: it may be damaged, or made to do harm.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import compress, pairwise, repeat
from typing import Any, Final, NamedTuple, TypeVar, final

from tcstatic.model import Context, Event, Location, Member
from tcstatic.trace.cells import (
    EPOCH,
    KNOWN,
    MOVING,
    NEXT_INTEGER,
    NEXT_REAL,
    STEP,
    Cell,
    value_of,
)
from tcstatic.trace.interning import INFERRED

_TYPES: Final = {"int64": "q", "int32": "i", "uint8": "B", "double": "d"}
# Events that are made at once: few enough to be gone before the collector looks for cycles in them.
CHUNK: Final = 512


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
    """Return a column of texts without nulls."""
    if column.null_count:
        raise ValueError("a text is missing")
    found: list[str] = column.to_pylist()
    return found


def ends(column: Any) -> list[int]:
    """Return where the lists of a column begin, and where the last one ends."""
    if column.null_count or column.offset:
        raise ValueError("a list is missing")
    found = numbers(column.offsets)
    return found or [0]


def sliced(items: Sequence[Any], bounds: Sequence[int]) -> list[Any]:
    """Return the lists of a column, given its items."""
    return [items[start:end] for start, end in pairwise(bounds)]


def templates(column: Any) -> list[Template]:
    """Return all mappings of a segment, in the order in which they were first said."""
    bounds = ends(column.values)
    fields = column.values.values
    _no_nulls(fields)
    own = numbers(fields.field("numbers").values)
    cells = map(
        Cell,
        numbers(fields.field("type")),
        numbers(fields.field("integer")),
        numbers(fields.field("real")),
        (text.encode() for text in texts(fields.field("text"))),
        map(tuple, sliced(own, ends(fields.field("numbers")))),
    )
    pairs = list(zip(texts(fields.field("name")), cells, strict=True))
    return [_template(named) for named in sliced(pairs, bounds)]


def _template(pairs: list[tuple[str, Cell]]) -> Template:
    fields: dict[str, Any] = {}
    moving: list[tuple[str, int]] = []
    inferred: Any = ()
    for name, found in pairs:
        if found.type not in KNOWN:
            raise ValueError(f"no such type of value: {found.type}")
        if name == INFERRED:
            inferred = value_of(found)
            continue
        if found.type in MOVING:
            moving.append((name, found.type))
        fields[name] = None if found.type in MOVING else value_of(found)
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


def groups(new_members: Any, new_groups: Any, maps: Sequence[Template]) -> list[tuple[Member, ...]]:
    """Return all tuples of members of a segment, and at the end the empty one."""
    items = new_members.values
    _no_nulls(items)
    rows = numbers(items.field("fields"))
    check_rows(rows, len(maps))
    members = [
        Member(number, name, maps[row].fields)
        for number, name, row in zip(
            numbers(items.field("number")), texts(items.field("name")), rows, strict=True
        )
    ]
    own = numbers(new_groups.values.values)
    check_rows(own, len(members))
    made = [members[row] for row in own]
    return [*map(tuple, sliced(made, ends(new_groups.values))), ()]


def check_rows(rows: Sequence[int], known: int, lowest: int = 0) -> None:
    """Raise ValueError where a number names nothing."""
    if rows and (min(rows) < lowest or max(rows) >= known):
        raise ValueError("a row is named that is not there")


def _no_nulls(column: Any) -> None:
    if column.null_count:
        raise ValueError("a row is missing")


# Events, and of each whether the driver settled after it.
Chunk = tuple[list[Event], list[int]]
_Item = TypeVar("_Item")


def events_of(
    columns: Mapping[str, Any], places: dict[Location, Location], wanted: Collection[str] | None
) -> Iterator[Chunk]:
    """Yield the events of a segment that are of the wanted kinds."""
    chosen: list[bool] | None = None
    kinds = texts(columns["kind"])
    if wanted is not None:
        chosen = [kind in wanted for kind in kinds]
    rows = _Rows(columns, chosen)
    maps = templates(columns["new_maps"])
    moves = _Moves(maps, rows)
    plain = [one.fields for one in maps]
    where = rows.named("place", locations(columns["new_places"], places))
    members = rows.named("members", groups(columns["new_members"], columns["new_groups"], maps))
    subjects = rows.named("subjects", plain, lowest=0)
    epochs: list[Any] = [None if epoch < 0 else epoch for epoch in rows.column("epoch")]
    fixed = (rows.column("sequence"), rows.column("step"), epochs, rows.column("rank"))
    kinds, settled = rows.kept(kinds), rows.column("settled")
    for start in range(0, len(kinds), CHUNK):
        part = slice(start, start + CHUNK)
        sequence, step, epoch, rank = (column[part] for column in fixed)
        values, contexts = moves.of(part, step, epoch)
        # As Event._make, at half the price.
        events: list[Event] = list(
            map(
                tuple.__new__,
                repeat(Event),
                zip(
                    kinds[part],
                    sequence,
                    where[part],
                    subjects[part],
                    values,
                    contexts,
                    members[part],
                    step,
                    epoch,
                    rank,
                    strict=True,
                ),
            )
        )
        yield events, settled[part]


@final
class _Rows:
    """The columns of a segment, of the chosen rows alone."""

    def __init__(self, columns: Mapping[str, Any], chosen: list[bool] | None) -> None:
        self.columns = columns
        self._chosen = chosen

    def kept(self, items: list[_Item]) -> list[_Item]:
        """Return the items of the chosen rows."""
        return items if self._chosen is None else list(compress(items, self._chosen))

    def column(self, name: str) -> list[Any]:
        """Return a column of numbers."""
        return self.kept(numbers(self.columns[name]))

    def named(self, name: str, table: Sequence[_Item], lowest: int = -1) -> list[_Item]:
        """Return what a column names; -1 is the last row of a table that has none otherwise."""
        rows = self.column(name)
        check_rows(rows, len(table) + lowest, lowest)
        return list(map(table.__getitem__, rows))


@final
class _Moves:
    """Mappings with what moves put in. State: `_last` context of each row, with its moment."""

    def __init__(self, maps: list[Template], rows: _Rows) -> None:
        self._maps = maps
        self._values, self._contexts = rows.column("values"), rows.column("context")
        for named in (self._values, self._contexts):
            check_rows(named, len(maps))
        self._integers = rows.kept(_lists(rows.columns["integers"]))
        self._reals = rows.kept(_lists(rows.columns["reals"]))
        self._last: list[tuple[int, int | None, Context] | None] = [None] * len(maps)

    def of(
        self, part: slice, steps: list[int], epochs: list[int | None]
    ) -> tuple[list[dict[str, Any]], list[Context]]:
        """Return the values and the contexts of some events."""
        values, contexts = [], []
        maps, last = self._maps, self._last
        for said, around, step, epoch, integers, reals in zip(
            self._values[part],
            self._contexts[part],
            steps,
            epochs,
            self._integers[part],
            self._reals[part],
            strict=True,
        ):
            one = maps[said]
            known = last[around]
            values.append(_filled(one, step, epoch, integers, reals) if one.moving else one.fields)
            if known is not None and known[0] == step and known[1] == epoch and not integers:
                contexts.append(known[2])
                continue
            one = maps[around]
            fields = _filled(one, step, epoch, integers, reals) if one.moving else one.fields
            made = Context(fields, one.inferred)
            contexts.append(made)
            last[around] = None if one.reals else (step, epoch, made)
        return values, contexts


def _lists(column: Any) -> list[Any]:
    """Return a column of lists: those with something in it turned, to be taken from their end."""
    items, bounds = numbers(column.values), ends(column)
    items.reverse()
    size = len(items)
    return [
        items[size - end : size - start] if end > start else () for start, end in pairwise(bounds)
    ]


def _filled(
    one: Template, step: int, epoch: int | None, integers: list[int], reals: list[float]
) -> dict[str, Any]:
    """Return a mapping with what moves put in; what an event's values take is not left over."""
    fields = one.fields.copy()
    for name in one.steps:
        fields[name] = step
    for name in one.epochs:
        fields[name] = epoch
    if one.taken:
        if len(integers) < one.integers or len(reals) < one.reals:
            raise ValueError("a number that moves is missing")
        for name, code in one.taken:
            fields[name] = (integers if code == NEXT_INTEGER else reals).pop()
    return fields
