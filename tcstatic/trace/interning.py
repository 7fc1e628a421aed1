"""Each different thing that events say, once: a row where it is first said, then its number."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, final

from tcstatic.model import Context, Location, Member
from tcstatic.trace.cells import (
    EPOCH,
    HIGHEST,
    LOWEST,
    MOVES,
    NEXT_INTEGER,
    NEXT_REAL,
    STEP,
    cell,
)
from tcstatic.trace.columns import Ends, Numbers, Row, Sparse, Texts, structs

# Fields that differ at nearly every event, by their name; others are found out.
MOVING_NAMES: Final = frozenset({"step", "optimizer_step", "epoch"})
MOST_VALUES: Final = 32  # a whole number with more different values than this moves
INFERRED: Final = ""  # the name under which a context keeps which of its fields are inferred
_NOTHING: Final[tuple[Any, ...]] = ()

# Objects that are held to be known again by identity: probes hand on the same ones.
MOST_HELD: Final = 1024

# The row of a mapping, and what in it moves.
Interned = tuple[int, tuple[int, ...], tuple[float, ...]]
EMPTY: Final[Interned] = (-1, _NOTHING, _NOTHING)
_DATES: Final = (MOVES[STEP], MOVES[EPOCH])


@final
class Pierced(NamedTuple):
    """A mapping of a member without what moves: its `content`, and the numbers. It is `dated` where
    the event's own step or epoch belongs in it."""

    content: Any
    names: tuple[str, ...]
    values: tuple[Any, ...]
    integers: tuple[int, ...]
    reals: tuple[float, ...]
    dated: bool

    def takes_as(self, other: Pierced) -> bool:
        """Whether the numbers are the same, to the bit."""
        if self.integers != other.integers or self.reals != other.reals:
            return False
        return 0.0 not in self.reals or repr(self.reals) == repr(other.reals)


