"""Straight-through estimators that cancel themselves out: ``z + (q - z)`` without a detach.

What is looked at is the text of one function: a value is taken away from another one and added
again, with its gradient both times. That alone may be an odd way to write a number; it is told
where the other value is a choice, a rounding or a row of a codebook, or is called so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, definitions_around, statements_in
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(
    r"quanti|hard|round|sign\b|codebook|embedding|one_hot|argm(ax|in)|straight|binar|floor"
)
_HARD: Final = frozenset(
    """round sign floor ceil trunc one_hot argmax argmin scatter scatter_ heaviside bernoulli
    embedding codebook codebooks gt ge lt le eq topk searchsorted bucketize fake_quantize""".split()
)
_CALLED_SO: Final = re.compile(
    r"quant(?!ile)|hard|codebook|codes?$|(^|_)[zxyehf]?_?(q|hat_q)$|q_|binar|discret|one_?hot|(^|_)round|^ste",
    re.IGNORECASE,
)
_SAID: Final = re.compile(r"straight[- _]?through|\bSTE\b")
_STOPS: Final = re.compile(r"detach|\.data\b|stop_?grad|no_grad|\bsg\(|\.item\(|inference_mode")
_THROUGH: Final = re.compile(r"\.detach\(|\.apply\(|stop_?grad")
_UNRECORDED: Final = re.compile(r"no_grad|inference_mode|set_grad_enabled\(False\)|^custom_fwd")
_FUNCTIONS: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)
_DEEP: Final = 4


@final
@dataclass(frozen=True, slots=True)
class Cancelled:
    """A sum in which `kept` is added and taken away, so that it is `other`; within `function`."""

    where: syntax.expr
    kept: str
    other: str
    function: str


@surveys
def straight(m: Machine, block: Block) -> None:
    """``cancelled`` of a straight-through estimator that lets nothing through."""
    for module, one in wording.found(block, _WORTH, _in_module):
        place = Place(module, one.where, one.function)
        tell(block, "cancelled", place, name=one.kept, other=one.other)


def _in_module(module: Module) -> Iterator[Cancelled]:
    for scope in (module.tree, *statements_in(module.tree)):
        if not isinstance(scope, syntax.Module | syntax.FunctionDef | syntax.AsyncFunctionDef):
            continue
        around = definitions_around(module.tree, getattr(scope, "lineno", 0))
        if any(map(_is_unrecorded, around)):
            continue
        function = ".".join(one.name for one in around[-2:])
        statements = list(wording.own(scope.body))
        for index, one in enumerate(statements):
            if isinstance(one, (*_FUNCTIONS, syntax.ClassDef)) or _is_off(statements, one):
                continue
            for where in wording.expressions(one):
                found = _cancelled(where, statements[:index])
                if found is not None and _is_estimator(module, statements[:index], one, *found):
                    assert isinstance(where, syntax.expr)
                    kept, other = map(syntax.unparse, found)
                    yield Cancelled(where, kept, other, function)


def _is_unrecorded(one: syntax.ClassDef | syntax.FunctionDef | syntax.AsyncFunctionDef) -> bool:
    """Whether nothing is recorded in a function, or in the functions of a class."""
    if isinstance(one, syntax.ClassDef):
        return any(wording.name(base).endswith("Function") for base in one.bases)
    decorators = [*map(syntax.unparse, one.decorator_list)]
    return any(_UNRECORDED.search(text.rpartition("torch.")[2]) for text in decorators)


def _is_off(statements: list[syntax.stmt], one: syntax.stmt) -> bool:
    """Whether a statement lies in a region in which nothing is recorded."""
    return any(
        _UNRECORDED.search(syntax.unparse(item.context_expr)) is not None
        for other in statements
        if isinstance(other, syntax.With)
        and other.lineno <= one.lineno <= (other.end_lineno or other.lineno)
        for item in other.items
    )


def _cancelled(
    node: syntax.AST, before: list[syntax.stmt]
) -> tuple[syntax.expr, syntax.expr] | None:
    """What a sum adds and takes away, and what is left of it; None for all others."""
    if not isinstance(node, syntax.BinOp):
        return None
    left, right = node.left, node.right
    if isinstance(node.op, syntax.Add):
        # a + (b - a), and (b - a) + a
        for kept, rest in ((left, right), (right, left)):
            pair = _difference(rest, before, syntax.Sub)
            if pair is not None and _same(pair[1], kept):
                return kept, pair[0]
    elif isinstance(node.op, syntax.Sub):
        # a - (a - b), and (a + b) - a
        pair = _difference(right, before, syntax.Sub)
        if pair is not None and _same(pair[0], left):
            return left, pair[1]
        pair = _difference(left, (), syntax.Add)
        if pair is not None and (_same(pair[0], right) or _same(pair[1], right)):
            return right, pair[1] if _same(pair[0], right) else pair[0]
    return None


def _difference(value: Any, before: Any, sign: type) -> tuple[syntax.expr, syntax.expr] | None:
    """Both sides of a sum, which may have a name of its own."""
    if isinstance(value, syntax.Name) and before:
        bound = [one for one in before if value.id in wording.bound(one)]
        values = [held for one in bound for name, held in wording.pairs(one) if name == value.id]
        if len(bound) != 1 or len(values) != 1:
            return None
        behind = [one for one in before if one.lineno > bound[0].lineno]
        used = wording.names(values[0])
        changed = any(used & wording.bound(one) for one in behind)
        touched = any(
            wording.name(getattr(call.func, "value", None)) == value.id
            for one in behind
            for call in wording.calls(one)
        )
        if changed or touched:
            return None
        value = values[0]
    if isinstance(value, syntax.BinOp) and isinstance(value.op, sign):
        return value.left, value.right
    return None


def _same(one: syntax.expr, other: syntax.expr) -> bool:
    plain = not isinstance(one, syntax.Constant)
    return plain and syntax.unparse(one) == syntax.unparse(other)


def _is_estimator(
    module: Module,
    before: list[syntax.stmt],
    one: syntax.stmt,
    kept: syntax.expr,
    other: syntax.expr,
) -> bool:
    """Whether the sum is there for its gradient: what is left of it is a choice of some kind."""
    if _STOPS.search(syntax.unparse(kept)) or _is_stopped(before, kept):
        return False
    if not wording.names(kept) or isinstance(other, syntax.Constant):
        return False
    lines = module.text.lines[max(one.lineno - 3, 0) : one.lineno]
    said = any(_SAID.search(line.partition("#")[2]) for line in lines)
    name = wording.name(other).rpartition(".")[2]
    if _is_through_already(module, before, one, kept, other):
        return False
    called_so = _CALLED_SO.search(name) is not None and "target" not in name
    return said or called_so or _is_hard(before, other, _DEEP)


def _is_stopped(before: list[syntax.stmt], value: syntax.expr) -> bool:
    """Whether what has a name was cut off when that was bound last."""
    name = wording.name(value)
    for one in reversed(before):
        if name in wording.bound(one):
            held = dict(wording.pairs(one)).get(name)
            return held is not None and _STOPS.search(syntax.unparse(held)) is not None
    return False


def _is_through_already(
    module: Module,
    before: list[syntax.stmt],
    one: syntax.stmt,
    kept: syntax.expr,
    other: syntax.expr,
) -> bool:
    """Whether what is left of the sum has a gradient to what cancels: it is what a function of
    its own slope gave, or code of the program that cuts something off inside."""
    held: syntax.expr | None = other
    name = wording.name(other)
    for earlier in reversed(before):
        if name and name in wording.bound(earlier):
            value = getattr(earlier, "value", None)
            held = value if isinstance(value, syntax.expr) else None
            break
    while isinstance(held, syntax.Subscript | syntax.Attribute):
        held = held.value
    if not isinstance(held, syntax.Call):
        return False
    if wording.called(held) == "apply":
        return True
    given = {name for part in held.args for name in wording.names(part)}
    if wording.called(held) in _HARD or not given & wording.names(kept):
        return False
    return any(
        _THROUGH.search(module.segment(part)) is not None
        for part in statements_in(module.tree)
        if isinstance(part, _FUNCTIONS)
        and not part.lineno <= one.lineno <= (part.end_lineno or part.lineno)
    )


def _choosing(node: syntax.AST) -> Iterator[syntax.AST]:
    """What only chooses between values, or is a factor of one: these have a slope."""
    live: list[Any] = []
    if isinstance(node, syntax.Call) and wording.called(node) == "where" and len(node.args) == 3:
        live = [node.args[1], node.args[2]]
        if all(_is_plain(part) for part in live):
            return
        yield from syntax.walk(node.args[0])
    elif isinstance(node, syntax.BinOp) and isinstance(node.op, syntax.Mult):
        for side, factor in ((node.left, node.right), (node.right, node.left)):
            if not _is_plain(factor):
                yield from syntax.walk(side)


def _is_plain(value: syntax.expr) -> bool:
    """Whether a value is a number, or a tensor of one, or has no slope itself."""
    calls = [part for part in syntax.walk(value) if isinstance(part, syntax.Call)]
    flat = any(isinstance(part, syntax.Compare) for part in syntax.walk(value))
    return flat or not wording.names(value) or any(map(_made_plain, calls))


def _made_plain(call: syntax.Call) -> bool:
    return wording.called(call).removesuffix("_like") in ("ones", "zeros", "full", "tensor")


def _is_hard(before: list[syntax.stmt], value: syntax.expr, depth: int) -> bool:
    """Whether something without a slope, or a codebook, is within a value."""
    chosen = {id(part) for one in syntax.walk(value) for part in _choosing(one)}
    for part in syntax.walk(value):
        if isinstance(part, syntax.Compare) and id(part) not in chosen:
            return True
        if isinstance(part, syntax.Call) and wording.called(part) in _HARD:
            # the round() of a plain number is no estimator
            plain = not isinstance(part.func, syntax.Attribute)
            if not plain or wording.called(part) != "round":
                return True
    for index in range(len(before) - 1, -1, -1) if depth else ():
        name = wording.name(value)
        if name and name in wording.bound(before[index]):
            held = dict(wording.pairs(before[index])).get(name)
            return held is not None and _is_hard(before[:index], held, depth - 1)
    return False
