"""Optimizers that step although no backward reaches any of their parameters."""

from __future__ import annotations

from tcstatic.program.paths.facts.grad_modes import recorded
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.facts.terms import behind
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Happening, happenings
from tcstatic.program.paths.values import Const, Place
from tcstatic.program.paths.walking import Reach, Token


@surveys
def starving(m: Machine, block: Block) -> None:
    """``starved``: where the loss of an optimizer that steps was cut off: the forward that
    recorded nothing, the cut of this loss alone, else the backward before the step."""
    every = list(happenings(block))
    backwards = [one for one in every if one.kind == "loss.backward"]
    if not backwards or any(one.values.get("attribute") == "grad" for one in every):
        return
    reached = [one.values.get("#reach") for one in backwards]
    if any(not isinstance(one, Reach) or one.unknown for one in reached):
        return
    alive = frozenset[Token]().union(*(_alive(m, one) for one in backwards))
    told: set[int] = set()
    for index, step in enumerate(every):
        if step.kind != "optimizer.step" or step.values.get("closure") or step.assumed:
            continue
        for number in step.subjects.get("optimizer", ()):
            mine = _held(m, number)
            if number in told or not mine or mine & alive or _escapes(every, number):
                continue
            before = [one for one in every[:index] if one.kind == "loss.backward"]
            if before and _cuts(m, before[-1], mine):
                told.add(number)
                place = _place(m, before[-1], every, mine)
                subjects: dict[str, tuple[int, ...]] = {"optimizer": (number,)}
                block.steps.append(Happening("call", place, subjects, values={"starved": True}))


def _alive(m: Machine, one: Happening) -> frozenset[Token]:
    """The parameters that a backward reaches, layer by layer where all of that is known."""
    live, _, unknown = recorded(m, one.arguments[0])
    found = one.values.get("#reach")
    return found.tokens if unknown and isinstance(found, Reach) else live


def _held(m: Machine, number: int) -> frozenset[Token]:
    """The parameters of an optimizer, where all of them are known."""
    tokens, complete = m.cells.get((number, "#tokens")), m.cells.get((number, "#complete"))
    known = isinstance(complete, Const) and complete.value is True
    return tokens.value if known and isinstance(tokens, Const) else frozenset()


def _escapes(every: list[Happening], number: int) -> bool:
    return any(one.wild and number in one.maybe for one in every)


def _cuts(m: Machine, one: Happening, mine: frozenset[Token]) -> bool:
    """Whether a backward would reach these parameters, were it not for a cut."""
    found = one.values.get("#reach")
    if not isinstance(found, Reach):
        return False
    for cut in found.cuts:
        held = cut.keywords.get("#tokens")
        if cut.op == "forward" and isinstance(held, Const) and held.value & mine:
            return True
        if behind(m, cut) & mine:
            return True
    return False


def _place(
    m: Machine, backward: Happening, every: list[Happening], mine: frozenset[Token]
) -> Place:
    found = backward.values.get("#reach")
    assert isinstance(found, Reach)
    unrecorded = {id(node) for node in found.cuts if node.op == "forward"}
    for one in every:
        recorded_not = one.kind == "model.forward" and id(one.node) in unrecorded
        if recorded_not and _tokens(one) & mine:
            return one.place
    shared = _cut_from_others(backward, every)
    for cut in found.cuts:
        if cut.place is not None and cut.number not in shared and behind(m, cut) & mine:
            return cut.place
    return backward.place


def _cut_from_others(backward: Happening, every: list[Happening]) -> frozenset[int]:
    """The cuts that other backwards are meant to stop at."""
    found: set[int] = set()
    for one in every:
        other = one.values.get("#reach") if one.kind == "loss.backward" else None
        if isinstance(other, Reach) and one.place.node is not backward.place.node:
            found |= {cut.number for cut in other.cuts}
    return frozenset(found)


def _tokens(one: Happening) -> frozenset[Token]:
    held = one.node.keywords.get("#tokens") if one.node is not None else None
    return held.value if isinstance(held, Const) else frozenset()
