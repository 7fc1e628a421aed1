"""Gradients of several micro-batches for one step: cleared in between, or not divided."""

from __future__ import annotations

import re
from typing import Final

from tcstatic.program.paths import gradients
from tcstatic.program.paths.facts.hooked import may_scale
from tcstatic.program.paths.facts.orders import (
    WILD,
    Way,
    all_loops,
    full_ways,
    guards,
    is_counter,
    own,
    tell,
)
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import LOSSES, SHAPE
from tcstatic.program.paths.tree import Block, Branch, Happening, Loop, happenings
from tcstatic.program.paths.values import Const, Node, Object, Value, options
from tcstatic.program.source import syntax

_KINDS: Final = frozenset({"loss.backward", "optimizer.step", "optimizer.zero_grad"})
# Optimizers whose step does not depend on the scale of the gradients.
SCALE_FREE: Final = frozenset(
    "Adam AdamW Adamax NAdam RAdam Adagrad Adadelta RMSprop Rprop SparseAdam Adafactor Muon".split()
)


# What backward may be given that does not weigh what it computes.
_UNWEIGHTED: Final = frozenset({"retain_graph", "create_graph", "inputs"})
# A rate that is set by hand, and scaled.
_SETS_RATE: Final = re.compile(r"\[[\"']lr[\"']\]\s*([*/]=|=[^=\n]*[*/])")


@surveys
def cleared_too_often(m: Machine, block: Block) -> None:
    """``zero_grad`` that loses the gradients of micro-batches that a later step should use."""
    for number, candidates in _candidates(block).items():
        found = full_ways(block, _KINDS, number)
        if found is None or any(kind == WILD for way in found for _, kind in way):
            continue
        lost = _wasteful(found)
        for clearing, step in candidates:
            if clearing in lost:
                assumed = clearing.assumed or step.assumed
                about = {"optimizer": (number,)}
                tell(block, "cleared_too_often", clearing.place, assumed=assumed, subjects=about)


def _candidates(block: Block) -> dict[int, list[tuple[Happening, Happening]]]:
    """By optimizer: clearings in each round of a loop whose step comes in some rounds, by count."""
    found: dict[int, list[tuple[Happening, Happening]]] = {}
    for loop in all_loops(block):
        inside = list(own(loop.body))
        if not any(one.kind == "loss.backward" for one in inside):
            continue
        for clearing in inside:
            if clearing.kind != "optimizer.zero_grad":
                continue
            for number in clearing.subjects.get("optimizer", ()):
                step = _guarded_step(loop, inside, clearing, number)
                if step is not None:
                    found.setdefault(number, []).append((clearing, step))
    return found


def _wasteful(found: list[Way]) -> list[Happening]:
    """Clearings that throw away what the same backward hands to a step in another round."""
    used: set[int] = set()
    lost: dict[int, tuple[Happening, set[int]]] = {}
    for way in found:
        pending: set[int] = set()
        for one, kind in way:
            if kind == "loss.backward":
                pending.add(id(one))
            elif kind.startswith("optimizer.step"):
                used |= pending
                pending = set()
            elif kind == "optimizer.zero_grad":
                lost.setdefault(id(one), (one, set()))[1].update(pending)
                pending = set()
    return [one for one, thrown in lost.values() if thrown & used]


def _guarded_step(
    loop: Loop, inside: list[Happening], clearing: Happening, number: int
) -> Happening | None:
    """The step in the loop of a clearing that is made in some rounds, by a count of rounds."""
    for step in _steps(inside, number):
        counters = [one for one in guards(loop.body, step) if is_counter(one)]
        if counters and not any(is_counter(one) for one in guards(loop.body, clearing)):
            return step
    return None


def _steps(inside: list[Happening], number: int) -> list[Happening]:
    return [
        one
        for one in inside
        if one.kind == "optimizer.step" and number in one.subjects.get("optimizer", ())
    ]


