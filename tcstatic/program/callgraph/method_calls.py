"""What the methods of builtin types do."""

from __future__ import annotations

from collections.abc import Mapping

from tcstatic.program.callgraph.builtin_calls import fill_named
from tcstatic.program.callgraph.effects import Call, Effects
from tcstatic.program.callgraph.operations import GetItem, SetItem
from tcstatic.program.callgraph.text_calls import STRINGS, Method
from tcstatic.program.callgraph.values import Kind, Value

_ABSTRACT = ("collections.abc.", "collections.User", "typing.Mapping", "typing.MutableMapping")


def _append(effects: Effects, call: Call, value: Value) -> None:
    for node in effects.arguments(call)[:1]:
        effects.holds(value, None, node)


def _add(effects: Effects, call: Call, value: Value) -> None:
    _append(effects, call, value)
    for node in effects.arguments(call)[:1]:
        effects.subscripts.hash(node, call.instance, call.place)


def _insert(effects: Effects, call: Call, value: Value) -> None:
    effects.items.shuffle(value)
    for node in effects.arguments(call)[1:2]:
        effects.holds(value, None, node)


def _append_left(effects: Effects, call: Call, value: Value) -> None:
    effects.items.shuffle(value)
    _append(effects, call, value)


def _is_abstract(effects: Effects, value: Value) -> bool:
    """Return whether an object's class has only some of its methods from a library, which call
    the others."""
    values = effects.machine.values
    owner = effects.classes.class_of(value)
    bases = effects.classes.foreign(owner) if owner is not None else []
    return any(str(values.data[base][0]).startswith(_ABSTRACT) for base in bases)


def _asks(effects: Effects, call: Call, value: Value, name: str, *given: int) -> None:
    """Have a special method of an object called."""
    if effects.attributes.has_method(value, name):
        method, sink = effects.attributes.method(value, name), effects.machine.sink
        effects.calls.implicit(method, given, sink, call.instance, call.place)


def _updated(effects: Effects, call: Call, value: Value) -> None:
    if not _is_abstract(effects, value):
        _extend(effects, call, value)
        return
    made = effects.container(call, "dict", value)
    _extend(effects, call, made)
    _asks(effects, call, value, "__setitem__", effects.items.keys(made), effects.items.all(made))


def _extend(effects: Effects, call: Call, value: Value) -> None:
    for node in effects.arguments(call):
        effects.subscripts.spread(node, value, call.instance)
    if effects.items.is_dict(value) or call.invoke.keywords:
        fill_named(effects, call, value)


def _item(effects: Effects, call: Call, value: Value) -> None:
    """``get``, ``pop``, ``setdefault`` and ``__getitem__``"""
    given = effects.arguments(call)
    if not given:
        effects.machine.link(effects.items.all(value), call.target)
        return
    if not effects.items.is_dict(value) and effects.machine.values.kind[value] is Kind.ITEMS:
        effects.items.shuffle(value)
    key = given[0]
    get = GetItem(~key, ~key, None, ~call.target, call.place)
    effects.subscripts.get(get, call.instance, value)
    for default in given[1:2]:
        effects.returns(call, default)


def _pop(effects: Effects, call: Call, value: Value) -> None:
    is_abstract = _is_abstract(effects, value)
    if is_abstract:
        _asks(effects, call, value, "__delitem__", *effects.arguments(call)[:1])
    if is_abstract or effects.items.is_dict(value):
        _item(effects, call, value)
        return
    effects.items.shuffle(value)
    effects.machine.link(effects.items.all(value), call.target)


def _set_default(effects: Effects, call: Call, value: Value) -> None:
    _item(effects, call, value)
    _set_item(effects, call, value)


def _set_item(effects: Effects, call: Call, value: Value) -> None:
    given = effects.arguments(call)
    if len(given) > 1:
        key, source = given[0], given[1]
        store = SetItem(~key, ~key, None, ~source, call.place)
        effects.subscripts.set(store, call.instance, value)


