"""Steps that are missing, come too early, or find nothing: optimizers, schedulers, clipping."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from tcstatic.program.paths.facts.orders import (
    all_loops,
    block_around,
    calls_elsewhere,
    full_ways,
    innermost,
    is_private,
    is_wild,
    own,
    subjects,
    tell,
)
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import definitions_around
from tcstatic.program.paths.stores import owner_of_parameter
from tcstatic.program.paths.tree import Block, Happening, happenings
from tcstatic.program.paths.values import Const, Node, Object, Unknown, Value, options
from tcstatic.program.paths.walking import objects_in
from tcstatic.program.source import syntax, uses_gradients

_TAKES: Final = frozenset({"item", "items", "method:items", "method:values"})
_TRAINS: Final = frozenset({"loss.backward", "optimizer.step", "optimizer.zero_grad"})
_SCHEDULE: Final = frozenset({"scheduler.step", "optimizer.step"})


def _new(block: Block, kind: str, role: str) -> dict[int, Happening]:
    """Objects of a role that are made in a root, with where."""
    return {
        number: one
        for one in happenings(block)
        if one.kind == kind and not one.wild
        for number in one.subjects.get(role, ())[:1]
    }


@surveys
def never_stepped(m: Machine, block: Block) -> None:
    """Optimizers whose gradients are computed in a loop, and that nothing steps."""
    every = list(happenings(block))
    new = _new(block, "optimizer.new", "optimizer")
    for number, made in new.items():
        # A class that makes its optimizer makes one for a target network, too.
        alike = (other for other, one in new.items() if one.place.node is made.place.node)
        if _is_handed_on(block, number) or any(_is_stepped(block, one) for one in alike):
            continue
        backwards = [
            one
            for one in every[every.index(made) :]
            if one.kind == "loss.backward"
            and number in one.subjects.get("optimizer", ())
            and _loops(one)
        ]
        if not backwards or _held_by_another(m, block, number):
            continue
        # the loss that is this optimizer's own, if there is one
        last = min(reversed(backwards), key=lambda one: len(one.subjects["optimizer"]))
        if _by_hand(m, block, made, last) or _elsewhere(m, block, made, last):
            continue
        place = _stepped_instead(block, last) or last
        about = {"optimizer": (number, *place.subjects.get("optimizer", ()))}
        tell(block, "never_stepped", place.place, assumed=last.assumed, subjects=about)


def _is_handed_on(block: Block, number: int) -> bool:
    """Whether code that is not known gets an optimizer itself: with its parameters alone, it
    cannot step it."""
    return any(
        one.wild and number in one.values.get("#itself", one.maybe) for one in happenings(block)
    )


def _elsewhere(m: Machine, block: Block, made: Happening, used: Happening) -> bool:
    """Whether what was made may be stepped by code that was not entered."""
    places = (made.place, used.place)
    return not is_private(made.place, "step") and calls_elsewhere(m, block, places, "step")


def _is_stepped(block: Block, number: int) -> bool:
    return any(
        one.kind == "optimizer.step"
        and (number in one.subjects.get("optimizer", ()) or number in one.maybe)
        for one in happenings(block)
    )


def _held_by_another(m: Machine, block: Block, number: int) -> bool:
    """Whether another optimizer that steps holds some of the same parameters, or may do so."""
    mine = m.cells.get((number, "#tokens"))
    for other in subjects(block, ("optimizer.step",)):
        held = m.cells.get((other, "#tokens"))
        complete = m.cells.get((other, "#complete"))
        known = isinstance(complete, Const) and bool(complete.value)
        if not known or not isinstance(held, Const) or not isinstance(mine, Const):
            return True
        if held.value & mine.value:
            return True
    return False


def _loops(one: Happening) -> bool:
    return bool(one.facts.get("in_loop"))


def _by_hand(m: Machine, block: Block, made: Happening, used: Happening) -> bool:
    """Whether parameters are updated without the optimizer, it is read for its groups, or what is
    wanted are the gradients, of the input or of the parameters."""
    if any(uses_gradients(_home(one)) for one in (made, used)):
        return True
    if any(
        text == "grad" and not (isinstance(one, Node) and _is_parameter(one.inputs[0]))
        for (_, text), one in m.lazy.items()
        if one.number > m.begun and isinstance(one, Node | Unknown)
    ):
        return True
    if any(
        one.values.get("operation") == "augmented"
        and one.node is not None
        and one.node.op in ("-", "+")
        and not isinstance(one.receiver, Const)
        and any(
            isinstance(part, Node) and part.op == "item" for part in options(one.node.inputs[0])
        )
        # an element of a table is no parameter where nobody reads a gradient
        and (
            not isinstance(one.place.node, syntax.Subscript)
            or ".grad" in one.place.module.text.text
        )
        for one in happenings(block)
    ):
        return True
    text = made.place.module.text.text
    return "register_post_accumulate_grad_hook" in text


def _home(one: Happening) -> syntax.AST:
    """The class around a place, or the function, or else the module."""
    tree = one.place.module.tree
    around = definitions_around(tree, one.place.node.lineno)
    classes = [node for node in around if isinstance(node, syntax.ClassDef)]
    return (classes or around or [tree])[0]


def _is_parameter(value: Value) -> bool:
    """Whether a value is a parameter, of a model or one that stands alone, or is kept with such."""
    if owner_of_parameter(value) is not None:
        return True
    inner = value
    while isinstance(inner, Node) and inner.op in _TAKES and inner.inputs:
        inner = inner.inputs[0]
    known = [one for one in options(inner) if isinstance(one, Node)]
    return bool(known) and all(one.op == "parameter" for one in known)


def _stepped_instead(block: Block, near: Happening) -> Happening | None:
    """The step of another optimizer, itself stepped twice, that stands where the step for a
    backward belongs: steps come in the order of the backwards, or each follows its own."""
    for loop in all_loops(block):
        inside = [one for one in own(loop.body) if one.kind in _TRAINS]
        if near not in inside:
            continue
        steps = [one for one in inside if one.kind == "optimizer.step" and not one.wild]
        backwards = [one for one in inside if one.kind == "loss.backward"]
        index = backwards.index(near)
        if len(steps) == len(backwards) and _comes_twice(steps[index], steps):
            return steps[index]
        for before, after in pairwise(inside):
            if before in steps and _comes_twice(before, [after]):
                return after
        behind = inside[inside.index(near) + 1 :]
        if behind and _comes_twice(behind[0], steps):
            return behind[0]
    return None


def _comes_twice(step: Happening, steps: list[Happening]) -> bool:
    return step.kind == "optimizer.step" and any(
        one.kind == step.kind
        and one.subjects == step.subjects
        and one.place.node is not step.place.node
        for one in steps
    )


@surveys
def early(m: Machine, block: Block) -> None:
    """Schedulers that are stepped in the training loop before their optimizer first is."""
    for number in subjects(block, ("scheduler.step",), "scheduler"):
        scheduler = m.objects.get(number)
        held = m.attribute(scheduler, "#optimizers") if scheduler is not None else None
        optimizers: tuple[int, ...] = held.value if isinstance(held, Const) else ()
        if len(optimizers) != 1:
            continue
        for one in happenings(block):
            if (
                one.kind == "scheduler.step"
                and one.subjects.get("scheduler") == (number,)
                and not one.arguments
                and _beside(block, one, optimizers[0])
                and _comes_first(block, one, number, optimizers[0])
            ):
                tell(block, "early", one.place, assumed=one.assumed, subjects=one.subjects)


@surveys
def between(m: Machine, block: Block) -> None:
    """Schedulers whose optimizer is not known for one, or not at all, that are stepped between a
    backward and the step of the only optimizer there is."""
    stepped = {number for one in _steps(block) for number in one.subjects["optimizer"]}
    alone = len({one.subjects["optimizer"] for one in _steps(block)}) == 1
    for one in happenings(block):
        known = set(one.subjects.get("optimizer", ()))
        if one.kind != "scheduler.step" or len(known) == 1 or one.arguments:
            continue
        if not (stepped <= known or alone):
            continue
        loop, around = innermost(block, one), block_around(block, one)
        if loop is None or around is None:
            continue
        inside = list(own(loop.body))
        kinds = [other.kind for other in inside[: inside.index(one)]] if one in inside else []
        later = _steps(Block(around.steps[around.steps.index(one) :]))
        steps = any(not known or known & set(late.subjects["optimizer"]) for late in later)
        if steps and "loss.backward" in kinds and "optimizer.step" not in kinds:
            tell(block, "early", one.place, assumed=True, subjects=one.subjects)


def _steps(block: Block) -> list[Happening]:
    return [one for one in happenings(block) if one.kind == "optimizer.step" and not one.wild]


def _beside(block: Block, scheduled: Happening, optimizer: int) -> bool:
    """Whether a loop around the scheduler's step holds a step of its optimizer."""
    for loop in all_loops(block):
        inside = list(happenings(loop.body))
        if scheduled in inside and any(
            one.kind == "optimizer.step" and optimizer in one.subjects.get("optimizer", ())
            for one in inside
        ):
            return True
    return False


