"""What Python's builtin functions do with what they are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tcstatic.program.callgraph.classes import Base
from tcstatic.program.callgraph.effects import Call, Effects
from tcstatic.program.callgraph.expressions import FORMAT, TRUTH
from tcstatic.program.callgraph.items import MAPPINGS
from tcstatic.program.callgraph.operations import ClassShape, MakeClass, Unpack
from tcstatic.program.callgraph.values import Kind

Model = Callable[[Effects, Call], None]
LENGTH = ("__len__", "__length_hint__")
"""What a list or tuple asks for first that is to be made of anything."""
MOST_PARTS = 4
"""Bases of a class that is made by a call."""


def collect(kind: str) -> Model:
    """Return the model of a function that makes a container of what it iterates over."""

    def model(effects: Effects, call: Call) -> None:
        made = effects.container(call, kind)
        for node in effects.arguments(call)[:1]:
            if kind.startswith("itertools."):
                effects.holds(made, None, effects.stream(call, made, node))
            else:
                effects.subscripts.spread(node, made, call.instance)
            if kind in ("list", "tuple"):
                effects.protocol(call, node, LENGTH)
            if kind in ("set", "frozenset"):
                elements = effects.items.all(made)
                effects.subscripts.hash(elements, call.instance, call.place)
        effects.answer(call, made)

    return model


def mapping(kind: str) -> Model:
    """Return the model of ``dict`` and what is like it."""

    def model(effects: Effects, call: Call) -> None:
        made = effects.container(call, kind)
        for node in effects.arguments(call):
            effects.subscripts.spread(node, made, call.instance)
        fill_named(effects, call, made)
        effects.answer(call, made)

    return model


def _from_keys(effects: Effects, call: Call) -> None:
    made = effects.container(call, "dict")
    for node in effects.arguments(call)[:1]:
        effects.machine.link(effects.elements(call, node), effects.items.keys(made))
    for node in effects.arguments(call)[1:2]:
        effects.holds(made, None, node)
    effects.answer(call, made)


def fill_named(effects: Effects, call: Call, made: int) -> None:
    """Put keyword arguments into a dict."""
    values = effects.machine.values
    for name, node in call.invoke.keywords:
        absolute = call.instance.at(node)
        if name is None:
            effects.subscripts.spread(absolute, made, call.instance)
        else:
            effects.holds(made, name, absolute)
            effects.machine.add(effects.items.keys(made), values.get(Kind.TEXT, name))


def asks(*names: str, result: str = "") -> Model:
    """Return the model of a function that calls a special method of its first argument."""

    def model(effects: Effects, call: Call) -> None:
        for node in effects.arguments(call)[:1]:
            effects.protocol(call, node, names)
        if result:
            effects.plain(call, result)

    return model


def _print(effects: Effects, call: Call) -> None:
    for node in effects.arguments(call):
        effects.protocol(call, node, FORMAT[1:])


def _ordered(effects: Effects, call: Call) -> None:
    """``sorted``, ``min`` and ``max``"""
    given = effects.arguments(call)
    nodes = [effects.elements(call, given[0])] if len(given) == 1 else given
    key = effects.argument(call, -1, "key")
    is_sorted = call.invoke.text.endswith("sorted")
    made = effects.container(call, "list")
    for tag, node in enumerate(nodes):
        if key is not None:
            compared = effects.apply(call, key, [node], tag=tag)
        else:
            compared = node
        names = ("__gt__", "__lt__") if call.invoke.text.endswith("max") else ("__lt__", "__gt__")
        effects.protocol(call, compared, names, (compared,))
        if is_sorted:
            effects.protocol(call, given[0], LENGTH)
            effects.holds(made, None, node)
        else:
            effects.returns(call, node)
    if is_sorted:
        effects.answer(call, made)
    else:
        effects.returns(call, effects.argument(call, -1, "default"))


def _sum(effects: Effects, call: Call) -> None:
    given = effects.arguments(call)
    if given:
        node = effects.elements(call, given[0])
        effects.protocol(call, node, ("__radd__",), (node,), call.target)
        effects.protocol(call, node, ("__add__",), (node,), call.target)
        effects.returns(call, given[1] if len(given) > 1 else None)


def _each_truth(effects: Effects, call: Call) -> None:
    for node in effects.arguments(call)[:1]:
        effects.protocol(call, effects.elements(call, node), TRUTH)


def _map(effects: Effects, call: Call) -> None:
    function, *iterables = effects.arguments(call) or [effects.machine.node()]
    made = effects.container(call, "map")
    given = [effects.stream(call, made, node) for node in iterables]
    effects.holds(made, None, effects.defer(call, made, function, given))
    effects.answer(call, made)


def _filter(effects: Effects, call: Call) -> None:
    given = effects.arguments(call)
    if len(given) < 2:
        return
    made = effects.container(call, "filter")
    node = effects.stream(call, made, given[1])
    effects.defer(call, made, given[0], [node])
    effects.holds(made, None, node)
    effects.answer(call, made)


def _zip(effects: Effects, call: Call) -> None:
    made, row = effects.container(call, "zip"), effects.container(call, "tuple", 1)
    for position, node in enumerate(effects.arguments(call)):
        is_star = position in call.invoke.stars
        elements = effects.stream(call, made, node)
        effects.holds(row, None if is_star or call.invoke.stars else position, elements)
    effects.machine.add(effects.items.rest(made), row)
    effects.answer(call, made)


def _enumerate(effects: Effects, call: Call) -> None:
    made, row = effects.container(call, "enumerate"), effects.container(call, "tuple", 1)
    for node in effects.arguments(call)[:1]:
        effects.holds(row, 1, effects.stream(call, made, node))
    effects.items.lengths[row] = 2
    effects.machine.add(effects.items.rest(made), row)
    effects.answer(call, made)


def _reversed(effects: Effects, call: Call) -> None:
    made = effects.container(call, "reversed")
    for node in effects.arguments(call)[:1]:
        effects.protocol(call, node, ("__reversed__", "__len__"), (), call.target)
        effects.holds(made, None, effects.elements(call, node))
    effects.answer(call, made)


def _iter(effects: Effects, call: Call) -> None:
    given = effects.arguments(call)
    if len(given) == 2:
        made = effects.container(call, "callable_iterator")
        effects.holds(made, None, effects.defer(call, made, given[0], []))
        effects.answer(call, made)
    elif given:
        effects.wrap(call, given[0], "iterator")


def _next(effects: Effects, call: Call) -> None:
    given = effects.arguments(call)
    if given:
        effects.iteration.next(given[0], call.target, call.instance, call.place)
        effects.returns(call, given[1] if len(given) > 1 else None)


def _getattr(effects: Effects, call: Call) -> None:
    given = effects.arguments(call)
    if len(given) > 1:
        effects.named(call, given[0], given[1], call.target, stores=False)
        effects.returns(call, given[2] if len(given) > 2 else None)


def _hasattr(effects: Effects, call: Call) -> None:
    given = effects.arguments(call)
    if len(given) > 1:
        effects.named(call, given[0], given[1], effects.machine.sink, stores=False)


def _setattr(effects: Effects, call: Call) -> None:
    given = effects.arguments(call)
    if len(given) > 2:
        effects.named(call, given[0], given[1], given[2], stores=True)


def _type(effects: Effects, call: Call) -> None:
    given = effects.arguments(call)
    if len(given) == 1:
        effects.wrap(call, given[0], "type")
    elif len(given) > 2:
        made_class(effects, call, given)


def made_class(effects: Effects, call: Call, given: list[int]) -> None:
    """``type(name, bases, members)``"""
    unit, place = call.instance.unit, call.place
    shape = ClassShape(f"{unit.name}.<class>", "", unit.module, place[0], place=place)
    value = effects.classes.make(MakeClass(0, shape), call.instance)
    known = effects.classes.known[value]
    if not known.bases:
        parts = unpacked(effects, call, given[1], MOST_PARTS) if len(given) > 1 else []
        known.bases.extend([] for _ in parts)
        for position, part in enumerate(parts):
            effects.machine.use(part, Base(value, position), call.instance)
    for namespace in given[2:3]:
        effects.wrap(call, namespace, "namespace", other=value)
    effects.classes.give(value, call.target)


def _checked(name: str) -> Model:
    """``isinstance`` and ``issubclass``: what the metaclass says."""

    def model(effects: Effects, call: Call) -> None:
        given = effects.arguments(call)
        if len(given) > 1:
            effects.protocol(call, given[1], (name,), (given[0],))

    return model


def _super(effects: Effects, call: Call) -> None:
    given = effects.arguments(call)
    if len(given) > 1:
        machine = effects.machine
        for owner in sorted(machine.held[given[0]]):
            if owner in effects.classes.known:
                effects.wrap(call, given[1], "super", other=owner)


def _property(effects: Effects, call: Call) -> None:
    made = effects.wrapper(call, "property", "fget", effects.argument(call, 0, "fget"))
    for position, name in ((1, "fset"), (2, "fdel")):
        node = effects.argument(call, position, name)
        if node is not None:
            effects.machine.link(node, effects.machine.field(made, name))
    effects.answer(call, made)


def wraps_as(how: str) -> Model:
    """Return the model of a decorator that makes a descriptor."""

    def model(effects: Effects, call: Call) -> None:
        node = effects.argument(call, 0, "func")
        effects.answer(call, effects.wrapper(call, how, "func", node))

    return model


def _namespace(effects: Effects, call: Call) -> None:
    module = call.instance.unit.module
    effects.answer(call, effects.machine.values.get(Kind.NAMESPACE, module))


def _vars(effects: Effects, call: Call) -> None:
    if not call.invoke.arguments:
        _namespace(effects, call)
    for node in effects.arguments(call)[:1]:
        effects.wrap(call, node, "attributes")


def _dynamic(effects: Effects, call: Call) -> None:
    reason = f"{call.invoke.text} runs code that is not known before"
    effects.machine.unresolved(call.instance, call.place, reason)


def _import(effects: Effects, call: Call) -> None:
    node = effects.argument(call, 0, "name")
    if node is not None:
        effects.wrap(call, node, "module")


def _new(effects: Effects, call: Call) -> None:
    """``object.__new__(cls)``"""
    for node in effects.arguments(call)[:1]:
        effects.wrap(call, node, "fresh")


def _open(effects: Effects, call: Call) -> None:
    values = effects.machine.values
    effects.answer(call, values.get(Kind.RESULT, "io.TextIOWrapper", call.invoke.site))


def unpacked(effects: Effects, call: Call, node: int, count: int) -> list[int]:
    """Return absolute nodes for the parts of a node's values."""
    parts = [effects.machine.node() for _ in range(count)]
    targets = tuple(~part for part in parts)
    effects.machine.use(node, Unpack(~node, targets, -1, call.place), call.instance)
    return parts