def _of_own(effects: Effects, call: Call, value: Value) -> None:
    """The items of an object that says itself what they are."""
    given = effects.iteration.mapping(value, call.instance, call.place)
    if given is not None:
        effects.machine.link(given, effects.items.rest(value))


def _values(effects: Effects, call: Call, value: Value) -> None:
    _of_own(effects, call, value)
    made = effects.container(call, "list", value)
    effects.holds(made, None, effects.items.all(value))
    effects.answer(call, made)


def _keys(effects: Effects, call: Call, value: Value) -> None:
    made = effects.container(call, "list", value)
    effects.holds(made, None, effects.items.keys(value))
    effects.answer(call, made)


def _pairs(effects: Effects, call: Call, value: Value) -> None:
    _of_own(effects, call, value)
    row = _pair(effects, call, value)
    made = effects.container(call, "list", value)
    effects.machine.add(effects.items.rest(made), row)
    effects.answer(call, made)


def _pair(effects: Effects, call: Call, value: Value) -> Value:
    row = effects.container(call, "tuple", ~value)
    effects.holds(row, 0, effects.items.keys(value))
    effects.holds(row, 1, effects.items.all(value))
    effects.items.lengths[row] = 2
    return row


def _pop_item(effects: Effects, call: Call, value: Value) -> None:
    effects.answer(call, _pair(effects, call, value))


def _copy(effects: Effects, call: Call, value: Value) -> None:
    values = effects.machine.values
    is_items = values.kind[value] is Kind.ITEMS
    kind = str(values.data[value][0]) if is_items else "list"
    made = effects.container(call, kind, value)
    effects.items.spill(value, made)
    effects.answer(call, made)


def _sort(effects: Effects, call: Call, value: Value) -> None:
    effects.items.shuffle(value)
    elements = effects.items.all(value)
    key = effects.argument(call, -1, "key")
    if key is not None:
        elements = effects.apply(call, key, [elements])
    effects.protocol(call, elements, ("__lt__", "__gt__"), (elements,))


def _shuffled(effects: Effects, call: Call, value: Value) -> None:
    effects.items.shuffle(value)


def _compared(effects: Effects, call: Call, value: Value) -> None:
    for node in (effects.items.all(value), *effects.arguments(call)[:1]):
        effects.protocol(call, node, ("__eq__",))


def _combined(effects: Effects, call: Call, value: Value) -> None:
    _copy(effects, call, value)
    made = effects.container(call, "set", value)
    for node in effects.arguments(call):
        effects.subscripts.spread(node, made, call.instance)
    effects.answer(call, made)


def _next(effects: Effects, call: Call, value: Value) -> None:
    node = effects.iteration.elements(value, call.instance, call.place)
    effects.returns(call, node)


def _send(effects: Effects, call: Call, value: Value) -> None:
    machine = effects.machine
    if machine.values.kind[value] is Kind.GENERATOR:
        generator = machine.instances[machine.values.data[value][0]]
        for node in effects.arguments(call)[:1]:
            machine.link(node, generator.at(2))
        effects.returns(call, generator.at(1))


def _own(effects: Effects, call: Call, value: Value) -> None:
    effects.answer(call, value)


def _accessor(name: str) -> Method:
    """``@name.setter`` and the like"""

    def method(effects: Effects, call: Call, value: Value) -> None:
        for node in effects.arguments(call)[:1]:
            effects.machine.link(node, effects.machine.field(value, name))
        effects.answer(call, value)

    return method


def _bind(effects: Effects, call: Call, value: Value) -> None:
    """``function.__get__(object)``"""
    for node in effects.arguments(call)[:1]:
        effects.wrap(call, node, "bind", other=value)


def _initialised_property(effects: Effects, call: Call, value: Value) -> None:
    """``property.__init__(self, getter, setter, deleter)``"""
    for position, name in enumerate(("fget", "fset", "fdel")):
        node = effects.argument(call, position, name)
        if node is not None:
            effects.machine.link(node, effects.machine.field(value, name))


