"""Discounted returns, or advantages, that stay in the order in which they were summed: from the
last step to the first, beside log-probabilities and values that go from the first to the last.

What is looked at is the text. Whoever turns anything round, anywhere else in the module, may mean
these: nothing is told then.
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

_WORTH: Final = re.compile(r"reversed\(|\[::-1\]|, -1, -1\)")
_REWARDS: Final = re.compile(r"(?<![a-z])(reward|rew|delta|td_?error|r|rs|rews)s?(?![a-z])")
_DECAY: Final = re.compile(r"(?<![a-z])(gamma|discount\w*|lam|lmbda|lambda_?)(?![a-z])|^0?\.\d+$")
_CHANCES: Final = re.compile(r"log_?p|logp|neg_?log")
_TURNS: Final = re.compile(
    r"\.reverse\(|reversed\(|::\s*-1\s*\]|\bflip\(|flipud|fliplr|appendleft|\.sort\(|\[-\s*\w+\s*-\s*1\]"
    r"|insert\(0|, -1, -1\)|\.pop\("
)
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)


@surveys
def discounted(m: Machine, block: Block) -> None:
    """``in_summing_order`` of sums over later rewards that are appended one by one."""
    for module, (node, name) in wording.found(block, _WORTH, _in_module):
        place = Place(module, node, title_around(module.tree, node.lineno))
        tell(block, "in_summing_order", place, name=name)


def _in_module(module: Module) -> Iterator[tuple[syntax.Call, str]]:
    text = module.text.text
    if not _CHANCES.search(text):
        return
    found = [one for scope in _scopes(module) for one in _in_scope(scope)]
    # each is within one loop that goes backwards: no other line may turn anything round
    heads = {loop.lineno for loop, _, _ in found}
    lines = module.text.lines
    others = (line for number, line in enumerate(lines, 1) if number not in heads)
    if any(_TURNS.search(line.partition("#")[0]) for line in others):
        return
    for _, call, name in found:
        yield call, name


def _scopes(module: Module) -> Iterator[list[syntax.stmt]]:
    yield module.tree.body
    for one in statements_in(module.tree):
        if isinstance(one, _DEFINES):
            yield one.body


def _in_scope(body: list[syntax.stmt]) -> Iterator[tuple[syntax.For, syntax.Call, str]]:
    for loop in wording.own(body):
        if not isinstance(loop, syntax.For) or not _goes_back(loop.iter):
            continue
        every = list(wording.own(loop.body))
        sums = {name for one in every for name in _summed(one)}
        appends = [
            call
            for one in every
            for call in wording.calls(one)
            if wording.called(call) == "append" and len(call.args) == 1
        ]
        # of several lists that are filled side by side, none may be the wrong way round
        for call in appends if len(appends) == 1 else ():
            if _first_name(call.args[0]) in sums:
                yield loop, call, wording.name(getattr(call.func, "value", None))


def _goes_back(value: Any) -> bool:
    """Whether a loop goes from the last reward to the first."""
    text = syntax.unparse(value)
    return _WORTH.search(text) is not None and text.count("reversed(") + text.count("::-1") < 2


def _summed(one: syntax.stmt) -> Iterator[str]:
    """``running = reward + gamma * running``: the name that is bound."""
    for name, value in wording.pairs(one):
        if not isinstance(value, syntax.BinOp) or not isinstance(value.op, syntax.Add):
            continue
        for first, second in ((value.left, value.right), (value.right, value.left)):
            factors = _factors(second)
            decays = any(_DECAY.search(syntax.unparse(part).lower()) for part in factors)
            itself = any(wording.name(part) == name for part in factors)
            rewards = _REWARDS.search(syntax.unparse(first).lower())
            if len(factors) > 1 and decays and itself and rewards:
                yield name


def _factors(value: syntax.expr) -> list[syntax.expr]:
    if isinstance(value, syntax.BinOp) and isinstance(value.op, syntax.Mult):
        return [*_factors(value.left), *_factors(value.right)]
    return [value]


def _first_name(value: Any) -> str:
    """The name of what is appended: itself, or the first term of a sum."""
    if isinstance(value, syntax.BinOp) and isinstance(value.op, syntax.Add):
        value = value.left
    while isinstance(value, syntax.Call) and wording.called(value) in ("clone", "item", "detach"):
        value = getattr(value.func, "value", None)
    return wording.name(value)
