"""Loops that are always left after their first item, by a statement that stands one level too deep.

Whether that is meant is not for the source to say; what it says of it in a comment is heard.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any, Final

from tcstatic.program.source.text import SourceText

_MEANT: Final = re.compile(
    r"#.*\b(overfit|debug|sanity|smoke|quick|test|only|first|one|single|enough)", re.IGNORECASE
)


def left_at_once(node: Any, text: SourceText) -> int:
    """The line of the statement that ends each pass at its first item; 0 where there is none."""
    first = _leaving(node.body, _counters(node))
    if first is None or any(isinstance(one, ast.Continue) for one in _inside(node.body)):
        return 0
    line: int = first.lineno
    beside = text.lines[max(line - 2, 0) : line]
    return 0 if any(_MEANT.search(one) for one in beside) else line


def _leaving(body: Sequence[ast.stmt], counters: frozenset[str]) -> Any:
    """The statement that a pass over the body always ends with, in its first turn."""
    for statement in body:
        if isinstance(statement, ast.Break | ast.Return):
            return statement
        within = isinstance(statement, ast.With)
        if isinstance(statement, ast.If):
            within = _holds_at_first(statement.test, counters)
        found = _leaving(getattr(statement, "body", ()), counters) if within else None
        if found is not None:
            return found
    return None


def _counters(node: Any) -> frozenset[str]:
    """The name that counts turns from nought, in ``for i, batch in enumerate(loader)``."""
    target, source = node.target, node.iter
    if not isinstance(source, ast.Call) or not isinstance(source.func, ast.Name):
        return frozenset()
    if source.func.id != "enumerate" or len(source.args) > 1 or source.keywords:
        return frozenset()
    if isinstance(target, ast.Tuple) and isinstance(target.elts[0], ast.Name):
        return frozenset({target.elts[0].id})
    return frozenset()


def _holds_at_first(test: ast.expr, counters: frozenset[str]) -> bool:
    """Whether ``i % every == 0`` is asked, which holds of the first turn of each pass."""
    if not isinstance(test, ast.Compare) or [type(one) for one in test.ops] != [ast.Eq]:
        return False
    left, right = test.left, test.comparators[0]
    counted = (
        isinstance(left, ast.BinOp)
        and isinstance(left.op, ast.Mod)
        and isinstance(left.left, ast.Name)
        and left.left.id in counters
    )
    return counted and isinstance(right, ast.Constant) and right.value == 0


def _inside(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """All statements of a body that belong to its own loop and function."""
    found: list[ast.stmt] = []
    for statement in body:
        found.append(statement)
        if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.For | ast.While):
            continue
        for name in ("body", "orelse", "finalbody"):
            found += _inside(getattr(statement, name, ()))
        for handler in getattr(statement, "handlers", ()):
            found += _inside(handler.body)
    return found
