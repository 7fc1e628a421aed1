"""Updates of parameters that only bind a name anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import statements_in
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Const, Place
from tcstatic.program.source import syntax

# A name that is bound to something computed from itself, on one line.
_LIKELY: Final = re.compile(r"\n[ \t]+(\w+) = [^\n]*\b\1\b")
_ARITHMETIC: Final = frozenset(
    "add sub mul div lerp addcmul addcdiv clamp clip copysign where normal fill zeros_like".split()
)


@surveys
def rebound(m: Machine, block: Block) -> None:
    """``p = p - lr * p.grad`` in a loop over parameters, where the new tensor is not used."""
    if not m.frames:
        return
    frame = m.frames[0]
    module = frame.module
    key = (-id(module), "#rebound")
    if key in m.lazy:
        return
    m.lazy[key] = Const(True)
    if not _LIKELY.search(module.text.text):
        return
    for loop in statements_in(module.tree):
        if not isinstance(loop, syntax.For):
            continue
        for statement in _simple(loop.body):
            name = _updated(loop, statement)
            if name and not _used(loop, statement, name):
                tell(block, "rebound", Place(module, statement, frame.name), name=name)


def _simple(body: list[syntax.stmt]) -> Iterator[syntax.Assign]:
    for statement in body:
        if isinstance(statement, syntax.Assign):
            yield statement
        elif isinstance(statement, syntax.If | syntax.With):
            yield from _simple(statement.body)
            yield from _simple(getattr(statement, "orelse", []))


def _updated(loop: syntax.For, statement: syntax.Assign) -> str:
    """The loop's variable that an assignment binds to something computed from the parameter."""
    target = statement.targets[0]
    if len(statement.targets) != 1 or not isinstance(target, syntax.Name):
        return ""
    if target.id not in _names(loop.target):
        return ""
    over = _over_parameters(loop.iter)
    graded = any(_reads_gradient(one, target.id) for one in loop.body)
    if not (graded or over) or not _computes(statement.value, target.id):
        return ""
    return target.id


def _names(target: syntax.expr) -> set[str]:
    return {node.id for node in syntax.walk(target) if isinstance(node, syntax.Name)}


def _over_parameters(iterable: syntax.expr) -> bool:
    """Whether all that a loop goes over are parameters."""
    if isinstance(iterable, syntax.Call):
        name = getattr(iterable.func, "attr", getattr(iterable.func, "id", ""))
        if name == "zip":
            return bool(iterable.args) and all(_over_parameters(one) for one in iterable.args)
        return name == "parameters"
    return False


def _reads_gradient(value: syntax.AST, name: str) -> bool:
    return any(
        isinstance(node, syntax.Attribute)
        and node.attr == "grad"
        and isinstance(node.value, syntax.Name)
        and node.value.id == name
        for node in syntax.walk(value)
    )


def _computes(value: syntax.expr, name: str) -> bool:
    """Whether a value is the named tensor after arithmetic."""
    if isinstance(value, syntax.BinOp):
        return any(isinstance(n, syntax.Name) and n.id == name for n in syntax.walk(value))
    if isinstance(value, syntax.Call) and isinstance(value.func, syntax.Attribute):
        return value.func.attr in _ARITHMETIC and name in _names(value.func.value)
    return False


def _used(loop: syntax.For, statement: syntax.Assign, name: str) -> bool:
    """Whether the new tensor is read before the loop binds its name again."""
    return any(
        isinstance(node, syntax.Name)
        and node.id == name
        and isinstance(node.ctx, syntax.Load)
        and node.lineno > (statement.end_lineno or statement.lineno)
        for part in loop.body
        for node in syntax.walk(part)
    )
