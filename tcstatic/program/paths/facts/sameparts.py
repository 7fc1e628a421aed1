"""Parts of the data that are to be a rank's own, and are the same on every rank.

What is looked at is the text of one file that brings gradients together: ``rows[::world]`` begins
at the first row on each rank, where ``rows[rank::world]`` begins at the rank's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.rankwise import is_world, touches_rank
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.facts.scopes import Scope, scopes
from tcstatic.program.paths.facts.shuffled import TOGETHER
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"DataLoader")
_HELD_OUT: Final = re.compile(r"val|test|eval|dev|held|hold|check|probe|bench", re.IGNORECASE)
_SAMPLED: Final = frozenset({"sampler", "batch_sampler"})
_DRAWS: Final = re.compile(r"rand|permut|shuffle|sample|choice")
_DEPTH: Final = 6


@surveys
def same_parts(m: Machine, block: Block) -> None:
    """``same_part`` of the cut whose rows a loader gives on every rank."""
    for module, (node, name) in wording.found(block, _WORTH, _in_module):
        place = Place(module, node, title_around(module.tree, node.lineno))
        tell(block, "same_part", place, name=name)


def _in_module(module: Module) -> Iterator[tuple[Any, str]]:
    if not TOGETHER.search(module.text.text):
        return
    told: set[int] = set()
    for scope in scopes(module):
        for statement in scope.own:
            named = " ".join(sorted(wording.bound(statement)))
            for call in wording.calls(statement):
                if wording.called(call) != "DataLoader" or _HELD_OUT.search(named):
                    continue
                cut = _cut(scope, call)
                if cut is not None and id(cut) not in told:
                    told.add(id(cut))
                    yield cut, wording.name(getattr(cut, "value", None)) or "the data"


def _cut(scope: Scope, loader: syntax.Call) -> Any:
    """The cut that a loader's rows are from, None where it may be a rank's own or is drawn."""
    given = {one.arg: one.value for one in loader.keywords}
    data = loader.args[0] if loader.args else given.get("dataset")
    if data is None or None in given or given.keys() & _SAMPLED:
        return None
    made = list(_made_of(scope, data, loader.lineno, 0))
    if any(touches_rank(scope, one, loader.lineno) for one in made):
        return None
    nodes = [node for one in made for node in syntax.walk(one)]
    if any(_is_drawn(node) for node in nodes):
        return None
    cuts = [node for node in nodes if _begins_at_first(node)]
    held = {wording.name(getattr(one, "value", None)) for one in cuts}
    if any(_HELD_OUT.search(name) or _is_shuffled(scope, name) for name in held):
        return None
    return cuts[0] if cuts else None


def _made_of(scope: Scope, node: Any, line: int, depth: int) -> Iterator[Any]:
    """An expression, and those that the names in it were bound to."""
    yield node
    if depth >= _DEPTH:
        return
    for name in sorted({wording.name(one) for one in syntax.walk(node)} - {""}):
        value = scope.bound(name, line)
        if value is not None and value is not node:
            yield from _made_of(scope, value, value.lineno, depth + 1)


def _is_drawn(node: Any) -> bool:
    """Whether numbers are drawn by what may be seeded on each rank in its own way."""
    if not isinstance(node, syntax.Call) or not _DRAWS.search(wording.called(node)):
        return False
    source = next((one.value for one in node.keywords if one.arg == "generator"), None)
    return not any(isinstance(one, syntax.Constant) for one in getattr(source, "args", ()))


def _begins_at_first(node: Any) -> bool:
    """Whether this takes each n-th row, from the first on, n being the number of ranks."""
    cut = getattr(node, "slice", None)
    if not isinstance(node, syntax.Subscript) or not isinstance(cut, syntax.Slice):
        return False
    first = cut.lower is None or getattr(cut.lower, "value", None) == 0
    return first and cut.upper is None and cut.step is not None and is_world(cut.step)


def _is_shuffled(scope: Scope, name: str) -> bool:
    """Whether rows are put in another order in place."""
    return any(
        wording.called(call) == "shuffle" and name in wording.names(call)
        for statement in scope.own
        for call in wording.calls(statement)
    )
