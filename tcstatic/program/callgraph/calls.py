"""Calls: which code each callee means, and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, final

from tcstatic.program.callgraph import operations as ops
from tcstatic.program.callgraph.attributes import Attributes
from tcstatic.program.callgraph.binding import Binding
from tcstatic.program.callgraph.classes import Classes
from tcstatic.program.callgraph.decorations import Decorations
from tcstatic.program.callgraph.inheritance import handed, instantiated
from tcstatic.program.callgraph.machine import Instance, Machine
from tcstatic.program.callgraph.operations import Invoke, Place
from tcstatic.program.callgraph.values import Kind, Value

if TYPE_CHECKING:
    from tcstatic.program.callgraph.construction import Construction
    from tcstatic.program.callgraph.library import Library

MOST_PARTIALS = 100
"""Partials that one call applies, also by way of one another."""
_CALLED_BACK = (Kind.FUNCTION, Kind.BOUND, Kind.PARTIAL)


class Callback(NamedTuple):
    """A function is handed to a library, which may call it."""

    node: int
    place: Place
    site: int


@final
class Calls:
    """Applies callees to arguments."""

    def __init__(
        self, machine: Machine, classes: Classes, attributes: Attributes, binding: Binding
    ) -> None:
        self._machine = machine
        self._classes = classes
        self._attributes = attributes
        self._binding = binding
        self._decorations = Decorations(machine, classes)
        self.library: Library
        self.construction: Construction
        self.partials: dict[Value, Invoke] = {}
        self.methods: set[Value] = set()
        """Those of the partials whose first argument is the receiver, before the stored ones."""
        self._kept: set[tuple[str, int, int, int]] = set()
        self._implied: set[tuple[object, ...]] = set()
        self._is_callback = False
        self._roots: dict[int, int] = {}
        self._ways: dict[tuple[int, int], int] = {}
        self._sites: dict[tuple[object, ...], int] = {}
        machine.handlers[Invoke] = self.invoke
        machine.handlers[Callback] = self._callback
        machine.interests[Callback] = frozenset({*_CALLED_BACK, Kind.INSTANCE, Kind.CLASS})
        self._invoked: dict[Kind, Callable[[Invoke, Instance, Value], None]] = {
            Kind.FUNCTION: self._function,
            Kind.BOUND: self._bound,
            Kind.CLASS: self._class,
            Kind.INSTANCE: self._object,
            Kind.PARTIAL: self._partial,
            Kind.WRAPPED: self._wrapped,
            Kind.EXTERNAL: self._external,
            Kind.RESULT: self._result,
            Kind.OPAQUE: self._opaque,
            Kind.BUILTIN: self._builtin,
            Kind.METHOD: self._method,
            Kind.MANAGER: self._manager,
        }

    def invoke(self, call: Invoke, instance: Instance, value: Value) -> None:
        """Apply one callee."""
        handler = self._invoked.get(self._machine.values.kind[value])
        if handler is not None:
            handler(call, instance, value)

    def site(self, *key: object) -> int:
        """Return a number for a place that is made up during the analysis."""
        found = self._sites.get(key)
        if found is None:
            found = self._sites[key] = self._machine.program.site()
        return found

    def root(self, site: int) -> int:
        """Return the place in the source behind a derived one."""
        return self._roots.get(site, site)

    def derived(self, how: str, site: int, value: Value) -> int:
        """Return a number for what a call at a site is turned into."""
        root = self._roots.get(site, site)
        found = self.site(how, root, value)
        self._roots[found] = root
        return found

    def implicit(
        self,
        function: int,
        arguments: tuple[int, ...],
        target: int,
        instance: Instance,
        place: Place,
    ) -> None:
        """Have what an absolute node holds called with absolute nodes."""
        key = (function, arguments, target, instance.index, place)
        if key in self._implied:
            return
        self._implied.add(key)
        given = tuple(~node for node in arguments)
        site = self.site("implicit", function, instance.unit.index, place)
        call = Invoke(~function, given, (), (), ~target, place, site, "", False)
        self._machine.use(function, call, instance)

    def bound(
        self, getter: Value, receiver: Value, target: int, instance: Instance, place: Place
    ) -> None:
        """Call a getter of an attribute."""
        machine = self._machine
        node = machine.field(receiver, "<self>")
        machine.add(node, receiver)
        if machine.values.kind[getter] is Kind.INSTANCE:
            method = self._attributes.method(getter, "__get__")
            owner = machine.node()
            self.implicit(method, (node, owner), target, instance, place)
            return
        call = Invoke(~node, (), (), (), ~target, place, -1, "", False)
        self.receive(call, instance, getter, receiver)

    def receive(self, call: Invoke, instance: Instance, function: Value, receiver: Value) -> None:
        """Call a function with a first argument before those of the call."""
        if self._machine.values.kind[function] is Kind.FUNCTION:
            self._enter(call, instance, function, receiver)
            return
        first = self._machine.field(receiver, "<self>")
        self._machine.add(first, receiver)
        made = self._machine.absolute(call, instance)
        made = made._replace(
            arguments=(~first, *made.arguments),
            stars=tuple(star + 1 for star in call.stars),
            site=self.derived("receive", call.site, receiver),
        )
        self.invoke(made, instance, function)

    def callbacks(self, call: Invoke, instance: Instance) -> None:
        """Let a library call the functions that it is given."""
        key = ("callbacks", call.site, instance.index)
        if not call.site or key in self._implied:
            return
        self._implied.add(key)
        nodes = [*call.arguments, *(node for _, node in call.keywords)]
        for position, node in enumerate(nodes):
            site = self.site("callback", call.site, position)
            self._machine.use(instance.at(node), Callback(node, call.place, site), instance)

    def argument(
        self, call: Invoke, instance: Instance, position: int, name: str = ""
    ) -> int | None:
        """Return the absolute node of an argument, if it is given plainly."""
        if position >= 0 and position < min(call.stars, default=len(call.arguments)):
            return instance.at(call.arguments[position])
        for keyword, node in call.keywords:
            if keyword == name:
                return instance.at(node)
        return None

    def _function(self, call: Invoke, instance: Instance, value: Value) -> None:
        self._enter(call, instance, value, -1)
        overloads = self._machine.fields.get(value, {}).get("<overloads>")
        if overloads is not None:
            self._machine.use_once(overloads, self._machine.absolute(call, instance), instance)

    def _bound(self, call: Invoke, instance: Instance, value: Value) -> None:
        function, receiver = self._machine.values.data[value]
        self.receive(call, instance, function, receiver)

    def _enter(self, call: Invoke, instance: Instance, value: Value, receiver: Value) -> None:
        machine = self._machine
        index, outer = machine.values.data[value]
        unit = machine.program.units[index]
        if self._is_callback:
            # what it is given is not known: it is still to be entered from outside
            callee = machine.shared(unit, machine.instances[outer])
        else:
            callee = machine.callee(unit, machine.instances[outer], instance, call, receiver)
        machine.called(instance, call.place, unit.name)
        shift = 0
        if receiver >= 0:
            shift = 1
            positional = unit.parameters.positional
            if positional:
                machine.add(callee.at(positional[0][1]), receiver)
            else:
                self._binding.first(callee, receiver)
        self._binding.bind(call, instance, callee, shift)
        for store in unit.keeps:
            self._keep(store, call, instance, callee, receiver)
        target = instance.at(call.target)
        if unit.is_generator:
            machine.add(target, machine.values.get(Kind.GENERATOR, callee.index))
        elif unit.is_async:
            machine.add(target, machine.values.get(Kind.COROUTINE, callee.index))
        else:
            if call.decorates and call.arguments:
                self._decorations.result(call, instance, callee, target)
            else:
                machine.link(callee.at(ops.RESULT), target)
            self._pass(call, instance, callee, receiver, target)

    def _keep(
        self, store: ops.Store, call: Invoke, instance: Instance, callee: Instance, receiver: Value
    ) -> None:
        """What one call stores in its receiver does not mix with what other calls store."""
        given = self._binding.given(call, instance, callee, store.source, int(receiver >= 0))
        source = callee.at(store.source) if given is None else given
        made = store._replace(base=~callee.at(store.base), source=~source)
        if receiver >= 0:
            key = (made.attribute, source, receiver, callee.index)
            if key not in self._kept:
                self._kept.add(key)
                self._machine.handlers[ops.Store](made, callee, receiver)
            return
        base = self._binding.given(call, instance, callee, store.base, 0)
        node = callee.at(store.base) if base is None else base
        key = (made.attribute, source, -node, callee.index)
        if key not in self._kept:
            self._kept.add(key)
            self._machine.use(node, made, callee)

    def _pass(
        self, call: Invoke, instance: Instance, callee: Instance, receiver: Value, target: int
    ) -> None:
        """What is returned as it was given does not mix with what other calls give."""
        machine = self._machine
        for node in callee.unit.passes:
            given = self._binding.given(call, instance, callee, node, int(receiver >= 0))
            if given is not None:
                machine.link(given, target)
            elif receiver >= 0 and node == callee.unit.parameters.positional[0][1]:
                machine.add(target, receiver)
            else:
                machine.link(callee.at(node), target)

    def _class(self, call: Invoke, instance: Instance, value: Value) -> None:
        self.construction.call(call, instance, value)

    def _object(self, call: Invoke, instance: Instance, value: Value) -> None:
        machine, attributes = self._machine, self._attributes
        owner = machine.values.data[value][0]
        made = machine.absolute(call, instance)
        if attributes.has_method(value, "__call__"):
            machine.use_once(attributes.method(value, "__call__"), made, instance)
        elif self._classes.foreign(owner):
            # a library's base class calls forward: torch.nn.Module
            if attributes.has_method(value, "forward"):
                machine.use_once(attributes.method(value, "forward"), made, instance)
            else:
                self.library.call_contents(call, instance, value)

    def _partial(self, call: Invoke, instance: Instance, value: Value) -> None:
        root = self._roots.get(call.site, call.site)
        key = ("partial", root, value, instance.index)
        if key in self._implied or self._too_many(root, call, instance):
            # a partial of itself, or one that is reached in two ways
            return
        self._implied.add(key)
        stored = self.partials[value]
        made = self._machine.absolute(call, instance)
        shift = len(stored.arguments)
        given = {name for name, _ in made.keywords}
        old = tuple((name, node) for name, node in stored.keywords if name not in given)
        first = made.arguments[:1] if value in self.methods else ()
        made = made._replace(
            function=stored.function,
            arguments=(*first, *stored.arguments, *made.arguments[len(first) :]),
            stars=(*stored.stars, *(star + shift for star in made.stars)),
            keywords=(*old, *made.keywords),
            site=self.derived("partial", call.site, value),
        )
        self._machine.use_once(~stored.function, made, instance)

    def _too_many(self, root: int, call: Invoke, instance: Instance) -> bool:
        """Partials of partials multiply; past a number of them a call's callees are not known."""
        count = self._ways[root, instance.index] = self._ways.get((root, instance.index), 0) + 1
        if count > MOST_PARTIALS:
            reason = f"`{call.text}` calls more than {MOST_PARTIALS} partials"
            self._machine.unresolved(instance, call.place, reason)
        return count > MOST_PARTIALS

    def _wrapped(self, call: Invoke, instance: Instance, value: Value) -> None:
        how = self._machine.values.data[value][0]
        if how in ("staticmethod", "manager"):
            inner = self._machine.field(value, "func")
            made = self._machine.absolute(call, instance)
            if how == "manager":
                held = self._machine.node()
                made = made._replace(target=~held)
                self.library.manage(held, instance.at(call.target), instance)
            self._machine.use(inner, made, instance)

    def _external(self, call: Invoke, instance: Instance, value: Value) -> None:
        self.library.external(call, instance, self._machine.values.data[value][0])

    def _result(self, call: Invoke, instance: Instance, value: Value) -> None:
        """An object of a library's class is called."""
        path = self._machine.values.data[value][0]
        self._machine.called(instance, call.place, f"{path}.__call__")
        self.library.call_contents(call, instance, value)
        self._given_away(call, instance)

    def _opaque(self, call: Invoke, instance: Instance, value: Value) -> None:
        if not call.decorates:
            reason = f"`{call.text}` comes from a library"
            self._machine.unresolved(instance, call.place, reason)
        self._given_away(call, instance)

    def _given_away(self, call: Invoke, instance: Instance) -> None:
        self._attributes.opaque(instance.at(call.target))
        if not call.decorates:
            self.callbacks(call, instance)
        else:
            for argument in call.arguments:
                self._machine.link(instance.at(argument), instance.at(call.target))

    def _builtin(self, call: Invoke, instance: Instance, value: Value) -> None:
        name = self._machine.values.data[value][0]
        self._machine.called(instance, call.place, f"<builtin>.{name}")
        self.library.builtin(call, instance, name)

    def _method(self, call: Invoke, instance: Instance, value: Value) -> None:
        name, receiver = self._machine.values.data[value]
        self.library.method(call, instance, name, receiver)

    def _manager(self, call: Invoke, instance: Instance, value: Value) -> None:
        """A manager made by contextlib is a decorator, too."""
        if call.arguments:
            self._machine.link(instance.at(call.arguments[0]), instance.at(call.target))

    def _callback(self, callback: Callback, instance: Instance, value: Value) -> None:
        machine = self._machine
        if machine.values.kind[value] is Kind.INSTANCE:
            self._handed(callback, instance, value)
        elif machine.values.kind[value] is Kind.CLASS:
            if instantiated(self._foreign_names(value)):
                self._made(callback, instance, value)
        elif machine.values.kind[value] in _CALLED_BACK:
            node = machine.sink
            call = Invoke(~node, (), (), (), ~node, callback.place, callback.site, "", False)
            self._is_callback = True
            self.invoke(call, instance, value)
            self._is_callback = False

    def _handed(self, callback: Callback, instance: Instance, value: Value) -> None:
        """An object is handed to a library, which may call methods that it knows of."""
        machine, attributes = self._machine, self._attributes
        for names in handed(self._foreign_names(machine.values.data[value][0])):
            if all(attributes.has_method(value, name) for name in names):
                for name in names:
                    node = attributes.method(value, name)
                    site = self.site("handed", callback.site, name)
                    machine.use_once(node, Callback(node, callback.place, site), instance)

    def _made(self, callback: Callback, instance: Instance, value: Value) -> None:
        """A class is handed to a library, which makes objects of it and calls their methods."""
        machine = self._machine
        node = machine.field(value, "<made>")
        call = Invoke(~node, (), (), (), ~node, callback.place, callback.site, "", False)
        self.construction.construct(call, instance, value)
        machine.use_once(node, callback, instance)

    def _foreign_names(self, owner: Value) -> list[str]:
        data = self._machine.values.data
        return [str(data[base][0]) for base in self._classes.foreign(owner)]
