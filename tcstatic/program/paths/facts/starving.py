"""Optimizers that step although no backward reaches any of their parameters."""

from __future__ import annotations

import re
from typing import Final

from tcstatic.program.paths.facts.grad_modes import recorded
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.facts.terms import behind
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import COMPARED, LOSSES
from tcstatic.program.paths.tree import Block, Happening, happenings, loops
from tcstatic.program.paths.values import Const, Node, Place, Value
from tcstatic.program.paths.walking import Reach, Token, upstream
from tcstatic.program.source import syntax

_ANEW: Final = frozenset({"tensor", "as_tensor", "new_tensor"})
_SCALES: Final = frozenset({"*", "/", "mul", "div", "mean", "sum", "scale"})
_SCALED: Final = 4
_ASKED: Final = frozenset(
    """attr:shape attr:dtype attr:device attr:ndim size dim numel shape len zeros_like ones_like
    rand_like randn_like empty_like full_like""".split()
)
# Functions that may compute gradients themselves, and give back the loss.
_GOES: Final = re.compile(r"back|grad|train|fit|optim|step|learn|pass|run", re.IGNORECASE)
_LOSS: Final = re.compile(r"loss", re.IGNORECASE)
# Losses whose targets nobody trains.
_LABELLED: Final = frozenset({"cross_entropy", "nll_loss", "bce", "bce_with_logits"})


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
            mine = held_by(m, number)
            if number in told or not mine or mine & alive or _escapes(every, number):
                continue
            before = [one for one in every[:index] if one.kind == "loss.backward"]
            if before and _cuts(m, before[-1], mine):
                told.add(number)
                place = _place(m, before[-1], every, mine)
                tell(block, "starved", place, subjects={"optimizer": (number,)})


@surveys
def idle(m: Machine, block: Block) -> None:
    """``computes`` of a step in a loop that clears and steps, and does nothing else, or computes a
    loss that it only shows: what ought to be computed there is not."""
    for loop, _ in loops(block):
        body = getattr(loop.place.node, "body", ())
        inside = list(happenings(loop.body))
        kinds = [one for one in inside if one.kind.startswith("optimizer.")]
        if not isinstance(body, list) or len({one.subjects.get("optimizer") for one in kinds}) != 1:
            continue
        if {one.kind for one in kinds} != {"optimizer.step", "optimizer.zero_grad"}:
            continue
        alone = len(kinds) == len(body) and {_method(one) for one in body} == {"zero_grad", "step"}
        if alone or (_is_unspoilt(inside) and _shows_loss(body)):
            for one in kinds:
                if one.kind == "optimizer.step":
                    one.values["computes"] = True
                    one.assumed = one.assumed or not alone


def _is_unspoilt(inside: list[Happening]) -> bool:
    """Whether no backward, scheduler, or unknown code is at work on what an optimizer holds."""
    return not any(
        one.wild or one.kind in ("loss.backward", "scheduler.step") or one.values.get("closure")
        for one in inside
    )


def _shows_loss(body: list[syntax.stmt]) -> bool:
    """Whether statements assign a loss, and give it to nothing but what shows it."""
    names = {
        target.id
        for one in body
        if isinstance(one, syntax.Assign)
        for target in one.targets
        if isinstance(target, syntax.Name) and _LOSS.search(target.id)
    }
    calls = [part for one in body for part in syntax.walk(one) if isinstance(part, syntax.Call)]
    if not names or any(
        _GOES.search(_name(call)) and (call.args or call.keywords) for call in calls
    ):
        return False
    return not any(
        isinstance(part, syntax.Name) and part.id in names and not _shows(call)
        for call in calls
        for given in (*call.args, *(one.value for one in call.keywords))
        for part in syntax.walk(given)
    )


def _shows(call: syntax.Call) -> bool:
    shows = ("print", "append", "float", "info", "debug", "update", "isnan", "isfinite")
    return _name(call) in shows


