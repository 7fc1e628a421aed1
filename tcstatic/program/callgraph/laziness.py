"""Functions that lazy iterators call: not who makes such an iterator calls them, but who asks it
for elements, which may be by way of other iterators."""

from __future__ import annotations

from typing import NamedTuple, final

from tcstatic.program.callgraph.attributes import Attributes
from tcstatic.program.callgraph.classes import Classes
from tcstatic.program.callgraph.machine import CALLED, Instance, Machine
from tcstatic.program.callgraph.operations import Place
from tcstatic.program.callgraph.values import Kind, Value

LAZY = "<lazy>"
"""The field of an iterator with what it calls."""
_ITERATORS = ("map", "filter", "zip", "enumerate", "reversed", "callable_iterator", "itertools.")


class Advance(NamedTuple):
    """What an iterator calls is called at a place."""

    place: Place


class Source(NamedTuple):
    """An iterator is made from a value."""

    made: Value


@final
class Laziness:
    """What happens where an iterator is asked for elements."""

    def __init__(self, machine: Machine, classes: Classes, attributes: Attributes) -> None:
        self._machine = machine
        self._classes = classes
        self._attributes = attributes
        machine.handlers[Advance] = self._advanced
        machine.handlers[Source] = self._source
        machine.interests[Source] = frozenset({Kind.ITEMS, Kind.INSTANCE})

    def defer(self, made: Value, function: int) -> None:
        """Have an iterator call what an absolute node holds."""
        self._machine.link(function, self._machine.field(made, LAZY))

    def over(self, made: Value, node: int, instance: Instance) -> None:
        """Have an iterator ask the values of an absolute node for their elements."""
        self._machine.use_once(node, Source(made), instance)

    def advance(self, value: Value, instance: Instance, place: Place) -> None:
        """Have a container asked for an element at a place."""
        if self._is_iterator(value):
            self._machine.use_once(self._machine.field(value, LAZY), Advance(place), instance)

    def _is_iterator(self, value: Value) -> bool:
        values = self._machine.values
        return values.kind[value] is Kind.ITEMS and values.data[value][0].startswith(_ITERATORS)

    def _source(self, source: Source, instance: Instance, value: Value) -> None:
        machine = self._machine
        target = machine.field(source.made, LAZY)
        if self._is_iterator(value):
            machine.link(machine.field(value, LAZY), target)
        elif self._attributes.has_method(value, "__next__"):
            machine.link(self._attributes.method(value, "__next__"), target)

    def _advanced(self, advance: Advance, instance: Instance, value: Value) -> None:
        """Record the call alone: what is given and comes back is known from where the iterator
        was made."""
        machine, attributes = self._machine, self._attributes
        kind, data = machine.values.kind[value], machine.values.data[value]
        if kind is Kind.FUNCTION:
            machine.called(instance, advance.place, machine.program.units[data[0]].name)
        elif kind is Kind.BOUND:
            self._advanced(advance, instance, data[0])
        elif kind is Kind.PARTIAL:
            machine.use_once(machine.field(value, CALLED), advance, instance)
        elif kind is Kind.INSTANCE and attributes.has_method(value, "__call__"):
            machine.use_once(attributes.method(value, "__call__"), advance, instance)
        elif kind is Kind.CLASS:
            made = next((n for n in ("__new__", "__init__") if self._classes.defines(value, n)), "")
            for node in self._classes.members(value, made) if made else ():
                machine.use_once(node, advance, instance)
            if not made:
                name = self._classes.known[value].shape.name
                machine.called(instance, advance.place, name)
