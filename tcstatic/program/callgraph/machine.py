"""The fixpoint: values flow along links between nodes until nothing is new.

Only what is new at a node is passed on. Everything but copying waits until no copy is left to
do, so that the bases of classes are known before an attribute is looked up in them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, final

from tcstatic.program.callgraph import operations as ops
from tcstatic.program.callgraph.crowds import Code, Crowds
from tcstatic.program.callgraph.operations import Invoke, Node, Place, Unit
from tcstatic.program.callgraph.program import Program
from tcstatic.program.callgraph.values import Kind, Value

LARGEST_CLONE = 40
"""A function of more operations has one instance for all its calls."""
MOST_CLONES = 16
"""Instances of one function, beyond which its calls share one."""
MOST_DECORATED = 64
"""The same for a decorator: what it makes of one function is not what it makes of another."""
DEEPEST_CLONE = 3
CLONED_NODES = 50_000
"""Nodes of all clones together; beyond it nothing is cloned any more."""
MANY_VALUES = 32
"""Values at one node, beyond which constants are no longer told apart."""
MOST_VALUES = 3_000
"""Values at one node; beyond it the node is capped, and calls of it have an unknown callee."""
CROWDED = ((9.0, 40), (8.0, 64), (7.0, 128), (6.0, 256))
"""The same where crowded nodes took more values than this many times the nodes of the program:
there, nearly all of them come from confusion, and each makes more of it."""
MOST_TOLD = 10
"""Values that crowded nodes take beyond that, as they are called like no other there: this many
times the nodes of the program."""
SMALL_PROGRAM = 20_000
"""Nodes that the smallest program counts as, to that end."""

MANY_CONTAINERS = 32
"""The same for containers, and for what libraries gave."""
CALLED = "<called>"
"""The field of a partial with the functions that it calls."""
_CONSTANTS = frozenset({Kind.TEXT, Kind.NUMBER})
_TOLD = (Kind.FUNCTION, Kind.BOUND)
_LIMITS = {
    Kind.ITEMS: MANY_CONTAINERS,
    Kind.METHOD: MANY_CONTAINERS,
    Kind.RESULT: MANY_CONTAINERS,
    Kind.EXTERNAL: 2 * MANY_CONTAINERS,
}


@final
@dataclass(eq=False, slots=True)
class Instance:
    """A template with nodes of its own, from `base` up."""

    index: int
    unit: Unit
    base: int
    parent: Instance | None
    chain: tuple[int, ...]

    def at(self, node: Node) -> int:
        """Return the absolute node."""
        return self.base + node if node >= 0 else ~node


class Use(NamedTuple):
    """What is run for each value at a node."""

    operation: Any
    instance: Instance


Handler: TypeAlias = Callable[[Any, Instance, Value], None]
ClosureKey: TypeAlias = tuple[int, int]


@final
class Machine:
    """Nodes, links and instances, and what was found to be called."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.values = program.values
        self.held: list[set[Value]] = [set() for _ in range(program.modules.nodes)]
        self.links: list[set[int] | None] = [None] * len(self.held)
        self.uses: list[list[Use] | None] = [None] * len(self.held)
        self.capped: set[int] = set()
        self.fields: dict[Value, dict[str, int]] = {}
        self.instances: list[Instance] = []
        self.by_unit: dict[int, list[Instance]] = {}
        self.closures: dict[int, list[ClosureKey]] = {}
        self.handlers: dict[type, Handler] = {}
        self.early: set[type] = set()
        """Operations that say what a class is: they come before all that look at classes."""
        self.immediate: frozenset[Kind] = frozenset({Kind.MODULE, Kind.EXTERNAL, Kind.BUILTIN})
        self.called_units: set[int] = set()
        self.edges: dict[int, set[str]] = {}
        self.places: dict[tuple[int, Place], set[str]] = {}
        self.reasons: dict[tuple[int, Place], str] = {}
        self.make: Callable[[Any, Instance], None] = lambda made, instance: None
        self._changed: dict[int, set[Value]] = {}
        self._queue: deque[int] = deque()
        self._early: deque[tuple[Handler, Any, Instance, Value]] = deque()
        self._later: list[tuple[Handler, Any, Instance, Value]] = []
        self.interests: dict[type, frozenset[Kind]] = {}
        """Operations that only some kinds of values matter to."""
        self._text = self.values.get(Kind.PLAIN, "str")
        self._keyed: dict[tuple[Any, ...], Instance] = {}
        self._asked: set[tuple[Any, ...]] = set()
        self._cloned = 0
        self._clones: dict[int, int] = {}
        self._crowd = 0
        self._told = 0
        self._met: dict[int, set[Code]] = {}
        self._room = SMALL_PROGRAM + sum(unit.nodes for unit in program.units)
        self.sink = self.node()
        self.crowds = Crowds(self, program.units)

    def node(self) -> int:
        """Return a new absolute node."""
        self.held.append(set())
        self.links.append(None)
        self.uses.append(None)
        return len(self.held) - 1

    def flow(self, node: int, found: Iterable[Value]) -> None:
        """Add values to a node."""
        held = self.held[node]
        new = set(found) - held
        if not new or node == self.sink:
            return
        if len(held) + len(new) > MANY_VALUES:
            new = self._widened(node, held, new)
            if not new:
                return
        held |= new
        waiting = self._changed.get(node)
        if waiting is None:
            self._changed[node] = new
            self._queue.append(node)
        else:
            waiting |= new

    def add(self, node: int, value: Value) -> None:
        """Add one value to a node."""
        if value not in self.held[node]:
            self.flow(node, (value,))

    def link(self, source: int, target: int) -> None:
        """Have all that `source` holds, now or later, flow to `target`."""
        if source == target:
            return
        links = self.links[source]
        if links is None:
            links = self.links[source] = set()
        elif target in links:
            return
        links.add(target)
        if self.held[source]:
            self.flow(target, self.held[source])

    def use(self, node: int, operation: Any, instance: Instance) -> None:
        """Have the operation run for all that a node holds, now or later."""
        use = Use(operation, instance)
        uses = self.uses[node]
        if uses is None:
            uses = self.uses[node] = []
        uses.append(use)
        for value in sorted(self.held[node]):
            self._run(use, value)

    def use_once(self, node: int, operation: Any, instance: Instance) -> None:
        """The same, unless it was asked for before."""
        key = (node, operation, instance.index)
        if key not in self._asked:
            self._asked.add(key)
            self.use(node, operation, instance)

    def field(self, value: Value, name: str) -> int:
        """Return the node of an attribute, or of something else that belongs to a value."""
        fields = self.fields.get(value)
        if fields is None:
            fields = self.fields[value] = {}
        found = fields.get(name)
        if found is None:
            found = fields[name] = self.node()
            if value in self.crowds.merged:
                self.crowds.share(value, name, found)
        return found

    def owner(self, index: int) -> Instance:
        """Return an instance of a template."""
        return self.instances[index]

    def solve(self) -> None:
        """Run until nothing is new."""
        while self._queue or self._early or self._later:
            while self._queue:
                self._step(self._queue.popleft())
            if self._early:
                handler, operation, instance, value = self._early.popleft()
                handler(operation, instance, value)
            elif self._later:
                batch, self._later = self._later, []
                for handler, operation, instance, value in batch:
                    handler(operation, instance, value)

    def instantiate(self, unit: Unit, parent: Instance | None, chain: tuple[int, ...]) -> Instance:
        """Return a new instance of a template."""
        base = len(self.held)
        self.held.extend(set() for _ in range(unit.nodes))
        self.links.extend([None] * unit.nodes)
        self.uses.extend([None] * unit.nodes)
        instance = Instance(len(self.instances), unit, base, parent, chain)
        self.instances.append(instance)
        self.by_unit.setdefault(unit.index, []).append(instance)
        at = instance.at
        for free in unit.free:
            self._reach_out(free, instance)
        for source, target in unit.copies:
            self.link(at(source), at(target))
        for made in unit.making:
            self.make(made, instance)
        for operation in unit.operations:
            self.use(at(operation[0]), operation, instance)
        for node, value in unit.seeds:
            self.add(at(node), value)
        if parent is not None:
            for parameter, default in unit.parameters.defaults:
                self.link(parent.at(default), at(parameter))
        return instance

    def callee(
        self, unit: Unit, parent: Instance | None, caller: Instance, call: Invoke, receiver: Value
    ) -> Instance:
        """Return the instance that a call enters: its own where that pays, else a shared one."""
        own = (unit.index, parent.index if parent else -1)
        key: tuple[Any, ...] = own
        chain: tuple[int, ...] = ()
        if self._may_clone(unit, caller):
            key = (*own, call.site, caller.index, receiver)
            chain = (*caller.chain, unit.index)
        self.called_units.add(unit.index)
        found = self._keyed.get(key)
        if found is None and chain:
            count = self._clones.get(unit.index, 0)
            most = MOST_DECORATED if call.decorates else MOST_CLONES
            if count >= most or self._cloned > CLONED_NODES:
                key, chain = own, ()
                found = self._keyed.get(key)
            else:
                self._clones[unit.index] = count + 1
                self._cloned += unit.nodes
        if found is None:
            found = self._keyed[key] = self.instantiate(unit, parent, chain)
        return found

    def shared(self, unit: Unit, parent: Instance | None) -> Instance:
        """Return the one instance for all calls of unknown origin."""
        key = (unit.index, parent.index if parent else -1)
        found = self._keyed.get(key)
        if found is None:
            found = self._keyed[key] = self.instantiate(unit, parent, ())
        return found

    def called(self, instance: Instance, place: Place, name: str) -> None:
        """Record that code of the instance calls `name` at a place."""
        unit = instance.unit
        self.edges.setdefault(unit.index, set()).add(name)
        self.places.setdefault((unit.module, place), set()).add(name)

    def unresolved(self, instance: Instance, place: Place, reason: str) -> None:
        """Record why it is not known what is called at a place."""
        self.reasons.setdefault((instance.unit.module, place), reason)

    def absolute(self, call: Invoke, instance: Instance) -> Invoke:
        """Return a call with nodes that mean the same in every instance."""
        at = instance.at
        return call._replace(
            function=~at(call.function),
            arguments=tuple(~at(node) for node in call.arguments),
            keywords=tuple((name, ~at(node)) for name, node in call.keywords),
            target=~at(call.target),
        )

    def _widened(self, node: int, held: set[Value], new: set[Value]) -> set[Value]:
        """Keep less of what there is a lot of.

        Of constants it is only kept that there are some, of partials what they call; containers
        and what libraries gave are not kept at all, and the node is capped.
        """
        kinds = self.values.kind
        kept: set[Value] = set()
        self._crowd += len(new)
        most = self._most()
        for value in new:
            kind = kinds[value]
            if kind in _CONSTANTS:
                kept.add(self._text)
            elif kind is Kind.PARTIAL:
                self.link(self.field(value, CALLED), node)
            elif len(held) <= _LIMITS.get(kind, MOST_VALUES):
                kept.add(value)
            else:
                self.capped.add(node)
        kept -= held
        if len(held) + len(kept) > most:
            self.capped.add(node)
            return self._telling(node, held, sorted(kept), max(0, most - len(held)))
        return kept

    def _telling(self, node: int, held: set[Value], new: list[Value], room: int) -> set[Value]:
        """Return as many of what is new as there is room for, and what is called like no other."""
        kept = set(new[:room])
        crowds = self.crowds
        met = self._met.get(node)
        if met is None:
            met = self._met[node] = set()
            for value in held:
                met.update(crowds.codes(value))
        for value in kept:
            met.update(crowds.codes(value))
        for value in new[room:]:
            codes = crowds.codes(value)
            is_pressed = self._told > MOST_TOLD * self._room
            if not codes or (is_pressed and (codes[-1] in met or codes[0][0] not in _TOLD)):
                continue
            met.update(codes)
            first = value if is_pressed else crowds.stand_in(value)
            if first not in held:
                self._told += 1
                kept.add(first)
        return kept

    def _most(self) -> int:
        crowd = self._crowd / self._room
        return next((most for share, most in CROWDED if crowd > share), MOST_VALUES)

    def _may_clone(self, unit: Unit, caller: Instance) -> bool:
        return (
            unit.answers
            and unit.size <= LARGEST_CLONE
            and len(caller.chain) < DEEPEST_CLONE
            and unit.index not in caller.chain
            and unit.index != caller.unit.index
        )

    def _reach_out(self, free: ops.Free, instance: Instance) -> None:
        owner = instance
        for _ in range(free.depth):
            assert owner.parent is not None
            owner = owner.parent
        local, outer = instance.at(free.local), owner.at(free.outer)
        if free.stores:
            self.link(local, outer)
        else:
            self.link(outer, local)

    def _step(self, node: int) -> None:
        new = self._changed.pop(node)
        links = self.links[node]
        if links:
            for target in sorted(links) if len(links) < 8 else links:
                self.flow(target, new)
        uses = self.uses[node]
        if uses:
            for use in tuple(uses):
                for value in sorted(new) if len(new) > 1 else new:
                    self._run(use, value)

    def _run(self, use: Use, value: Value) -> None:
        operation, instance = use
        kind = type(operation)
        interest = self.interests.get(kind)
        if interest is not None and self.values.kind[value] not in interest:
            return
        handler = self.handlers[kind]
        if kind is ops.Load and self.values.kind[value] in self.immediate:
            handler(operation, instance, value)
        elif kind in self.early or (kind is Invoke and operation.decorates):
            self._early.append((handler, operation, instance, value))
        else:
            self._later.append((handler, operation, instance, value))