def _got_property(effects: Effects, call: Call, value: Value) -> None:
    """``property.__get__(self, object)``"""
    getter = effects.machine.field(value, "fget")
    effects.apply(call, getter, effects.arguments(call)[:1], call.target)


def _register(effects: Effects, call: Call, value: Value) -> None:
    """Another implementation of a generic function may be called in its place."""
    for node in effects.arguments(call):
        effects.wrap(call, node, "overload", other=value)
    if not call.invoke.arguments:
        effects.answer(call, effects.machine.values.get(Kind.METHOD, "callable.register", value))


def _construct(effects: Effects, call: Call, value: Value) -> None:
    if value in effects.classes.known:
        effects.construction.construct(call.invoke, call.instance, value)


def _subclasses(effects: Effects, call: Call, value: Value) -> None:
    made = effects.container(call, "list", value)
    for below in effects.classes.below(value)[1:]:
        effects.machine.add(effects.items.rest(made), below)
    effects.answer(call, made)


def _new(effects: Effects, call: Call, value: Value) -> None:
    """``super().__new__(cls)``"""
    given = effects.arguments(call)
    if given:
        effects.wrap(call, given[0], "fresh")
    elif value in effects.classes.known:
        effects.answer(call, effects.classes.object(value, call.invoke.site, call.instance))


def _read(effects: Effects, call: Call, value: Value) -> None:
    """``object.__getattribute__(self, name)``"""
    given = effects.arguments(call)
    if given:
        base = effects.machine.node()
        effects.machine.add(base, value)
        effects.named(call, base, given[-1], call.target, stores=False)


def _write(effects: Effects, call: Call, value: Value) -> None:
    """``super().__setattr__(name, value)``"""
    given = effects.arguments(call)
    if len(given) > 1:
        effects.wrap(call, given[-2], "field", given[-1], value)


_CONTAINERS: Mapping[str, Method] = {
    "append": _append,
    "appendleft": _append_left,
    "add": _add,
    "insert": _insert,
    "extend": _extend,
    "extendleft": _extend,
    "update": _updated,
    "__init__": _extend,
    "setdefault": _set_default,
    "get": _item,
    "__getitem__": _item,
    "__setitem__": _set_item,
    "pop": _pop,
    "popleft": _pop,
    "popitem": _pop_item,
    "values": _values,
    "keys": _keys,
    "items": _pairs,
    "copy": _copy,
    "__copy__": _copy,
    "sort": _sort,
    "reverse": _shuffled,
    "rotate": _shuffled,
    "remove": _compared,
    "index": _compared,
    "count": _compared,
    "discard": _compared,
    "union": _combined,
    "intersection": _combined,
    "difference": _combined,
    "symmetric_difference": _combined,
    "__next__": _next,
    "__iter__": _own,
    "__enter__": _own,
    "move_to_end": _shuffled,
    "most_common": _pairs,
}
_OTHERS: Mapping[str, Method] = {
    "generator.send": _send,
    "generator.__next__": _send,
    "generator.throw": _send,
    "generator.__iter__": _own,
    "coroutine.__await__": _own,
    "property.getter": _accessor("fget"),
    "property.setter": _accessor("fset"),
    "property.deleter": _accessor("fdel"),
    "property.__init__": _initialised_property,
    "property.__get__": _got_property,
    "function.__get__": _bind,
    "callable.register": _register,
    "type.__call__": _construct,
    "type.__subclasses__": _subclasses,
    "object.__new__": _new,
    "object.__getattribute__": _read,
    "object.__setattr__": _write,
    "dict.__getattribute__": _read,
    "dict.__setattr__": _write,
}


def method_model(name: str) -> Method | None:
    """Return the model of a method, by type and name."""
    found = _OTHERS.get(name)
    if found is not None:
        return found
    kind, _, method = name.rpartition(".")
    if method == "__new__":
        return _new
    if kind == "type" and method == "__call__":
        return _construct
    if kind in ("str", "bytes"):
        return STRINGS.get(method)
    return _CONTAINERS.get(method)