@final
class Maps:
    """Mappings from names to values, interned by equality and by the types of their values.

    State: `_rows` by content, of subjects alone `_objects`; `same` the rows of mappings that are
    held, by ``id``, and `_same_objects` those of subjects; `_seen` the values of each whole number
    by name, and `_moving` the names that have too many; `_holes` which positions move, by names and
    types. The same for the mappings of members: `_seen_members`, `_moving_members`, `_in_members`.
    """

    def __init__(self, row: Row) -> None:
        self._rows: dict[Any, int] = {}
        self._objects: dict[Any, int] = {}
        self.same: dict[int, tuple[Mapping[str, Any], Interned]] = {}
        self._same_objects: dict[int, tuple[Mapping[str, tuple[int, ...]], int]] = {}
        self._seen: dict[str, set[int]] = {}
        self._moving = set(MOVING_NAMES)
        self._holes: dict[Any, tuple[tuple[int, bool], ...]] = {}
        self._seen_members: dict[str, set[float]] = {}
        self._moving_members: set[str] = set()
        self._in_members: dict[Any, tuple[tuple[int, bool], ...]] = {}
        self._names, self._types = Texts(), Numbers("b")
        self._integers, self._reals, self._texts = Numbers("q"), Numbers("d"), Texts()
        self._numbers, self._number = Ends(), Numbers("q")
        self._fields, self._perevent = Ends(), Sparse(row)

    @property
    def items(self) -> int:
        """How many fields and numbers are written."""
        return self._fields.items + self._numbers.items

    def intern(self, mapping: Mapping[str, Any], step: int, epoch: int | None) -> Interned:
        """Return the row of a mapping, and the numbers in it that move."""
        held = self.same.get(id(mapping))
        if held is not None and held[0] is mapping:
            return held[1]
        names, values = tuple(mapping), tuple(mapping.values())
        types = tuple(map(type, values))
        holes = self._holes.get((names, types))
        if holes is None:
            holes = self._plan(names, types)
        integers: tuple[int, ...] = _NOTHING
        reals: tuple[float, ...] = _NOTHING
        if holes:
            values, integers, reals = _pierced(values, holes, step, epoch)
        row = self._row(names, types, values)
        if not holes:
            _hold(self.same, mapping, (row, _NOTHING, _NOTHING))
        return row, integers, reals

    def fixed(self, mapping: Mapping[str, Any]) -> int:
        """Return the row of a mapping in which nothing moves."""
        names, values = tuple(mapping), tuple(mapping.values())
        types = tuple(map(type, values))
        return self._row(names, types, values, moving=False)

    def pierced(self, mapping: Mapping[str, Any], step: int, epoch: int | None) -> Pierced:
        """Take out of the mapping of a member what moves: here a number that has had many values,
        as all members take the same few."""
        names, values = tuple(mapping), tuple(mapping.values())
        types = tuple(map(type, values))
        holes = self._in_members.get((names, types))
        if holes is None:
            holes = self._in_members[names, types] = tuple(
                (position, type_ is float)
                for position, (name, type_) in enumerate(zip(names, types, strict=True))
                if type_ in (int, float) and name in self._moving_members
            )
        fixed, integers, reals = _pierced(values, holes, step, epoch)
        dated = any(fixed[position] in _DATES for position, _ in holes)
        content: Any = (names, types, fixed)
        if types.count(float) > len(reals):
            # 0.0 is -0.0, but for this
            content = content, repr([value for value in fixed if type(value) is float])
        return Pierced(content, names, fixed, integers, reals, dated)

    def row_of(self, one: Pierced, turn: int) -> int:
        """Return the row of the mapping of a member; of several of the same content, by turn."""
        key = one.content, turn
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = len(self._rows)
            self._write(one.names, one.values)
            for name, value in zip(one.names, one.values, strict=True):
                if type(value) in (int, float) and name not in self._moving_members:
                    seen = self._seen_members.setdefault(name, set())
                    seen.add(value)
                    if len(seen) > MOST_VALUES:
                        self._moving_members.add(name)
                        self._in_members.clear()
        return row

    def objects(self, subjects: Mapping[str, tuple[int, ...]]) -> int:
        """Return the row of a mapping to tuples of whole numbers."""
        held = self._same_objects.get(id(subjects))
        if held is not None and held[0] is subjects:
            return held[1]
        key = (tuple(subjects), tuple(subjects.values()))
        row = self._objects.get(key)
        if row is None:
            row = self._objects[key] = self.fixed(subjects)
        _hold(self._same_objects, subjects, row)
        return row

    def _row(self, names: Any, types: Any, values: Any, *, moving: bool = True) -> int:
        key: Any = (names, types, values)
        if tuple in types or (float in types and not moving):
            key = (key, repr(values))  # (1,) is (True,), and 0.0 is -0.0, but for this
        try:
            row = self._rows.get(key)
        except TypeError:  # a list among the values
            key = (names, types, repr(values))
            row = self._rows.get(key)
        if row is not None:
            return row
        row = self._rows[key] = len(self._rows)
        self._write(names, values)
        if moving:
            self._count(names, types, values)
        return row

    def _write(self, names: Iterable[str], values: Iterable[Any]) -> None:
        for name, value in zip(names, values, strict=True):
            written = cell(value)
            self._names.append(name.encode("utf-8", "backslashreplace"))
            self._types.append(written.type)
            self._integers.append(written.integer)
            self._reals.append(written.real)
            self._texts.append(written.text)
            for number in written.numbers:
                self._number.append(number)
            self._numbers.items += len(written.numbers)
            self._numbers.close()
            self._fields.items += 1
        self._fields.close()
        self._perevent.grow(1)

    def _count(self, names: Any, types: Any, values: Any) -> None:
        """Find out which whole numbers move."""
        for name, type_, value in zip(names, types, values, strict=True):
            if type_ is int and name not in self._moving and type(value) is int:
                seen = self._seen.setdefault(name, set())
                seen.add(value)
                if len(seen) > MOST_VALUES:
                    self._moving.add(name)
                    self._holes.clear()

    def _plan(self, names: Any, types: Any) -> tuple[tuple[int, bool], ...]:
        """Return the positions that move, and whether each holds a float."""
        plan = tuple(
            (position, type_ is float)
            for position, (name, type_) in enumerate(zip(names, types, strict=True))
            if type_ is float or (type_ is int and name in self._moving)
        )
        self._holes[names, types] = plan
        return plan

    def arrow(self, rows: int) -> Any:
        """Return, row by row, the mappings that are first said there."""
        fields = structs(
            name=self._names.arrow(),
            type=self._types.arrow(),
            integer=self._integers.arrow(),
            real=self._reals.arrow(),
            text=self._texts.arrow(),
            numbers=self._numbers.arrow(self._number.arrow()),
        )
        return self._perevent.arrow(self._fields.arrow(fields), rows)


def _hold(held: dict[int, tuple[Any, Any]], thing: Any, row: Any) -> None:
    """Know an object again by its ``id``, which none else can have while it is held."""
    if len(held) >= MOST_HELD:
        held.clear()
    held[id(thing)] = (thing, row)


def _pierced(
    values: tuple[Any, ...], holes: tuple[tuple[int, bool], ...], step: int, epoch: int | None
) -> tuple[tuple[Any, ...], tuple[int, ...], tuple[float, ...]]:
    """Take out what moves: the event's own step and epoch need not be kept twice."""
    fixed = list(values)
    integers, reals = [], []
    for position, is_real in holes:
        value = values[position]
        if is_real:
            reals.append(value)
            fixed[position] = MOVES[NEXT_REAL]
        elif value == step:
            fixed[position] = MOVES[STEP]
        elif value == epoch:
            fixed[position] = MOVES[EPOCH]
        elif LOWEST <= value <= HIGHEST:
            integers.append(value)
            fixed[position] = MOVES[NEXT_INTEGER]
    return tuple(fixed), tuple(integers), tuple(reals)


