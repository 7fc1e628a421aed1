"""Logits that are compared with the 0.5 of a probability.

That a layer gives logits is known from the loss, which applies the sigmoid itself to what the same
layer gives.
"""

from __future__ import annotations

import re
from typing import Final

from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import ORDERS, Machine
from tcstatic.program.paths.tree import Block, happenings
from tcstatic.program.paths.values import Const, Node, Object, Phi, Value
from tcstatic.program.paths.walking import same_of_all

# What leaves a number as it is, wherever it puts it.
_KEEPS: Final = frozenset(
    """float double half bfloat16 to type type_as cuda cpu detach clone numpy contiguous squeeze
    unsqueeze view reshape flatten ravel""".split()
)
_GIVES: Final = ("torch.nn.Linear", "torch.nn.Bilinear", "torch.nn.Conv", "torch.nn.LazyLinear")
_SEQUENCE: Final = "torch.nn.Sequential"
_HALF: Final = 0.5
# What makes probabilities of logits where they stand: no value tells of that.
_IN_PLACE: Final = re.compile(r"\b(sigmoid_|expit_)\(|\b(sigmoid|expit)\([^)\n]*\bout=")
_MOST: Final = 40  # operations between a number and its layer
_DEPTH: Final = 4


@surveys
def thresholds(m: Machine, block: Block) -> None:
    """``half_of_logits`` of the comparison."""
    halved = [one for one in m.compared if one.op in ORDERS and one.place]
    halved = [one for one in halved if any(map(_is_half, one.inputs))]
    if not halved:
        return
    logits = {
        id(layer)
        for one in happenings(block)
        if one.kind == "loss.forward" and one.values.get("operation") == "bce_with_logits"
        if one.arguments and (layer := _layer(one.arguments[0])) is not None
    }
    told: set[int] = set()
    for one in halved:
        layers = [layer for given in one.inputs if (layer := _layer(given)) is not None]
        if one.place is None or id(one.place.node) in told:
            continue
        if any(id(layer) in logits for layer in layers) and not _IN_PLACE.search(
            one.place.module.text.text
        ):
            told.add(id(one.place.node))
            tell(block, "half_of_logits", one.place)


def _is_half(value: Value) -> bool:
    return isinstance(value, Const) and value.value == _HALF


def _layer(value: Value, depth: int = _DEPTH) -> Object | None:
    """The layer that gave a value, or all of its options, with nothing computed since."""
    for _ in range(_MOST):
        if isinstance(value, Phi):
            return same_of_all(value, _layer, depth)
        if not isinstance(value, Node) or not value.inputs:
            return None
        made = value.subject if value.op == "forward" else None
        if isinstance(made, Object) and isinstance(made.type, str) and made.type != _SEQUENCE:
            return made if made.type.startswith(_GIVES) else None
        if not isinstance(made, Object) and value.op not in _KEEPS:
            return None
        value = value.inputs[0]  # a model's is what it gives
    return None
