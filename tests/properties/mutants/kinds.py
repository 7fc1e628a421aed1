"""What a kind of mutation is, and the sites that several kinds share."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, final

from tests.properties.mutants.drafts import Draft
from tests.properties.mutants.loops import Event, File, Place, Region, Scope, text_of


@final
@dataclass(frozen=True, slots=True)
class Kind:
    """One way to break a program: where it can be done, and how; `codes` are the right answers."""

    name: str
    codes: str
    sites: Callable[[File], Iterator[Any]]
    edit: Callable[[Draft, Any], None]


@final
@dataclass(frozen=True, slots=True)
class Turn:
    """One backward, one step and one clearing of the same optimizer, again and again."""

    file: File
    region: Region
    backward: Event
    step: Event
    zero: Event
    optimizer: str

    @property
    def scaled(self) -> bool:
        return self.step.kind == "scaler.step"


def turns(file: File) -> Iterator[Turn]:
    """Yield the regions with exactly one backward, step and clearing, each of them repeated."""
    for region in file.regions:
        backward = region.of("backward")
        steps = region.of("step") + region.of("scaler.step")
        zeros = region.of("zero") + region.of("model.zero")
        if not len(backward) == len(steps) == len(zeros) == 1 or "LBFGS" in file.text:
            continue
        optimizer = stepped(steps[0])
        if zeros[0].kind == "zero" and zeros[0].subject != optimizer:
            continue
        turn = Turn(file, region, backward[0], steps[0], zeros[0], optimizer)
        inner = {place.place.loops[-1:] for place in (backward[0], steps[0], zeros[0])}
        if len(inner) == 1 and repeated(file, region.scope, steps[0].place):
            yield turn


def stepped(event: Event) -> str:
    """Return the text of the optimizer that an event steps."""
    if event.kind == "scaler.step" and event.call.args:
        return text_of(event.call.args[0])
    return event.subject


def repeated(file: File, scope: Scope, place: Place) -> bool:
    """Whether a place lies in a loop, or in a function that a loop of this file calls."""
    return bool(place.loops) or scope_name(scope) in _called_in_loops(file)


def scopes(file: File) -> list[Scope]:
    """Return the module and its functions."""
    return [file.tree, *file.functions]


def scope_name(scope: Scope) -> str:
    return "" if isinstance(scope, ast.Module) else scope.name


def _called_in_loops(file: File) -> set[str]:
    found = set()
    for loop in file.nodes:
        if isinstance(loop, ast.For | ast.While):
            found |= called_names(loop)
    return found


def called_names(node: ast.AST) -> set[str]:
    """Return the last names of what is called below a node."""
    calls = (one.func for one in ast.walk(node) if isinstance(one, ast.Call))
    return {text_of(one).rsplit(".")[-1] for one in calls}


def around(file: File, region: Region, word: str) -> bool:
    """Whether a word stands in a function that the region calls, or that calls the region."""
    names, own = called_names(region.scope), scope_name(region.scope)
    for function in file.functions:
        if function is region.scope:
            continue
        if (function.name in names or own in called_names(function)) and word in text_of(function):
            return True
    return False


def same_block(*events: Event) -> bool:
    return all(one.place.block is events[0].place.block for one in events)


def marks_of(file: File, role: str, subject: str) -> list[ast.Assign]:
    """Return where the named object is made; where it is a parameter, all of its kind."""
    made = file.makings.get(role, {})
    return made.get(subject) or [one for every in made.values() for one in every]
