"""What a program may do, as a tree: happenings in order, branches, loops, calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal, final

from tcstatic.program.paths.values import Function, Node, Place, Value

ExitKind = Literal["return", "break", "continue", "raise", "stop"]


@final
@dataclass(slots=True, eq=False)
class Happening:
    """One abstract event.

    `subjects` are certain by role, `maybe` are objects that it may concern as well, `assumed`
    says that a subject was inferred from the shape of the code. `wild` happenings may be anything
    to the objects in `maybe`: they were handed to code that is not known. `node` is the value that
    is looked at by relations over flow; `facts` go to the context, `values` to the event.
    """

    kind: str
    place: Place
    subjects: dict[str, tuple[int, ...]] = field(default_factory=dict)
    maybe: frozenset[int] = frozenset()
    wild: bool = False
    assumed: bool = False
    values: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    inferred: set[str] = field(default_factory=set)
    node: Node | None = None
    arguments: tuple[Value, ...] = ()
    keywords: dict[str, Value] = field(default_factory=dict)
    receiver: Value | None = None
    result: Value | None = None


# What is done to gradients by hand, and no more than that: what it may stand for.
_BY_HAND: Final = {"grad.scale": frozenset({"scaler.unscale", "grad.clip"})}


def may_be(one: Happening, kinds: frozenset[str]) -> bool:
    """Whether a wild happening may be of one of these kinds: what scales gradients clears none."""
    known = _BY_HAND.get(one.values.get("operation", ""))
    return known is None or bool(known & kinds)


@final
@dataclass(slots=True, eq=False)
class Exit:
    """The path leaves its loop, its function, or the program."""

    kind: ExitKind


@final
@dataclass(slots=True, eq=False)
class Branch:
    """One of several blocks. `key` names the condition: equal keys decide alike while the values
    in them (the newest is number `birth`) are the same; alternative 0 is its being true. `whose`
    says that one call is made in each of them, of another receiver; `place` is an ``if``'s own."""

    key: str
    birth: int
    alternatives: list[Block]
    condition: Value | None = None
    whose: bool = False
    place: Place | None = None


@final
@dataclass(slots=True, eq=False)
class Loop:
    """A loop. `begun` is the number of the first value made inside; `certain` says that its body
    runs at least once, `once` that it runs no more than that."""

    body: Block
    place: Place
    begun: int
    certain: bool
    kind: Literal["for", "while"]
    role: str = ""
    once: bool = False


@final
@dataclass(slots=True, eq=False)
class Called:
    """The body of a function that was called at `place`: a return leaves it. `whose` is what it is
    a method of."""

    body: Block
    function: Function
    place: Place
    whose: Value | None


Step = Happening | Branch | Loop | Called | Exit


@final
@dataclass(slots=True, eq=False)
class Block:
    """Steps in order. `known` are all happenings in it, kept for as long as it has `counted`
    steps: a root is gone through many times."""

    steps: list[Step] = field(default_factory=list)
    known: list[Happening] = field(default_factory=list)
    counted: int = -1


def happenings(block: Block) -> list[Happening]:
    """All happenings of a root, as written; not to be asked while its blocks are being written."""
    if block.counted != len(block.steps):
        block.known = []
        _gather(block, block.known)
        block.counted = len(block.steps)
    return block.known


def _gather(block: Block, into: list[Happening]) -> None:
    for step in block.steps:
        if isinstance(step, Happening):
            into.append(step)
        elif isinstance(step, Branch):
            for alternative in step.alternatives:
                _gather(alternative, into)
        elif isinstance(step, Loop | Called):
            _gather(step.body, into)


def called_within(block: Block) -> Iterator[Called]:
    """All calls of the program's own functions in a block."""
    for step in block.steps:
        if isinstance(step, Branch):
            for alternative in step.alternatives:
                yield from called_within(alternative)
        elif isinstance(step, Loop):
            yield from called_within(step.body)
        elif isinstance(step, Called):
            yield step
            yield from called_within(step.body)


def with_calls(
    block: Block, around: tuple[Called, ...] = ()
) -> Iterator[tuple[Happening, tuple[Called, ...]]]:
    """All happenings of a block, each with the calls that it happens in, outermost first."""
    for step in block.steps:
        if isinstance(step, Happening):
            yield step, around
        elif isinstance(step, Branch):
            for alternative in step.alternatives:
                yield from with_calls(alternative, around)
        elif isinstance(step, Loop):
            yield from with_calls(step.body, around)
        elif isinstance(step, Called):
            yield from with_calls(step.body, (*around, step))


def loops(block: Block, around: tuple[Loop, ...] = ()) -> Iterator[tuple[Loop, tuple[Loop, ...]]]:
    """All loops of a block, each with those around it, outermost first."""
    for step in block.steps:
        if isinstance(step, Branch):
            for alternative in step.alternatives:
                yield from loops(alternative, around)
        elif isinstance(step, Loop):
            yield step, around
            yield from loops(step.body, (*around, step))
        elif isinstance(step, Called):
            yield from loops(step.body, around)
