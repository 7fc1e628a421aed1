"""Containers: what lies in them, under constant keys where those are known.

A container has a node for each constant key, one for items with unknown keys (`REST`), and one
that all of them flow to (`ALL`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, final

from tcstatic.program.callgraph import operations as ops
from tcstatic.program.callgraph.classes import UNNAMED
from tcstatic.program.callgraph.machine import Instance, Machine
from tcstatic.program.callgraph.operations import Key
from tcstatic.program.callgraph.values import Kind, Value

ALL, REST, KEYS = "[*]", "[]", "[keys]"
MAPPINGS = frozenset({"dict", "collections.defaultdict", "collections.OrderedDict",
                      "collections.Counter", "collections.ChainMap"})  # fmt: skip
MOST_KEYS = 2_000
"""Items of one display that are told apart."""


class Moved(NamedTuple):
    """Once there are items with unknown keys, all items flow to the target."""

    base: Value
    target: int


@final
class Items:
    """What lies in containers."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._dictionaries: dict[Value, Value] = {}
        self._owners: dict[Value, Value] = {}
        self._spills: dict[Value, dict[Value, None]] = {}
        self._classes: dict[Value, dict[Value, None]] = {}
        self.member_added: Callable[[Value, str], None] = lambda owner, name: None
        self.lengths: dict[Value, int] = {}
        """How many items a list or tuple has when it is made."""
        machine.handlers[Moved] = self._moved

    def make(self, made: ops.MakeItems, instance: Instance) -> Value:
        """Return the container that a display makes in an instance."""
        machine = self._machine
        value = machine.values.get(Kind.ITEMS, made.kind, made.site, instance.index)
        is_row = made.kind in ("list", "tuple") and not made.spread
        if is_row and all(key is not None for key, _ in made.items):
            self.lengths[value] = len(made.items)
        many = len(made.items) > MOST_KEYS
        for key, node in made.items:
            machine.link(instance.at(node), self.item(value, None if many else key))
        for node in made.keys:
            machine.link(instance.at(node), self.keys(value))
        return value

    def new(self, kind: str, site: int, instance: Instance) -> Value:
        """Return a container that a library function makes at a place."""
        return self._machine.values.get(Kind.ITEMS, kind, site, instance.index)

    def item(self, value: Value, key: Key) -> int:
        """Return the node of the items with a key; None: of an unknown key."""
        name = REST if key is None else f"[{key!r}"
        fields = self._machine.fields.get(value)
        if fields is not None and name in fields:
            return fields[name]
        node = self._machine.field(value, name)
        self._machine.link(node, self.all(value))
        if value in self._owners and isinstance(key, str):
            self._machine.link(node, self._machine.field(self._owners[value], key))
        for target in tuple(self._spills.get(value, ())):
            self._machine.link(node, self.item(target, key))
        for owner in tuple(self._classes.get(value, ())):
            self._member(value, owner, key)
        return node

    def all(self, value: Value) -> int:
        """Return the node that all items flow to."""
        return self._machine.field(value, ALL)

    def rest(self, value: Value) -> int:
        """Return the node of items with unknown keys."""
        return self.item(value, None)

    def keys(self, value: Value) -> int:
        """Return the node of the keys of a dict."""
        return self._machine.field(value, KEYS)

    def constant_keys(self, value: Value) -> list[int | str]:
        """Return the constant keys that a container has so far."""
        found: list[int | str] = []
        for name in self._machine.fields.get(value, {}):
            if name.startswith("[") and name not in (ALL, REST, KEYS):
                quoted = name[1:2] in "'\""
                found.append(name[2:-1] if quoted else int(name[1:]))
        return found

    def is_dict(self, value: Value) -> bool:
        """Return whether iterating over a container gives its keys."""
        values = self._machine.values
        return values.kind[value] is Kind.ITEMS and values.data[value][0] in MAPPINGS

    def positions(self, value: Value) -> list[int]:
        """Return the constant positions that a container has so far."""
        return sorted(key for key in self.constant_keys(value) if isinstance(key, int))

    def read(self, value: Value, key: Key, target: int) -> None:
        """Have the items with a key flow to an absolute node."""
        machine = self._machine
        if isinstance(key, int) and key < 0:
            machine.use(self.rest(value), Moved(value, target), machine.instances[0])
            length = self.lengths.get(value)
            key = key + length if length is not None else None
        if key is None:
            machine.link(self.all(value), target)
        else:
            machine.link(self.item(value, key), target)
            machine.link(self.rest(value), target)

    def attributes(self, value: Value) -> Value:
        """Return the dict of the attributes of an object."""
        found = self._dictionaries.get(value)
        if found is None:
            found = self._machine.values.get(Kind.ITEMS, "dict", "attributes", value)
            self._dictionaries[value] = found
            self._owners[found] = value
            for name in tuple(self._machine.fields.get(value, ())):
                if name.isidentifier():
                    self.stored(value, name)
        return found

    def stored(self, value: Value, name: str) -> None:
        """Tell that an object has an attribute, for those who read its dict."""
        found = self._dictionaries.get(value)
        if found is not None:
            self._machine.link(self._machine.field(value, name), self.item(found, name))
            text = self._machine.values.get(Kind.TEXT, name)
            self._machine.add(self.keys(found), text)

    def namespace(self, value: Value, owner: Value) -> None:
        """Have a dict hold the members of a class."""
        owners = self._classes.setdefault(value, {})
        if owner not in owners:
            owners[owner] = None
            self._member(value, owner, None)
            for key in self.constant_keys(value):
                self._member(value, owner, key)

    def _member(self, value: Value, owner: Value, key: Key) -> None:
        if key is None:
            self._machine.link(self.rest(value), self._machine.field(owner, UNNAMED))
        elif isinstance(key, str):
            self._machine.link(self.item(value, key), self._machine.field(owner, key))
            self.member_added(owner, key)

    def shuffle(self, value: Value) -> None:
        """Have each item be at each place."""
        self._machine.link(self.all(value), self.rest(value))

    def spill(self, source: Value, target: Value) -> None:
        """Have all items of a container, with their keys, flow to another one."""
        machine = self._machine
        targets = self._spills.setdefault(source, {})
        if target in targets or source == target:
            return
        targets[target] = None
        machine.link(self.keys(source), self.keys(target))
        machine.link(self.rest(source), self.rest(target))
        for key in self.constant_keys(source):
            machine.link(self.item(source, key), self.item(target, key))

    def _moved(self, moved: Moved, instance: Instance, value: Value) -> None:
        self._machine.link(self.all(moved.base), moved.target)
