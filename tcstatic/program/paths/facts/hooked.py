"""Gradients that hooks write: behind a step, in front of a forward, when they are computed.

Whoever registers such a hook may clear gradients, or divide them, where no call in the loop does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tcstatic.program.paths import gradients, wording
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module
from tcstatic.program.paths.tree import Block, Branch, Called, Happening, Loop, happenings
from tcstatic.program.source import syntax

_REGISTERS: Final = re.compile(r"\bregister_\w*hook$")
# Of a tensor: the gradient is what the hook gives.
_OF_TENSOR: Final = frozenset({"register_hook", "register_post_accumulate_grad_hook"})
_WRITES: Final = frozenset({"grad", "zero_grad"})


@surveys
def written_by_hooks(m: Machine, block: Block) -> None:
    """Behind each step gradients may be written, where a hook of the program's may do that."""
    every = happenings(block)
    if any(wording.once(module, _of_module)[0] for module in wording.at_work(every)):
        _add(block)
        block.counted = -1


def may_scale(every: Iterable[Happening]) -> bool:
    """Whether a hook of the program's may change gradients as they are computed, or afterwards."""
    return any(any(wording.once(module, _of_module)) for module in wording.at_work(every))


def _add(block: Block) -> None:
    steps = []
    for step in block.steps:
        steps.append(step)
        if isinstance(step, Branch):
            for one in step.alternatives:
                _add(one)
        elif isinstance(step, Loop | Called):
            _add(step.body)
        elif isinstance(step, Happening) and step.kind == "optimizer.step":
            numbers = frozenset(step.subjects.get("optimizer", ())) | step.maybe
            values = {"operation": gradients.WRITES}
            steps.append(Happening("call", step.place, maybe=numbers, wild=True, values=values))
    block.steps = steps
    block.counted = -1


def _of_module(module: Module) -> tuple[bool, bool]:
    """Whether a file registers a hook that may write gradients; and one of a tensor."""
    if "_hook(" not in module.text.text:
        return False, False
    found = list(_registered(module))
    writes = any(_may_write(module, callback) for _, callback in found)
    return writes, any(name in _OF_TENSOR for name, _ in found)


def _registered(module: Module) -> Iterator[tuple[str, syntax.expr]]:
    for node in syntax.walk(module.tree):
        if isinstance(node, syntax.Call) and isinstance(node.func, syntax.Attribute):
            given = [*node.args, *(one.value for one in node.keywords)]
            if _REGISTERS.search(node.func.attr) and given:
                yield node.func.attr, given[0]


def _may_write(module: Module, callback: syntax.expr) -> bool:
    """Whether what is registered names gradients, or is defined elsewhere."""
    if isinstance(callback, syntax.Lambda):
        return _names_gradients(callback)
    name = callback.id if isinstance(callback, syntax.Name) else ""
    name = callback.attr if isinstance(callback, syntax.Attribute) else name
    bodies = [
        node
        for node in syntax.walk(module.tree)
        if isinstance(node, syntax.FunctionDef) and node.name == name
    ]
    return any(map(_names_gradients, bodies))


def _names_gradients(function: syntax.AST) -> bool:
    return any(
        isinstance(one, syntax.Attribute) and one.attr in _WRITES for one in syntax.walk(function)
    )
