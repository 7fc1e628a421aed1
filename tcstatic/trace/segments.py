"""A segment: some thousand events of one process in one Parquet file that stands for itself.

An event is a row. What is often said again (places, mappings, members) is spelt out in the row
where it is first said, in the columns ``new_...``, and named by a number from then on, counted from
0 in each segment.
"""

from __future__ import annotations

from typing import Any, Final, final

import pyarrow as pa
import pyarrow.parquet as pq

from tcstatic.model import Event
from tcstatic.trace.columns import Ends, Numbers, Texts
from tcstatic.trace.interning import Groups, Maps, Places, fields_of

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
_DELTA: Final = {"sequence": "DELTA_BINARY_PACKED", "step": "DELTA_BINARY_PACKED"}


@final
class Segment:
    """Takes events until it is full; what it holds can be written at any time, and again."""

    def __init__(self) -> None:
        self.rows = 0
        self._maps = Maps()
        self._places = Places()
        self._groups = Groups(self._maps)
        self._kinds = Texts()
        self._names: dict[str, bytes] = {}
        self._columns = {
            name: Numbers(code)
            for name, code in {
                "sequence": "q",
                "rank": "i",
                "step": "q",
                "epoch": "q",
                "settled": "b",
                "place": "i",
                "subjects": "i",
                "values": "i",
                "context": "i",
                "members": "i",
            }.items()
        }
        self._integers, self._integer = Ends(), Numbers("q")
        self._reals, self._real = Ends(), Numbers("d")

    @property
    def full(self) -> bool:
        return self.rows >= MOST_ROWS or len(self._maps) + len(self._groups) >= MOST_NAMED

    def settled(self) -> None:
        """The driver has settled after the last event."""
        if self.rows:
            self._columns["settled"].kept[-1] = 1

    def add(self, event: Event) -> None:
        """Take an event."""
        kind, sequence, where, subjects, values, context, members, step, epoch, rank = event
        maps = self._maps
        name = self._names.get(kind)
        if name is None:
            name = self._names[kind] = kind.encode()
        self._kinds.append(name)
        said, integers, reals = maps.intern(values, step, epoch)
        around, more_integers, more_reals = maps.intern(fields_of(context), step, epoch)
        group, own_integers, own_reals = self._groups.intern(members, step, epoch)
        row = (
            sequence,
            rank,
            step,
            -1 if epoch is None else epoch,
            0,
            self._places.intern(where),
            maps.objects(subjects),
            said,
            around,
            group,
        )
        for column, number in zip(self._columns.values(), row, strict=True):
            column.append(number)
        if integers := integers + more_integers + own_integers:
            self._integer.kept.extend(integers)
            self._integers.items += len(integers)
        if reals := reals + more_reals + own_reals:
            self._real.kept.extend(reals)
            self._reals.items += len(reals)
        for part in (self._integers, self._reals):
            part.close()
        for table in (maps, self._places, self._groups):
            table.close_event()
        self.rows += 1

    def parquet(self) -> bytes:
        """Return the file that holds all events so far."""
        new_members, new_groups = self._groups.arrow()
        columns = {
            "kind": self._kinds.arrow(),
            **{name: column.arrow() for name, column in self._columns.items()},
            "integers": self._integers.arrow(self._integer.arrow()),
            "reals": self._reals.arrow(self._real.arrow()),
            "new_places": self._places.arrow(),
            "new_maps": self._maps.arrow(),
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
