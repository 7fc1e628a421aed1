"""Inputs and labels that are parted: one of them is put into a random order, the other is not.

What is looked at is the text of one function: which name is put into which order, and which names
are cut into batches, or handed on, side by side.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, final
from weakref import WeakKeyDictionary

from tcstatic.program.paths.facts import written
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in
from tcstatic.program.paths.tree import Block, happenings
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_ORDERS: Final = frozenset({"randperm", "permutation"})
_WORTH: Final = re.compile(r"\b(randperm|permutation|shuffle)\(")
_COUNTS: Final = frozenset({"arange", "range", "list"})
_TOGETHER: Final = frozenset({"TensorDataset", "StackDataset", "zip", "train_test_split"})
_MOVING: Final = frozenset({"shuffle", "index_select", "take"})
_LABELS: Final = re.compile(
    r"(^|_)(ys?|y[bt]|labels?|lbls?|targets?|tgts?|class(es)?|tags?|truth|answers?|wanted)(_|\d|$)"
    r"|^y|_y$",
    re.IGNORECASE,
)
# Names of what takes inputs and labels apart on purpose.
_MEANT: Final = re.compile(
    r"null|baseline|chance|control|corrupt|negativ|mismatch|unpair|scrambl|permut\w*_?test"
    r"|importance|ablat|shuffled?_?(labels?|targets?|y)",
    re.IGNORECASE,
)
Definition = syntax.Module | syntax.FunctionDef | syntax.AsyncFunctionDef | syntax.ClassDef


@final
@dataclass(slots=True)
class _Scope:
    """One function, or the statements of a module.

    `orders` are names of random orders, and of parts of one with the text of the part; `put` the
    names that were put into an order: by which statement, and by which order ('' for one of its
    own). `whole` tells that it is all methods of a class, which run in any order.
    """

    node: Definition
    statements: list[syntax.stmt]
    whole: bool = False
    orders: dict[str, tuple[str, str]] = field(default_factory=dict)
    put: dict[str, tuple[syntax.stmt, str]] = field(default_factory=dict)


@surveys
def parted(m: Machine, block: Block) -> None:
    """``parted`` of a statement that puts inputs or labels into a random order, alone."""
    every = happenings(block)
    if not any(one.kind == "loss.backward" for one in every):
        return
    for module in dict.fromkeys(one.place.module for one in every):
        for node, function, names in _found(module):
            place = Place(module, node, function)
            tell(block, "parted", place, name=names[0], other=names[1])


_Found = tuple[syntax.stmt, str, tuple[str, str]]
_known: WeakKeyDictionary[Module, tuple[_Found, ...]] = WeakKeyDictionary()


def _found(module: Module) -> tuple[_Found, ...]:
    known = _known.get(module)
    if known is None:
        known = tuple(_in_module(module)) if _WORTH.search(module.text.text) else ()
        _known[module] = known
    return known


def _in_module(module: Module) -> Iterator[_Found]:
    definitions = [module.tree, *statements_in(module.tree)]
    for node in definitions:
        if isinstance(node, syntax.Module | syntax.FunctionDef | syntax.AsyncFunctionDef):
            name = getattr(node, "name", "")
            if not _MEANT.search(name):
                yield from _in_scope(module, _Scope(node, list(written.own(node.body))), name)
        elif isinstance(node, syntax.ClassDef) and not _MEANT.search(node.name):
            methods = (one for one in node.body if isinstance(one, syntax.FunctionDef))
            inside = [held for one in methods for held in written.own(one.body)]
            yield from _in_scope(module, _Scope(node, inside, whole=True), node.name)


def _in_scope(module: Module, scope: _Scope, name: str) -> Iterator[_Found]:
    for statement in scope.statements:
        _note(scope, statement)
    for one, (statement, order) in scope.put.items():
        other = _partner(scope, one, statement, order)
        if other and not _is_meant(module, scope, statement, one):
            yield statement, name, (one, other)
    if not scope.put:
        for statement, one, other in _cut_otherwise(scope):
            if not _is_meant(module, scope, statement, one):
                yield statement, name, (one, other)


def _note(scope: _Scope, statement: syntax.stmt) -> None:
    """Note what a statement puts into order, and which order it makes."""
    for target, value in written.pairs(statement):
        made = _order_in(scope, value)
        if made is not None:
            scope.orders[target] = made
        source, order = _taken(scope, value)
        if source and source == target and ("self." in target) == scope.whole:
            scope.put[target] = (statement, order)
    for call in written.calls(statement):
        held = written.name(call.args[0]) if len(call.args) == 1 else ""
        if written.called(call) != "shuffle" or not held:
            continue
        if _is_count(scope, held):
            scope.orders[held] = (held, "")
        else:
            scope.put[held] = (statement, "")


def _order_in(scope: _Scope, value: syntax.expr) -> tuple[str, str] | None:
    """The order that a value is, or is a part of: its name and the part's text."""
    value = written.bare(value)
    if isinstance(value, syntax.Call):
        if written.called(value) in _ORDERS and _is_of_number(scope, value):
            return ("", "")
        holder = getattr(value.func, "value", None)
        if written.called(value) == "split" and holder is not None:
            return _part(scope, holder, "split")
        if written.called(value) in ("array_split", "batched") and value.args:
            return _part(scope, value.args[0], "split")
    if isinstance(value, syntax.Subscript):
        return _part(scope, value.value, syntax.unparse(value.slice))
    return None


