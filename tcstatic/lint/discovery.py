"""Paths of a command line -> projects, each with its root, its settings and the files to lint."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from tcstatic.errors import InputError, input_problem
from tcstatic.lint.settings import Settings, settings_for
from tcstatic.lint.walking import Ignored, is_covered, patterns, walk
from tcstatic.model import Skipped

_MARKS: Final = ("pyproject.toml", ".git")


@final
@dataclass(frozen=True, slots=True)
class Project:
    """Files of one root. `root` is what the locations of findings are relative to."""

    root: Path
    settings: Settings
    files: tuple[Path, ...]


@final
@dataclass(frozen=True, slots=True)
class Discovered:
    """What there is to lint; `unreadable` are paths that are not what they seem."""

    projects: tuple[Project, ...]
    unreadable: tuple[Skipped, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the files of all projects."""
        return tuple(path for project in self.projects for path in project.files)


@final
class _Surroundings:
    """What lies around a folder; state: answers for the folders seen so far."""

    def __init__(self, isolated: bool, fallback: Path) -> None:
        self._isolated = isolated
        self._fallback = fallback
        self._known: dict[Path, tuple[Path, Settings]] = {}
        self._excluded: dict[str, list[Ignored]] = {}

    def of(self, folder: Path) -> tuple[Path, Settings]:
        if folder not in self._known:
            settings = Settings() if self._isolated else settings_for(folder)
            self._known[folder] = (project_root(folder, self._fallback), settings)
        return self._known[folder]

    def excluded(self, settings: Settings) -> list[Ignored]:
        if settings.file not in self._excluded:
            lines = settings.exclude
            self._excluded[settings.file] = [patterns(lines, settings.folder)] if lines else []
        return self._excluded[settings.file]


def discover(
    paths: Sequence[str],
    *,
    isolated: bool = False,
    exclude: Sequence[str] = (),
    texts: Collection[Path] = (),
) -> Discovered:
    """Return the Python files that `paths` name: files themselves, those below folders.

    What the settings, or `exclude`, leave out is left out even if it is named. `texts` are files
    that need not exist: their text comes from elsewhere. Raises InputError for a path that does not
    exist, or settings that cannot be read.
    """
    around = _Surroundings(isolated, _common([*paths, *map(str, texts)]))
    here = [patterns(exclude, Path.cwd())] if exclude else []
    found: dict[Path, Path] = {path: path for path in texts}
    unreadable: dict[str, Skipped] = {}
    for path in paths:
        for one in _files(Path(os.path.abspath(path)), path, around, here):
            if isinstance(one, Skipped):
                unreadable[one.path] = one
            else:
                found[one] = one
    groups: dict[tuple[Path, str], list[Path]] = {}
    for path_found in sorted(found):
        root, settings = around.of(path_found.parent)
        groups.setdefault((root, settings.file), []).append(path_found)
    projects = tuple(
        Project(root, around.of(files[0].parent)[1], tuple(files))
        for (root, _), files in groups.items()
    )
    return Discovered(projects, tuple(unreadable.values()))


def _files(
    path: Path, given: str, around: _Surroundings, here: list[Ignored]
) -> Iterator[Path | Skipped]:
    if not os.path.lexists(path):
        raise InputError(input_problem("no such file or folder", where=given))
    if path.is_dir():
        _, settings = around.of(path)
        yield from walk(path, [*around.excluded(settings), *here], git=True)
        return
    _, settings = around.of(path.parent)
    if not is_covered(path, [*around.excluded(settings), *here]):
        yield path


def project_root(folder: Path, fallback: Path) -> Path:
    """Return the nearest folder, at or above, with a pyproject.toml or a .git.

    Without one it is the working folder, `fallback`, or `folder` itself: the first of them that
    `folder` lies in.
    """
    for one in (folder, *folder.parents):
        if any((one / mark).exists() for mark in _MARKS):
            return one
    return next(one for one in (Path.cwd(), fallback, folder) if folder.is_relative_to(one))


def _common(paths: Sequence[str]) -> Path:
    """The folder that all paths lie in; one that nothing lies in where that is no help."""
    folders = [
        path if os.path.isdir(path) else os.path.dirname(path)
        for path in map(os.path.abspath, paths)
    ]
    common = Path(os.path.commonpath(folders)) if folders else Path.cwd()
    return common if common != common.parent else Path(os.devnull)


def file_name(path: Path, root: Path) -> str:
    """Return how a location names a file: relative to `root` with slashes, else absolute."""
    text, above = str(path), os.path.join(root, "")
    # By far cheaper than what pathlib does, and there are as many of these as files.
    return text[len(above) :].replace(os.sep, "/") if text.startswith(above) else text
