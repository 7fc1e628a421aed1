"""Layers that an optimizer holds and no backward reaches, because what they make is cut off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths import parameters
from tcstatic.program.paths.facts.grad_modes import written_by_hand
from tcstatic.program.paths.facts.layers import has_weights
from tcstatic.program.paths.facts.membership import holdings, is_fresh, is_uncertain, trained
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import CONTAINERS, WRAPPERS
from tcstatic.program.paths.tree import Block, Happening, happenings
from tcstatic.program.paths.values import Node, Object, Value
from tcstatic.program.paths.walking import Token, differentiable, tokens_of_parameter, upstream

_VALUES: Final = frozenset(
    "detach detach_ attr:data item() numpy tolist round sign floor ceil".split()
)

_AROUND: Final = frozenset({*CONTAINERS, *WRAPPERS})


@surveys
def cut_layers(m: Machine, block: Block) -> None:
    """``cut_off`` at the cut behind which lie layers, made here, that nothing else trains."""
    reached, held = trained(m, block), holdings(m, block)
    if reached is None or not held:
        return
    mine = frozenset[Token]().union(*held.values())
    if not mine & reached.tokens:
        return
    told: set[int] = set()
    for one in list(happenings(block)):
        if one.kind != "loss.backward" or not one.facts.get("in_training_loop"):
            continue
        for cut in _cuts(m, one.arguments[0]):
            lost = (_layers(m, cut) & mine) - reached.tokens
            if not lost or cut.number in told or cut.place is None:
                continue
            parts = [m.objects[number] for number, _ in sorted(lost) if number in m.objects]
            if len(parts) == len(lost) and _is_certain(m, block, parts, lost):
                told.add(cut.number)
                name = ", ".join(dict.fromkeys(part.type_name for part in parts))
                about = _holder(one, held, lost)
                tell(block, "cut_off", cut.place, subjects=about, module=name)


def _is_certain(m: Machine, block: Block, parts: list[Object], lost: frozenset[Token]) -> bool:
    if not all(has_weights(m, part) and is_fresh(m, part) for part in parts):
        return False
    if any(written_by_hand(part) for part in parts):
        return False
    return not is_uncertain(m, block, lost)


def _holder(
    one: Happening, held: dict[int, frozenset[Token]], lost: frozenset[Token]
) -> dict[str, tuple[int, ...]]:
    numbers = [number for number, tokens in held.items() if tokens & lost]
    return {"optimizer": tuple(numbers[:1])}


def _cuts(m: Machine, value: Value) -> Iterator[Node]:
    """The values without a graph that a backward stops at."""
    for one in upstream(m, value, _is_live):
        if isinstance(one, Node) and one.op in _VALUES:
            yield one


def _is_live(value: Value) -> bool:
    off = isinstance(value, Node) and value.op == "forward" and "#grad" in value.keywords
    return differentiable(value) and not off


def _layers(m: Machine, cut: Node) -> frozenset[Token]:
    """The parameters of the layers that what was cut was made with."""
    found: set[Token] = set()
    for one in upstream(m, cut, lambda _: True):
        if isinstance(one, Node) and one.op == "parameter":
            found |= tokens_of_parameter(m, one)
        layer = one.subject if isinstance(one, Node) and one.op == "forward" else None
        library = isinstance(layer, Object) and isinstance(layer.type, str)
        if isinstance(layer, Object) and library and layer.type_name not in _AROUND:
            found |= parameters.tokens_of_model(m, layer)
    return frozenset(found)
