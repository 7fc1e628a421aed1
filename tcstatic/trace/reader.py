"""The folder of a trace -> its runs and their events. Nothing that it holds is executed."""

from __future__ import annotations

import heapq
import re
import stat
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar, final

import pyarrow as pa
import pyarrow.parquet as pq

from tcstatic.errors import InputError, input_problem
from tcstatic.model import Event, Location
from tcstatic.trace.decoding import numbers, texts
from tcstatic.trace.folders import parts_of
from tcstatic.trace.manifest import MANIFEST, read_manifest
from tcstatic.trace.segments import MOST_ROWS, SCHEMA
from tcstatic.trace.stretches import Stretch

_NAME: Final = re.compile(r"segment-([0-9]{6})\.parquet")
MOST_BYTES: Final = 1 << 28  # of a segment, as a file or unpacked; a full one has some ten MiB
MOST_VALUES: Final = 1 << 23  # in a column of lists: 128 of each event in a full segment
_DAMAGES: Final = (
    pa.ArrowException,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
)
# Events that are made at once: few enough to be gone before the collector looks for cycles.
CHUNK: Final = 512
_Answer = TypeVar("_Answer")


def _as_read(type_: Any) -> Any:
    """A type of the schema, with the texts as they are read: each once, however often it is said.
    A file of some kilobytes may say a long one a million times."""
    if pa.types.is_string(type_):
        return pa.dictionary(pa.int32(), type_)
    if pa.types.is_list(type_):
        return pa.list_(type_.value_field.with_type(_as_read(type_.value_type)))
    if pa.types.is_struct(type_):
        return pa.struct([one.with_type(_as_read(one.type)) for one in type_.fields])
    return type_


def _texts_in(name: str, type_: Any) -> Iterator[str]:
    """The paths of a field's columns of texts, as the storage library names them."""
    if pa.types.is_string(type_):
        yield name
    elif pa.types.is_list(type_):
        yield from _texts_in(f"{name}.list.element", type_.value_type)
    elif pa.types.is_struct(type_):
        for one in type_.fields:
            yield from _texts_in(f"{name}.{one.name}", one.type)


_AS_READ: Final = pa.schema([one.with_type(_as_read(one.type)) for one in SCHEMA])
_TEXTS: Final = [path for one in SCHEMA for path in _texts_in(one.name, one.type)]


@final
class Run:
    """What one process has recorded."""

    def __init__(self, part: Path) -> None:
        self.part = part
        self.facts, promised, steps = read_manifest(part / MANIFEST)
        self.trained = self.facts.ranked or steps > 0
        self.segments = _segments(part)
        self.count = sum(_checked(path, _rows) for path in self.segments)
        if self.count < promised:
            raise InputError(
                input_problem(
                    "a part of the trace is missing",
                    where=str(part),
                    got=f"{self.count} events",
                    expected=f"{promised}, as its manifest says",
                    cure="copy the whole folder, or record it again",
                )
            )

    @property
    def size(self) -> int:
        """Return how many bytes the part takes on disk."""
        return sum(path.stat().st_size for path in (*self.segments, self.part / MANIFEST))

    def events(self, kinds: Collection[str] | None = None) -> Iterator[Event]:
        """Yield the events, or those of some kinds, in the order of recording."""
        for stretch in self.stretches():
            count = len(stretch)
            places = range(count) if kinds is None else stretch.places_of(kinds)
            for start in range(0, count, CHUNK):
                yield from stretch.made(places[start : start + CHUNK])

    def stretches(self) -> Iterator[Stretch]:
        """Yield the events in the order of recording, segment by segment."""
        places: dict[Location, Location] = {}
        for path in self.segments:
            columns = _checked(path, _columns)
            try:
                stretch = Stretch(columns, places)
            except _DAMAGES as error:
                raise _unreadable(path, error) from None
            yield stretch

    def counted(self) -> Iterator[tuple[list[str], list[int]]]:
        """Yield the kinds and the steps of the events, segment by segment."""
        for path in self.segments:
            yield _checked(path, _kinds_and_steps)


