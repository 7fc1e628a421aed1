"""Datasets whose items are parts of what is stored, and are written to as they are handed out.

An item that is taken by its number is a view. What augments it in place changes the stored data, so
that each epoch begins where the last one has left off. What gives the same however often it is
done, such as a bound, does no harm; nor do writes of worker processes, which have a copy each.
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

_WORTH: Final = re.compile(r"def __getitem__\(")
_WORKERS: Final = re.compile(r"\bnum_workers\s*=\s*[^\s0]|\bworkers\b")
_RANDOM: Final = re.compile(r"\brand|\brandom\b|\brng\b|\bgenerator\b|\.(choice|uniform|normal)\(")
# What gives another result each time it is done.
_GROWS: Final = frozenset("add_ sub_ subtract_ mul_ multiply_ div_ divide_ pow_ neg_".split())
_KEEPS: Final = frozenset(
    """float double half long to unsqueeze squeeze view reshape permute transpose contiguous clone
    flatten div mul add sub type""".split()
)
_WRAPS: Final = frozenset({"Compose", "Sequential"})
_Function = syntax.FunctionDef


@surveys
def piling(m: Machine, block: Block) -> None:
    """``stored_changes`` of a write to an item that is a view of what a dataset has stored."""
    for module, (node, name) in wording.found(block, _WORTH, _in_module):
        place = Place(module, node, title_around(module.tree, node.lineno))
        tell(block, "stored_changes", place, name=name)


def _in_module(module: Module) -> Iterator[tuple[syntax.stmt, str]]:
    if _WORKERS.search(module.text.text):
        return
    writers = _writers(module)
    for one in statements_in(module.tree):
        if not isinstance(one, syntax.ClassDef):
            continue
        methods = _methods(one)
        item, made = methods.get("__getitem__"), methods.get("__init__")
        if item is None or made is None or "__len__" not in methods:
            continue
        stored = {
            name
            for statement in wording.own(made.body)
            for name, value in wording.pairs(statement)
            if name.startswith("self.") and _is_tensor(value)
        }
        given = _given(module, one.name, made, writers)
        yield from _in_item(item, stored, given)


def _methods(one: syntax.ClassDef) -> dict[str, _Function]:
    return {part.name: part for part in one.body if isinstance(part, _Function)}


def _is_tensor(value: syntax.expr) -> bool:
    """Whether a value is a tensor, by what it is computed with, or a list of tensors."""
    if isinstance(value, syntax.ListComp):
        return _is_tensor(value.elt)
    if isinstance(value, syntax.BinOp):
        return _is_tensor(value.left) or _is_tensor(value.right)
    if isinstance(value, syntax.Subscript):
        return _is_tensor(value.value)
    if not isinstance(value, syntax.Call):
        return False
    if wording.called(value) in _KEEPS and isinstance(value.func, syntax.Attribute):
        return _is_tensor(value.func.value)
    name = wording.name(value.func)
    return name.startswith("torch.") and name.count(".") == 1 and name != "torch.load"


def _writers(module: Module) -> frozenset[str]:
    """The functions, and the classes whose instances are called, that write to what they get."""
    found = set()
    for one in statements_in(module.tree):
        function: syntax.stmt | None = one
        if isinstance(one, syntax.ClassDef):
            methods = _methods(one)
            function = methods.get("__call__") or methods.get("forward")
        if not isinstance(function, _Function):
            continue
        names = [part.arg for part in function.args.args]
        names = names[1:] if isinstance(one, syntax.ClassDef) else names
        if names and next(_written(function.body, {names[0]}), None) is not None:
            found.add(one.name if isinstance(one, syntax.ClassDef) else function.name)
    return frozenset(found)


def _given(module: Module, name: str, made: _Function, writers: frozenset[str]) -> set[str]:
    """The attributes of a dataset that are something which writes to what it gets."""
    bound = {held: one for part in statements_in(module.tree) for held, one in wording.pairs(part)}
    places = [part.arg for part in made.args.args[1:]]
    handed = set()
    for statement in statements_in(module.tree):
        for call in wording.calls(statement):
            if wording.called(call) != name:
                continue
            pairs = [*zip(places, call.args, strict=False)]
            pairs += [(one.arg or "", one.value) for one in call.keywords]
            handed |= {held for held, value in pairs if _writes(value, bound, writers)}
    return {
        attribute
        for statement in wording.own(made.body)
        for attribute, value in wording.pairs(statement)
        if wording.name(value) in handed
    }


def _writes(value: syntax.expr, bound: dict[str, syntax.expr], writers: frozenset[str]) -> bool:
    """Whether a transform is one that writes, or several of which the first one does."""
    value = bound.get(wording.name(value), value)
    if isinstance(value, syntax.Call) and wording.called(value) in _WRAPS and value.args:
        several: Any = value.args[0]
        value = (getattr(several, "elts", None) or [several])[0]
        value = bound.get(wording.name(value), value)
    if isinstance(value, syntax.Call):
        return wording.name(value.func) in writers
    return wording.name(value) in writers


def _in_item(
    item: _Function, stored: set[str], given: set[str]
) -> Iterator[tuple[syntax.stmt, str]]:
    """The writes of a ``__getitem__`` to what is stored, or where what is handed on is taken."""
    index = item.args.args[1].arg if len(item.args.args) > 1 else ""
    taken: dict[str, tuple[syntax.stmt, str]] = {}
    for one in wording.own(item.body):
        for name, value in wording.pairs(one):
            if isinstance(value, syntax.Subscript) and _number(value.slice) == index:
                holder = wording.name(value.value)
                if holder in stored:
                    taken[name] = (one, holder)
        for call in wording.calls(one):
            first = wording.name(call.args[0]) if call.args else ""
            if wording.name(call.func) in given and first in taken:
                yield taken[first]
                return
        for written in _written([one], set(taken), within=item.body, flat=True):
            yield written, taken[_target(written)][1]
            return
        for name in wording.bound(one) & set(taken):
            if taken[name][0] is not one:
                del taken[name]


def _number(index: syntax.expr) -> str:
    """The first of what an item is taken by."""
    if isinstance(index, syntax.Tuple) and index.elts:
        index = index.elts[0]
    if isinstance(index, syntax.Slice) and index.lower is not None:
        index = index.lower
    return wording.name(index)


def _written(
    body: list[syntax.stmt],
    names: set[str],
    *,
    within: Iterable[syntax.stmt] = (),
    flat: bool = False,
) -> Iterator[syntax.stmt]:
    """The statements that write to what a name is, another result each time, before it is bound
    anew."""
    live, whole = set(names), list(within) or body
    for one in body if flat else wording.own(body):
        if _target(one) in live and _differs(one, whole):
            yield one
        live -= {name for name, _ in wording.pairs(one)}


def _target(one: syntax.stmt) -> str:
    """The name whose value a statement writes to; '' where it writes to none."""
    if isinstance(one, syntax.AugAssign):
        held: Any = one.target
    elif isinstance(one, syntax.Assign) and isinstance(one.targets[0], syntax.Subscript):
        held = one.targets[0]
    elif isinstance(one, syntax.Expr | syntax.Assign) and isinstance(one.value, syntax.Call):
        function = one.value.func
        writes = isinstance(function, syntax.Attribute) and function.attr in _GROWS
        held = function.value if writes and isinstance(function, syntax.Attribute) else None
    else:
        return ""
    while isinstance(held, syntax.Subscript):
        held = held.value
    return held.id if isinstance(held, syntax.Name) else ""


def _differs(one: syntax.stmt, whole: list[syntax.stmt]) -> bool:
    """Whether a write gives another result when it is done again."""
    if not isinstance(one, syntax.Assign) or not isinstance(one.targets[0], syntax.Subscript):
        return True
    drawn = {
        name
        for part in wording.own(whole)
        if isinstance(part, syntax.Assign) and _RANDOM.search(syntax.unparse(part.value))
        for name in wording.bound(part)
    }
    return bool(wording.names(one) & drawn) or _RANDOM.search(syntax.unparse(one)) is not None
