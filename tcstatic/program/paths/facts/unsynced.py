"""Gradients that are left unsynchronised in the very rounds in which the optimizer steps.

What is looked at is the text of one function: the condition under which ``no_sync()`` is entered is
the one under which the optimizer is stepped.
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

_WORTH: Final = re.compile(r"no_sync\(")
# Who brings ranks together by hand needs no wrapper for it.
_BY_HAND: Final = re.compile(r"all_reduce|average_parameters|local_?sgd|broadcast", re.IGNORECASE)
_STEPS: Final = re.compile(r"optim|(^|_)opt$|scaler")
_OPPOSITE: Final[dict[type[Any], type[Any]]] = {
    syntax.Eq: syntax.NotEq,
    syntax.NotEq: syntax.Eq,
    syntax.Lt: syntax.GtE,
    syntax.GtE: syntax.Lt,
    syntax.Gt: syntax.LtE,
    syntax.LtE: syntax.Gt,
}
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)
_Sign = tuple[str, bool]  # a condition, and whether it holds


@surveys
def unsynced(m: Machine, block: Block) -> None:
    """``unsynced_at_step`` of a ``no_sync()`` that is entered when the optimizer steps."""
    for module, node in wording.found(block, _WORTH, _in_module):
        place = Place(module, node, title_around(module.tree, node.lineno))
        tell(block, "unsynced_at_step", place, name=syntax.unparse(node)[:60])


def _in_module(module: Module) -> Iterator[syntax.Call]:
    if _BY_HAND.search(module.text.text):
        return
    bodies = [one.body for one in statements_in(module.tree) if isinstance(one, _DEFINES)]
    for body in (module.tree.body, *bodies):
        statements = list(wording.own(body))
        bound: dict[str, list[syntax.expr]] = {}
        for one in statements:
            for name, value in wording.pairs(one):
                bound.setdefault(name, []).append(value)
        steps = {sign for one in statements for sign in _steps(one, bound)}
        entered = [pair for one in statements for pair in _entered(one, bound)]
        signs = {sign for _, sign in entered}
        # one way in, which is the one in which the optimizer steps
        if len(steps) == 1 and signs == steps:
            yield from (call for call, _ in entered)


def _steps(one: syntax.stmt, bound: dict[str, list[syntax.expr]]) -> Iterator[_Sign]:
    """The conditions under which an optimizer is stepped."""
    if isinstance(one, syntax.If) and any(map(_is_step, wording.own(one.body))):
        yield _sign(one.test, bound)
    if isinstance(one, syntax.If) and any(map(_is_step, wording.own(one.orelse))):
        yield _not(_sign(one.test, bound))


def _is_step(one: syntax.stmt) -> bool:
    return any(
        wording.called(call) == "step"
        and _STEPS.search(
            wording.name(getattr(call.func, "value", None)).rpartition(".")[2].lower()
        )
        for call in wording.calls(one)
    )


def _entered(
    one: syntax.stmt, bound: dict[str, list[syntax.expr]]
) -> Iterator[tuple[syntax.Call, _Sign]]:
    """The calls of ``no_sync()``, each with the condition under which it is made."""
    for part in wording.expressions(one):
        if isinstance(part, syntax.IfExp):
            for inner, sign in (
                (part.body, _sign(part.test, bound)),
                (part.orelse, _not(_sign(part.test, bound))),
            ):
                yield from ((call, sign) for call in _calls(inner))
    if isinstance(one, syntax.If):
        for body, sign in (
            (one.body, _sign(one.test, bound)),
            (one.orelse, _not(_sign(one.test, bound))),
        ):
            for statement in wording.own(body):
                for call in wording.calls(statement):
                    if wording.called(call) == "no_sync":
                        yield call, sign


def _calls(value: syntax.expr) -> Iterator[syntax.Call]:
    for part in syntax.walk(value):
        if isinstance(part, syntax.Call) and wording.called(part) == "no_sync":
            yield part


def _not(sign: _Sign) -> _Sign:
    return sign[0], not sign[1]


def _sign(test: Any, bound: dict[str, list[syntax.expr]]) -> _Sign:
    """A condition in one way of writing, past a name that it has."""
    known = bound.get(wording.name(test), [])
    if len(known) == 1:
        return _sign(known[0], {})
    if isinstance(test, syntax.UnaryOp) and isinstance(test.op, syntax.Not):
        return _not(_sign(test.operand, bound))
    if isinstance(test, syntax.Compare) and len(test.ops) == 1:
        kind = type(test.ops[0])
        if kind in (syntax.NotEq, syntax.GtE, syntax.LtE):
            other = syntax.Compare(test.left, [_OPPOSITE[kind]()], test.comparators)
            return syntax.unparse(other), False
    return syntax.unparse(test), True
