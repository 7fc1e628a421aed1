"""Weights of classes that are how often each class occurs, where they are to make up for that."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"bincount\(|Counter\(|return_counts|value_counts\(")
# Who draws classes alike puts the natural frequencies back by such weights.
_DRAWN: Final = re.compile(r"WeightedRandomSampler|[Bb]alanced\w*[Ss]ampler")
_CLASSES: Final = frozenset({"CrossEntropyLoss", "NLLLoss"})
_FUNCTIONS: Final = frozenset({"cross_entropy", "nll_loss"})
_WRAPS: Final = frozenset(
    "tensor as_tensor from_numpy FloatTensor Tensor asarray array list".split()
)
_MOVES: Final = frozenset("to cuda float double cpu astype type clone detach numpy".split())
_COUNTS: Final = frozenset({"bincount", "Counter", "value_counts"})
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)
_DEEP: Final = 12
_Scope = Mapping[str, syntax.expr]


@surveys
def frequencies(m: Machine, block: Block) -> None:
    """``weighs_frequent`` of shares of classes that a loss gets as the weights of these."""
    for module, node in wording.found(block, _WORTH, _in_module):
        place = Place(module, node, title_around(module.tree, node.lineno))
        tell(block, "weighs_frequent", place, name=syntax.unparse(node)[:60])


def _in_module(module: Module) -> Iterator[syntax.expr]:
    if _DRAWN.search(module.text.text):
        return
    scopes = _scopes(module)
    returned = {
        one.name: (found[0], scopes[id(one)])
        for one in statements_in(module.tree)
        if isinstance(one, _DEFINES) and len(found := _returns(one)) == 1
    }
    for node in (module.tree, *statements_in(module.tree)):
        if id(node) not in scopes:
            continue
        for one in wording.own(getattr(node, "body", ())):
            for call in wording.calls(one):
                given = _weights_of(call)
                share = _share(given, scopes[id(node)], returned) if given is not None else None
                if share is not None:
                    yield share


def _scopes(module: Module) -> dict[int, _Scope]:
    """The names that each function binds once, by ``id``, with those of the module behind."""
    whole = _bound_once(module.tree.body)
    found: dict[int, _Scope] = {id(module.tree): whole}
    for one in statements_in(module.tree):
        if isinstance(one, _DEFINES):
            taken = {part.arg for part in (*one.args.args, *one.args.kwonlyargs)}
            behind = {name: value for name, value in whole.items() if name not in taken}
            found[id(one)] = {**behind, **_bound_once(one.body)}
    return found


def _bound_once(body: list[syntax.stmt]) -> _Scope:
    every = list(wording.own(body))
    names = [name for one in every for name in wording.bound(one)]
    pairs: dict[str, syntax.expr] = {}
    for one in every:
        pairs.update(wording.pairs(one))
        counted = _second_of_unique(one)
        if counted is not None:
            pairs[counted[0]] = counted[1]
    return {name: value for name, value in pairs.items() if names.count(name) == 1}


def _second_of_unique(one: syntax.stmt) -> tuple[str, syntax.expr] | None:
    """``_, counts = np.unique(labels, return_counts=True)``: the counts, and the call."""
    if not isinstance(one, syntax.Assign) or not isinstance(one.targets[0], syntax.Tuple):
        return None
    told = any(part.arg == "return_counts" for part in getattr(one.value, "keywords", ()))
    elements = one.targets[0].elts
    return (wording.name(elements[-1]), one.value) if told and len(elements) == 2 else None


def _returns(function: Any) -> list[syntax.expr]:
    """What a function returns."""
    found = [one.value for one in wording.own(function.body) if isinstance(one, syntax.Return)]
    return [one for one in found if one is not None]


def _weights_of(call: syntax.Call) -> syntax.expr | None:
    """The weights of classes that a loss is given."""
    if wording.called(call) not in _CLASSES | _FUNCTIONS:
        return None
    given = [one.value for one in call.keywords if one.arg == "weight"]
    if not given and wording.called(call) in _CLASSES:
        given = call.args[:1]
    return given[0] if given else None


def _share(
    value: Any, scope: _Scope, returned: Mapping[str, tuple[syntax.expr, _Scope]]
) -> syntax.expr | None:
    """The expression by which weights are shares of counts, past names, calls and conversions."""
    for _ in range(_DEEP):
        name = wording.name(value)
        if name in scope:
            value = scope[name]
        elif isinstance(value, syntax.ListComp):
            value = value.elt
        elif wording.called(value) in returned and isinstance(value, syntax.Call):
            value, scope = returned[wording.called(value)]
        elif isinstance(value, syntax.Call) and wording.called(value) in _WRAPS and value.args:
            value = value.args[0]
        elif isinstance(value, syntax.Call) and wording.called(value) in _MOVES:
            value = getattr(value.func, "value", None)
        else:
            break
    divided = isinstance(value, syntax.BinOp) and isinstance(value.op, syntax.Div)
    if not divided or not _counts(value.left, scope) or not _sums(value.right, scope):
        return None
    found: syntax.expr = value
    return found


def _counts(value: Any, scope: _Scope) -> bool:
    """Whether a value is how often a class occurs, or each of several."""
    for _ in range(_DEEP):
        name = wording.name(value)
        if name in scope:
            value = scope[name]
        elif isinstance(value, syntax.Subscript):
            value = value.value
        elif isinstance(value, syntax.Call) and wording.called(value) in _MOVES | _WRAPS:
            moved = wording.called(value) in _MOVES
            value = getattr(value.func, "value", None) if moved else next(iter(value.args), None)
        else:
            break
    counted = any(one.arg == "return_counts" for one in getattr(value, "keywords", ()))
    return counted or (isinstance(value, syntax.Call) and wording.called(value) in _COUNTS)


def _sums(value: Any, scope: _Scope) -> bool:
    """Whether a value is the number of all examples."""
    value = scope.get(wording.name(value), value)
    return isinstance(value, syntax.Call) and wording.called(value) in ("sum", "len")
