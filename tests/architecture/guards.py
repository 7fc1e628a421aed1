"""The checkers behind the guards. Each looks at one tree, so that a meta-guard can share it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

FUNCTION_LINES = 50
MODULE_LINES = 400

DOORS: Mapping[str, tuple[str, ...]] = {
    # conditions are one-line expressions: their text is read with ast too, and never evaluated
    "ast": (
        "tcstatic.program.source",
        "tcstatic.invariants.conditions",
        "tcstatic.runtime.probes.branches",
        "tcstatic.runtime.probes.pastwrites",
    ),
    "click": ("tcstatic.cli",),
    "distributed": ("tcstatic.infer.executors",),
    "libcst": ("tcstatic.rewrite",),
    "networkx": ("tcstatic.program.callgraph",),
    "packaging": ("tcstatic.lint",),
    "pathspec": ("tcstatic.lint",),
    "pyarrow": ("tcstatic.trace",),
    "torch": ("tcstatic.runtime.probes",),
    "yaml": ("tcstatic.invariants.rules",),
    "z3": ("tcstatic.infer.smt",),
}
"""Library -> the rooms that may import it, at any depth of indentation."""

LOADED = """\
import json, sys
{code}
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""

IMPORT_ALONE = """\
import importlib, os, sys, traceback
{once}
for name in sys.stdin.read().split():
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(name)
        except BaseException:
            print(name, traceback.format_exc(), flush=True)
        sys.stdout.flush()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        print(name, "ended its process with", status, flush=True)
"""


def environment(root: Path) -> dict[str, str]:
    """An environment in which `import tcstatic` finds the copy under `root`."""
    return {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}


def python(root: Path, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a fresh interpreter on the copy under `root`."""
    return subprocess.run(
        [sys.executable, *arguments],
        input=text,
        capture_output=True,
        text=True,
        cwd=root,
        env=environment(root),
        timeout=400,
        check=False,
    )


def loaded_by(root: Path, code: str) -> set[str]:
    """Top-level names in `sys.modules` after `code` ran in a fresh interpreter."""
    ran = python(root, "-c", LOADED.format(code=code))
    assert ran.returncode == 0, ran.stderr
    return set(ran.stdout.strip().strip("[]").replace('"', "").split(", "))


def broken_imports(root: Path, names: list[str], once: str = "") -> str:
    """What modules print that don't import alone with warnings as errors; empty if all do.

    `once` runs before them all: a library that takes seconds is loaded one time, not by each.
    """
    ran = python(root, "-W", "error", "-c", IMPORT_ALONE.format(once=once), text="\n".join(names))
    return ran.stdout + ran.stderr


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """import-linter, with the contracts in `root`'s pyproject.toml, on the copy under `root`."""
    return python(root, "-c", "from importlinter.cli import lint_imports_command as c; c()")


def modules(root: Path) -> list[str]:
    """Dotted names of all modules of the package under `root`, sorted."""
    return sorted(name_of(root, path) for path in (root / "tcstatic").rglob("*.py"))


def name_of(root: Path, path: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def oversized(root: Path) -> Iterator[str]:
    """One line for each module and each function that is longer than the alarm."""
    for path in sorted((root / "tcstatic").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        lines = len(text.splitlines())
        if lines > MODULE_LINES:
            yield f"{path.relative_to(root)}: {lines} lines, at most {MODULE_LINES}"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                if size > FUNCTION_LINES:
                    where = f"{path.relative_to(root)}:{node.lineno}"
                    yield f"{where}: {node.name} has {size} lines, at most {FUNCTION_LINES}"


def wrong_doors(root: Path) -> Iterator[str]:
    """One line for each import of a library outside the room that is its door."""
    for path in sorted((root / "tcstatic").rglob("*.py")):
        room = name_of(root, path)
        for line, library in imported_libraries(path):
            doors = DOORS.get(library)
            if doors and not any(f"{room}.".startswith(f"{door}.") for door in doors):
                yield f"{path.relative_to(root)}:{line}: {library} belongs to {', '.join(doors)}"


def imported_libraries(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module.partition(".")[0]
