"""The cache stays small: what nobody has used for long goes, and the oldest of what is too much."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

DAY: Final = 86_400.0  # seconds
KEPT_SECONDS: Final = 30 * DAY
# A program of some thousand lines takes less than one megabyte.
MOST_BYTES: Final = 256_000_000
_FOLDERS: Final = ("code", "plans", "lint", "rules")
_STAMP: Final = "pruned"


def used(entry: str | Path) -> bool:
    """Note that a cache entry is in use; whether it is there."""
    try:
        os.utime(entry)
    except OSError:
        return os.path.exists(entry)
    return True


def prune(cache: Path, *, most_bytes: int = MOST_BYTES) -> None:
    """Remove old entries, at most once a day. Never raises.

    An entry used within a day stays whatever its size: a process that runs may still import it.
    Two processes may prune at once, and a third one may read meanwhile.
    """
    with contextlib.suppress(OSError):
        stamp, now = cache / _STAMP, time.time()
        with contextlib.suppress(FileNotFoundError):
            if 0 <= now - stamp.stat().st_mtime < DAY:
                return
        stamp.touch()
        os.utime(stamp)
        _prune(cache, now, most_bytes)


def _prune(cache: Path, now: float, most_bytes: int) -> None:
    entries = sorted(_entries(cache), reverse=True)
    total = 0
    for when, size, path in entries:
        total += size
        # What a killed writer has left behind begins with a dot.
        limit = DAY if os.path.basename(path).startswith(".") else KEPT_SECONDS
        if now - when > limit or total > most_bytes:
            _remove(path, now)


def _entries(cache: Path) -> Iterator[tuple[float, int, str]]:
    """Yield when each entry was last used, its size and its path."""
    for folder in _FOLDERS:
        with contextlib.suppress(OSError), os.scandir(cache / folder) as found:
            for entry in found:
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if entry.is_file(follow_symlinks=False):
                        yield status.st_mtime, status.st_size, entry.path


def _remove(path: str, now: float) -> None:
    with contextlib.suppress(OSError):
        # Looked at again: somebody may have begun to use it.
        if now - os.stat(path).st_mtime > DAY:
            os.unlink(path)