@surveys
def undivided(m: Machine, block: Block) -> None:
    """Losses of micro-batches that are summed as they are."""
    loops = list(all_loops(block))
    if not loops or may_scale(happenings(block)):
        return
    for loop in loops:
        inside = list(own(loop.body))
        if any(_rescales(m, one) for one in happenings(loop.body)):
            continue
        for one in inside:
            if one.kind == "loss.backward" and _is_method(one) and len(one.arguments) == 1:
                _summed(m, block, loop, inside, one)


def _summed(
    m: Machine, block: Block, loop: Loop, inside: list[Happening], backward: Happening
) -> None:
    free = guards(loop.body, backward)
    numbers = backward.subjects.get("optimizer", ())
    if any(not guards(loop.body, step) for number in numbers for step in _steps(inside, number)):
        return
    for number in numbers:
        optimizer = m.objects.get(number)
        if optimizer is None or not _depends_on_scale(optimizer, inside):
            continue
        for step in _steps(inside, number):
            counters = [g for g in guards(loop.body, step) if is_counter(g) and g not in free]
            whole = _divided(m, backward.arguments[0]) is False
            if counters and whole and not _cleared_freely(inside, loop, number, counters):
                assumed = backward.assumed or step.assumed
                about = {"optimizer": (number,)}
                tell(block, "undivided", backward.place, assumed=assumed, subjects=about)
                return


def _cleared_freely(
    inside: list[Happening], loop: Loop, number: int, counters: list[Branch]
) -> bool:
    """Whether gradients are cleared in rounds without a step: then nothing is summed."""
    return any(
        one.kind == "optimizer.zero_grad"
        and number in one.subjects.get("optimizer", ())
        and not any(guard in counters for guard in guards(loop.body, one))
        for one in inside
    )


def _is_method(one: Happening) -> bool:
    """``loss.backward()``: an engine's backward may divide by itself."""
    node = one.place.node
    if not isinstance(node, syntax.Call) or node.args:
        return False
    return all(one.arg in _UNWEIGHTED for one in node.keywords)


def _depends_on_scale(optimizer: Object, inside: list[Happening]) -> bool:
    if not isinstance(optimizer.type, str) or not optimizer.type.startswith("torch.optim."):
        return False
    if any(_SETS_RATE.search(one.place.module.text.text) for one in inside[:1]):
        return False
    rate = optimizer.keywords.get("lr") or (optimizer.arguments[1:2] or (None,))[0]
    if rate is None or any(isinstance(one, Node) and one.op in "/*" for one in options(rate)):
        return False
    if optimizer.type_name in SCALE_FREE:
        return any(one.kind == "grad.clip" for one in inside)
    return optimizer.type_name in ("SGD", "ASGD")


def _rescales(m: Machine, one: Happening) -> bool:
    """Gradients are changed by hand."""
    if one.wild and one.values.get("operation") in (gradients.WRITES, gradients.SCALES):
        return True
    if one.values.get("operation") in ("augmented", "store", "dropped"):
        values = [one.receiver, one.node, *one.arguments]
        return any(
            isinstance(value, Node) and any(_is_gradient(part) for part in _near(value))
            for value in values
        )
    return False


def _near(value: Node) -> tuple[Value, ...]:
    return (value, *value.inputs)


def _is_gradient(value: Value) -> bool:
    return isinstance(value, Node) and value.op == "attr:grad"


def _divided(m: Machine, value: Value) -> bool | None:
    """Whether a loss is divided (or multiplied) on its way; None where that is not known."""
    known: list[bool | None] = []
    for one in options(value):
        if isinstance(one, Const):
            continue
        known.append(_one_divided(m, one))
    if not known or any(answer is None for answer in known):
        return None
    return any(known)


def _one_divided(m: Machine, value: Value) -> bool | None:
    if not isinstance(value, Node):
        return None
    if value.op in LOSSES:
        held = value.keywords.get("reduction")
        mean = held is None or (isinstance(held, Const) and held.value == "mean")
        return False if mean else None
    if value.op in ("/", "*", "div", "mul", "//"):
        return True
    if value.op in ("+", "scale") or value.op in SHAPE:
        parts = [_divided(m, part) for part in value.inputs[: 2 if value.op == "+" else 1]]
        return None if any(part is None for part in parts) else any(parts)
    return None
