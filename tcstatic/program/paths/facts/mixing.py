"""Examples that are mixed with others of their batch, and labels that are those of others still.

What is looked at is the text of one function: in which random order the partners of the inputs
come, and in which one those of the labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.parting import LABELS
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"\b(randperm|permutation)\(")
_ORDERS: Final = frozenset({"randperm", "permutation"})
_TURNS: Final = frozenset({"flip", "roll"})
_MOVES: Final = frozenset("to cuda cpu long numpy from_numpy".split())
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)
_SKIPPED: Final = (*_DEFINES, syntax.ClassDef)
_Found = tuple[syntax.expr, str, str]


class _Taken(NamedTuple):
    """The rows of a name in an order: where that was drawn, and where they are taken."""

    source: str
    order: int
    node: syntax.expr


@final
@dataclass(slots=True)
class _Seen:
    """What straight statements have told so far: the orders and rows that names are, what was mixed
    by which order with which weight ('' for any), and under which names that is known."""

    orders: dict[str, int] = field(default_factory=dict)
    rows: dict[str, _Taken] = field(default_factory=dict)
    mixed: list[tuple[str, int, str]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)


@surveys
def mixed(m: Machine, block: Block) -> None:
    """``parted`` of labels whose partners are others than those that the inputs are mixed with."""
    for module, (node, name, other) in wording.found(block, _WORTH, _in_module):
        place = Place(module, node, title_around(module.tree, node.lineno))
        tell(block, "parted", place, name=name, other=other)


def _in_module(module: Module) -> Iterator[_Found]:
    helpers = {
        one.name for one in statements_in(module.tree) if isinstance(one, _DEFINES) and _mixes(one)
    }
    bodies = [module.tree.body]
    bodies += [one.body for one in statements_in(module.tree) if isinstance(one, _DEFINES)]
    for body in bodies:
        yield from dict.fromkeys(_in_body(body, _Seen()))
        yield from _by_helper(body, helpers)


def _mixes(function: Any) -> bool:
    """Whether a function mixes the rows of its first argument in an order that it draws itself, and
    gives that alone."""
    given = [one.arg for one in function.args.args if one.arg != "self"]
    seen = _Seen()
    list(_in_body(function.body, seen))
    last = function.body[-1]
    alone = isinstance(last, syntax.Return) and not isinstance(last.value, syntax.Tuple)
    return alone and [one[0] for one in seen.mixed] == given[:1]


def _by_helper(body: list[syntax.stmt], helpers: set[str]) -> Iterator[_Found]:
    """The labels that are mixed by a call of their own, beside that for the inputs."""
    given: list[tuple[str, syntax.Call]] = []
    for one in body:
        for part in () if isinstance(one, _SKIPPED) else ("body", "orelse"):
            held = getattr(one, part, None)
            if isinstance(held, list):
                yield from _by_helper(held, helpers)
        for call in wording.calls(one):
            name = wording.name(call.func).removeprefix("self.")
            if name in helpers and call.args and wording.name(call.args[0]):
                given.append((wording.name(call.args[0]), call))
    labels = [one for one in given if LABELS.search(one[0])]
    inputs = [one for one in given if not LABELS.search(one[0])]
    if len(labels) == len(inputs) == 1:
        yield labels[0][1], inputs[0][0], labels[0][0]


def _in_body(body: list[syntax.stmt], seen: _Seen) -> Iterator[_Found]:
    for one in body:
        if isinstance(one, _SKIPPED):
            continue
        inner = [getattr(one, part, None) for part in ("body", "orelse", "finalbody")]
        blocks = [held for held in inner if isinstance(held, list) and held]
        for held in blocks:
            known = _Seen(dict(seen.orders), dict(seen.rows), list(seen.mixed), set(seen.names))
            yield from _in_body(held, known)
        if blocks:
            for name in {name for held in wording.own([one]) for name in wording.bound(held)}:
                seen.orders.pop(name, None)
                seen.rows.pop(name, None)
            continue
        _note_mixes(one, seen)
        yield from _labels(one, seen)
        _note_names(one, seen)


def _note_names(one: syntax.stmt, seen: _Seen) -> None:
    """Note the orders and the rows that a statement binds names to."""
    pairs = dict(wording.pairs(one))
    rows = {name: _taken(value, seen) for name, value in pairs.items()}
    orders = {name: _order(value, seen) for name, value in pairs.items()}
    for name in wording.bound(one):
        seen.rows.pop(name, None)
        seen.orders.pop(name, None)
        row, order = rows.get(name), orders.get(name)
        if row is not None:
            seen.rows[name] = row
        if order is not None:
            seen.orders[name] = order


def _note_mixes(one: syntax.stmt, seen: _Seen) -> None:
    """Note the inputs that a statement mixes with others of their batch, or puts parts of these
    into."""
    before = len(seen.mixed)
    for node in wording.expressions(one):
        for weight, left, right in _weighted(node):
            held = _taken(right, seen)
            if held is not None and held.source == wording.name(left):
                seen.mixed.append((held.source, held.order, weight))
    target = one.targets[0] if isinstance(one, syntax.Assign) else None
    if isinstance(target, syntax.Subscript) and isinstance(one, syntax.Assign):
        held = _taken(one.value, seen)
        if held is not None and wording.name(target.value):
            seen.mixed.append((held.source, held.order, ""))
            seen.names |= {held.source, wording.name(target.value)}
    if len(seen.mixed) > before:
        seen.names |= wording.bound(one)


def _labels(one: syntax.stmt, seen: _Seen) -> Iterator[_Found]:
    """The labels that a statement puts beside those of other partners than the inputs have."""
    told: list[tuple[str, _Taken]] = []
    for node in wording.expressions(one):
        for weight, left, right in _weighted(node):
            held = _partner(left, right, seen)
            if held is not None:
                told.append((weight, held))
        if isinstance(node, syntax.Tuple) and isinstance(one, syntax.Return | syntax.Expr):
            given = {wording.name(part) for part in node.elts}
            mixes = given & seen.names or any(_is_mix(part) for part in node.elts)
            every = [_taken(part, seen) for part in node.elts]
            told += [("", held) for held in every if mixes and held and held.source in given]
    for weight, held in told:
        if any(held.order == order for _, order, _ in seen.mixed):
            continue
        for name, _, other in seen.mixed:
            if name != held.source and (weight in ("", other) or not other):
                yield held.node, name, held.source
                break


def _is_mix(value: syntax.expr) -> bool:
    return next(_weighted(value), None) is not None


def _weighted(node: syntax.AST) -> Iterator[tuple[str, syntax.expr, syntax.expr]]:
    """The two parts of a weighted mean, ``w * a + (1 - w) * b``, and the weight."""
    if not isinstance(node, syntax.BinOp) or not isinstance(node.op, syntax.Add):
        return
    parts = (node.left, node.right)
    if not all(isinstance(one, syntax.BinOp) and isinstance(one.op, syntax.Mult) for one in parts):
        return
    for (weight, left), (rest, right) in [
        (one, other) for one in _factors(node.left) for other in _factors(node.right)
    ]:
        if _is_rest(rest, weight) or _is_rest(weight, rest):
            yield syntax.unparse(rest if _is_rest(weight, rest) else weight), left, right


def _factors(product: Any) -> list[tuple[syntax.expr, syntax.expr]]:
    return [(product.left, product.right), (product.right, product.left)]


def _is_rest(value: syntax.expr, weight: syntax.expr) -> bool:
    """Whether a value is one minus a weight."""
    if not isinstance(value, syntax.BinOp) or not isinstance(value.op, syntax.Sub):
        return False
    one = getattr(value.left, "value", None)
    return one in (1, 1.0) and syntax.unparse(value.right) == syntax.unparse(weight)


def _partner(left: syntax.expr, right: syntax.expr, seen: _Seen) -> _Taken | None:
    """The rows that are weighed against those of the same name, by themselves or in a loss."""
    held = _taken(right, seen)
    if held is not None:
        return held if held.source == wording.name(left) else None
    if not isinstance(left, syntax.Call) or not isinstance(right, syntax.Call):
        return None
    given = {wording.name(one) for one in left.args}
    every = [one for part in right.args if (one := _taken(part, seen)) is not None]
    alike = wording.called(left) == wording.called(right)
    return next((one for one in every if alike and one.source in given), None)


def _taken(value: syntax.expr, seen: _Seen) -> _Taken | None:
    """The name whose rows a value takes in an order that is known, and that."""
    known = seen.rows.get(wording.name(value))
    if known is not None:
        return known
    if isinstance(value, syntax.Subscript):
        index: Any = value.slice
        index = index.elts[0] if isinstance(index, syntax.Tuple) and index.elts else index
        name, order = _plain(value.value), _order(index, seen)
        return _Taken(name, order, value) if name and order is not None else None
    if isinstance(value, syntax.Call) and isinstance(value.func, syntax.Attribute):
        name, numbers = wording.name(value.func.value), [syntax.unparse(one) for one in value.args]
        if value.func.attr in _TURNS and name and numbers in (["0"], ["1", "0"]):
            return _Taken(name, -len(numbers), value)
    return None


def _plain(value: syntax.expr) -> str:
    """A name, or a copy of what it is."""
    if isinstance(value, syntax.Call) and wording.called(value) == "clone":
        return wording.name(getattr(value.func, "value", None))
    return wording.name(value)


def _order(value: Any, seen: _Seen) -> int | None:
    """Where a random order was drawn, the place of the call."""
    if wording.name(value) in seen.orders:
        return seen.orders[wording.name(value)]
    while isinstance(value, syntax.Call) and wording.called(value) in _MOVES:
        value = (
            value.args[0]
            if value.args and wording.called(value) == "from_numpy"
            else getattr(value.func, "value", None)
        )
    drawn = isinstance(value, syntax.Call) and wording.called(value) in _ORDERS
    return value.lineno * 1000 + value.col_offset if drawn else None
