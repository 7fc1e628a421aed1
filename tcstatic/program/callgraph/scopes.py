"""The scopes of a module while it is lowered: which node a name means at this point.

Names are renamed at each assignment: `versions` holds the current node of a name in straight-line
code; where paths join, a new node takes the versions of all of them. What other scopes read is
the `merged` node, which takes every version.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias, final

from tcstatic.program.callgraph.bindings import Bindings
from tcstatic.program.callgraph.modules import Module, Modules
from tcstatic.program.callgraph.operations import ClassShape, Free, Node, Unit
from tcstatic.program.callgraph.values import Kind, Values

Versions: TypeAlias = dict[str, Node]
_BUILTINS = frozenset(dir(builtins)) - {"None", "True", "False", "Ellipsis", "__doc__", "__name__"}


@final
@dataclass(frozen=True, slots=True)
class State:
    """The versions at one point; not `live` where no path reaches it."""

    versions: Versions
    live: bool


@final
@dataclass(eq=False, slots=True)
class Loop:
    """The states that leave the body of a loop early."""

    breaks: list[State] = field(default_factory=list)
    continues: list[State] = field(default_factory=list)


@final
@dataclass(eq=False, slots=True)
class Scope:
    """A module, a class body or a function; `unit` is the template that its code belongs to."""

    unit: Unit
    module: Module
    name: str
    bindings: Bindings
    parent: Scope | None = None
    shape: ClassShape | None = None
    is_module: bool = False
    versions: Versions = field(default_factory=dict)
    live: bool = True
    merged: dict[str, Node] = field(default_factory=dict)
    known: dict[str, list[Node]] = field(default_factory=dict)
    """Every version that a name has had."""
    recorders: list[dict[str, list[Node]]] = field(default_factory=list)
    """For each ``try`` around this point, the versions made since it began."""
    loops: list[Loop] = field(default_factory=list)
    lambdas: int = 0

    def copy(self, source: Node, target: Node) -> None:
        """Have all that `source` holds flow to `target`."""
        if source != target:
            self.unit.copies.append((source, target))

    def state(self) -> State:
        """Return the state at this point."""
        return State(dict(self.versions), self.live)

    def resume(self, state: State) -> None:
        """Go on from a state."""
        self.versions = dict(state.versions)
        self.live = state.live

    def join(self, states: Iterable[State]) -> None:
        """Go on from where several paths meet."""
        every = list(states)
        reached = [state for state in every if state.live]
        if len(reached) < 2:
            self.resume(reached[0] if reached else State(every[0].versions, False))
            return
        joined: Versions = {}
        for name in dict.fromkeys(name for state in reached for name in state.versions):
            nodes = list(dict.fromkeys(state.versions.get(name, -1 << 40) for state in reached))
            nodes = [node for node in nodes if node != -1 << 40]
            joined[name] = nodes[0] if len(nodes) == 1 else self.either(nodes)
        self.versions, self.live = joined, True

    def either(self, nodes: Iterable[Node]) -> Node:
        """Return a new node that holds what any of the nodes holds."""
        target = self.unit.node()
        for node in nodes:
            self.copy(node, target)
        return target

    def bind(self, name: str, node: Node) -> None:
        """Make `node` the version of a name from here on."""
        self.versions[name] = node
        self.known.setdefault(name, []).append(node)
        for recorder in self.recorders:
            recorder.setdefault(name, []).append(node)
        if name in self.merged:
            self.copy(node, self.merged[name])

    def merge(self, name: str) -> Node:
        """Return the node that takes every version of a name."""
        found = self.merged.get(name)
        if found is None:
            found = self.merged[name] = self.unit.node()
            for node in self.known.get(name, ()):
                self.copy(node, found)
        return found

    def outer(self, owner: Unit, node: Node, *, stores: bool = False) -> Node:
        """Return a local node for a node of an enclosing template."""
        depth, unit = 0, self.unit
        while unit is not owner:
            assert unit.parent is not None
            depth, unit = depth + 1, unit.parent
        if not depth or node < 0:
            return node
        key = (-depth if stores else depth, node)
        found = self.unit.outer.get(key)
        if found is None:
            found = self.unit.outer[key] = self.unit.node()
            self.unit.free.append(Free(found, depth, node, stores))
        return found

    def private(self, name: str) -> str:
        """Return what an attribute is called that is written in this scope."""
        if not name.startswith("__") or name.endswith("__"):
            return name
        scope: Scope | None = self
        while scope is not None and scope.shape is None:
            scope = scope.parent
        return scope.shape.private(name) if scope is not None and scope.shape else name

    def class_owner(self) -> Scope | None:
        """Return the method that this code belongs to, for ``super()``."""
        scope: Scope | None = self
        while scope is not None and scope.unit.shape is None:
            scope = scope.parent
        return scope


@final
class Names:
    """Reads and writes names of one module's scopes."""

    def __init__(self, modules: Modules, values: Values) -> None:
        self.modules = modules
        self.values = values

    def read(self, scope: Scope, name: str) -> Node:
        """Return the node that a name means here."""
        bindings = scope.bindings
        if name in bindings.global_names:
            return self._global(scope, name)
        if name not in bindings.shared:
            node = scope.versions.get(name)
            if node is not None:
                return node
        is_local = not scope.is_module and (name in bindings.bound or name in scope.known)
        if is_local and (scope.shape is None or name in bindings.shared):
            return scope.merge(name)
        return self._enclosing(scope, name)

    def write(self, scope: Scope, name: str, node: Node) -> None:
        """Assign a node to a name."""
        bindings = scope.bindings
        if name in bindings.global_names:
            scope.copy(node, self._variable(scope.module, name))
        elif name in bindings.nonlocal_names:
            self._write_outer(scope, name, node)
        elif name in bindings.shared and not scope.is_module:
            scope.copy(node, scope.merge(name))
        else:
            scope.bind(name, node)
            if scope.is_module:
                scope.copy(node, self._variable(scope.module, name))
            elif scope.shape is not None:
                self._member(scope, scope.shape, name, node)

    def _member(self, scope: Scope, shape: ClassShape, name: str, node: Node) -> None:
        name = shape.private(name)
        member = shape.members.get(name)
        if member is None:
            member = shape.members[name] = scope.unit.node()
        scope.copy(node, member)

    def _write_outer(self, scope: Scope, name: str, node: Node) -> None:
        owner = scope.parent
        while owner is not None and (owner.shape is not None or name not in owner.bindings.bound):
            owner = owner.parent
        if owner is not None:
            local = scope.outer(owner.unit, owner.merge(name), stores=True)
            scope.copy(node, local)

    def _enclosing(self, scope: Scope, name: str) -> Node:
        owner = scope.parent
        while owner is not None:
            is_bound = name in owner.bindings.bound and not owner.is_module
            if owner.shape is None and (is_bound or (name in owner.known and not owner.is_module)):
                return scope.outer(owner.unit, owner.merge(name))
            if owner.is_module and name in owner.known and name not in owner.bindings.bound:
                return scope.outer(owner.unit, owner.merge(name))
            owner = owner.parent
        return self._global(scope, name)

    def _global(self, scope: Scope, name: str) -> Node:
        module = scope.module
        if name in module.bindings.bound or name in module.bindings.shared:
            return self._variable(module, name)
        target = scope.unit.node()
        if name in _BUILTINS:
            scope.unit.seeds.append((target, self.values.get(Kind.BUILTIN, name)))
        else:
            for star in module.external_stars:
                path = f"{star}.{name}"
                scope.unit.seeds.append((target, self.values.get(Kind.EXTERNAL, path)))
        return target

    def _variable(self, module: Module, name: str) -> Node:
        return ~self.modules.variable(module, name)
