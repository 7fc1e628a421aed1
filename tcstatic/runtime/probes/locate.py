"""The user's line: the nearest frame that belongs to the user's own files."""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any, final

from tcstatic.model import Location
from tcstatic.runtime.probes.frames import names_in

_LIBRARY_MARKS = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


@final
class Locator:
    """Finds the user's frame above a probe. Knows which files are the user's.

    State: caches per file name and per (code, instruction); both only grow, with the program. A
    place keeps its code, so that the ``id`` of that stays its own; to hash a code is slow, and code
    of the same text in another file is equal.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.join(os.path.realpath(root), "")
        self._plain_root = os.path.join(os.path.abspath(root), "")
        self._mine: dict[str, bool] = {}
        self._places: dict[tuple[int, int], tuple[CodeType, Location]] = {}
        self._own = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(__file__))), "")

    def is_users(self, filename: str) -> bool:
        """Tell whether a code object's file is one of the user's own."""
        known = self._mine.get(filename)
        if known is None:
            path = os.path.abspath(filename)
            inside = path.startswith(self._plain_root) or os.path.realpath(path).startswith(
                self.root
            )
            library = any(mark in path for mark in _LIBRARY_MARKS) or path.startswith(self._own)
            known = inside and not library and os.path.basename(path) != "_tcstatic.py"
            self._mine[filename] = known and not filename.startswith("<")
        return self._mine[filename]

    def frame(self, depth: int = 1) -> FrameType | None:
        """Return the nearest user's frame, `depth` levels above the caller at least."""
        frame: FrameType | None = sys._getframe(depth)
        known = self._mine
        while frame is not None:
            name = frame.f_code.co_filename
            if known[name] if name in known else self.is_users(name):
                return frame
            frame = frame.f_back
        return None

    def held(self) -> Iterator[tuple[str, Any]]:
        """Yield names and values of the functions of the user's that are in progress, nearest
        first, down to the first that something else has called."""
        frame = self.frame(1)
        while frame is not None and self.is_users(frame.f_code.co_filename):
            yield from names_in(frame).items()
            frame = frame.f_back

    def here(self, depth: int = 1, *, thread: int | None = None) -> Location | None:
        """Return the user's line that is being executed, in `thread` if it is given."""
        frame = self.frame(depth + 1)
        if frame is None and thread is not None:
            return self.nearest(sys._current_frames().get(thread))
        return self.place(frame) if frame is not None else None

    def nearest(self, frame: FrameType | None) -> Location | None:
        """Return the user's line that is executed in `frame`, or that led there."""
        while frame is not None and not self.is_users(frame.f_code.co_filename):
            frame = frame.f_back
        return self.place(frame) if frame is not None else None

    def entered(self, frame: FrameType, thing: Any) -> Location | None:
        """Return where somebody else calls the methods of `thing` that led to `frame`, if any."""
        inside: FrameType | None = frame
        while inside is not None and _is_method_of(inside, thing):
            inside = inside.f_back
        return self.nearest(inside) if inside is not frame else None

    def beside(self, frame: FrameType, other: Location) -> Location | None:
        """Return the line of the function that `other` is in, if that has led to `frame`."""
        inside: FrameType | None = frame
        while inside is not None:
            if self.is_users(inside.f_code.co_filename):
                where = self.place(inside)
                if (where.file, where.function) == (other.file, other.function):
                    return where
            inside = inside.f_back
        return None

    def place(self, frame: FrameType) -> Location:
        """Return the range of the expression that `frame` is executing."""
        code = frame.f_code
        key = (id(code), frame.f_lasti)
        known = self._places.get(key)
        if known is None:
            known = self._places[key] = (code, self._read(frame))
        return known[1]

    def relative(self, filename: str) -> str:
        """Return a path relative to the script's folder where it lies in it."""
        path = os.path.abspath(filename)
        for root in (self._plain_root, self.root):
            if path.startswith(root):
                return path[len(root) :].replace(os.sep, "/")
        return path

    def _read(self, frame: FrameType) -> Location:
        code = frame.f_code
        line, column, end_line, end_column = frame.f_lineno, 1, frame.f_lineno, 1
        positions = list(code.co_positions())
        index = frame.f_lasti // 2
        if 0 <= index < len(positions):
            first, last, start, stop = positions[index]
            line = first or line
            end_line = last or line
            column = _characters(code.co_filename, line, start or 0) + 1
            end_column = _characters(code.co_filename, end_line, stop or 0) + 1
        return Location(
            self.relative(code.co_filename), line, column, end_line, end_column, code.co_qualname
        )


def _is_method_of(frame: FrameType, thing: Any) -> bool:
    code = frame.f_code
    return bool(code.co_argcount) and names_in(frame).get(code.co_varnames[0]) is thing


def _characters(filename: str, line: int, offset: int) -> int:
    """Return a column in characters, given one in UTF-8 bytes."""
    start = linecache.getline(filename, line).encode()[:offset]
    return len(start.decode(errors="replace")) if start else offset
