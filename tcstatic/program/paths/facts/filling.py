"""Masks before a softmax that hide nothing, since what they fill in is a score like any other.

What is looked at is the text of one function: what a softmax is given, whether that was filled
where a mask says so, and with which number. `-1e-9`, where `-1e9` was meant, is the usual one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"softmax", re.IGNORECASE)
_SOFTMAX: Final = re.compile(r"softmax$", re.IGNORECASE)
_FILLS: Final = frozenset({"masked_fill", "masked_fill_"})
# What hands its input on, as a method or as a function.
_KEEPS: Final = frozenset(
    """view reshape transpose permute contiguous float half to clone squeeze unsqueeze type_as
    flatten unflatten""".split()
)
_LIKE: Final = {"zeros_like": 0.0, "zeros": 0.0, "ones_like": 1.0, "ones": 1.0}
# Masks that are drawn, or that mend what is not a number.
_OTHER: Final = re.compile(r"isnan|isinf|isfinite|rand|bernoulli|drop", re.IGNORECASE)
_MASKS: Final = re.compile(r"mask|pad|adj|tril|triu|causal|valid|eye\b", re.IGNORECASE)
# What is known to be so: the utility of an option that is the measure of all others.
_KNOWN: Final = re.compile(r"outside|reference|baseline|anchor", re.IGNORECASE)
_SPREAD: Final = re.compile(r"unsqueeze\((?:dim=)?(-?\d+)\)")
_DEEP: Final = 8
_HIDES_NOTHING: Final = (-1.0, 1.0)  # beyond the lower, up to the upper
_TINY: Final = 1e-3  # of what is taken away by a mask that is added
_TINIER: Final = 1e-6  # of what is added by it
_SHARED: Final = frozenset({"self", "torch", "F", "nn"})
_FUNCTIONS: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)


@final
@dataclass(frozen=True, slots=True)
class Fill:
    """A place where a mask fills in a number, None if it is not written out."""

    where: syntax.expr | syntax.stmt
    mask: syntax.expr
    number: float | None
    scores: frozenset[str] = frozenset()


_Found = tuple[Fill, str]


@surveys
def filled(m: Machine, block: Block) -> None:
    """``hides_nothing`` of a mask whose places count in the softmax behind it."""
    for module, (fill, function) in wording.found(block, _WORTH, _in_module):
        number = f"{fill.number:g}"
        tell(block, "hides_nothing", Place(module, fill.where, function), fill=number)


def _in_module(module: Module) -> Iterator[_Found]:
    numbers = _numbers(module)
    for scope in statements_in(module.tree):
        if isinstance(scope, _FUNCTIONS) and _WORTH.search(module.segment(scope)):
            title = title_around(module.tree, scope.lineno)
            function = _Function(scope, numbers)
            for fill in function.found():
                yield fill, title


def _numbers(module: Module) -> dict[str, float]:
    """The names that stand for one number in all of a module."""
    found: dict[str, float | None] = {}
    for statement in statements_in(module.tree):
        pairs = dict(wording.pairs(statement))
        for name in wording.bound(statement):
            value = _number(pairs.get(name), found)
            found[name] = value if found.get(name, value) == value else None
    return {name: value for name, value in found.items() if value is not None}


@final
class _Function:
    """The masks and softmaxes of one function: its statements, and `numbers` by their names."""

    def __init__(self, scope: Any, numbers: dict[str, float]) -> None:
        self._statements = list(wording.own(scope.body))
        given = scope.args
        own = {one.arg for one in (*given.args, *given.kwonlyargs)}
        self._numbers = {name: one for name, one in numbers.items() if name not in own}

    def found(self) -> Iterator[Fill]:
        """The fills that hide nothing from a softmax, if none in the function hides anything."""
        found: list[Fill] = []
        for index, one in enumerate(self._statements):
            for call in wording.calls(one):
                given = _softmaxed(call)
                if given is not None and not self._is_masked_after(index, call):
                    fills = self._fills_of(given, index, _DEEP)
                    found += [fill for fill in fills if self._is_meant(fill, call, index)]
        if found and all(self._hides_nothing(one) for one in self._every()):
            yield from {id(one.where): one for one in found}.values()

    def _hides_nothing(self, fill: Fill) -> bool:
        low, high = _HIDES_NOTHING
        known = fill.number is not None and low < fill.number <= high
        return known and not _OTHER.search(syntax.unparse(fill.mask))

    def _is_meant(self, fill: Fill, softmax: syntax.Call, index: int) -> bool:
        """Whether a fill is there to hide places from a softmax: not a score that is known, not
        all scores of a place, which are not looked at, nor the scores that are small."""
        if fill.number is None:
            return True
        written = [syntax.unparse(fill.mask)]
        for one in self._statements[:index]:
            held = dict(wording.pairs(one)).get(wording.name(fill.mask))
            written += [syntax.unparse(held)] if held is not None else []
        masks = any(map(_MASKS.search, written)) and not any(map(_KNOWN.search, written))
        if fill.number >= 0 and (not masks or "log" in wording.called(softmax).lower()):
            return False
        dim = _dim(softmax)
        if any(dim in _spread(text) for text in written):
            return False
        compared = [one for one in syntax.walk(fill.mask) if isinstance(one, syntax.Compare)]
        of_scores = {name for one in compared for name in wording.names(one)} - _SHARED
        return not of_scores & fill.scores

    def _every(self) -> Iterator[Fill]:
        for one in self._statements:
            yield from self._set(one)
            for call in wording.calls(one):
                yield from self._fill(call)

    def _is_masked_after(self, index: int, softmax: syntax.Call) -> bool:
        """Whether the weights are masked once more."""
        for one in self._statements[index:]:
            for part in wording.expressions(one):
                inner = any(held is part for held in syntax.walk(softmax))
                if not inner and isinstance(part, syntax.Call) and any(self._fill(part)):
                    return True
                if not inner and isinstance(part, syntax.BinOp) and _is_masked(part, softmax):
                    return True
            if one is not self._statements[index] and any(self._set(one)):
                return True
        return False

    def _fills_of(self, value: Any, index: int, depth: int) -> Iterator[Fill]:
        """The fills that a value has gone through, before the statement at an index."""
        if depth == 0:
            return
        if wording.name(value):
            yield from self._fills_of_name(wording.name(value), index, depth)
        elif isinstance(value, syntax.Call):
            fills = list(self._fill(value))
            yield from fills
            held = getattr(value.func, "value", None)
            if "dropout" in wording.called(value):
                held = value.args[0] if value.args else None
            elif wording.called(value) not in _KEEPS:
                held = None
            if not fills and held is not None:
                yield from self._fills_of(held, index, depth - 1)
        elif isinstance(value, syntax.BinOp) and isinstance(value.op, syntax.Div):
            if not isinstance(value.right, syntax.UnaryOp):
                yield from self._fills_of(value.left, index, depth - 1)
        elif isinstance(value, syntax.BinOp) and isinstance(value.op, syntax.Add):
            yield from self._added(value)

    def _fills_of_name(self, name: str, index: int, depth: int) -> Iterator[Fill]:
        for place in range(index - 1, -1, -1):
            one = self._statements[place]
            fills = [*self._set(one, name), *self._in_place(one, name)]
            yield from fills
            held = dict(wording.pairs(one)).get(name)
            if held is not None:
                yield from self._fills_of(held, place, depth - 1)
            if held is not None or (name in wording.bound(one) and not fills):
                return

    def _added(self, value: syntax.BinOp) -> Iterator[Fill]:
        """A mask times a number that is added to the scores."""
        for side in (value.left, value.right):
            if isinstance(side, syntax.BinOp) and isinstance(side.op, syntax.Mult):
                for number, mask in ((side.left, side.right), (side.right, side.left)):
                    known = _number(number, self._numbers)
                    tiny = known is not None and -_TINY <= known <= _TINIER
                    if known and tiny and _MASKS.search(syntax.unparse(mask)):
                        yield Fill(value, mask, known)

    def _fill(self, call: syntax.Call) -> Iterator[Fill]:
        """What a call of ``masked_fill`` or ``torch.where`` fills in."""
        holder = wording.name(getattr(call.func, "value", None))
        if wording.called(call) in _FILLS and isinstance(call.func, syntax.Attribute):
            given = call.args[1:] if holder == "torch" else call.args
            named = [one.value for one in call.keywords if one.arg == "value"]
            if given and (len(given) > 1 or named):
                number = _number([*given[1:2], *named][0], self._numbers)
                filled = call.args[0] if holder == "torch" else call.func.value
                yield Fill(call, given[0], number, frozenset(wording.names(filled)))
        elif wording.called(call) == "where" and holder == "torch" and len(call.args) == 3:
            first, second = call.args[1:]
            for kept, other in ((first, second), (second, first)):
                number = _number(kept, self._numbers)
                if number is not None or _is_least(kept):
                    yield Fill(call, call.args[0], number, frozenset(wording.names(other)))

    def _set(self, one: syntax.stmt, wanted: str = "") -> Iterator[Fill]:
        """What ``scores[mask] = number`` fills in."""
        target: Any = one.targets[0] if isinstance(one, syntax.Assign) else None
        if isinstance(one, syntax.Assign) and isinstance(target, syntax.Subscript):
            index = syntax.unparse(target.slice)
            if wanted in ("", wording.name(target.value)) and _MASKS.search(index):
                number = _number(one.value, self._numbers)
                scores = frozenset({wording.name(target.value)})
                yield Fill(one, target.slice, number, scores)

    def _in_place(self, one: syntax.stmt, name: str) -> Iterator[Fill]:
        call: Any = one.value if isinstance(one, syntax.Expr) else None
        if wording.called(call) == "masked_fill_" and wording.name(call.func.value) == name:
            yield from self._fill(call)
        added = isinstance(one, syntax.AugAssign) and isinstance(one.op, syntax.Add)
        if isinstance(one, syntax.AugAssign) and added and wording.name(one.target) == name:
            for fill in self._added(syntax.BinOp(one.target, one.op, one.value)):
                yield Fill(one, fill.mask, fill.number)


def _is_masked(product: syntax.BinOp, softmax: syntax.Call) -> bool:
    """Whether something is multiplied by a mask, other than within a softmax."""
    sides = [
        side
        for side in (product.left, product.right)
        if not any(part is softmax for part in syntax.walk(side))
    ]
    names = [name for side in sides for name in wording.names(side)]
    return isinstance(product.op, syntax.Mult) and any(map(_MASKS.search, names))


def _softmaxed(call: syntax.Call) -> syntax.expr | None:
    """What a softmax is taken of."""
    name, held = wording.called(call), getattr(call.func, "value", None)
    if isinstance(call.func, syntax.Call):
        name, held = wording.called(call.func), None
        return call.args[0] if name == "Softmax" and call.args else None
    if not _SOFTMAX.search(name) or name[:1].isupper():
        return None
    functional = wording.name(held).rpartition(".")[2] in ("", "F", "functional", "torch", "self")
    plain = held is None or (functional and wording.name(held) != "")
    return (call.args[0] if call.args else None) if plain else held


def _dim(softmax: syntax.Call) -> str:
    """The dimension of a softmax, as it is written; the last one where it is not."""
    call = softmax.func if isinstance(softmax.func, syntax.Call) else softmax
    named = [one.value for one in call.keywords if one.arg in ("dim", "axis")]
    numbers = [*named, *call.args[:2]]
    plain = [syntax.unparse(one) for one in numbers]
    return next((text for text in plain if re.fullmatch(r"-?\d+", text)), "-1")


def _spread(mask: str) -> list[str]:
    """The dimensions in which a mask is put to a size of one."""
    last = ["-1"] if re.search(r"\.\.\., None\]", mask) else []
    return [*_SPREAD.findall(mask), *last]


def _is_least(value: syntax.expr) -> bool:
    """Whether a value is the least one that there is, or may be it."""
    return re.search(r"inf\b|finfo|\bmin\b", syntax.unparse(value)) is not None


def _number(value: Any, names: Mapping[str, float | None]) -> float | None:
    """The number that an expression is, in all of its elements; None where it is not known."""
    if isinstance(value, syntax.Constant):
        number: Any = value.value
        return float(number) if type(number) in (int, float) else None
    if isinstance(value, syntax.UnaryOp) and isinstance(value.op, syntax.USub):
        inner = _number(value.operand, names)
        return None if inner is None else -inner
    if isinstance(value, syntax.BinOp) and isinstance(value.op, syntax.Mult):
        parts = (_number(value.left, names), _number(value.right, names))
        return None if parts[0] is None or parts[1] is None else parts[0] * parts[1]
    if isinstance(value, syntax.Call):
        return _of_call(value, names)
    return names.get(wording.name(value))


def _of_call(call: syntax.Call, names: Mapping[str, float | None]) -> float | None:
    name = wording.called(call)
    given: Sequence[syntax.expr] = call.args
    if name in _LIKE:
        return _LIKE[name]
    if name in ("full_like", "full") and len(given) > 1:
        return _number(given[1], names)
    plain = name in ("tensor", "float") and len(given) == 1
    return _number(given[0], names) if plain else None
