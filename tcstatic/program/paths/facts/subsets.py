"""Parts of one dataset, of which one is changed and all are."""

from __future__ import annotations

import re
from typing import Final

from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Happening, happenings, loops
from tcstatic.program.paths.values import Const, Node, Object, Value

_SPLIT: Final = "random_split"
_CHANGES: Final = re.compile(r"transform|augment|(^|_)(is_?)?train(ing)?$", re.IGNORECASE)


@surveys
def subsets(m: Machine, block: Block) -> None:
    """``set_for_all`` of a transform that is set on the dataset behind one part of a split, while
    another part has a loader as well; the last one, where several are set."""
    inside = {id(one) for loop, _ in loops(block) for one in happenings(loop.body)}
    loaded = [_part(m.attribute(one, "dataset")) for one in m.objects.values() if _loads(one)]
    last: Happening | None = None
    for one in happenings(block):
        if one.values.get("operation") != "store" or id(one) in inside:
            continue
        held = one.receiver
        if not _CHANGES.search(str(one.values.get("attribute"))) or not isinstance(held, Node):
            continue
        part = _part(held.inputs[0]) if held.op == "attr:dataset" and held.inputs else None
        if part is not None and any(_is_other(part, other) for other in loaded):
            last = one
    if last is not None:
        tell(block, "set_for_all", last.place, name=str(last.values.get("attribute")))


def _loads(one: Object) -> bool:
    return one.role == "loader"


def _part(value: Value | None) -> tuple[int, object] | None:
    """The split that a value is a part of, and which."""
    if not isinstance(value, Node) or value.op != "item" or len(value.inputs) != 2:
        return None
    split, index = value.inputs
    known = isinstance(split, Node) and split.op.rpartition(".")[2] == _SPLIT
    return (split.number, index.value) if known and isinstance(index, Const) else None


def _is_other(part: tuple[int, object], other: tuple[int, object] | None) -> bool:
    return other is not None and part[0] == other[0] and part[1] != other[1]
