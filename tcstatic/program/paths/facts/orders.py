"""What surveys share: full paths of one object, what lies in a loop itself, and how to tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from tcstatic.program.paths import guesses
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import function_around
from tcstatic.program.paths.sequences import paths
from tcstatic.program.paths.tree import (
    Block,
    Branch,
    Called,
    Exit,
    Happening,
    Loop,
    happenings,
    may_be,
)
from tcstatic.program.paths.values import Place, Unknown
from tcstatic.program.source import syntax

Way = list[tuple[Happening, str]]
WILD: Final = "*"
# Who writes gradients may clear or compute them, but steps nothing.
_STEPS: Final = frozenset({"optimizer.step", "scheduler.step"})


def tell(
    block: Block,
    what: str,
    place: Place,
    *,
    says: bool | str = True,
    assumed: bool = False,
    subjects: Mapping[str, tuple[int, ...]] | None = None,
    facts: Mapping[str, Any] | None = None,
    **values: Any,
) -> None:
    """Write a happening that says what of `what` is the case at a place."""
    block.steps.append(
        Happening(
            "call",
            place,
            dict(subjects or {}),
            assumed=assumed,
            values={"operation": what, what: says, **values},
            facts=dict(facts or {}),
        )
    )


def full_ways(
    block: Block, kinds: frozenset[str], number: int, role: str = "optimizer"
) -> list[Way] | None:
    """The full paths of an object: happenings of these kinds, each with its kind ('?' behind one
    that may concern another object, WILD where anything may happen); None if there are too many.
    An object that is made anew begins a path of its own."""
    born = f"{role}.new"

    def concerns(one: Happening) -> str:
        if one.wild and not (one.values.get("operation") == "grad.write" and kinds <= _STEPS):
            if not may_be(one, kinds):
                return ""
            return WILD if number in one.maybe else ""
        if one.kind == born and one.subjects.get(role, ())[:1] == (number,):
            return born
        if one.kind not in kinds:
            return ""
        if number in one.subjects.get(role, ()):
            return one.kind
        return f"{one.kind}?" if number in one.maybe else ""

    found = paths(block, concerns)
    if found is None:
        return None
    whole = [list(one.steps) for one in found if one.full and one.ended not in ("raise", "stop")]
    return [part for way in whole for part in _lives(way, born)]


def _lives(way: Way, born: str) -> Iterator[Way]:
    """A path, cut where the object is made."""
    life: Way = []
    for one, kind in way:
        if kind == born:
            if life:
                yield life
            life = []
        else:
            life.append((one, kind))
    yield life


def subjects(block: Block, kinds: Iterable[str], role: str = "optimizer") -> list[int]:
    """The numbers in a role that happenings of these kinds are about."""
    wanted = frozenset(kinds)
    return sorted(
        {
            number
            for one in happenings(block)
            if one.kind in wanted and not one.wild
            for number in one.subjects.get(role, ())
        }
    )


def is_wild(block: Block, number: int) -> bool:
    """Whether an object is handed to code that is not known."""
    return any(
        one.wild and number in one.maybe and one.values.get("operation") != "grad.scale"
        for one in happenings(block)
    )


def own(block: Block) -> Iterator[Happening]:
    """Happenings of a loop's body that do not lie in a loop inside of it."""
    for step in block.steps:
        if isinstance(step, Happening):
            yield step
        elif isinstance(step, Called):
            yield from own(step.body)
        elif isinstance(step, Branch):
            for alternative in step.alternatives:
                yield from own(alternative)


def all_loops(block: Block) -> Iterator[Loop]:
    """All loops of a block, outer ones first."""
    for step in block.steps:
        if isinstance(step, Branch):
            for alternative in step.alternatives:
                yield from all_loops(alternative)
        elif isinstance(step, Called):
            yield from all_loops(step.body)
        elif isinstance(step, Loop):
            yield step
            yield from all_loops(step.body)


def guards(body: Block, wanted: Happening) -> list[Branch]:
    """The branches of a loop's body that decide whether `wanted` happens in a round."""
    return _guards(body, wanted)[0]


def _guards(block: Block, wanted: Happening) -> tuple[list[Branch], bool]:
    """The guards of `wanted`, and whether it lies in the block."""
    skipping: list[Branch] = []
    for step in block.steps:
        if step is wanted:
            return skipping, True
        if isinstance(step, Called):
            inner, found = _guards(step.body, wanted)
            if found:
                return [*skipping, *inner], True
        elif isinstance(step, Branch):
            for alternative in step.alternatives:
                inner, found = _guards(alternative, wanted)
                if found:
                    return [*skipping, step, *inner], True
            if any(_leaves(alternative) for alternative in step.alternatives):
                skipping.append(step)
    return skipping, False


