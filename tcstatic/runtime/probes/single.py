"""Softmaxes over one element, which is 1 whatever it is given, with all that is learnt before them.

Only a loss that comes from its parameters by no other way is told: an attention to one place, or a
mixture of one part, has a softmax over one element as well, and learns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.attending import over, shape_of
from tcstatic.runtime.probes.nodes import NOTE, kind_of
from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.stream import Stream

_MOST_NODES: Final = 20_000
_FIRST_LOOKS: Final = 4  # losses that are looked through; all, once there is one like this
_NAMES: Final = {"Softmax": "softmax", "SafeSoftmax": "softmax", "LogSoftmax": "log_softmax"}
# Nodes that say nothing of the parameters within them.
_OPAQUE: Final = frozenset({"CheckpointFunction", "Compiled", "CompiledFunction"})

_Place = tuple[Location | None, str]


@final
class Single:
    """Reads the graphs of losses. State: `_behind` the parameters that lie behind such a softmax,
    by its place; `_reached` those that another way leads to; `_looked` how many were looked at;
    `_layer` tells where a layer without parameters was made."""

    def __init__(self, stream: Stream, layer: Callable[[str], Location | None]) -> None:
        self._stream = stream
        self._layer = layer
        self._looked = 0
        self._behind: dict[_Place, set[int]] = {}
        self._reached: set[int] = set()

    @property
    def suspects(self) -> bool:
        """Whether something is held against a softmax: another way may show in any graph."""
        return bool(self._behind)

    def read(self, root: Any, where: Location | None) -> None:
        """A backward is about to begin at the node of a loss."""
        if self._looked >= _FIRST_LOOKS and not self._behind:
            return
        self._looked += 1
        singles: dict[Any, _Place] = {}
        open_ways = self._numbers(_leaves(root, where, singles))
        if not singles or open_ways:
            self._reached |= open_ways
            return
        for node, (place, name) in singles.items():
            behind = self._numbers(_leaves(node, None, None))
            found = node.metadata.get(NOTE) or self._layer(name) or place
            if behind - {0}:
                self._behind.setdefault((found, name), set()).update(behind)

    def clears(self, root: Any) -> None:
        """A backward is about to begin in a step in which no place was noted at any node."""
        singles: dict[Any, _Place] = {}
        self._reached |= self._numbers(_leaves(root, None, singles))

    def settle(self, live: Iterable[Optimizer]) -> None:
        """The run ends: tell of those behind which nothing is learnt."""
        everyone, known = list(live), self._stream.registry.known
        for (where, name), behind in self._behind.items():
            if behind & self._reached:
                continue
            held = [one.number for one in everyone if behind & set(map(known, one.parameters()))]
            values = {"softmax": name, "over_one": True}
            self._stream.tell_of_run(where, {"optimizer": tuple(held)}, values)

    def _numbers(self, leaves: Iterable[Any]) -> set[int]:
        """The numbers of leaves; 0 stands for what is not known."""
        number = self._stream.registry.number
        return {0 if one is None else number(one) for one in leaves}


def _leaves(root: Any, where: Location | None, singles: dict[Any, _Place] | None) -> Iterator[Any]:
    """Yield the leaves of a graph, None for what may hold some; past softmaxes over one element
    only where these are not collected in `singles`."""
    waiting: list[tuple[Any, Location | None]] = [(root, where)]
    seen = {root}
    while waiting:
        node, above = waiting.pop()
        if hasattr(node, "variable"):
            yield node.variable
            continue
        kind, place = kind_of(node), node.metadata.get(NOTE, above)
        if singles is not None and kind in _NAMES and _is_over_one(node):
            singles[node] = (place, _NAMES[kind])
            continue
        if kind in _OPAQUE or len(seen) > _MOST_NODES:
            yield None
        for child, _ in node.next_functions:
            if child is not None and child not in seen:
                seen.add(child)
                waiting.append((child, place))


def _is_over_one(node: Any) -> bool:
    dimension, shape = over(node), shape_of(node)
    return dimension is not None and shape[dimension] == 1
