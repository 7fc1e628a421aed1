"""Softmaxes over one element: that of a layer with one unit, over the dimension of its units.

What is looked at is the text of one class, or of one call that makes a sequence of layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeGuard

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"softmax", re.IGNORECASE)
# The position at which a layer takes how many units it has, its name, and where they are found.
_LAYERS: Final[dict[str, tuple[int, str, tuple[int, ...]]]] = {
    "Linear": (1, "out_features", (-1,)),
    "LazyLinear": (0, "out_features", (-1,)),
    "Conv1d": (1, "out_channels", (1, -2)),
    "Conv2d": (1, "out_channels", (1, -3)),
    "Conv3d": (1, "out_channels", (1, -4)),
}
_SOFTMAXES: Final = {"Softmax": "softmax", "LogSoftmax": "log_softmax"}
_FUNCTIONS: Final = frozenset(_SOFTMAXES.values())
# Layers that leave the shape as it is.
_KEEPS: Final = frozenset(
    "Dropout Identity ReLU LeakyReLU Tanh Sigmoid GELU ELU SiLU BatchNorm1d BatchNorm2d".split()
)
_HOLDERS: Final = frozenset({"nn", "torch.nn"})
_Found = tuple[syntax.expr, str, str]


@surveys
def lonely(m: Machine, block: Block) -> None:
    """``over_one`` of the softmax."""
    for module, (node, function, name) in wording.found(block, _WORTH, _in_module):
        tell(block, "over_one", Place(module, node, function), softmax=name)


def _in_module(module: Module) -> Iterator[_Found]:
    told: set[tuple[int, int]] = set()
    imported = _imported(module)
    for statement in (module.tree, *statements_in(module.tree)):
        if isinstance(statement, syntax.ClassDef):
            found = _in_class(statement, module)
        elif isinstance(statement, syntax.Module):
            found = _in_function(statement.body, "", _made(statement.body, module))
        else:
            found = iter(())
        for node, function, name in (*_in_sequences(statement, module), *found):
            place = (getattr(node, "lineno", 0), getattr(node, "col_offset", 0))
            called = getattr(node, "func", None)
            own = isinstance(called, syntax.Name) and called.id in _FUNCTIONS - imported
            if place not in told and not own:
                told.add(place)
                yield node, function, name


def _imported(module: Module) -> set[str]:
    """The names that a module takes from torch."""
    return {
        one.asname or one.name
        for node in syntax.walk(module.tree)
        if isinstance(node, syntax.ImportFrom) and (node.module or "").startswith("torch")
        for one in node.names
    }


def _in_sequences(statement: syntax.AST, module: Module) -> Iterator[_Found]:
    """The softmaxes that stand right behind such a layer in a sequence of layers."""
    if isinstance(statement, syntax.Module) or not isinstance(statement, syntax.stmt):
        return
    for call in wording.calls(statement):
        if wording.called(call) != "Sequential":
            continue
        layers = _parts(call)
        for place, layer in enumerate(layers):
            name = _SOFTMAXES.get(_torchs(layer, module), "")
            before = [one for one in layers[:place] if _torchs(one, module) not in _KEEPS][-1:]
            dimensions = _dimensions(before[0], module) if before else ()
            if name and _constant(_given(layer, 0, "dim")) in dimensions:
                yield layer, "", name


def _parts(call: syntax.Call) -> list[Any]:
    """The layers of a sequence in order, with names or without."""
    given: Sequence[Any] = call.args
    if len(given) == 1 and wording.called(given[0]) == "OrderedDict" and given[0].args:
        pairs = given[0].args[0]
        given = [pair.elts[-1] for pair in getattr(pairs, "elts", ()) if hasattr(pair, "elts")]
    return list(given)


def _in_class(node: syntax.ClassDef, module: Module) -> Iterator[_Found]:
    methods = [one for one in node.body if isinstance(one, syntax.FunctionDef)]
    layers = _made([one for method in methods for one in method.body], module)
    others = _put_in(module, node)
    layers = {name: one for name, one in layers.items() if name.rpartition(".")[2] not in others}
    for method in methods if layers else ():
        yield from _in_function(method.body, f"{node.name}.{method.name}", layers)


def _put_in(module: Module, owner: syntax.ClassDef) -> set[str]:
    """The attributes that are put into what a class makes elsewhere: by who uses it, or by a class
    that is made of it."""
    bases: dict[str, list[str]] = {}
    found: set[str] = set()
    for statement in statements_in(module.tree):
        if isinstance(statement, syntax.ClassDef):
            names = [wording.name(base) for base in statement.bases]
            bases[statement.name] = names
            if any(owner.name in (one, *bases.get(one, ())) for one in names):
                found |= {one.attr for one in syntax.walk(statement) if _is_put(one)}
        for call in wording.calls(statement):
            if wording.called(call) in ("setattr", "add_module", "register_module"):
                found |= {str(getattr(one, "value", "")) for one in call.args[:2]}
    for one in syntax.walk(module.tree):
        if isinstance(one, syntax.Assign | syntax.AnnAssign):
            targets = one.targets if isinstance(one, syntax.Assign) else [one.target]
            found |= {part for target in targets for part in _outside(target)}
    return found


def _is_put(node: syntax.AST) -> TypeGuard[syntax.Attribute]:
    return isinstance(node, syntax.Attribute) and isinstance(node.ctx, syntax.Store)


def _outside(target: syntax.expr) -> Iterator[str]:
    """The attributes of another object that a target puts something into, at any depth."""
    inside: Any = target
    picked = isinstance(target, syntax.Subscript)
    while isinstance(inside, syntax.Subscript | syntax.Attribute):
        if isinstance(inside, syntax.Attribute) and (
            picked or wording.name(inside.value) != "self"
        ):
            yield inside.attr
        inside = inside.value


def _made(body: Sequence[syntax.stmt], module: Module) -> dict[str, syntax.expr]:
    """What is made once, by the name that it is kept under."""
    found: dict[str, syntax.expr] = {}
    doubtful: set[str] = set()
    for statement in wording.own(body):
        for name, value in wording.pairs(statement):
            if name in found:
                doubtful.add(name)
            found[name] = value
        doubtful |= wording.bound(statement) - {name for name, _ in wording.pairs(statement)}
    kept = {name: value for name, value in found.items() if name not in doubtful}
    return {name: one for name, one in kept.items() if _is_layer(one, module)}


def _is_layer(value: syntax.expr, module: Module) -> bool:
    return bool(_dimensions(value, module)) or _torchs(value, module) in _SOFTMAXES


def _in_function(
    body: Sequence[syntax.stmt], function: str, layers: dict[str, syntax.expr]
) -> Iterator[_Found]:
    outputs: dict[str, syntax.expr] = {}
    for statement in wording.own(body):
        for call in wording.calls(statement):
            name, given, dimension = _softmax(call, layers)
            made = _output_of(given, layers, outputs) if name else None
            if made is not None and dimension in _dimensions(made, None):
                yield call, function, name
            if wording.called(call).endswith("_"):
                outputs.pop(wording.name(getattr(call.func, "value", None)), None)
        if isinstance(statement, syntax.Assign) and len(statement.targets) == 1:
            made = _output_of(statement.value, layers, outputs)
            outputs = {
                held: one for held, one in outputs.items() if held not in wording.bound(statement)
            }
            target = wording.name(statement.targets[0])
            if made is not None and target:
                outputs[target] = made
        else:
            outputs = {} if hasattr(statement, "body") else outputs


def _softmax(call: syntax.Call, layers: dict[str, syntax.expr]) -> tuple[str, Any, int | None]:
    """The name of a softmax that is computed, what it is given, and over which dimension."""
    held = layers.get(wording.name(call.func))
    if held is not None:
        name = _SOFTMAXES.get(wording.called(held), "")
        return name, call.args[0] if call.args else None, _constant(_given(held, 0, "dim"))
    name = wording.called(call)
    if name not in _FUNCTIONS or not isinstance(call.func, syntax.Attribute):
        plain = name in _FUNCTIONS and bool(call.args)
        return (
            name if plain else "",
            call.args[0] if plain else None,
            _constant(_given(call, 1, "dim")),
        )
    if wording.name(call.func.value).rpartition(".")[2] in ("F", "functional", "torch"):
        return name, call.args[0] if call.args else None, _constant(_given(call, 1, "dim"))
    return name, call.func.value, _constant(_given(call, 0, "dim"))


def _output_of(
    value: Any, layers: dict[str, syntax.expr], outputs: dict[str, syntax.expr]
) -> syntax.expr | None:
    """The layer whose output an expression is."""
    if isinstance(value, syntax.Call):
        made = layers.get(wording.name(value.func))
        return made if made is not None and wording.called(made) not in _SOFTMAXES else None
    return outputs.get(wording.name(value))


def _dimensions(layer: Any, module: Module | None) -> tuple[int, ...]:
    """Where the one unit of a layer is, of those that have one."""
    kind = wording.called(layer) if module is None else _torchs(layer, module)
    if kind == "Sequential" and isinstance(layer, syntax.Call):
        parts = _parts(layer)
        return _dimensions(parts[-1], module) if parts else ()
    position, name, dimensions = _LAYERS.get(kind, (0, "", ()))
    return dimensions if name and _constant(_given(layer, position, name)) == 1 else ()


def _torchs(layer: Any, module: Module) -> str:
    """Which of torch's layers a call makes; '' for all others."""
    kind = wording.called(layer)
    if not kind or not isinstance(layer, syntax.Call):
        return ""
    if wording.name(getattr(layer.func, "value", None)) in _HOLDERS:
        return kind
    imported = rf"from torch\.nn(\.modules(\.\w+)?)? import [^#\n]*\b{kind}\b"
    return kind if re.search(imported, module.text.text) else ""


def _given(call: Any, position: int, name: str) -> Any:
    """An argument by keyword, else by position; None where it is not written out."""
    if any(isinstance(one, syntax.Starred) for one in call.args):
        return None
    for one in call.keywords:
        if one.arg == name:
            return one.value
    return call.args[position] if len(call.args) > position else None


def _constant(node: Any) -> int | None:
    """A whole number that is written out."""
    sign = 1
    if isinstance(node, syntax.UnaryOp) and isinstance(node.op, syntax.USub):
        node, sign = node.operand, -1
    value = getattr(node, "value", None)
    plain = isinstance(node, syntax.Constant) and type(value) is int
    return sign * int(str(value)) if plain else None
