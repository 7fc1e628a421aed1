"""Weights of attention that sum to one over something else than what they weigh.

The product of a softmax and values sums over the last dimension of the softmax. Where that is of a
product of queries and keys, so are the keys; over a dimension that both products keep apart (heads,
examples), or over as many queries, the weights of a sum are not a distribution.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tcstatic.runtime.probes.nodes import kind_of, signed, walk

_MOST_NODES: Final = 20_000
_MOST_STEPS: Final = 24
_SOFTMAX: Final = frozenset({"Softmax", "SafeSoftmax"})
_VIEWS: Final = frozenset({"View", "UnsafeView", "ReshapeAlias"})
_SAME: Final = frozenset("Clone ToCopy Alias NativeDropout Expand MaskedFill".split())
# What is done to scores before they are normalised, by a number or by another tensor.
_SCALED: Final = frozenset("Div Mul Add Sub Where Tanh Neg".split())
_TURNED: Final = _VIEWS | set("Expand Permute Transpose T Unsqueeze Squeeze Repeat Clone".split())

# Where the rows and columns of a product are among the dimensions of what a node made.
_Spot = tuple[Any, int, int]


def misplaced(root: Any) -> Iterator[tuple[Any, str]]:
    """Yield the softmaxes of a graph that weigh values like this, and over what they are taken."""
    seen: set[Any] = set()
    for node in walk(root, _MOST_NODES):
        if kind_of(node) != "Bmm":
            continue
        spot = _down((node.next_functions[0][0], 1, 2), _SOFTMAX)
        if spot is None or spot[0] in seen:
            continue
        softmax, row, column = spot
        seen.add(softmax)
        dimension, shape = over(softmax), shape_of(softmax)
        if dimension in (None, column) or min(shape[row], shape[column], shape[dimension or 0]) < 2:
            continue
        scores = _down((softmax.next_functions[0][0], row, column), frozenset({"Bmm"}))
        if scores is None or {scores[1], scores[2]} != {1, 2}:
            continue
        if dimension != row:
            yield softmax, "heads or examples"
        elif shape[row] == shape[column] and not any(map(_is_learned, scores[0].next_functions)):
            yield softmax, "queries"


def _down(spot: _Spot, wanted: frozenset[str]) -> _Spot | None:
    """Follow what a node was made of, as long as rows and columns stay, to a node of a kind."""
    for _ in range(_MOST_STEPS):
        node, row, column = spot
        if node is None or max(row, column) >= len(shape_of(node)):
            return None
        kind = kind_of(node)
        if kind in wanted:
            return spot
        if (kind == "Mul" or wanted is _SOFTMAX) and _is_joined(node, kind):
            return None
        below = node.next_functions[0][0] if node.next_functions else None
        moved = _moved(node, kind, below, (row, column)) if below is not None else None
        if moved is None:
            return None
        spot = (below, *moved)
    return None


def _is_joined(node: Any, kind: str) -> bool:
    """Whether a node joins two tensors of its own size, each of which has a say."""
    if kind not in _SCALED:
        return False
    given = [one for one, _ in node.next_functions if one is not None]
    return len([one for one in given if shape_of(one) == shape_of(node)]) > 1


def _is_learned(edge: tuple[Any, int]) -> bool:
    """Whether a factor is a parameter as it stands: clusters or slots, that inputs fall into."""
    node = edge[0]
    for _ in range(_MOST_STEPS):
        if node is None or kind_of(node) not in _TURNED:
            break
        node = node.next_functions[0][0]
    return node is not None and hasattr(node, "variable")


def _moved(node: Any, kind: str, below: Any, places: tuple[int, int]) -> tuple[int, int] | None:
    """Where rows and columns are in what a node was made of; None where that is not known."""
    shape, before = shape_of(node), shape_of(below)
    if kind in _SCALED:
        single = len([one for one, _ in node.next_functions if one is not None]) == 1
        return places if shape == before and (single or kind != "Div") else None
    if kind in _SAME:
        shift = len(shape) - len(before)
        first, second = (place - shift for place in places)
        same = shift >= 0 and min(first, second) >= 0
        return (first, second) if same and before[first:] == shape[first + shift :] else None
    if kind == "Permute":
        order = [place % len(shape) for place in map(signed, node._saved_dims)]
        return order[places[0]], order[places[1]]
    if kind == "Unsqueeze":
        added = signed(node._saved_dim) % len(shape)
        if added in places:
            return None
        return places[0] - (places[0] > added), places[1] - (places[1] > added)
    return _viewed(shape, before, places) if kind in _VIEWS else None


def _viewed(
    shape: tuple[int, ...], before: tuple[int, ...], places: tuple[int, int]
) -> tuple[int, int] | None:
    """As `_moved`, where the last dimensions stay, but for those of size one."""
    mine = [place for place, size in enumerate(shape) if size > 1][::-1]
    its = [place for place, size in enumerate(before) if size > 1][::-1]
    if not set(places) <= set(mine):
        return None
    turns = [mine.index(place) for place in places]
    for turn in range(max(turns) + 1):
        if turn >= len(its) or shape[mine[turn]] != before[its[turn]]:
            return None
    return its[turns[0]], its[turns[1]]


def over(softmax: Any) -> int | None:
    """Return the dimension that a softmax is taken over, counted from the first."""
    dimension, rank = getattr(softmax, "_saved_dim", None), len(shape_of(softmax))
    return signed(dimension) % rank if isinstance(dimension, int) and rank else None


def shape_of(node: Any) -> tuple[int, ...]:
    """Return the shape of what a node made; () where this torch does not tell."""
    described = getattr(node, "_input_metadata", None)
    if not described:
        return ()
    shape = tuple(described[0].shape)
    return shape if all(type(size) is int for size in shape) else ()
