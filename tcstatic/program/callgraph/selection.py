"""Files and folders that a person names -> the files of a program and its root folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tcstatic.errors import InputError, input_problem
from tcstatic.program.source import local_modules

_LEFT_OUT = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})


def program_of(paths: Sequence[Path]) -> tuple[tuple[Path, ...], Path]:
    """Return the files of the program, sorted, and the folder that its names start from.

    A script brings the local modules that it imports. Of a package the root is the folder around
    it. Raises InputError for a path that is not there.
    """
    files: set[Path] = set()
    roots: list[Path] = []
    for given in paths:
        path = given.absolute()
        if path.is_dir():
            files.update(_python_files(path))
            roots.append(_around(path))
        elif path.is_file():
            root = _around(path.parent)
            files.update(local_modules(path, root, ()))
            roots.append(root)
        else:
            raise InputError(input_problem(f"{given}: no such file or folder"))
    return tuple(sorted(files)), Path(os.path.commonpath(roots))


def _around(folder: Path) -> Path:
    """Return the first folder up that is no package."""
    while (folder / "__init__.py").is_file() and folder != folder.parent:
        folder = folder.parent
    return folder


def _python_files(folder: Path) -> list[Path]:
    found: list[Path] = []
    for current, folders, names in os.walk(folder):
        folders[:] = sorted(n for n in folders if n not in _LEFT_OUT and not n.startswith("."))
        found += [Path(current, name) for name in sorted(names) if name.endswith(".py")]
    return found
