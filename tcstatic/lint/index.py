"""The files of a project as the linter knows them: their hashes, and the names that they import.

What was read before and has not been touched since is not read again.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from tcstatic.errors import InputError
from tcstatic.lint.discovery import file_name
from tcstatic.lint.importers import imports_of, stem, words_of
from tcstatic.lint.sources import read_source
from tcstatic.lint.walking import walk

# A file touched this recently (nanoseconds) may change again without a new time of change.
_FRESH: Final = 2_000_000_000
# Where the working folder is no project, but somebody's whole disk, nobody waits for a longer look.
MOST_FILES: Final = 50_000


@final
@dataclass(frozen=True, slots=True)
class Facts:
    """Of one file: size and times when it was read, the hash of its content, its imports, and
    whether it holds comments about our rules."""

    status: tuple[int, int, int]
    digest: str
    imports: tuple[str, ...]
    marked: bool


@final
class Index:
    """State: the facts known so far, by name, and which of them were looked at in this run."""

    def __init__(
        self,
        root: Path,
        facts: Mapping[str, Facts] | None = None,
        overlay: Mapping[Path, bytes] | None = None,
        marks: re.Pattern[bytes] | None = None,
    ) -> None:
        self._root = root
        self._marks = marks
        self._known = dict(facts or {})
        self._overlay = {file_name(path, root): text for path, text in (overlay or {}).items()}
        self._current: dict[str, Facts | None] = {}
        self._keys: dict[str, str] = {}
        self._by_stem: dict[str, list[str]] | None = None
        self.complete = True
        self.changed = False

    def files(self) -> Iterable[str]:
        """Return the names of all Python files of the project."""
        return (name for names in self._stems().values() for name in names)

    def imports(self) -> dict[str, tuple[str, ...]]:
        """Return what each file of the project imports."""
        found = ((name, self.facts(name)) for name in self.files())
        return {name: facts.imports for name, facts in found if facts is not None}

    def facts(self, name: str) -> Facts | None:
        """Return the facts of one file as it is now; None where it cannot be read."""
        if name not in self._current:
            self._current[name] = self._look(name)
        return self._current[name]

    def key(self, name: str) -> str:
        """Return what changes if the file does, or if a file appears that it may import."""
        if name not in self._keys:
            facts, stems = self.facts(name), self._stems()
            if facts is None:
                self._keys[name] = "unreadable"
            else:
                near = sorted(
                    path for word in words_of(facts.imports) for path in stems.get(word, ())
                )
                text = "\0".join((facts.digest, *near))
                self._keys[name] = _digest(text.encode("utf-8", "surrogatepass"))
        return self._keys[name]

    def remembered(self) -> dict[str, list[Any]]:
        """Return the facts that are worth keeping, as json."""
        now, there = time.time_ns(), set(self.files())
        facts = {name: one for name, one in self._known.items() if name in there}
        facts.update((name, one) for name, one in self._current.items() if one is not None)
        return {
            name: [*one.status, one.digest, list(one.imports), one.marked]
            for name, one in facts.items()
            if name not in self._overlay and _settled(one, now)
        }

    def _look(self, name: str) -> Facts | None:
        if name in self._overlay:
            text = self._overlay[name]
            return self._facts((0, 0, 0), text)
        path = self._root / name
        try:
            status = os.stat(path)
            stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            known = self._known.get(name)
            if known is not None and known.status == stamp:
                return known
            content = read_source(path)
        except (OSError, InputError):
            return None
        self.changed = True
        return self._facts(stamp, content)

    def _facts(self, stamp: tuple[int, int, int], content: bytes) -> Facts:
        marked = self._marks is not None and self._marks.search(content) is not None
        return Facts(stamp, _digest(content), imports_of(content), marked)

    def _stems(self) -> dict[str, list[str]]:
        if self._by_stem is None:
            self._by_stem = defaultdict(list)
            number = 0
            for path in walk(self._root):
                if not isinstance(path, Path):
                    continue
                number += 1
                if number > MOST_FILES:
                    self.complete = False
                    break
                name = file_name(path, self._root)
                self._by_stem[stem(name)].append(name)
        return self._by_stem


def facts_from(data: Mapping[str, Any]) -> dict[str, Facts]:
    """Return the facts that `remembered` gave."""
    return {
        name: Facts((one[0], one[1], one[2]), one[3], tuple(one[4]), one[5])
        for name, one in data.items()
    }


def _settled(facts: Facts, now: int) -> bool:
    return now - max(facts.status[1:]) > _FRESH


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
