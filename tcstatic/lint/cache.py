"""Analyses kept between runs: an entry holds as long as no file that was read for it changes."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, final

from tcstatic.caching import write_whole
from tcstatic.lint.discovery import file_name
from tcstatic.lint.index import Index, Reach, facts_from
from tcstatic.lint.results import Analysis
from tcstatic.model import Verdict
from tcstatic.report.jsonform import finding_data, finding_from, plain

_EMPTY: dict[str, Any] = {"facts": {}, "paths": [], "tables": [], "entries": {}}


def cache_file(folder: Path, root: Path, key: str) -> Path:
    """Return where the analyses of a project lie; `key` is of rules, settings and program."""
    text = f"{root}\0{key}".encode("utf-8", "surrogatepass")
    return folder / f"{hashlib.sha256(text).hexdigest()}.json"


def read_cache(file: Path) -> dict[str, Any]:
    """Return the content of a cache file, nothing where it is missing or damaged."""
    try:
        digest, _, body = file.read_bytes().partition(b"\n")
        if _digest(body) != digest:
            return dict(_EMPTY)
        data: dict[str, Any] = json.loads(body)
        return data
    except (OSError, ValueError):
        return dict(_EMPTY)


@final
class Cache:
    """The analyses of one project; state: those read from disk, and those added in this run."""

    def __init__(
        self,
        file: Path | None,
        root: Path,
        overlay: Mapping[Path, bytes] | None = None,
        marks: re.Pattern[bytes] | None = None,
        reach: Reach | None = None,
    ) -> None:
        self._file = file
        self._root = root
        self._overlay = dict(overlay or {})
        data = read_cache(file) if file else dict(_EMPTY)
        self._paths: list[str] = data["paths"]
        self._tables: list[Mapping[str, Verdict]] = [
            {code: Verdict(name, why) for code, (name, why) in table.items()}
            for table in data["tables"]
        ]
        self._entries: dict[str, Any] = data["entries"]
        self._added: dict[str, Analysis] = {}
        self.index = Index(root, facts_from(data["facts"]), overlay, marks, reach)

    def get(self, path: Path) -> Analysis | None:
        """Return the analysis of a file if it still holds."""
        name = file_name(path, self._root)
        entry = self._entries.get(name)
        if entry is None:
            return None
        depends = [self._paths[number] for number in entry[1]]
        if self._key(depends) != entry[0]:
            return None
        return Analysis(
            path,
            tuple(map(finding_from, entry[3])),
            self._tables[entry[2]],
            tuple(map(self._path, entry[1])),
            entry[4],
            {kind: (known, all_) for kind, (known, all_) in entry[5].items()},
        )

    @functools.cache  # noqa: B019  (one cache lives as long as its run)
    def _path(self, number: int) -> Path:
        return self._root / self._paths[number]

    def add(self, analysis: Analysis) -> None:
        """Keep an analysis; `save` writes it."""
        self._added[file_name(analysis.path, self._root)] = analysis

    def save(self) -> None:
        """Write what is new. An unwritable cache, or a disk that is full, harms nothing."""
        if self._file is None or not (self._added or self.index.changed):
            return
        packed = _Packed()
        tables = list(map(_table, self._tables))
        for name, entry in self._entries.items():
            if name not in self._added and (self._root / name).exists():
                depends = [self._paths[number] for number in entry[1]]
                packed.put(name, entry[0], depends, tables[entry[2]], entry[3:])
        for name, analysis in self._added.items():
            depends = [file_name(path, self._root) for path in analysis.depends]
            findings = [plain(finding_data(one)) for one in analysis.findings]
            coverage = {kind: list(counts) for kind, counts in analysis.coverage.items()}
            rest = [findings, analysis.skipped, coverage]
            packed.put(name, self._key(depends), depends, _table(analysis.verdicts), rest)
        body = json.dumps({"facts": self.index.remembered(), **packed.data()}).encode()
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._file, _digest(body) + b"\n" + body, private=True)

    def _key(self, depends: Iterable[str]) -> str:
        text = "\0".join(self.index.key(name) for name in depends)
        return _digest(text.encode()).decode()


@final
class _Packed:
    """Entries as json, paths and equal tables of verdicts written once; state: those so far."""

    def __init__(self) -> None:
        self._paths: dict[str, int] = {}
        self._tables: dict[str, int] = {}
        self._entries: dict[str, list[Any]] = {}

    def put(self, name: str, key: str, depends: list[str], table: str, rest: list[Any]) -> None:
        numbers = [self._paths.setdefault(one, len(self._paths)) for one in depends]
        number = self._tables.setdefault(table, len(self._tables))
        self._entries[name] = [key, numbers, number, *rest]

    def data(self) -> dict[str, Any]:
        return {
            "paths": list(self._paths),
            "tables": [json.loads(table) for table in self._tables],
            "entries": self._entries,
        }


def _table(verdicts: Mapping[str, Verdict]) -> str:
    return json.dumps({code: (one.name, one.reason) for code, one in verdicts.items()})


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).hexdigest().encode()
