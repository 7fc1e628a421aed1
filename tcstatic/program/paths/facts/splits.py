"""The training split of a library's dataset, read in the order in which it is stored."""

from __future__ import annotations

import re
from typing import Final

from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Happening, Loop, happenings, loops
from tcstatic.program.paths.values import Const, Node, Object, Value
from tcstatic.program.paths.walking import upstream
from tcstatic.program.source import syntax

_LOADS: Final = "datasets.load_dataset"
# What may be done to a dataset that keeps its items in their order.
_KEEPS: Final = frozenset(
    """item map filter rename_column rename_columns remove_columns with_format cast_column
    class_encode_column""".split()
)
# Data whose order is part of what is learnt.
_ORDERED: Final = re.compile(
    r"(^|\W|_)(c?lm|causal|c4|pile)(\W|_|$)|stream|wiki|corpus|book|story|series|video|frame|pack",
    re.IGNORECASE,
)


@surveys
def splits(m: Machine, block: Block) -> None:
    """``stored_order`` of loaders of a split for training that are told not to shuffle."""
    handed = frozenset[int]().union(*(one.maybe for one in happenings(block) if one.wild))
    for loop, around in loops(block):
        loader = read_by(loop)
        if not around or loader is None or loader.number in handed:
            continue
        if trains(loop) and _is_told_the_order(m, loader) and _is_stored(m, loader):
            assert loader.place is not None
            tell(block, "stored_order", loader.place, subjects={"loader": (loader.number,)})


def read_by(loop: Loop) -> Object | None:
    """The one loader that a loop goes through, if it is one of torch's."""
    for step in loop.body.steps:
        if isinstance(step, Happening) and step.kind == "loader.next":
            one = step.receiver if step.values.get("choices") == 1 else None
            known = isinstance(one, Object) and isinstance(one.type, str) and one.place is not None
            return one if known and isinstance(one, Object) else None
    return None


def trains(loop: Loop) -> bool:
    """Whether a loop computes gradients and steps an optimizer."""
    return {"loss.backward", "optimizer.step"} <= {one.kind for one in happenings(loop.body)}


def _is_told_the_order(m: Machine, loader: Object) -> bool:
    shuffle = m.attribute(loader, "shuffle")
    others = any(m.attribute(loader, text) is not None for text in ("sampler", "batch_sampler"))
    told = isinstance(shuffle, Const) and shuffle.value is False
    return told and not others and "**" not in loader.keywords


def _is_stored(m: Machine, loader: Object) -> bool:
    data = m.attribute(loader, "dataset")
    if not isinstance(data, Node) or data.op != "item" or not _is_for_training(data.inputs[-1]):
        return False
    made = [one for one in upstream(m, data, _is_derived) if isinstance(one, Node)]
    loads = [one for one in made if one.op == _LOADS]
    if len(loads) != 1 or any(one.op not in (_LOADS, *_KEEPS) for one in made):
        return False
    places = [one.place for one in (*loads, loader) if one.place is not None]
    texts = [syntax.unparse(place.node) for place in places]
    return "streaming" not in loads[0].keywords and not any(map(_ORDERED.search, texts))


def _is_derived(value: Value) -> bool:
    return not (isinstance(value, Node) and value.op == _LOADS)


def _is_for_training(key: Value) -> bool:
    return isinstance(key, Const) and isinstance(key.value, str) and "train" in key.value
