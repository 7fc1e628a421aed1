"""Steps behind a loop whose every turn clears what the one before has computed."""

from __future__ import annotations

from collections.abc import Iterator

from tcstatic.program.paths.facts.orders import all_loops, own, tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Branch, Called, Happening, Loop, happenings
from tcstatic.program.source import syntax


@surveys
def outside(m: Machine, block: Block) -> None:
    """``behind_loop`` of a step that a loop is followed by, when the loop clears and computes
    gradients of the same optimizer in each turn and does nothing with them."""
    told: set[int] = set()
    for inner in _blocks(block):
        for index, step in enumerate(inner.steps):
            if not isinstance(step, Loop) or step.once:
                continue
            thrown = _thrown(step)
            for one in _straight(inner, index + 1) if thrown else ():
                number = next(iter(one.subjects.get("optimizer", ())), 0)
                if one.kind == "optimizer.step" and number in thrown and id(one) not in told:
                    told.add(id(one))
                    tell(block, "behind_loop", one.place, subjects=one.subjects)


def _blocks(block: Block) -> Iterator[Block]:
    """A block and those within it."""
    yield block
    for step in block.steps:
        if isinstance(step, Called | Loop):
            yield from _blocks(step.body)
        elif isinstance(step, Branch):
            for alternative in step.alternatives:
                yield from _blocks(alternative)


def _straight(block: Block, start: int) -> Iterator[Happening]:
    """What happens behind a place of a block in any case, before anything else computes."""
    for step in block.steps[start:]:
        if not isinstance(step, Happening) or step.kind == "loss.backward" or step.wild:
            return
        yield step


def _thrown(loop: Loop) -> frozenset[int]:
    """The optimizers whose gradients each turn of a loop clears before it computes new ones."""
    inside = happenings(loop.body)
    nested = any(happenings(other.body) for other in all_loops(loop.body) if _computes(other))
    if nested or any(one.wild and one.maybe for one in inside) or _reads_gradients(loop):
        return frozenset()
    used = {n for one in inside if one.kind in _USES for n in one.subjects.get("optimizer", ())}
    cleared: set[int] = set()
    found: set[int] = set()
    for one in own(loop.body):
        about = set(one.subjects.get("optimizer", ()))
        if one.kind == "optimizer.zero_grad" and not one.assumed and one in loop.body.steps:
            cleared |= about
        elif one.kind == "loss.backward":
            found |= cleared & about
    return frozenset(found - used)


_USES = frozenset({"optimizer.step", "scaler.step", "grad.clip"})


def _computes(loop: Loop) -> bool:
    return any(one.kind == "loss.backward" for one in happenings(loop.body))


def _reads_gradients(loop: Loop) -> bool:
    """Whether the text of a loop looks at gradients."""
    return any(
        isinstance(node, syntax.Attribute) and node.attr in ("grad", "main_grad")
        for node in syntax.walk(loop.place.node)
    )
