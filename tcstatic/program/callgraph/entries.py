"""Code that nothing in the program calls: it may be called from outside."""

from __future__ import annotations

from typing import final

from tcstatic.program.callgraph.attributes import Attributes
from tcstatic.program.callgraph.classes import Classes
from tcstatic.program.callgraph.construction import Construction
from tcstatic.program.callgraph.fixtures import Fixtures
from tcstatic.program.callgraph.machine import Instance, Machine
from tcstatic.program.callgraph.operations import Invoke, Unit
from tcstatic.program.callgraph.values import Kind, Value

MOST_HEIRS = 24
"""Classes that inherit a method which nobody calls, and have one object each."""


@final
class Entries:
    """Enters functions that were not called, with what is known of their arguments."""

    def __init__(
        self,
        machine: Machine,
        classes: Classes,
        attributes: Attributes,
        construction: Construction,
    ) -> None:
        self._machine = machine
        self._classes = classes
        self._attributes = attributes
        self._construction = construction
        self._made: list[tuple[Value, Instance]] = []
        self._fixtures = Fixtures(machine)
        self._entered: set[int] = set()
        self._typed: set[tuple[int, int]] = set()

    def made(self, value: Value, instance: Instance) -> None:
        """Note a class whose bases may want to know of it."""
        self._made.append((value, instance))

    def enter(self) -> bool:
        """Enter what has not been entered yet; return whether there was anything."""
        return self._announce() or self._uncalled() or self._fixtures.link() or self._annotations()

    def _announce(self) -> bool:
        """``__init_subclass__``, ``__set_name__`` and metaclasses are called by a definition."""
        waiting, self._made = self._made, []
        machine = self._machine
        for value, instance in waiting:
            place = self._classes.known[value].shape.place
            receiver = machine.field(value, "<self>")
            machine.add(receiver, value)
            order = self._classes.order(value)
            calls = self._attributes.calls
            if len(order) > 1:
                for node in self._classes.members(value, "__init_subclass__", value):
                    calls.implicit(node, (receiver,), machine.sink, instance, place)
            for meta in self._attributes.types(value):
                for name in ("__new__", "__init__"):
                    for node in self._classes.members(meta, name):
                        unknown = tuple(machine.node() for _ in range(3))
                        given = (receiver, *unknown)
                        calls.implicit(node, given, machine.sink, instance, place)
            self._set_names(value, instance)
        return bool(waiting)

    def _set_names(self, value: Value, instance: Instance) -> None:
        machine, known = self._machine, self._classes.known[value]
        for name, node in known.shape.members.items():
            for member in sorted(machine.held[instance.at(node)]):
                if self._attributes.has_method(member, "__set_name__"):
                    method = self._attributes.method(member, "__set_name__")
                    given = machine.node(), machine.node()
                    machine.add(given[0], value)
                    machine.add(given[1], machine.values.get(Kind.TEXT, name))
                    calls, place = self._attributes.calls, known.shape.place
                    calls.implicit(method, given, machine.sink, instance, place)

    def _uncalled(self) -> bool:
        machine = self._machine
        found = False
        for unit in machine.program.units:
            is_open = unit.index not in machine.called_units and unit.index not in self._entered
            if unit.is_function and is_open:
                self._entered.add(unit.index)
                for _, outer in machine.closures.get(unit.index, ())[:1]:
                    found = True
                    self._enter(unit, machine.instances[outer])
        return found

    def _enter(self, unit: Unit, outer: Instance) -> None:
        machine = self._machine
        callee = self._shared(unit, outer)
        if unit.shape is None or not unit.parameters.positional or not unit.receiver:
            return
        owner = self._classes.value_of(unit.shape, outer)
        if owner not in self._classes.known:
            return
        receiver = callee.at(unit.parameters.positional[0][1])
        if unit.receiver == "class":
            machine.flow(receiver, self._classes.below(owner))
        else:
            machine.flow(receiver, self.objects(unit, owner, outer))

    def _shared(self, unit: Unit, outer: Instance) -> Instance:
        machine = self._machine
        callee = machine.shared(unit, outer)
        for store in unit.keeps:
            machine.use(callee.at(store.base), store, callee)
        return callee

    def objects(self, unit: Unit, owner: Value, outer: Instance) -> list[Value]:
        """Return the objects whose method it is; if none is made, one of each class."""
        name = unit.name.rpartition(".")[2]
        name = unit.shape.private(name) if unit.shape is not None else name
        nodes = self._classes.members(owner, name)
        below = self._classes.below(owner)
        heirs = [one for one in below if self._classes.members(one, name) == nodes] or [owner]
        found = [value for one in heirs for value in self._classes.known[one].objects]
        if found:
            return found
        return [self._generic(one, outer) for one in heirs[:MOST_HEIRS]]

    def _generic(self, owner: Value, instance: Instance) -> Value:
        machine = self._machine
        value = machine.values.get(Kind.INSTANCE, owner, 0, 0)
        objects = self._classes.known[owner].objects
        if value not in objects:
            objects.append(value)
            # its constructor is run by nobody, but it has what the constructor stores
            if self._attributes.has_method(value, "__init__"):
                for node in self._classes.members(owner, "__init__"):
                    for function in sorted(machine.held[node]):
                        self._construct(function, value)
        return value

    def _construct(self, function: Value, value: Value) -> None:
        machine = self._machine
        if machine.values.kind[function] is not Kind.FUNCTION:
            return
        index, outer = machine.values.data[function]
        unit = machine.program.units[index]
        callee = self._shared(unit, machine.instances[outer])
        if unit.parameters.positional:
            machine.add(callee.at(unit.parameters.positional[0][1]), value)

    def _annotations(self) -> bool:
        """What holds nothing at all may hold what its annotation says."""
        machine = self._machine
        found = False
        for instance in tuple(machine.instances):
            unit = instance.unit
            outer = instance.parent
            pairs = [(instance.at(t.target), instance.at(t.base)) for t in unit.typed]
            if outer is not None:
                for node, base in unit.parameters.typed:
                    pairs.append((instance.at(node), outer.at(base)))
            open_pairs = [pair for pair in pairs if pair not in self._typed]
            empty = {node for node, _ in open_pairs if not machine.held[node]}
            for node, base in open_pairs:
                if node in empty and machine.held[base]:
                    self._typed.add((node, base))
                    found = self._instances(node, base) or found
        return found

    def _instances(self, node: int, base: int) -> bool:
        machine = self._machine
        found = False
        for owner in sorted(machine.held[base]):
            known = self._classes.known.get(owner)
            if known is not None:
                objects = [o for one in self._classes.below(owner)
                           for o in self._classes.known[one].objects]  # fmt: skip
                machine.flow(node, objects or [self._generic(owner, known.instance)])
                found = True
            elif machine.values.kind[owner] is Kind.EXTERNAL:
                path = machine.values.data[owner][0]
                if path.rpartition(".")[2][:1].isupper():
                    machine.add(node, machine.values.get(Kind.RESULT, path, 0))
                    found = True
        return found


__all__ = ["Entries", "Invoke"]
