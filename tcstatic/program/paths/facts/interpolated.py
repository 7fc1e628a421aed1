"""Numbers of classes between which is interpolated, and whose fractions are then cut off.

What is looked at is the text of one function: a resize that mixes neighbours, what leaves its items
as they are, and the conversion to whole numbers.
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

_WORTH: Final = re.compile(r"\b(interpolate|resize)\(")
_MIXES: Final = re.compile(r"\b(bi|tri)?(linear|cubic)\b|\barea\b", re.IGNORECASE)
# What is called so holds numbers of classes; others may be cut off on purpose: levels of grey.
_CLASSES: Final = re.compile(
    r"mask|msk|lab|lbl|target|tgt|seg|gt|truth|class|cls|annot|semantic|categor|pars(ing|er)"
    r"|(^|[._])(ys?|yb|y_?(true|train|val|test|batch)|t|m)$",
    re.IGNORECASE,
)
_PLACES: Final = re.compile(
    r"grid|pos|coord|idx|index|indices|flow|depth|disp|im(age|g)|pixel|length|size|time",
    re.IGNORECASE,
)
_KEEPS: Final = frozenset(
    "squeeze unsqueeze view reshape flatten float cpu cuda contiguous clone detach".split()
)
_WHOLE: Final = frozenset({"torch.long", "torch.int64", "torch.int32", "torch.int"})
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)
_Found = tuple[syntax.Call, str, str, str]


@surveys
def interpolated(m: Machine, block: Block) -> None:
    """``classes_mixed`` of the resize."""
    for module, (call, function, name, mode) in wording.found(block, _WORTH, _in_module):
        tell(block, "classes_mixed", Place(module, call, function), name=name, mode=mode)


def _in_module(module: Module) -> Iterator[_Found]:
    for scope in (module.tree, *statements_in(module.tree)):
        if isinstance(scope, (syntax.Module, *_DEFINES)):
            function = title_around(module.tree, getattr(scope, "lineno", 0))
            for call, name, mode in _in_scope(scope.body):
                yield call, function, name, mode


def _in_scope(body: list[syntax.stmt]) -> Iterator[tuple[syntax.Call, str, str]]:
    held: dict[str, syntax.Call] = {}
    told: set[int] = set()
    for one in wording.own(body):
        for converted in map(_converted, wording.calls(one)):
            call = _resized(converted, held)
            if call is None or id(call) in told:
                continue
            name = wording.name(_plain(call.args[0]))
            if _CLASSES.search(name) and not _PLACES.search(name):
                told.add(id(call))
                yield call, name, _mode(call)
        known = {
            name: call for name, value in wording.pairs(one) if (call := _resized(value, held))
        }
        for name in wording.bound(one):
            held.pop(name, None)
        held.update(known)


def _converted(call: syntax.Call) -> Any:
    """What a call makes whole numbers of, None for any other call."""
    if not isinstance(call.func, syntax.Attribute):
        return None
    if call.func.attr in ("long", "int") and not call.args:
        return call.func.value
    given = [*call.args, *(one.value for one in call.keywords if one.arg == "dtype")]
    whole = call.func.attr == "to" and any(wording.name(one) in _WHOLE for one in given)
    return call.func.value if whole else None


def _resized(value: Any, held: dict[str, syntax.Call]) -> syntax.Call | None:
    """The resize that gave a value, with nothing computed since."""
    value = _plain(value)
    if wording.name(value):
        return held.get(wording.name(value))
    if isinstance(value, syntax.Call) and wording.called(value) in ("interpolate", "resize"):
        return value if value.args and _MIXES.search(_mode(value)) else None
    return None


def _plain(value: Any) -> Any:
    """A value without what leaves its items as they are."""
    while True:
        if isinstance(value, syntax.Subscript):
            value = value.value
        elif isinstance(value, syntax.Call) and wording.called(value) in _KEEPS:
            value = getattr(value.func, "value", None)
        else:
            return value


def _mode(call: syntax.Call) -> str:
    """The mode that a resize is given, in words; '' where that is not written there."""
    for one in call.keywords:
        if one.arg in ("mode", "interpolation"):
            said = one.value
            if isinstance(said, syntax.Constant):
                return str(said.value)
            return wording.name(said).rpartition(".")[2].lower()
    return ""
