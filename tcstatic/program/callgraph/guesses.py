"""Methods of objects of which nothing at all is known: found by a name that few classes have.
What is decorated by something unknown stays what it is."""

from __future__ import annotations

from typing import final

from tcstatic.program.callgraph.classes import Classes
from tcstatic.program.callgraph.entries import Entries
from tcstatic.program.callgraph.machine import Instance, Machine
from tcstatic.program.callgraph.method_calls import method_model
from tcstatic.program.callgraph.operations import Invoke, Load, Unit
from tcstatic.program.callgraph.values import Kind

MOST_CLASSES = 3
"""Classes with a method of the name, beyond which the name says nothing."""


@final
class Guesses:
    """Lets a call of a method on an unknown object be one of the methods of that name."""

    def __init__(self, machine: Machine, classes: Classes, entries: Entries) -> None:
        self._machine = machine
        self._classes = classes
        self._entries = entries
        self._is_done = False

    def make(self) -> bool:
        """Guess, once; return whether anything is new."""
        if self._is_done:
            return False
        self._is_done = True
        methods = self._methods()
        found = False
        for instance in tuple(self._machine.instances):
            for load in instance.unit.operations:
                if isinstance(load, Invoke) and load.decorates and load.arguments:
                    found = self._undecorated(load, instance) or found
                if not isinstance(load, Load) or not load.called or load.attribute not in methods:
                    continue
                base, target = instance.at(load.base), instance.at(load.target)
                if not self._machine.held[base] and not self._machine.held[target]:
                    found = True
                    for unit in methods[load.attribute]:
                        self._offer(unit, target)
        return found

    def _undecorated(self, call: Invoke, instance: Instance) -> bool:
        """What a decorator gives of which nothing is known is what it was given."""
        given, target = instance.at(call.arguments[-1]), instance.at(call.target)
        if self._machine.held[target] or not self._machine.held[given]:
            return False
        self._machine.link(given, target)
        return True

    def _methods(self) -> dict[str, list[Unit]]:
        found: dict[str, list[Unit]] = {}
        for unit in self._machine.program.units:
            name = unit.name.rpartition(".")[2]
            if unit.shape is not None and unit.receiver == "object" and name[:2] != "__":
                found.setdefault(name, []).append(unit)
        return {
            name: units
            for name, units in found.items()
            if len(units) <= MOST_CLASSES
            and method_model(f"list.{name}") is None
            and method_model(f"str.{name}") is None
        }

    def _offer(self, unit: Unit, target: int) -> None:
        machine = self._machine
        for function, outer in machine.closures.get(unit.index, ())[:1]:
            assert unit.shape is not None
            instance = machine.instances[outer]
            owner = self._classes.value_of(unit.shape, instance)
            if owner in self._classes.known:
                for receiver in self._entries.objects(unit, owner, instance):
                    machine.add(target, machine.values.get(Kind.BOUND, function, receiver))
