"""Parts of batches that are moved or cast, and whose new tensor is dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths import calls
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import function_around
from tcstatic.program.paths.tree import Block, Happening, happenings
from tcstatic.program.paths.values import Const, Node, Object, Unknown, Value, options
from tcstatic.program.source import syntax

_MOVES: Final = frozenset("to cuda cpu float half double long bfloat16".split())
# Libraries whose batches are moved in place.
_IN_PLACE: Final = re.compile(
    r"torch_geometric|torchtext|\bdgl\b|pytorch3d|detectron2|BatchEncoding"
)
# What is asked of objects and not of tensors: a batch of a class of one's own.
_OF_TENSORS: Final = frozenset(
    """size shape dim ndim numel device dtype view reshape float long half double int cpu cuda to
    numpy item detach sum mean max min argmax eq ne lt gt le ge unsqueeze squeeze transpose permute
    flatten contiguous clone data type type_as t T repeat expand requires_grad requires_grad_ grad
    view_as tolist bool cumsum norm clamp chunk split add mul div""".split()
)
_READ: Final = (syntax.Attribute, syntax.Subscript, syntax.keyword)


@surveys
def moved(m: Machine, block: Block) -> None:
    """``unused``: a part of what a loader hands out is moved, the result is dropped, and the old
    tensor is used."""
    for one in list(happenings(block)):
        call = one.place.node
        if (
            one.values.get("operation") != "dropped"
            or not isinstance(one.node, Node)
            or not isinstance(call, syntax.Call)
            or not isinstance(call.func, syntax.Attribute)
            or call.func.attr not in _MOVES
            or not isinstance(call.func.value, syntax.Name)
        ):
            continue
        name = call.func.value.id
        if _is_part_of_batch(m, one.node) and _is_tensor(one, call, name):
            one.values.update(unused=True, name=call.func.attr, receiver=name)


def _is_part_of_batch(m: Machine, made: Node) -> bool:
    """Whether a tensor is one of several that a loader's batch is taken apart into."""
    found = options(made.inputs[0], 4) if made.inputs else []
    return (
        bool(found)
        and all(
            isinstance(one, Node)
            and one.op == "item"
            and len(one.inputs) == 2
            and isinstance(one.inputs[1], Const)
            and isinstance(one.inputs[0], Node)
            and one.inputs[0].op == "item"
            for one in found
        )
        and any(_is_loaders(m, one) for one in found)
    )


def _is_loaders(m: Machine, part: Value) -> bool:
    """Whether a part of a batch leads back to a loader."""
    batch = part.inputs[0] if isinstance(part, Node) else part
    for source in batch.inputs if isinstance(batch, Node) else ():
        for one in options(source, 4):
            if isinstance(one, Object | Unknown) and calls.role_of_value(m, one) == "loader":
                return True
    return False


def _is_tensor(one: Happening, call: syntax.Call, name: str) -> bool:
    """Whether a name is used as tensors are used, behind the call, and bound anew nowhere."""
    module = one.place.module
    if _IN_PLACE.search(module.text.text):
        return False
    scope = function_around(module.tree, call.lineno) or module.tree
    line = call.end_lineno or call.lineno
    for node in syntax.walk(scope):
        if _is_named(node, name) and not _suits_tensor(node):
            return False
    return any(node.lineno > line for node in _arguments(scope, name))


def _is_named(node: syntax.AST, name: str) -> bool:
    """Whether an attribute, an item or the keywords of a name are read."""
    held = node.value if isinstance(node, _READ) else None
    return isinstance(held, syntax.Name) and held.id == name


def _suits_tensor(node: syntax.AST) -> bool:
    if isinstance(node, syntax.Attribute):
        return node.attr in _OF_TENSORS
    if isinstance(node, syntax.Subscript):
        key = node.slice
        return not (isinstance(key, syntax.Constant) and isinstance(key.value, str))
    return not (isinstance(node, syntax.keyword) and node.arg is None)


def _arguments(scope: syntax.AST, name: str) -> Iterator[syntax.expr]:
    """Where a name stands among the arguments of a call."""
    for node in syntax.walk(scope):
        if isinstance(node, syntax.Call):
            for given in (*node.args, *(one.value for one in node.keywords)):
                if isinstance(given, syntax.Name) and given.id == name:
                    yield given
