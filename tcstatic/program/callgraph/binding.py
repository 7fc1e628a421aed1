"""Arguments of a call -> parameters of the instance that it enters."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, final

from tcstatic.program.callgraph.items import Items
from tcstatic.program.callgraph.machine import Instance, Machine
from tcstatic.program.callgraph.operations import Invoke, Place
from tcstatic.program.callgraph.values import Kind, Value

if TYPE_CHECKING:
    from tcstatic.program.callgraph.iteration import Iteration


class Spread(NamedTuple):
    """``*values`` from a position of the parameters on."""

    callee: Instance
    position: int


class SpreadNamed(NamedTuple):
    """``**values``"""

    callee: Instance
    bound: int
    place: Place


@final
class Binding:
    """Links arguments to parameters, once for each call and instance."""

    def __init__(self, machine: Machine, items: Items) -> None:
        self._machine = machine
        self._items = items
        self._done: set[tuple[object, ...]] = set()
        self.iteration: Iteration
        machine.handlers[Spread] = self._spread
        machine.handlers[SpreadNamed] = self._spread_named

    def bind(self, call: Invoke, caller: Instance, callee: Instance, shift: int) -> None:
        """Link the arguments; the first `shift` parameters are taken."""
        key = (call.site, call.arguments, call.target, caller.index, callee.index, shift)
        if key in self._done:
            return
        self._done.add(key)
        first_star = min(call.stars, default=len(call.arguments))
        for position, argument in enumerate(call.arguments):
            node = caller.at(argument)
            if position in call.stars:
                spread = Spread(callee, position + shift)
                self._machine.use(node, spread, caller)
            elif position < first_star:
                self._positional(callee, position + shift, node)
            else:
                for later in range(position + shift, len(callee.unit.parameters.positional)):
                    self._positional(callee, later, node)
                self._rest(callee, None, node)
        taken = first_star + shift
        for name, argument in call.keywords:
            node = caller.at(argument)
            if name is None:
                self._machine.use(node, SpreadNamed(callee, taken, call.place), caller)
            else:
                self.named(callee, name, node)

    def given(
        self, call: Invoke, caller: Instance, callee: Instance, parameter: int, shift: int
    ) -> int | None:
        """Return the absolute node of the argument for a parameter, if it is given plainly."""
        parameters = callee.unit.parameters
        for position, (_name, node) in enumerate(parameters.positional):
            if node == parameter:
                at = position - shift
                if 0 <= at < min(call.stars, default=len(call.arguments)):
                    return caller.at(call.arguments[at])
        for word, argument in call.keywords:
            if word is not None and parameters.named.get(word) == parameter:
                return caller.at(argument)
        return None

    def named(self, callee: Instance, name: str, node: int) -> None:
        """Link an argument that is given by name."""
        parameters = callee.unit.parameters
        found = parameters.named.get(name)
        if found is not None:
            self._machine.link(node, callee.at(found))
        elif parameters.rest_named is not None:
            holder = self._holder(callee, parameters.rest_named, "dict")
            self._machine.link(node, self._items.item(holder, name))
            key = self._machine.values.get(Kind.TEXT, name)
            self._machine.add(self._items.keys(holder), key)

    def _positional(self, callee: Instance, position: int, node: int) -> None:
        parameters = callee.unit.parameters
        if position < len(parameters.positional):
            self._machine.link(node, callee.at(parameters.positional[position][1]))
        else:
            self._rest(callee, position - len(parameters.positional), node)

    def _rest(self, callee: Instance, position: int | None, node: int) -> None:
        rest = callee.unit.parameters.rest
        if rest is not None:
            holder = self._holder(callee, rest, "tuple")
            self._machine.link(node, self._items.item(holder, position))

    def _holder(self, callee: Instance, parameter: int, kind: str) -> Value:
        """The tuple or dict that ``*rest`` and ``**rest`` are, one for each instance."""
        values = self._machine.values
        holder = values.get(Kind.ITEMS, kind, -1 if kind == "tuple" else -2, callee.index)
        self._machine.add(callee.at(parameter), holder)
        return holder

    def first(self, callee: Instance, value: Value) -> None:
        """The receiver of a method that takes all of its arguments as ``*rest``."""
        rest = callee.unit.parameters.rest
        if rest is not None:
            holder = self._holder(callee, rest, "tuple")
            self._machine.add(self._items.item(holder, 0), value)

    def _spread(self, spread: Spread, instance: Instance, value: Value) -> None:
        parameters = spread.callee.unit.parameters
        source = self.iteration.elements(value, instance, (0, 0, 0, 0))
        if source is None:
            return
        is_items = self._machine.values.kind[value] is Kind.ITEMS
        count = len(parameters.positional)
        for position in range(spread.position, count):
            target = spread.callee.at(parameters.positional[position][1])
            if is_items and not self._items.is_dict(value):
                self._items.read(value, position - spread.position, target)
            else:
                self._machine.link(source, target)
        if parameters.rest is None:
            return
        gap = max(count - spread.position, 0)
        before = max(spread.position - count, 0)
        positions = self._items.positions(value) if is_items else []
        for index in positions:
            if index >= gap:
                self._rest(spread.callee, index - gap + before, self._items.item(value, index))
        self._rest(spread.callee, None, self._items.rest(value) if positions else source)

    def _spread_named(self, spread: SpreadNamed, instance: Instance, value: Value) -> None:
        machine = self._machine
        if machine.values.kind[value] not in (Kind.ITEMS, Kind.INSTANCE):
            return
        parameters = spread.callee.unit.parameters
        given = self.iteration.mapping(value, instance, spread.place)
        taken = {name for name, _ in parameters.positional[: spread.bound]}
        for name, node in parameters.named.items():
            if name not in taken and given is not None:
                machine.link(given, spread.callee.at(node))
            elif name not in taken:
                self._items.read(value, name, spread.callee.at(node))
        if parameters.rest_named is not None:
            holder = self._holder(spread.callee, parameters.rest_named, "dict")
            self._items.spill(value, holder)
            if given is not None:
                machine.link(given, self._items.rest(holder))
