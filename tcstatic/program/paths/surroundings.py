"""What lies around a module: what classes of its project define, by their text alone."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Final, final

# Files around a module that are looked at, near ones first, and entries of folders on the way to
# them: some 0.1 s.
MOST_FILES: Final = 1_000
_MOST_ENTRIES: Final = 20_000
_NOT_SOURCE: Final = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})
_DEFINED: Final = re.compile(
    rb"^([ \t]*)(?:async )?def (\w+)\(\s*(self\b|cls\b|)([^()]*(?:\([^()]*\)[^()]*)*)\)",
    re.MULTILINE,
)
_CLEARS: Final = re.compile(rb"\bzero_grad\w*\(|\.grad = None|\.grad\.(?:data\.)?zero_\(")
_CONCERNS: Final = (b"def step(", b"zero_grad", b".grad = None", b".zero_()")
_CALLED: Final = re.compile(rb"(?:\bself|\bcls|super\(\))\.(\w+)\(|(?<![.\w])(\w+)\(")
# What computes gradients as well is the whole step of a trainer, not that of an optimizer.
_TRAINS: Final = re.compile(rb"backward\(")


@final
class Surroundings:
    """The files that may belong to one program with those below a folder: these, and the others
    of the project that mention its name. State: what was asked of them before."""

    def __init__(self, start: Path, root: Path, read: Callable[[Path], bytes]) -> None:
        self._start = start
        self._root = root
        self._read = read
        self._defined: dict[str, bool] = {}

    @cached_property
    def _files(self) -> tuple[Path, ...]:
        word = self._start.name.encode("utf-8", "surrogateescape")
        found = []
        for path in _outwards(self._start, self._root):
            if path.is_relative_to(self._start) or word in self._read(path):
                found.append(path)
        return tuple(found)

    def defines(self, method: str) -> bool:
        """Whether a class has a method of that name."""
        known = self._defined.get(method)
        if known is None:
            word = f"def {method}(".encode()
            known = self._defined[method] = any(
                match[2] == method.encode() and match[3]
                for path in self._files
                if word in (content := self._read(path))
                for match in _DEFINED.finditer(content)
            )
        return known

    @cached_property
    def steps_clear(self) -> bool:
        """Whether a class has a ``step`` that clears gradients: an optimizer that is known by its
        name alone may be one of these."""
        clearing: set[bytes] = {b"zero_grad"}
        uses: dict[bytes, set[bytes]] = {}
        steps: list[bytes] = []
        for path in self._files:
            content = self._read(path)
            if not any(word in content for word in _CONCERNS):
                continue
            for match in _DEFINED.finditer(content):
                body = _body(content, match)
                if _TRAINS.search(body) is not None:
                    continue
                if _CLEARS.search(body) is not None:
                    clearing.add(match[2])
                uses.setdefault(match[2], set()).update(_called(body))
                if match[2] == b"step" and match[3] and _is_optional(match[4]):
                    steps.append(body)
        _spread(clearing, uses)
        return any(
            _CLEARS.search(one) is not None or not clearing.isdisjoint(_called(one))
            for one in steps
        )


def beginning(path: Path, root: Path) -> Path:
    """The folder that a module's program begins in: its outermost package; beside the folder of a
    script there may be others."""
    folder = path.parent
    if folder == root or not folder.is_relative_to(root):
        return folder
    if not (folder / "__init__.py").is_file():
        return folder.parent
    while folder != root and (folder.parent / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _outwards(start: Path, root: Path) -> Iterator[Path]:
    """The Python files of a project, those below a folder first."""
    left = [MOST_FILES, _MOST_ENTRIES]
    folder, seen = start, ""
    inside = start.is_relative_to(root)
    while True:
        yield from _below(str(folder), seen, left)
        if folder == root or not inside:
            return
        folder, seen = folder.parent, str(folder)


def _below(folder: str, seen: str, left: list[int]) -> Iterator[Path]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:
        return
    left[1] -= len(entries)
    for entry in entries:
        if entry.name.endswith(".py") and min(left) > 0 and entry.is_file():
            left[0] -= 1
            yield Path(entry.path)
    for entry in entries:
        hidden = entry.name.startswith(".") or entry.name in _NOT_SOURCE or entry.path == seen
        if not hidden and min(left) > 0 and entry.is_dir(follow_symlinks=False):
            yield from _below(entry.path, seen, left)


def _is_optional(parameters: bytes) -> bool:
    """Whether a method can be called without arguments."""
    before = b""
    while before != parameters:
        before, parameters = parameters, re.sub(rb"\[[^\[\]]*\]|\([^()]*\)", b"", parameters)
    return all(
        b"=" in one or one.lstrip().startswith((b"*", b"/")) or not one.strip()
        for one in parameters.split(b",")
    )


def _called(body: bytes) -> Iterable[bytes]:
    return (own or free for own, free in _CALLED.findall(body))


def _spread(clearing: set[bytes], uses: dict[bytes, set[bytes]]) -> None:
    """Add what calls something that clears; not ``step``, of which there are many kinds."""
    before = 0
    while before != len(clearing):
        before = len(clearing)
        clearing.update(name for name, called in uses.items() if called & clearing)
        clearing -= {b"step", b"__init__"}


def _body(text: bytes, method: re.Match[bytes]) -> bytes:
    """What stands behind the head of a method: all lines that are indented further."""
    indent = len(method[1].expandtabs())
    at = method.end()
    while (at := text.find(b"\n", at)) >= 0:
        at += 1
        end = text.find(b"\n", at)
        line = text[at : end if end >= 0 else len(text)].expandtabs()
        inner = line.lstrip()
        if inner and len(line) - len(inner) <= indent and not inner.startswith((b")", b"#")):
            return text[method.end() : at]
    return text[method.end() :]
