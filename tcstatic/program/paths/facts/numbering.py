"""Datasets that number labels, or words, in the order in which they come, each part for itself.

The class numbers what it is given when it is made, and it is made once for the part to train on,
and again for the part to evaluate: one name has two numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"setdefault\(|len\(|enumerate\(")
_TRAIN: Final = re.compile(r"(^|_)train(ing)?(_|$|set|data|ds)")
_HELD_OUT: Final = re.compile(
    r"(^|_)(val|valid|validation|test|eval|dev)((_?(data)?set|data|ds)?s?)(_|$)"
)
_ORDERED: Final = re.compile(r"sorted\(|\.sort\(|unique\(|listdir|iterdir|glob")
_Found = tuple[syntax.ClassDef, syntax.expr, str]


@surveys
def numbering(m: Machine, block: Block) -> None:
    """``numbered_apart`` of numbers that each part of the data gives to its labels."""
    modules = wording.in_use(block) if wording.trains(block) else []
    worth = [one for one in modules if _WORTH.search(one.text.text)]
    found = [(module, one) for module in worth for one in wording.once(module, _numbering)]
    for module, (holder, node, name) in found:
        if any(_hands_over(one, name) for one in modules):
            continue
        if any(_is_made_twice(one, holder.name) for one in modules):
            place = Place(module, node, f"{holder.name}.__init__")
            tell(block, "numbered_apart", place, type=holder.name, name=name)


def _numbering(module: Module) -> tuple[_Found, ...]:
    classes = [one for one in statements_in(module.tree) if isinstance(one, syntax.ClassDef)]
    return tuple(found for one in classes for found in _in_class(one))


def _in_class(holder: syntax.ClassDef) -> Iterator[_Found]:
    methods = {one.name: one for one in holder.body if isinstance(one, syntax.FunctionDef)}
    making, item = methods.get("__init__"), methods.get("__getitem__")
    if making is None or item is None or _ORDERED.search(syntax.unparse(making)):
        return
    given = {one.arg for one in (*making.args.args, *making.args.kwonlyargs)} - {"self"}
    statements = list(wording.own(making.body))
    for _ in range(3):
        for one in statements:
            for name, value in wording.pairs(one):
                if wording.names(value) & given:
                    given |= {name} if name else set()
            if isinstance(one, syntax.For) and wording.names(one.iter) & given:
                given |= {wording.name(part) for part in syntax.walk(one.target)} - {""}
    begun = [pair for one in statements for pair in _begun(one)]
    bound = [name for one in statements for name in wording.bound(one)]
    for one in statements:
        for node, name in _numbers(one, given):
            used = any(
                isinstance(part, syntax.Subscript) and wording.name(part.value) == name
                for part in syntax.walk(item)
            )
            # what is given may be the numbers of another part
            own = name in begun and bound.count(name) == 1
            if used and name.startswith("self.") and own:
                yield holder, node, name.removeprefix("self.")


def _begun(one: syntax.stmt) -> Iterator[str]:
    """The names that are bound to a table of the part's own."""
    pairs = list(wording.pairs(one))
    if isinstance(one, syntax.AnnAssign) and one.value is not None:
        pairs.append((wording.name(one.target), one.value))
    for name, value in pairs:
        empty = isinstance(value, syntax.Dict) and not value.keys
        made = wording.called(value) in ("dict", "OrderedDict") and not getattr(value, "args", None)
        if empty or made or isinstance(value, syntax.DictComp):
            yield name


def _numbers(one: syntax.stmt, given: set[str]) -> Iterator[tuple[syntax.expr, str]]:
    """What numbers things of the data as they come, and what the numbers are kept in."""
    for call in wording.calls(one):
        if wording.called(call) == "setdefault" and len(call.args) == 2:
            name = wording.name(getattr(call.func, "value", None))
            counted = f"len({name})" in syntax.unparse(call.args[1])
            if counted and wording.names(call.args[0]) & given:
                yield call, name
    if isinstance(one, syntax.Assign) and isinstance(one.targets[0], syntax.Subscript):
        name = wording.name(one.targets[0].value)
        counted = syntax.unparse(one.value) == f"len({name})"
        if counted and wording.names(one.targets[0].slice) & given:
            yield one.value, name
    for name, value in wording.pairs(one):
        if isinstance(value, syntax.DictComp) and _enumerates_set(value, given):
            yield value, name


def _enumerates_set(value: syntax.DictComp, given: set[str]) -> bool:
    """``{label: i for i, label in enumerate(set(labels))}``."""
    source: Any = value.generators[0].iter
    inner: Any = source.args[0] if wording.called(source) == "enumerate" else source
    while wording.called(inner) in ("list", "tuple") and inner.args:
        inner = inner.args[0]
    known = wording.called(inner) in ("set", "fromkeys") or isinstance(inner, syntax.Set)
    return known and bool(wording.names(inner) & given)


def _hands_over(module: Module, name: str) -> bool:
    """Whether the numbers of one part are given to another one."""
    return any(
        bound.rpartition(".")[2] == name and not bound.startswith("self.") and "." in bound
        for one in statements_in(module.tree)
        for bound in wording.bound(one)
    )


def _is_made_twice(module: Module, name: str) -> bool:
    """Whether a class is made for the part to train on, and for one to evaluate."""
    names = {
        bound.rpartition(".")[2].lower()
        for one in statements_in(module.tree)
        for bound, value in wording.pairs(one)
        if wording.called(value) == name
    }
    held_out = {one for one in names if _HELD_OUT.search(one)}
    return bool(held_out) and any(_TRAIN.search(one) for one in names - held_out)
