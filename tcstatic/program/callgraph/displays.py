"""Displays of lists, tuples, sets and dicts -> operations that make them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

from tcstatic.program.callgraph import operations as ops
from tcstatic.program.callgraph.describing import constant_key
from tcstatic.program.callgraph.operations import Key, Node
from tcstatic.program.callgraph.program import Program
from tcstatic.program.callgraph.scopes import Scope
from tcstatic.program.callgraph.values import Kind
from tcstatic.program.source import syntax


def _is_number(node: syntax.AST) -> bool:
    if isinstance(node, syntax.UnaryOp):
        node = node.operand
    return isinstance(node, syntax.Constant) and isinstance(node.value, int | float)


@final
class Displays:
    """Lowers displays; `value` lowers the expressions in them."""

    def __init__(self, program: Program, value: Callable[[syntax.AST, Scope], Node]) -> None:
        self._program = program
        self._value = value

    def display(self, node: Any, scope: Scope) -> Node:
        """Return the node that holds a list, tuple or set."""
        kind = type(node).__name__.lower()
        if node.elts and kind != "set" and all(map(_is_number, node.elts)):
            return self._numbers(kind, len(node.elts), scope)
        items: list[tuple[Key, Node]] = []
        spread: list[Node] = []
        hashed: list[Node] = []
        for position, element in enumerate(node.elts):
            if isinstance(element, syntax.Starred):
                spread.append(self._value(element.value, scope))
                continue
            key = None if spread or kind == "set" else position
            items.append((key, self._value(element, scope)))
            if kind == "set" and not isinstance(element, syntax.Constant):
                hashed.append(items[-1][1])
        return self.make(scope, kind, items, spread, hashed=hashed)

    def _numbers(self, kind: str, length: int, scope: Scope) -> Node:
        """Rows of numbers are many, and one is like another of its length and module."""
        target = scope.unit.node()
        module = scope.module.index if kind == "list" else 0
        found = self._program.values.get(Kind.ITEMS, kind, "numbers", (module, length))
        scope.unit.seeds.append((target, found))
        return target

    def mapping(self, node: syntax.Dict, scope: Scope) -> Node:
        """Return the node that holds a dict."""
        items: list[tuple[Key, Node]] = []
        spread: list[Node] = []
        keys: list[Node] = []
        hashed: list[Node] = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                spread.append(self._value(value, scope))
                continue
            keys.append(self._value(key, scope))
            if not isinstance(key, syntax.Constant):
                hashed.append(keys[-1])
            items.append((constant_key(key), self._value(value, scope)))
        return self.make(scope, "dict", items, spread, keys, hashed)

    def make(
        self,
        scope: Scope,
        kind: str,
        items: Sequence[tuple[Key, Node]],
        spread: Sequence[Node] = (),
        keys: Sequence[Node] = (),
        hashed: Sequence[Node] = (),
    ) -> Node:
        """Return the node that holds a new container."""
        target = scope.unit.node()
        made = ops.MakeItems(
            target,
            kind,
            tuple(items),
            tuple(spread),
            tuple(keys),
            tuple(hashed),
            self._program.site(),
        )
        scope.unit.making.append(made)
        return target
