"""Clipping of gradients: whether it bounds anything, and finds gradients of a coming step."""

from __future__ import annotations

from typing import Final

from tcstatic.program.paths.facts.orders import WILD, Way, block_around, full_ways
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Happening, happenings
from tcstatic.program.paths.values import Const, Node

_CLIP: Final = frozenset({"loss.backward", "optimizer.step", "grad.clip"})


@surveys
def clipping(m: Machine, block: Block) -> None:
    """Whether clipping finds gradients of a coming step: ``live`` and ``bounded``."""
    clips = [one for one in happenings(block) if one.kind == "grad.clip"]
    for one in clips:
        one.values["bounded"] = _bounded(one)
        one.values["live"] = _live(block, one)
        if one.values["live"] is None and _follows_step(block, one):
            one.values["live"] = False
            one.assumed = one.assumed or bool(one.maybe)


def _bounded(one: Happening) -> bool:
    limit = one.keywords.get("max_norm") or one.keywords.get("clip_value")
    if limit is None and len(one.arguments) > 1:
        limit = one.arguments[1]
    if isinstance(limit, Node) and limit.op in ("float_", "attr:inf"):
        return False
    if limit is not None and "inf" in str(getattr(limit, "path", "")):
        return False
    return not (isinstance(limit, Const) and limit.value in (float("inf"), None))


def _live(block: Block, clip: Happening) -> bool | None:
    numbers = clip.subjects.get("optimizer", ())
    if len(numbers) != 1 or clip.maybe or clip.assumed:
        return None
    found = full_ways(block, _CLIP, numbers[0])
    if not found:
        return None
    answers = [answer for way in found if (answer := _live_on(way, clip)) is not None]
    if not answers:
        return None
    return any(answers)


def _follows_step(block: Block, clip: Happening) -> bool:
    """Whether clipping stands behind the step of the only optimizer that it may concern, with
    nothing between them that could compute or change gradients."""
    numbers = clip.maybe or frozenset(clip.subjects.get("optimizer", ()))
    around = block_around(block, clip)
    if around is None or len(numbers) != 1:
        return False
    at = next(index for index, one in enumerate(around.steps) if one is clip)
    for one in reversed(around.steps[:at]):
        inner = [one] if isinstance(one, Happening) else list(happenings(Block([one])))
        for late in inner:
            if late.kind == "optimizer.step" and late is one and not late.maybe:
                return set(late.subjects.get("optimizer", ())) == set(numbers)
            if late.wild or late.kind in _CLIP or late.kind == "optimizer.new":
                return False
    return False


def _live_on(way: Way, clip: Happening) -> bool | None:
    """Whether on a path each such clipping finds nothing; None where it is not on the path."""
    fresh, seen, stepped = False, None, False
    for one, kind in way:
        if one is clip:
            seen = bool(seen) or fresh
        elif kind == WILD or kind.startswith("loss.backward"):
            fresh = True
        elif kind == "optimizer.step":
            fresh, stepped = False, True
    return (seen or not stepped) if seen is not None else None
