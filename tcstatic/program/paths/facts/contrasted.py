"""Embeddings that are compared by their products, and normalised over the examples instead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"\bnormalize\([^\n]*(\b0\b)")
_PRODUCTS: Final = frozenset({"mm", "matmul"})
# What takes a row of products as the scores of one example against all.
_SCORED: Final = frozenset(
    "cross_entropy CrossEntropyLoss log_softmax softmax logsumexp nll_loss".split()
)
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)


@surveys
def contrasted(m: Machine, block: Block) -> None:
    """``normalised_over_batch`` of a normalisation of rows that are multiplied with one another."""
    for module, (call, name) in wording.found(block, _WORTH, _in_module):
        place = Place(module, call, title_around(module.tree, call.lineno))
        tell(block, "normalised_over_batch", place, name=name)


def _in_module(module: Module) -> Iterator[tuple[syntax.Call, str]]:
    for node in (module.tree, *statements_in(module.tree)):
        if node is not module.tree and not isinstance(node, _DEFINES):
            continue
        body = list(wording.own(getattr(node, "body", ())))
        parts = [part for one in body for part in wording.expressions(one)]
        bound = [(name, value) for one in body for name, value in wording.pairs(one)]
        every = [name for one in body for name in wording.bound(one)]
        names = {name: one for one in body for name in wording.bound(one)}
        straight = set(map(id, getattr(node, "body", ())))
        over: dict[str, syntax.Call] = {
            name: value
            for name, value in bound
            if isinstance(value, syntax.Call) and _is_over_first(value)
            if every.count(name) == 1
            or (id(names[name]) in straight and getattr(names[name], "value", None) is value)
        }
        if not over or not any(wording.called(part) in _SCORED for part in parts):
            continue
        for part in parts:
            left, right = _multiplied(part)
            if left in over and right in over and _is_behind(part, over[left], over[right]):
                name = min(left, right, key=lambda one: over[one].lineno)
                yield over[name], name
                break


def _is_behind(part: Any, *made: syntax.Call) -> bool:
    return all(part.lineno > one.lineno for one in made)


def _is_over_first(call: syntax.Call) -> bool:
    """Whether a call normalises over dimension 0."""
    if wording.called(call) != "normalize" or not call.args:
        return False
    given = [one.value for one in call.keywords if one.arg == "dim"] or call.args[2:3]
    return bool(given) and getattr(given[0], "value", None) == 0


def _multiplied(node: syntax.AST) -> tuple[str, str]:
    """The names of two tables of rows, where each row is multiplied with each."""
    left: Any = None
    right: Any = None
    if isinstance(node, syntax.BinOp) and isinstance(node.op, syntax.MatMult):
        left, right = node.left, node.right
    elif isinstance(node, syntax.Call) and wording.called(node) in _PRODUCTS:
        given = [getattr(node.func, "value", None), *node.args][-2:]
        left, right = given if len(given) == 2 else (None, None)
    return wording.name(left), _turned(right)


def _turned(node: Any) -> str:
    """The name of what is transposed; '' for anything else."""
    if isinstance(node, syntax.Attribute) and node.attr in ("T", "mT"):
        return wording.name(node.value)
    if isinstance(node, syntax.Call) and isinstance(node.func, syntax.Attribute):
        turns = node.func.attr == "t" or (node.func.attr == "transpose" and len(node.args) == 2)
        return wording.name(node.func.value) if turns else ""
    return ""
