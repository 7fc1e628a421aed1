"""Calls of attributes of an object that are given what the call of another one gives, alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from tcstatic.program.paths import wording
from tcstatic.program.source import syntax


def chained(
    method: syntax.FunctionDef, names: Collection[str], between: Collection[str]
) -> Iterator[tuple[syntax.Call, syntax.Call]]:
    """The calls of some attributes whose results go into another one of them and nowhere else,
    each with the call of that; `between` and dropout are gone through."""
    for body in _bodies(method):
        for index, statement in enumerate(body):
            for second in wording.calls(statement):
                if wording.name(second.func) not in names or not _is_plain(second):
                    continue
                given = _past(second.args[0], between)
                if isinstance(given, syntax.Name):
                    first = _bound(method, body[: index + 1], given.id, between)
                else:
                    first = given
                if isinstance(first, syntax.Call) and wording.name(first.func) in names:
                    yield first, second


def _bodies(node: Any) -> Iterator[list[syntax.stmt]]:
    """The lists of statements of a function, but not those of functions within."""
    for part in ("body", "orelse", "finalbody"):
        body = getattr(node, part, None)
        if isinstance(body, list) and body:
            yield body
            for one in body:
                if not isinstance(one, syntax.FunctionDef | syntax.ClassDef):
                    yield from _bodies(one)


def _is_plain(call: syntax.Call) -> bool:
    return len(call.args) == 1 and not call.keywords


def _past(value: syntax.expr, between: Collection[str]) -> syntax.expr:
    """A value before what does nothing to it but leave some of it out."""
    while isinstance(value, syntax.Call) and value.args:
        if wording.name(value.func) not in between and wording.called(value) != "dropout":
            break
        value = value.args[0]
    return value


def _bound(
    method: syntax.FunctionDef, body: list[syntax.stmt], name: str, between: Collection[str]
) -> syntax.expr | None:
    """What a name is bound to in the statements before the last one, which alone uses it."""
    used = body[-1]
    if _loads(used, name) != 1 or not isinstance(used, syntax.Assign | syntax.Return):
        return None
    if name not in wording.bound(used) and _is_read_behind(method, used, name):
        return None
    for one in reversed(body[:-1]):
        pairs = dict(wording.pairs(one))
        if name in pairs and isinstance(one, syntax.Assign):
            value = _past(pairs[name], between)
            if not (isinstance(value, syntax.Name) and value.id == name):
                return value
        elif name in wording.names(one):
            return None
    return None


def _is_read_behind(method: syntax.FunctionDef, used: syntax.stmt, name: str) -> bool:
    return any(
        _loads(one, name) for one in wording.own(method.body) if one.lineno > used.lineno
    ) or any(isinstance(one, syntax.For | syntax.While) for one in wording.own(method.body))


def _loads(statement: syntax.stmt, name: str) -> int:
    return sum(
        isinstance(one, syntax.Name) and one.id == name and isinstance(one.ctx, syntax.Load)
        for one in syntax.walk(statement)
    )
