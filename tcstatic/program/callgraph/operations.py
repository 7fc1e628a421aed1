"""What one function does with values: a template that the solver instantiates.

Nodes (places that hold values) are integers. From 0 up they are local to a template; a negative
``n`` is the absolute node ``~n`` of the solver, such as a variable of a module.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias, final

Node: TypeAlias = int
Key: TypeAlias = int | str | None
Place: TypeAlias = tuple[int, int, int, int]
"""Line, column, end line and end column of an expression, as ``ast`` counts them."""

RESULT, YIELDED, SENT = 0, 1, 2
"""The first nodes of every template: what it returns, yields and is sent."""


class Load(NamedTuple):
    """``target = base.attribute``"""

    base: Node
    attribute: str
    target: Node
    place: Place
    called: bool = False


class Prefixed(NamedTuple):
    """``target = getattr(base, prefix + ...)``"""

    base: Node
    prefix: str
    target: Node
    place: Place


class Store(NamedTuple):
    """``base.attribute = source``"""

    base: Node
    attribute: str
    source: Node
    place: Place


class GetItem(NamedTuple):
    """``target = base[key]``; `constant` is the key where it is one."""

    base: Node
    key: Node
    constant: Key
    target: Node
    place: Place


class SetItem(NamedTuple):
    """``base[key] = source``"""

    base: Node
    key: Node
    constant: Key
    source: Node
    place: Place


class SetSlice(NamedTuple):
    """``base[a:b] = source``"""

    base: Node
    key: Node
    source: Node
    place: Place


class Slice(NamedTuple):
    """``target = base[lower:upper]``; bounds that are not known are None."""

    base: Node
    lower: int | None
    upper: int | None
    known: bool
    target: Node
    place: Place


class Iterate(NamedTuple):
    """``for target in base``; an ``async for`` where `waits`. A `lazy` one asks for no element
    yet."""

    base: Node
    target: Node
    waits: bool
    place: Place
    lazy: bool = False


class Unpack(NamedTuple):
    """``targets = base``, with the star at position `star` of them (-1: none)."""

    base: Node
    targets: tuple[Node, ...]
    star: int
    place: Place


class Invoke(NamedTuple):
    """``target = function(*arguments, **keywords)``

    `stars` are positions of arguments that are unpacked; a keyword without a name is unpacked.
    """

    function: Node
    arguments: tuple[Node, ...]
    stars: tuple[int, ...]
    keywords: tuple[tuple[str | None, Node], ...]
    target: Node
    place: Place
    site: int
    text: str
    decorates: bool


class Implicit(NamedTuple):
    """The first of the special methods `names` that the type of `base` has is called."""

    base: Node
    names: tuple[str, ...]
    arguments: tuple[Node, ...]
    target: Node
    place: Place


class Operate(NamedTuple):
    """``left <operator> right``, with the names of the methods for either side."""

    left: Node
    right: Node
    names: tuple[str, ...]
    reflected: tuple[str, ...]
    target: Node
    place: Place


class Reflect(NamedTuple):
    """The right operand is asked, if the left one has no such method."""

    right: Node
    left: Node
    names: tuple[str, ...]
    reflected: tuple[str, ...]
    target: Node
    place: Place


class Contains(NamedTuple):
    """``item in base``"""

    base: Node
    item: Node
    place: Place


class Await(NamedTuple):
    """``target = await base``"""

    base: Node
    target: Node
    place: Place


class Delegate(NamedTuple):
    """``target = yield from base``: the result of a generator."""

    base: Node
    target: Node
    place: Place


class Super(NamedTuple):
    """``target = super()`` in a method whose first parameter is `base`."""

    base: Node
    target: Node
    place: Place
    shape: ClassShape
    depth: int


class Typed(NamedTuple):
    """What is annotated with the classes in `base` holds their instances, if nothing better is
    known."""

    base: Node
    target: Node


Operation: TypeAlias = (
    Load
    | Store
    | GetItem
    | SetItem
    | SetSlice
    | Slice
    | Iterate
    | Unpack
    | Invoke
    | Implicit
    | Operate
    | Reflect
    | Contains
    | Await
    | Delegate
    | Super
)
"""Each is run for every value that reaches its first node."""


class MakeFunction(NamedTuple):
    """``target = <a closure over the template>``"""

    target: Node
    unit: Unit


class MakeClass(NamedTuple):
    """``target = <a class>``"""

    target: Node
    shape: ClassShape


class MakeItems(NamedTuple):
    """``target = [..]``, ``(..)``, ``{..}``: the items with their keys; spread ones apart.

    `hashed` are the nodes of keys, or members of a set, that are no constants.
    """

    target: Node
    kind: str
    items: tuple[tuple[Key, Node], ...]
    spread: tuple[Node, ...]
    keys: tuple[Node, ...]
    hashed: tuple[Node, ...]
    site: int


class Free(NamedTuple):
    """A node of an enclosing template, `depth` levels out; written to where `stores`."""

    local: Node
    depth: int
    outer: Node
    stores: bool


Making: TypeAlias = MakeFunction | MakeClass | MakeItems


@final
@dataclass(eq=False, slots=True)
class ClassShape:
    """What the source says of a class; its members are nodes of the enclosing template."""

    name: str
    simple_name: str
    path: int
    line: int
    bases: list[Node] = field(default_factory=list)
    metaclass: Node | None = None
    keywords: list[tuple[str | None, Node]] = field(default_factory=list)
    members: dict[str, Node] = field(default_factory=dict)
    annotated: list[str] = field(default_factory=list)
    place: Place = (0, 0, 0, 0)

    def private(self, name: str) -> str:
        """Return what a name is in the class: one with two underscores is that class's own."""
        if not name.startswith("__") or name.endswith("__"):
            return name
        return f"_{self.simple_name.lstrip('_')}{name}"


