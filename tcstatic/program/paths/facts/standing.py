"""Counters that a training loop asks, and that nothing advances."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module
from tcstatic.program.paths.tree import Block, Branch, Called, Loop, happenings, loops
from tcstatic.program.paths.values import Const, Node, Value
from tcstatic.program.source import syntax

# What is counted. An epoch may be the only one of a run, a rank or a fold is chosen.
_COUNTERS: Final = re.compile(
    r"step|iter|count|cnt|update|tick|episode|frame|since|elapsed|calls|learned|^[itn]$"
)
_CHOSEN: Final = re.compile(r"rank|fold|epoch|every|freq|interval|period|per_|max|min|num_(?!upd)")
_LIMITS: Final = frozenset({">=", ">", "=="})
_MOST_STARTS: Final = 2  # a counter begins at 0, or at 1


@surveys
def standing(m: Machine, block: Block) -> None:
    """``stands_still`` at a condition of a loop that trains, which asks a counter that is the same
    in every round."""
    seen: set[syntax.AST] = set()
    for loop, _ in loops(block):
        for one in _branches(loop.body) if loop.role == "training" else ():
            place = one.place
            if place is None or place.node in seen or not isinstance(place.node, syntax.If):
                continue
            seen.add(place.node)
            counter = _counter(place.node, one.condition)
            if counter and any(happenings(side) for side in one.alternatives):
                modules = [place.module, *m.globals.values()]
                if not any(_is_advanced(module, counter) for module in modules):
                    tell(block, "stands_still", place, counter=syntax.unparse(counter))


def _branches(block: Block) -> Iterator[Branch]:
    for step in block.steps:
        if isinstance(step, Branch):
            yield step
            for side in step.alternatives:
                yield from _branches(side)
        elif isinstance(step, Called | Loop):
            yield from _branches(step.body)


def _counter(node: syntax.If, condition: Value | None) -> syntax.expr | None:
    """What an ``if`` asks whether it is a multiple of something, or has reached a limit and is to
    begin anew, where that is one number in all rounds."""
    if not isinstance(condition, Node):
        return None
    for part in syntax.walk(node.test):
        asked: Any = None
        if isinstance(part, syntax.BinOp) and isinstance(part.op, syntax.Mod):
            asked = part.left if _is_still(condition, frozenset({"%"})) else None
        elif isinstance(part, syntax.Compare) and _is_still(condition, _LIMITS):
            asked = part.left if _begins_anew(node, part.left) else None
        asked = _plain(asked)
        if asked is not None and _COUNTERS.search(_name(asked)):
            return None if _CHOSEN.search(_name(asked)) else asked
    return None


def _plain(asked: Any) -> syntax.expr | None:
    """A name or an attribute, past what is added to it."""
    if isinstance(asked, syntax.BinOp) and isinstance(asked.op, syntax.Add):
        asked = asked.left if isinstance(asked.right, syntax.Constant) else None
    return asked if isinstance(asked, syntax.Name | syntax.Attribute) else None


def _name(asked: syntax.expr) -> str:
    return asked.attr if isinstance(asked, syntax.Attribute) else getattr(asked, "id", "")


def _is_still(condition: Value, operations: frozenset[str]) -> bool:
    """Whether one of these operations is done on a number that is known, and small."""
    waiting = [condition]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, Node):
            continue
        first = one.inputs[0] if one.inputs else None
        if one.op in operations and isinstance(first, Const) and _is_start(first.value):
            other = one.inputs[1]
            return not isinstance(other, Const) or (
                isinstance(other.value, int) and other.value > _MOST_STARTS
            )
        waiting += one.inputs
    return False


def _is_start(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MOST_STARTS


def _begins_anew(node: syntax.If, asked: syntax.expr) -> bool:
    """Whether a branch sets what it asked for to zero."""
    text = syntax.unparse(asked)
    return any(
        isinstance(one, syntax.Assign)
        and isinstance(one.value, syntax.Constant)
        and one.value.value == 0
        and [syntax.unparse(target) for target in one.targets] == [text]
        for one in node.body
    )


def _is_advanced(module: Module, counter: syntax.expr) -> bool:
    """Whether anything in a module may give a name, or an attribute of any object, another value
    than a number that is written there."""
    name, ofs = _name(counter), type(counter)
    if name not in module.text.text:
        return False
    plain: set[syntax.AST] = set()
    for node in syntax.walk(module.tree):
        if isinstance(node, syntax.Assign | syntax.AnnAssign):
            targets = node.targets if isinstance(node, syntax.Assign) else [node.target]
            if isinstance(node.value, syntax.Constant) and _is_start(node.value.value):
                plain.update(targets)
    for node in syntax.walk(module.tree):
        if isinstance(node, syntax.Name | syntax.Attribute) and _name(node) == name:
            stored = not isinstance(node.ctx, syntax.Load)
            if stored and node not in plain and (isinstance(node, ofs) or ofs is syntax.Name):
                return True
        elif _speaks_of(node, name):
            return True
    return False


def _speaks_of(node: syntax.AST, name: str) -> bool:
    """Whether a node names something as a parameter, as a key, or for another scope."""
    if isinstance(node, syntax.Constant):
        return node.value == name
    if isinstance(node, syntax.Global | syntax.Nonlocal):
        return name in node.names
    return name in (getattr(node, "arg", None), getattr(node, "asname", None))