def _leaves(block: Block) -> bool:
    return any(
        isinstance(step, Exit) and step.kind in ("continue", "return") for step in block.steps
    )


def is_counter(branch: Branch) -> bool:
    """Whether a branch asks for a remainder, as in ``step % n == 0``."""
    return "%(" in branch.key


def innermost(block: Block, wanted: Happening) -> Loop | None:
    """The innermost loop around a happening."""
    found = None
    for loop in all_loops(block):
        if any(one is wanted for one in happenings(loop.body)):
            found = loop
    return found


def block_around(block: Block, wanted: Happening) -> Block | None:
    """The block among whose own steps a happening is."""
    for step in block.steps:
        if step is wanted:
            return block
        inner = step.alternatives if isinstance(step, Branch) else []
        inner = [step.body] if isinstance(step, Called | Loop) else inner
        for one in inner:
            if (found := block_around(one, wanted)) is not None:
                return found
    return None


def calls_elsewhere(m: Machine, block: Block, places: Iterable[Place], method: str) -> bool:
    """Whether a function of these modules that is not called here calls a method of this name."""
    here: set[str] | None = None
    seen: set[int] = set()
    for place in places:
        module = place.module
        if id(module) in seen or f".{method}" not in module.text.text:
            continue
        seen.add(id(module))
        here = _called(block, set()) if here is None else here
        for node in syntax.walk(module.tree):
            if isinstance(node, syntax.FunctionDef | syntax.AsyncFunctionDef):
                inside = node.name in here
            else:
                inside = not isinstance(node, syntax.Lambda) or node in m.entered
            if not inside and _mentions(node, method):
                return True
    return False


def is_private(place: Place, method: str) -> bool:
    """Whether what is made at a place is given a name of a function, which alone uses it, for its
    attributes and for schedulers, and never for a method."""
    function = function_around(place.module.tree, place.node.lineno)
    if function is None:
        return False
    parents = {
        id(child): node for node in syntax.walk(function) for child in syntax.iter_child_nodes(node)
    }
    bound = parents.get(id(place.node))
    if not isinstance(bound, syntax.Assign) or len(bound.targets) != 1:
        return False
    target = bound.targets[0]
    return isinstance(target, syntax.Name) and all(
        node is target or _is_own_use(node, parents, function, method)
        for node in syntax.walk(function)
        if isinstance(node, syntax.Name) and node.id == target.id
    )


def _is_own_use(
    name: syntax.Name, parents: dict[int, syntax.AST], function: syntax.AST, method: str
) -> bool:
    around: syntax.AST | None = parents.get(id(name))
    known = isinstance(around, syntax.Attribute) and around.attr != method
    if isinstance(around, syntax.Call):
        known = "lr_scheduler." in f"{syntax.unparse(around.func)}." or (
            isinstance(around.func, syntax.Attribute | syntax.Name)
            and syntax.unparse(around.func).endswith("LR")
        )
    while around is not None and around is not function:
        if isinstance(around, syntax.FunctionDef | syntax.AsyncFunctionDef | syntax.Lambda):
            return False
        around = parents.get(id(around))
    return known


def _called(block: Block, found: set[str]) -> set[str]:
    """The names of the functions that are called in a block."""
    for step in block.steps:
        if isinstance(step, Called):
            found.add(step.function.name.rpartition(".")[2])
            _called(step.body, found)
        elif isinstance(step, Branch):
            for alternative in step.alternatives:
                _called(alternative, found)
        elif isinstance(step, Loop):
            _called(step.body, found)
    return found


def _is_environment(node: syntax.expr) -> bool:
    """Whether what is stepped is called like the environment of an agent."""
    while isinstance(node, syntax.Subscript):
        node = node.value
    text = node.attr if isinstance(node, syntax.Attribute) else getattr(node, "id", "")
    return guesses.role(Unknown("name", text)) == "environment"


def _mentions(node: syntax.AST, method: str) -> bool:
    return any(
        isinstance(part, syntax.Attribute)
        and part.attr == method
        and not _is_environment(part.value)
        for part in syntax.walk(node)
    )


def every(found: list[Way] | None, test: Callable[[Way], bool]) -> bool:
    """Whether a test holds on all of some paths."""
    return bool(found) and all(test(way) for way in found or ())
