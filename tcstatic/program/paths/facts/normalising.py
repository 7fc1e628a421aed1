"""Data of one class of which the part to train on is normalised, and the part to evaluate is not.

What is looked at is what both are given when they are made: transforms that are written down in the
same file. Who normalises anywhere else may do so for the part that lacks it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.composing import Bound, bound_in, is_composed
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"Normalize\(|Standardize\(")
_TRAIN: Final = re.compile(r"(^|_)train(ing)?(_|$|set|data|ds)")
_HELD_OUT: Final = re.compile(
    r"(^|_)(val|valid|validation|test|eval|dev)((_?(data)?set|data|ds|loader)?s?)(_|$)"
)
_TRANSFORM: Final = re.compile(r"(^|_)(transforms?|tfms?|tfs?|tf|preprocess)$")
_NORMALISES: Final = re.compile(r"Normali[sz]e|Standardi[sz]e")
_MAY: Final = re.compile(r"normal|standard|scale|whiten|mean|lambda|preprocess|weights", re.I)
_BY_HAND: Final = re.compile(
    r"normali[sz]e\(|[-/] *\(?[\w.]*(mean|std|mu|sigma|MEAN|STD)\b|/ *255|whiten|standardi[sz]e\(",
    re.IGNORECASE,
)
_AROUND: Final = frozenset({"DataLoader", "Subset"})
_DEPTH: Final = 6


@final
@dataclass(frozen=True, slots=True)
class _Made:
    """A dataset: the name that it is bound to, and the call that makes it."""

    name: str
    call: syntax.Call


@surveys
def normalising(m: Machine, block: Block) -> None:
    """``left_raw`` of data for evaluation that is not normalised as that for training is."""
    for module, (node, name, other) in wording.found(block, _WORTH, _in_module):
        place = Place(module, node, title_around(module.tree, node.lineno))
        tell(block, "left_raw", place, name=name, other=other)


def _in_module(module: Module) -> Iterator[tuple[syntax.Call, str, str]]:
    every = list(statements_in(module.tree))
    if _by_hand(module, every):
        return
    general = bound_in(wording.own(module.tree.body))
    bodies = [one.body for one in every if isinstance(one, syntax.FunctionDef)]
    for body in (module.tree.body, *bodies):
        statements = list(wording.own(body))
        bound = {**general, **bound_in(statements)}
        names = [
            name.rpartition(".")[2].lower() for one in statements for name in wording.bound(one)
        ]
        found = list(_made(statements))
        held_out = [one for one in found if _HELD_OUT.search(one.name)]
        training = [one for one in found if _TRAIN.search(one.name) and one not in held_out]
        for one in held_out:
            if _TRAIN.search(one.name) or names.count(one.name) > 1:
                continue
            others = [other.name for other in training if _lacks(one.call, other.call, bound)]
            if others:
                yield one.call, one.name, others[0]


def _by_hand(module: Module, every: list[syntax.stmt]) -> bool:
    """Whether anything is normalised but by a transform, or a transform is set later on."""
    if any(_TRANSFORM.search(name) for one in every for name in _attributes(one)):
        return True
    lines = [line.partition("#")[0] for line in module.text.lines]
    for one in every:
        if isinstance(one, syntax.ClassDef) and _NORMALISES.search(one.name):
            lines[one.lineno - 1 : one.end_lineno] = [""] * len(
                lines[one.lineno - 1 : one.end_lineno]
            )
    text = re.sub(r"Normali[sz]e\(", "", "\n".join(lines))
    return _BY_HAND.search(text) is not None


def _attributes(statement: syntax.stmt) -> Iterator[str]:
    """The attributes that a statement sets, but for those of `self`."""
    for name in wording.bound(statement):
        holder, _, last = name.rpartition(".")
        if holder not in ("", "self"):
            yield last


def _made(statements: list[syntax.stmt]) -> Iterator[_Made]:
    """The datasets that some statements make."""
    for statement in statements:
        for name, value in wording.pairs(statement):
            call: Any = value
            while wording.called(call) in _AROUND and call.args:
                call = call.args[0]
            last = name.rpartition(".")[2].lower()
            if not isinstance(call, syntax.Call) or is_composed(call) or _TRANSFORM.search(last):
                continue
            if all(one.arg is not None for one in call.keywords):
                yield _Made(last, call)


def _lacks(call: syntax.Call, other: syntax.Call, bound: Bound) -> bool:
    """Whether a dataset is given a transform that normalises nothing, or none at all, where another
    one of the same class is given one that normalises."""
    if wording.called(call) != wording.called(other):
        return False
    theirs, mine = _slots(other), _slots(call)
    where = [slot for slot, value in theirs.items() if _says(value, bound)]
    if len(where) != 1 or any(_says(value, bound) is not False for value in mine.values()):
        return False
    given = mine.get(where[0])
    return given is None or _parts(given, bound) is not None


def _slots(call: syntax.Call) -> dict[int | str, syntax.expr]:
    """The arguments of a call, by position or name."""
    named: dict[int | str, syntax.expr] = {one.arg or "": one.value for one in call.keywords}
    return {**dict(enumerate(call.args)), **named}


def _says(value: syntax.expr, bound: Bound) -> bool | None:
    """Whether an argument is a transform that normalises; None if it may do so."""
    parts = _parts(value, bound)
    if parts is None:
        return None if _TRANSFORM.search(wording.name(value).rpartition(".")[2]) else False
    if any(_NORMALISES.search(part) for part in parts):
        return True
    return None if any(map(_MAY.search, parts)) else False


def _parts(value: Any, bound: Bound, depth: int = 0) -> list[str] | None:
    """The names of what a transform is made of; None if it is not known."""
    if depth > _DEPTH:
        return None
    if isinstance(value, syntax.Constant) and value.value is None:
        return []
    known = bound.get(wording.name(value), ())
    if len(known) == 1:
        return _parts(known[0], bound, depth + 1)
    if isinstance(value, syntax.List | syntax.Tuple):
        parts = value.elts
    elif is_composed(value):
        parts = value.args
    elif isinstance(value, syntax.Call):
        return [syntax.unparse(value)]
    else:
        return None
    found = [_parts(part, bound, depth + 1) for part in parts]
    if any(one is None for one in found):
        return None
    return [name for one in found for name in one or ()]
