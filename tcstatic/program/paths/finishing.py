"""What can only be said once all of a root is known: whose backward it was, what trains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tcstatic.program.paths import parameters
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import COMPARED
from tcstatic.program.paths.tree import Block, Called, Happening, Loop, happenings, loops
from tcstatic.program.paths.values import Const, Node
from tcstatic.program.paths.walking import Reach, Token

_TRAINING = frozenset({"loss.backward", "optimizer.step"})
_AT_WORK = frozenset({"optimizer.step", "optimizer.zero_grad"})


def finish(m: Machine, block: Block) -> None:
    """Complete the happenings of a root."""
    every = list(happenings(block))
    _doubt(every)
    closed = _optimizers(m, every)
    at_once = _act_as_one(every, closed)
    beside = _beside(block)
    wholes = _wholes(m, closed)
    trained: set[int] = set()
    for one in every:
        if one.kind == "loss.backward":
            _backward(one, closed, wholes, beside.get(id(one)), at_once=at_once)
            reached = one.values.get("#reach")
            if isinstance(reached, Reach):
                trained |= {node.number for node in reached.forwards}
        elif one.kind == "optimizer.zero_grad" and one.values.get("by_model"):
            _owned(one, closed, at_once=at_once)
        elif one.kind == "grad.clip":
            _clipped(one, closed, at_once=at_once)
        elif one.values.get("any_owner"):
            one.maybe |= frozenset(closed)
    _stages(every, trained)
    _loop_facts(block)


def _doubt(every: list[Happening]) -> None:
    """Take the steps of what an unknown function gave back: it is an optimizer by its name, and the
    same that is cleared, or nothing is known of it."""
    cleared = {
        number
        for one in every
        if one.kind == "optimizer.zero_grad"
        for number in one.subjects.get("optimizer", ())
    }
    for one in every:
        held = one.receiver
        given = isinstance(held, Node) and not held.op.startswith("attr:")
        if not given or one.kind != "optimizer.step":
            continue
        if not cleared & set(one.subjects.get("optimizer", ())):
            one.kind, one.subjects, one.values = "call", {}, {"operation": "method:step"}


def _optimizers(m: Machine, every: list[Happening]) -> dict[int, frozenset[Token] | None]:
    """The optimizers of a root; to each, the parameters it holds, None where they are not known."""
    found: dict[int, frozenset[Token] | None] = {}
    for one in every:
        for number in one.subjects.get("optimizer", ()):
            found.setdefault(number, None)
        if one.kind == "optimizer.new":
            for number in one.subjects["optimizer"]:
                found.setdefault(number, None)
    for number in found:
        tokens = m.cells.get((number, "#tokens"))
        complete = m.cells.get((number, "#complete"))
        if isinstance(tokens, Const) and isinstance(complete, Const) and tokens.value:
            found[number] = tokens.value if complete.value else None
        known = m.objects.get(number)
        if known is not None and isinstance(tokens, Const) and tokens.value:
            found[number] = tokens.value
    return found


def _wholes(m: Machine, closed: dict[int, frozenset[Token] | None]) -> dict[int, frozenset[Token]]:
    """To each optimizer, the models of which it holds parts, where what parts they have is not
    known."""
    held = {number: m.cells.get((number, "#tokens")) for number in closed}
    return {
        number: parameters.wholes(m, tokens.value)
        for number, tokens in held.items()
        if isinstance(tokens, Const)
    }


def _act_as_one(every: list[Happening], closed: dict[int, frozenset[Token] | None]) -> bool:
    """Whether what happens to one optimizer of a root happens to all: there is but one, or they
    are what a branch chooses from."""
    about = [
        set(one.subjects["optimizer"])
        for one in every
        if one.kind != "optimizer.new" and one.subjects.get("optimizer")
    ]
    steps = any(one.kind == "optimizer.step" for one in every)
    return len(closed) == 1 or (steps and all(numbers == set(closed) for numbers in about))


def _beside(block: Block) -> dict[int, int]:
    """To each backward, the one optimizer that is cleared or stepped in the innermost loop around
    it in which any is; left out where there are several."""
    found: dict[int, int] = {}
    for loop, _ in loops(block):
        at_work = {
            one.subjects["optimizer"]
            for one in _own(loop.body)
            if one.kind in _AT_WORK and not one.maybe and not one.assumed
        }
        only = next(iter(at_work)) if len(at_work) == 1 else ()
        for one in happenings(loop.body) if at_work else ():
            if one.kind == "loss.backward":
                found.pop(id(one), None)
                if len(only) == 1:
                    found[id(one)] = only[0]
    return found


def _backward(
    one: Happening,
    closed: dict[int, frozenset[Token] | None],
    wholes: dict[int, frozenset[Token]],
    beside: int | None,
    *,
    at_once: bool,
) -> None:
    reached = one.values.get("#reach")
    if not isinstance(reached, Reach):
        return
    sure = {n for n, tokens in closed.items() if tokens and tokens & reached.tokens}
    sure |= set(one.subjects.get("optimizer", ()))
    open_ = {n for n, tokens in closed.items() if not tokens} - sure
    parts = {n for n, tokens in wholes.items() if tokens & reached.tokens} - sure
    if not sure and parts:
        sure = parts
        one.assumed = True
    elif not sure and open_ and at_once:
        sure, open_ = open_, set()
        one.assumed = True
    elif reached.unknown or not reached.tokens:
        open_ = set(closed) - sure
    if not sure and beside in open_:
        sure = {beside}
        open_ -= sure
        one.assumed = True
    one.subjects["optimizer"] = tuple(sorted(sure))
    one.maybe = frozenset(open_)
    nothing = not reached.tokens and not reached.forwards and not reached.unknown
    if sure and not one.assumed:
        one.values["connected"] = True
    elif nothing and any(cut.op not in COMPARED for cut in reached.cuts):
        one.values["connected"] = False
    one.values["cut_by"] = reached.cuts[0].op if reached.cuts else None


def _clipped(one: Happening, closed: dict[int, frozenset[Token] | None], *, at_once: bool) -> None:
    """Clipping of parameters that are not all known may concern whoever steps."""
    if one.subjects.get("optimizer"):
        one.maybe &= frozenset(closed)
    elif closed and at_once and not one.values.get("#elsewhere"):
        one.subjects["optimizer"], one.maybe = tuple(sorted(closed)), frozenset()
        one.assumed = True
    else:
        one.maybe = frozenset(closed)


def _owned(one: Happening, closed: dict[int, frozenset[Token] | None], *, at_once: bool) -> None:
    tokens = one.values.get("#tokens", frozenset())
    sure = {n for n, held in closed.items() if held and held & tokens}
    open_ = {n for n, held in closed.items() if not held} - sure
    if not sure and open_ and at_once:
        sure, open_ = open_, set()
        one.assumed = True
    one.subjects["optimizer"] = tuple(sorted(sure))
    one.maybe = frozenset(open_)


def _stages(every: list[Happening], trained: set[int]) -> None:
    for one in every:
        if one.kind != "model.forward" or one.node is None:
            continue
        if one.node.number in trained:
            one.facts["stage"] = "train"
        elif one.facts.get("grad") is False:
            one.facts["stage"] = "evaluate"


def _loop_facts(block: Block) -> None:
    for loop, around in loops(block):
        inside = list(happenings(loop.body))
        kinds = {one.kind for one in inside}
        if kinds & _TRAINING:
            loop.role = "training"
        for one in inside:
            one.facts["in_loop"] = True
            if kinds & _TRAINING:
                one.facts["in_training_loop"] = True
            if not around:
                continue
    for loop, step_kinds in _innermost(block):
        for step in loop.body.steps:
            _mark(step, "in_step_loop", bool(step_kinds & _TRAINING))


def _innermost(block: Block) -> Iterator[tuple[Loop, set[str]]]:
    """Loops that step or run backward in their own body, not only in a loop inside of it."""
    for loop, _ in loops(block):
        own = {one.kind for one in _own(loop.body)}
        if own & _TRAINING:
            yield loop, own


def _own(block: Block) -> Iterator[Happening]:
    for step in block.steps:
        if isinstance(step, Happening):
            yield step
        elif isinstance(step, Called):
            yield from _own(step.body)
        elif not isinstance(step, Loop):
            for alternative in getattr(step, "alternatives", ()):
                yield from _own(alternative)


def _mark(step: Any, fact: str, value: bool) -> None:
    if isinstance(step, Happening):
        step.facts.setdefault(fact, value)
    elif isinstance(step, Called | Loop):
        for inner in step.body.steps:
            _mark(inner, fact, value)
    else:
        for alternative in getattr(step, "alternatives", ()):
            for inner in alternative.steps:
                _mark(inner, fact, value)
