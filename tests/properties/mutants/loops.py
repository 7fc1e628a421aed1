"""Finds training loops in a file that source alone decides, apart from the analysis under test.

Only the plainest of forms are taken: statements `x.backward()`, `o.step()`, `o.zero_grad()` in one
function, where `o` is made in this file by a class of torch.optim, or is a parameter of that
function and an optimizer is made elsewhere in the file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import final

OPTIMIZERS = frozenset("SGD Adam AdamW RMSprop Adagrad Adadelta Adamax NAdam RAdam".split())
Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef


@final
@dataclass(frozen=True, slots=True)
class Place:
    """A statement, its block, and the compound statements around it, outermost first."""

    node: ast.stmt
    block: list[ast.stmt]
    around: tuple[ast.stmt, ...]

    @property
    def loops(self) -> tuple[ast.For | ast.While, ...]:
        return tuple(one for one in self.around if isinstance(one, ast.For | ast.While))

    @property
    def plain(self) -> bool:
        """Whether nothing but loops and `with` lies around it."""
        return all(isinstance(one, ast.For | ast.While | ast.With) for one in self.around)

    @property
    def position(self) -> int:
        return self.block.index(self.node)


@final
@dataclass(frozen=True, slots=True)
class Event:
    """A statement that is one call of interest; `subject` is the text of its receiver."""

    kind: str
    subject: str
    call: ast.Call
    place: Place

    @property
    def node(self) -> ast.stmt:
        return self.place.node


@final
@dataclass(frozen=True)
class Region:
    """A scope that trains: its events in the order of the text."""

    scope: Scope
    events: tuple[Event, ...]
    places: tuple[Place, ...]

    def of(self, kind: str, subject: str = "") -> list[Event]:
        return [e for e in self.events if e.kind == kind and subject in ("", e.subject)]

    @cached_property
    def parameters(self) -> frozenset[str]:
        if isinstance(self.scope, ast.Module):
            return frozenset()
        given = self.scope.args
        every = [*given.posonlyargs, *given.args, *given.kwonlyargs]
        return frozenset(one.arg for one in every)


def text_of(node: ast.AST) -> str:
    return ast.unparse(node)


def block_lists(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if block:
            yield block
    for handler in getattr(node, "handlers", ()):
        yield handler.body


def places_in(block: list[ast.stmt], around: tuple[ast.stmt, ...] = ()) -> Iterator[Place]:
    """Yield the statements of a scope, without those of functions and classes inside it."""
    for node in block:
        yield Place(node, block, around)
        if not isinstance(node, Function | ast.ClassDef):
            for inner in block_lists(node):
                yield from places_in(inner, (*around, node))


def call_in(node: ast.stmt) -> ast.Call | None:
    """Return the call that a statement is, or assigns."""
    value = node.value if isinstance(node, ast.Expr | ast.Assign) else None
    return value if isinstance(value, ast.Call) else None


@final
class File:
    """What is plain to see in one file: imports, and which texts name what torch makes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = ast.parse(text)
        self.nodes = list(ast.walk(self.tree))
        self.imports = dict(self._imports())
        self.made: dict[str, dict[str, ast.Assign]] = {}
        # Of each role, all the places where a thing of that name is made.
        self.makings: dict[str, dict[str, list[ast.Assign]]] = {}
        for node in self.nodes:
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                self._assignment(node)

    def _imports(self) -> Iterator[tuple[str, str]]:
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for one in node.names:
                    yield (
                        one.asname or one.name.split(".")[0],
                        one.name if one.asname else (one.name.split(".")[0]),
                    )
            elif isinstance(node, ast.ImportFrom) and not node.level:
                for one in node.names:
                    yield one.asname or one.name, f"{node.module}.{one.name}"

    def name(self, node: ast.expr) -> str:
        """Return the dotted name of an expression, its first part as imported, or ''."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        parts.append(self.imports.get(node.id, node.id))
        dotted = ".".join(reversed(parts))
        return (
            dotted.replace("torch.nn.functional.", "F.") if dotted.startswith("torch.") else dotted
        )

    def called(self, node: ast.expr | None) -> str:
        return self.name(node.func) if isinstance(node, ast.Call) else ""

    def _assignment(self, node: ast.Assign) -> None:
        called = self.called(node.value)
        kind = role_of(called)
        target = node.targets[0]
        if kind and isinstance(target, ast.Name | ast.Attribute):
            self.made.setdefault(kind, {})[text_of(target)] = node
            self.makings.setdefault(kind, {}).setdefault(text_of(target), []).append(node)

    @cached_property
    def optimizers(self) -> dict[str, ast.Assign]:
        return self.made.get("optimizer", {})

    @cached_property
    def functions(self) -> list[Function]:
        return [node for node in self.nodes if isinstance(node, Function)]

    @cached_property
    def classes(self) -> list[ast.ClassDef]:
        return [node for node in self.nodes if isinstance(node, ast.ClassDef)]

    def is_a(self, kind: str, subject: str, parameters: frozenset[str]) -> bool:
        made = self.made.get(kind, {})
        if subject in made:
            return True
        return subject in parameters and bool(made) and _HINTS[kind] in subject.lower()

    @cached_property
    def regions(self) -> list[Region]:
        """Return the scopes that hold a backward and a step."""
        scopes: list[Scope] = [self.tree, *self.functions]
        found = []
        for scope in scopes:
            places = tuple(places_in(scope.body))
            parameters = Region(scope, (), ()).parameters
            events = tuple(e for p in places if (e := self._event(p, parameters)) is not None)
            region = Region(scope, events, places)
            if region.of("backward") and (region.of("step") or region.of("scaler.step")):
                found.append(region)
        return found

    def _event(self, place: Place, parameters: frozenset[str]) -> Event | None:
        call = call_in(place.node)
        if call is None:
            return None
        name, function = self.called(call), call.func
        if name.rsplit(".")[-1] in ("clip_grad_norm_", "clip_grad_value_"):
            return Event("clip", name, call, place)
        if not isinstance(function, ast.Attribute):
            return None
        subject, kind = text_of(function.value), function.attr
        if kind == "backward":
            return Event("backward", subject, call, place)
        if kind == "set_epoch" or (kind in ("train", "eval") and len(call.args) == 0):
            return Event(kind, subject, call, place)
        for role in ("optimizer", "scaler", "scheduler"):
            if kind in _METHODS[role] and self.is_a(role, subject, parameters):
                return Event(_METHODS[role][kind], subject, call, place)
        return Event("model.zero", subject, call, place) if kind == "zero_grad" else None


_HINTS = {"optimizer": "opt", "scaler": "scaler", "scheduler": "sched"}
_METHODS = {
    "optimizer": {"step": "step", "zero_grad": "zero"},
    "scaler": {"step": "scaler.step", "update": "update", "unscale_": "unscale"},
    "scheduler": {"step": "scheduler"},
}


def role_of(called: str) -> str:
    """Return what a call of this name makes."""
    last = called.rsplit(".")[-1]
    if called.startswith("torch.optim.lr_scheduler."):
        return "" if last == "ReduceLROnPlateau" else "scheduler"
    if last in OPTIMIZERS and called.startswith(("torch.optim.", "transformers.")):
        return "optimizer"
    if last == "GradScaler" and called.startswith("torch."):
        return "scaler"
    if last in ("DistributedSampler", "DataLoader") and called.startswith("torch."):
        return "sampler" if last == "DistributedSampler" else "loader"
    if last in ("DistributedDataParallel", "FullyShardedDataParallel"):
        return "wrapper"
    return "module" if last in ("ModuleList", "ModuleDict") else ""
