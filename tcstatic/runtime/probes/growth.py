"""Graphs that grow from backward to backward, since something is carried over with its history.

Each node that torch records has a number, greater than those before it. Those that were made up to
one backward, and since, are told apart by the number of its loss: a graph in which there are nodes
of all backwards so far has kept everything.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes import codes
from tcstatic.runtime.probes.nodes import walk
from tcstatic.runtime.probes.roles import MODULE, TENSOR, role_of
from tcstatic.runtime.probes.stream import Stream
from tcstatic.runtime.probes.written import carrying_lines

# The backwards of one place whose graphs are counted, as long as each was larger. A sequence that
# goes back place by place, and is let go at its end, is seen to end before the last of them.
_LOOKS: Final = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
_LEAST: Final = 12  # what is enough where the run ends before
_LEAST_STEPS: Final = 2  # of an optimizer meanwhile
_MOST_PLACES: Final = 16
_MOST_NODES: Final = 100_000
_FIRST_NODES: Final = 20_000  # of a graph that nothing is known of
_MOST_PARTS: Final = 32  # of an object, or a container, that may hold what is carried
_MOST_NAMES: Final = 200
_NO_NUMBER: Final = 1 << 62  # a leaf's, or greater


@final
@dataclass(slots=True)
class _Place:
    """What is known of the backwards of one place.

    `began` is the step of the first; `ends` are the numbers of their losses, `sizes` those of the
    graphs that were counted; `held` the numbers of what names held at the last one; `name` what is
    carried over, and where.
    """

    began: int = 0
    ends: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    held: dict[str, frozenset[int]] = field(default_factory=dict)
    name: str = ""
    carried_at: Location | None = None
    told: bool = False


@final
class Growth:
    """Counts the graphs of losses.

    State: `_places` where backward is called, None for those whose graphs do not grow.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._places: dict[Location | None, _Place | None] = {}

    def read(self, root: Any, where: Location | None) -> None:
        """The backward of a loss begins."""
        if where not in self._places:
            if len(self._places) >= _MOST_PLACES:
                return
            self._places[where] = _Place(self._stream.step)
        place = self._places[where]
        number = _number(root) if place is not None and not place.told else None
        if place is None or number is None:
            return
        if len(place.ends) >= _LOOKS[-1] or (place.ends and number <= place.ends[-1]):
            self._places[where] = None  # one graph goes back again, or nothing was told by now
            return
        place.ends.append(number)
        count = len(place.ends)
        if count in _LOOKS and not self._looks(place, root):
            self._places[where] = None
        elif count == _LOOKS[-1]:
            self._tell(place, where)
        elif count + 1 in _LOOKS:
            place.held = dict(self._held())

    def settle(self) -> None:
        """The run ends."""
        for where, place in self._places.items():
            if place is None or place.told or len(place.ends) < _LEAST:
                continue
            if len(place.sizes) > 1:
                self._tell(place, where)

    def _looks(self, place: _Place, root: Any) -> bool:
        """Whether a graph has nodes of all backwards so far, and more than the last one."""
        counts = [0] * (len(place.ends) + 1)
        crossing: set[int] = set()
        most = _MOST_NODES if place.sizes else _FIRST_NODES
        size, before = 0, place.ends[-2]
        for node in walk(root, most):
            number = _number(node)
            size += 1
            if number is None:
                continue
            counts[bisect_left(place.ends, number)] += 1
            if number > before and not place.name:
                below = (_number(one) for one, _ in node.next_functions if one is not None)
                crossing.update(one for one in below if one is not None and one <= before)
        if not all(counts[:-1]) or (place.sizes and size <= place.sizes[-1]):
            return False
        place.sizes.append(size)
        if not place.name:
            self._name(place, crossing)
        return True

    def _name(self, place: _Place, crossing: set[int]) -> None:
        """Find out what holds the nodes of earlier backwards that a graph goes on with."""
        held = {**place.held, **dict(self._held())}
        names = [name for name, numbers in held.items() if numbers & crossing]
        names += [name for name, numbers in place.held.items() if numbers & crossing]
        locator = self._stream.locator
        frame = locator.frame(1)
        if not names or frame is None:
            return
        code = codes.reachable(frame, [], locator)
        for name in names:
            loop = self._stream.loops[-1].where if self._stream.loops else None
            where = next(carrying_lines(name, code, locator, loop), None)
            if where is not None:
                place.name, place.carried_at = name, where
                return

    def _held(self) -> Iterator[tuple[str, frozenset[int]]]:
        """The numbers of the nodes that names, and attributes of objects, hold."""
        for count, (name, value) in enumerate(self._stream.locator.held()):
            if count >= _MOST_NAMES:
                return
            numbers = frozenset(_numbers(value))
            if numbers:
                yield name, numbers
            elif name == "self" or role_of(value) == MODULE:
                told = getattr(value, "__dict__", {})
                parts = [*told.items()][:_MOST_PARTS], [*told.get("_buffers", {}).items()]
                for key, part in (one for held in parts for one in held[:_MOST_PARTS]):
                    if numbers := frozenset(_numbers(part)):
                        yield f".{key}", numbers

    def _tell(self, place: _Place, where: Location | None) -> None:
        place.told = True
        if self._stream.step - place.began < _LEAST_STEPS:
            return  # one sequence that goes back place by place, for one step
        values = {
            "grows": True,
            "carried": place.name.lstrip(".") or "something",
            "first": place.sizes[0],
            "first_at": _LOOKS[0],
            "last": place.sizes[-1],
            "last_at": _LOOKS[len(place.sizes) - 1],
        }
        self._stream.tell_of_run(place.carried_at or where, {}, values)


def _number(node: Any) -> int | None:
    """The number of a node; None of a leaf, and where this torch does not tell."""
    ask = getattr(node, "_sequence_nr", None)
    number = ask() if ask is not None else None
    return number if isinstance(number, int) and number < _NO_NUMBER else None


def _numbers(value: Any) -> Iterator[int]:
    """The numbers of the nodes that a tensor, or a container of some, is the result of."""
    parts = list(value) if isinstance(value, tuple | list) else [value]
    parts = list(value.values()) if type(value) is dict else parts
    for one in parts[-_MOST_PARTS:]:
        node = one.grad_fn if role_of(one) == TENSOR else None
        number = _number(node) if node is not None else None
        if number is not None:
            yield number
