"""What one module's own source says, without looking at any other module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

from tcstatic.program.source.text import Span

# Where an expression stands: an annotation never becomes a site, the others matter to some.
Place = Literal["", "annotation", "decorator", "raise", "except"]
# What becomes of a call's value, where the call is the whole of it.
Result = Literal["", "assigned", "returned", "dropped"]
Action = Literal["assign", "augment", "delete"]


@final
@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call. `keyword` is '' by position, ``*`` or ``**`` for starred ones."""

    keyword: str
    span: Span
    text: str
    literal: bool


@final
@dataclass(frozen=True, slots=True)
class Call:
    """A call. `arguments` stand in the order in which they are written.

    `callee` is the best dotted name: resolved through imports and aliases where `resolved`, else a
    bare name, or ``.step`` where only the method's name is known, or '' for ``f()()``. `loops`
    counts the loops around it in its own function; `in_class` says that it stands directly in a
    class body whose class has keywords (a metaclass may give it a namespace of its own).
    """

    ordinal: int
    span: Span
    callee: str
    resolved: bool
    name: str
    function: str
    callee_span: Span
    callee_text: str
    receiver: Span | None
    receiver_text: str
    arguments: tuple[Argument, ...]
    loops: int
    place: Place
    result: Result
    quoted: bool
    in_class: bool


@final
@dataclass(frozen=True, slots=True)
class Loop:
    """A ``for`` statement, or the first ``for`` of a comprehension. `iterable_call` is the ordinal
    of the call that it iterates over, or -1; `body` the range of ordinals in its body (in the
    element of a comprehension); `targets` the names that a comprehension binds by it; `left` the
    line of a statement that ends each pass in its first turn, or 0."""

    ordinal: int
    iterable: Span
    text: str
    iterable_call: int
    body: tuple[int, int]
    function: str
    loops: int
    asynchronous: bool
    targets: frozenset[str] = frozenset()
    left: int = 0


@final
@dataclass(frozen=True, slots=True)
class With:
    """One item of a ``with`` statement."""

    ordinal: int
    span: Span
    text: str
    is_call: bool
    function: str
    asynchronous: bool


@final
@dataclass(frozen=True, slots=True)
class Store:
    """An attribute that is assigned to or deleted."""

    ordinal: int
    base: Span
    base_text: str
    base_name: str
    attribute: str
    action: Action
    function: str


@final
@dataclass(frozen=True, slots=True)
class Import:
    """One imported module: ``import a.b`` has no names, ``from a import b, c`` has them."""

    module: str
    names: tuple[str, ...]


@final
@dataclass(frozen=True, slots=True)
class Marks:
    """A statement: its first ordinal, the one after its last, and the index of the statement that
    follows it."""

    first: int
    last: int
    following: int


@final
@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """The facts of one module. `imports` maps a name to what it stands for, dotted; `defined` are
    the names of its functions and classes, wherever in it they are defined; `decorated` pairs the
    qualified name of a function with the dotted name of one of its decorators.

    An `ordinal` counts calls, attributes, every ``for`` and ``with`` items together, as they are
    written, from 0 to `ordinals`; so do the statements of `statements`, among
    themselves. Another parser's tree can be matched by them, whatever its positions are.
    """

    path: str
    module: str
    imports: Mapping[str, str]
    stars: tuple[str, ...] = ()
    imported: tuple[Import, ...] = ()
    modules: frozenset[str] = frozenset()
    defined: frozenset[str] = frozenset()
    decorated: tuple[tuple[str, str], ...] = ()
    calls: tuple[Call, ...] = ()
    loops: tuple[Loop, ...] = ()
    comprehensions: tuple[Loop, ...] = ()
    withs: tuple[With, ...] = ()
    stores: tuple[Store, ...] = ()
    statements: tuple[Marks, ...] = ()
    ordinals: int = 0
    mentions_probes: bool = False
    uses_gradients: bool = False
