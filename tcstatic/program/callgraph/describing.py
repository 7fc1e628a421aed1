"""Where an expression stands, and what it is called in a message."""

from __future__ import annotations

from typing import Any

from tcstatic.program.callgraph.operations import Key, Place
from tcstatic.program.source import syntax


def place_of(node: Any) -> Place:
    """Return where an expression stands."""
    return (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)


def described(node: syntax.AST) -> str:
    """Return a short text for an expression: its dotted name where it has one."""
    if isinstance(node, syntax.Name):
        return node.id
    if isinstance(node, syntax.Attribute):
        return f"{described(node.value)}.{node.attr}"
    if isinstance(node, syntax.Call):
        return f"{described(node.func)}()"
    if isinstance(node, syntax.Subscript):
        return f"{described(node.value)}[]"
    return f"<{type(node).__name__.lower()}>"


def constant_key(node: syntax.AST) -> Key:
    """Return the key that a subscript is, where it is a constant."""
    if isinstance(node, syntax.Constant):
        value = node.value
        if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
            return value
    elif isinstance(node, syntax.UnaryOp) and isinstance(node.op, syntax.USub):
        key = constant_key(node.operand)
        return -key if isinstance(key, int) else None
    return None
