"""Operators and the other special methods that are called without a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from tcstatic.program.callgraph import operations as ops
from tcstatic.program.callgraph.attributes import Attributes
from tcstatic.program.callgraph.calls import Calls
from tcstatic.program.callgraph.expressions import FORMAT
from tcstatic.program.callgraph.items import Items
from tcstatic.program.callgraph.iteration import Iteration
from tcstatic.program.callgraph.machine import Instance, Machine
from tcstatic.program.callgraph.operations import Implicit, Invoke, Operate, Reflect
from tcstatic.program.callgraph.values import Kind, Value

if TYPE_CHECKING:
    from tcstatic.program.callgraph.construction import Construction
    from tcstatic.program.callgraph.subscripts import Subscripts

_ASKED = frozenset({Kind.INSTANCE, Kind.CLASS, Kind.RESULT, Kind.MANAGER, Kind.OPAQUE})


@final
class Operators:
    """Special methods by operator."""

    def __init__(
        self,
        machine: Machine,
        attributes: Attributes,
        calls: Calls,
        items: Items,
        iteration: Iteration,
        subscripts: Subscripts,
        construction: Construction,
    ) -> None:
        self._machine = machine
        self._attributes = attributes
        self._calls = calls
        self._items = items
        self._iteration = iteration
        self._subscripts = subscripts
        self._construction = construction
        machine.handlers.update(
            {Implicit: self._implicit, Operate: self._operate, Reflect: self._reflect}
        )
        machine.interests.update({Implicit: _ASKED, Reflect: _ASKED})

    def _implicit(self, operation: Implicit, instance: Instance, value: Value) -> None:
        machine, attributes = self._machine, self._attributes
        kind = machine.values.kind[value]
        first = operation.names[0]
        if first[0] != "_":
            self._statement(operation, instance, value, kind)
            return
        target = instance.at(operation.target)
        for name in operation.names:
            if attributes.has_method(value, name):
                method = attributes.method(value, name)
                given = tuple(instance.at(node) for node in operation.arguments)
                self._calls.implicit(method, given, target, instance, operation.place)
                return
        if first in ("__enter__", "__aenter__"):
            if kind is Kind.MANAGER:
                generator = machine.instances[machine.values.data[value][0]]
                machine.link(generator.at(ops.YIELDED), target)
            elif kind in (Kind.RESULT, Kind.OPAQUE, Kind.INSTANCE):
                machine.add(target, value)

    def _statement(self, operation: Implicit, instance: Instance, value: Value, kind: Kind) -> None:
        if kind is Kind.CLASS and operation.names == ("<raise>",):
            node = ~self._machine.sink
            site = self._calls.site("raise", operation.place, instance.unit.index)
            call = Invoke(node, (), (), (), node, operation.place, site, "", False)
            self._construction.call(call, instance, value)
        elif kind is Kind.INSTANCE and operation.names[0].startswith("del "):
            self._attributes.deleted(operation, instance, value)

    def _operate(self, operate: Operate, instance: Instance, value: Value) -> None:
        machine, attributes = self._machine, self._attributes
        for name in operate.names:
            if attributes.has_method(value, name):
                method = attributes.method(value, name)
                right, target = instance.at(operate.right), instance.at(operate.target)
                self._calls.implicit(method, (right,), target, instance, operate.place)
                return
        kind = machine.values.kind[value]
        if kind in (Kind.ITEMS, Kind.INSTANCE):
            self._containers(operate, instance, value)
        elif kind in (Kind.TEXT, Kind.PLAIN):
            self._text(operate, instance)
        elif kind in (Kind.RESULT, Kind.OPAQUE):
            attributes.opaque(instance.at(operate.target))

    def _text(self, operate: Operate, instance: Instance) -> None:
        machine = self._machine
        right, target = instance.at(operate.right), instance.at(operate.target)
        if operate.names[-1] == "__mod__":
            text = FORMAT[1:]
            operation = Implicit(~right, text, (), ~machine.sink, operate.place)
            machine.use(right, operation, instance)
            element = machine.node()
            machine.use(right, ops.Iterate(~right, ~element, False, operate.place), instance)
            operation = operation._replace(base=~element)
            machine.use(element, operation, instance)
        if operate.names[-1] in ("__mod__", "__add__", "__mul__"):
            machine.add(target, machine.values.get(Kind.PLAIN, "str"))

    def _containers(self, operate: Operate, instance: Instance, value: Value) -> None:
        machine, items = self._machine, self._items
        right, target = instance.at(operate.right), instance.at(operate.target)
        name = operate.names[0]
        if name in ("__iadd__", "__ior__"):
            self._subscripts.spread(right, value, instance)
            machine.add(target, value)
        elif name in ("__add__", "__or__", "__sub__", "__and__", "__xor__"):
            is_items = machine.values.kind[value] is Kind.ITEMS
            kind = machine.values.data[value][0] if is_items else "list"
            made = items.new(kind, -3 - target, instance)
            if items.is_dict(value):
                items.spill(value, made)
            else:
                length = items.lengths.get(value)
                for position in range(length or 0):
                    machine.link(items.item(value, position), items.item(made, position))
                machine.link(items.all(value) if length is None else items.rest(value),
                             items.rest(made))  # fmt: skip
            self._subscripts.spread(right, made, instance)
            machine.add(target, made)
        elif name in ("__mul__", "__imul__"):
            machine.add(target, value)

    def _reflect(self, operate: Reflect, instance: Instance, value: Value) -> None:
        machine, attributes = self._machine, self._attributes
        left = instance.at(operate.left)
        for name in operate.reflected:
            if attributes.has_method(value, name):
                for other in machine.held[left]:
                    if any(attributes.has_method(other, one) for one in operate.names):
                        return
                method = attributes.method(value, name)
                target = instance.at(operate.target)
                self._calls.implicit(method, (left,), target, instance, operate.place)
                return
