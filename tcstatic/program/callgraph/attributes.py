"""Attributes: modules, objects, classes, ``super()``, descriptors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

from tcstatic.program.callgraph.classes import Bind, Classes, Watch
from tcstatic.program.callgraph.inheritance import inherited
from tcstatic.program.callgraph.items import Items
from tcstatic.program.callgraph.machine import Instance, Machine
from tcstatic.program.callgraph.module_attributes import load_module
from tcstatic.program.callgraph.operations import Implicit, Load, Place, Super
from tcstatic.program.callgraph.values import Kind, Value

if TYPE_CHECKING:
    from tcstatic.program.callgraph.calls import Calls

DEEPEST_PATH = 8
CONTAINERS = (
    "collections.",
    "torch.nn.modules.container.",
    "typing.Mapping.",
    "typing.MutableMapping.",
)
"""Classes of libraries whose methods work on what their objects hold."""
_SILENT = frozenset({"__name__", "__doc__", "__module__", "__qualname__", "__file__", "__dict__"})
_FIXED = frozenset({Kind.TEXT, Kind.NUMBER, Kind.PLAIN})
_TYPED = {
    Kind.TEXT: "str",
    Kind.NUMBER: "int",
    Kind.GENERATOR: "generator",
    Kind.COROUTINE: "coroutine",
}


@final
@dataclass(eq=False, slots=True)
class Access:
    """All reads of one attribute of one object: who calls its getters."""

    node: int
    getters: list[tuple[Value, Value]] = field(default_factory=list)
    readers: list[tuple[Instance, Place]] = field(default_factory=list)
    is_called: bool = False


@final
class Attributes:
    """Reads and writes of attributes."""

    def __init__(self, machine: Machine, classes: Classes) -> None:
        self._machine = machine
        self._classes = classes
        self.calls: Calls
        self.items: Items
        self._accesses: dict[tuple[Value, str, bool], Access] = {}
        self._by_node: dict[int, Access] = {}
        self.missing: list[tuple[Value, str, int]] = []
        """Attributes that no class of the program defines; judged when nothing else is new."""
        machine.handlers[Load] = self._load
        machine.handlers[Super] = self._super
        self._loads: dict[Kind, Callable[[Load, Instance, Value], None]] = {
            Kind.MODULE: self._load_module,
            Kind.EXTERNAL: self._load_external,
            Kind.RESULT: self._load_result,
            Kind.OPAQUE: self._load_opaque,
            Kind.BUILTIN: self._load_builtin,
            Kind.INSTANCE: self._load_object,
            Kind.CLASS: self._load_class,
            Kind.SUPER: self._load_super,
            Kind.FUNCTION: self._load_plain,
            Kind.BOUND: self._load_plain,
            Kind.PARTIAL: self._load_plain,
            Kind.METHOD: self._load_plain,
        }

    def method(self, value: Value, name: str) -> int:
        """Return the node of a special method of an object: looked up in its class alone."""
        key = f"@{name}"
        fields = self._machine.fields.get(value, {})
        if key in fields:
            return fields[key]
        node = self._machine.field(value, key)
        for owner in self.types(value):
            self._classes.watch(owner, Watch(name, value, node, True))
        return node

    def has_method(self, value: Value, name: str) -> bool:
        """Return whether a class of the program gives the object a special method."""
        return any(self._classes.defines(owner, name) for owner in self.types(value))

    def types(self, value: Value) -> list[Value]:
        """Return the classes of an object; of a class, its metaclasses."""
        kind = self._machine.values.kind[value]
        if kind is Kind.INSTANCE:
            return [self._machine.values.data[value][0]]
        if kind is Kind.CLASS:
            known = self._classes.known
            return [m for one in self._classes.order(value) if one in known
                    for m in known[one].metaclasses]  # fmt: skip
        return []

    def read(self, value: Value, name: str, target: int, instance: Instance, place: Place) -> None:
        """Have an attribute flow to an absolute node, as ``getattr`` does."""
        self._load(Load(0, name, ~target, place), instance, value)

    def settle(self) -> bool:
        """Decide on attributes that were not found; return whether there were any."""
        waiting, self.missing = self.missing, []
        found = False
        for value, name, node in waiting:
            if not self._machine.held[node]:
                found = self._unnamed(value, name, node) or found
                found = self._fall_back(value, name, node) or found
        return found

    def opaque(self, target: int) -> None:
        """What comes from a library's value is not known, but for that."""
        self._machine.add(target, self._machine.values.get(Kind.OPAQUE))

    def _unnamed(self, value: Value, name: str, node: int) -> bool:
        """Members of classes that are made by calls, under names that are not known."""
        if name[:2] == "__":
            return False
        machine = self._machine
        is_class = machine.values.kind[value] is Kind.CLASS
        owners = [value] if is_class else self.types(value)
        held = [unnamed for owner in owners for unnamed in self._classes.unnamed(owner)]
        for unnamed in held:
            machine.use(unnamed, Bind(value, node, not is_class, name), machine.instances[0])
        return bool(held)

    def _fall_back(self, value: Value, name: str, node: int) -> bool:
        machine = self._machine
        access = self._by_node[node]
        if self.has_method(value, "__getattr__"):
            key = machine.values.get(Kind.TEXT, name)
            argument = machine.node()
            machine.add(argument, key)
            for reader, place in access.readers:
                method = self.method(value, "__getattr__")
                self.calls.implicit(method, (argument,), node, reader, place)
            return True
        is_class = machine.values.kind[value] is Kind.CLASS
        for owner in [value] if is_class else self.types(value):
            for base in self._classes.foreign(owner):
                is_known = bool(inherited(str(machine.values.data[base][0]), name))
                if access.is_called or is_known or machine.values.kind[base] is Kind.BUILTIN:
                    self._foreign(base, name, value, node)
                else:
                    self.opaque(node)
                return True
        if name.startswith("__") and name.endswith("__"):
            machine.add(node, machine.values.get(Kind.METHOD, f"object.{name}", value))
            return True
        return False

    def _foreign(self, base: Value, name: str, receiver: Value, node: int) -> None:
        machine = self._machine
        kind, data = machine.values.kind[base], machine.values.data[base]
        if kind is Kind.BUILTIN:
            machine.add(node, machine.values.get(Kind.METHOD, f"{data[0]}.{name}", receiver))
        elif kind in (Kind.EXTERNAL, Kind.RESULT):
            path = f"{data[0]}.{name}"
            if path.startswith(CONTAINERS) or inherited(data[0], name):
                machine.add(node, machine.values.get(Kind.METHOD, path, receiver))
            elif path.count(".") <= DEEPEST_PATH:
                machine.add(node, machine.values.get(Kind.EXTERNAL, path))

    def _load(self, load: Load, instance: Instance, value: Value) -> None:
        kind = self._machine.values.kind[value]
        handler = self._loads.get(kind)
        if handler is not None:
            handler(load, instance, value)
        else:
            self._load_typed(load, instance, value)

    def _load_module(self, load: Load, instance: Instance, value: Value) -> None:
        load_module(self._machine, self.calls, load, instance, value)

    def _load_external(self, load: Load, instance: Instance, value: Value) -> None:
        values = self._machine.values
        path = values.data[value][0]
        if load.attribute in _SILENT:
            return
        before = path.rpartition(".")[0]
        if any(part[:1].isupper() for part in before.split(".")) or path.count(".") > DEEPEST_PATH:
            # what an attribute of an object is, is not known
            self.opaque(instance.at(load.target))
        else:
            found = values.get(Kind.EXTERNAL, f"{path}.{load.attribute}")
            self._machine.add(instance.at(load.target), found)

    def _load_result(self, load: Load, instance: Instance, value: Value) -> None:
        machine = self._machine
        path = machine.values.data[value][0]
        target = instance.at(load.target)
        machine.link(machine.field(value, load.attribute), target)
        name = f"{path}.{load.attribute}"
        if inherited(path, load.attribute):
            machine.add(target, machine.values.get(Kind.METHOD, name, value))
        elif path.count(".") < DEEPEST_PATH:
            machine.add(target, machine.values.get(Kind.EXTERNAL, name))

    def _load_opaque(self, load: Load, instance: Instance, value: Value) -> None:
        self._machine.add(instance.at(load.target), value)

    def _load_builtin(self, load: Load, instance: Instance, value: Value) -> None:
        name = self._machine.values.data[value][0]
        if load.attribute not in _SILENT and name.count(".") < DEEPEST_PATH:
            found = self._machine.values.get(Kind.BUILTIN, f"{name}.{load.attribute}")
            self._machine.add(instance.at(load.target), found)

    def _load_plain(self, load: Load, instance: Instance, value: Value) -> None:
        machine = self._machine
        target = instance.at(load.target)
        kind, data = machine.values.kind[value], machine.values.data[value]
        if kind is Kind.BOUND and load.attribute == "__self__":
            machine.add(target, data[1])
        elif kind is Kind.BOUND:
            if load.attribute == "__func__":
                machine.add(target, data[0])
            machine.link(machine.field(data[0], load.attribute), target)
        elif kind is Kind.FUNCTION and load.attribute in ("__call__", "__wrapped__"):
            machine.add(target, value)
        elif kind is Kind.FUNCTION and load.attribute == "__get__":
            machine.add(target, machine.values.get(Kind.METHOD, "function.__get__", value))
        elif load.attribute in ("func", "register"):
            machine.add(
                target, machine.values.get(Kind.METHOD, f"callable.{load.attribute}", value)
            )
        machine.link(machine.field(value, load.attribute), target)

    def _load_typed(self, load: Load, instance: Instance, value: Value) -> None:
        values = self._machine.values
        kind, data = values.kind[value], values.data[value]
        if load.attribute in _SILENT:
            return
        name = _TYPED.get(kind) or (str(data[0]) if data else "object")
        if kind is Kind.NAMESPACE:
            name = "dict"
        receiver = values.get(Kind.PLAIN, name) if kind in _FIXED else value
        found = values.get(Kind.METHOD, f"{name}.{load.attribute}", receiver)
        self._machine.add(instance.at(load.target), found)

    def _load_object(self, load: Load, instance: Instance, value: Value) -> None:
        owner = self._machine.values.data[value][0]
        name = load.attribute
        if name == "__class__":
            self._machine.add(instance.at(load.target), owner)
            return
        if name == "__dict__":
            self._machine.add(instance.at(load.target), self.items.attributes(value))
            return
        if name.startswith("<match "):
            self._load_position(load, instance, value, owner)
            return
        access = self._access(value, name, owner, bound=True)
        self._machine.link(access.node, instance.at(load.target))
        self._read_by(access, instance, load)
        if self._classes.defines(owner, "__getattribute__"):
            method = self.method(value, "__getattribute__")
            self.calls.implicit(method, (), access.node, instance, load.place)

    def _load_position(self, load: Load, instance: Instance, value: Value, owner: Value) -> None:
        known = self._classes.known[owner]
        position = int(load.attribute[7:-1])
        if position < len(known.shape.annotated):
            self._load_object(load._replace(attribute=known.shape.annotated[position]),
                              instance, value)  # fmt: skip
            return
        for node in self._classes.members(owner, "__match_args__"):
            for held in sorted(self._machine.held[node]):
                inner = self._machine.fields.get(held, {}).get(f"[{position}")
                for text in sorted(self._machine.held[inner]) if inner is not None else ():
                    named = str(self._machine.values.data[text][0])
                    self._load_object(load._replace(attribute=named), instance, value)

    def _load_class(self, load: Load, instance: Instance, value: Value) -> None:
        name = load.attribute
        if name in _SILENT:
            return
        if name == "__subclasses__":
            method = self._machine.values.get(Kind.METHOD, "type.__subclasses__", value)
            self._machine.add(instance.at(load.target), method)
            return
        access = self._access(value, name, value, bound=False)
        self._machine.link(access.node, instance.at(load.target))
        self._read_by(access, instance, load)

    def _access(self, value: Value, name: str, owner: Value, *, bound: bool) -> Access:
        key = (value, name, bound)
        found = self._accesses.get(key)
        if found is None:
            machine = self._machine
            found = self._accesses[key] = Access(machine.field(value, f".{name}"))
            self._by_node[found.node] = found
            if bound:
                machine.link(machine.field(value, name), found.node)
            self._classes.watch(owner, Watch(name, value, found.node, bound))
            self.enumerated(value, owner, name, found.node, bound)
            for meta in self.types(value) if not bound else ():
                self._classes.watch(meta, Watch(name, value, found.node, True))
            if not self._classes.defines(owner, name):
                self.missing.append((value, name, found.node))
        return found

    def enumerated(self, value: Value, owner: Value, name: str, node: int, bound: bool) -> None:
        """Members of an enumeration are its only objects."""
        if bound:
            if name == "value" and self.is_enumeration(owner):
                for member in self._classes.known[owner].shape.members:
                    self._machine.link(self._machine.field(owner, member), node)
        elif self.is_enumeration(value) and not name.startswith("_"):
            instance = self._classes.known[value].instance
            self._machine.add(node, self._classes.object(value, 0, instance))

    def is_enumeration(self, owner: Value) -> bool:
        """Return whether a class derives from one of the library's enumerations."""
        values = self._machine.values
        return any(
            values.kind[base] is Kind.EXTERNAL and values.data[base][0].startswith("enum.")
            for base in self._classes.foreign(owner)
        )

    def _read_by(self, access: Access, instance: Instance, load: Load) -> None:
        place = load.place
        access.is_called = access.is_called or load.called
        access.readers.append((instance, place))
        for getter, receiver in tuple(access.getters):
            self._get(access, getter, receiver, instance, place)

    def _get(
        self, access: Access, getter: Value, receiver: Value, instance: Instance, place: Place
    ) -> None:
        self.calls.bound(getter, receiver, access.node, instance, place)

    def add_getter(self, node: int, getter: Value, receiver: Value) -> None:
        """Have all readers of an attribute call a getter."""
        access = self._by_node.get(node)
        if access is None or (getter, receiver) in access.getters:
            return
        access.getters.append((getter, receiver))
        for instance, place in tuple(access.readers):
            self._get(access, getter, receiver, instance, place)

    def _load_super(self, load: Load, instance: Instance, value: Value) -> None:
        machine = self._machine
        after, receiver = machine.values.data[value]
        is_class = machine.values.kind[receiver] is Kind.CLASS
        owner = receiver if is_class else machine.values.data[receiver][0]
        target = instance.at(load.target)
        if is_class and after not in self._classes.order(owner):
            # in a method of a metaclass: the class is the object
            is_class = False
            owner = next(iter(self.types(receiver)), owner)
        nodes = self._classes.members(owner, load.attribute, after)
        for node in nodes:
            access = self._by_node.get(target)
            if access is None:
                access = self._by_node[target] = Access(target)
            access.readers.append((instance, load.place))
            machine.use(node, Bind(receiver, target, not is_class, load.attribute), instance)
        if not nodes:
            foreign = self._classes.foreign(owner, after)
            if foreign:
                self._foreign(foreign[0], load.attribute, receiver, target)
            else:
                name = f"object.{load.attribute}"
                machine.add(target, machine.values.get(Kind.METHOD, name, receiver))

    def _super(self, operation: Super, instance: Instance, value: Value) -> None:
        machine = self._machine
        if machine.values.kind[value] not in (Kind.INSTANCE, Kind.CLASS):
            return
        owner = instance
        for _ in range(operation.depth):
            assert owner.parent is not None
            owner = owner.parent
        made = self._classes.value_of(operation.shape, owner)
        found = machine.values.get(Kind.SUPER, made, value)
        machine.add(instance.at(operation.target), found)
        machine.called(instance, operation.place, "<builtin>.super")

    def deleted(self, operation: Implicit, instance: Instance, value: Value) -> None:
        """``del object.name``: a deleter of a property."""
        machine = self._machine
        name = operation.names[0].removeprefix("del ")
        for node in self._classes.members(machine.values.data[value][0], name):
            for member in sorted(machine.held[node]):
                deleter = machine.fields.get(member, {}).get("fdel")
                receiver = machine.node()
                machine.add(receiver, value)
                if deleter is not None:
                    self.calls.implicit(
                        deleter, (receiver,), machine.sink, instance, operation.place
                    )
