"""What models of builtins and libraries are made of."""

from __future__ import annotations

from typing import NamedTuple, final

from tcstatic.program.callgraph import operations as ops
from tcstatic.program.callgraph.attributes import Attributes
from tcstatic.program.callgraph.calls import Callback, Calls
from tcstatic.program.callgraph.classes import Classes
from tcstatic.program.callgraph.construction import Construction
from tcstatic.program.callgraph.items import Items
from tcstatic.program.callgraph.iteration import Iteration
from tcstatic.program.callgraph.machine import CALLED, Instance, Machine
from tcstatic.program.callgraph.operations import Invoke, Key, Place
from tcstatic.program.callgraph.subscripts import Subscripts
from tcstatic.program.callgraph.values import Kind, Value

DEEPEST = 4
"""Functions of libraries that apply functions of libraries: ``map(map, ...)``, and so on."""


class Named(NamedTuple):
    """An attribute whose name is a value: ``getattr`` and ``setattr``."""

    base: int
    node: int
    stores: bool
    place: Place


class Wrap(NamedTuple):
    """What is made of a value on its way to a node."""

    how: str
    target: int
    place: Place
    other: int = 0


@final
class Call(NamedTuple):
    """A call of something whose code is not part of the program."""

    invoke: Invoke
    instance: Instance

    @property
    def place(self) -> Place:
        """Where the call stands."""
        return self.invoke.place

    @property
    def target(self) -> int:
        """The absolute node that takes the result."""
        return self.instance.at(self.invoke.target)


