"""Members of classes on their way to who asked for them, and writes of attributes."""

from __future__ import annotations

from typing import NamedTuple, final

from tcstatic.program.callgraph.attributes import Attributes
from tcstatic.program.callgraph.calls import Calls
from tcstatic.program.callgraph.classes import Bind, Classes
from tcstatic.program.callgraph.machine import Instance, Machine
from tcstatic.program.callgraph.operations import Place, Store
from tcstatic.program.callgraph.values import Kind, Value

_STATIC = ("__new__", "__init_subclass__", "__class_getitem__")
PROPERTIES = frozenset({"property", "functools.cached_property"})
_FIXED = (Kind.TEXT, Kind.NUMBER, Kind.PLAIN, Kind.EXTERNAL, Kind.BUILTIN, Kind.OPAQUE)


class Getter(NamedTuple):
    """A function reads a property for all who access it in `node`."""

    node: int
    receiver: Value


class Receiver(NamedTuple):
    """A function gets its first argument on the way to `node`."""

    node: int
    receiver: Value


@final
class Descriptors:
    """Binding of methods, properties and the like; setters and deleters."""

    def __init__(
        self, machine: Machine, classes: Classes, attributes: Attributes, calls: Calls
    ) -> None:
        self._machine = machine
        self._classes = classes
        self._attributes = attributes
        self._calls = calls
        machine.handlers.update(
            {
                Bind: self._bind,
                Store: self._store,
                Getter: self._getter,
                Receiver: self._receiver,
            }
        )

    def _getter(self, getter: Getter, instance: Instance, value: Value) -> None:
        self._attributes.add_getter(getter.node, value, getter.receiver)

    def _receiver(self, step: Receiver, instance: Instance, value: Value) -> None:
        found = self._machine.values.get(Kind.BOUND, value, step.receiver)
        self._machine.add(step.node, found)

    def _bind(self, bind: Bind, instance: Instance, value: Value) -> None:
        machine = self._machine
        kind = machine.values.kind[value]
        if kind is Kind.FUNCTION:
            static = bind.name in _STATIC
            found = machine.values.get(Kind.BOUND, value, bind.receiver)
            machine.add(bind.node, found if bind.bound and not static else value)
        elif kind is Kind.WRAPPED:
            self._bind_wrapped(bind, value)
        elif kind is Kind.INSTANCE and self._attributes.has_method(value, "__get__"):
            self._attributes.add_getter(bind.node, value, bind.receiver)
        elif kind is Kind.INSTANCE and bind.bound and self._is_property(value):
            inner = machine.field(value, "fget")
            machine.use(inner, Getter(bind.node, bind.receiver), machine.instances[0])
        else:
            machine.add(bind.node, value)

    def _bind_wrapped(self, bind: Bind, value: Value) -> None:
        machine = self._machine
        how = machine.values.data[value][0]
        inner = machine.field(value, "fget" if how == "property" else "func")
        if how == "property":
            if bind.bound:
                machine.use(inner, Getter(bind.node, bind.receiver), machine.instances[0])
            else:
                machine.add(bind.node, value)
        elif how == "staticmethod":
            machine.link(inner, bind.node)
        elif how == "classmethod":
            is_class = machine.values.kind[bind.receiver] is Kind.CLASS
            owner = bind.receiver if is_class else machine.values.data[bind.receiver][0]
            machine.use(inner, Receiver(bind.node, owner), machine.instances[0])
        elif how == "manager":
            found = machine.values.get(Kind.BOUND, value, bind.receiver)
            machine.add(bind.node, found if bind.bound else value)
        elif bind.bound:
            machine.use(inner, Receiver(bind.node, bind.receiver), machine.instances[0])
        else:
            machine.link(inner, bind.node)

    def _is_property(self, value: Value) -> bool:
        values = self._machine.values
        bases = self._classes.foreign(values.data[value][0])
        return any(values.data[base][0] in PROPERTIES for base in bases)

    def _store(self, store: Store, instance: Instance, value: Value) -> None:
        machine = self._machine
        source = instance.at(store.source)
        kind = machine.values.kind[value]
        name = store.attribute
        if kind is Kind.MODULE:
            module = machine.program.modules.all[machine.values.data[value][0]]
            variable = module.variables.get(name)
            machine.link(source, machine.field(value, name) if variable is None else variable)
        elif kind in _FIXED:
            return
        elif kind is Kind.INSTANCE:
            self._store_object(store, instance, value, source)
        else:
            machine.link(source, machine.field(value, name))
            if kind is Kind.CLASS:
                self._classes.added(value, name)

    def _store_object(self, store: Store, instance: Instance, value: Value, source: int) -> None:
        machine = self._machine
        owner = machine.values.data[value][0]
        is_taken = False
        for node in self._classes.members(owner, store.attribute):
            for member in sorted(machine.held[node]):
                is_taken = self._set(member, value, instance, store.place, source) or is_taken
        if self._attributes.has_method(value, "__setattr__"):
            method = self._attributes.method(value, "__setattr__")
            key = machine.node()
            machine.add(key, machine.values.get(Kind.TEXT, store.attribute))
            self._calls.implicit(method, (key, source), machine.sink, instance, store.place)
        if not is_taken:
            machine.link(source, machine.field(value, store.attribute))
            self._attributes.items.stored(value, store.attribute)

    def _set(
        self, member: Value, value: Value, instance: Instance, place: Place, source: int
    ) -> bool:
        """Setters and ``__set__`` of what the class holds under the name, if it has one."""
        machine = self._machine
        kind = machine.values.kind[member]
        if kind is Kind.WRAPPED:
            setter = machine.fields.get(member, {}).get("fset")
            receiver = machine.node()
            machine.add(receiver, value)
            if setter is not None:
                self._calls.implicit(setter, (receiver, source), machine.sink, instance, place)
                return True
        elif kind is Kind.INSTANCE:
            setter = machine.fields.get(member, {}).get("fset")
            if self._attributes.has_method(member, "__set__"):
                setter = self._attributes.method(member, "__set__")
            elif not self._is_property(member):
                return False
            if setter is not None:
                receiver = machine.node()
                machine.add(receiver, value)
                self._calls.implicit(setter, (receiver, source), machine.sink, instance, place)
            return True
        return False
