"""Seeds that are set to one value again and again while a model is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths.facts.orders import own as own_of
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.facts.ways import newest
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Called, Happening, Loop, happenings, loops
from tcstatic.program.paths.values import Node, Unknown
from tcstatic.program.paths.walking import upstream
from tcstatic.program.source import syntax

_SEEDS: Final = frozenset({"manual_seed", "manual_seed_all", "seed", "seed_everything", "set_seed"})
_SETTINGS: Final = frozenset({"dropped", "set-item"})
_TRAINING: Final = frozenset({"loss.backward", "optimizer.step"})


@surveys
def seeds(m: Machine, block: Block) -> None:
    """``seed_again``: a loop whose own body trains sets a seed that was known before the loop."""
    for loop, _ in loops(block):
        own = list(_own(loop.body))
        kinds = {one.kind for one, _ in own}
        if not kinds >= _TRAINING and not _trains_now_and_then(loop):
            continue
        if kinds & {"model.new", "optimizer.new"}:
            continue
        for one, around in own:
            if _is_seed(one):
                again = one.values["seed_again"] = _is_constant(m, one, loop)
                if again:
                    _lead_out(one, around)


def _trains_now_and_then(loop: Loop) -> bool:
    """Whether some rounds of a loop train what is older than it: those of an agent that acts in
    each. A loop over a few written things compares them, most likely."""
    if isinstance(getattr(loop.place.node, "iter", None), syntax.Tuple | syntax.List):
        return False
    inside = list(own_of(loop.body))
    if any(one.kind in ("model.new", "optimizer.new") for one in inside):
        return False
    stepped = {
        number
        for one in inside
        if one.kind == "optimizer.step" and not one.assumed
        for number in one.subjects.get("optimizer", ())
    }
    backwards = any(one.kind == "loss.backward" for one in inside)
    return backwards and bool(stepped) and all(number < loop.begun for number in stepped)


def _own(
    block: Block, around: tuple[Called, ...] = ()
) -> Iterator[tuple[Happening, tuple[Called, ...]]]:
    """What happens in each round, and the calls that it happens in, outermost first: not in
    branches, not in loops inside."""
    for step in block.steps:
        if isinstance(step, Happening):
            yield step, around
        elif isinstance(step, Called):
            yield from _own(step.body, (*around, step))


def _lead_out(one: Happening, around: tuple[Called, ...]) -> None:
    """What does nothing but set seeds is right as it is: the line to mend is where it is called."""
    for called in around:
        if _only_prepares(called):
            one.values["#trail"] = [("seed", one.place)]
            one.place = called.place
            return


def _only_prepares(called: Called) -> bool:
    """Whether a function gives nothing back, and does nothing but set seeds and other settings."""
    returns = (n for n in syntax.walk(called.function.node) if isinstance(n, syntax.Return))
    return all(one.value is None for one in returns) and all(
        _is_seed(one) or one.values.get("operation") in _SETTINGS for one in happenings(called.body)
    )


def _is_seed(one: Happening) -> bool:
    path = str(one.values.get("path", ""))
    return one.kind == "call" and path.rpartition(".")[2] in _SEEDS and bool(one.arguments)


def _is_constant(m: Machine, one: Happening, loop: Loop) -> bool:
    if newest(m, one.arguments[0]) > loop.begun and not _is_literal(m, one):
        return False
    return not {"fork_rng", "unknown"} & set(one.values.get("regions", ()))


def _is_literal(m: Machine, one: Happening) -> bool:
    """Whether only literals are behind the seed."""
    return not any(
        isinstance(part, Node | Unknown) for part in upstream(m, one.arguments[0], lambda _: True)
    )
