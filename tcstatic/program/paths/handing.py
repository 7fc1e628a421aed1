"""What is handed to code that is not known: the objects that train, and those that hold them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths import guesses
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.values import (
    Class,
    Function,
    Listing,
    Node,
    Object,
    Unknown,
    Value,
    options,
)
from tcstatic.program.paths.walking import objects_in, upstream
from tcstatic.program.source import syntax

TRAINED: Final = frozenset("optimizer model scheduler scaler loader sampler engine".split())
# What was handed to an object, or to one of those that a listing holds, to be kept.
_TOLD: Final = "#told"
# An attribute, or an item, of something that is not known belongs to that.
_PARTS: Final = ("item", "attr:", "enumerate", "zip", "list", "reversed")


def objects_of(m: Machine, values: tuple[Value, ...]) -> Iterator[Object | Unknown]:
    """The objects among values, and those that they hold in attributes, two steps deep."""
    waiting = [(one, 0) for one in objects_in(m, values)]
    seen: set[int] = set()
    while waiting:
        one, depth = waiting.pop()
        if one.number in seen and role_of(one) in TRAINED:
            continue
        seen.add(one.number)
        yield one
        if isinstance(one, Object) and depth < 2 and one.role not in ("loader", "dataset"):
            held = tuple(
                value
                for text in sorted(one.attributes)
                if (value := m.attribute(one, text)) is not None and not text.startswith("#")
            )
            waiting.extend((inner, depth + 1) for inner in objects_in(m, held))


def asked(m: Machine, values: tuple[Value, ...]) -> frozenset[int]:
    """The optimizers whose parameters something was asked for that is among values, and of which
    nothing is known: an instance of a class that the source does not show."""
    known = [one for value in values for one in options(value, 4) if _is_vague(one)]
    found = set()
    for made in m.objects.values() if known else ():
        if made.role == "optimizer":
            given = made.arguments[0] if made.arguments else made.keywords.get("params")
            through = upstream(m, given, lambda _: True) if given is not None else ()
            if any(one in known for one in through):
                found.add(made.number)
    return frozenset(found)


def _is_vague(one: Value) -> bool:
    return isinstance(one, Node) or (isinstance(one, Object) and one.role in ("", "?"))


def role_of(one: Object | Unknown) -> str:
    """The role of an object, guessed where it is not known."""
    return one.role if isinstance(one, Object) else guesses.role(one)


def trainers(m: Machine, values: tuple[Value, ...]) -> tuple[Object, ...]:
    """Those among values that are objects of the project's own and hold what is trained."""
    return tuple(
        one
        for one in objects_in(m, values)
        if isinstance(one, Object)
        and one.role in ("", "?")
        and isinstance(one.type, Class)
        and any(role_of(inner) in TRAINED for inner in objects_of(m, (one,)))
    )


def tell(m: Machine, receiver: Value, values: tuple[Value, ...]) -> None:
    """Something that is not known is handed a trainer: it may keep it."""
    given = trainers(m, values)
    if given:
        for one in _wholes(receiver):
            if not isinstance(one, Object):
                kept = Listing("tuple")
                for index, value in enumerate((*told(m, one), *given)):
                    m.set_attribute(kept, f"[{index}]", value)
                m.cells.set((one.number, _TOLD), kept)


def told(m: Machine, receiver: Value) -> tuple[Value, ...]:
    """The trainers that something, or what it is a part of, was handed before."""
    found: list[Value] = []
    for one in _wholes(receiver):
        kept = m.cells.get((one.number, _TOLD))
        if kept is not None:
            found.append(kept)
        if isinstance(one, Node) and one.op == "call":
            found.extend(trainers(m, one.inputs[1:]))
    return tuple(found)


def _wholes(receiver: Value) -> Iterator[Value]:
    """A value, and what it is a part of."""
    waiting = list(options(receiver, 5))
    for _ in range(12):
        if not waiting:
            return
        one = waiting.pop()
        yield one
        if isinstance(one, Node) and one.op.startswith(_PARTS):
            waiting.extend(inner for value in one.inputs[:1] for inner in options(value, 5))


def hands_on(m: Machine, function: Function, arguments: tuple[Value, ...]) -> bool:
    """Whether a function hands a trainer to what it calls, or calls what was handed one."""
    spec = function.node.args
    names = [one.arg for one in (*spec.posonlyargs, *spec.args)]
    handed = function.module.handed(function.node)
    for name, value in zip(names, arguments, strict=False):
        if name in handed and trainers(m, (value,)):
            return True
    rest = arguments[len(names) :]
    if spec.vararg is not None and spec.vararg.arg in handed and trainers(m, rest):
        return True
    owner = arguments[0] if function.owner is not None and arguments else None
    if not isinstance(owner, Object):
        return False
    held = (m.attribute(owner, text) for text in sorted(owner.attributes))
    return any(told(m, value) for value in held if value is not None)


def is_hook(function: Function, arguments: tuple[Value, ...]) -> bool:
    """Whether a method does nothing, of an object whose class may as well be derived from this one:
    it is there for others to fill in."""
    owner = arguments[0] if function.owner is not None and arguments else None
    if not isinstance(owner, Object) or owner.place is not None:
        return False
    body = getattr(function.node, "body", ())
    return isinstance(body, list) and all(map(_does_nothing, body))


def _does_nothing(statement: syntax.stmt) -> bool:
    if isinstance(statement, syntax.Return):
        given = statement.value
        return given is None or (isinstance(given, syntax.Constant) and given.value is None)
    told_only = isinstance(statement, syntax.Expr) and isinstance(statement.value, syntax.Constant)
    return told_only or isinstance(statement, syntax.Pass)
