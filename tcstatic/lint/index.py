"""The files of a project as the linter knows them: their hashes, and the names that they import.

What was read before and has not been touched since is not read again.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from tcstatic.errors import InputError
from tcstatic.lint.discovery import Project, file_name, is_project
from tcstatic.lint.importers import imports_of, stem, words_of
from tcstatic.lint.sources import read_source
from tcstatic.lint.walking import walk
from tcstatic.model import Skipped

# A file touched this recently (nanoseconds) may change again without a new time of change.
_FRESH: Final = 2_000_000_000
_CUT: Final = "all but {:,} of the files that may import the given ones"


@final
@dataclass(frozen=True, slots=True)
class Reach:
    """How far files are looked for: from the folder `start` outwards, to the root.

    `own`: what lies in a folder that is a project of its own is left out.
    """

    start: Path
    files: int
    size: int
    own: bool = False


# Reading the imports of so many files takes some 2 s, once; they are remembered.
IN_PROJECT: Final = (20_000, 128_000_000)
# Where the root is a guess, it may be somebody's whole disk: some 0.2 s.
IN_GUESS: Final = (1_000, 16_000_000)


def reach_of(project: Project) -> Reach:
    """Return how far to look for what belongs together with the files of a project."""
    folders = {str(path.parent) for path in project.files}
    common = Path(os.path.commonpath(folders)) if folders else project.root
    start = common if common.is_relative_to(project.root) else project.root
    marked = project.marked
    return Reach(start, *(IN_PROJECT if marked else IN_GUESS), own=not marked)


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
        reach: Reach | None = None,
    ) -> None:
        self._root = root
        self._reach = reach or Reach(root, *IN_PROJECT)
        self._marks = marks
        self._known = dict(facts or {})
        self._overlay = {file_name(path, root): text for path, text in (overlay or {}).items()}
        self._current: dict[str, Facts | None] = {}
        self._keys: dict[str, str] = {}
        self._names: list[str] | None = None
        self._by_stem: dict[str, list[str]] | None = None
        self.cut = ""
        self.changed = False

    def files(self) -> Sequence[str]:
        """Return the names of the Python files of the project, of near ones first."""
        if self._names is None:
            found = (path for path in self._outwards() if isinstance(path, Path))
            most = self._reach.files
            names = [file_name(path, self._root) for path in itertools.islice(found, most + 1)]
            if len(names) > most:
                self.cut = _CUT.format(most)
            self._names = names[:most]
        return self._names

    def _outwards(self) -> Iterator[Path | Skipped]:
        """What lies below the first folder, then what else lies below the one above it, ..."""
        folder, seen = self._reach.start, ""

        def leave(one: str) -> bool:
            return one == seen or (self._reach.own and is_project(one))

        while True:
            yield from walk(folder, leave=leave)
            if folder == self._root:
                return
            folder, seen = folder.parent, str(folder)

    def imports(self) -> dict[str, tuple[str, ...]]:
        """Return what each file of the project imports."""
        found: dict[str, tuple[str, ...]] = {}
        size = 0
        for name in self.files():
            facts = self.facts(name)
            if facts is not None:
                found[name] = facts.imports
                size += facts.status[0]
                if size > self._reach.size:
                    self.cut = _CUT.format(len(found))
                    break
        return found

    def facts(self, name: str) -> Facts | None:
        """Return the facts of one file as it is now; None where it cannot be read."""
        if name not in self._current:
            self._current[name] = self._look(name)
        return self._current[name]

    def key(self, name: str) -> str:
        """Return what changes if the file does, or if a file appears that it may import; of a
        folder, what changes if any file below it does."""
        if name not in self._keys:
            facts, stems = self.facts(name), self._stems()
            if facts is None and (self._root / name).is_dir():
                self._keys[name] = self._key_of_folder(name)
            elif facts is None:
                self._keys[name] = "unreadable"
            else:
                near = sorted(
                    path for word in words_of(facts.imports) for path in stems.get(word, ())
                )
                text = "\0".join((facts.digest, *near))
                self._keys[name] = _digest(text.encode("utf-8", "surrogatepass"))
        return self._keys[name]

    def _key_of_folder(self, name: str) -> str:
        within = "" if self._root / name == self._root else f"{name}/"
        below = [path for path in self.files() if path.startswith(within)]
        digests = (facts.digest if (facts := self.facts(path)) else "" for path in below)
        text = "\0".join((*below, *digests))
        return _digest(text.encode("utf-8", "surrogatepass"))

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
            for name in self.files():
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
