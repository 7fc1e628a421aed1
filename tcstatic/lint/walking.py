"""Folders -> Python files: links to folders, caches, environments and what git ignores left out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from tcstatic.model import Skipped

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

# Besides all hidden folders and every virtual environment.
_NOT_SOURCE: Final = frozenset(
    "__pycache__ __pypackages__ _build buck-out dist node_modules site-packages venv".split()
)


@final
@dataclass(frozen=True, slots=True)
class Ignored:
    """The patterns of one .gitignore, or of a setting, and the folder that they count from."""

    folder: str
    spec: GitIgnoreSpec

    def verdict(self, path: str, is_folder: bool) -> bool | None:
        """Return whether it ignores `path` (True), takes it in again (False), or says nothing."""
        if not path.startswith(self.folder) or path == self.folder:
            return None
        relative = path[len(self.folder) :].lstrip(os.sep)
        return self.spec.check_file(relative + "/" if is_folder else relative).include


def patterns(lines: Sequence[str], folder: Path) -> Ignored:
    """Return patterns as in a .gitignore, counted from `folder`."""
    from pathspec import GitIgnoreSpec

    return Ignored(os.path.join(folder, ""), GitIgnoreSpec.from_lines(lines))


def is_ignored(path: str, is_folder: bool, layers: Sequence[Ignored]) -> bool:
    """Return whether the innermost layer that has an opinion ignores `path`."""
    for layer in reversed(layers):
        verdict = layer.verdict(path, is_folder)
        if verdict is not None:
            return verdict
    return False


def is_covered(path: Path, layers: Sequence[Ignored]) -> bool:
    """Return whether `layers` ignore a file, or a folder that it lies in."""
    if not layers:
        return False
    around = (str(folder) for folder in path.parents)
    return is_ignored(str(path), False, layers) or any(
        is_ignored(folder, True, layers) for folder in around
    )


def walk(
    folder: Path,
    layers: Sequence[Ignored] = (),
    *,
    git: bool = False,
    leave: Callable[[str], bool] | None = None,
) -> Iterator[Path | Skipped]:
    """Yield the Python files below `folder` in a fixed order, and what cannot be looked into.

    `layers` are patterns to leave out; with `git`, those of .gitignore files (of folders above as
    well, up to the repository's own) are added. `leave` says of a folder that it is passed over.
    """
    inherited = list(layers)
    if git:
        inherited += _above(folder)
    yield from _below(str(folder), inherited, git, leave)


def _below(
    folder: str, layers: list[Ignored], git: bool, leave: Callable[[str], bool] | None
) -> Iterator[Path | Skipped]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        yield Skipped(folder, f"cannot be read ({error.strerror})")
        return
    if git and any(entry.name == ".gitignore" for entry in entries):
        layers = [*layers, *_of_file(Path(folder, ".gitignore"), Path(folder))]
    folders: list[str] = []
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if _may_hold_source(entry) and not is_ignored(entry.path, True, layers):
                folders.append(entry.path)
        elif (
            entry.name.endswith(".py")
            and not entry.is_dir()
            and not is_ignored(entry.path, False, layers)
        ):
            yield Path(entry.path)
    for one in folders:
        if leave is None or not leave(one):
            yield from _below(one, layers, git, leave)


def _may_hold_source(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith(".") or entry.name in _NOT_SOURCE:
        return False
    return not os.path.exists(os.path.join(entry.path, "pyvenv.cfg"))


def _above(folder: Path) -> list[Ignored]:
    """The .gitignore files above a folder, the repository's own first, and its private excludes."""
    found: list[Ignored] = []
    for one in (folder, *folder.parents):
        if one != folder:
            found = [*_of_file(one / ".gitignore", one), *found]
        if (one / ".git").exists():
            return [*_of_file(one / ".git" / "info" / "exclude", one), *found]
    return []


def _of_file(path: Path, folder: Path) -> list[Ignored]:
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return []
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [patterns(lines, folder)] if lines else []
