"""Tensors that want gradients, kept by a module that does not know them as parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, happenings
from tcstatic.program.paths.values import Class, Place
from tcstatic.program.source import syntax

# A class that sees to its gradients by itself, or gives its tensors to an optimizer.
_BY_ITSELF: Final = re.compile(r"\.grad\b|autograd|optim|register_parameter|__setattr__")
_MAKERS: Final = frozenset(
    """tensor zeros ones empty rand randn full eye zeros_like ones_like empty_like rand_like
    randn_like linspace arange""".split()
)


@surveys
def leaves(m: Machine, block: Block) -> None:
    """``unregistered_tensor`` of an attribute that is made with ``requires_grad`` in a module's
    ``__init__``, is used by its methods, and is named by nobody else."""
    if not any(one.kind == "loss.backward" for one in happenings(block)):
        return
    classes = {
        id(one.type): one.type
        for one in m.objects.values()
        if one.role == "model" and isinstance(one.type, Class)
    }
    for kind in classes.values():
        for name, node in _leaves(kind.node):
            if not _is_used_elsewhere(kind, name):
                place = Place(kind.module, node, f"{kind.name}.__init__")
                tell(block, "unregistered_tensor", place, name=name)


def _leaves(node: syntax.ClassDef) -> Iterator[tuple[str, syntax.stmt]]:
    if _BY_ITSELF.search(syntax.unparse(node)):
        return
    for function in node.body:
        if not isinstance(function, syntax.FunctionDef) or function.name != "__init__":
            continue
        for one in syntax.walk(function):
            target = one.targets[0] if isinstance(one, syntax.Assign) else None
            if not isinstance(one, syntax.Assign) or not isinstance(target, syntax.Attribute):
                continue
            own = isinstance(target.value, syntax.Name) and target.value.id == "self"
            if own and _wants_gradients(one.value) and _reads(node, function, target.attr):
                yield target.attr, one


def _wants_gradients(value: syntax.expr) -> bool:
    """Whether a call makes a new tensor that wants gradients."""
    if not isinstance(value, syntax.Call) or not isinstance(value.func, syntax.Attribute):
        return False
    if value.func.attr == "requires_grad_":
        plain = not value.args and not value.keywords
        return plain and isinstance(value.func.value, syntax.Call) and _makes(value.func.value)
    told = [one.value for one in value.keywords if one.arg == "requires_grad"]
    live = bool(told) and isinstance(told[0], syntax.Constant) and told[0].value is True
    return live and _makes(value)


def _makes(call: syntax.Call) -> bool:
    function = call.func
    known = isinstance(function, syntax.Attribute) and function.attr in _MAKERS
    return known and isinstance(function, syntax.Attribute) and _is_torch(function.value)


def _is_torch(node: syntax.expr) -> bool:
    return isinstance(node, syntax.Name) and node.id == "torch"


def _reads(node: syntax.ClassDef, made: syntax.FunctionDef, name: str) -> bool:
    """Whether another method of the class reads the attribute."""
    return any(
        isinstance(part, syntax.Attribute) and part.attr == name
        for function in node.body
        if isinstance(function, syntax.FunctionDef) and function is not made
        for part in syntax.walk(function)
    )


def _is_used_elsewhere(kind: Class, name: str) -> bool:
    """Whether the module names the attribute outside of the class, as for an optimizer."""
    inside = {id(part) for part in syntax.walk(kind.node)}
    return any(
        (isinstance(node, syntax.Attribute) and node.attr == name)
        or (isinstance(node, syntax.Constant) and node.value == name)
        for node in syntax.walk(kind.module.tree)
        if id(node) not in inside
    )
