"""Recurrent layers whose answers are read along another dimension than they lie in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, happenings
from tcstatic.program.paths.values import Const, Node, Object, Place, Value
from tcstatic.program.paths.walking import upstream
from tcstatic.program.source import syntax

_LAYERS: Final = frozenset({"torch.nn.LSTM", "torch.nn.GRU", "torch.nn.RNN"})
_SIZES: Final = 3  # arguments before those whose order differs between the layers
_LAST: Final = re.compile(r"\[:, -1(, :)*\]$")
# What makes a batch of one sequence.
_SHAPES: Final = frozenset({"view", "reshape", "unsqueeze"})


@surveys
def recurrent(m: Machine, block: Block) -> None:
    """``read_across`` of a layer that takes time first: the last of its answer is looked for in the
    second dimension, which is the batch."""
    told: set[int] = set()
    losses = [one for one in happenings(block) if one.kind == "loss.backward"]
    for one in losses:
        for layer, place in _read_at_last(m, one.arguments[:1]):
            if layer.number not in told and layer.place is not None:
                told.add(layer.number)
                more: dict[str, Any] = {"type": layer.type_name, "#trail": [("read", place)]}
                tell(block, "read_across", layer.place, **more)


def _read_at_last(m: Machine, values: tuple[Value, ...]) -> Iterator[tuple[Object, Place]]:
    """The layers with time first of which ``[:, -1]`` is taken, and where."""
    for value in values:
        for part in upstream(m, value, lambda _: True):
            if not isinstance(part, Node) or part.op != "item" or part.place is None:
                continue
            call = _answered(part.inputs[0])
            written = part.place.node
            if call is None or not isinstance(written, syntax.Subscript):
                continue
            if _LAST.search(syntax.unparse(written)) and isinstance(call.subject, Object):
                yield call.subject, part.place


def _answered(value: Value) -> Node | None:
    """The call of a layer with time first, if a value is the first that it gives."""
    if not isinstance(value, Node) or value.op != "item" or len(value.inputs) != 2:
        return None
    call, index = value.inputs
    if not isinstance(call, Node) or call.op != "forward" or not isinstance(index, Const):
        return None
    layer = call.subject
    if index.value != 0 or not isinstance(layer, Object) or layer.type not in _LAYERS:
        return None
    shaped = any(isinstance(one, Node) and one.op in _SHAPES for one in call.inputs)
    return None if shaped or not _takes_time_first(layer) else call


def _takes_time_first(layer: Object) -> bool:
    first = layer.keywords.get("batch_first", Const(False))
    told = len(layer.arguments) <= _SIZES and "**" not in layer.keywords
    return told and isinstance(first, Const) and first.value is False
