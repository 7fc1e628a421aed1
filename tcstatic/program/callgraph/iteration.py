"""``for``, ``await``, ``yield from``: what iterating over a value gives, and who is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, final

from tcstatic.program.callgraph import operations as ops
from tcstatic.program.callgraph.attributes import Attributes
from tcstatic.program.callgraph.classes import Classes
from tcstatic.program.callgraph.items import Items
from tcstatic.program.callgraph.laziness import Laziness
from tcstatic.program.callgraph.machine import Instance, Machine
from tcstatic.program.callgraph.operations import Place
from tcstatic.program.callgraph.values import Kind, Value

if TYPE_CHECKING:
    from tcstatic.program.callgraph.calls import Calls

_ITERATOR, _ELEMENT = "<iterator>", "<element>"


class Next(NamedTuple):
    """An iterator is asked for its next element."""

    target: int
    name: str
    place: Place


@final
class Iteration:
    """Iteration over any value."""

    def __init__(
        self,
        machine: Machine,
        classes: Classes,
        items: Items,
        attributes: Attributes,
        calls: Calls,
    ) -> None:
        self.laziness = Laziness(machine, classes, attributes)
        self._machine = machine
        self._classes = classes
        self._items = items
        self._attributes = attributes
        self._calls = calls
        machine.handlers.update(
            {
                ops.Iterate: self._iterate,
                ops.Await: self._await,
                ops.Delegate: self._delegate,
                Next: self._next,
            }
        )

    def elements(
        self,
        value: Value,
        instance: Instance,
        place: Place,
        prefix: str = "__",
        *,
        lazy: bool = False,
    ) -> int | None:
        """Return the absolute node with what iterating gives; None if nothing is known."""
        machine = self._machine
        kind = machine.values.kind[value]
        if kind is Kind.ITEMS:
            if not lazy:
                self.laziness.advance(value, instance, place)
            is_dict = self._items.is_dict(value)
            return self._items.keys(value) if is_dict else self._items.all(value)
        if kind is Kind.GENERATOR:
            return machine.instances[int(machine.values.data[value][0])].at(ops.YIELDED)
        if kind is Kind.RESULT and machine.values.data[value][1]:
            return self._items.all(value)
        if kind in (Kind.RESULT, Kind.OPAQUE):
            opaque = machine.values.get(Kind.OPAQUE)
            machine.add(machine.field(opaque, _ELEMENT), opaque)
            return machine.field(opaque, _ELEMENT)
        if kind is Kind.INSTANCE or (kind is Kind.CLASS and self._attributes.types(value)):
            return self._object(value, instance, place, prefix)
        if kind is Kind.CLASS and self._attributes.is_enumeration(value):
            node = machine.field(value, _ELEMENT)
            known = self._classes.known[value]
            machine.add(node, self._classes.object(value, 0, known.instance))
            return node
        return None

    def mapping(self, value: Value, instance: Instance, place: Place) -> int | None:
        """Return the absolute node with the items of an object that has ``__getitem__``, once
        all its keys were asked for; None for any other value."""
        machine, attributes = self._machine, self._attributes
        if machine.values.kind[value] is not Kind.INSTANCE:
            return None
        if not attributes.has_method(value, "__getitem__"):
            return None
        keys, key, items = (machine.field(value, f"<{name}>") for name in ("keys", "key", "items"))
        name = "keys" if attributes.has_method(value, "keys") else "__iter__"
        if attributes.has_method(value, name):
            self._calls.implicit(attributes.method(value, name), (), keys, instance, place)
        method = attributes.method(value, "__getitem__")
        self._calls.implicit(method, (key,), items, instance, place)
        return items

    def searched(self, value: Value, instance: Instance, place: Place) -> int | None:
        """Return the absolute node with what ``in`` compares; a mapping is asked for the key."""
        machine = self._machine
        owner = self._classes.class_of(value)
        bases = self._classes.foreign(owner) if owner is not None else []
        names = {str(machine.values.data[base][0]).rpartition(".")[2] for base in bases}
        is_mapping = bool(names & {"Mapping", "MutableMapping"})
        if not is_mapping or not self._attributes.has_method(value, "__getitem__"):
            return self.elements(value, instance, place)
        method = self._attributes.method(value, "__getitem__")
        key = machine.field(value, "<key>")
        self._calls.implicit(method, (key,), machine.sink, instance, place)
        return None

    def iterator(self, value: Value, instance: Instance, place: Place) -> int | None:
        """Return the absolute node with what ``iter(value)`` gives."""
        if not self._attributes.has_method(value, "__iter__"):
            return None
        node = self._machine.field(value, _ITERATOR)
        method = self._attributes.method(value, "__iter__")
        self._calls.implicit(method, (), node, instance, place)
        return node

    def next(self, node: int, target: int, instance: Instance, place: Place) -> None:
        """Have the next elements of the iterators in a node flow to an absolute node."""
        self._machine.use(node, Next(target, "__next__", place), instance)

    def _object(self, value: Value, instance: Instance, place: Place, prefix: str) -> int | None:
        machine, attributes = self._machine, self._attributes
        node = machine.field(value, _ELEMENT)
        if attributes.has_method(value, f"{prefix}iter__"):
            iterator = machine.field(value, _ITERATOR)
            method = attributes.method(value, f"{prefix}iter__")
            self._calls.implicit(method, (), iterator, instance, place)
            machine.use(iterator, Next(node, f"{prefix}next__", place), instance)
            return node
        if attributes.has_method(value, "__getitem__"):
            method = attributes.method(value, "__getitem__")
            self._calls.implicit(method, (machine.node(),), node, instance, place)
            return node
        owner = self._classes.class_of(value)
        bases = self._classes.foreign(owner) if owner is not None else []
        names = {str(machine.values.data[base][0]) for base in bases}
        keyed = names & {"dict", "collections.OrderedDict", "collections.UserDict"}
        return self._items.keys(value) if keyed else self._items.all(value)

    def _iterate(self, iterate: ops.Iterate, instance: Instance, value: Value) -> None:
        prefix = "__a" if iterate.waits else "__"
        node = self.elements(value, instance, iterate.place, prefix, lazy=iterate.lazy)
        if node is not None:
            self._machine.link(node, instance.at(iterate.target))

    def _next(self, step: Next, instance: Instance, value: Value) -> None:
        machine = self._machine
        if self._attributes.has_method(value, step.name):
            method = self._attributes.method(value, step.name)
            if step.name == "__anext__":
                awaited = machine.node()
                self._calls.implicit(method, (), awaited, instance, step.place)
                machine.use(awaited, ops.Await(~awaited, ~step.target, step.place), instance)
            else:
                self._calls.implicit(method, (), step.target, instance, step.place)
        elif machine.values.kind[value] is not Kind.INSTANCE:
            node = self.elements(value, instance, step.place)
            if node is not None:
                machine.link(node, step.target)

    def _await(self, wait: ops.Await, instance: Instance, value: Value) -> None:
        machine = self._machine
        kind = machine.values.kind[value]
        target = instance.at(wait.target)
        if kind is Kind.COROUTINE:
            result = machine.instances[machine.values.data[value][0]].at(ops.RESULT)
            machine.link(result, target)
        elif kind is Kind.INSTANCE and self._attributes.has_method(value, "__await__"):
            method = self._attributes.method(value, "__await__")
            made = machine.node()
            self._calls.implicit(method, (), made, instance, wait.place)
            machine.use(made, ops.Delegate(~made, ~target, wait.place), instance)
        elif kind is Kind.ITEMS:
            # what asyncio.gather makes
            machine.add(target, value)
        elif kind in (Kind.RESULT, Kind.OPAQUE):
            self._attributes.opaque(target)

    def _delegate(self, delegate: ops.Delegate, instance: Instance, value: Value) -> None:
        machine = self._machine
        if machine.values.kind[value] is Kind.GENERATOR:
            generator = machine.instances[machine.values.data[value][0]]
            target = instance.at(delegate.target)
            machine.link(generator.at(ops.RESULT), target)
            machine.link(instance.at(ops.SENT), generator.at(ops.SENT))
        elif machine.values.kind[value] is Kind.COROUTINE:
            self._await(ops.Await(delegate.base, delegate.target, delegate.place), instance, value)
