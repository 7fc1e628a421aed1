"""``base[key]``, slices, unpacking and ``in``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, final

from tcstatic.program.callgraph import operations as ops
from tcstatic.program.callgraph.attributes import Attributes
from tcstatic.program.callgraph.classes import Classes
from tcstatic.program.callgraph.items import Items
from tcstatic.program.callgraph.iteration import Iteration
from tcstatic.program.callgraph.machine import Instance, Machine
from tcstatic.program.callgraph.operations import Key, Place
from tcstatic.program.callgraph.values import Kind, Value

if TYPE_CHECKING:
    from tcstatic.program.callgraph.calls import Calls

EQUAL, HASH = ("__eq__",), ("__hash__",)
FACTORY = "<factory>"
"""The field of a container with what makes the items that are missing."""


class Keyed(NamedTuple):
    """A value is a key with which an item is read or written."""

    base: Value
    node: int
    stores: bool
    place: Place


class IsKey(NamedTuple):
    """What a node holds are keys."""

    node: int


@final
@dataclass(eq=False, slots=True)
class KeyUses:
    """What is known of the keys in a node, and what is read and written with them."""

    accesses: list[tuple[Keyed, Instance]] = field(default_factory=list)
    seen: set[Keyed] = field(default_factory=set)
    constants: list[int | str] = field(default_factory=list)
    objects: list[Value] = field(default_factory=list)
    is_any: bool = False


class Spill(NamedTuple):
    """What a value holds lies in a container, too."""

    target: Value


class Pair(NamedTuple):
    """A value is a pair of a key and an item that a dict is made from."""

    target: Value


@final
class Subscripts:
    """Reads and writes of items."""

    def __init__(
        self,
        machine: Machine,
        classes: Classes,
        items: Items,
        iteration: Iteration,
        attributes: Attributes,
        calls: Calls,
    ) -> None:
        self._machine = machine
        self._classes = classes
        self._items = items
        self._iteration = iteration
        self._attributes = attributes
        self._calls = calls
        self._keys: dict[int, KeyUses] = {}
        self.unkeyed: list[tuple[int, Keyed]] = []
        """Reads and writes with a key of which nothing is known yet."""
        machine.handlers.update(
            {
                ops.GetItem: self.get,
                ops.SetItem: self.set,
                ops.SetSlice: self._set_slice,
                ops.Slice: self._slice,
                ops.Unpack: self._unpack,
                ops.Contains: self._contains,
                IsKey: self._key,
                Spill: self._spill,
                Pair: self._pair,
            }
        )

    def settle(self) -> bool:
        """Let reads and writes with unknown keys be of any key."""
        waiting, self.unkeyed = self.unkeyed, []
        found = False
        for key, keyed in waiting:
            if not self._machine.held[key]:
                found = True
                self._any_key(keyed)
        return found

    def spread(self, node: int, target: Value, instance: Instance) -> None:
        """Have what is held by the values of an absolute node lie in a container, too."""
        self._machine.use_once(node, Spill(target), instance)

    def make(self, made: ops.MakeItems, instance: Instance) -> Value:
        """Return the container that a display makes; its keys are hashed."""
        value = self._items.make(made, instance)
        for node in made.spread:
            self.spread(instance.at(node), value, instance)
        for node in made.hashed:
            self.hash(instance.at(node), instance, (0, 0, 0, 0))
        return value

    def hash(self, node: int, instance: Instance, place: Place) -> None:
        """Have the special methods called that keys of dicts and members of sets need."""
        for names in (HASH, EQUAL):
            sink = ~self._machine.sink
            self._machine.use_once(node, ops.Implicit(~node, names, (), sink, place), instance)

    def is_container(self, value: Value) -> bool:
        """Return whether a value keeps its items here."""
        return self._machine.values.kind[value] in (Kind.ITEMS, Kind.INSTANCE, Kind.RESULT)

    def get(self, get: ops.GetItem, instance: Instance, value: Value) -> None:
        """``target = value[key]``"""
        machine = self._machine
        kind = machine.values.kind[value]
        target = instance.at(get.target)
        if kind is Kind.ITEMS:
            self._item(get, instance, value, target, stores=False)
            factory = machine.fields.get(value, {}).get(FACTORY)
            if factory is not None:
                rest = self._items.rest(value)
                self._calls.implicit(factory, (), rest, instance, get.place)
        elif kind is Kind.INSTANCE:
            self._object_item(get, instance, value, target)
        elif kind is Kind.RESULT:
            machine.link(self._items.all(value), target)
            self._attributes.opaque(target)
        elif kind is Kind.OPAQUE:
            machine.add(target, value)
        elif kind is Kind.NAMESPACE:
            self._variable(get.constant, value, target)
        elif kind is Kind.CLASS:
            self._class_item(get, instance, value, target)
        elif kind in (Kind.EXTERNAL, Kind.BUILTIN):
            machine.add(target, value)

    def _object_item(self, get: ops.GetItem, instance: Instance, value: Value, target: int) -> None:
        attributes, key = self._attributes, instance.at(get.key)
        name = "__getitem__" if attributes.has_method(value, "__getitem__") else "__missing__"
        if name == "__missing__":
            self._item(get, instance, value, target, stores=False)
        if attributes.has_method(value, name):
            method = attributes.method(value, name)
            self._calls.implicit(method, (key,), target, instance, get.place)

    def _class_item(self, get: ops.GetItem, instance: Instance, value: Value, target: int) -> None:
        machine = self._machine
        if self._attributes.is_enumeration(value):
            known = self._classes.known[value]
            machine.add(target, self._classes.object(value, 0, known.instance))
        elif self._classes.defines(value, "__class_getitem__"):
            receiver = machine.node()
            machine.add(receiver, value)
            key = instance.at(get.key)
            for node in self._classes.members(value, "__class_getitem__"):
                self._calls.implicit(node, (receiver, key), target, instance, get.place)
            if self._classes.foreign(value):
                # what super() gives is the class
                machine.add(target, value)
        elif self._attributes.has_method(value, "__getitem__"):
            method = self._attributes.method(value, "__getitem__")
            self._calls.implicit(method, (instance.at(get.key),), target, instance, get.place)
        else:
            machine.add(target, value)

    def _variable(self, key: Key, value: Value, target: int) -> None:
        module = self._machine.program.modules.all[self._machine.values.data[value][0]]
        for name, node in list(module.variables.items()):
            if key in (None, name):
                self._machine.link(node, target)

    def _item(
        self,
        access: ops.GetItem | ops.SetItem,
        instance: Instance,
        value: Value,
        node: int,
        *,
        stores: bool,
    ) -> None:
        keyed = Keyed(value, node, stores, access.place)
        if access.constant is not None:
            self._at_key(keyed, access.constant)
            return
        key = instance.at(access.key)
        uses = self._keys.get(key)
        if uses is None:
            uses = self._keys[key] = KeyUses()
            self._machine.use(key, IsKey(key), instance)
        if keyed in uses.seen:
            return
        uses.seen.add(keyed)
        uses.accesses.append((keyed, instance))
        if uses.is_any:
            self._any_key(keyed)
        else:
            for constant in uses.constants:
                self._at_key(keyed, constant)
            self.unkeyed.append((key, keyed))
        for value_of_key in uses.objects:
            self._hash_object(value_of_key, keyed, instance)

    def _key(self, step: IsKey, instance: Instance, value: Value) -> None:
        """A value is a key of all that is read or written with it."""
        values = self._machine.values
        kind = values.kind[value]
        uses = self._keys[step.node]
        if kind in (Kind.TEXT, Kind.NUMBER):
            key = values.data[value][0]
            if not uses.is_any and key not in uses.constants:
                uses.constants.append(key)
                for keyed, _ in tuple(uses.accesses):
                    self._at_key(keyed, key)
            return
        if not uses.is_any:
            uses.is_any = True
            for keyed, _ in tuple(uses.accesses):
                self._any_key(keyed)
        has = self._attributes.has_method
        if kind is Kind.INSTANCE and (has(value, "__hash__") or has(value, "__index__")):
            uses.objects.append(value)
            for keyed, reader in tuple(uses.accesses):
                self._hash_object(value, keyed, reader)

    def _hash_object(self, value: Value, keyed: Keyed, instance: Instance) -> None:
        is_items = self._machine.values.kind[keyed.base] is Kind.ITEMS
        is_row = is_items and not self._items.is_dict(keyed.base)
        for name in ("__index__",) if is_row else ("__hash__", "__eq__"):
            if self._attributes.has_method(value, name):
                method = self._attributes.method(value, name)
                self._calls.implicit(method, (), self._machine.sink, instance, keyed.place)

    def _at_key(self, keyed: Keyed, key: Key) -> None:
        if not keyed.stores:
            self._items.read(keyed.base, key, keyed.node)
        elif isinstance(key, int) and key < 0:
            self._machine.link(keyed.node, self._items.rest(keyed.base))
        else:
            self._machine.link(keyed.node, self._items.item(keyed.base, key))

    def _any_key(self, keyed: Keyed) -> None:
        if keyed.stores:
            self._machine.link(keyed.node, self._items.rest(keyed.base))
        else:
            self._machine.link(self._items.all(keyed.base), keyed.node)

    def set(self, store: ops.SetItem, instance: Instance, value: Value) -> None:
        """``value[key] = source``"""
        machine = self._machine
        kind = machine.values.kind[value]
        source, key = instance.at(store.source), instance.at(store.key)
        if kind is Kind.INSTANCE and self._attributes.has_method(value, "__setitem__"):
            method = self._attributes.method(value, "__setitem__")
            sink = machine.sink
            self._calls.implicit(method, (key, source), sink, instance, store.place)
        elif kind in (Kind.ITEMS, Kind.INSTANCE):
            self._item(store, instance, value, source, stores=True)
            machine.link(key, self._items.keys(value))
        elif kind is Kind.RESULT and machine.values.data[value][1]:
            machine.link(source, self._items.rest(value))
        elif kind is Kind.NAMESPACE and isinstance(store.constant, str):
            module = machine.program.modules.all[machine.values.data[value][0]]
            if store.constant in module.variables:
                machine.link(source, module.variables[store.constant])

    def _set_slice(self, store: ops.SetSlice, instance: Instance, value: Value) -> None:
        kind = self._machine.values.kind[value]
        source = instance.at(store.source)
        if kind is Kind.INSTANCE and self._attributes.has_method(value, "__setitem__"):
            method = self._attributes.method(value, "__setitem__")
            given = (instance.at(store.key), source)
            self._calls.implicit(method, given, self._machine.sink, instance, store.place)
        elif kind in (Kind.ITEMS, Kind.INSTANCE):
            self.spread(source, value, instance)

    def _slice(self, cut: ops.Slice, instance: Instance, value: Value) -> None:
        machine, items = self._machine, self._items
        kind = machine.values.kind[value]
        target = instance.at(cut.target)
        if kind in (Kind.TEXT, Kind.PLAIN):
            machine.add(target, machine.values.get(Kind.PLAIN, "str"))
        elif kind is Kind.INSTANCE and self._attributes.has_method(value, "__getitem__"):
            method = self._attributes.method(value, "__getitem__")
            self._calls.implicit(method, (machine.node(),), target, instance, cut.place)
        elif kind in (Kind.RESULT, Kind.OPAQUE):
            self._attributes.opaque(target)
        elif kind in (Kind.ITEMS, Kind.INSTANCE):
            name = machine.values.data[value][0] if kind is Kind.ITEMS else "list"
            made = items.new(name, -3 - target, instance)
            length = items.lengths.get(value)
            if cut.known and length is not None:
                first, last, _ = slice(cut.lower, cut.upper).indices(length)
                for position in range(first, last):
                    machine.link(items.item(value, position), items.item(made, position - first))
                items.lengths[made] = max(last - first, 0)
                machine.link(items.rest(value), items.rest(made))
            else:
                machine.link(items.all(value), items.rest(made))
            machine.add(target, made)

    def _unpack(self, unpack: ops.Unpack, instance: Instance, value: Value) -> None:
        machine, items = self._machine, self._items
        targets = [instance.at(node) for node in unpack.targets]
        star, count = unpack.star, len(targets)
        if machine.values.kind[value] is not Kind.ITEMS or items.is_dict(value):
            node = self._iteration.elements(value, instance, unpack.place)
            for position, target in enumerate(targets) if node is not None else ():
                assert node is not None
                if position == star:
                    made = items.new("list", -3 - target, instance)
                    machine.link(node, items.rest(made))
                    machine.add(target, made)
                else:
                    machine.link(node, target)
            return
        for position, target in enumerate(targets):
            if star < 0 or position < star:
                items.read(value, position, target)
            elif position > star:
                items.read(value, position - count, target)
            else:
                self._starred(value, star, count - star - 1, target, instance)

    def _starred(
        self, value: Value, before: int, after: int, target: int, instance: Instance
    ) -> None:
        machine, items = self._machine, self._items
        made = items.new("list", -3 - target, instance)
        length = items.lengths.get(value)
        if length is None:
            machine.link(items.all(value), items.rest(made))
        else:
            for position in range(before, length - after):
                machine.link(items.item(value, position), items.item(made, position - before))
            items.lengths[made] = max(length - after - before, 0)
            machine.link(items.rest(value), items.rest(made))
        machine.add(target, made)

    def _contains(self, contains: ops.Contains, instance: Instance, value: Value) -> None:
        machine = self._machine
        item = instance.at(contains.item)
        if self._attributes.has_method(value, "__contains__"):
            method = self._attributes.method(value, "__contains__")
            sink = machine.sink
            self._calls.implicit(method, (item,), sink, instance, contains.place)
            return
        node = self._iteration.searched(value, instance, contains.place)
        for compared in (item, node):
            if compared is not None:
                equal = ops.Implicit(~compared, EQUAL, (), ~machine.sink, contains.place)
                machine.use(compared, equal, instance)
        is_items = machine.values.kind[value] is Kind.ITEMS
        if is_items and (self._items.is_dict(value) or machine.values.data[value][0] == "set"):
            self.hash(item, instance, contains.place)

    def _pair(self, pair: Pair, instance: Instance, value: Value) -> None:
        """``dict([(key, item)])``; a Counter takes what it is given as keys."""
        machine, items = self._machine, self._items
        if machine.values.data[pair.target][0] == "collections.Counter":
            machine.add(items.keys(pair.target), value)
        elif machine.values.kind[value] is Kind.ITEMS:
            items.read(value, 0, items.keys(pair.target))
            items.read(value, 1, items.rest(pair.target))

    def _spill(self, spill: Spill, instance: Instance, value: Value) -> None:
        machine = self._machine
        if self._items.is_dict(spill.target):
            is_row = machine.values.kind[value] in (Kind.ITEMS, Kind.GENERATOR)
            if is_row and not self._items.is_dict(value):
                node = self._iteration.elements(value, instance, (0, 0, 0, 0))
                assert node is not None
                machine.use_once(node, Pair(spill.target), instance)
            elif self.is_container(value):
                self._items.spill(value, spill.target)
            return
        node = self._iteration.elements(value, instance, (0, 0, 0, 0))
        if node is not None:
            machine.link(node, self._items.rest(spill.target))
