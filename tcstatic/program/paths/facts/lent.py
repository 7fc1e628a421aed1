"""Averaged weights that are lent to a model to be evaluated, and are never taken back.

A class that averages weights by hand has a method that puts the model's own ones aside and writes
the average in their place, and another that puts them back. Where nobody calls the latter and
training goes on, it goes on from the average.
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

_WORTH: Final = re.compile(r"parameters\(\)[\s\S]*(\.copy_\(|\.data\s*=)")
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)
_LOOPS: Final = (syntax.For, syntax.While)
_ROUNDS: Final = 4  # functions that call functions


@surveys
def lent(m: Machine, block: Block) -> None:
    """``never_restored`` of a call that puts the weights of a model aside, in training."""
    for module, (call, name) in wording.found(block, _WORTH, _in_module):
        place = Place(module, call, title_around(module.tree, call.lineno))
        tell(block, "never_restored", place, name=name)


def _in_module(module: Module) -> Iterator[tuple[syntax.Call, str]]:
    for one in statements_in(module.tree):
        methods = [part for part in getattr(one, "body", ()) if isinstance(part, _DEFINES)]
        if not isinstance(one, syntax.ClassDef) or len(methods) < 2:
            continue
        for lending in methods:
            for kept in _put_aside(lending):
                backs = [part.name for part in methods if _read(part) == {kept}]
                if backs and not any(_is_named(module, name) for name in backs):
                    yield from _in_training(module, lending.name, backs[0])


def _put_aside(method: Any) -> set[str]:
    """The attributes in which a method keeps weights, before it writes others in their place."""
    return _stored(method) if _read(method) - _stored(method) else set()


def _stored(method: Any) -> set[str]:
    """The attributes whose items a method sets to weights: ``self.backup[name] = p.data``."""
    return {
        wording.name(target.value)
        for one in wording.own(method.body)
        for target in getattr(one, "targets", ())
        if isinstance(target, syntax.Subscript) and wording.name(target.value).startswith("self.")
    }


def _read(method: Any) -> set[str]:
    """The attributes from whose items a method writes weights: ``p.copy_(self.backup[name])``."""
    found = set()
    for one in wording.own(method.body):
        values: Iterable[Any] = ()
        if isinstance(one, syntax.Expr) and wording.called(one.value) == "copy_":
            values = getattr(one.value, "args", ())
        elif isinstance(one, syntax.Assign) and getattr(one.targets[0], "attr", "") == "data":
            values = [one.value]
        found |= {
            wording.name(value.value) for value in values if isinstance(value, syntax.Subscript)
        }
    return {name for name in found if name.startswith("self.")}


def _is_named(module: Module, name: str) -> bool:
    """Whether anything but its own definition speaks of a method."""
    word = re.escape(name)
    said = re.compile(rf"(?<!def )\b{word}\s*\(|\.{word}\b|[\"']{word}[\"']")
    return said.search(module.text.text) is not None


def _in_training(module: Module, name: str, back: str) -> Iterator[tuple[syntax.Call, str]]:
    """The calls of a method within loops that train, or in functions that these call."""
    functions = [one for one in statements_in(module.tree) if isinstance(one, _DEFINES)]
    calls = [
        (one, call)
        for one in functions
        for statement in wording.own(one.body)
        for call in wording.calls(statement)
        if wording.called(call) == name and isinstance(call.func, syntax.Attribute)
    ]
    loose = [
        call
        for statement in wording.own(module.tree.body)
        for call in wording.calls(statement)
        if wording.called(call) == name
    ]
    if len(calls) + len(loose) != 1 or any(_loads(one) for one, _ in calls):
        return
    lending = _leading(functions, {name})
    training = _leading(functions, {"backward"})
    for loop in statements_in(module.tree):
        if isinstance(loop, _LOOPS) and not _loads(loop):
            trained = _called_in(loop) & training
            lent_there = _called_in(loop, certain=True) & lending
            if trained and lent_there and not trained <= lent_there:
                yield (calls[0][1] if calls else loose[0]), back
                return


def _leading(functions: list[Any], names: set[str]) -> set[str]:
    """The names of functions that lead to a call of one of these, and these."""
    found = set(names)
    for _ in range(_ROUNDS):
        found |= {one.name for one in functions if _called_in(one) & found}
    return found


def _called_in(node: Any, *, certain: bool = False) -> set[str]:
    """The names of what is called within, apart from what a last turn alone does."""
    every = list(wording.own(node.body))
    rare = [one for one in every if certain and isinstance(one, syntax.If) and _is_once(one.test)]
    left = {id(part) for one in rare for part in wording.own(one.body)}
    return {
        wording.called(call) for one in every if id(one) not in left for call in wording.calls(one)
    }


def _is_once(test: syntax.expr) -> bool:
    """Whether a condition compares for one turn: ``epoch == last``, but not ``epoch % 5 == 0``."""
    text = syntax.unparse(test)
    return "%" not in text and any(sign in text for sign in ("==", ">=", ">", "<"))


def _loads(node: Any) -> bool:
    """Whether a state is loaded, which may be that of the model before."""
    return "load_state_dict" in _called_in(node)
