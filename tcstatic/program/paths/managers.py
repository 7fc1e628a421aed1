"""Context managers of the project: what they do around the body of a ``with``."""

from __future__ import annotations

from collections.abc import Callable

from tcstatic.program.paths import functions, lookup
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.values import (
    Bound,
    Class,
    Const,
    Function,
    Object,
    Value,
    options,
)
from tcstatic.program.source import syntax

# How often a body is run at most: a generator may have a yield in each of several branches.
_MOST = 2


def generator_of(m: Machine, value: Value) -> Function | None:
    """The generator function behind a callee, if it makes context managers."""
    for one in options(value, 3):
        inner = one.method if isinstance(one, Bound) else one
        if isinstance(inner, Function) and functions.is_context_manager(inner):
            return inner
    return None


def stays(body: list[syntax.stmt]) -> bool:
    """Whether no statement of a body leaves it but by an exception."""
    waiting: list[syntax.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, syntax.Return | syntax.Break | syntax.Continue):
            return False
        if not isinstance(node, syntax.FunctionDef | syntax.AsyncFunctionDef | syntax.Lambda):
            waiting.extend(syntax.iter_child_nodes(node))
    return True


def around(m: Machine, body: Callable[[Value], None]) -> Callable[[Value], None]:
    """The body of a ``with`` of the present frame, to be run where its generator yields."""
    depth, left = len(m.frames), [_MOST]

    def run(value: Value) -> None:
        if left[0] == 0:
            return
        left[0] -= 1
        inner = m.frames[depth:]
        del m.frames[depth:]
        try:
            body(value)
        finally:
            m.frames.extend(inner)

    return run


def method(m: Machine, value: Value, text: str, at: syntax.expr) -> Value | None:
    """Call ``__enter__`` or ``__exit__`` of an object of the project's own, if it has that."""
    known = [one for one in options(value, 3) if not isinstance(one, Const)]
    if len(known) != 1 or not isinstance(known[0], Object) or not isinstance(known[0].type, Class):
        return None
    found = lookup.class_attribute(m, known[0].type, text)
    if not isinstance(found, Function):
        return None
    none = (Const(None),) * 3 if text == "__exit__" else ()
    return functions.call_function(m, found, (known[0], *none), {}, at)