BUILTINS: Mapping[str, Model] = {
    **{name: collect(name) for name in ("list", "tuple", "set", "frozenset")},
    "dict": mapping("dict"),
    "sorted": _ordered,
    "min": _ordered,
    "max": _ordered,
    "sum": _sum,
    "any": _each_truth,
    "all": _each_truth,
    "map": _map,
    "filter": _filter,
    "zip": _zip,
    "enumerate": _enumerate,
    "reversed": _reversed,
    "iter": _iter,
    "aiter": _iter,
    "next": _next,
    "anext": _next,
    "getattr": _getattr,
    "hasattr": _hasattr,
    "setattr": _setattr,
    "type": _type,
    "super": _super,
    "property": _property,
    "staticmethod": wraps_as("staticmethod"),
    "classmethod": wraps_as("classmethod"),
    "print": _print,
    "isinstance": _checked("__instancecheck__"),
    "issubclass": _checked("__subclasscheck__"),
    "len": asks("__len__", result="int"),
    "str": asks("__str__", "__repr__", result="str"),
    "repr": asks("__repr__", result="str"),
    "ascii": asks("__repr__", result="str"),
    "format": asks("__format__", "__str__", result="str"),
    "bytes": asks("__bytes__", result="bytes"),
    "bool": asks("__bool__", "__len__"),
    "hash": asks("__hash__", result="int"),
    "abs": asks("__abs__"),
    "int": asks("__int__", "__index__", result="int"),
    "float": asks("__float__", "__index__"),
    "complex": asks("__complex__", "__float__"),
    "round": asks("__round__"),
    "range": asks("__index__"),
    "divmod": asks("__divmod__"),
    "dir": asks("__dir__"),
    "open": _open,
    "input": lambda effects, call: effects.plain(call, "str"),
    "globals": _namespace,
    "locals": _vars,
    "vars": _vars,
    "exec": _dynamic,
    "eval": _dynamic,
    "__import__": _import,
    "object.__new__": _new,
    "dict.fromkeys": _from_keys,
}

__all__ = ["BUILTINS", "MAPPINGS", "Model", "collect", "fill_named", "mapping", "unpacked"]
