"""Rates that are changed in a name alone: the optimizer keeps the one that it was made with.

What is looked at is the text: the name that an optimizer was given as its rate is made smaller in
a loop, and nothing but prints and conditions reads it from there on; or what is computed from the
rate of a group is given to a name that nothing reads.
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

_WORTH: Final = re.compile(r"\b(lr|learning_rate|LR)\b")
_RATE: Final = re.compile(r"((self|args|cfg|config|opt)\.)?(base_|init_)?(lr|LR|learning_rate)")
_OPTIMIZERS: Final = re.compile(
    r"(SGD|Adam|AdamW|RMSprop|Adagrad|Adadelta|NAdam|RAdam|Adamax|ASGD|LBFGS|Rprop)"
)
_APPLIES: Final = re.compile(r"param_groups|schedul|set_lr|adjust_l|update_l|change_l")
_TOLD: Final = re.compile(r"print|log|write|info|append|add_scalar|format|set_postfix|debug", re.I)
_LOOPS: Final = (syntax.For, syntax.While, syntax.AsyncFor)
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)
_SCALES: Final = (syntax.Mult, syntax.Div, syntax.Sub)


@surveys
def unapplied(m: Machine, block: Block) -> None:
    """``rate_unapplied`` of a statement that changes a rate in a name that nothing reads."""
    for module, (statement, name) in wording.found(block, _WORTH, _in_module):
        place = Place(module, statement, title_around(module.tree, statement.lineno))
        tell(block, "rate_unapplied", place, name=name)


def _in_module(module: Module) -> Iterator[tuple[syntax.stmt, str]]:
    for node in (module.tree, *statements_in(module.tree)):
        if isinstance(node, (syntax.Module, *_DEFINES)):
            yield from _of_groups(list(wording.own(node.body)), node)
    if not _APPLIES.search(module.text.text):
        yield from _of_names(list(statements_in(module.tree)))


def _of_groups(body: list[syntax.stmt], scope: Any) -> Iterator[tuple[syntax.stmt, str]]:
    """What is computed from the rates of groups, and thrown away with its name."""
    for loop in body:
        if not isinstance(loop, syntax.For) or "param_groups" not in syntax.unparse(loop.iter):
            continue
        for one in statements_in(loop):
            for name, value in wording.pairs(one) if isinstance(one, syntax.Assign) else ():
                rate = _RATE.fullmatch(name) and isinstance(value, syntax.BinOp)
                if rate and "." not in name and not _is_read(scope, name):
                    yield one, name


def _is_read(scope: Any, name: str) -> bool:
    """Whether anything in a scope reads a name, or hands it to another one."""
    return any(
        (isinstance(part, syntax.Name) and part.id == name and isinstance(part.ctx, syntax.Load))
        or (isinstance(part, syntax.Global | syntax.Nonlocal) and name in part.names)
        for part in syntax.walk(scope)
    )


def _of_names(every: list[syntax.stmt]) -> Iterator[tuple[syntax.stmt, str]]:
    """Names of rates that are changed in a loop behind the optimizer that they were given to."""
    made = {name: one for one in every for name in _given(one)}
    for loop in every:
        inside = list(statements_in(loop)) if isinstance(loop, _LOOPS) else []
        for one in inside:
            name = _changed(one)
            built = made.get(name)
            if built is None or built in inside or _is_used(every, name, built):
                continue
            yield one, name
            del made[name]


def _given(one: syntax.stmt) -> Iterator[str]:
    """The name that an optimizer is given as its rate."""
    if not isinstance(one, syntax.Assign):
        return
    for call in wording.calls(one):
        if _OPTIMIZERS.fullmatch(wording.called(call)):
            words = [word.value for word in call.keywords if word.arg == "lr"]
            for value in (*words, *call.args[1:2]):
                if _RATE.fullmatch(wording.name(value)):
                    yield wording.name(value)


def _changed(one: syntax.stmt) -> str:
    """The name of a rate that a statement makes another from what it was."""
    if isinstance(one, syntax.AugAssign) and isinstance(one.op, _SCALES):
        return wording.name(one.target)
    for name, value in wording.pairs(one) if isinstance(one, syntax.Assign) else ():
        scaled = isinstance(value, syntax.BinOp) and isinstance(value.op, _SCALES)
        if scaled and name in wording.names(value):
            return name
    return ""


def _is_used(every: list[syntax.stmt], name: str, built: syntax.stmt) -> bool:
    """Whether something reads a rate but the optimizer, conditions, prints and its own changes."""
    for one in every:
        if one is built or _changed(one) == name or isinstance(one, (*_DEFINES, syntax.ClassDef)):
            continue
        condition = isinstance(one, syntax.If | syntax.While)
        for part in () if condition else wording.expressions(one):
            load = isinstance(getattr(part, "ctx", None), syntax.Load)
            if load and wording.name(part) == name and not _is_told(one):
                return True
    return any(
        isinstance(one, syntax.Global | syntax.Nonlocal) and name in one.names for one in every
    )


def _is_told(one: syntax.stmt) -> bool:
    """Whether a statement does nothing but tell."""
    call = one.value if isinstance(one, syntax.Expr) else None
    return isinstance(call, syntax.Call) and _TOLD.search(syntax.unparse(call.func)) is not None
