"""Values that models make of other values, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from tcstatic.program.callgraph.effects import Effects, Wrap
from tcstatic.program.callgraph.inheritance import is_module
from tcstatic.program.callgraph.machine import Instance
from tcstatic.program.callgraph.operations import Unpack
from tcstatic.program.callgraph.values import Kind, Value

OVERLOADS = "<overloads>"
_CALLABLE = (Kind.FUNCTION, Kind.BOUND, Kind.PARTIAL, Kind.CLASS, Kind.WRAPPED, Kind.INSTANCE)

_OPPOSITE = {"__lt__": "__ge__", "__le__": "__gt__", "__gt__": "__le__", "__ge__": "__lt__"}
"""Comparison -> the one that is its negation."""


@final
class Conversions:
    """Runs each `Wrap` by its name."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._machine = effects.machine
        effects.machine.handlers[Wrap] = self._wrap
        self._ways: dict[str, Callable[[Wrap, Instance, Value, Kind], None]] = {
            "manager": self._manager,
            "type": self._type,
            "iterator": self._iterator,
            "record": self._record,
            "callable": self._callable,
            "fresh": self._fresh,
            "super": self._super,
            "bind": self._bind,
            "module": self._module,
            "generic": self._generic,
            "overload": self._overload,
            "field": self._field,
            "contents": self._contents,
            "parametrize": self._parametrize,
            "inside": self._inside,
            "ordered": self._ordered,
            "namespace": self._namespace,
            "all inside": self._all_inside,
            "attributes": self._attributes,
            "member": self._member,
            "push": self._push,
            "raised": self._raised,
        }

    def _wrap(self, wrap: Wrap, instance: Instance, value: Value) -> None:
        self._ways[wrap.how](wrap, instance, value, self._machine.values.kind[value])

    def _manager(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        if kind is Kind.GENERATOR:
            index = self._machine.values.data[value][0]
            self._machine.add(wrap.target, self._machine.values.get(Kind.MANAGER, index))

    def _type(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        if kind is Kind.INSTANCE:
            self._machine.add(wrap.target, self._machine.values.data[value][0])
        elif kind is Kind.CLASS:
            self._machine.flow(wrap.target, self._effects.attributes.types(value))

    def _iterator(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        machine, items = self._machine, self._effects.items
        node = self._effects.iteration.iterator(value, instance, wrap.place)
        if node is not None:
            machine.link(node, wrap.target)
        elif items.is_dict(value):
            made = items.new("list", -3 - wrap.target, instance)
            machine.link(items.keys(value), items.rest(made))
            machine.add(wrap.target, made)
        else:
            machine.add(wrap.target, value)

    def _record(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        if kind is Kind.CLASS:
            self._effects.classes.known[value].is_record = True

    def _callable(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        if kind in _CALLABLE:
            self._machine.add(wrap.target, value)

    def _fresh(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        if kind is Kind.CLASS:
            made = self._effects.classes.object(value, -3 - wrap.target, instance)
            self._machine.add(wrap.target, made)

    def _super(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        if kind in (Kind.INSTANCE, Kind.CLASS):
            found = self._machine.values.get(Kind.SUPER, wrap.other, value)
            self._machine.add(wrap.target, found)

    def _bind(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        found = self._machine.values.get(Kind.BOUND, wrap.other, value)
        self._machine.add(wrap.target, found)

    def _module(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        if kind is not Kind.TEXT:
            return
        modules = self._machine.program.modules
        importer = modules.all[instance.unit.module]
        name = self._machine.values.data[value][0]
        found = modules.find(name, importer)
        if found is not None:
            self._machine.add(wrap.target, self._machine.values.get(Kind.MODULE, found.index))
        else:
            self._machine.add(wrap.target, self._machine.values.get(Kind.EXTERNAL, name))

    def _generic(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        """A function of functools.singledispatch."""
        self._machine.field(value, OVERLOADS)
        self._machine.add(wrap.target, value)

    def _overload(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        machine = self._machine
        if kind in (Kind.FUNCTION, Kind.BOUND):
            machine.add(machine.field(wrap.other, OVERLOADS), value)
            machine.add(wrap.target, value)
        else:
            register = machine.values.get(Kind.METHOD, "callable.register", wrap.other)
            machine.add(wrap.target, register)

    def _field(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        """Write an attribute past ``__setattr__``."""
        if kind is Kind.TEXT:
            name = self._machine.values.data[value][0]
            self._machine.link(wrap.target, self._machine.field(wrap.other, name))

    def _contents(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        """What lies in a list or dict that a container is made from."""
        if kind is Kind.ITEMS:
            self._machine.link(self._effects.items.all(value), wrap.target)
        elif kind is Kind.GENERATOR:
            node = self._effects.iteration.elements(value, instance, wrap.place)
            self._machine.link(node if node is not None else wrap.target, wrap.target)

    def _ordered(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        """``functools.total_ordering``: what a class lacks calls what it has, and ``==``."""
        classes, machine = self._effects.classes, self._machine
        if kind is not Kind.CLASS:
            return
        root = next((name for name in _OPPOSITE if classes.defines(value, name)), "")
        for name in _OPPOSITE if root else ():
            if not classes.defines(value, name):
                called = [root] if name == _OPPOSITE[root] else [root, "__eq__"]
                for other in called:
                    for node in classes.members(value, other):
                        machine.link(node, machine.field(value, name))
                classes.added(value, name)

    def _namespace(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        """What a dict holds are members of the class `other`."""
        if self._effects.items.is_dict(value):
            self._effects.items.namespace(value, wrap.other)

    def _attributes(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        """``vars(object)``"""
        if kind is Kind.INSTANCE:
            self._machine.add(wrap.target, self._effects.items.attributes(value))

    def _inside(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        """The modules that a module holds."""
        self._machine.link(self._modules(value, kind), wrap.target)

    def _all_inside(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        """A module, and all modules below it."""
        self._machine.link(self._below(value, kind), wrap.target)

    def _modules(self, value: Value, kind: Kind) -> int:
        """One node for all who ask which modules an object holds."""
        machine, items = self._machine, self._effects.items
        if "<modules>" not in machine.fields.get(value, {}):
            held = [items.all(value)]
            if kind is Kind.INSTANCE:
                held.append(items.all(items.attributes(value)))
            step = Wrap("member", machine.field(value, "<modules>"), (0, 0, 0, 0))
            for node in held:
                machine.use(node, step, machine.instances[0])
        return machine.field(value, "<modules>")

    def _below(self, value: Value, kind: Kind) -> int:
        """The same for an object itself, what it holds, what that holds, and so on."""
        machine = self._machine
        if "<all modules>" not in machine.fields.get(value, {}):
            node = machine.field(value, "<all modules>")
            machine.add(node, value)
            step = Wrap("all inside", node, (0, 0, 0, 0))
            machine.use(self._modules(value, kind), step, machine.instances[0])
        return machine.field(value, "<all modules>")

    def _member(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        data = self._machine.values.data[value]
        found = kind is Kind.RESULT and is_module(data[0])
        if kind is Kind.INSTANCE:
            bases = self._effects.classes.foreign(data[0])
            found = any(is_module(str(self._machine.values.data[base][0])) for base in bases)
        if found:
            self._machine.add(wrap.target, value)

    def _push(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        """A function of a library puts what `other` holds into a list."""
        if kind is Kind.ITEMS:
            self._machine.link(wrap.other, self._effects.items.rest(value))

    def _raised(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        """An exception of a class, of each class that derives from it, or of each of a tuple."""
        classes = self._effects.classes
        if kind is Kind.ITEMS:
            self._machine.use_once(self._effects.items.all(value), wrap, instance)
        elif kind is Kind.CLASS:
            for one in classes.below(value):
                made = classes.object(one, 0, classes.known[one].instance)
                self._machine.add(wrap.target, made)

    def _parametrize(self, wrap: Wrap, instance: Instance, value: Value, kind: Kind) -> None:
        """Rows of arguments of a test of pytest."""
        if kind is not Kind.FUNCTION:
            return
        machine, items = self._machine, self._effects.items
        unit, outer = machine.values.data[value]
        callee = machine.shared(machine.program.units[unit], machine.instances[outer])
        rows = items.item(wrap.other, "rows")
        for text in sorted(machine.held[items.item(wrap.other, "names")]):
            for names in self._names(text):
                nodes = [callee.unit.parameters.named.get(name) for name in names]
                targets = [machine.sink if node is None else callee.at(node) for node in nodes]
                if len(targets) == 1:
                    machine.link(rows, targets[0])
                    continue
                parts = tuple(~target for target in targets)
                machine.use_once(rows, Unpack(~rows, parts, -1, wrap.place), instance)

    def _names(self, value: Value) -> list[list[str]]:
        machine = self._machine
        kind, data = machine.values.kind[value], machine.values.data[value]
        if kind is Kind.TEXT:
            return [[name.strip() for name in data[0].split(",")]]
        items = self._effects.items
        positions = items.positions(value) if kind is Kind.ITEMS else []
        held = [sorted(machine.held[items.item(value, position)]) for position in positions]
        return [[str(machine.values.data[found[0]][0]) for found in held if found]]
