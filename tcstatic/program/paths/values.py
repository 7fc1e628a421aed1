"""What an expression may stand for, as far as the source tells.

Values are compared by identity: two of them are the same only if the program computed them once.
`number` grows with each value that is made, and `birth` is the number of what it belongs to: a
value made inside a loop is known as such, an attribute first read there is not.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, final

from tcstatic.program.source import syntax

if TYPE_CHECKING:
    from tcstatic.program.paths.project import Module

_numbers = itertools.count(1)


@final
class Place(NamedTuple):
    """Where in the source: a node of a module, within a function."""

    module: Module
    node: syntax.expr | syntax.stmt
    function: str


class Value:
    """Base of all values."""

    __slots__ = ("birth", "number", "place")

    def __init__(self, place: Place | None = None) -> None:
        self.number = self.birth = next(_numbers)
        self.place = place


@final
class Unknown(Value):
    """A value that the source does not tell. `name` is what the program calls it, if anything;
    `origin` says why it is unknown: parameter, library, budget, ..."""

    __slots__ = ("name", "origin")

    def __init__(self, origin: str, name: str = "", place: Place | None = None) -> None:
        super().__init__(place)
        self.origin = origin
        self.name = name


@final
class Const(Value):
    """A literal."""

    __slots__ = ("value",)

    def __init__(self, value: Any, place: Place | None = None) -> None:
        super().__init__(place)
        self.value = value


@final
class External(Value):
    """A module, function or class outside of the project, by its dotted path."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path


@final
class Imported(Value):
    """A name that was imported, and that nobody has looked at yet: `name` is '' for a module."""

    __slots__ = ("module", "name", "source")

    def __init__(self, module: Module, source: str, name: str) -> None:
        super().__init__()
        self.module = module
        self.source = source
        self.name = name


@final
class ModuleRef(Value):
    """A module of the project."""

    __slots__ = ("module",)

    def __init__(self, module: Module) -> None:
        super().__init__()
        self.module = module


@final
class Function(Value):
    """A function or lambda of the project. `scopes` are the frames around it, innermost first."""

    __slots__ = ("decorators", "defaults", "module", "name", "node", "owner", "scopes")

    def __init__(
        self,
        node: syntax.FunctionDef | syntax.AsyncFunctionDef | syntax.Lambda,
        module: Module,
        name: str,
        scopes: tuple[int, ...],
        owner: Class | None = None,
        decorators: tuple[Value, ...] = (),
    ) -> None:
        super().__init__()
        self.node = node
        self.module = module
        self.name = name
        self.scopes = scopes
        self.owner = owner
        self.decorators = decorators


@final
class Class(Value):
    """A class of the project; `bases` are Class, External or Unknown.

    `pending` are values of its body that nobody has asked for yet, `assigned` what its methods put
    into attributes of ``self``.
    """

    __slots__ = (
        "assigned",
        "bases",
        "module",
        "name",
        "namespace",
        "node",
        "pending",
        "scopes",
    )

    def __init__(
        self,
        node: syntax.ClassDef,
        module: Module,
        name: str,
        scopes: tuple[int, ...],
        bases: tuple[Value, ...],
    ) -> None:
        super().__init__()
        self.node = node
        self.module = module
        self.name = name
        self.scopes = scopes
        self.bases = bases
        self.namespace: dict[str, Value] = {}
        self.pending: dict[str, syntax.expr] = {}
        self.assigned: dict[str, tuple[syntax.expr | None, Function | None]] = {}


@final
class Bound(Value):
    """A method with its receiver. `method` is a Function, or None for one of a library."""

    __slots__ = ("method", "name", "receiver")

    def __init__(self, receiver: Value, name: str, method: Function | None, place: Place | None):
        super().__init__(place)
        self.receiver = receiver
        self.name = name
        self.method = method


