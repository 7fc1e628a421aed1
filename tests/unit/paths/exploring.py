"""Explores small programs written in a test: what happens in them, as text."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

from tcstatic.program.paths import Happening, Project, Root, explore, happenings


def explored(folder: Path, files: dict[str, str], visit: Callable[[Root], None]) -> None:
    """Write files into a folder, and explore ``main.py``."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    explore(Project(folder), folder / "main.py", visit)


def kinds(folder: Path, text: str, **others: str) -> list[str]:
    """The kinds of events of a program's body, in order, but for generic calls."""
    found: list[str] = []

    def visit(root: Root) -> None:
        if not root.name:
            found.extend(one.kind for one in happenings(root.block) if one.kind != "call")

    explored(folder, {"main.py": text, **{f"{k}.py": v for k, v in others.items()}}, visit)
    return found


def events(folder: Path, text: str, *kinds: str) -> list[Happening]:
    """The happenings of some kinds, in all roots."""
    found: list[Happening] = []

    def visit(root: Root) -> None:
        found.extend(one for one in happenings(root.block) if one.kind in kinds)

    explored(folder, {"main.py": text}, visit)
    return found
