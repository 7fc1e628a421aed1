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
# Older ways to say that a folder is a project; they count where none of the others is found.
_OLDER_MARKS: Final = ("setup.py", "setup.cfg", ".hg", ".svn")
_OF_A_COPY: Final = ("_tcstatic.py", "plan.json")
NOTEBOOK: Final = "notebooks are not read; `jupyter nbconvert --to script` makes a script of one"


@final
@dataclass(frozen=True, slots=True)
class Project:
    """Files of one root. `root` is what the locations of findings are relative to."""

    root: Path
    settings: Settings
    files: tuple[Path, ...]

    @property
    def marked(self) -> bool:
        """Return whether anything says that the root is a project's: else it is a guess."""
        return is_project(self.root)


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

    def __init__(self, isolated: bool, named: Path) -> None:
        self._isolated = isolated
        self._roots = _Roots(named)
        self._known: dict[Path, tuple[Path, Settings]] = {}
        self._excluded: dict[str, list[Ignored]] = {}

    def of(self, folder: Path) -> tuple[Path, Settings]:
        if folder not in self._known:
            settings = Settings() if self._isolated else settings_for(folder)
            self._known[folder] = (self._roots.of(folder), settings)
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
        layers = [*around.excluded(settings), *here]
        yield from walk(path, layers, git=True, leave=_is_a_copy)
        return
    if path.suffix == ".ipynb":
        yield Skipped(given, NOTEBOOK)
        return
    _, settings = around.of(path.parent)
    if not is_covered(path, [*around.excluded(settings), *here]):
        yield path


def _is_a_copy(folder: str) -> bool:
    """Whether `tcstatic rewrite` has made a folder: what it was made of is linted."""
    return all(os.path.isfile(os.path.join(folder, name)) for name in _OF_A_COPY)


@final
class _Roots:
    """Which folder a file is seen from; state: what was asked before of other folders."""

    def __init__(self, named: Path) -> None:
        """`named` is the folder that all paths of the command line lie in."""
        self._named = named
        self._holding: dict[Path, bool] = {}

    def of(self, folder: Path) -> Path:
        """Return the nearest folder, at or above, with a pyproject.toml or a .git.

        Without one it is the working folder, the named one, or `folder` itself: the first of them
        that `folder` lies in and that may be one project, or the folder with a setup.py above it.
        Below the working folder, a package is not parted.
        """
        around = (folder, *folder.parents)
        marked = next((one for one in around if _is_marked(one, _MARKS)), None)
        if marked is not None:
            return marked
        start = self._start(folder)
        if self._holds_projects(start):
            older = around[: around.index(start)]
        else:
            older = (start, *start.parents)
        return next((one for one in older if _is_marked(one, _OLDER_MARKS)), start)

    def _start(self, folder: Path) -> Path:
        here, named = Path.cwd(), self._named
        if not folder.is_relative_to(here):
            return named if folder.is_relative_to(named) else folder
        if here != named and not _is_everything(here) and not self._holds_projects(here):
            return here
        start = named if folder.is_relative_to(named) else folder
        while start != here and _is_marked(start, ("__init__.py",)):
            start = start.parent
        return start

    def _holds_projects(self, folder: Path) -> bool:
        """Whether a folder in it is a project of its own."""
        if folder not in self._holding:
            try:
                with os.scandir(folder) as entries:
                    inner = [one.path for one in entries if one.is_dir()]
            except OSError:
                inner = []
            self._holding[folder] = any(map(is_project, inner))
        return self._holding[folder]


def is_project(folder: Path | str) -> bool:
    """Return whether something in a folder says that it is a project of its own."""
    return _is_marked(folder, (*_MARKS, *_OLDER_MARKS))


def _is_marked(folder: Path | str, marks: Sequence[str]) -> bool:
    return any(os.path.exists(os.path.join(folder, mark)) for mark in marks)


def _is_everything(folder: Path) -> bool:
    """Whether it is a place where all that somebody has lies: no project."""
    # Not at the top: few come here, and it takes a while to load.
    import tempfile

    return str(folder) in (tempfile.gettempdir(), os.path.expanduser("~"), folder.anchor)


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