def _comes_first(block: Block, scheduled: Happening, number: int, optimizer: int) -> bool:
    found = full_ways(block, _SCHEDULE, optimizer)
    if not found:
        return False
    judged = 0
    for way in found:
        kinds = [kind for _, kind in way]
        at = next((i for i, (one, _) in enumerate(way) if one is scheduled), None)
        if at is None:
            continue
        judged += 1
        if any(not kind.startswith("scheduler.step") for kind in kinds[:at]):
            return False
        if any(one is not scheduled for one, kind in way[:at]):
            return False
        if "optimizer.step" not in kinds[at:]:
            return False
    return judged > 0


@surveys
def never_scheduled(m: Machine, block: Block) -> None:
    """Schedulers of an optimizer that trains, which nothing steps."""
    taken = _taken(m, block)
    for number, made in _new(block, "scheduler.new", "scheduler").items():
        optimizers = set(made.subjects.get("optimizer", ()))
        if number in taken or is_wild(block, number) or not optimizers:
            continue
        if any(
            one.kind == "scheduler.step"
            and (number in one.subjects.get("scheduler", ()) or one.assumed)
            for one in happenings(block)
        ):
            continue
        steps = [
            one
            for one in happenings(block)
            if one.kind == "optimizer.step"
            and optimizers <= set(one.subjects.get("optimizer", ()))
            and _loops(one)
        ]
        if not steps or _elsewhere(m, block, made, steps[-1]):
            continue
        backwards = [o for o in happenings(block) if o.kind == "loss.backward" and _loops(o)]
        if not backwards or _scheduled_later(m, block):
            continue
        place = _stepped_twice_scheduler(block) or made
        name = str(made.values.get("type", "scheduler"))
        tell(block, "never_scheduled", place.place, assumed=steps[-1].assumed, scheduler=name)


