"""Every so many steps, of a remainder that is taken too early: ``step + 1 % every == 0``.

What is looked at is the text: the remainder of a number by something else is added to a counter,
and the sum is compared, asked for its truth, or becomes the counter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, TypeGuard

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"[+-]\s*\d+\s*%")


@surveys
def precedence(m: Machine, block: Block) -> None:
    """``too_early`` of a remainder that is taken of a number, and not of the sum around it."""
    for module, node in wording.found(block, _WORTH, _in_module):
        assert isinstance(node.right, syntax.BinOp)
        place = Place(module, node, title_around(module.tree, node.lineno))
        counter, every = syntax.unparse(node.left), syntax.unparse(node.right.right)
        sign = "+" if isinstance(node.op, syntax.Add) else "-"
        number = syntax.unparse(node.right.left)
        meant = f"({counter} {sign} {number}) % {every}"
        written, taken = syntax.unparse(node), f"({number} % {every})"
        read = f"{counter} {sign} {taken}"
        tell(block, "too_early", place, written=written, sign=sign, read=read, meant=meant)


def _in_module(module: Module) -> Iterator[syntax.BinOp]:
    for node in syntax.walk(module.tree):
        if isinstance(node, syntax.If | syntax.While | syntax.IfExp):
            yield from _tested(node.test)
        elif isinstance(node, syntax.Assign) and len(node.targets) == 1:
            value, target = node.value, node.targets[0]
            if _is_early(value) and syntax.unparse(value.left) == syntax.unparse(target):
                yield value


def _tested(test: syntax.expr) -> Iterator[syntax.BinOp]:
    """The sums that a condition compares, or asks for their truth."""
    if isinstance(test, syntax.BoolOp):
        for one in test.values:
            yield from _tested(one)
    elif isinstance(test, syntax.UnaryOp):
        yield from _tested(test.operand)
    elif isinstance(test, syntax.Compare):
        for one in (test.left, *test.comparators):
            yield from _tested(one)
    elif _is_early(test):
        yield test


def _is_early(value: syntax.expr) -> TypeGuard[syntax.BinOp]:
    """Whether the remainder of a bare number is added to something that may be counted."""
    if not isinstance(value, syntax.BinOp) or not isinstance(value.op, syntax.Add | syntax.Sub):
        return False
    inner = value.right
    if not isinstance(inner, syntax.BinOp) or not isinstance(inner.op, syntax.Mod):
        return False
    number, every = inner.left, inner.right
    counted = isinstance(number, syntax.Constant) and isinstance(number.value, int)
    return counted and not isinstance(value.left, syntax.Constant) and not _is_one(every)


def _is_one(every: syntax.expr) -> bool:
    return isinstance(every, syntax.Constant) and every.value == 1
