"""What ``__all__`` lists, as far as it can be read off."""

from __future__ import annotations

from typing import Any, NamedTuple

from tcstatic.program.source import syntax

ANYTHING = "*"
"""Stands for all public names of the module, where a part of the list cannot be read."""


class Listed(NamedTuple):
    """Names, and modules whose own lists are part of this one."""

    names: list[str]
    parts: list[str]


def listed_in(node: Any) -> Listed:
    """Return what an expression lists: ``["a", *b.__all__] + c.__all__``."""
    if isinstance(node, syntax.List | syntax.Tuple | syntax.Set):
        return _joined([_element(element) for element in node.elts])
    if isinstance(node, syntax.BinOp):
        return _joined([listed_in(node.left), listed_in(node.right)])
    if isinstance(node, syntax.Attribute) and node.attr == "__all__":
        last = node.value
        name = last.attr if isinstance(last, syntax.Attribute) else getattr(last, "id", ANYTHING)
        return Listed([], [name])
    if isinstance(node, syntax.Name) and node.id == "__all__":
        return Listed([], [])
    is_call = isinstance(node, syntax.Call) and len(node.args) == 1
    if is_call and getattr(node.func, "id", "") in ("list", "tuple", "sorted", "set"):
        return listed_in(node.args[0])
    return Listed([], [ANYTHING])


def added_by(node: Any) -> Listed | None:
    """Return what ``__all__.extend(...)`` and the like add; None for any other call."""
    function = getattr(node, "func", None)
    if not isinstance(function, syntax.Attribute) or len(node.args) != 1:
        return None
    if getattr(function.value, "id", "") != "__all__":
        return None
    if function.attr == "append":
        return _element(node.args[0])
    return listed_in(node.args[0]) if function.attr == "extend" else None


def _element(node: Any) -> Listed:
    if isinstance(node, syntax.Starred):
        return listed_in(node.value)
    if isinstance(node, syntax.Constant) and isinstance(node.value, str):
        return Listed([node.value], [])
    if isinstance(node, syntax.Attribute) and node.attr == "__name__":
        return Listed([str(getattr(node.value, "id", ""))], [])
    return Listed([], [ANYTHING])


def _joined(every: list[Listed]) -> Listed:
    names = [name for one in every for name in one.names]
    return Listed(names, [part for one in every for part in one.parts])