def fields_of(context: Context) -> Mapping[str, Any]:
    """Return a context as one mapping."""
    if not context.inferred:
        return context.fields
    return {**context.fields, INFERRED: tuple(sorted(context.inferred))}


@final
class Places:
    """Locations; -1 stands for none. State: rows by location, and by ``id`` of those held."""

    def __init__(self, row: Row) -> None:
        self._rows: dict[Location, int] = {}
        self._same: dict[int, tuple[Location, int]] = {}
        self._texts = {name: Texts() for name in ("file", "function")}
        self._numbers = {
            name: Numbers("i") for name in ("line", "column", "end_line", "end_column")
        }
        self._perevent = Sparse(row)

    def intern(self, where: Location | None) -> int:
        """Return the row of a location."""
        if where is None:
            return -1
        held = self._same.get(id(where))
        if held is not None and held[0] is where:
            return held[1]
        row = self._rows.get(where)
        if row is None:
            row = self._rows[where] = len(self._rows)
            for name, texts in self._texts.items():
                texts.append(getattr(where, name).encode("utf-8", "backslashreplace"))
            for name, numbers in self._numbers.items():
                numbers.append(getattr(where, name))
            self._perevent.grow(1)
        _hold(self._same, where, row)
        return row

    def arrow(self, rows: int) -> Any:
        """Return, row by row, the locations that are first said there."""
        columns: dict[str, Any] = {**self._texts, **self._numbers}
        return self._perevent.arrow(structs(**{n: c.arrow() for n, c in columns.items()}), rows)


@final
class Groups:
    """Tuples of members; -1 stands for the empty one. Members are interned for themselves.

    State: `_same` and `_members_same` hold what was seen, by ``id``; `_rows` and `_members` by
    content.
    """

    def __init__(self, maps: Maps, row: Row) -> None:
        self._maps = maps
        self._rows: dict[tuple[int, ...], int] = {}
        self._same: dict[int, tuple[tuple[Member, ...], Interned]] = {}
        self._members: dict[tuple[int, str, int], int] = {}
        self._members_same: dict[int, tuple[Member, Pierced]] = {}
        self._number, self._name, self._fields = Numbers("q"), Texts(), Numbers("i")
        self._new_members = Sparse(row)
        self._rows_of, self._ends, self._perevent = Numbers("i"), Ends(), Sparse(row)

    @property
    def items(self) -> int:
        """How many members of groups are written."""
        return self._ends.items

    def intern(self, members: tuple[Member, ...], step: int, epoch: int | None) -> Interned:
        """Return the row of a tuple of members, and the numbers in them that move."""
        if not members:
            return EMPTY
        held = self._same.get(id(members))
        if held is not None and held[0] is members:
            return held[1]
        told = [self._mapping(member, step, epoch) for member in members]
        taken: dict[int, Pierced] = {}
        rows = tuple(
            [
                self._member(member, self._fitting(one, taken))
                for member, one in zip(members, told, strict=True)
            ]
        )
        found = (
            self._row(rows),
            tuple([number for one in taken.values() for number in one.integers]),
            tuple([number for one in taken.values() for number in one.reals]),
        )
        if not any(one.dated for one in told):
            _hold(self._same, members, found)
        return found

    def _fitting(self, one: Pierced, taken: dict[int, Pierced]) -> int:
        """Return the row of a mapping of this content that no other member takes with other
        numbers."""
        for turn in itertools.count():
            row = self._maps.row_of(one, turn)
            first = taken.setdefault(row, one)
            if first is one or first.takes_as(one):
                return row
        raise AssertionError

    def _row(self, rows: tuple[int, ...]) -> int:
        row = self._rows.get(rows)
        if row is None:
            row = self._rows[rows] = len(self._rows)
            for one in rows:
                self._rows_of.append(one)
            self._ends.items += len(rows)
            self._ends.close()
            self._perevent.grow(1)
        return row

    def _mapping(self, member: Member, step: int, epoch: int | None) -> Pierced:
        held = self._members_same.get(id(member))
        if held is not None and held[0] is member:
            return held[1]
        pierced = self._maps.pierced(member.fields, step, epoch)
        if not pierced.dated:
            _hold(self._members_same, member, pierced)
        return pierced

    def _member(self, member: Member, fields: int) -> int:
        number, name, _ = member
        key = (number, name, fields)
        row = self._members.get(key)
        if row is None:
            row = self._members[key] = len(self._members)
            self._number.append(number)
            self._name.append(name.encode("utf-8", "backslashreplace"))
            self._fields.append(fields)
            self._new_members.grow(1)
        return row

    def arrow(self, rows: int) -> tuple[Any, Any]:
        """Return, row by row, the members and the tuples of them that are first said there."""
        members = structs(
            number=self._number.arrow(), name=self._name.arrow(), fields=self._fields.arrow()
        )
        groups = self._ends.arrow(self._rows_of.arrow())
        return self._new_members.arrow(members, rows), self._perevent.arrow(groups, rows)
