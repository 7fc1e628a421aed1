"""A segment's columns -> events; what is said of several events is one object.

What a file holds is checked before it is used: it may be damaged, or made to do harm.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import compress, repeat
from typing import Any, Final, NamedTuple, final

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
_NO_CONTEXT: Final = frozenset[str]()
_new_context: Final[Callable[..., Context]] = Context


@final
class Template(NamedTuple):
    """A mapping as it was written: `fields` as they are but for those that move, by name."""

    fields: dict[str, Any]
    moving: tuple[tuple[str, int], ...]
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
    seen = memoryview(buffer).cast("B").cast(_TYPES[str(column.type)])
    return seen[column.offset : column.offset + len(column)].tolist()


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
    return [items[start:end] for start, end in zip(bounds, bounds[1:], strict=False)]


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
        tuple(moving),
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


def groups(
    new_members: Any, new_groups: Any, maps: Sequence[Template]
) -> list[tuple[Member, ...]]:
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


def events_of(
    columns: Mapping[str, Any], places: dict[Location, Location], wanted: Collection[str] | None
) -> tuple[list[Event], list[int]]:
    """Return the events of a segment, of the wanted kinds, and whether the driver settled after."""
    return _Segment(columns, places).events(wanted)


@final
class _Segment:
    """The columns of a segment, and what they name."""

    def __init__(self, columns: Mapping[str, Any], places: dict[Location, Location]) -> None:
        self.columns = columns
        self.maps = templates(columns["new_maps"])
        self.tables: dict[str, list[Any]] = {
            "place": locations(columns["new_places"], places),
            "members": groups(columns["new_members"], columns["new_groups"], self.maps),
        }

    def events(self, wanted: Collection[str] | None) -> tuple[list[Event], list[int]]:
        kinds = texts(self.columns["kind"])
        chosen = None if wanted is None else [kind in wanted for kind in kinds]

        def column(name: str) -> list[Any]:
            found = numbers(self.columns[name])
            return found if chosen is None else list(compress(found, chosen))

        def named(name: str) -> Iterator[Any]:
            rows, table = column(name), self.tables[name]
            check_rows(rows, len(table) - 1, -1)
            return map(table.__getitem__, rows)

        steps = column("step")
        epochs = [None if epoch < 0 else epoch for epoch in column("epoch")]
        subjects = self._rows(column("subjects"))
        moments = list(zip(steps, epochs, strict=True))
        moved = _Moved(self.columns, chosen)
        values = moved.values([self.maps[row] for row in self._rows(column("values"))], moments)
        contexts = moved.contexts([self.maps[r] for r in self._rows(column("context"))], moments)
        rows = zip(
            kinds if chosen is None else compress(kinds, chosen),
            column("sequence"),
            named("place"),
            [self.maps[row].fields for row in subjects],
            values,
            contexts,
            named("members"),
            steps,
            epochs,
            column("rank"),
            strict=True,
        )
        # As Event._make, at half the price.
        events: list[Event] = list(map(tuple.__new__, repeat(Event), rows))
        return events, column("settled")

    def _rows(self, rows: list[int]) -> list[int]:
        check_rows(rows, len(self.maps))
        return rows


@final
class _Moved:
    """The numbers that move, event by event; `_integers` and `_reals` are how many were taken."""

    def __init__(self, columns: Mapping[str, Any], chosen: list[bool] | None) -> None:
        self._own = {
            name: numbers(columns[name].values) + [0] for name in ("integers", "reals")
        }
        self._at: dict[str, list[int]] = {}
        self._end: dict[str, list[int]] = {}
        for name in self._own:
            bounds = ends(columns[name])
            starts, stops = bounds[:-1], bounds[1:]
            if chosen is not None:
                starts, stops = list(compress(starts, chosen)), list(compress(stops, chosen))
            self._at[name], self._end[name] = starts, stops

    def values(
        self, said: Sequence[Template], moments: Sequence[tuple[int, int | None]]
    ) -> list[dict[str, Any]]:
        return [
            self._filled(one, position, moments[position]) if one.moving else one.fields
            for position, one in enumerate(said)
        ]

    def contexts(
        self, said: Sequence[Template], moments: Sequence[tuple[int, int | None]]
    ) -> list[Context]:
        found: list[Context] = []
        made: dict[Any, Context] = {}
        for position, (one, moment) in enumerate(zip(said, moments, strict=True)):
            plain = not (one.integers or one.reals)
            key = (id(one), moment)
            known = made.get(key) if plain else None
            if known is None:
                fields = self._filled(one, position, moment) if one.moving else one.fields
                known = _new_context(fields, one.inferred)
                if plain:
                    made[key] = known
            found.append(known)
        return found

    def _filled(
        self, one: Template, position: int, moment: tuple[int, int | None]
    ) -> dict[str, Any]:
        """Return the mapping with what moves put in: taken in order, values before context."""
        fields = one.fields.copy()
        for name, code in one.moving:
            if code == STEP:
                fields[name] = moment[0]
            elif code == EPOCH:
                fields[name] = moment[1]
            else:
                fields[name] = self._next("integers" if code == NEXT_INTEGER else "reals", position)
        return fields

    def _next(self, name: str, position: int) -> Any:
        at = self._at[name][position]
        if at >= self._end[name][position]:
            raise ValueError("a number that moves is missing")
        self._at[name][position] = at + 1
        return self._own[name][at]
