"""How statements are written: the names that they bind, the expressions that they are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary

from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module
from tcstatic.program.paths.tree import Block, Happening, called_within, happenings
from tcstatic.program.source import syntax

# What leaves the items of what it is given where they are.
_MADE_OF: Final = frozenset("list from_numpy tensor as_tensor array asarray Tensor".split())
_CONVERTS: Final = frozenset("tolist long float numpy cpu to type astype".split())

_Answer = TypeVar("_Answer")
_answers: WeakKeyDictionary[Module, dict[Callable[[Module], Any], Any]] = WeakKeyDictionary()


def once(module: Module, asked: Callable[[Module], _Answer]) -> _Answer:
    """What a function says of a module's text; it is asked once, however many roots there are."""
    known = _answers.setdefault(module, {})
    if asked not in known:
        known[asked] = asked(module)
    return cast(_Answer, known[asked])


def found(
    block: Block, worth: re.Pattern[str], look: Callable[[Module], Iterable[_Answer]]
) -> Iterator[tuple[Module, _Answer]]:
    """What `look` finds in the modules of a root that trains, each module that is `worth` it being
    looked at once."""
    for module in in_use(block) if trains(block) else ():
        known = _answers.setdefault(module, {})
        if look not in known:
            known[look] = tuple(look(module)) if worth.search(module.text.text) else ()
        for one in cast(tuple[_Answer, ...], known[look]):
            yield module, one


def trains(block: Block) -> bool:
    """Whether a root runs some backward."""
    return any(one.kind == "loss.backward" for one in happenings(block))


def at_work(every: Iterable[Happening]) -> list[Module]:
    """The modules in which something happens."""
    return list(dict.fromkeys(one.place.module for one in every))


def in_use(block: Block) -> list[Module]:
    """The modules in which something happens, or whose functions are called."""
    called_in = (one.function.module for one in called_within(block))
    return list(dict.fromkeys([*at_work(happenings(block)), *called_in]))


def modules(m: Machine, block: Block) -> list[Module]:
    """The modules that a root which trains is made of: those in which something happens, and those
    that it takes names from; none of a root that does not train."""
    if not trains(block):
        return []
    return list(dict.fromkeys([*at_work(happenings(block)), *m.globals.values()]))


def own(body: Iterable[syntax.stmt]) -> Iterator[syntax.stmt]:
    """The statements of a function, in order, but not those of functions and classes within."""
    for one in body:
        yield one
        if isinstance(one, syntax.FunctionDef | syntax.AsyncFunctionDef | syntax.ClassDef):
            continue
        for part in ("body", "orelse", "finalbody", "handlers"):
            inner = getattr(one, part, ())
            for held in inner if isinstance(inner, list) else ():
                yield from own(held.body if isinstance(held, syntax.ExceptHandler) else [held])


def comments(module: Module, statement: syntax.stmt, last: int | None = None) -> str:
    """The comments on the lines of a statement, up to the last one, and in those right above it."""
    lines, first = module.text.lines, statement.lineno - 1
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    end = statement.end_lineno or statement.lineno
    return "\n".join(line.partition("#")[2] for line in lines[first : last or end])


def pairs(statement: syntax.stmt) -> Iterator[tuple[str, syntax.expr]]:
    """The plain names that a statement binds, each with its value."""
    if isinstance(statement, syntax.For) and name(statement.target):
        yield name(statement.target), statement.iter
    if not isinstance(statement, syntax.Assign) or len(statement.targets) != 1:
        return
    target, value = statement.targets[0], statement.value
    if name(target):
        yield name(target), value
    elif isinstance(target, syntax.Tuple) and isinstance(value, syntax.Tuple):
        for one, held in zip(target.elts, value.elts, strict=False):
            if name(one):
                yield name(one), held


def bound(statement: syntax.stmt) -> set[str]:
    """The names that a statement itself binds."""
    targets: list[Any] = list(getattr(statement, "targets", ()))
    targets += [getattr(statement, "target", None)]
    targets += [one.optional_vars for one in getattr(statement, "items", ())]
    return {
        name(part)
        for one in targets
        if one is not None
        for part in syntax.walk(one)
        if isinstance(getattr(part, "ctx", None), syntax.Store)
    }


def bare(value: syntax.expr) -> syntax.expr:
    """A value without what leaves its items where they are."""
    while isinstance(value, syntax.Call):
        inner: syntax.expr | None = None
        if called(value) in _MADE_OF and value.args:
            inner = value.args[0]
        elif called(value) in _CONVERTS:
            inner = getattr(value.func, "value", None)
        if inner is None:
            break
        value = inner
    return value


def called(call: Any) -> str:
    """The last part of the name of what is called."""
    function = getattr(call, "func", None)
    return str(getattr(function, "attr", None) or getattr(function, "id", ""))


def name(node: Any) -> str:
    """A name as it is written, dotted or not; '' for any other expression."""
    if isinstance(node, syntax.Attribute):
        holder = name(node.value)
        return f"{holder}.{node.attr}" if holder else ""
    return node.id if isinstance(node, syntax.Name) else ""


def names(node: syntax.AST) -> set[str]:
    """All names within an expression."""
    return {name(one) for one in syntax.walk(node)} - {""}


def calls(statement: syntax.stmt) -> Iterator[syntax.Call]:
    """The calls of a statement, without those of the statements within."""
    return (one for one in expressions(statement) if isinstance(one, syntax.Call))


def expressions(statement: syntax.stmt) -> Iterator[syntax.AST]:
    """All expressions of a statement, without those of the statements within."""
    for child in syntax.iter_child_nodes(statement):
        if isinstance(child, syntax.expr | syntax.withitem):
            yield from syntax.walk(child)
