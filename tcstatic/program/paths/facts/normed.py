"""Batch norms that keep the wrong statistics: one for two layers, or next to none of the past.

What is looked at is the text: how a batch norm is made, and what a method gives to it.
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

_WORTH: Final = re.compile(r"BatchNorm")
_NORMS: Final = re.compile(r"(^|\.)(Sync)?BatchNorm([123]d)?$")
_PLACE: Final = 2  # of `momentum` among the arguments
# Nearly all of what is kept comes from the last batch; 1 is given by who wants just that.
_MOST: Final = (0.9, 1.0)
_TRACKS: Final = frozenset({"track_running_stats", "**"})
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)


@surveys
def momentum(m: Machine, block: Block) -> None:
    """``forgets`` of a batch norm whose momentum is what another library calls so."""
    for module, (call, given) in wording.found(block, _WORTH, _forgetting):
        place = Place(module, call, title_around(module.tree, call.lineno))
        tell(block, "forgets", place, name=wording.called(call), kept=f"{1 - given:g}")


@surveys
def shared(m: Machine, block: Block) -> None:
    """``of_two_layers`` of the second layer whose output goes through one and the same norm."""
    for module, (call, name, first, second) in wording.found(block, _WORTH, _shared):
        place = Place(module, call, title_around(module.tree, call.lineno))
        tell(block, "of_two_layers", place, name=name, first=first, second=second)


def _forgetting(module: Module) -> Iterator[tuple[syntax.Call, float]]:
    numbers = {
        name: value.value
        for one in module.tree.body
        for name, value in wording.pairs(one)
        if isinstance(value, syntax.Constant) and isinstance(value.value, float)
    }
    own = _others(module)
    for one in (module.tree, *statements_in(module.tree)):
        for call in wording.calls(one) if isinstance(one, syntax.stmt) else ():
            made = [call, *call.args[:1]] if wording.called(call) == "partial" else [call]
            titles = [title for title in map(_title, made) if _NORMS.search(title)]
            if not titles or any(title.partition(".")[0] in own for title in titles):
                continue
            told = [k.value for k in call.keywords if k.arg == "momentum"]
            if made == [call]:
                told += call.args[_PLACE : _PLACE + 1]
            for held in told[:1]:
                given = getattr(held, "value", numbers.get(wording.name(held)))
                if type(given) is float and _MOST[0] <= given < _MOST[1]:
                    yield call, given


def _others(module: Module) -> set[str]:
    """Names that are not torch's: of a batch norm of one's own, momentum may be what is kept."""
    found: set[str] = set()
    for one in statements_in(module.tree):
        if isinstance(one, syntax.ClassDef | syntax.FunctionDef):
            found.add(one.name)
        elif isinstance(one, syntax.ImportFrom) and not (one.module or "").startswith("torch"):
            found |= {part.asname or part.name for part in one.names}
    return found


def _title(node: Any) -> str:
    return wording.name(getattr(node, "func", node))


def _shared(module: Module) -> Iterator[tuple[syntax.Call, str, str, str]]:
    for node in statements_in(module.tree):
        if not isinstance(node, syntax.ClassDef):
            continue
        held = _made(node)
        norms = {
            name
            for name, call in held.items()
            if _NORMS.search(_title(call)) and not _TRACKS & {k.arg or "**" for k in call.keywords}
        }
        for method in node.body:
            if norms and isinstance(method, _DEFINES):
                yield from _in_method(method.body, norms, held)


def _made(node: syntax.ClassDef) -> dict[str, syntax.Call]:
    """The attributes of a class that one call makes, and nothing else."""
    pairs = [pair for one in statements_in(node) for pair in wording.pairs(one)]
    names = [name for name, _ in pairs]
    return {
        name: value
        for name, value in pairs
        if name.startswith("self.") and names.count(name) == 1 and isinstance(value, syntax.Call)
    }


def _in_method(
    body: list[syntax.stmt], norms: set[str], held: dict[str, syntax.Call]
) -> Iterator[tuple[syntax.Call, str, str, str]]:
    """What goes through a norm in statements that run one after the other."""
    before: dict[str, str] = {}
    behind: dict[str, str] = {}
    for one in body:
        if isinstance(one, syntax.If | syntax.For | syntax.While | syntax.With | syntax.Try):
            for name in {name for inner in statements_in(one) for name in wording.bound(inner)}:
                behind.pop(name, None)
            continue
        for call in wording.calls(one):
            name = wording.name(call.func)
            if name not in norms or len(call.args) != 1:
                continue
            layer = _layer(call.args[0], behind, held)
            if layer and before.setdefault(name, layer) != layer:
                yield call, name, before[name], layer
        pairs = dict(wording.pairs(one))
        for name in wording.bound(one):
            layer = _layer(pairs[name], behind, held) if name in pairs else ""
            behind.pop(name, None)
            if layer:
                behind[name] = layer


def _layer(value: syntax.expr, behind: dict[str, str], held: dict[str, syntax.Call]) -> str:
    """The layer with weights that a value comes right out of."""
    if not isinstance(value, syntax.Call):
        return behind.get(wording.name(value), "")
    made = wording.called(held.get(wording.name(value.func)))
    return wording.name(value.func) if re.match(r"(Conv|Linear)", made) else ""
