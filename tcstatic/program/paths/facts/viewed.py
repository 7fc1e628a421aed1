"""Dimensions that a view is to swap: it cuts the same row of numbers otherwise, and moves none.

What is looked at is the text of one function: the names that the sizes of a tensor are given, and
the order in which a view of it takes them. The states that a recurrent layer gives back are of
layers, then examples, whatever `batch_first` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"\.(view|reshape)\(")
_VIEWS: Final = frozenset({"view", "reshape"})
_SIZES: Final = re.compile(r"(?P<of>[\w.]+)\.(shape|size\(\))")
_SIZE: Final = re.compile(r"(?P<of>[\w.]+)\.(?:size\((?P<a>\d)\)|shape\[(?P<b>\d)\])")
_LENGTH: Final = re.compile(r"len\((?P<of>[\w.]+)\)")
_BATCH: Final = re.compile(
    r"(batch(_?size)?|bsz?|n_?batch|B|N|b|n)$|\.(size\(0\)|shape\[0\])$|^len\(\w+\)$"
)
_TWICE: Final = re.compile(r"(^|\W)2 \* |\* 2(\W|$)")
# Layers of a model that keep all dimensions but the last one, and what hands on what it is given.
_KEEPING: Final = frozenset({"Linear", "LayerNorm", "RMSNorm", "Dropout"})
_CONVERTS: Final = frozenset(
    "from_numpy tensor as_tensor float long contiguous clone to half double detach".split()
)
_RECURRENT: Final = frozenset({"LSTM", "GRU", "RNN"})
_FUNCTIONS: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)
_OTHER: Final = "?"  # a size that no name stands for
_LEAST: Final = 3  # dimensions: of two, a view that swaps them is written on purpose now and then


@surveys
def viewed(m: Machine, block: Block) -> None:
    """``swapped_by_view`` of a view that takes the sizes of a tensor in another order."""
    for module, (call, name, was, wanted) in wording.found(block, _WORTH, _in_module):
        place = Place(module, call, title_around(module.tree, call.lineno))
        tell(block, "swapped_by_view", place, name=name, was=was, wanted=wanted)


_Found = tuple[syntax.Call, str, str, str]


def _in_module(module: Module) -> Iterator[_Found]:
    for node in statements_in(module.tree):
        if isinstance(node, syntax.ClassDef):
            made = dict(_made(node))
            for inner in node.body:
                if isinstance(inner, _FUNCTIONS):
                    yield from _Function(inner, made).found()
        elif isinstance(node, _FUNCTIONS) and node in module.tree.body:
            yield from _Function(node, {}).found()


def _made(node: syntax.ClassDef) -> Iterator[tuple[str, syntax.Call]]:
    """The attributes of a class that hold what one call made."""
    pairs = [pair for one in statements_in(node) for pair in wording.pairs(one)]
    for name, value in pairs:
        once = sum(other == name for other, _ in pairs) == 1
        if name.startswith("self.") and once and isinstance(value, syntax.Call):
            yield name, value


@final
class _Function:
    """One function, gone through in order: `sizes` has the names of the sizes of each tensor,
    `states` the names that hold the last states of a recurrent layer."""

    def __init__(self, node: Any, made: dict[str, syntax.Call]) -> None:
        self._node, self._made = node, made
        self._sizes: dict[str, dict[int, str]] = {}
        self._states: dict[str, bool] = {}

    def found(self) -> Iterator[_Found]:
        """The views that are to swap what they cannot."""
        for one in wording.own(self._node.body):
            for call in wording.calls(one):
                yield from self._looked_at(call)
            self._bind(one)

    def _bind(self, one: syntax.stmt) -> None:
        bound = wording.bound(one)
        told = dict(self._told(one))
        states = dict(self._given_back(one))
        alike = dict(self._alike(one))
        for name in bound:
            self._states.pop(name, None)
            self._sizes.pop(name, None)
            for sizes in self._sizes.values():
                for place in [place for place, held in sizes.items() if held == name]:
                    del sizes[place]
        if isinstance(one, syntax.If | syntax.For | syntax.While | syntax.With | syntax.Try):
            return
        for (of, place), name in told.items():
            self._sizes.setdefault(of, {})[place] = name
        self._states.update(states)
        for name, sizes in alike.items():
            self._sizes.setdefault(name, {}).update(sizes)

    def _alike(self, one: syntax.stmt) -> Iterator[tuple[str, dict[int, str]]]:
        """The names that are given to what has the sizes of another tensor, but for the last."""
        target = one.targets[0] if isinstance(one, syntax.Assign) else None
        value: Any = getattr(one, "value", None)
        given = [pair for pair in wording.pairs(one) if isinstance(one, syntax.Assign)]
        if isinstance(target, syntax.Tuple) and wording.called(value) in ("chunk", "split"):
            held = getattr(value.func, "value", None)
            along = [*value.args[1:], *(part.value for part in value.keywords)]
            if held is not None and [syntax.unparse(part) for part in along] in (["-1"], ["2"]):
                given = [(wording.name(part), held) for part in target.elts]
        for name, held in given:
            of, _ = self._behind(held)
            sizes = self._sizes.get(of)
            if sizes and name and of != name:
                last_one = int(sizes.get(-1, 0)) - 1
                yield name, {**sizes, last_one: _OTHER}

    def _told(self, one: syntax.stmt) -> Iterator[tuple[tuple[str, int], str]]:
        """The names that are given to sizes: of which tensor, in which place."""
        if not isinstance(one, syntax.Assign) or len(one.targets) != 1:
            return
        target, text = one.targets[0], syntax.unparse(one.value)
        whole = _SIZES.fullmatch(text)
        if whole and isinstance(target, syntax.Tuple):
            names = [wording.name(part) for part in target.elts]
            if all(names):
                for place, name in enumerate(names):
                    if names.count(name) == 1:
                        yield (whole["of"], place), name
                yield (whole["of"], -1), str(len(names))
        for name, value in wording.pairs(one):
            single = _SIZE.fullmatch(syntax.unparse(value))
            length = _LENGTH.fullmatch(syntax.unparse(value))
            if single:
                yield (single["of"], int(single["a"] or single["b"])), name
            elif length:
                yield (length["of"], 0), name

    def _given_back(self, one: syntax.stmt) -> Iterator[tuple[str, bool]]:
        """The names of the states of a recurrent layer with several, and whether it goes both
        ways."""
        if not isinstance(one, syntax.Assign) or len(one.targets) != 1:
            return
        target, value = one.targets[0], one.value
        layer = self._made.get(wording.name(getattr(value, "func", None)))
        if not isinstance(target, syntax.Tuple) or wording.called(layer) not in _RECURRENT:
            return
        both = _option(layer, "bidirectional", 6) is True
        layers = _option(layer, "num_layers", 2)
        if not both and not (isinstance(layers, int) and layers > 1):
            return
        if len(target.elts) == 2:
            state = target.elts[1]
            for held in state.elts if isinstance(state, syntax.Tuple) else [state]:
                if isinstance(held, syntax.Name) and held.id != "_":
                    yield held.id, both

    def _looked_at(self, call: syntax.Call) -> Iterator[_Found]:
        function = call.func
        if not isinstance(function, syntax.Attribute) or function.attr not in _VIEWS:
            return
        given = list(call.args)
        if len(given) == 1 and isinstance(given[0], syntax.Tuple):
            given = list(given[0].elts)
        if any(isinstance(one, syntax.Starred) for one in given) or call.keywords:
            return
        holder = wording.name(function.value)
        if holder in self._states and len(given) == 2:
            if _is_batch(holder, given, both=self._states[holder]):
                yield call, holder, "layers, examples, width", "examples first"
            return
        of, whole = self._behind(function.value)
        sizes = self._sizes.get(of, {})
        count = int(sizes.get(-1, 0))
        if count >= _LEAST and _is_swapped(sizes, count, given, whole=whole):
            was = ", ".join(sizes.get(place, "?") for place in range(count))
            yield call, of, was, ", ".join(map(syntax.unparse, given))

    def _behind(self, value: syntax.expr) -> tuple[str, bool]:
        """The tensor that a value has the dimensions of, and whether the last is the same too."""
        whole = True
        for _ in range(4):
            if wording.name(value):
                return wording.name(value), whole
            if not isinstance(value, syntax.Call):
                break
            layer = self._made.get(wording.name(value.func))
            if wording.called(layer) in _KEEPING and len(value.args) == 1:
                whole = whole and wording.called(layer) != "Linear"
                value = value.args[0]
            elif wording.called(value) in _CONVERTS:
                plain = wording.name(getattr(value.func, "value", None)) in ("torch", "")
                named = isinstance(value.func, syntax.Name) or (
                    plain and wording.called(value) in ("from_numpy", "tensor", "as_tensor")
                )
                inner = value.args[0] if named and value.args else None
                value = inner if inner is not None else getattr(value.func, "value", value)
            else:
                break
        return "", False


def _option(call: Any, name: str, place: int) -> Any:
    named = [one.value for one in call.keywords if one.arg == name]
    held = [*named, *call.args[place : place + 1]]
    return getattr(held[0], "value", None) if held else None


def _is_batch(state: str, given: list[syntax.expr], *, both: bool) -> bool:
    """Whether states are viewed as one row for each example."""
    first, last = (syntax.unparse(one) for one in given)
    if first == "-1":
        return both and _TWICE.search(last) is not None
    if first in (f"{state}.size(0)", f"{state}.shape[0]", f"len({state})"):
        return False
    of_state = first in (f"{state}.size(1)", f"{state}.shape[1]")
    return (of_state or _BATCH.search(first) is not None) and not last.isdigit()


def _is_swapped(
    sizes: dict[int, str], count: int, given: list[syntax.expr], *, whole: bool
) -> bool:
    """Whether a view takes the sizes of a tensor in another order than it has them in."""
    names = [sizes.get(place, "") for place in range(count)]
    parts = [part for one in given for part in _factors(one)]
    known = [part for part in parts if part in names]
    if not all(names) or len(set(known)) != len(known):
        return False
    if sorted(parts) == sorted(names):
        return whole and known != names
    at = next((place for place, one in enumerate(parts) if one != names[min(place, count - 1)]), 0)
    if at == 0 or at >= count - 1 or names[at] not in parts[at:]:
        return False
    between = parts[at : parts.index(names[at])]
    plain = all(one not in names and one not in ("1", "-1", "") for one in between)
    return plain and names[-1] not in known and len(known) == count - 1


def _factors(one: syntax.expr) -> list[str]:
    """The sizes that a size is the product of, as they are written."""
    if isinstance(one, syntax.BinOp) and isinstance(one.op, syntax.Mult):
        return [*_factors(one.left), *_factors(one.right)]
    return [syntax.unparse(one)]
