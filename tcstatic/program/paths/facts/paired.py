"""Answers that are compared with all labels of a batch, by broadcasting: a column and a row.

That the labels are one dimension short is known from the loss, which gives them that: there, they
are unsqueezed for what the same layer gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import ORDERS, Machine
from tcstatic.program.paths.tree import Block, happenings
from tcstatic.program.paths.values import Const, Node, Object, Phi, Value
from tcstatic.program.paths.walking import same_of_all, upstream

# Losses that are given two tensors of one shape.
_ALIKE: Final = frozenset("bce bce_with_logits mse_loss l1_loss smooth_l1_loss huber_loss".split())
# What leaves the shape of its first operand as it is.
_KEEPS: Final = frozenset(
    """sigmoid tanh relu round float double half int long bool to type cuda cpu detach clone numpy
    contiguous exp abs neg clamp requires_grad_ type_as""".split()
)
_COMPARES: Final = frozenset("> < >= <= + - * /".split())  # by a number
_LAYERS: Final = frozenset("Sigmoid Tanh ReLU Dropout Identity Softplus Flatten".split())
_SHAPES: Final = frozenset(
    """unsqueeze squeeze view reshape flatten unflatten stack cat expand expand_as permute transpose
    view_as reshape_as t ravel concatenate column_stack expand_dims newaxis""".split()
)
_MOST: Final = 40  # operations between an answer and its layer
_DEPTH: Final = 4
_Item = tuple[Object, int]


@surveys
def paired(m: Machine, block: Block) -> None:
    """``all_pairs`` of the comparison."""
    compared = [one for one in m.compared if one.op not in ORDERS]
    compared = [one for one in compared if one.place is not None and len(one.inputs) == 2]
    every = happenings(block)
    losses = [one for one in every if one.kind == "loss.forward" and one.node is not None]
    losses = [one for one in losses if one.values.get("operation") in _ALIKE]
    if not compared or not losses:
        return
    known = [pair for one in losses if (pair := _evidence(tuple(one.arguments))) is not None]
    told: set[int] = set()
    for one in compared if known else ():
        for column, row in (one.inputs, one.inputs[::-1]):
            layer, item = layer_of(column), _item(row)
            place = one.place
            if layer is None or item is None or place is None or id(place.node) in told:
                continue
            if any(layer is other and _is_alike(m, item, given) for other, given in known):
                told.add(id(place.node))
                tell(block, "all_pairs", place, operation=one.op)


def _evidence(arguments: tuple[Value, ...]) -> tuple[Object, _Item] | None:
    """The layer whose output a loss is given, and the item of a batch that lacks a dimension."""
    if len(arguments) < 2:
        return None
    for given, target in (arguments[:2], arguments[1::-1]):
        layer, raised = layer_of(given), past(target)
        if layer is None or not isinstance(raised, Node) or not _raises(raised):
            continue
        item = _item(raised.inputs[0])
        if item is not None:
            return layer, item
    return None


def _raises(node: Node) -> bool:
    """Whether a dimension is added behind the others, or behind the first one."""
    if node.op != "unsqueeze":
        return False
    where = [*node.inputs[1:2], *(v for k, v in node.keywords.items() if k == "dim")]
    return len(where) == 1 and isinstance(where[0], Const) and where[0].value in (1, -1)


def past(value: Value, depth: int = _DEPTH) -> Value | None:
    """A value before what leaves its shape as it is."""
    for _ in range(_MOST):
        if isinstance(value, Phi):
            return same_of_all(value, past, depth)
        if not isinstance(value, Node) or not value.inputs:
            return value
        by_number = value.op in _COMPARES and len(value.inputs) == 2 and _is_number(value.inputs[1])
        if value.op not in _KEEPS and not by_number:
            return value
        value = value.inputs[0]
    return None


def _is_number(value: Value) -> bool:
    return isinstance(value, Const) and isinstance(value.value, int | float)


def layer_of(value: Value) -> Object | None:
    """The layer of one unit that gave a value, but for what leaves the shape as it is."""
    for _ in range(_MOST):
        before = past(value)
        if not isinstance(before, Node) or before.op != "forward" or not before.inputs:
            return None
        made = before.subject
        if not isinstance(made, Object):
            return None
        if made.type == "torch.nn.Linear":
            units = [
                *made.arguments[1:2],
                *(v for k, v in made.keywords.items() if k == "out_features"),
            ]
            one = len(units) == 1 and isinstance(units[0], Const) and units[0].value == 1
            return made if one else None
        if isinstance(made.type, str) and not _goes_through(made.type):
            return None
        value = before.inputs[0]
    return None


def _goes_through(path: str) -> bool:
    name = path.rpartition(".")[2]
    return path == "torch.nn.Sequential" or name in _LAYERS - {"Flatten"}


def _item(value: Value) -> _Item | None:
    """Which item of the batches of which loader a value is, as it came."""
    before = past(value)
    if not isinstance(before, Node) or before.op != "item" or len(before.inputs) != 2:
        return None
    batch, place = before.inputs
    if not isinstance(place, Const) or type(place.value) is not int:
        return None
    if not isinstance(batch, Node) or batch.op != "item" or not batch.inputs:
        return None
    loader = batch.inputs[0]
    if not isinstance(loader, Object) or loader.role != "loader":
        return None
    return loader, place.value


def _is_alike(m: Machine, one: _Item, other: _Item) -> bool:
    """Whether two items are of one kind: of the same loader, or of data of which nobody has
    changed the shape."""
    if one[1] != other[1]:
        return False
    if one[0] is other[0]:
        return True
    first, second = (list(_sources(m, item[0])) for item in (one, other))
    return (
        bool(first)
        and [kind for kind, _ in first] == [kind for kind, _ in second]
        and all(plain for _, plain in (*first, *second))
    )


def _sources(m: Machine, loader: Object) -> Iterator[tuple[Any, bool]]:
    """The data of a loader: of which kind they are, and whether their shape is as it came."""
    for data in loader.arguments[:1]:
        if not isinstance(data, Object):
            return
        made = [one for given in data.arguments for one in upstream(m, given, lambda _: True)]
        shaped = any(isinstance(one, Node) and one.op in _SHAPES for one in made)
        yield data.type, not shaped
