"""What an operator sees of a program, and how it writes the faulty one."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, final

from tests.properties.mutants.drafts import Draft
from tests.properties.mutants.loops import File, Place, Scope, call_in, places_in, text_of

Edits = Iterator[Draft]


@final
@dataclass(frozen=True, slots=True)
class Operator:
    """One way to do a program harm; `fault` says why what it writes is a fault, not a choice."""

    name: str
    family: str
    fault: str
    write: Callable[[Source], Edits]


OPERATORS: Final[list[Operator]] = []


def operator(family: str) -> Callable[[Callable[[Source], Edits]], Callable[[Source], Edits]]:
    """Register a function, its name and its docstring as an operator."""

    def register(write: Callable[[Source], Edits]) -> Callable[[Source], Edits]:
        fault = " ".join((write.__doc__ or "").split())
        name = write.__name__.removeprefix("_").replace("_", "-")
        OPERATORS.append(Operator(name, family, fault, write))
        return write

    return register


@final
@dataclass(frozen=True, slots=True)
class Act:
    """A statement that is one call on an object: what is done, and the text of the object."""

    kind: str
    subject: str
    call: ast.Call
    place: Place
    scope: Scope

    @property
    def node(self) -> ast.stmt:
        return self.place.node


@final
class Source:
    """A program, by statements, calls and what names stand for."""

    def __init__(self, text: str) -> None:
        self.file = File(text)
        self.text = text

    def draft(self) -> Draft:
        return Draft(self.text)

    @cached_property
    def places(self) -> list[tuple[Scope, Place]]:
        scopes: list[Scope] = [self.file.tree, *self.file.functions]
        return [(scope, place) for scope in scopes for place in places_in(scope.body)]

    @cached_property
    def acts(self) -> list[Act]:
        return [act for scope, place in self.places if (act := _act(scope, place)) is not None]

    def of(self, *kinds: str) -> list[Act]:
        return [act for act in self.acts if act.kind in kinds]

    def beside(self, act: Act, *kinds: str) -> list[Act]:
        """Return the acts of these kinds in the same scope."""
        return [one for one in self.of(*kinds) if one.scope is act.scope and one is not act]

    def calls(self, *names: str) -> list[ast.Call]:
        """Return the calls whose last name is one of these."""
        return [
            node
            for node in self.file.nodes
            if isinstance(node, ast.Call) and last_name(node.func) in names
        ]

    @cached_property
    def assignments(self) -> list[tuple[Scope, Place, ast.Assign]]:
        return [
            (scope, place, place.node)
            for scope, place in self.places
            if isinstance(place.node, ast.Assign) and len(place.node.targets) == 1
        ]

    @cached_property
    def module_classes(self) -> dict[str, ast.ClassDef]:
        return {
            one.name: one
            for one in self.file.classes
            if any(text_of(base).rsplit(".")[-1] == "Module" for base in one.bases)
        }

    @cached_property
    def models(self) -> list[tuple[Scope, Place, ast.Assign]]:
        """Return where a name or attribute is made a model."""
        return [
            (scope, place, node)
            for scope, place, node in self.assignments
            if isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Call)
            and self.makes_model(node.value)
        ]

    def makes_model(self, call: ast.Call) -> bool:
        name = self.file.called(call)
        return name in self.module_classes or name == "torch.nn.Sequential"

    @cached_property
    def optimizers(self) -> list[tuple[Scope, Place, ast.Assign]]:
        """Return where an optimizer of torch is made."""
        return [
            (scope, place, node)
            for scope, place, node in self.assignments
            if (name := self.file.called(node.value)).startswith("torch.optim.")
            and name.count(".") == 2
        ]

    @cached_property
    def schedulers(self) -> list[tuple[Scope, Place, ast.Assign]]:
        return [
            (scope, place, node)
            for scope, place, node in self.assignments
            if "lr_scheduler." in self.file.called(node.value)
            or self.file.called(node.value).endswith("SWALR")
        ]

    @cached_property
    def forwards(self) -> list[tuple[ast.ClassDef, ast.FunctionDef]]:
        return [
            (one, function)
            for one in self.module_classes.values()
            for function in one.body
            if isinstance(function, ast.FunctionDef) and function.name == "forward"
        ]

    def layers(self, one: ast.ClassDef) -> dict[str, ast.Call]:
        """Return the attributes that a module class fills with layers that have parameters."""
        found = {}
        for node in ast.walk(one):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                target, name = text_of(node.targets[0]), self.file.called(node.value)
                layer = name.startswith("torch.nn.") or name in self.module_classes
                if target.startswith("self.") and layer and name.rsplit(".")[-1] not in PLAIN:
                    found[target] = node.value
        return found


PLAIN: Final = frozenset("Dropout Flatten ReLU Parameter LogSoftmax PixelShuffle".split())
_CLIPS: Final = ("clip_grad_norm_", "clip_grad_value_")


def _act(scope: Scope, place: Place) -> Act | None:
    call = call_in(place.node)
    if call is None:
        return None
    if last_name(call.func) in _CLIPS:
        return Act("clip", text_of(call.args[0]), call, place, scope)
    if not isinstance(call.func, ast.Attribute):
        return None
    subject, attribute = text_of(call.func.value), call.func.attr
    last = subject.rsplit(".")[-1].lower()
    if attribute == "step":
        if "sched" in last or "warmup" in last:
            return Act("schedule", subject, call, place, scope)
        return Act("step", subject, call, place, scope) if "opt" in last else None
    kinds = {"backward": "backward", "zero_grad": "zero", "load_state_dict": "load"}
    kinds |= {"update_parameters": "average", "manual_seed": "seed"}
    if attribute in ("train", "eval") and not call.args:
        return Act(attribute, subject, call, place, scope)
    return Act(kinds[attribute], subject, call, place, scope) if attribute in kinds else None


def last_name(node: ast.expr) -> str:
    return text_of(node).rsplit(".")[-1] if isinstance(node, ast.Name | ast.Attribute) else ""


def neighbours(place: Place) -> list[ast.stmt]:
    """Return the statements before and after one, and that around it: where it would stand."""
    at, block = place.position, place.block
    return [*block[max(0, at - 1) : at], *block[at + 1 : at + 2], *place.around[-1:]]


def dropped(source: Source, place: Place, *related: ast.stmt) -> Draft:
    """Return a draft without a statement."""
    draft = source.draft()
    draft.delete(place.node, place.block)
    draft.mark(*neighbours(place), *related)
    return draft


def names_in(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
