"""What is done twice where once is meant: a backward of one loss, a turn of one schedule."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from tcstatic.program.paths.facts.orders import all_loops, tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.facts.starving import held_by
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Called, Exit, Happening, Loop, Step, happenings
from tcstatic.program.paths.values import Const, Node
from tcstatic.program.paths.walking import Token

# What makes a second backward of a loss, or a second turn of a schedule, another thing.
_CLEARS: Final = frozenset({"optimizer.zero_grad", "optimizer.step", "scaler.update"})
_TOLD: Final = re.compile("retain_graph|zero_grad|clip_grad")
_STEPS: Final = frozenset({"optimizer.step", "scaler.step"})


@surveys
def repeats(m: Machine, block: Block) -> None:
    """``computed_again`` of a backward from a loss whose gradients are there already, and
    ``advanced_again`` of a schedule's second turn for one and the same step."""
    told: set[int] = set()
    for loop in all_loops(block):
        inside = happenings(loop.body)
        if not any(one.kind in _STEPS for one in inside):
            continue
        for run in _runs(loop.body):
            for one, what in [*_again(m, run), *_advanced(run)]:
                if id(one) not in told:
                    told.add(id(one))
                    tell(block, what, one.place, subjects=one.subjects)


def _runs(block: Block) -> Iterator[list[Happening]]:
    """What happens one after the other, whatever is decided: not across branches or loops."""
    run: list[Happening] = []
    for step in _flat(block.steps):
        if isinstance(step, Happening):
            run.append(step)
            continue
        yield run
        run = []
        inner = [step.body] if isinstance(step, Loop) else getattr(step, "alternatives", [])
        for one in inner:
            if not isinstance(step, Loop):
                yield from _runs(one)
    yield run


def _flat(steps: Sequence[Step], *, called: bool = False) -> Iterator[Step]:
    for step in steps:
        if isinstance(step, Called):
            yield from _flat(step.body.steps, called=True)
        elif called and isinstance(step, Exit) and step.kind == "return":
            return
        else:
            yield step


def _again(m: Machine, run: list[Happening]) -> Iterator[tuple[Happening, str]]:
    """A loss whose backward is run twice, with nothing in between that takes the gradients."""
    done: list[Happening] = []
    for one in run:
        if one.wild or one.kind in _CLEARS or _touches_gradients(one):
            done = []
        if one.kind != "loss.backward" or one.assumed or not _is_plain(one):
            continue
        for other in done:
            same = other.arguments[0] is one.arguments[0] and isinstance(one.arguments[0], Node)
            if same and not _reads_gradients(other, one):
                yield one, "computed_again"
        done.append(one)


def _is_plain(one: Happening) -> bool:
    """Whether a backward is of all of a number: not of some inputs, not weighted."""
    kept = one.keywords.get("retain_graph")
    others = set(one.keywords) - {"retain_graph"}
    return not others and (kept is None or isinstance(kept, Const))


def _touches_gradients(one: Happening) -> bool:
    return str(one.values.get("operation", "")).startswith("grad.")


def _reads_gradients(first: Happening, second: Happening) -> bool:
    """Whether the text between two places mentions gradients: they may be taken away there."""
    if first.place.module is not second.place.module:
        return True
    begin, end = first.place.node.lineno, second.place.node.lineno
    if begin >= end:
        return True  # one place in a helper, or written the other way round
    lines = first.place.module.text.text.split("\n")[begin:end]
    # that they are cleared or clipped has been told
    return any("grad" in _TOLD.sub("", line) for line in lines)


def _advanced(run: list[Happening]) -> Iterator[tuple[Happening, str]]:
    """A schedule that advances twice at two places, with no step of an optimizer in between."""
    last: dict[int, Happening] = {}
    for one in run:
        if one.wild or one.kind in _STEPS:
            last = {}
        if one.kind != "scheduler.step" or one.assumed or one.arguments:
            continue
        numbers = one.subjects.get("scheduler", ())
        for number in numbers if len(numbers) == 1 else ():
            before = last.get(number)
            if before is not None and before.place.node is not one.place.node:
                yield one, "advanced_again"
            last[number] = one


@surveys
def doubled(m: Machine, block: Block) -> None:
    """``stepped_by_two``: of two optimizers that step one after the other from the same backward,
    one holds what the other holds."""
    told: set[int] = set()
    for loop in all_loops(block):
        for run in _runs(loop.body):
            for wide, one in _doubled(m, run):
                if wide not in told:
                    told.add(wide)
                    tell(block, "stepped_by_two", one.place, subjects={"optimizer": (wide,)})


def _doubled(m: Machine, run: list[Happening]) -> Iterator[tuple[int, Happening]]:
    """The optimizer that holds more of two that share parameters, and the second of the steps."""
    before: list[tuple[int, frozenset[Token]]] = []
    for one in run:
        if one.wild or one.kind in ("optimizer.zero_grad", "loss.backward"):
            before = []
        numbers = one.subjects.get("optimizer", ()) if one.kind == "optimizer.step" else ()
        if len(numbers) != 1 or one.assumed or one.values.get("closure"):
            continue
        mine = held_by(m, numbers[0])
        for number, other in before:
            # two optimizers of all the same parameters are a mixture on purpose
            if number != numbers[0] and mine & other and mine != other:
                yield (number if len(other) > len(mine) else numbers[0]), one
        before.append((numbers[0], mine))
