"""Instrumented code on disk: entries that carry the hash of their content, written whole or not."""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import os
import sys
from pathlib import Path
from types import CodeType
from typing import Final

from tcstatic.caching import cache_folder, write_whole

HEADER: Final = b"tcstatic-code/1\n"


def pack(code: CodeType) -> bytes:
    """Return a cache entry: header, this interpreter's tag, hash of what follows, code object."""
    body = _tag() + marshal.dumps(code)
    return HEADER + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def unpack(entry: bytes) -> CodeType:
    """Return the code object of an entry; ValueError if damaged or made by another interpreter."""
    digest, newline, body = entry[len(HEADER) :].partition(b"\n")
    if not entry.startswith(HEADER) or not newline:
        raise ValueError("not an entry of the cache")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise ValueError("damaged cache entry")
    tag = _tag()
    if not body.startswith(tag):
        raise ValueError("cache entry of another Python")
    code = marshal.loads(body[len(tag) :])
    if not isinstance(code, CodeType):
        raise ValueError("damaged cache entry")
    return code


def store(code: CodeType, folder: Path, key: str) -> str:
    """Write the code object as entry `key` of `folder`; return the entry's absolute path."""
    path = folder.absolute() / f"{key}.code"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, pack(code), private=True)
    return str(path)


def fetch(entry: str) -> CodeType:
    """Read the entry that `PlannedFile.code` names; raises OSError or ValueError."""
    with open(whereabouts(entry), "rb") as file:
        return unpack(file.read())


def whereabouts(entry: str) -> str:
    """The absolute path of an entry, given by that or by its name in the cache."""
    return entry if os.path.isabs(entry) else os.path.join(cache_folder(), entry)


def _tag() -> bytes:
    # Marshalled code is of one bytecode version, and asserts are gone from optimised code.
    return importlib.util.MAGIC_NUMBER + f"-O{sys.flags.optimize}\n".encode()
