"""Losses that are divided by the number of ranks where a wrapper averages their gradients.

What is looked at is the text of one file. A wrapper's average is the mean over ranks already; what
is left of it after another division is too small by the number of ranks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.averaging import sizeless
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.rankwise import is_world
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.facts.scopes import Scope, scopes
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(
    r"(DistributedDataParallel|DDP|FullyShardedDataParallel|FSDP|fully_shard)\("
)
# Who sums gradients, or rows, or has groups of ranks, or makes up for it, knows what is divided.
_OTHERWISE: Final = re.compile(
    r"comm_hook|gather|reduce_scatter|process_group *=|new_group|mesh|all_reduce\([^\n]*grad"
    r"|require_backward"
    r"|reduction *= *.sum|loss[^\n]*\.sum\(|divide_factor|\.AVG\b"
    r"|(world\w*|get_world_size\(\)|n_?ranks|num_replicas)\s*\*"
    r"|\*=?\s*\(?[\w.]*(world|n_?ranks|num_replicas)",
    re.IGNORECASE,
)


@surveys
def twice(m: Machine, block: Block) -> None:
    """``averaged_twice`` of the backward of a loss that is divided by the number of ranks."""
    for module, (node, name) in wording.found(block, _WORTH, _in_module):
        place = Place(module, node, title_around(module.tree, node.lineno))
        tell(block, "averaged_twice", place, name=name)


def _in_module(module: Module) -> Iterator[tuple[Any, str]]:
    text = module.text.text
    if _OTHERWISE.search(text) or sizeless(text):
        return
    for scope in scopes(module):
        for statement in scope.own:
            for call in wording.calls(statement):
                if wording.called(call) != "backward" or call.args or call.keywords:
                    continue
                loss = getattr(call.func, "value", None)
                found = _divided(scope, loss, call.lineno)
                if found is not None:
                    yield found, wording.name(loss) or "the loss"


def _divided(scope: Scope, loss: Any, line: int) -> Any:
    """The division of a loss by the number of ranks, None where there is none."""
    if _is_division(loss):
        return loss
    name = wording.name(loss)
    before = [pair for pair in scope.binds.get(name, ()) if name and pair[0].lineno < line]
    if not before:
        return None
    statement, value = before[-1]
    if isinstance(statement, syntax.AugAssign):
        return value if isinstance(statement.op, syntax.Div) and is_world(value) else None
    return value if _is_division(value) else None


def _is_division(node: Any) -> bool:
    return (
        isinstance(node, syntax.BinOp)
        and isinstance(node.op, syntax.Div)
        and is_world(node.right)
        and not isinstance(node.left, syntax.Constant)
    )
