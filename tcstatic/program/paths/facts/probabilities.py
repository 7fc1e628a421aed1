"""Scores where probabilities are expected, and softmax over the examples of a batch."""

from __future__ import annotations

from typing import Final

from tcstatic.program.paths.facts.losses import argument
from tcstatic.program.paths.facts.registry import provides
from tcstatic.program.paths.facts.ways import Way, ways
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import SHAPE
from tcstatic.program.paths.tree import Happening
from tcstatic.program.paths.values import Node, Object, Unknown, Value
from tcstatic.program.paths.walking import upstream

# Layers whose outputs have no bounds.
_SCORES: Final = frozenset(
    "linear Bilinear Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d".split()
)
_CLAMPS: Final = frozenset("clamp clamp_ clip clamp_min clamp_max".split())
_THROUGH: Final = (SHAPE | _CLAMPS) - {"item"}


@provides("loss.forward")
def scores(m: Machine, one: Happening) -> None:
    """``raw``: what binary cross entropy is given are scores, whichever way they came."""
    if one.values.get("operation") != "bce":
        one.values["raw"] = False
        return
    value = argument(one, "input")
    if value is None:
        return
    found = ways(m, value, _THROUGH)
    raw = [way for way in found if isinstance(way.end, Node) and way.end.op in _SCORES]
    if raw and len(raw) == len(found):
        one.values["raw"] = True
        one.values["#trail"] = [("scores", node.place) for node in map(_origin, raw) if node.place]
    elif not any(isinstance(way.end, Unknown) for way in found):
        one.values["raw"] = False


def _origin(way: Way) -> Node:
    """The clamp that hides the scores, else the layer that made them."""
    assert isinstance(way.end, Node)
    return next((node for node in way.passed if node.op in _CLAMPS), way.end)


@provides("loss.forward")
def unnormalised(m: Machine, one: Happening) -> None:
    """``unnormalised``: the negative log-likelihood of scores, whichever way they came."""
    value = argument(one, "input") if one.values.get("operation") == "nll_loss" else None
    found = ways(m, value, SHAPE - {"item"}) if value is not None else []
    raw = [way for way in found if isinstance(way.end, Node) and way.end.op in _SCORES]
    if raw and len(raw) == len(found):
        one.values["unnormalised"] = True
        ends = [way.end.place for way in raw if isinstance(way.end, Node)]
        one.values["#trail"] = [("scores", place) for place in ends if place is not None]


@provides("loss.forward")
def batched(m: Machine, one: Happening) -> None:
    """``batched``: the target is a batch of a loader, so dimension 0 is that of the examples."""
    value = argument(one, "target")
    one.values["batched"] = value is not None and _of_loader(m, value)


def _of_loader(m: Machine, value: Value) -> bool:
    return any(
        isinstance(found, Object) and found.role == "loader"
        for found in upstream(m, value, lambda v: not isinstance(v, Node) or v.op in _PARTS)
    )


_PARTS: Final = frozenset({"item", "enumerate", "iter", "zip", "to", "cuda", "long", "float"})
