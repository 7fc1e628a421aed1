"""What the program's own source says of a line that some ranks leave out, and of rates."""

from __future__ import annotations

import linecache
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    import ast


def branch_around(path: str, after: int, line: int) -> int | None:
    """Return the line of the condition that decides whether `line` follows on line `after`.

    That is an ``if`` around it, or one before it that leaves its loop, turn or function; the first
    of several. None where the source has none, or is not there.
    """
    import ast

    tree = _tree(path)
    if tree is None:
        return None
    leaving = (ast.Continue, ast.Break, ast.Return, ast.Raise)
    for body in _bodies_around(tree, line):
        for statement in body:
            if statement.lineno > line:
                break
            if not isinstance(statement, ast.If) or statement.lineno <= after:
                continue
            around = (statement.end_lineno or statement.lineno) >= line
            if around or any(isinstance(part, leaving) for part in ast.walk(statement)):
                return statement.lineno
    return None


def loop_around(path: str, line: int) -> int | None:
    """Return the line of the innermost ``for`` around a line, None where there is none."""
    import ast

    tree = _tree(path)
    loops = [
        node.lineno
        for node in (ast.walk(tree) if tree is not None else ())
        if isinstance(node, ast.For) and node.lineno < line <= (node.end_lineno or 0)
    ]
    return max(loops, default=None)


def rate_written(path: str) -> int | None:
    """Return the only line that sets a learning rate of a group, None where there are others."""
    import ast

    tree = _tree(path)
    lines = {
        node.lineno
        for node in (ast.walk(tree) if tree is not None else ())
        if isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.slice, ast.Constant)
        and node.slice.value == "lr"
    }
    return lines.pop() if len(lines) == 1 else None


def state_written(path: str) -> int | None:
    """Return the only line that clears, deletes or sets an optimizer's ``state``, or something in
    it; None where there are others."""
    import ast

    tree = _tree(path)
    lines = {
        node.lineno
        for node in (ast.walk(tree) if tree is not None else ())
        if isinstance(node, ast.expr) and _writes_state(node)
    }
    return lines.pop() if len(lines) == 1 else None


def _writes_state(node: ast.expr) -> bool:
    """Whether something in an optimizer's ``state`` is taken away, or written to in place."""
    import ast

    if _is_of_state(node):
        return not isinstance(node.ctx, ast.Load)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    name = node.func.attr
    return (name in ("clear", "pop", "popitem") or name[-1:] == "_") and _is_of_state(
        node.func.value
    )


def _is_of_state(node: ast.expr) -> TypeGuard[ast.Attribute | ast.Subscript]:
    """Whether an expression is an attribute `state`, or a part of one."""
    import ast

    whole = node
    while isinstance(whole, ast.Subscript):
        whole = whole.value
    return isinstance(whole, ast.Attribute) and whole.attr == "state"


def _tree(path: str) -> ast.AST | None:
    import ast

    try:
        return ast.parse("".join(linecache.getlines(path)))
    except (SyntaxError, ValueError):
        return None


def _bodies_around(tree: ast.AST, line: int) -> Iterator[Sequence[ast.stmt]]:
    """Yield the lists of statements that hold a line, the outermost first."""
    import ast

    for node in ast.walk(tree):
        for _, value in ast.iter_fields(node):
            body = [one for one in value if isinstance(one, ast.stmt)] if _is_list(value) else []
            if body and body[0].lineno <= line <= (body[-1].end_lineno or 0):
                yield body


def _is_list(value: object) -> bool:
    return isinstance(value, list)
