"""Weights that a layer uses rounded, or by their sign, and in no other way: they have no slope.

Each function is gone through once, and of each value it is noted whether what it was made of comes
in with its gradient (`live`), and whether it comes in through something without a slope (`hard`).
Whatever is not known lets gradients through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block, called_within, happenings, loops
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"round\(|sign\(|floor\(|ceil\(")
_HARD: Final = frozenset("round sign floor ceil round_ sign_ floor_ ceil_".split())
_STOPS: Final = frozenset("detach item tolist numpy size dim numel".split())
_REDUCES: Final = frozenset("max amax min amin mean std norm quantile aminmax".split())
_LAYERS: Final = frozenset("Linear Conv1d Conv2d Conv3d Embedding Bilinear".split())
# Gradients that come another way, or that are not wanted.
_ELSEWHERE: Final = re.compile(
    r"no_grad|inference_mode|\.apply\(|register_hook|\.grad\b|requires_grad|\.data\b|\bste\b|_ste\b"
    r"|straight|\.training|set_grad_enabled|custom_fwd|\.copy_\("
)
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)
_DEEP: Final = 4


class _State(NamedTuple):
    """How a weight comes into a value; `where` it is rounded."""

    live: bool = False
    hard: bool = False
    where: syntax.expr | None = None


_NONE: Final = _State()


@surveys
def rounded(m: Machine, block: Block) -> None:
    """``without_slope`` of a rounding that is all that a layer does with its weights."""
    found = list(wording.found(block, _WORTH, _in_module))
    if not found:
        return
    running = {
        id(one.function.node)
        for loop, _ in loops(block)
        if any(step.kind == "loss.backward" for step in happenings(loop.body))
        for one in called_within(loop.body)
    }
    for module, (node, forward, name) in found:
        if id(forward) in running:
            place = Place(module, node, title_around(module.tree, node.lineno))
            tell(block, "without_slope", place, name=name)


def _in_module(module: Module) -> Iterator[tuple[syntax.expr, syntax.AST, str]]:
    every = list(statements_in(module.tree))
    functions = {one.name: one for one in module.tree.body if isinstance(one, _DEFINES)}
    for holder in every:
        if not isinstance(holder, syntax.ClassDef) or _ELSEWHERE.search(module.segment(holder)):
            continue
        methods = {one.name: one for one in holder.body if isinstance(one, _DEFINES)}
        forward = methods.get("forward")
        if forward is None or forward.decorator_list:
            continue
        for name in sorted(_weights(holder)):
            reading = _Reading(module, functions, methods, f"self.{name}")
            state = reading.function(forward, {}, _DEEP)
            if state.hard and not state.live and state.where is not None:
                yield state.where, forward, f"{holder.name}.{name}"


def _weights(holder: syntax.ClassDef) -> set[str]:
    """The names of the parameters that a class of layers has."""
    bases = {wording.name(one).rpartition(".")[2] for one in holder.bases}
    found = {"weight"} if bases & _LAYERS else set[str]()
    for one in statements_in(holder):
        for target in getattr(one, "targets", ()):
            holds, _, last = wording.name(target).rpartition(".")
            if holds == "self" and wording.called(getattr(one, "value", None)) == "Parameter":
                found.add(last)
    return found


class _Reading:
    """Goes through functions for one weight."""

    __slots__ = ("functions", "methods", "module", "weight")

    def __init__(self, module: Module, functions: Any, methods: Any, weight: str) -> None:
        self.module, self.functions, self.methods = module, functions, methods
        self.weight = weight

    def function(self, node: Any, known: dict[str, _State], depth: int) -> _State:
        """How the weight comes into what a function returns."""
        if depth == 0 or _ELSEWHERE.search(self.module.segment(node)):
            return _joined([*known.values(), _State(live=True)])
        known, given = dict(known), _NONE
        top = {id(one) for one in node.body}
        for one in wording.own(node.body):
            if isinstance(one, syntax.Return) and one.value is not None:
                given = _joined([given, self.value(one.value, known, depth)])
            elif isinstance(one, syntax.Assign | syntax.AnnAssign | syntax.AugAssign):
                state = self.value(one.value, known, depth) if one.value is not None else _NONE
                plain = id(one) in top and not isinstance(one, syntax.AugAssign)
                for name in wording.bound(one):
                    before = [] if plain else [known.get(name, _NONE)]
                    known[name] = _joined([*before, state])
            elif isinstance(one, syntax.For | syntax.While | syntax.Try | syntax.With):
                return _joined([given, _State(live=True)])
        return given

    def value(self, node: Any, known: dict[str, _State], depth: int) -> _State:
        """How the weight comes into an expression."""
        name = wording.name(node)
        if name == self.weight:
            return _State(live=True)
        if name and (name in known or isinstance(node, syntax.Name)):
            return known.get(name, _NONE)
        if isinstance(node, syntax.Compare | syntax.Lambda | syntax.JoinedStr):
            return _NONE
        if isinstance(node, syntax.Attribute):
            told = node.attr in ("shape", "device", "dtype", "ndim")
            return _NONE if told else self.value(node.value, known, depth)
        if isinstance(node, syntax.Call):
            return self._call(node, known, depth)
        parts = [one for one in syntax.iter_child_nodes(node) if isinstance(one, syntax.expr)]
        return _joined([self.value(one, known, depth) for one in parts])

    def _call(self, node: syntax.Call, known: dict[str, _State], depth: int) -> _State:
        name, holder = wording.called(node), getattr(node.func, "value", None)
        given = [self.value(one, known, depth) for one in node.args]
        given += [self.value(one.value, known, depth) for one in node.keywords]
        behind = self.value(holder, known, depth) if holder is not None else _NONE
        state = _joined([*given, behind])
        if name in _STOPS:
            return _NONE
        if name in _HARD:
            where = state.where if state.hard else node
            return _State(hard=True, where=where) if state.live or state.hard else _NONE
        if name in _REDUCES and not node.args[1:]:
            return _State(hard=state.hard, where=state.where)
        own = self.functions.get(name) if holder is None else None
        if wording.name(holder) == "self":
            own = self.methods.get(name)
        if own is not None and not node.keywords:
            args = [one.arg for one in own.args.args][0 if holder is None else 1 :]
            handed = dict(zip(args, given, strict=False))
            return self.function(own, handed, depth - 1)
        return state


def _joined(states: Iterable[_State]) -> _State:
    every = list(states)
    where = next((one.where for one in every if one.where is not None), None)
    return _State(any(one.live for one in every), any(one.hard for one in every), where)
