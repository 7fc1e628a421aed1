"""Calls of Python's own functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tcstatic.program.paths import iteration, lookup, narrowing
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import WRAPPERS
from tcstatic.program.paths.values import (
    Class,
    Const,
    External,
    Listing,
    Node,
    Object,
    Unknown,
    Value,
    options,
)
from tcstatic.program.source import syntax

Keywords = Mapping[str, Value]
_LISTS: Final = frozenset({"list", "tuple", "set", "sorted", "reversed", "frozenset"})


def call(
    m: Machine, name: str, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    """What a call of a builtin gives."""
    if name in _LISTS:
        return _listing(m, name, arguments, at)
    handler = _HANDLERS.get(name)
    if handler is not None:
        return handler(m, arguments, keywords, at)
    return m.node(name, arguments, at, keywords=dict(keywords))


def _listing(m: Machine, name: str, arguments: tuple[Value, ...], at: syntax.expr) -> Value:
    if arguments and isinstance(arguments[0], Listing) and name != "set":
        copy = Listing("list", m.place(at))
        lookup.update(m, copy, arguments[0])
        return copy
    if not arguments:
        return Listing("list", m.place(at))
    source = arguments[0]
    if isinstance(source, Node) and source.op in ("parameters", "filter", "item", "chain"):
        made = m.node("list", (source,), at, keywords=dict(source.keywords))
        made.subject = source.subject
        return made
    return m.node("list", arguments[:1], at)


def _dict(m: Machine, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr) -> Value:
    made = Listing("dict", m.place(at))
    for one in arguments[:1]:
        lookup.update(m, made, one)
    for text, value in keywords.items():
        m.set_attribute(made, f"[{text!r}]", value)
    return made


def _getattr(
    m: Machine, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    name = arguments[1] if len(arguments) > 1 else None
    if isinstance(name, Const) and isinstance(name.value, str):
        return lookup.attribute(m, arguments[0], name.value, at)
    if arguments and isinstance(arguments[0], External):
        return _some_of(m, arguments[0].path, at)
    return m.node("getattr", arguments, at)


def _some_of(m: Machine, path: str, at: syntax.expr) -> Value:
    """One of a module's names, chosen while the program runs."""
    if path == "torch.optim":
        return External("torch.optim.Optimizer")
    if path == "torch.optim.lr_scheduler":
        return External("torch.optim.lr_scheduler.LRScheduler")
    return m.node("getattr", (), at)


def _setattr(
    m: Machine, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    from tcstatic.program.paths import calls

    if len(arguments) > 2:
        names = [one for one in options(arguments[1]) if isinstance(one, Const)]
        if names and len(names) == len(options(arguments[1])):
            for name in names:
                calls.set_attribute(m, arguments[0], str(name.value), arguments[2], at)
        else:
            from tcstatic.program.paths import methods

            methods.escape(m, arguments[:1], at)
    return Const(None)


def _isinstance(
    m: Machine, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    if len(arguments) == 2 and isinstance(arguments[0], Object):
        kind, asked = arguments[0].type, arguments[1]
        if isinstance(kind, Class) and isinstance(asked, Class):
            line = list(lookup.ancestry(kind))
            if asked in line:
                return Const(True)
            if not any(isinstance(one, Unknown) for one in line):
                return Const(False)
        if isinstance(asked, External):
            answer = _is_external(kind, asked.path)
            if answer is not None:
                return Const(answer)
    return m.node("isinstance", arguments, at)


def _is_external(kind: Class | str, path: str) -> bool | None:
    """Whether an instance of a type is one of a library's class; wrappers have no subclasses."""
    if isinstance(kind, str):
        return True if kind == path else False if path.rpartition(".")[2] in WRAPPERS else None
    line = list(lookup.ancestry(kind))
    if any(isinstance(one, External) and one.path == path for one in line):
        return True
    known = not any(isinstance(one, Unknown) for one in line)
    return False if known and path.rpartition(".")[2] in WRAPPERS else None


def _map(m: Machine, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr) -> Value:
    from tcstatic.program.paths import calls

    made = Listing("list", m.place(at))
    if len(arguments) > 1:
        elements = tuple(iteration.element(m, one, at) for one in arguments[1:])
        lookup.fill(m, made, [calls.invoke(m, arguments[0], elements, {}, at)], closed=False)
    return made


def _filter(m: Machine, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr) -> Value:
    if len(arguments) < 2:
        return m.node("filter", arguments, at)
    source = arguments[1]
    made = m.node("filter", (source,), at)
    if isinstance(source, Node):
        made.subject = source.subject
        made.keywords = source.keywords
    return made


def _next(m: Machine, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr) -> Value:

    if not arguments:
        return Const(None)
    return iteration.element(m, arguments[0], at)


def _hasattr(
    m: Machine, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    if narrowing.has(m, arguments):
        return Const(True)
    return m.node("hasattr", arguments, at, keywords=dict(keywords))


def _as_node(name: str) -> Callable[..., Value]:
    def made(
        m: Machine, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
    ) -> Value:
        return m.node(name, arguments, at, keywords=dict(keywords))

    return made


def _sum(m: Machine, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr) -> Value:
    if arguments and isinstance(arguments[0], Listing):
        return m.node("+", tuple(lookup.items(m, arguments[0])), at)
    return m.node("sum", arguments, at)


def _type(m: Machine, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr) -> Value:
    kinds = (
        [one.type for one in options(arguments[0], 3) if isinstance(one, Object)]
        if arguments
        else []
    )
    if len(kinds) == 1 and isinstance(kinds[0], Class):
        return kinds[0]
    return m.node("type", arguments, at)


Handler = Callable[[Machine, tuple[Value, ...], Keywords, syntax.expr], Value]
_HANDLERS: Final[dict[str, Handler]] = {
    "dict": _dict,
    "getattr": _getattr,
    "setattr": _setattr,
    "hasattr": _hasattr,
    "isinstance": _isinstance,
    "map": _map,
    "filter": _filter,
    "next": _next,
    "iter": _as_node("iter"),
    "enumerate": _as_node("enumerate"),
    "zip": _as_node("zip"),
    "float": _as_node("float_"),
    "int": _as_node("int_"),
    "sum": _sum,
    "type": _type,
}
