"""Where cached things lie; files are written whole or not at all, and read whole or not at all."""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path


def cache_folder() -> Path:
    """The folder of all cached things, made if need be; a temporary one where it cannot be used."""
    named = os.environ.get("TCSTATIC_CACHE")
    if not named:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        named = os.path.join(home, "tcstatic")
    return _usable(os.path.abspath(named))


@functools.cache
def _usable(named: str) -> Path:
    # Cached: a process that must do with a temporary folder needs the same one until it ends.
    folder = Path(named)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    except OSError:
        pass
    folder = Path(tempfile.mkdtemp(prefix="tcstatic-cache-"))
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def write_whole(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a file so that a reader, or a kill, sees all of it or none; raises OSError.

    Its rights are those of any file that the user makes, or the user's alone where it is `private`.
    """
    # Not `tempfile`: its files are private, and the umask can only be read by setting it.
    name = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    opener = functools.partial(os.open, mode=0o600 if private else 0o666)
    try:
        with open(name, "xb", opener=opener) as file:
            file.write(content)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def read_whole(path: Path, most: int) -> bytes:
    """Return what a file holds; raises OSError where it holds more than `most` bytes, or is no
    file: to read a pipe is to wait for whoever writes, and some devices have no end."""
    with open(path, "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "a pipe or a device, and no file", str(path))
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most} bytes", str(path))
    return content


def _without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def own_files() -> Iterator[tuple[str, int, int]]:
    """Names, sizes and times of our modules: an editable install changes without a new version."""
    for path, folders, names in os.walk(Path(__file__).parent):
        folders.sort()
        for name in sorted(names):
            if name.endswith(".py"):
                status = os.stat(os.path.join(path, name))
                yield name, status.st_size, status.st_mtime_ns