@final
class Trace:
    """A job that was recorded: each of its processes is a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        runs = sorted(
            (Run(part) for part in parts_of(folder)), key=lambda r: (r.facts.rank, r.part.name)
        )
        heard = tuple(run for run in runs if run.trained)
        self.runs: tuple[Run, ...] = heard or tuple(runs)

    def events(
        self, kinds: Collection[str] | None = None, *, by_step: bool = False
    ) -> Iterator[Event]:
        """Yield the events of all runs, run by run; `by_step`: merged, and by rank in a step."""
        if not by_step:
            for run in self.runs:
                yield from run.events(kinds)
            return
        streams = [_risen(run.events(kinds), place) for place, run in enumerate(self.runs)]
        for _, _, event in heapq.merge(*streams, key=lambda one: one[:2]):
            yield event


def open_trace(folder: str | Path) -> Trace:
    """Open a trace; raise InputError, in one line, where the folder holds none that can be read."""
    return Trace(Path(folder))


def _risen(events: Iterator[Event], place: int) -> Iterator[tuple[int, int, Event]]:
    """Yield events with a step that never falls: a second optimizer counts its own steps."""
    highest = 0
    for event in events:
        highest = max(highest, event.step)
        yield highest, place, event


def _segments(part: Path) -> tuple[Path, ...]:
    try:
        names = sorted(path.name for path in part.iterdir() if _NAME.fullmatch(path.name))
    except OSError as error:
        raise _unreadable(part, error) from None
    for number, name in enumerate(names):
        if name != f"segment-{number:06d}.parquet":
            raise InputError(
                input_problem(
                    "a segment of the trace is missing",
                    where=str(part),
                    got=name,
                    expected=f"segment-{number:06d}.parquet before it",
                    cure="copy the whole folder, or record it again",
                )
            )
    return tuple(part / name for name in names)


def _checked(path: Path, work: Callable[[pq.ParquetFile], _Answer]) -> _Answer:
    """Do something with a segment's file; raise InputError where it is not what it should be."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
            raise ValueError("not a file of a sensible size")
        # Opened here: the storage library opens only what has a name in UTF-8. Closed at once: a
        # trace may have more segments than a process may have files open.
        with (
            path.open("rb") as raw,
            pq.ParquetFile(raw, read_dictionary=_TEXTS, page_checksum_verification=True) as file,
        ):
            _check_shape(file)
            return work(file)
    except KeyError:
        raise _unreadable(path, ValueError("not the columns of a segment")) from None
    except _DAMAGES as error:
        raise _unreadable(path, error) from None


def _check_shape(file: pq.ParquetFile) -> None:
    if not file.schema_arrow.equals(_AS_READ):
        raise ValueError("not the columns of a segment")
    shape = file.metadata
    if shape.num_row_groups != 1:
        raise ValueError("not one group of rows")
    group = shape.row_group(0)
    if not 0 <= shape.num_rows <= 2 * MOST_ROWS or group.total_byte_size > MOST_BYTES:
        raise ValueError("more rows than a segment has")
    if any(group.column(n).num_values > MOST_VALUES for n in range(group.num_columns)):
        raise ValueError("more values than a segment has")


def _rows(file: pq.ParquetFile) -> int:
    rows: int = file.metadata.num_rows
    return rows


def _kinds_and_steps(file: pq.ParquetFile) -> tuple[list[str], list[int]]:
    columns = _columns(file, ["kind", "step"])
    return texts(columns["kind"]), numbers(columns["step"])


def _columns(file: pq.ParquetFile, names: list[str] | None = None) -> dict[str, Any]:
    table = file.read(columns=names, use_threads=False).combine_chunks()
    table.validate(full=True)
    return {name: _whole(table.column(name), table.num_rows) for name in table.column_names}


def _whole(column: Any, rows: int) -> Any:
    whole = column.combine_chunks()
    if len(whole) != rows:
        raise ValueError("columns of different lengths")
    return whole


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
    got = " ".join(f"{type(error).__name__}: {reason}".split())[:160]
    return InputError(
        input_problem(
            "no segment of a trace can be read here",
            where=str(path),
            got=got,
            expected="a whole file as `tcstatic run --trace` writes it",
            cure="copy it again, or record it again",
        )
    )