def _scheduled_later(m: Machine, block: Block) -> bool:
    """Whether a lambda that was handed on, and that nobody called here, steps a scheduler."""
    modules = {id(one.place.module): one.place.module for one in happenings(block)}
    return any(
        isinstance(node, syntax.Lambda) and node not in m.entered and _steps_scheduler(node)
        for module in modules.values()
        if "lambda" in module.text.text and "sched" in module.text.text
        for node in syntax.walk(module.tree)
    )


def _steps_scheduler(node: syntax.Lambda) -> bool:
    return any(
        isinstance(part, syntax.Attribute)
        and part.attr == "step"
        and "sched" in syntax.unparse(part.value)
        for part in syntax.walk(node.body)
    )


def _stepped_twice_scheduler(block: Block) -> Happening | None:
    for loop in all_loops(block):
        inside = [one for one in own(loop.body) if one.kind in _SCHEDULE]
        for before, after in pairwise(inside):
            if before.kind == after.kind == "scheduler.step" and before.subjects == after.subjects:
                return after
    return None


def _taken(m: Machine, block: Block) -> set[int]:
    """Schedulers that are part of others."""
    found: set[int] = set()
    for one in happenings(block):
        if one.kind == "scheduler.new":
            own_number = one.subjects.get("scheduler", ())[:1]
            for inner in objects_in(m, (*one.arguments, *one.keywords.values())):
                if isinstance(inner, Object) and (inner.number,) != own_number:
                    found.add(inner.number)
    return found


@surveys
def stepping(m: Machine, block: Block) -> None:
    """``computes`` of a step: a model or a loss runs in a loop around it, each round of which steps
    the same optimizer. And a step whose optimizer is never cleared, while another is cleared twice:
    ``cleared_other_optimizer``."""
    for loop in all_loops(block):
        inside = list(happenings(loop.body))
        computes = any(one.kind in ("model.forward", "loss.forward") for one in inside)
        for one in inside:
            if one.kind == "optimizer.step":
                older = any(number < loop.begun for number in one.subjects.get("optimizer", ()))
                one.values["computes"] = (computes and older) or one.values.get("computes", False)
        _cleared_instead(list(own(loop.body)))


def _cleared_instead(inside: list[Happening]) -> None:
    clearings = [one for one in inside if one.kind == "optimizer.zero_grad"]
    cleared = {number for one in clearings for number in one.subjects.get("optimizer", ())}
    twice = next(
        (
            after
            for before, after in pairwise(clearings)
            if before.subjects == after.subjects and before.place.node is not after.place.node
        ),
        None,
    )
    steps = [one for one in inside if one.kind == "optimizer.step"]
    for index, one in enumerate(steps):
        if not cleared & set(one.subjects["optimizer"]):
            one.values["cleared_other_optimizer"] = twice is not None
            if twice is not None:
                # where each step has a clearing of its own, they come in the same order
                wrong = clearings[index] if len(clearings) == len(steps) else twice
                one.values["#trail"] = [("cleared", wrong.place)]
