"""The state of the abstract machine: frames, cells, the block that is being written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, final

from tcstatic.program.paths.project import Module, Project
from tcstatic.program.paths.store import Cells, Changes
from tcstatic.program.paths.tree import Block, Called, Exit, ExitKind, Happening, Loop
from tcstatic.program.paths.values import (
    Const,
    Function,
    Listing,
    Node,
    Object,
    Place,
    Unknown,
    Value,
)
from tcstatic.program.source import syntax

if TYPE_CHECKING:
    from tcstatic.program.paths.recording import Recorder

# Calls are followed this deep, and a root is explored for this many expressions.
DEPTH: Final = 14
ORDERS: Final = frozenset({"<", "<=", ">", ">="})
_COMPARISONS: Final = ORDERS | {"==", "eq", "-", "!="}
EFFORT: Final = 10_000


@final
@dataclass(slots=True, eq=False)
class Frame:
    """A function (or module) at work. `scopes` are the numbers of the frames around it, `at` is
    where it was called, `body` what its caller does while it waits at a ``yield``."""

    number: int
    module: Module
    name: str
    scopes: tuple[int, ...]
    mark: int
    function: Function | None = None
    owner_self: Value | None = None
    globals: set[str] = field(default_factory=set)
    returns: list[tuple[Value, Changes]] = field(default_factory=list)
    yields: list[Value] = field(default_factory=list)
    at: Place | None = None
    body: Callable[[Value], None] | None = None


@final
@dataclass(slots=True, eq=False)
class Sparing:
    """A part of the exploration that may not spend all effort; `exhausted` if it was broken off."""

    exhausted: bool = False


@final
@dataclass(slots=True, eq=False)
class LoopState:
    """A loop at work: where its cells began, the states that left its body early, and what was
    asked for by conditions whose truth is known: numbers of values, and names of attributes."""

    mark: int
    loop: Loop
    left: list[Changes] = field(default_factory=list)
    decided: set[int | str] = field(default_factory=set)


@final
class Machine:
    """Everything that changes while a root is explored.

    `dead`: the path that is being written has left its block. `regions`: the ``with`` regions
    around, outermost first. `entered`: function nodes whose body was run.
    `begun` is the number of the first value of this root.
    `answers`: what surveys found out about a value of this root. `effort` counts
    expressions; beyond the limit (the part of it that is `spared`) everything is unknown and
    `exhausted` says so. `thorough`: every
    call is followed, else those that may touch what is trained. `recorder`: who is told of every
    call and loop, if anybody is.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.cells = Cells()
        self.block = Block()
        self.frames: list[Frame] = []
        self.loops: list[LoopState] = []
        self.regions: tuple[str, ...] = ()
        self.region_places: tuple[Place | None, ...] = ()
        self.dead = False
        self.effort = 0
        self.begun = 0
        self.limit = EFFORT
        self.spared = 1.0
        self.exhausted = False
        self.entered: set[syntax.AST] = set()
        self.vague: set[syntax.AST] = set()
        self.answers: dict[tuple[str, int], str] = {}
        self.defined: list[Function] = []
        self.objects: dict[int, Object] = {}
        self.former: dict[tuple[object, ...], list[Object]] = {}
        self.compared: list[Node] = []
        self.lazy: dict[tuple[int, str], Value] = {}
        self.globals: dict[int, Module] = {}
        self.classes: dict[syntax.ClassDef, Value] = {}
        self.templates: dict[tuple[int, Any, int], Value] = {}
        self.sites: dict[tuple[str, int, int], tuple[str, bool]] = {}
        self.bodies: dict[syntax.AST, Callable[[Value], None]] = {}
        self.quiet = 0
        self.thorough = True
        self.recorder: Recorder | None = None

    @property
    def frame(self) -> Frame:
        """The innermost frame."""
        return self.frames[-1]

    def place(self, node: syntax.expr | syntax.stmt) -> Place:
        """Where a node of the present frame stands."""
        frame = self.frames[-1]
        return Place(frame.module, node, frame.name)

    def node(
        self, op: str, inputs: tuple[Value, ...], at: syntax.expr | syntax.stmt | None, **more: Any
    ) -> Node:
        """A value made by an operation, here and now."""
        place = self.place(at) if at is not None else None
        made = Node(op, inputs, place=place, regions=self.regions, **more)
        if op in _COMPARISONS and not self.dead and not self.quiet:
            self.compared.append(made)
        return made

    def emit(self, kind: str, at: syntax.expr | syntax.stmt, **fields: Any) -> Happening:
        """Write a happening."""
        happening = Happening(kind, self.place(at), **fields)
        happening.facts.setdefault("loops", len(self.loops))
        happening.facts["grad"] = self.grad_enabled()
        happening.values["regions"] = self.regions
        if self.recorder is not None:
            self.recorder.happened(happening)
        if not self.dead and not self.quiet:
            self.block.steps.append(happening)
        return happening

    def leave(self, kind: ExitKind) -> None:
        """The path leaves its block here."""
        if not self.dead and not self.quiet:
            self.block.steps.append(Exit(kind))
        self.dead = True

    def grad_enabled(self) -> bool | None:
        """Whether gradients are recorded here, as far as regions tell."""
        for region in reversed(self.regions):
            if region in ("no_grad", "inference_mode", "grad_off"):
                return False
            if region in ("enable_grad", "grad_on"):
                return True
            if region in ("grad_unknown", "unknown"):
                return None
        state = self.cells.get((0, "grad"))
        if state is None:
            return True
        return state.value if isinstance(state, Const) and isinstance(state.value, bool) else None

    @contextmanager
    def writing(self, block: Block) -> Iterator[Block]:
        """Write into another block meanwhile."""
        before, self.block = self.block, block
        try:
            yield block
        finally:
            self.block = before

    @contextmanager
    def within(self, *regions: str, places: tuple[Place | None, ...] = ()) -> Iterator[None]:
        """Be inside of further regions meanwhile."""
        before = self.regions, self.region_places
        self.regions = (*self.regions, *regions)
        self.region_places = (*self.region_places, *(places or (None,) * len(regions)))
        try:
            yield
        finally:
            self.regions, self.region_places = before

    def grad_off_place(self) -> Place | None:
        """Where the region begins that switches gradients off here, if a region does."""
        for region, place in zip(reversed(self.regions), reversed(self.region_places), strict=True):
            if region in ("no_grad", "inference_mode", "grad_off"):
                return place
        return None

    def called(self, function: Function, place: Place, whose: Value | None) -> Called:
        """A new block for a function's body, written into the present one."""
        step = Called(Block(), function, place, whose)
        if not self.dead and not self.quiet:
            self.block.steps.append(step)
        return step

    def spend(self) -> bool:
        """Count one expression; tell whether the effort is spent."""
        self.effort += 1
        if self.effort > self.limit * self.spared:
            self.exhausted = True
        return self.exhausted

    @contextmanager
    def sparing(self, part: float) -> Iterator[Sparing]:
        """Be content with a part of the effort meanwhile."""
        state, before = Sparing(), self.spared
        self.spared = min(before, part)
        try:
            yield state
        finally:
            self.spared = before
        if self.exhausted and part < before and self.effort <= self.limit * before:
            self.exhausted, state.exhausted = False, True

    def attribute(self, holder: Value, name: str) -> Value | None:
        """What an attribute of an object holds, or None."""
        return self.cells.get((holder.number, name))

    def set_attribute(self, holder: Value, name: str, value: Value | None) -> None:
        """Set an attribute of anything; its holder remembers the name."""
        if isinstance(holder, Object | Listing):
            holder.attributes.add(name)
        self.cells.set((holder.number, name), value)

    def lazily(self, holder: Value, name: str, make: Value) -> Value:
        """The same unknown attribute each time it is read, whatever branch read it first."""
        known = self.lazy.setdefault((holder.number, name), make)
        if known is make:
            make.birth = holder.birth
        return known

    def unknown(self, origin: str, name: str = "", at: syntax.expr | None = None) -> Unknown:
        """A fresh unknown."""
        return Unknown(origin, name, self.place(at) if at is not None else None)
