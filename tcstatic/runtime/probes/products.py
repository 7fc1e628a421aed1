"""Products of what a model gives and what it is weighted by that have an element for each pair of
theirs, where they were to have one for each example."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.attending import shape_of
from tcstatic.runtime.probes.copied import saved
from tcstatic.runtime.probes.frames import names_in
from tcstatic.runtime.probes.nodes import NOTE, kind_of
from tcstatic.runtime.probes.roles import TENSOR, role_of
from tcstatic.runtime.probes.stream import Stream
from tcstatic.runtime.probes.written import product_lines

_MOST_NODES: Final = 64
_LEAST: Final = 8  # examples: fewer may be as many as there are of something else
_TIMES: Final = 2  # losses that show it
_READ: Final = 8  # losses that are read
_REDUCES: Final = frozenset({"Mean", "Sum"})
_EACH: Final = frozenset("Neg Minimum Maximum Clamp ClampMin ClampMax Add Sub Div Mul".split())
# What makes a column on purpose.
_SHAPED: Final = frozenset(
    """View UnsafeView ReshapeAlias Unsqueeze Transpose T Permute Slice Expand Repeat AsStrided
    Index""".split()
)
_Shapes = tuple[tuple[int, ...], tuple[int, ...]]


@final
class Products:
    """Reads the first losses. State: `_read` how many, `_count` how many of them had such a
    product."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._read = self._count = 0

    def read(self, root: Any, where: Location | None) -> None:
        """The backward of a loss begins."""
        if self._read >= _READ or self._count >= _TIMES:
            return
        self._read += 1
        found = next(_pairs(root), None)
        if found is None:
            return
        self._count += 1
        if self._count == _TIMES:
            shapes, noted = found
            self._tell(shapes, noted or where)

    def _tell(self, shapes: _Shapes, where: Location | None) -> None:
        stream = self._stream
        frame = stream.locator.frame(1)
        if frame is not None:
            held = {name: _shape(one) for name, one in names_in(frame).items()}
            where = next(product_lines(frame.f_code, held, shapes, stream.locator), where)
        text = " and ".join("x".join(map(str, shape)) for shape in shapes)
        values = {"weighs_pairs": True, "shapes": text}
        stream.tell(stream.make("loss.forward", where, {}, values))


def _pairs(root: Any) -> Iterator[tuple[_Shapes, Location | None]]:
    """The shapes and places of products of all pairs that one number was reduced from."""
    waiting: list[tuple[Any, Location | None, bool]] = [(root, None, False)]
    seen: set[Any] = set()
    while waiting and len(seen) < _MOST_NODES:
        node, above, whole = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        kind, where = kind_of(node), node.metadata.get(NOTE, above)
        if not whole and shape_of(node) != ():
            continue
        if whole and kind == "Mul" and (shapes := _outer(node)):
            yield shapes, where
        elif kind in _EACH or (kind in _REDUCES and not whole):
            inside = whole or kind in _REDUCES
            waiting += [(child, where, inside) for child, _ in node.next_functions]


def _shape(value: Any) -> tuple[int, ...]:
    """The shape of a tensor; that of no tensor for anything else."""
    return tuple(value.shape) if role_of(value) == TENSOR else (-1,)


def _outer(node: Any) -> _Shapes | None:
    """The shapes of a product of a row and a column of as many numbers, of which one is given."""
    children = [child for child, _ in node.next_functions]
    made = [child for child in children if child is not None]
    result = shape_of(node)
    if len(made) != 1 or len(result) != 2 or result[0] != result[1] or result[0] < _LEAST:
        return None
    given = saved(node, "other" if children[0] is not None else "self")
    if given is None:
        return None
    mine, its, count = shape_of(made[0]), tuple(given.shape), result[0]
    if {mine, its} != {(count,), (count, 1)}:
        return None
    meant = mine == (count, 1) and kind_of(made[0]) in _SHAPED
    return None if meant else (mine, its)
