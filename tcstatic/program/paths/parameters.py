"""Which parameters a model has, and an optimizer holds, by tokens: (object, version)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths import lookup
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import CONTAINERS, PARAMETERLESS
from tcstatic.program.paths.values import (
    Bound,
    Const,
    Listing,
    Node,
    Object,
    Phi,
    Unknown,
    Value,
    options,
)
from tcstatic.program.paths.walking import VERSION, Token, tokens_of_parameter

# What makes a tensor of others; lists are added up as well, but a list is no tensor.
_ARITHMETIC: Final = frozenset({"+", "-", "*", "/", "@", "**", "forward"})


def version(m: Machine, value: Value) -> int:
    """How often the parameters of an object were replaced as a whole."""
    return _replaced(m, value.number)


def token(m: Machine, value: Value) -> Token:
    """The token of an object's own parameters."""
    return (value.number, version(m, value))


def parts(m: Machine, model: Object) -> Iterator[Object]:
    """The modules registered in a model, directly."""
    values: list[Value] = []
    for text in sorted(model.attributes):
        held = m.attribute(model, text)
        if held is not None:
            values.append(held)
    if isinstance(model.type, str):
        values.extend(model.arguments)
    contained = _contained(m, model)
    added = m.attribute(model, "#added")
    for value in values:
        for option in options(value, 6):
            if isinstance(option, Object) and option.role in ("model", "loss"):
                yield option
            elif isinstance(option, Listing) and (contained or value is added):
                for item in lookup.items(m, option):
                    yield from (
                        one
                        for one in options(item, 6)
                        if isinstance(one, Object) and one.role == "model"
                    )


def _contained(m: Machine, model: Object) -> bool:
    return isinstance(model.type, str) and model.type_name in CONTAINERS


def tree(m: Machine, model: Object) -> Iterator[Object]:
    """A model and all modules in it, each once."""
    waiting = [model]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one.number in seen or len(seen) > 400:
            continue
        seen.add(one.number)
        yield one
        waiting.extend(parts(m, one))


def tokens_of_model(m: Machine, model: Value) -> frozenset[Token]:
    """The tokens of all parameters of a model, as it is now."""
    if isinstance(model, Phi):
        return frozenset().union(*(tokens_of_model(m, one) for one in options(model, 6)))
    if isinstance(model, Object):
        return frozenset(
            token(m, one)
            for one in tree(m, model)
            if not (isinstance(one.type, str) and one.type_name in PARAMETERLESS)
            and one.role != "loss"
        )
    return frozenset({token(m, model)}) if isinstance(model, Unknown) else frozenset()


def wholes(m: Machine, tokens: frozenset[Token]) -> frozenset[Token]:
    """The models of which these are parts that the program reads without telling what they are:
    ``model.head`` of a library's model."""
    holders: dict[int, int] = {}
    for (number, _), value in m.lazy.items():
        if isinstance(value, Unknown) and value.origin == "attribute":
            holders[value.number] = number
    found: set[int] = set()
    for number, _ in tokens:
        while number in holders and holders[number] not in found:
            number = holders[number]
            found.add(number)
    return frozenset((number, _replaced(m, number)) for number in found)


def _replaced(m: Machine, number: int) -> int:
    times = m.cells.get((number, VERSION))
    return times.value if isinstance(times, Const) else 0


def held(m: Machine, values: tuple[Value, ...]) -> tuple[frozenset[Token], bool]:
    """The parameters among values, through filters and listings, and whether that is all."""
    found: set[Token] = set()
    complete = True
    waiting: list[tuple[Value, bool]] = [(one, False) for one in values]
    seen: set[int] = set()
    while waiting and len(seen) < 2000:
        one, computed = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, Node):
            known = one.keywords.get("#tokens")
            if one.op == "parameter":
                found |= frozenset() if computed else tokens_of_parameter(m, one)
                continue
            if isinstance(known, Const) and one.op == "parameters":
                found |= known.value
                continue
            computed = computed or one.op in _ARITHMETIC
            waiting.extend((part, computed) for part in one.inputs)
            complete = complete and one.op in ("item", "filter", "list", "+", "chain", "iter")
        elif isinstance(one, Listing):
            group = m.attribute(one, "['params']") if one.kind == "dict" else None
            inner = lookup.items(m, one) if group is None else [group]
            waiting.extend((part, False) for part in inner)
        elif isinstance(one, Phi):
            waiting.extend((part, computed) for part in one.options)
        elif isinstance(one, Unknown) or (
            isinstance(one, Bound) and isinstance(one.receiver, Object)
        ):
            complete = False
    return frozenset(found), complete and bool(found)


def replace_parameters(m: Machine, model: Value) -> None:
    """All parameters of a model are new objects from here on."""
    for one in tree(m, model) if isinstance(model, Object) else (model,):
        m.cells.set((one.number, VERSION), Const(version(m, one) + 1))


def owners(m: Machine, tokens: frozenset[Token]) -> tuple[int, ...]:
    """The optimizers that hold some of these parameters."""
    found = []
    for number, one in m.objects.items():
        if one.role == "optimizer":
            mine = m.attribute(one, "#tokens")
            if isinstance(mine, Const) and tokens & mine.value:
                found.append(number)
    return tuple(sorted(found))