@final
@dataclass(eq=False, slots=True)
class Parameters:
    """The parameters of a template, as nodes of it; defaults are nodes of the enclosing one."""

    positional: list[tuple[str, Node]] = field(default_factory=list)
    named: dict[str, Node] = field(default_factory=dict)
    rest: Node | None = None
    rest_named: Node | None = None
    defaults: list[tuple[Node, Node]] = field(default_factory=list)
    typed: list[tuple[Node, Node]] = field(default_factory=list)
    positional_only: int = 0


@final
@dataclass(eq=False, slots=True)
class Unit:
    """The template of a module, function or lambda. Bodies of classes belong to what encloses
    them, comprehensions too."""

    index: int
    name: str
    module: int
    line: int
    end_line: int
    parent: Unit | None
    shape: ClassShape | None = None
    is_function: bool = True
    is_generator: bool = False
    is_async: bool = False
    receiver: str = "object"
    """What the first parameter of a method is: object, class, or nothing."""
    decorators: tuple[str, ...] = ()
    answers: bool = False
    """Whether what it returns or stores depends on what it is given."""
    passes: list[Node] = field(default_factory=list)
    """Parameters that are returned as they are: their values go past the instance."""
    keeps: list[Store] = field(default_factory=list)
    """``self.name = parameter``: done for each call, with the argument of that call."""
    nodes: int = 3
    parameters: Parameters = field(default_factory=Parameters)
    copies: list[tuple[Node, Node]] = field(default_factory=list)
    seeds: list[tuple[Node, int]] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    making: list[Making] = field(default_factory=list)
    free: list[Free] = field(default_factory=list)
    typed: list[Typed] = field(default_factory=list)
    outer: dict[tuple[int, Node], Node] = field(default_factory=dict)
    """Nodes of enclosing templates that this one reads -> the local node for each."""

    def node(self) -> Node:
        """Return a new node."""
        self.nodes += 1
        return self.nodes - 1

    def find_passes(self) -> None:
        """Take parameters that are returned as they are out of the copies."""
        if self.is_generator or self.is_async:
            return
        parameters = {node for _, node in self.parameters.positional}
        parameters |= set(self.parameters.named.values())
        self.passes = sorted({s for s, t in self.copies if t == RESULT and s in parameters})
        self.copies = [(s, t) for s, t in self.copies if t != RESULT or s not in parameters]

    def find_keeps(self) -> None:
        """Take what a method stores of its arguments as they are out of the operations."""
        positional = self.parameters.positional
        if self.shape is None or not positional or not self.receiver:
            return
        given = {node for _, node in positional[1:]} | set(self.parameters.named.values())
        given.discard(positional[0][1])
        kept = [
            one
            for one in self.operations
            if isinstance(one, Store) and one.base == positional[0][1] and one.source in given
        ]
        if kept:
            self.keeps = kept
            self.operations = [one for one in self.operations if one not in kept]

    @property
    def size(self) -> int:
        """How much an instance costs."""
        return len(self.operations) + len(self.copies) + len(self.making)