def _part(scope: _Scope, holder: syntax.expr, text: str) -> tuple[str, str] | None:
    name = written.name(holder)
    known = scope.orders.get(name) if name else _order_in(scope, holder)
    return None if known is None else (name, text)


def _is_of_number(scope: _Scope, call: syntax.Call) -> bool:
    """Whether the order is one of positions: numpy's ``permutation`` also takes the data itself."""
    given = call.args[0] if call.args else None
    if written.called(call) == "randperm" or given is None:
        return True
    return not written.name(given) or not _is_data(scope, written.name(given))


def _is_data(scope: _Scope, name: str) -> bool:
    """Whether a name is cut or indexed somewhere, as no number is."""
    return any(
        isinstance(one, syntax.Subscript) and written.name(one.value) == name
        for statement in scope.statements
        for one in written.expressions(statement)
    )


def _is_count(scope: _Scope, name: str) -> bool:
    """Whether a name is bound to positions, or is what others are indexed by."""
    for statement in scope.statements:
        for target, value in written.pairs(statement):
            if target == name and isinstance(written.bare(value), syntax.Call):
                return written.called(written.bare(value)) in _COUNTS
        for one in written.expressions(statement):
            if isinstance(one, syntax.Subscript) and name in written.names(one.slice):
                return True
    return False


def _taken(scope: _Scope, value: syntax.expr) -> tuple[str, str]:
    """The name whose items a value takes in some random order, and that order's name; '' for none.

    ``x[order]``, ``x[torch.randperm(n)]``, ``x.index_select(0, order)``, ``[x[i] for i in order]``
    """
    value = written.bare(value)
    held: Any = None
    index: Any = None
    if isinstance(value, syntax.Subscript):
        held, index = value.value, value.slice
        index = index.elts[0] if isinstance(index, syntax.Tuple) and index.elts else index
    elif isinstance(value, syntax.Call) and written.called(value) in ("index_select", "take"):
        parts = [getattr(value.func, "value", None), *value.args]
        index = next((one for one in parts if _whole(scope, one) is not None), None)
        held = next((one for one in parts if one is not index and written.name(one)), None)
    elif isinstance(value, syntax.ListComp) and isinstance(value.elt, syntax.Subscript):
        held, index = value.elt.value, value.generators[0].iter
    order = _whole(scope, index)
    return ("", "") if order is None or not written.name(held) else (written.name(held), order)


def _whole(scope: _Scope, index: Any) -> str | None:
    """The name of a whole random order that an index is, '' for one of its own, None for others."""
    if written.name(index):
        known = scope.orders.get(written.name(index))
        return written.name(index) if known is not None and not known[1] else None
    made = _order_in(scope, index) if isinstance(index, syntax.Call) else None
    return "" if made is not None and not made[1] else None


def _partner(scope: _Scope, one: str, statement: syntax.stmt, order: str) -> str:
    """The name that goes with another one which was put into an order, and was not; '' for none."""
    paired = {
        name
        for name, (_, other) in scope.put.items()
        if name != one and (other == order != "" or statement is scope.put[name][0])
    }
    for other in _beside(scope, one, statement):
        label = _is_label(other) or _is_label(one)
        if other in scope.put:
            apart = scope.put[other][1] == order == "" or scope.put[other][1] != order
            own = all(isinstance(scope.put[name][0], syntax.Assign) for name in (one, other))
            later = scope.put[other][0].lineno > statement.lineno
            if not (apart and own and later and label and not paired):
                continue
            return other
        if not label or (paired and not _is_label(other)):
            continue
        if not _follows(scope, other, statement):
            return other
    return ""


def _follows(scope: _Scope, other: str, statement: syntax.stmt) -> bool:
    """Whether a name may be in the order all the same: it is bound later, or indexed by one."""
    for held in scope.statements:
        behind = held.lineno > statement.lineno and not scope.whole
        if other in written.bound(held) and (behind or _is_ordered(scope, held, other)):
            return True
        if any(_orders(scope, one, other) for one in written.expressions(held)):
            return True
    return not _is_bound_before(scope, other, statement)


