"""A segment: some thousand events of one process in one Parquet file that stands for itself.

An event is a row. What is often said again (places, mappings, members) is spelt out in the row
where it is first said, in the columns ``new_...``, and named by a number from then on, counted from
0 in each segment.
"""

from __future__ import annotations

from itertools import repeat
from typing import Any, Final, final

import pyarrow as pa
import pyarrow.parquet as pq

from tcstatic.model import Context, Event
from tcstatic.trace.columns import Numbers, Row, Sparse, Texts
from tcstatic.trace.interning import EMPTY, Groups, Interned, Maps, Places, fields_of

MOST_ROWS: Final = 1 << 16  # events in a segment
MOST_NAMED: Final = 1 << 19  # fields and members in it: what a process holds stays bounded

_FIELD: Final = pa.struct(
    [
        ("name", pa.string()),
        ("type", pa.uint8()),
        ("integer", pa.int64()),
        ("real", pa.float64()),
        ("text", pa.string()),
        ("numbers", pa.list_(pa.field("element", pa.int64()))),
    ]
)
_PLACE: Final = pa.struct(
    [
        ("file", pa.string()),
        ("function", pa.string()),
        ("line", pa.int32()),
        ("column", pa.int32()),
        ("end_line", pa.int32()),
        ("end_column", pa.int32()),
    ]
)
_MEMBER: Final = pa.struct([("number", pa.int64()), ("name", pa.string()), ("fields", pa.int32())])


def _list(item: Any) -> Any:
    return pa.list_(pa.field("element", item))


SCHEMA: Final = pa.schema(
    [
        ("kind", pa.string()),
        ("sequence", pa.int64()),
        ("rank", pa.int32()),
        ("step", pa.int64()),
        ("epoch", pa.int64()),  # -1: none
        ("settled", pa.uint8()),  # 1: the driver has settled between this event and the next
        ("place", pa.int32()),  # -1: none
        ("subjects", pa.int32()),
        ("values", pa.int32()),
        ("context", pa.int32()),
        ("members", pa.int32()),  # -1: none
        # what moves: of the values, then of the context, then of the different mappings of members
        ("integers", _list(pa.int64())),
        ("reals", _list(pa.float64())),
        ("new_places", _list(_PLACE)),
        ("new_maps", _list(_list(_FIELD))),
        ("new_members", _list(_MEMBER)),
        ("new_groups", _list(_list(pa.int32()))),
    ]
)
# The columns of numbers of each event, in their order.
_COLUMNS: Final = {
    "sequence": "q",
    "rank": "i",
    "step": "q",
    "epoch": "q",
    "place": "i",
    "subjects": "i",
    "values": "i",
    "context": "i",
    "members": "i",
}
_DELTA: Final = {"sequence": "DELTA_BINARY_PACKED", "step": "DELTA_BINARY_PACKED"}


@final
class Segment:
    """Takes events until it is full; what it holds can be written at any time, and again.

    State: `_told` the rows that are not yet in `_columns`, with the kind first; `_around` the last
    context, with the moment and the row that it had.
    """

    def __init__(self) -> None:
        self._row = Row()
        self._maps = Maps(self._row)
        self._places = Places(self._row)
        self._groups = Groups(self._maps, self._row)
        self._kinds = Texts()
        self._names: dict[str, bytes] = {}
        self._told: list[tuple[Any, ...]] = []
        self._columns = {name: Numbers(code) for name, code in _COLUMNS.items()}
        self._settled = Numbers("b")
        self._around: tuple[Context | None, int, int | None, Interned] = (None, 0, None, EMPTY)
        self._integers, self._integer = Sparse(self._row), Numbers("q")
        self._reals, self._real = Sparse(self._row), Numbers("d")

    @property
    def rows(self) -> int:
        """How many events it holds."""
        return self._row.number

    @property
    def full(self) -> bool:
        named = self._maps.items + self._groups.items
        return self._row.number >= MOST_ROWS or named >= MOST_NAMED

    def settled(self) -> None:
        """The driver has settled after the last event."""
        if self.rows:
            self._settle_until(self.rows)
            self._settled.kept[-1] = 1

    def _settle_until(self, rows: int) -> None:
        self._settled.kept.extend(repeat(0, rows - len(self._settled.kept)))

    def add(self, event: Event) -> None:
        """Take one event."""
        kind, sequence, where, subjects, values, context, members, step, epoch, rank = event
        maps = self._maps
        held = maps.same.get(id(values))
        if held is not None and held[0] is values:
            said, integers, reals = held[1]
        else:
            said, integers, reals = maps.intern(values, step, epoch)
        known, at_step, at_epoch, told = self._around
        if known is not context or at_step != step or at_epoch != epoch:
            told = maps.intern(fields_of(context), step, epoch)
            self._around = (context, step, epoch, told)
        around, more_integers, more_reals = told
        group = -1
        if members:
            group, own_integers, own_reals = self._groups.intern(members, step, epoch)
            more_integers += own_integers
            more_reals += own_reals
        if integers or more_integers:
            self._take(self._integers, self._integer, integers + more_integers)
        if reals or more_reals:
            self._take(self._reals, self._real, reals + more_reals)
        place = -1 if where is None else self._places.intern(where)
        objects = maps.objects(subjects)
        late = -1 if epoch is None else epoch
        self._told.append((kind, sequence, rank, step, late, place, objects, said, around, group))
        self._row.number += 1

    @staticmethod
    def _take(ends: Sparse, column: Numbers, numbers: tuple[float, ...]) -> None:
        ends.grow(len(numbers))
        column.kept.extend(numbers)

    def gather(self) -> None:
        """Put the rows that were taken since the last time into columns."""
        if not self._told:
            return
        kinds, *columns = zip(*self._told, strict=True)
        self._told.clear()
        for kind in set(kinds).difference(self._names):
            self._names[kind] = kind.encode()
        self._kinds.extend(map(self._names.__getitem__, kinds))
        for column, numbers in zip(self._columns.values(), columns, strict=True):
            column.kept.extend(numbers)

    def parquet(self) -> bytes:
        """Return the file that holds all events so far."""
        self.gather()
        rows = self.rows
        self._settle_until(rows)
        new_members, new_groups = self._groups.arrow(rows)
        columns = {
            "kind": self._kinds.arrow(),
            **{name: column.arrow() for name, column in self._columns.items()},
            "settled": self._settled.arrow(),
            "integers": self._integers.arrow(self._integer.arrow(), rows),
            "reals": self._reals.arrow(self._real.arrow(), rows),
            "new_places": self._places.arrow(rows),
            "new_maps": self._maps.arrow(rows),
            "new_members": new_members,
            "new_groups": new_groups,
        }
        # Another name of the items of a list makes another type.
        arrays = [columns[field.name].cast(field.type) for field in SCHEMA]
        table = pa.Table.from_arrays(arrays, schema=SCHEMA)
        sink = pa.BufferOutputStream()
        pq.write_table(
            table,
            sink,
            compression="zstd",
            use_dictionary=[name for name in SCHEMA.names if name not in _DELTA],
            column_encoding=_DELTA,
            write_statistics=False,
            store_schema=False,
            write_page_checksum=True,
        )
        return bytes(sink.getvalue())
