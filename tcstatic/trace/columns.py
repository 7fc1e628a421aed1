"""Growing columns -> arrays of the storage library, without a copy of each value as an object."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import repeat
from typing import Any, Final, final

import pyarrow as pa

_CODES: Final = {
    "b": pa.uint8(),
    "i": pa.int32(),
    "q": pa.int64(),
    "d": pa.float64(),
}


@final
class Numbers:
    """A column of numbers of one type: b (8 bits), i (32), q (64), d (float)."""

    __slots__ = ("append", "code", "kept")

    def __init__(self, code: str) -> None:
        self.code = code
        self.kept: Any = array("B" if code == "b" else code)
        self.append = self.kept.append

    def arrow(self) -> Any:
        buffer = pa.py_buffer(self.kept.tobytes())
        return pa.Array.from_buffers(_CODES[self.code], len(self.kept), [None, buffer])


@final
class Texts:
    """A column of texts, as utf-8."""

    __slots__ = ("_bytes", "_ends")

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("i", [0])

    def append(self, text: bytes) -> None:
        """Add one text."""
        self._bytes += text
        self._ends.append(len(self._bytes))

    def extend(self, texts: Iterable[bytes]) -> None:
        """Add some texts."""
        for text in texts:
            self._bytes += text
            self._ends.append(len(self._bytes))

    def arrow(self) -> Any:
        buffers = [None, pa.py_buffer(self._ends.tobytes()), pa.py_buffer(bytes(self._bytes))]
        return pa.Array.from_buffers(pa.string(), len(self._ends) - 1, buffers)


@final
class Ends:
    """Where the lists of a column end in the column of their items."""

    __slots__ = ("_ends", "items")

    def __init__(self) -> None:
        self._ends = array("i", [0])
        self.items = 0

    def close(self) -> None:
        """End the list that holds all items since the last one."""
        self._ends.append(self.items)

    def arrow(self, items: Any) -> Any:
        ends = pa.Array.from_buffers(
            pa.int32(), len(self._ends), [None, pa.py_buffer(self._ends.tobytes())]
        )
        return pa.ListArray.from_arrays(ends, items)


@final
class Row:
    """Which row of a segment is being written."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


@final
class Sparse:
    """Where the lists of a column end of which each row has one, and most rows an empty one."""

    __slots__ = ("_ends", "_row", "items")

    def __init__(self, row: Row) -> None:
        self._row = row
        self._ends = array("i", [0])
        self.items = 0

    def grow(self, items: int) -> None:
        """Items were added to the list of the row that is being written."""
        self._close(self._row.number)
        self.items += items

    def arrow(self, items: Any, rows: int) -> Any:
        self._close(rows)
        ends = pa.Array.from_buffers(
            pa.int32(), rows + 1, [None, pa.py_buffer(self._ends.tobytes())]
        )
        return pa.ListArray.from_arrays(ends, items)

    def _close(self, rows: int) -> None:
        """End the lists of all rows before this one."""
        self._ends.extend(repeat(self.items, rows + 1 - len(self._ends)))


def structs(**columns: Any) -> Any:
    """Return one array of structs of several arrays of one length."""
    return pa.StructArray.from_arrays(list(columns.values()), names=list(columns))