@final
class Effects:
    """Everything that a model may do."""

    def __init__(
        self,
        machine: Machine,
        classes: Classes,
        attributes: Attributes,
        calls: Calls,
        items: Items,
        iteration: Iteration,
        subscripts: Subscripts,
        construction: Construction,
    ) -> None:
        self.machine = machine
        self.classes = classes
        self.attributes = attributes
        self.calls = calls
        self.items = items
        self.iteration = iteration
        self.subscripts = subscripts
        self.construction = construction
        machine.handlers[Named] = self._named
        machine.handlers[ops.Prefixed] = self._prefixed
        self._path = ""
        self._depths: dict[int, int] = {}
        self._elements: dict[tuple[int, int, Place, bool], int] = {}

    def argument(self, call: Call, position: int, name: str = "") -> int | None:
        """Return the absolute node of an argument, if there is one."""
        return self.calls.argument(call.invoke, call.instance, position, name)

    def arguments(self, call: Call, start: int = 0) -> list[int]:
        """Return the absolute nodes of the positional arguments; elements of unpacked ones."""
        found = []
        for position, node in enumerate(call.invoke.arguments):
            if position >= start:
                absolute = call.instance.at(node)
                is_star = position in call.invoke.stars
                found.append(self.elements(call, absolute) if is_star else absolute)
        return found

    def elements(self, call: Call, node: int, *, lazy: bool = False) -> int:
        """Return the absolute node with what iterating over a node's values gives."""
        key = (node, call.instance.index, call.place, lazy)
        target = self._elements.get(key)
        if target is None:
            target = self._elements[key] = self.machine.node()
            step = ops.Iterate(~node, ~target, False, call.place, lazy)
            self.machine.use(node, step, call.instance)
        return target

    def stream(self, call: Call, made: Value, node: int) -> int:
        """The same for an iterator that this call makes: who iterates over it asks for them."""
        self.iteration.laziness.over(made, node, call.instance)
        return self.elements(call, node, lazy=True)

    def defer(
        self,
        call: Call,
        made: Value,
        function: int,
        arguments: list[int],
        target: int | None = None,
    ) -> int:
        """Have a function called by an iterator that this call makes; return the absolute node of
        its result."""
        self.iteration.laziness.defer(made, function)
        return self.apply(call, function, arguments, target)

    def returns(self, call: Call, node: int | None) -> None:
        """Have what a node holds be the result."""
        if node is not None:
            self.machine.link(node, call.target)

    def answer(self, call: Call, value: Value) -> None:
        """Have a value be the result."""
        self.machine.add(call.target, value)

    def plain(self, call: Call, kind: str) -> None:
        """Have some value of a builtin type be the result."""
        self.answer(call, self.machine.values.get(Kind.PLAIN, kind))

    def container(self, call: Call, kind: str, tag: int = 0) -> Value:
        """Return a container that is made by this call."""
        site = self.calls.site("made", call.invoke.site, tag)
        return self.items.new(kind, site, call.instance)

    def holds(self, value: Value, key: Key, node: int) -> None:
        """Have a container hold what a node holds."""
        self.machine.link(node, self.items.item(value, key))

    def apply(
        self,
        call: Call,
        function: int,
        arguments: list[int],
        target: int | None = None,
        tag: int = 0,
    ) -> int:
        """Have a function called; return the absolute node of its result."""
        result = self.machine.node() if target is None else target
        given = tuple(~node for node in arguments)
        site = self.calls.site("applied", call.invoke.site, tag, call.instance.unit.index)
        depth = self._depths[site] = self._depths.get(self.calls.root(call.invoke.site), 0) + 1
        if depth > DEEPEST:
            return result
        made = Invoke(~function, given, (), (), ~result, call.place, site, "", False)
        self.machine.use(function, made, call.instance)
        return result

    def protocol(
        self,
        call: Call,
        node: int,
        names: tuple[str, ...],
        arguments: tuple[int, ...] = (),
        target: int | None = None,
    ) -> None:
        """Have the first special method of `names` that there is called on a node's values."""
        result = self.machine.sink if target is None else target
        given = tuple(~one for one in arguments)
        operation = ops.Implicit(~node, names, given, ~result, call.place)
        self.machine.use_once(node, operation, call.instance)

    def load(self, call: Call, node: int, name: str, target: int) -> None:
        """Have an attribute of a node's values flow to an absolute node."""
        self.machine.use(node, ops.Load(~node, name, ~target, call.place), call.instance)

    def named(self, call: Call, base: int, name: int, node: int, *, stores: bool) -> None:
        """Read or write the attributes whose names a node holds."""
        self.machine.use(name, Named(base, node, stores, call.place), call.instance)

    def call_back(self, call: Call, node: int, tag: int) -> None:
        """Have a function called with arguments that are not known."""
        site = self.calls.site("hook", call.invoke.site, tag, call.instance.unit.index)
        self.machine.use_once(node, Callback(node, call.place, site), call.instance)

    def wrap(
        self, call: Call, node: int, how: str, target: int | None = None, other: int = 0
    ) -> None:
        """Have something made of a node's values flow to the result."""
        result = call.target if target is None else target
        self.machine.use_once(node, Wrap(how, result, call.place, other), call.instance)

    def wrapper(self, call: Call, how: str, field: str, node: int | None) -> Value:
        """Return a descriptor, or the like, around a function."""
        value = self.machine.values.get(Kind.WRAPPED, how, call.invoke.site, call.instance.index)
        if node is not None:
            self.machine.link(node, self.machine.field(value, field))
        return value

    def partial(self, call: Call, function: int, start: int) -> Value:
        """Return a function with some arguments given already."""
        site, index = call.invoke.site, call.instance.index
        value = self.machine.values.get(Kind.PARTIAL, site, index)
        made = self.machine.absolute(call.invoke, call.instance)
        stars = tuple(star - start for star in made.stars if star >= start)
        self.machine.link(function, self.machine.field(value, CALLED))
        self.calls.partials[value] = made._replace(
            function=~function, arguments=made.arguments[start:], stars=stars
        )
        return value

    def _named(self, named: Named, instance: Instance, value: Value) -> None:
        values = self.machine.values
        if values.kind[value] is Kind.PLAIN and len(values.data[value]) > 1 and not named.stores:
            prefixed = ops.Prefixed(~named.base, values.data[value][1], ~named.node, named.place)
            self.machine.use_once(named.base, prefixed, instance)
        if values.kind[value] is not Kind.TEXT:
            return
        name = values.data[value][0]
        if named.stores:
            store = ops.Store(~named.base, name, ~named.node, named.place)
            self.machine.use(named.base, store, instance)
        else:
            load = ops.Load(~named.base, name, ~named.node, named.place)
            self.machine.use(named.base, load, instance)

    def _prefixed(self, prefixed: ops.Prefixed, instance: Instance, value: Value) -> None:
        """Read all attributes that the classes of a value define under such a name."""
        machine = self.machine
        kind = machine.values.kind[value]
        if kind is Kind.MODULE:
            names = set(machine.program.modules.all[machine.values.data[value][0]].variables)
        elif kind is Kind.CLASS or kind is Kind.INSTANCE:
            owner = self.classes.class_of(value)
            order = self.classes.order(value if owner is None else owner)
            names = {name for one in (value, *order) for name in machine.fields.get(one, ())}
        else:
            return
        for name in sorted(names):
            if name.startswith(prefixed.prefix):
                target = instance.at(prefixed.target)
                self.attributes.read(value, name, target, instance, prefixed.place)

    def enter(self, path: str) -> None:
        """Note which function of a library is modelled next."""
        self._path = path

    def path(self, call: Call) -> str:
        """Return the dotted path of the function that is modelled."""
        del call
        return self._path

    def bind_all(self, call: Call, functions: int, node: int) -> None:
        """``types.MethodType(function, object)``"""
        for function in sorted(self.machine.held[functions]):
            self.wrap(call, node, "bind", other=function)
