"""What the solver's room may import: conditions, the nouns, the errors, and z3."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ALLOWED = ("tcstatic.errors", "tcstatic.infer.smt", "tcstatic.invariants.conditions")
ALLOWED += ("tcstatic.model", "z3", *sys.stdlib_module_names)


def foreign(source: str) -> list[str]:
    """Modules that the room must not import."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return [name for name in names if not any(f"{name}.".startswith(f"{one}.") for one in ALLOWED)]


def test_the_solver_knows_conditions_and_nouns_only(repo: Path) -> None:
    files = sorted((repo / "tcstatic/infer/smt").glob("*.py"))
    assert files
    assert {path.name: foreign(path.read_text(encoding="utf-8")) for path in files} == {
        path.name: [] for path in files
    }


def test_that_guard_sees_an_import() -> None:
    assert foreign("def f():\n    from tcstatic.infer import learning") == ["tcstatic.infer"]
    assert foreign("import tcstatic.check.driver, z3") == ["tcstatic.check.driver"]
