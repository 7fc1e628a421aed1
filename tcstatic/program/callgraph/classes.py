"""Classes: their bases, the order of their bases, and what is looked up in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, final

from tcstatic.program.callgraph.machine import Instance, Machine
from tcstatic.program.callgraph.operations import ClassShape, MakeClass
from tcstatic.program.callgraph.values import Kind, Value

MOST_INSTANCES = 24
"""Objects of one class that are told apart by where they are made."""
UNNAMED = "<members>"
"""The field of a class with members whose names are not known."""
MOST_UNNAMED = 16
"""Such members of a class, beyond which nothing is read from them."""
MOST_BASES = 12
"""Classes that one expression among the bases of a class may be."""
MANY_INSTANCES, FEW_INSTANCES = 2_000, 3
"""Where a program makes many objects of all classes together, how many of one class then are."""


@final
@dataclass(eq=False, slots=True)
class Class:
    """What is known of a class of the program."""

    value: Value
    shape: ClassShape
    instance: Instance
    bases: list[list[Value]]
    order: tuple[Value, ...] | None = None
    below: list[Value] = field(default_factory=list)
    watched: list[Watch] = field(default_factory=list)
    objects: list[Value] = field(default_factory=list)
    metaclasses: list[Value] = field(default_factory=list)
    is_record: bool = False
    """Whether its annotated fields are arguments of its constructor."""


@dataclass(eq=False, slots=True)
class Watch:
    """Someone wants the member `name` of a class in `node`, seen from `receiver`."""

    name: str
    receiver: Value
    node: int
    bound: bool
    seen: set[int] = field(default_factory=set)


class Base(NamedTuple):
    """A value is a base of a class."""

    owner: Value
    position: int


class Meta(NamedTuple):
    """A value is the metaclass of a class."""

    owner: Value


class Bind(NamedTuple):
    """A member of a class, on its way to whoever looked it up."""

    receiver: Value
    node: int
    bound: bool
    name: str


@final
class Classes:
    """All classes of the program."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.known: dict[Value, Class] = {}
        self._objects = 0
        self.member_added: Callable[[Value, str], None] = lambda owner, name: None
        self._finished: list[tuple[int, Value]] = []
        self._found: dict[tuple[Value, str, Value | None], list[int]] = {}
        machine.handlers[Base] = self._base
        machine.early |= {Base, Meta}
        machine.handlers[Meta] = self._meta

    def make(self, made: MakeClass, instance: Instance) -> Value:
        """Return the value of a class that is defined in an instance."""
        machine, shape = self._machine, made.shape
        value = machine.values.get(Kind.CLASS, shape.name, shape.path, shape.line, instance.index)
        if value in self.known:
            return value
        found = Class(value, shape, instance, [[] for _ in shape.bases])
        self.known[value] = found
        self._found.clear()
        for name, node in shape.members.items():
            machine.link(instance.at(node), machine.field(value, name))
        for position, node in enumerate(shape.bases):
            machine.use(instance.at(node), Base(value, position), instance)
        if shape.metaclass is not None:
            machine.use(instance.at(shape.metaclass), Meta(value), instance)
        return value

    def give(self, value: Value, target: int) -> None:
        """Have a class that a call made flow to a node, once it has all its members."""
        self._finished.append((target, value))

    def settle(self) -> bool:
        """Give the classes that wait for their members; return whether there were any."""
        waiting, self._finished = self._finished, []
        for target, value in waiting:
            self._machine.add(target, value)
        return bool(waiting)

    def value_of(self, shape: ClassShape, instance: Instance) -> Value:
        """Return the value that the class has when `instance` defines it."""
        return self._machine.values.get(
            Kind.CLASS, shape.name, shape.path, shape.line, instance.index
        )

    def class_of(self, value: Value) -> Value | None:
        """Return the class of an object."""
        if self._machine.values.kind[value] is Kind.INSTANCE:
            return int(self._machine.values.data[value][0])
        return None

    def object(self, owner: Value, site: int, instance: Instance) -> Value:
        """Return the object that a class makes at a place."""
        values = self._machine.values
        known = self.known[owner]
        key = (owner, site, instance.index)
        most = MOST_INSTANCES if self._objects < MANY_INSTANCES else FEW_INSTANCES
        if not values.knows(Kind.INSTANCE, *key) and len(known.objects) >= most:
            key = (owner, 0, 0)
        value = values.get(Kind.INSTANCE, *key)
        if value not in known.objects:
            known.objects.append(value)
            self._objects += 1
        return value

    def order(self, owner: Value) -> tuple[Value, ...]:
        """Return the class and all that it derives from, in the order of lookups."""
        known = self.known.get(owner)
        if known is None:
            return (owner,)
        if known.order is None:
            known.order = (owner,)
            bases = [base for found in known.bases for base in found]
            orders = [list(self.order(base)) for base in bases]
            known.order = (owner, *_merged([*orders, bases]))
        return known.order

    def members(self, owner: Value, name: str, after: Value | None = None) -> list[int]:
        """Return the nodes that the member may be in: up to the first class that defines it."""
        key = (owner, name, after)
        known_nodes = self._found.get(key)
        if known_nodes is None:
            known_nodes = self._found[key] = self._members(owner, name, after)
        return known_nodes

    def _members(self, owner: Value, name: str, after: Value | None) -> list[int]:
        found = []
        order = self.order(owner)
        if after is not None and after in order:
            order = order[order.index(after) + 1 :]
        for one in order:
            known = self.known.get(one)
            node = self._machine.fields.get(one, {}).get(name)
            if known is not None and node is not None:
                found.append(node)
                if name in known.shape.members:
                    break
        return found

    def defines(self, owner: Value, name: str) -> bool:
        """Return whether a class of the program among the bases has the member."""
        return bool(self.members(owner, name))

    def unnamed(self, owner: Value) -> list[int]:
        """Return the nodes of members whose names are not known, if there are few of them."""
        fields, held = self._machine.fields, self._machine.held
        nodes = (fields.get(one, {}).get(UNNAMED) for one in self.order(owner))
        return [node for node in nodes if node is not None and len(held[node]) <= MOST_UNNAMED]

    def foreign(self, owner: Value, after: Value | None = None) -> list[Value]:
        """Return the bases that are not of the program."""
        order = self.order(owner)
        if after is not None and after in order:
            order = order[order.index(after) + 1 :]
        return [one for one in order if one not in self.known]

    def watch(self, owner: Value, watch: Watch) -> None:
        """Have a member reach the watch's node, whatever bases turn up later."""
        known = self.known.get(owner)
        if known is not None:
            known.watched.append(watch)
            self._look(known, watch)

    def added(self, owner: Value, name: str) -> None:
        """Tell that a member was added to a class from outside."""
        self._found.clear()
        self.member_added(owner, name)
        for one in self._with_below(owner):
            known = self.known[one]
            for watch in known.watched:
                if watch.name == name:
                    self._look(known, watch)

    def below(self, owner: Value) -> list[Value]:
        """Return the class and all classes derived from it."""
        return self._with_below(owner)

    def _look(self, known: Class, watch: Watch) -> None:
        for node in self.members(known.value, watch.name):
            if node not in watch.seen:
                watch.seen.add(node)
                bind = Bind(watch.receiver, watch.node, watch.bound, watch.name)
                self._machine.use(node, bind, known.instance)

    def _base(self, base: Base, instance: Instance, value: Value) -> None:
        values = self._machine.values
        if values.kind[value] not in (Kind.CLASS, Kind.EXTERNAL, Kind.BUILTIN, Kind.RESULT):
            return
        known = self.known[base.owner]
        bases = known.bases[base.position]
        if value in bases or len(bases) >= MOST_BASES:
            return
        if value == base.owner or base.owner in self.order(value):
            return
        bases.append(value)
        bases.sort()
        if value in self.known:
            self.known[value].below.append(base.owner)
        self._reordered(base.owner)

    def _meta(self, meta: Meta, instance: Instance, value: Value) -> None:
        if value in self.known:
            self.known[meta.owner].metaclasses.append(value)

    def _reordered(self, owner: Value) -> None:
        changed = self._with_below(owner)
        self._found.clear()
        for one in changed:
            self.known[one].order = None
        for one in changed:
            known = self.known[one]
            for watch in known.watched:
                self._look(known, watch)

    def _with_below(self, owner: Value) -> list[Value]:
        found = {owner: None}
        waiting = [owner]
        while waiting:
            for one in self.known[waiting.pop()].below:
                if one not in found:
                    found[one] = None
                    waiting.append(one)
        return list(found)


def _merged(orders: Sequence[Sequence[Value]]) -> Iterable[Value]:
    """C3; where that has no answer, the first that is left."""
    waiting = [list(order) for order in orders if order]
    result: list[Value] = []
    while waiting:
        heads = (order[0] for order in waiting)
        tails = [set(order[1:]) for order in waiting]
        chosen = next((h for h in heads if not any(h in tail for tail in tails)), waiting[0][0])
        result.append(chosen)
        waiting = [left for order in waiting if (left := [v for v in order if v != chosen])]
    return result