def _name(call: syntax.Call) -> str:
    return str(getattr(call.func, "attr", getattr(call.func, "id", "")))


def _method(statement: syntax.stmt) -> str:
    """The method that a statement calls without arguments."""
    call = statement.value if isinstance(statement, syntax.Expr) else None
    if isinstance(call, syntax.Call) and not call.args and not call.keywords:
        return call.func.attr if isinstance(call.func, syntax.Attribute) else ""
    return ""


@surveys
def severed(m: Machine, block: Block) -> None:
    """``starved``: a loss made anew of another's value, or of a detached output, before a step:
    whatever else is trained, this backward reaches nothing."""
    every = list(happenings(block))
    if any(one.values.get("attribute") == "grad" for one in every):
        return
    told = {id(one.place.node) for one in every if "starved" in one.values}
    for index, one in enumerate(every):
        if one.kind != "loss.backward" or _is_tried(one.place):
            continue
        cut = _made_anew(m, one.arguments[0]) or _detached(m, one)
        if cut is None or cut.place is None or id(cut.place.node) in told:
            continue
        step = next((later for later in every[index:] if later.kind == "optimizer.step"), None)
        if step is None or not step.subjects.get("optimizer"):
            continue
        told.add(id(cut.place.node))
        about = {"optimizer": step.subjects["optimizer"][:1]}
        tell(block, "starved", cut.place, assumed=step.assumed, subjects=about)


def _is_tried(place: Place) -> bool:
    line = getattr(place.node, "lineno", 0)
    return any(first <= line <= last for first, last in place.module.tried)


def _made_anew(m: Machine, value: Value) -> Node | None:
    """The ``torch.tensor(loss, requires_grad=True)`` that a loss is, but for its scale."""
    for _ in range(_SCALED):
        if not isinstance(value, Node) or value.op not in _SCALES or not value.inputs:
            break
        value = value.inputs[0]
    if not isinstance(value, Node) or value.op not in _ANEW or not value.inputs:
        return None
    live = value.keywords.get("requires_grad")
    known = isinstance(live, Const) and live.value is True
    return value if known and _is_computed(m, value.inputs[0]) else None


def _is_computed(m: Machine, value: Value) -> bool:
    """Whether a model or a loss is behind a value."""
    behind_it = upstream(m, value, lambda _: True)
    return any(isinstance(one, Node) and one.op in LOSSES | {"forward"} for one in behind_it)


def _detached(m: Machine, one: Happening) -> Node | None:
    """The ``detach()`` written in the call of a loss, on the output that it compares."""
    found, loss = one.values.get("#reach"), one.arguments[0]
    if not isinstance(found, Reach) or found.tokens or found.forwards or found.unknown:
        return None
    if not isinstance(loss, Node) or loss.op not in _LABELLED or not loss.inputs:
        return None
    cut = loss.inputs[0]
    if not isinstance(cut, Node) or cut.op != "detach" or not _is_computed(m, cut):
        return None
    inside = loss.place is not None and cut.place is not None
    if not inside or loss.place is None or cut.place is None:
        return None
    return cut if cut.place.node in syntax.walk(loss.place.node) else None


def _alive(m: Machine, one: Happening) -> frozenset[Token]:
    """The parameters that a backward reaches, layer by layer where all of that is known."""
    live, _, unknown = recorded(m, one.arguments[0])
    found = one.values.get("#reach")
    return found.tokens if unknown and isinstance(found, Reach) else live


def held_by(m: Machine, number: int) -> frozenset[Token]:
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
    for cut in _real(found):
        held = cut.keywords.get("#tokens")
        if cut.op == "forward" and isinstance(held, Const) and held.value & mine:
            return True
        if behind(m, cut) & mine:
            return True
    return False


def _real(found: Reach) -> list[Node]:
    """The cuts that take a value on; those that ask for its shape or its place, or compare it, do
    not count."""
    return [cut for cut in found.cuts if cut.op not in _ASKED | COMPARED]


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
    for cut in _real(found):
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
