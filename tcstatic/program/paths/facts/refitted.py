"""Scalers that are fitted on the rows to train on, and then again on those to evaluate with.

What is looked at is the text of one function: one object, two calls, and what they are given.
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

_WORTH: Final = re.compile(r"\.fit_transform\(")
_KINDS: Final = frozenset(
    """StandardScaler MinMaxScaler MaxAbsScaler RobustScaler QuantileTransformer PowerTransformer
    PCA IncrementalPCA KernelPCA TruncatedSVD FastICA NMF""".split()
)
_TRAINS: Final = re.compile(r"(?<![a-wz])(training|train|trn|tr)(?![a-z])", re.IGNORECASE)
_HOLDS_OUT: Final = re.compile(
    r"(?<![a-wz])(testing|test|validation|valid|val|eval|dev|tst|te)(?![a-z])", re.IGNORECASE
)
_Found = tuple[syntax.Call, str, str, int]


@surveys
def refitted(m: Machine, block: Block) -> None:
    """``fitted_again`` of the second fit."""
    for module, (call, function, name, line) in wording.found(block, _WORTH, _in_module):
        tell(block, "fitted_again", Place(module, call, function), name=name, first=line)


def _in_module(module: Module) -> Iterator[_Found]:
    made: dict[str, list[syntax.stmt]] = {}
    others: set[str] = set()
    for one in statements_in(module.tree):
        held = dict(wording.pairs(one))
        for name in wording.bound(one):
            made.setdefault(name, []).append(one)
            if wording.called(held.get(name)) not in _KINDS:
                others.add(name)
    for scope in (module.tree, *statements_in(module.tree)):
        if not isinstance(scope, syntax.Module | syntax.FunctionDef):
            continue
        title = title_around(module.tree, getattr(scope, "lineno", 0))
        calls = [call for one in wording.own(scope.body) for call in _fits(one)]
        for index, (name, given, call) in enumerate(calls):
            lines = [one.lineno for one in made.get(name, ())]
            for other, before, first in calls[:index]:
                if other != name or not lines or name in others or not _parts(before, given):
                    continue
                if not any(first.lineno < line <= call.lineno for line in lines):
                    yield call, title, name, first.lineno


def _fits(one: syntax.stmt) -> Iterator[tuple[str, str, syntax.Call]]:
    """The calls of ``fit_transform``, each with what is fitted, and what on."""
    if isinstance(one, syntax.FunctionDef | syntax.AsyncFunctionDef | syntax.ClassDef):
        return
    for call in wording.calls(one):
        name = wording.name(getattr(call.func, "value", None))
        if wording.called(call) == "fit_transform" and name and len(call.args) == 1:
            yield name, syntax.unparse(call.args[0]), call


def _parts(first: str, second: str) -> bool:
    """Whether two texts differ in that one is of training, and the other of evaluation."""
    trains, count = _TRAINS.subn("*", first)
    held_out, others = _HOLDS_OUT.subn("*", second)
    return bool(count and others) and trains == held_out
