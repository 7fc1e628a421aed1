"""Differences of a column and a row: what a critic says of examples, and what was to be said.

That the row lacks a dimension is known from another place, where the same row meets the same
column without its last dimension.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.paired import layer_of, past
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, happenings
from tcstatic.program.paths.values import Const, Listing, Node, Object, Phi, Value
from tcstatic.program.paths.walking import upstream

_MEETS: Final = frozenset({"-", "+", "sub", "add"})
_LOSSES: Final = frozenset("mse_loss l1_loss smooth_l1_loss huber_loss".split())
_FLATTENS: Final = frozenset({"view", "reshape", "flatten", "ravel"})
_MADE: Final = frozenset("tensor as_tensor from_numpy FloatTensor Tensor stack cat".split())
_SUMS: Final = frozenset("+ - * /".split())
_MOST: Final = 40  # operations between a row and what made it


@surveys
def rows(m: Machine, block: Block) -> None:
    """``column_and_row`` of the operation that gives an element for each pair of examples."""
    every = happenings(block)
    lost = [one for one in every if one.kind == "loss.backward"]
    given = [value for one in lost for value in (*one.arguments, one.receiver) if value is not None]
    nodes = {id(one): one for value in given for one in upstream(m, value, lambda _: True)}
    pairs = [one for one in nodes.values() if isinstance(one, Node) and len(one.inputs) > 1]
    pairs = [one for one in pairs if one.op in _MEETS or one.op in _LOSSES]
    known = {
        (id(layer), id(other))
        for one in pairs
        for column, row in _both(one)
        if (layer := _squeezed(m, column)) is not None and _is_row(row)
        if (other := past(row)) is not None
    }
    told: set[int] = set()
    for one in pairs if known else ():
        for column, row in _both(one):
            layer = _column(m, column)
            if layer is None or (id(layer), id(past(row))) not in known or one.place is None:
                continue
            if id(one.place.node) not in told:
                told.add(id(one.place.node))
                tell(block, "column_and_row", one.place, name=layer.type_name)


def _both(one: Node) -> Iterator[tuple[Value, Value]]:
    left, right = one.inputs[:2]
    yield left, right
    yield right, left


def _squeezed(m: Machine, value: Value) -> Object | None:
    """The layer of one unit whose output has lost its last dimension."""
    made = past(value)
    if not isinstance(made, Node) or not made.inputs:
        return None
    sizes = [one.value if isinstance(one, Const) else None for one in made.inputs[1:]]
    if made.op == "squeeze" or (made.op in _FLATTENS and sizes in ([], [-1], [0])):
        return _column(m, made.inputs[0])
    return None


def _column(m: Machine, value: Value) -> Object | None:
    """The layer of one unit that gave a value, be it one of several that a model gives."""
    made = past(value)
    if isinstance(made, Node) and made.op == "item" and len(made.inputs) == 2:
        several, place = made.inputs
        given = several.inputs[0] if isinstance(several, Node) and several.inputs else several
        if isinstance(given, Listing) and isinstance(place, Const):
            held = m.attribute(given, f"[{place.value}]")
            return layer_of(held) if held is not None else None
    return layer_of(value)


def _is_row(value: Value) -> bool:
    """Whether a value was put together from one number for each example."""
    for _ in range(_MOST):
        if isinstance(value, Phi) and value.options:
            value = value.options[-1]
            continue
        made = past(value)
        if not isinstance(made, Node) or not made.inputs:
            return False
        if made.op in _MADE:
            return True
        if made.op not in _SUMS:
            return False
        value = made.inputs[0]
    return False
