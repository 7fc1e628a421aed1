"""Calls of classes: ``__new__``, ``__init__``, metaclasses, dataclasses and the like."""

from __future__ import annotations

from typing import NamedTuple, final

from tcstatic.program.callgraph.attributes import Attributes
from tcstatic.program.callgraph.calls import Calls
from tcstatic.program.callgraph.classes import Classes
from tcstatic.program.callgraph.descriptors import PROPERTIES
from tcstatic.program.callgraph.items import Items
from tcstatic.program.callgraph.machine import Instance, Machine
from tcstatic.program.callgraph.operations import Invoke
from tcstatic.program.callgraph.subscripts import Subscripts
from tcstatic.program.callgraph.values import Value

_RECORDS = frozenset({"typing.NamedTuple", "pydantic.BaseModel"})
_CONTAINERS = frozenset({"list", "tuple", "set", "frozenset", "collections.deque"})
_MAPPINGS = frozenset({"dict", "collections.OrderedDict", "collections.defaultdict"})


class Initialise(NamedTuple):
    """What ``__new__`` returned is initialised, if it is of the class."""

    owner: Value
    call: Invoke


@final
class Construction:
    """Makes objects."""

    def __init__(
        self,
        machine: Machine,
        classes: Classes,
        attributes: Attributes,
        calls: Calls,
        items: Items,
        subscripts: Subscripts,
    ) -> None:
        self._machine = machine
        self._classes = classes
        self._attributes = attributes
        self._calls = calls
        self._items = items
        self._subscripts = subscripts
        machine.handlers[Initialise] = self._initialise

    def call(self, call: Invoke, instance: Instance, owner: Value) -> None:
        """``owner(...)``"""
        if self._attributes.has_method(owner, "__call__"):
            method = self._attributes.method(owner, "__call__")
            made = self._machine.absolute(call, instance)
            self._machine.use_once(method, made, instance)
        else:
            self.construct(call, instance, owner)

    def construct(self, call: Invoke, instance: Instance, owner: Value) -> None:
        """What ``type.__call__`` does."""
        machine, classes = self._machine, self._classes
        target = instance.at(call.target)
        if self._attributes.is_enumeration(owner):
            known = classes.known[owner]
            machine.add(target, classes.object(owner, 0, known.instance))
            machine.called(instance, call.place, known.shape.name)
            return
        if classes.defines(owner, "__new__"):
            receiver = machine.field(owner, "<self>")
            machine.add(receiver, owner)
            made = machine.absolute(call, instance)
            given = (~receiver, *made.arguments)
            stars = tuple(star + 1 for star in call.stars)
            new = made._replace(
                arguments=given, stars=stars, site=self._calls.derived("new", call.site, owner)
            )
            for node in classes.members(owner, "__new__"):
                machine.use_once(node, new, instance)
            machine.use_once(target, Initialise(owner, made), instance)
            return
        value = classes.object(owner, call.site, instance)
        machine.add(target, value)
        self.initialise(call, instance, value)

    def initialise(self, call: Invoke, instance: Instance, value: Value) -> None:
        """Call ``__init__``, or what stands for it."""
        machine, attributes = self._machine, self._attributes
        owner = machine.values.data[value][0]
        if attributes.has_method(value, "__init__"):
            made = machine.absolute(call, instance)._replace(target=~machine.sink)
            machine.use_once(attributes.method(value, "__init__"), made, instance)
            return
        if not self._classes.defines(owner, "__new__"):
            machine.called(instance, call.place, self._classes.known[owner].shape.name)
        if self._is_record(owner):
            self._fill(call, instance, value, owner)
        self._foreign(call, instance, value, owner)
        if attributes.has_method(value, "__post_init__"):
            method = attributes.method(value, "__post_init__")
            self._calls.implicit(method, (), machine.sink, instance, call.place)

    def _initialise(self, step: Initialise, instance: Instance, value: Value) -> None:
        owner = self._classes.class_of(value)
        if owner is not None and step.owner in self._classes.order(owner):
            self.initialise(step.call, instance, value)

    def _is_record(self, owner: Value) -> bool:
        values = self._machine.values
        order = self._classes.order(owner)
        known = self._classes.known
        return any(known[one].is_record for one in order if one in known) or any(
            values.data[one][0] in _RECORDS for one in order if one not in known
        )

    def _fill(self, call: Invoke, instance: Instance, value: Value, owner: Value) -> None:
        """Arguments become the annotated fields, those of base classes first."""
        names: dict[str, None] = {}
        for one in reversed(self._classes.order(owner)):
            known = self._classes.known.get(one)
            names.update(dict.fromkeys(known.shape.annotated if known else ()))
        fields = list(names)
        for position, name in enumerate(fields):
            node = self._calls.argument(call, instance, position, name)
            if node is not None:
                self._machine.link(node, self._machine.field(value, name))
                self._machine.link(node, self._items.item(value, position))
        for position in call.stars:
            node = instance.at(call.arguments[position])
            for name in fields[position:]:
                self._subscripts.spread(node, value, instance)
                self._machine.link(self._items.all(value), self._machine.field(value, name))
        for keyword, argument in call.keywords:
            if keyword is None:
                spread = self._items.new("dict", call.site, instance)
                self._subscripts.spread(instance.at(argument), spread, instance)
                for name in fields:
                    self._items.read(spread, name, self._machine.field(value, name))

    def _foreign(self, call: Invoke, instance: Instance, value: Value, owner: Value) -> None:
        """Objects of classes that derive from containers take their items."""
        values = self._machine.values
        for base in self._classes.foreign(owner):
            name = values.data[base][0]
            if name in _CONTAINERS and call.arguments:
                holder = self._items.new("list", call.site, instance)
                self._subscripts.spread(instance.at(call.arguments[0]), holder, instance)
                self._machine.link(self._items.all(holder), self._items.rest(value))
            elif name in _MAPPINGS:
                for argument in call.arguments:
                    holder = self._items.new("dict", call.site, instance)
                    self._subscripts.spread(instance.at(argument), holder, instance)
                    self._items.spill(holder, value)
                for keyword, argument in call.keywords:
                    node = self._items.item(value, keyword)
                    self._machine.link(instance.at(argument), node)
            elif name in PROPERTIES:
                self._property(call, instance, value)
            elif name.startswith("torch.nn.") or ".nn." in name:
                for argument in call.arguments:
                    self._machine.link(instance.at(argument), self._items.rest(value))

    def _property(self, call: Invoke, instance: Instance, value: Value) -> None:
        for position, name in enumerate(("fget", "fset", "fdel")):
            given = self._calls.argument(call, instance, position, name)
            if given is not None:
                self._machine.link(given, self._machine.field(value, name))
