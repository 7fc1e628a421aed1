"""Copies of a model, as a target network is one, that are later bound to the model itself.

What is looked at is the text: one class, or one function, in which a name gets a model of its own
that takes the weights of another, and later the plain name of that other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"deepcopy|load_state_dict|target|teacher", re.IGNORECASE)
# Names of models that are to stay behind the one that is trained.
_BEHIND: Final = re.compile(
    r"(^|_|\.)(targe?t|tgt|trg|teacher|ema|momentum|slow|old|prev(ious)?|frozen|delayed|lagged"
    r"|ref(erence)?|avg|averaged?|shadow|key|k|mean)(?![a-z])|target",
    re.IGNORECASE,
)
# Methods behind which nothing is trained any more, or nothing is to stay behind.
_LAST: Final = re.compile(r"disable|without|finish|final|close|export|stop|teardown|restore|eval")
# Flags that tell of the moment, and not of an option.
_MOMENTS: Final = re.compile(r"sync|update|copy|done|end|due|now|refresh|step", re.IGNORECASE)
# What is asked of models alone.
_OF_MODELS: Final = frozenset(
    "parameters named_parameters train eval modules requires_grad_ zero_grad".split()
)
# What gives a model itself.
_SAME: Final = frozenset("to cuda cpu eval train requires_grad_ float double half".split())
_ENDS: Final = (syntax.Break, syntax.Return, syntax.Raise)
_Function = syntax.FunctionDef | syntax.AsyncFunctionDef
_Bound = tuple[str, syntax.expr, syntax.Assign]
_Found = tuple[syntax.Assign, str, str, str]


@surveys
def renaming(m: Machine, block: Block) -> None:
    """``renamed`` of an assignment by which a copy of a model becomes the model itself."""
    for module, (one, function, name, model) in wording.found(block, _WORTH, _in_module):
        tell(block, "renamed", Place(module, one, function), name=name, source=model)


def _in_module(module: Module) -> Iterator[_Found]:
    models = _models(module)
    for node in (module.tree, *statements_in(module.tree)):
        found: Iterable[_Bound] = ()
        if isinstance(node, syntax.ClassDef):
            found = _in_class(node, models, _given(module))
        elif isinstance(node, syntax.Module | _Function):
            found = _in_scope(list(wording.own(node.body)), models)
        for name, value, one in found:
            function = title_around(module.tree, one.lineno)
            yield one, function, name, syntax.unparse(value)


def _in_class(node: syntax.ClassDef, models: set[str], given: set[str]) -> Iterator[_Bound]:
    """The assignments of a method, other than those where the models are made; of no model that is
    `given` to an object from outside."""
    methods = [one for one in node.body if isinstance(one, _Function)]
    bodies = {one.name: list(wording.own(one.body)) for one in methods}
    bound = {name: list(_bindings(body)) for name, body in bodies.items()}
    every = [one for body in bodies.values() for one in body]
    for method, own in bound.items():
        for name, value, one in own:
            model = wording.name(value)
            if not name.startswith("self.") or not _may_be_kept(name, model, models):
                continue
            makers = {m for m, held in bound.items() if any(_makes(b, name) for b in held)}
            if method in makers or model.rpartition(".")[2] in given | bodies.keys() or not makers:
                continue
            made = {m for m, held in bound.items() if any(b[0] == model for b in held)}
            if not made <= {*makers, "__init__"} or method == "__init__" or _LAST.search(method):
                continue
            if _is_copy(name, model, every) and not _is_chosen(bodies[method], one):
                yield name, value, one


def _in_scope(body: list[syntax.stmt], models: set[str]) -> Iterator[_Bound]:
    """The assignments within a loop behind the statement that makes the copy."""
    bound = list(_bindings(body))
    for name, value, one in bound:
        model = wording.name(value)
        if name.startswith("self.") or not _may_be_kept(name, model, models):
            continue
        makers = [b[2].lineno for b in bound if _makes(b, name)]
        loops = [
            loop
            for loop in body
            if isinstance(loop, syntax.For | syntax.While) and _holds(loop, one)
        ]
        if not makers or not loops or max(makers) >= loops[0].lineno:
            continue
        changed = [other.lineno for other in body if model in wording.bound(other)]
        if any(line > max(makers) for line in changed) or _is_last(body, one):
            continue
        if _is_chosen(body, one):
            continue
        if _is_copy(name, model, body) and _is_used(loops[0], name, one):
            yield name, value, one


def _bindings(body: Iterable[syntax.stmt]) -> Iterator[_Bound]:
    """What statements bind, a name each, with its value; of several names at once, nothing is the
    plain name of another."""
    for one in body:
        if isinstance(one, syntax.Assign):
            for target in one.targets:
                for part in syntax.walk(target):
                    name = wording.name(part)
                    if name and isinstance(getattr(part, "ctx", None), syntax.Store):
                        plain = part is target and len(one.targets) == 1
                        yield name, one.value if plain else target, one


def _may_be_kept(name: str, model: str, models: set[str]) -> bool:
    """Whether two names are those of models, of which the first is to stay behind the other."""
    last, other = name.rpartition(".")[2], model.rpartition(".")[2]
    if not model or model == name or model.rpartition(".")[0] != name.rpartition(".")[0]:
        return False
    behind = _BEHIND.search(last) is not None and _BEHIND.search(other) is None
    return behind and bool({last, other} & models)


def _makes(bound: _Bound, name: str) -> bool:
    """Whether a statement gives a name a model of its own."""
    return bound[0] == name and isinstance(bound[1], syntax.Call)


def _is_copy(name: str, model: str, body: list[syntax.stmt]) -> bool:
    """Whether a model is made as a copy of another, or alike, or takes its weights."""
    built: dict[str, set[str]] = {}
    for bound, value, _ in _bindings(body):
        inner = _inner(value)
        given = {wording.name(part) for part in getattr(inner, "args", ())}
        if bound == name and wording.called(inner) == "deepcopy" and model in given:
            return True
        if isinstance(inner, syntax.Call):
            built.setdefault(bound, set()).add(syntax.unparse(inner))
    loads = f"{name}.load_state_dict({model}.state_dict()"
    if any(syntax.unparse(call).startswith(loads) for one in body for call in wording.calls(one)):
        return True
    return bool(built.get(name, set()) & built.get(model, set()))


def _inner(value: Any) -> Any:
    """A value without what gives the model itself."""
    while isinstance(value, syntax.Call) and wording.called(value) in _SAME:
        value = getattr(value.func, "value", None)
    return value


def _models(module: Module) -> set[str]:
    """The last parts of the names that are asked what is asked of models alone."""
    return {
        wording.name(one.func.value).rpartition(".")[2]
        for one in syntax.walk(module.tree)
        if isinstance(one, syntax.Call)
        and isinstance(one.func, syntax.Attribute)
        and one.func.attr in _OF_MODELS
    } - {"", "self"}


def _given(module: Module) -> set[str]:
    """The attributes that are bound from outside of an object."""
    return {
        one.attr
        for one in syntax.walk(module.tree)
        if isinstance(one, syntax.Attribute)
        and isinstance(one.ctx, syntax.Store)
        and wording.name(one.value) != "self"
    }


def _holds(loop: syntax.stmt, one: syntax.stmt) -> bool:
    return loop.lineno <= one.lineno <= (loop.end_lineno or loop.lineno)


def _around(body: list[syntax.stmt], one: syntax.stmt) -> Iterator[tuple[syntax.stmt, str]]:
    """The statements that a statement lies in, each with the part of it that it lies in."""
    for around in body:
        for part in ("body", "orelse"):
            block = getattr(around, part, None)
            if isinstance(block, list) and any(
                one is held or one in statements_in(held) for held in block
            ):
                yield around, part


def _is_last(body: list[syntax.stmt], one: syntax.stmt) -> bool:
    """Whether the loop is left right behind a statement."""
    for around, part in _around(body, one):
        block = getattr(around, part)
        if one in block and any(isinstance(other, _ENDS) for other in block[block.index(one) :]):
            return True
    return False


def _is_chosen(body: list[syntax.stmt], one: syntax.Assign) -> bool:
    """Whether an option decides on a statement, or whether the branch beside it binds the name to
    something else."""
    name = syntax.unparse(one.targets[0])
    for around, part in _around(body, one):
        if not isinstance(around, syntax.If):
            continue
        test = around.test.operand if isinstance(around.test, syntax.UnaryOp) else around.test
        if wording.name(test) and not _MOMENTS.search(wording.name(test)):
            return True
        beside = around.orelse if part == "body" else around.body
        if any(bound == name for bound, _, _ in _bindings(wording.own(beside))):
            return True
    return False


def _is_used(loop: syntax.stmt, name: str, one: syntax.stmt) -> bool:
    """Whether a loop does more with a name than to bind it, and trains."""
    parts = [
        part for other in statements_in(loop) if other is not one for part in syntax.walk(other)
    ]
    used = any(
        wording.name(part) == name and isinstance(getattr(part, "ctx", None), syntax.Load)
        for part in parts
    )
    return used and any(wording.called(part) in ("backward", "step") for part in parts)
