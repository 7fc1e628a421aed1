"""What a decorator makes of a class."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, final

from tcstatic.program.callgraph import operations as ops
from tcstatic.program.callgraph.classes import Classes
from tcstatic.program.callgraph.machine import Instance, Machine
from tcstatic.program.callgraph.operations import Invoke
from tcstatic.program.callgraph.values import Kind, Value


class Decorated(NamedTuple):
    """A decorator gives something in the place of what it was given."""

    given: int
    target: int


@final
@dataclass(eq=False, slots=True)
class Decorator:
    """What a decorator has added to classes, by name, and the classes that it has decorated."""

    added: dict[str, int] = field(default_factory=dict)
    classes: dict[Value, None] = field(default_factory=dict)


@final
class Decorations:
    """Tells results of a decorator apart.

    One that has decorated many classes seems to give any of them. It gives the class itself, or
    one of its own module: those of elsewhere stand for the class itself, and what it adds to them
    it adds to all.
    """

    def __init__(self, machine: Machine, classes: Classes) -> None:
        self._machine = machine
        self._classes = classes
        self._decorators: dict[int, Decorator] = {}
        self._by_class: dict[Value, dict[int, None]] = {}
        machine.handlers[Decorated] = self._decorated
        classes.member_added = self._added

    def result(self, call: Invoke, instance: Instance, callee: Instance, target: int) -> None:
        """Have what a decorator returns be its result."""
        step = Decorated(instance.at(call.arguments[-1]), target)
        self._machine.use_once(callee.at(ops.RESULT), step, callee)

    def _decorated(self, step: Decorated, instance: Instance, value: Value) -> None:
        machine, known = self._machine, self._classes.known
        own = [given for given in sorted(machine.held[step.given]) if given in known]
        is_class = machine.values.kind[value] is Kind.CLASS
        if own and is_class and known[value].instance.unit.module != instance.unit.module:
            machine.link(step.given, step.target)
            for one in (value, *own):
                self._join(one, instance.unit.index)
        else:
            machine.add(step.target, value)

    def _join(self, owner: Value, unit: int) -> None:
        decorator = self._decorators.setdefault(unit, Decorator())
        if owner in decorator.classes:
            return
        decorator.classes[owner] = None
        self._by_class.setdefault(owner, {})[unit] = None
        for name in tuple(decorator.added):
            self._add(decorator, owner, name)
        for name in tuple(self._machine.fields.get(owner, ())):
            self._added(owner, name)

    def _added(self, owner: Value, name: str) -> None:
        machine = self._machine
        if not name.isidentifier() or name in self._classes.known[owner].shape.members:
            return
        for unit in tuple(self._by_class.get(owner, ())):
            decorator = self._decorators[unit]
            node = decorator.added.get(name)
            if node is not None:
                machine.link(machine.field(owner, name), node)
                continue
            node = decorator.added[name] = machine.node()
            machine.link(machine.field(owner, name), node)
            for one in tuple(decorator.classes):
                self._add(decorator, one, name)

    def _add(self, decorator: Decorator, owner: Value, name: str) -> None:
        """Have a class hold what the decorator adds, unless it defines that itself."""
        if name not in self._classes.known[owner].shape.members:
            node = self._machine.field(owner, name)
            self._machine.link(decorator.added[name], node)
            self._classes.added(owner, name)