def _orders(scope: _Scope, one: syntax.AST, other: str) -> bool:
    """Whether an expression takes items of a name in some random order."""
    if isinstance(one, syntax.Subscript) and written.name(one.value) == other:
        return bool(written.names(one.slice) & scope.orders.keys())
    moved = isinstance(one, syntax.Call) and written.called(one) in _MOVING
    return moved and other in written.names(one)


def _is_ordered(scope: _Scope, statement: syntax.stmt, name: str) -> bool:
    """Whether a statement binds a name to something in a random order."""
    return any(one == name and _taken(scope, value)[0] for one, value in written.pairs(statement))


def _is_ordered_somewhere(scope: _Scope, name: str) -> bool:
    return any(_is_ordered(scope, one, name) for one in scope.statements)


def _is_bound_before(scope: _Scope, name: str, statement: syntax.stmt) -> bool:
    if scope.whole or name in _arguments(scope):
        return True
    return any(
        held.lineno < statement.lineno and name in written.bound(held) for held in scope.statements
    )


def _beside(scope: _Scope, one: str, statement: syntax.stmt) -> Iterator[str]:
    """Names that are cut alike, or handed on together with another one, behind a statement or in
    it."""
    cuts: dict[str, dict[str, None]] = {}
    for held in scope.statements:
        if held.lineno < statement.lineno and not scope.whole:
            continue
        for part in written.expressions(held):
            if isinstance(part, syntax.Subscript) and written.name(part.value):
                if held is not statement and _is_cut(part):
                    cuts.setdefault(syntax.unparse(part.slice), {})[written.name(part.value)] = None
            elif isinstance(part, syntax.Call) and written.called(part) in _TOGETHER:
                yield from _others([written.name(written.bare(given)) for given in part.args], one)
        given = getattr(held, "value", None)
        given = given.value if isinstance(given, syntax.Yield) else given
        if isinstance(held, syntax.Return | syntax.Expr) and isinstance(given, syntax.Tuple):
            names = [written.name(written.bare(part)) for part in given.elts]
            yield from _others([name for name in names if name in _arguments(scope)], one)
    for together in cuts.values():
        yield from _others(together, one)


def _others(names: Collection[str], one: str) -> Iterator[str]:
    """The other names, where one is among them."""
    return (name for name in names if name and name != one and one in names)


def _arguments(scope: _Scope) -> set[str]:
    held = getattr(scope.node, "args", None)
    return {one.arg for one in held.args} if held is not None else set()


def _is_cut(part: syntax.Subscript) -> bool:
    """Whether a subscript takes a range, or whatever a name says."""
    return isinstance(part.slice, syntax.Slice | syntax.Name)


def _cut_otherwise(scope: _Scope) -> Iterator[tuple[syntax.stmt, str, str]]:
    """Where inputs are taken by a part of a random order, and labels from the same part of the
    data as it is stored."""
    taken: dict[str, tuple[str, str]] = {}
    stored: dict[str, tuple[syntax.stmt, str]] = {}
    for held in scope.statements:
        for part in written.expressions(held):
            if not isinstance(part, syntax.Subscript) or not written.name(part.value):
                continue
            name, index = written.name(part.value), syntax.unparse(part.slice)
            made = scope.orders.get(index) or _order_in(scope, part.slice)
            if name in scope.orders:
                continue
            if made is not None and made[1]:
                taken[name] = made
            elif isinstance(part.slice, syntax.Slice):
                stored[name] = (held, index)
    parts = {text for _, text in taken.values()}
    for name, (held, index) in stored.items():
        known = name in taken or index not in parts or not _is_label(name)
        if known or _is_ordered_somewhere(scope, name):
            continue
        others = [one for one, (_, text) in taken.items() if text == index]
        if others and not any(map(_is_label, others)):
            yield held, others[0], name


def _is_meant(module: Module, scope: _Scope, statement: syntax.stmt, one: str) -> bool:
    """Whether a comment says so, or a condition chooses labels without their inputs."""
    lines = module.text.lines[max(0, statement.lineno - 2) : statement.lineno]
    if any(_MEANT.search(line.partition("#")[2]) for line in lines):
        return True
    branches = [held for held in scope.statements if isinstance(held, syntax.If)]
    inside = any(
        held.lineno <= statement.lineno <= (held.end_lineno or held.lineno) for held in branches
    )
    return inside and _is_label(one)


def _is_label(name: str) -> bool:
    return _LABELS.search(name.rpartition(".")[2]) is not None
