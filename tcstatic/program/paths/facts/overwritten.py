"""Sums of losses to which terms are added, until one takes the place of all: ``=`` for ``+=``.

What is looked at is the text: a term is added to a name, and the name is given another value in the
statements behind, though nothing has read it in between, while it was begun anew for no round.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"\w +\+= ")
_SUMS: Final = re.compile(
    r"loss|cost|penalty|objective|elbo|(?<![a-z])(?:total|reg(?![a-z])|regulari[sz])", re.IGNORECASE
)
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)
_LOOPS: Final = (syntax.For, syntax.While, syntax.AsyncFor)


@surveys
def overwritten(m: Machine, block: Block) -> None:
    """``overwritten`` of an assignment by which the terms that were added before are lost."""
    for module, (statement, name) in wording.found(block, _WORTH, _in_module):
        place = Place(module, statement, title_around(module.tree, statement.lineno))
        tell(block, "overwritten", place, name=name)


def _in_module(module: Module) -> Iterator[tuple[syntax.stmt, str]]:
    for node in (module.tree, *statements_in(module.tree)):
        for part in ("body", "orelse", "finalbody"):
            held: Any = getattr(node, part, None)
            if isinstance(held, list) and not isinstance(node, syntax.ClassDef):
                yield from _in_body(held)


def _in_body(body: list[syntax.stmt]) -> Iterator[tuple[syntax.stmt, str]]:
    """The assignments among some statements, or under a condition among them."""
    added: set[str] = set()
    chosen: set[str] = set()
    for index, one in enumerate(body):
        rest = body[index:]
        for statement in (one, *(one.body if isinstance(one, syntax.If) else ())):
            for name, value in _plain(statement):
                kept = _is_anew(value) or name in wording.names(value)
                if name not in added or kept or _is_read_first(one, statement, name):
                    continue
                if one is not statement and not (name in chosen and _is_added(rest[1:], name)):
                    continue
                if _is_read(rest, name, statement):
                    yield statement, name
        if isinstance(one, (*_LOOPS, *_DEFINES, syntax.ClassDef, syntax.Try, syntax.With)):
            added -= _named(one)
            continue
        grown = {name for inner in _within(one) for name in _grown(inner)}
        added -= {name for name in _named(one) if name not in grown or _reads(one, name)}
        added |= {name for name in grown if _SUMS.search(name) and not _reads(one, name)}
        chosen |= grown if isinstance(one, syntax.If) else set()


def _is_added(rest: list[syntax.stmt], name: str) -> bool:
    """Whether more is added to the sum behind. An option that puts one term in the place of all
    stands last, and is no slip."""
    return any(name in _grown(inner) for one in rest for inner in _within(one))


def _within(one: syntax.stmt) -> list[syntax.stmt]:
    return [one, *(statements_in(one) if isinstance(one, syntax.If) else ())]


def _grown(one: syntax.stmt) -> set[str]:
    if not isinstance(one, syntax.AugAssign) or not isinstance(one.op, syntax.Add):
        return set()
    return {wording.name(one.target)} - {""}


def _plain(one: syntax.stmt) -> list[tuple[str, syntax.expr]]:
    return list(wording.pairs(one)) if isinstance(one, syntax.Assign) else []


def _is_anew(value: syntax.expr) -> bool:
    """Whether a sum is begun anew, or what it is given tells nothing of a term."""
    return not any(isinstance(part, syntax.Call | syntax.BinOp) for part in syntax.walk(value)) or (
        wording.called(value) in ("zeros", "tensor", "zeros_like", "new_zeros", "float", "int")
    )


def _named(one: syntax.stmt) -> set[str]:
    return wording.names(one)


def _reads(one: syntax.stmt, name: str) -> bool:
    """Whether a statement reads a name, other than to add to it."""
    return any(
        wording.name(part) == name and isinstance(getattr(part, "ctx", None), syntax.Load)
        for part in syntax.walk(one)
    )


def _is_read_first(one: syntax.stmt, statement: syntax.stmt, name: str) -> bool:
    """Whether a condition, or what stands under it before, reads the sum."""
    if one is statement or not isinstance(one, syntax.If):
        return False
    before = one.body[: one.body.index(statement)]
    inside = {name for inner in before for name in wording.names(inner)}
    return name in wording.names(one.test) or name in inside


def _is_read(rest: list[syntax.stmt], name: str, statement: syntax.stmt) -> bool:
    """Whether the sum is read, or added to, behind the statement."""
    return any(
        wording.name(part) == name and getattr(part, "lineno", 0) > statement.lineno
        for one in rest
        for part in syntax.walk(one)
    )
