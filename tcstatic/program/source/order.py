"""Children of a syntax node in the order in which they are written.

``ast`` keeps some children in another order than the source (decorators after the body, defaults
apart from their arguments). A rewriter that walks another tree needs the same order of visits.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any, Final

_FIELDS: Final[dict[type[ast.AST], tuple[str, ...]]] = {}
_EMPTY: Final = frozenset({"ctx", "op", "ops", "type_ignores", "kind", "type_comment"})


def ordered_children(node: ast.AST) -> Iterator[ast.AST]:
    """The child nodes that can hold an expression or a statement, as they are written."""
    special = _SPECIAL.get(type(node))
    if special is not None:
        yield from special(node)
        return
    for name in _fields(type(node)):
        value = getattr(node, name, None)
        if isinstance(value, list):
            for item in value:
                if isinstance(item, ast.AST):
                    yield item
        elif isinstance(value, ast.AST):
            yield value


def _fields(kind: type[ast.AST]) -> tuple[str, ...]:
    known = _FIELDS.get(kind)
    if known is None:
        known = _FIELDS[kind] = tuple(name for name in kind._fields if name not in _EMPTY)
    return known


def _position(node: Any) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _call(node: Any) -> Iterator[ast.AST]:
    yield node.func
    if node.args and node.keywords:
        yield from sorted([*node.args, *node.keywords], key=_position)
    else:
        yield from node.args
        yield from node.keywords


def _arguments(node: Any) -> Iterator[ast.AST]:
    named = [*node.posonlyargs, *node.args]
    defaults = [None] * (len(named) - len(node.defaults)) + node.defaults
    pairs = list(zip(named, defaults, strict=True))
    pairs.append((node.vararg, None))
    pairs += zip(node.kwonlyargs, node.kw_defaults, strict=True)
    pairs.append((node.kwarg, None))
    yield from (part for pair in pairs for part in pair if part is not None)


def _function(node: Any) -> Iterator[ast.AST]:
    yield from node.decorator_list
    yield from getattr(node, "type_params", ())
    yield node.args
    if node.returns is not None:
        yield node.returns
    yield from node.body


def _class(node: Any) -> Iterator[ast.AST]:
    yield from node.decorator_list
    yield from getattr(node, "type_params", ())
    yield from node.bases
    yield from node.keywords
    yield from node.body


def _type_alias(node: Any) -> Iterator[ast.AST]:
    yield from (node.name, *node.type_params, node.value)


def _pairs(first: str, second: str) -> Callable[[Any], Iterator[ast.AST]]:
    def children(node: Any) -> Iterator[ast.AST]:
        for pair in zip_longest(getattr(node, first), getattr(node, second)):
            yield from (part for part in pair if part is not None)

    return children


def _conditional(node: Any) -> Iterator[ast.AST]:
    yield from (node.body, node.test, node.orelse)


_SPECIAL: Final[dict[type[ast.AST], Callable[[Any], Iterator[ast.AST]]]] = {
    ast.Call: _call,
    ast.arguments: _arguments,
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.ClassDef: _class,
    ast.Dict: _pairs("keys", "values"),
    ast.MatchMapping: _pairs("keys", "patterns"),
    ast.IfExp: _conditional,
    ast.Name: lambda _: iter(()),
    ast.Constant: lambda _: iter(()),
}
if hasattr(ast, "TypeAlias"):
    _SPECIAL[ast.TypeAlias] = _type_alias
