"""Episodes that begin on the last observation of the one before: what ``reset`` gives is dropped.

What is looked at is the text of one function: a loop resets an environment, and goes on with a name
that was given an observation by ``reset`` before the loop, and is given none from there on.
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

_WORTH: Final = re.compile(r"^\s+[\w.]+\.reset\(", re.MULTILINE)
_ENVIRONMENT: Final = re.compile(r"(^|_)(env|environment|gym|game)(_|\d|$)", re.IGNORECASE)
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)


@surveys
def resets(m: Machine, block: Block) -> None:
    """``observation_dropped`` of a reset whose observation nothing takes."""
    for module, (statement, name, held) in wording.found(block, _WORTH, _in_module):
        place = Place(module, statement, title_around(module.tree, statement.lineno))
        tell(block, "observation_dropped", place, environment=name, name=held)


def _in_module(module: Module) -> Iterator[tuple[syntax.stmt, str, str]]:
    for scope in (module.tree, *statements_in(module.tree)):
        if isinstance(scope, (syntax.Module, *_DEFINES)):
            yield from _in_body(list(wording.own(scope.body)))


def _in_body(body: list[syntax.stmt]) -> Iterator[tuple[syntax.stmt, str, str]]:
    taken = {(name, held) for one in body for name, held in _taken(one)}
    within: set[int] = set()
    for loop in body:
        if not taken or not isinstance(loop, syntax.For | syntax.While) or id(loop) in within:
            continue
        inside = list(wording.own(loop.body))
        within.update(map(id, inside))
        for one in inside:
            name = _dropped(one)
            for holder, held in sorted(taken):
                if holder == name and _goes_on(inside, name, held):
                    yield one, name, held


def _dropped(one: syntax.stmt) -> str:
    """The environment that a statement resets, and asks for nothing."""
    call = one.value if isinstance(one, syntax.Expr) else None
    return _reset(call) if isinstance(call, syntax.Call) else ""


def _reset(call: syntax.Call) -> str:
    holder = getattr(call.func, "value", None)
    name = wording.name(holder) if wording.called(call) == "reset" and holder is not None else ""
    return name if _ENVIRONMENT.search(name.rpartition(".")[2]) else ""


def _taken(one: syntax.stmt) -> Iterator[tuple[str, str]]:
    """The environment that is reset, and the name that is given its observation."""
    if isinstance(one, syntax.Assign) and isinstance(one.value, syntax.Call):
        target = one.targets[0]
        first = target.elts[0] if isinstance(target, syntax.Tuple) else target
        if _reset(one.value) and wording.name(first):
            yield _reset(one.value), wording.name(first)


def _goes_on(inside: list[syntax.stmt], name: str, held: str) -> bool:
    """Whether a loop steps an environment from an observation that it never takes from it but by
    a step, or from what a step gave."""
    steps = any(f"{name}.step(" in syntax.unparse(one) for one in inside)
    carried = False
    for one in inside:
        value = getattr(one, "value", None)
        if held not in wording.bound(one) or value is None:
            continue
        text = syntax.unparse(value)
        if re.search(rf"(?<![\w.]){re.escape(name)}(?!\.step\()\b(?!\.step\()", text):
            return False
        if not isinstance(value, syntax.Name | syntax.Attribute) and f"{name}.step(" not in text:
            return False
        carried = True
    read = any(
        held in wording.names(argument)
        for one in inside
        for call in wording.calls(one)
        for argument in call.args
    )
    return steps and carried and read
