"""Noise that a loss asks for, while the function that was to add it drew its own.

A function of the module takes noise, and draws some where it is given none; who calls it has drawn
noise as well, hands it over nowhere, and compares what is predicted with that.
"""

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

_WORTH: Final = re.compile(r"noise|eps")
_NOISE: Final = re.compile(r"(^|_)(noise|eps|epsilon)$")
_DRAWS: Final = re.compile(r"\brandn(_like)?\(|\bnormal\(|\bnormal_\(")
_LOSSES: Final = re.compile(r"loss|criterion|mse|huber|(^|\.)l1$|distance")
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)


@surveys
def noising(m: Machine, block: Block) -> None:
    """``draws_its_own`` of a call that adds other noise than the loss asks for."""
    for module, (node, name) in wording.found(block, _WORTH, _in_module):
        place = Place(module, node, title_around(module.tree, node.lineno))
        tell(block, "draws_its_own", place, name=wording.called(node), noise=name)


def _in_module(module: Module) -> Iterator[tuple[syntax.Call, str]]:
    functions = [one for one in statements_in(module.tree) if isinstance(one, _DEFINES)]
    drawing = {one.name: place for one in functions if (place := _takes_noise(one)) is not None}
    for one in functions:
        statements = list(wording.own(one.body))
        bound = [name for statement in statements for name in wording.bound(statement)]
        for name in {name for name in bound if _NOISE.search(name) and bound.count(name) == 1}:
            if _draws(statements, name):
                yield from ((call, name) for call in _without(statements, name, drawing))


def _takes_noise(function: Any) -> tuple[str, int] | None:
    """The name and the position of the noise that a function draws where it is given none."""
    args = function.args
    named = [*args.posonlyargs, *args.args]
    method = bool(named) and named[0].arg in ("self", "cls")
    defaults = dict(zip(reversed(named), reversed(args.defaults), strict=False))
    defaults |= {a: d for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=True) if d}
    for one, default in defaults.items():
        none = isinstance(default, syntax.Constant) and default.value is None
        if not none or not _NOISE.search(one.arg):
            continue
        statements = list(wording.own(function.body))
        if any(one.arg in wording.bound(part) and _drawn(part) for part in statements):
            position = named.index(one) - method if one in named else 99
            return one.arg, position
    return None


def _drawn(statement: syntax.stmt) -> bool:
    value = getattr(statement, "value", None)
    return value is not None and _DRAWS.search(syntax.unparse(value)) is not None


def _draws(statements: list[syntax.stmt], name: str) -> bool:
    return any(name in wording.bound(one) and _drawn(one) for one in statements)


def _without(
    statements: list[syntax.stmt], name: str, drawing: dict[str, tuple[str, int]]
) -> Iterator[syntax.Call]:
    """The calls that add noise of their own where all that is done with `name` is a loss."""
    used = [
        one
        for one in statements
        if name not in wording.bound(one)
        and any(name in wording.names(part) for part in wording.expressions(one))
    ]
    if not used or not all(_is_loss(one, name) for one in used):
        return
    for one in statements:
        for call in wording.calls(one):
            takes = drawing.get(wording.called(call))
            if takes is None or any(part.arg in (None, takes[0]) for part in call.keywords):
                continue
            starred = any(isinstance(part, syntax.Starred) for part in call.args)
            if len(call.args) <= takes[1] and not starred:
                yield call


def _is_loss(statement: syntax.stmt, name: str) -> bool:
    """Whether a statement only compares something with what has a name."""
    calls = [call for call in wording.calls(statement) if _has(call, name)]
    whole = any(_LOSSES.search(wording.name(call.func).lower()) for call in calls)
    differs = any(
        isinstance(part, syntax.BinOp)
        and isinstance(part.op, syntax.Sub)
        and name in (wording.name(part.left), wording.name(part.right))
        for part in wording.expressions(statement)
    )
    return whole or differs


def _has(call: syntax.Call, name: str) -> bool:
    given = (*call.args, *(one.value for one in call.keywords))
    return any(wording.name(one) == name for one in given)
