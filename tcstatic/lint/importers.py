"""Which files of a project import others: by a cheap look at import lines, nothing is parsed.

It may name a file too many (a string that reads like an import), and that only costs time.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

_IMPORT: Final = re.compile(
    rb"(?:^|;)[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import[ \t]*"
    rb"(\([^)]*\)|(?:[^\n;#\\]|\\\r?\n)*)"
    rb"|import[ \t]+([\w.](?:[^\n;#\\]|\\\r?\n)*))"
    rb"|(?:import_module|__import__)\(\s*[\"']([.\w]+)",
    re.MULTILINE,
)
_COMMENT: Final = re.compile(rb"#[^\n]*")
_NAME: Final = re.compile(rb"[\w.]+")


def imports_of(source: bytes) -> tuple[str, ...]:
    """Return the dotted names that a file may import, relative ones with their leading dots.

    ``from a.b import c`` gives ``a.b`` and ``a.b.c``: what is a module, only the files can tell.
    """
    found: dict[str, None] = {}
    for match in _IMPORT.finditer(source):
        base, names, plain, dynamic = match.groups()
        if base is not None:
            joint = b"" if base.endswith(b".") else b"."
            found[_text(base)] = None
            for name in _listed(_COMMENT.sub(b"", names)):
                found[_text(base + joint + name)] = None
        elif plain is not None:
            found.update((_text(name), None) for name in _listed(plain))
        else:
            found[_text(dynamic)] = None
    return tuple(found)


def _listed(text: bytes) -> Iterator[bytes]:
    """The names of ``a, b as c``, without their aliases."""
    for part in text.strip(b"()").split(b","):
        if name := _NAME.search(part):
            yield name[0]


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def words_of(imports: Iterable[str]) -> frozenset[str]:
    """Return the single names in dotted ones: what a file or a package must be called."""
    return frozenset(word for name in imports for word in name.split(".") if word)


def stem(path: str) -> str:
    """Return the last name of the module in a file: of a package, that of its folder."""
    return _module(path).rpartition("/")[2]


def importers(given: Iterable[str], imports: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    """Return the files that import one of the given, directly or not, without the given.

    Files are named relative to the root of their project, with slashes; `imports` has all of them.
    A module is looked for from the importing file's folder, every one above it, and `src`.
    """
    by_word: dict[str, list[str]] = defaultdict(list)
    for path, names in imports.items():
        for word in words_of(names):
            by_word[word].append(path)
    start = frozenset(given)
    reached = set(start)
    waiting = list(start)
    while waiting:
        target = waiting.pop()
        wanted = _module(target)
        # A relative import names a package only by its dots.
        candidates = {*by_word.get(stem(target), ()), *_siblings(target, imports)}
        for path in candidates - reached:
            if any(_may_mean(name, path, wanted) for name in imports[path]):
                reached.add(path)
                waiting.append(path)
    return frozenset(reached - start)


def _siblings(target: str, imports: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Files below the folder of a package's ``__init__``: ``from . import x`` runs it."""
    if target.rpartition("/")[2] == "__init__.py":
        folder = target.removesuffix("__init__.py")
        yield from (path for path in imports if path.startswith(folder))


def _module(target: str) -> str:
    """The module of a file, as a path without suffix; of a package, its folder."""
    return target.removesuffix("__init__.py").removesuffix(".py").rstrip("/")


def _may_mean(name: str, path: str, wanted: str) -> bool:
    """Whether an import in the file `path` may load the wanted module, or what lies in it."""
    plain = name.lstrip(".")
    dots = len(name) - len(plain)
    asked = "/".join(part for part in plain.split(".") if part) + "/"
    return any(
        wanted == base.rstrip("/") if asked == "/" else _leads_to(base + asked, wanted, len(base))
        for base in _bases(path, dots)
    )


def _leads_to(asked: str, wanted: str, start: int) -> bool:
    """Whether one of the packages on the way to `asked`, or itself, is the wanted module.

    Those on the way begin behind `start`, but for the package that holds a relative import.
    """
    return asked.startswith(wanted + "/") and len(wanted) + 1 >= start


def _bases(path: str, dots: int) -> Iterator[str]:
    """The folders that a name may count from, each with a slash at its end ('' for the root)."""
    folder = path.rpartition("/")[0]
    if dots:
        for _ in range(dots - 1):
            folder = folder.rpartition("/")[0]
        yield f"{folder}/" if folder else ""
        return
    while folder:
        yield f"{folder}/"
        folder = folder.rpartition("/")[0]
    yield ""
    yield "src/"