@final
class Object(Value):
    """An instance. `type` is a Class or the dotted path of a library's class; its attributes lie
    in the cells under its number. `role` is what it is to training: model, optimizer, ... `within`
    are the functions at work when it was made, outermost first; `sites` where these were called, by
    the number of the caller's frame, and last where it was made itself."""

    __slots__ = (
        "arguments",
        "attributes",
        "keywords",
        "made_in_loops",
        "role",
        "sites",
        "type",
        "within",
    )

    def __init__(
        self,
        type_: Class | str,
        role: str,
        arguments: tuple[Value, ...] = (),
        keywords: Mapping[str, Value] | None = None,
        place: Place | None = None,
    ) -> None:
        super().__init__(place)
        self.type = type_
        self.role = role
        self.arguments = arguments
        self.keywords: Mapping[str, Value] = keywords or {}
        self.attributes: set[str] = set()
        self.made_in_loops = 0
        self.within: tuple[str, ...] = ()
        self.sites: tuple[tuple[int, Place | None], ...] = ()

    def anew(self, other: Object) -> Object:
        """This object, made again just as another one was."""
        for name in Object.__slots__:
            setattr(self, name, getattr(other, name))
        return self

    @property
    def type_name(self) -> str:
        """The last part of the type's name."""
        return (self.type if isinstance(self.type, str) else self.type.name).rpartition(".")[2]


@final
class Listing(Value):
    """A list, tuple, set or dict; its contents lie in the cells under its number."""

    __slots__ = ("attributes", "kind")

    def __init__(self, kind: str, place: Place | None = None) -> None:
        super().__init__(place)
        self.kind = kind
        self.attributes: set[str] = set()


@final
class Node(Value):
    """A value that an operation made of others: ``softmax``, ``+``, ``attr:loss``, ``item``."""

    __slots__ = ("inputs", "keywords", "op", "regions", "subject")

    def __init__(
        self,
        op: str,
        inputs: tuple[Value, ...],
        keywords: Mapping[str, Value] | None = None,
        place: Place | None = None,
        subject: Object | Unknown | None = None,
        regions: tuple[str, ...] = (),
    ) -> None:
        super().__init__(place)
        self.op = op
        self.inputs = inputs
        self.keywords: Mapping[str, Value] = keywords or {}
        self.subject = subject
        self.regions = regions


@final
class Phi(Value):
    """One of several values, by the path taken. A loop adds to it when its body was seen.

    `ways` are, where one branch decided it: the name of its condition, the birth of that, and the
    value after each of its alternatives.
    """

    __slots__ = ("options", "ways")

    def __init__(self, options: list[Value]) -> None:
        super().__init__()
        self.options = options
        self.ways: tuple[str, int, tuple[Value, ...]] | None = None


def joined(values: list[Value]) -> Value:
    """One value that may be any of these."""
    flat: list[Value] = []
    for value in values:
        for option in value.options if isinstance(value, Phi) else (value,):
            if not any(same(option, seen) for seen in flat):
                flat.append(option)
    return flat[0] if len(flat) == 1 else Phi(flat)


def same(left: Value, right: Value) -> bool:
    """Whether two values are known to be one."""
    if left is right:
        return True
    if isinstance(left, Const) and isinstance(right, Const):
        return type(left.value) is type(right.value) and left.value == right.value
    if isinstance(left, External) and isinstance(right, External):
        return left.path == right.path
    return False


def options(value: Value, limit: int = 24) -> list[Value]:
    """All that a value may be, Phis opened."""
    found: list[Value] = []
    waiting, seen = [value], set()
    while waiting and len(found) < limit:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, Phi):
            waiting.extend(reversed(one.options))
        else:
            found.append(one)
    return found


def only(value: Value) -> Value:
    """The one value that is known among the options (None apart), else the value itself."""
    if not isinstance(value, Phi):
        return value
    known = [v for v in options(value) if not (isinstance(v, Const) and v.value is None)]
    return known[0] if len(known) == 1 else value
