"""Source files as bytes, read once, and why one cannot be linted."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, final

from tcstatic.errors import InputError, input_problem

# Generated files of this size take minutes to analyse, and nobody writes such a one by hand.
MAX_BYTES: Final = 8_000_000


@final
class Sources:
    """Reads files for one run; state: what it has read so far. `overlay` stands for the disk."""

    def __init__(self, overlay: Mapping[Path, bytes] | None = None) -> None:
        self.overlay = dict(overlay or {})
        self._lines: dict[Path, list[str]] = {}

    def read(self, path: Path) -> bytes:
        """Return the content of a file; raise InputError (whose text does not name it) if not."""
        if path in self.overlay:
            return self.overlay[path]
        return read_source(path)

    def line(self, path: Path, number: int) -> str:
        """Return one line of text, '' where there is none."""
        if path not in self._lines:
            self._lines[path] = self._text(path).split("\n")
        lines = self._lines[path]
        return lines[number - 1].rstrip("\r") if 1 <= number <= len(lines) else ""

    def _text(self, path: Path) -> str:
        from tcstatic.program.source import decode

        try:
            text = decode(self.read(path)).text
        except InputError:
            return ""
        return text.replace("\r\n", "\n").replace("\r", "\n")


def read_source(path: Path) -> bytes:
    """Return the content of a source file; raise InputError, in words without the file's name."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise InputError("this is no regular file")
        if status.st_size > MAX_BYTES:
            size = f"{status.st_size:,} bytes"
            raise InputError(
                input_problem("too large to lint", got=size, expected=f"at most {MAX_BYTES:,}")
            )
        content = path.read_bytes()
    except FileNotFoundError:
        reason = "a link to nothing" if path.is_symlink() else "no such file"
        raise InputError(reason) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"cannot be read ({reason})") from None
    if b"\0" in content:
        raise InputError("this is no text (it holds a null byte)")
    return content
