"""Optimizers of a model that is not known, where a copy of it is trained."""

from __future__ import annotations

from collections.abc import Iterator

from tcstatic.program.paths.facts.orders import is_wild
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Happening, happenings, loops
from tcstatic.program.paths.values import Node, Unknown, Value
from tcstatic.program.paths.walking import differentiable, upstream


@surveys
def copied(m: Machine, block: Block) -> None:
    """``stale`` steps: the optimizer was given ``parameters()`` of a value of which only a later
    ``deepcopy`` is on the way to the losses."""
    every = list(happenings(block))
    for made in every:
        source = _source(m, made) if made.kind == "optimizer.new" else None
        number = made.subjects["optimizer"][0] if source is not None else 0
        if source is None or is_wild(block, number) or _grows(every, number):
            continue
        for loop, _ in loops(block):
            inside = list(happenings(loop.body))
            steps = [one for one in inside if _steps(one, number)]
            copy = _trained_copy(m, inside, source) if steps else None
            if copy is not None and number < copy.number < loop.begun:
                for one in steps:
                    _tell(one, source, copy)


def _grows(every: list[Happening], number: int) -> bool:
    return any(
        one.values.get("operation") == "add_param_group"
        and number in one.subjects.get("optimizer", ())
        for one in every
    )


def _source(m: Machine, made: Happening) -> Node | Unknown | None:
    """What an optimizer is given all ``parameters()`` of, where the source does not tell
    what that is."""
    first = made.arguments[0] if made.arguments else made.keywords.get("params")
    found: dict[int, Value] = {}
    for one in upstream(m, first, lambda value: not _asks(value)) if first is not None else ():
        if isinstance(one, Node) and _asks(one):
            found |= {value.number: value for value in one.inputs}
    source = next(iter(found.values())) if len(found) == 1 else None
    return source if isinstance(source, Node | Unknown) else None


def _asks(value: Value) -> bool:
    return isinstance(value, Node) and value.op == "parameters"


def _steps(one: Happening, number: int) -> bool:
    own = one.kind == "optimizer.step" and one.subjects.get("optimizer") == (number,)
    return own and "stale" not in one.values


def _trained_copy(m: Machine, inside: list[Happening], source: Value) -> Node | None:
    """The copy that every backward of a loop gets to, if none gets to the original."""
    found: set[Node] = set()
    for one in inside:
        if one.kind == "loss.backward":
            behind = list(_behind(m, one))
            copies = {value for value in behind if _copies(value, source)}
            if len(copies) != 1 or source in behind:
                return None
            found |= {value for value in copies if isinstance(value, Node)}
    return found.pop() if len(found) == 1 else None


def _behind(m: Machine, backward: Happening) -> Iterator[Value]:
    for value in backward.arguments[:1]:
        yield from upstream(
            m, value, lambda one: differentiable(one) and getattr(one, "op", "") != "deepcopy"
        )


def _copies(value: Value, source: Value) -> bool:
    return isinstance(value, Node) and value.op == "deepcopy" and value.inputs[:1] == (source,)


def _tell(step: Happening, source: Value, copy: Node) -> None:
    step.assumed = True
    step.values["optimizer.parameters"] = frozenset({(source.number, 0)})
    step.values["live.parameters"] = frozenset()
    step.values["stale"] = "all"
    step.values["#trail"] = [("replaced", copy.place)] if copy.place is not None else []
