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
class _Given:
    """What a dataset is made by, under which name, and whether its transform normalises."""

    name: str
    call: syntax.Call
    normalised: bool


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
        found = list(_made(statements, {**general, **bound_in(statements)}))
        names = [name for one in statements for name in wording.bound(one)]
        for one in found:
            if one.normalised or not _HELD_OUT.search(one.name) or _TRAIN.search(one.name):
                continue
            if [name.rpartition(".")[2].lower() for name in names].count(one.name) > 1:
                continue
            others = [
                other.name
                for other in found
                if _TRAIN.search(other.name)
                and not _HELD_OUT.search(other.name)
                and other.normalised
                and wording.called(other.call) == wording.called(one.call)
            ]
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


def _made(statements: list[syntax.stmt], bound: Bound) -> Iterator[_Given]:
    """The datasets that some statements make, of which it is known whether they are normalised."""
    for statement in statements:
        for name, value in wording.pairs(statement):
            call: Any = value
            while wording.called(call) in _AROUND and call.args:
                call = call.args[0]
            if not isinstance(call, syntax.Call) or any(one.arg is None for one in call.keywords):
                continue
            last = name.rpartition(".")[2].lower()
            given = [one.value for one in call.keywords if _TRANSFORM.search(one.arg or "")]
            given += [one for one in call.args if _is_transform(one, bound)]
            if not given:
                yield _Given(last, call, normalised=False)
            elif len(given) == 1 and (parts := _parts(given[0], bound)) is not None:
                if any(_NORMALISES.search(part) for part in parts):
                    yield _Given(last, call, normalised=True)
                elif not any(map(_MAY.search, parts)):
                    yield _Given(last, call, normalised=False)


def _is_transform(value: syntax.expr, bound: Bound) -> bool:
    last = wording.name(value).rpartition(".")[2]
    composed = any(map(is_composed, (value, *bound.get(wording.name(value), ()))))
    return composed or _TRANSFORM.search(last) is not None


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
