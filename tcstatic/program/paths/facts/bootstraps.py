"""Targets of temporal differences that carry the gradient of the very network that they train.

What is looked at is the text of one function: what a network gives for a state is compared with a
reward and what the same network gives for the next state, and nothing takes the gradient off that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.advantages import bare_of_gradients, is_bare
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"gamma|discount", re.IGNORECASE)
_LOSSES: Final = re.compile(r"loss|mse|criterion|huber", re.IGNORECASE)
_CUTS: Final = re.compile(r"detach|\.data\b|\.item\(|no_grad|numpy|tolist|stop_grad|copy")
_NETS: Final = re.compile(r"(?<![a-z])(q|net|model|critic|value|policy|dqn|eval|local)", re.I)
# What a value goes through on the way from a network to a loss.
_THROUGH: Final = frozenset(
    """max min mean gather squeeze unsqueeze view reshape flatten float to values amax take select
    index_select sum""".split()
)
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)


@final
@dataclass(slots=True)
class _Known:
    """Names so far: the network that each value came from, and targets with theirs."""

    values: dict[str, str] = field(default_factory=dict)
    targets: dict[str, tuple[str, syntax.stmt]] = field(default_factory=dict)


@surveys
def bootstraps(m: Machine, block: Block) -> None:
    """``own_target`` of a statement that makes a target of what a network itself gives."""
    for module, (statement, net) in wording.found(block, _WORTH, _in_module):
        place = Place(module, statement, title_around(module.tree, statement.lineno))
        tell(block, "own_target", place, net=net)


def _in_module(module: Module) -> Iterator[tuple[syntax.stmt, str]]:
    for scope in (module.tree, *statements_in(module.tree)):
        if isinstance(scope, (syntax.Module, *_DEFINES)) and not is_bare(scope):
            yield from _in_body(list(wording.own(scope.body)))


def _in_body(body: list[syntax.stmt]) -> Iterator[tuple[syntax.stmt, str]]:
    bare, known = bare_of_gradients(body), _Known()
    for one in body:
        if id(one) in bare:
            for name in wording.bound(one):
                known.values.pop(name, None)
                known.targets.pop(name, None)
            continue
        for call in wording.calls(one):
            if _LOSSES.search(wording.called(call)) and len(call.args) > 1:
                yield from _compared(call.args[0], call.args[1], known, one)
                yield from _compared(call.args[1], call.args[0], known, one)
        for name, value in wording.pairs(one):
            known.targets.pop(name, None)
            net, target = _network(value, known), _target(value, known)
            known.values[name] = net
            if target:
                known.targets[name] = (target, one)


def _compared(
    given: syntax.expr, target: syntax.expr, known: _Known, at: syntax.stmt
) -> Iterator[tuple[syntax.stmt, str]]:
    net = _network(given, known)
    found = known.targets.get(wording.name(target)) or (_target(target, known), at)
    if net and found[0] == net:
        yield found[1], net


def _network(value: syntax.expr, known: _Known) -> str:
    """The network whose output a value is, or a part of."""
    while (inner := _inside(value)) is not None:
        value = inner
    if isinstance(value, syntax.Call):
        name = wording.name(value.func).removesuffix(".forward")
        return name if _NETS.search(name.rpartition(".")[2]) else ""
    return known.values.get(wording.name(value), "")


def _inside(value: syntax.expr) -> syntax.expr | None:
    """What a value is a part of, or the same numbers in another shape."""
    held: syntax.expr | None = getattr(value, "value", None)
    if isinstance(value, syntax.Subscript) or getattr(value, "attr", "") == "values":
        return held
    if not isinstance(value, syntax.Call) or wording.called(value) not in _THROUGH:
        return None
    holder: syntax.expr | None = getattr(value.func, "value", None)
    if holder is None or wording.name(holder) == "torch":
        return value.args[0] if value.args else None
    return holder


def _target(value: syntax.expr, known: _Known) -> str:
    """The network whose output for the next state a discounted sum adds to a reward."""
    if not isinstance(value, syntax.BinOp) or not isinstance(value.op, syntax.Add):
        return ""
    if _CUTS.search(syntax.unparse(value)):
        return ""
    for side in (value.left, value.right):
        factors = list(_factors(side))
        if any(_WORTH.search(wording.name(one)) for one in factors):
            return next((net for one in factors if (net := _network(one, known))), "")
    return ""


def _factors(value: syntax.expr) -> Iterator[syntax.expr]:
    if isinstance(value, syntax.BinOp) and isinstance(value.op, syntax.Mult):
        yield from _factors(value.left)
        yield from _factors(value.right)
    else:
        yield value
