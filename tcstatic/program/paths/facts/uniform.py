"""Noise that is to be normal, by what it is multiplied by, but comes from ``rand``."""

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

_WORTH: Final = re.compile(r"\brand(_like)?\(")
_UNIFORM: Final = frozenset({"rand", "rand_like"})
_MOVES: Final = frozenset("to cuda cpu type_as detach double float".split())
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)


@surveys
def uniform(m: Machine, block: Block) -> None:
    """``uniform`` of noise that is multiplied by a standard deviation and added to a mean."""
    for module, (call, name) in wording.found(block, _WORTH, _in_module):
        place = Place(module, call, title_around(module.tree, call.lineno))
        tell(block, "uniform", place, name=f"{name}()")


def _in_module(module: Module) -> Iterator[tuple[syntax.Call, str]]:
    for node in statements_in(module.tree):
        if not isinstance(node, _DEFINES):
            continue
        body = list(wording.own(node.body))
        once: dict[str, syntax.expr] = {}
        bound: list[str] = []
        for one in body:
            bound += wording.bound(one)
            once.update(wording.pairs(one))
        known = {name: value for name, value in once.items() if bound.count(name) == 1}
        for one in body:
            for part in wording.expressions(one):
                for left, right in _added(part):
                    noise = _noise(left, known) or _noise(right, known)
                    spread = _is_spread(left, known) or _is_spread(right, known)
                    if noise is not None and spread:
                        yield noise, wording.called(noise)


def _added(node: syntax.AST) -> Iterator[tuple[syntax.expr, syntax.expr]]:
    """The two factors of a product that something is added to."""
    given: list[syntax.expr] = []
    if isinstance(node, syntax.BinOp) and isinstance(node.op, syntax.Add):
        given = [node.left, node.right]
    elif isinstance(node, syntax.Call) and wording.called(node) in ("add", "add_"):
        given = [*node.args[:1], *_receiver(node)]
    for one in given:
        if isinstance(one, syntax.BinOp) and isinstance(one.op, syntax.Mult):
            yield one.left, one.right
        elif isinstance(one, syntax.Call) and wording.called(one) in ("mul", "mul_"):
            yield from [(held, other) for held in _receiver(one) for other in one.args]


def _receiver(call: syntax.Call) -> list[syntax.expr]:
    return [call.func.value] if isinstance(call.func, syntax.Attribute) else []


def _noise(value: Any, known: dict[str, syntax.expr]) -> syntax.Call | None:
    """The call that draws uniform noise, where a factor is that and nothing else."""
    value = known.get(wording.name(value), value)
    while isinstance(value, syntax.Call) and wording.called(value) in _MOVES:
        value = getattr(value.func, "value", None)
    drawn = isinstance(value, syntax.Call) and wording.called(value) in _UNIFORM
    return value if drawn and wording.name(value.func).startswith("torch.") else None


def _is_spread(value: syntax.expr, known: dict[str, syntax.expr]) -> bool:
    """Whether a factor is the root of a variance whose logarithm is known: exp(0.5 * log_var)."""
    value = known.get(wording.name(value), value)
    if not isinstance(value, syntax.Call) or wording.called(value) not in ("exp", "exp_"):
        return False
    parts = [one for one in syntax.walk(value) if isinstance(one, syntax.BinOp | syntax.Call)]
    return any(_is_half(one) for one in parts)


def _is_half(one: syntax.BinOp | syntax.Call) -> bool:
    """Whether something is divided by two."""
    if isinstance(one, syntax.BinOp):
        numbers = [getattr(part, "value", None) for part in (one.left, one.right)]
        times = isinstance(one.op, syntax.Mult) and 0.5 in numbers
        return times or (isinstance(one.op, syntax.Div) and numbers[1] in (2, 2.0))
    numbers = [getattr(part, "value", None) for part in one.args]
    name = wording.called(one)
    return (name in ("mul", "mul_") and 0.5 in numbers) or (name == "div" and 2 in numbers)
