"""What a program does with gradients itself: look at them, or use them in place of a step."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, Final

# The same numbers, elsewhere or otherwise typed.
_SAME: Final = frozenset("data detach cpu cuda to float double half abs flatten view".split())
# What is printed, logged or asserted of a gradient.
_LOOKS: Final = frozenset(
    """norm mean max min amax amin sum std var item numel nelement shape size dim ndim dtype device
    layout is_sparse is_cuda requires_grad isnan isfinite isinf any all count_nonzero numpy tolist
    histc _version _is_view is_contiguous stride""".split()
)
_LOOKED_AT_BY: Final = frozenset(
    """print len type isinstance id str repr format isnan isfinite isinf norm vector_norm any all
    allclose add_histogram add_scalar log histogram Histogram count_nonzero is_tensor""".split()
)
# Nodes around a gradient that only look at it.
_LOOKING: Final = (
    ast.Compare,
    ast.BoolOp,
    ast.If,
    ast.IfExp,
    ast.FormattedValue,
    ast.Expr,
    ast.Assert,
    ast.UnaryOp,
)
_AROUND: Final = 8  # nodes around a gradient that are looked at


def uses_gradients(tree: ast.AST) -> bool:
    """Whether some gradient is read for more than to look at it: kept, sent, or computed with."""
    return any(_is_used(chain) for chain in _reads(tree))


def _reads(tree: ast.AST) -> Iterator[tuple[Any, ...]]:
    """Each read of an attribute ``grad``, with the nodes around it from the inmost out."""
    waiting: list[tuple[Any, tuple[Any, ...]]] = [(tree, ())]
    while waiting:
        node, above = waiting.pop()
        chain = (node, *above[:_AROUND])
        if isinstance(node, ast.Attribute) and node.attr == "grad":
            if isinstance(node.ctx, ast.Load):
                yield chain
        else:
            waiting += [(child, chain) for child in ast.iter_child_nodes(node)]


def _is_used(chain: tuple[Any, ...]) -> bool:
    node, *above = chain
    for outer in above:
        if isinstance(outer, ast.Attribute):
            in_place = outer.attr.endswith("_") and not outer.attr.startswith("_")
            if outer.attr in _LOOKS or in_place or not isinstance(outer.ctx, ast.Load):
                return False
            if outer.attr not in _SAME:
                return True
        elif not isinstance(outer, ast.Call):
            return not isinstance(outer, _LOOKING)
        elif outer.func is not node:
            return _name(outer.func) not in _LOOKED_AT_BY
        node = outer
    return True


def _name(function: Any) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
