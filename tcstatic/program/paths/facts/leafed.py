"""Losses that are told to require gradients, right before they go back.

What is looked at is the text: a loss that was computed from a model requires gradients by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"requires_grad(_\(|\s*=\s*True)")
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)
# A tensor that is made from plain numbers to begin with, in a lesson on gradients.
_MADE: Final = re.compile(r"^(torch\.)?(tensor|rand\w*|ones|zeros|arange|linspace|full)\(")


@surveys
def leafed(m: Machine, block: Block) -> None:
    """``leaf_loss`` of a statement that has a loss require gradients."""
    for module, (statement, name) in wording.found(block, _WORTH, _in_module):
        place = Place(module, statement, title_around(module.tree, statement.lineno))
        tell(block, "leaf_loss", place, name=name)


def _in_module(module: Module) -> Iterator[tuple[syntax.stmt, str]]:
    for scope in (module.tree, *statements_in(module.tree)):
        if not isinstance(scope, (syntax.Module, *_DEFINES)):
            continue
        every = list(wording.own(scope.body))
        for index, one in enumerate(every):
            name = _required(one)
            if name and _goes_back(every[index + 1 :], name) and _is_computed(every[:index], name):
                yield one, name


def _required(one: syntax.stmt) -> str:
    """The name that is told to require gradients: by an attribute, or in place."""
    if isinstance(one, syntax.Assign) and len(one.targets) == 1:
        target, value = one.targets[0], one.value
        if isinstance(target, syntax.Attribute) and target.attr == "requires_grad":
            told = isinstance(value, syntax.Constant) and value.value is True
            return wording.name(target.value) if told else ""
    else:
        value = one.value if isinstance(one, syntax.Expr) else None  # type: ignore[assignment]
    if not isinstance(value, syntax.Call) or wording.called(value) != "requires_grad_":
        return ""
    off = any(isinstance(part, syntax.Constant) and part.value is False for part in value.args)
    holder = getattr(value.func, "value", None)
    same = not isinstance(one, syntax.Assign) or wording.name(holder) in wording.bound(one)
    return wording.name(holder) if same and not off else ""


def _goes_back(rest: list[syntax.stmt], name: str) -> bool:
    """Whether the very value goes back afterwards."""
    for one in rest:
        for call in wording.calls(one):
            if wording.name(call.func) == f"{name}.backward":
                return True
        if name in wording.bound(one):
            return False
    return False


def _is_computed(before: list[syntax.stmt], name: str) -> bool:
    """Whether a value was computed from something, not made from plain numbers."""
    for one in reversed(before):
        for text, value in wording.pairs(one):
            if text == name:
                return _MADE.search(syntax.unparse(value)) is None
        if name in wording.bound(one):
            return True
    return False
