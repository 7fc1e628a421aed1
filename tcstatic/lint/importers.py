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
# Where this is not on a line, no import begins there.
_HINT: Final = re.compile(rb"(?:^|;)[ \t]*(?:from|import)[ \t]|(?:import_module|__import__)\(")
_WORD: Final = b"import"
_COMMENT: Final = re.compile(rb"#[^\n]*")
_NAME: Final = re.compile(rb"[\w.]+")


def imports_of(source: bytes) -> tuple[str, ...]:
    """Return the dotted names that a file may import, relative ones with their leading dots.

    ``from a.b import c`` gives ``a.b`` and ``a.b.c``: what is a module, only the files can tell.
    """
    found: dict[str, None] = {}
    for match in _statements(source):
        base, names, plain, dynamic = match.groups()
        if base is not None:
            joint = b"" if base.endswith(b".") else b"."
            found[_text(base)] = None
            for name in _listed(_COMMENT.sub(b"", names)):
                found[_text(base + joint + name)] = None
        elif plain is not None:
            for name in _listed(plain):
                found.update((_text(one), None) for one in _with_packages(name))
        else:
            found[_text(dynamic)] = None
    return tuple(found)


def _statements(source: bytes) -> Iterator[re.Match[bytes]]:
    """All imports in a source. Only lines with the word in them are looked at closely: there are
    few, and a search through all of a source costs many times as much."""
    at = 0
    while (hit := source.find(_WORD, at)) >= 0:
        begin = max(at, source.rfind(b"\n", 0, hit) + 1)
        end = source.find(b"\n", hit)
        line = source[begin : end if end >= 0 else len(source)]
        match = _IMPORT.search(source, begin) if _HINT.search(line) else None
        if match is not None:
            yield match
        at = max(match.end() if match else begin + len(line), hit + len(_WORD))


def _with_packages(name: bytes) -> Iterator[bytes]:
    """``import a.b`` gives ``a`` and what it holds, too."""
    parts = name.split(b".")
    return (b".".join(parts[:number]) for number in range(1, len(parts) + 1))


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


def importers(given: Iterable[str], imports: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the files that import one of the given, directly or not, without the given.

    Files are named relative to the root of their project, with slashes; `imports` has all of them.
    A module is looked for from the importing file's folder, every one above it, and `src`. Those
    that are the fewest imports away come first, tests after others. A package that is only run on
    the way to a module in it hands nothing of its own on: who imports such a module is not meant.
    """
    by_word: dict[str, list[str]] = defaultdict(list)
    for path, names in imports.items():
        for word in words_of(names):
            by_word[word].append(path)
    level = tuple(dict.fromkeys(given))
    reached = dict.fromkeys(level)
    start = len(level)
    while level:
        found = {
            path
            for target in level
            # A relative import names a package only by its dots.
            for path in {*by_word.get(stem(target), ()), *_siblings(target, imports)}
            if path not in reached
            and any(_may_mean(name, path, _module(target)) for name in imports[path])
        }
        level = tuple(sorted(found, key=_distance))
        reached.update(dict.fromkeys(level))
    return tuple(reached)[start:]


def _distance(path: str) -> tuple[bool, str]:
    name = path.rpartition("/")[2]
    return "tests/" in path or name.startswith("test_"), path


def _siblings(target: str, imports: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Files below the folder of a package's ``__init__``: ``from . import x`` runs it."""
    if target.rpartition("/")[2] == "__init__.py":
        folder = target.removesuffix("__init__.py")
        yield from (path for path in imports if path.startswith(folder))


def _module(target: str) -> str:
    """The module of a file, as a path without suffix; of a package, its folder."""
    return target.removesuffix("__init__.py").removesuffix(".py").rstrip("/")


def _may_mean(name: str, path: str, wanted: str) -> bool:
    """Whether an import in the file `path` may load the wanted module."""
    plain = name.lstrip(".")
    dots = len(name) - len(plain)
    asked = plain.replace(".", "/").rstrip("/")
    if not wanted.endswith(asked):
        return False
    if not asked:
        return any(wanted == base.rstrip("/") for base in _bases(path, dots))
    return any(wanted == base + asked for base in _bases(path, dots))


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
