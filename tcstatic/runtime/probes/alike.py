"""Layers whose units began with the same values, and have the same still after several steps.

Units that are alike get gradients that are alike as long as the next layer takes them alike, too.
So a layer is told only with the weights that take its units; a layer that is zero at first, and
stands before one that is not, parts after one step.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import torch

from tcstatic.model import Location
from tcstatic.runtime.probes import measure
from tcstatic.runtime.probes.initials import Initials
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.stream import Stream

_MOST_KEPT: Final = 64
_MOST_LEADING, _MOST_UNITS, _MOST_VALUES = 64, 256, 1024  # that are compared of one parameter
_APART: Final = 1e-3  # of the greatest: what kernels round differently is far less
# Rows that belong to one gate, or one projection, are units together.
_PARTS: Final = {"LSTM": 4, "LSTMCell": 4, "GRU": 3, "GRUCell": 3, "MultiheadAttention": 3}
# Which dimension is that of a layer's units, and which of its inputs.
_ROWS: Final = (0, 1)
_COLUMNS: Final = (1, 0)
_BY_ROWS: Final = frozenset("Linear Bilinear Conv1d Conv2d Conv3d RNN RNNCell".split()) | set(
    _PARTS
)
_BY_COLUMNS: Final = frozenset(
    "ConvTranspose1d ConvTranspose2d ConvTranspose3d Embedding EmbeddingBag".split()
)
_COMPUTED: Final = ("original", "weight_orig", "weight_g", "weight_v")

_Key = tuple[int, int, int]  # place among those kept, dimension, how many units


@final
@dataclass(slots=True)
class _Kept:
    """A parameter that was alike at first along a dimension or two."""

    parameter: weakref.ref[Any]
    name: str
    parts: int
    ways: tuple[tuple[int, int], ...]
    alike: tuple[bool, bool]


@final
@dataclass(slots=True)
class _Group:
    """What an optimizer trains of that kind. `first` are the answers of the first look, for those
    in `asked`, and `last` those of the last one, for `keys`; `found` is the layer that was alike
    then, how many units it has, and where its values were written."""

    asked: list[Any]
    first: measure.Pending | None
    kept: list[_Kept] = field(default_factory=list)
    keys: list[_Key] = field(default_factory=list)
    last: measure.Pending | None = None
    found: tuple[str, int, Location | None] | None = None


@final
class Alike:
    """Looks at the optimizers of one process. State: `groups` by the number of an optimizer."""

    def __init__(self, stream: Stream, ownership: Ownership, initials: Initials) -> None:
        self._stream = stream
        self._ownership = ownership
        self._initials = initials
        self.groups: dict[int, _Group] = {}

    def begins(self, optimizer: Any, number: int) -> None:
        """The optimizer with this number is about to step for the first time: see what is alike."""
        held = [one for group in optimizer.param_groups for one in group["params"]]
        self._initials.begins(held)
        asked = [weakref.ref(one) for one in held if self._is_looked_at(one)]
        group = self.groups[number] = _Group(asked, None)
        with torch.no_grad():
            flags = [flag for known in asked for flag in _begins_alike(known())]
        if flags:
            group.first = measure.gathered(flags)

    def look(self, number: int) -> None:
        """The optimizer with this number has done some steps: see what is alike still."""
        group = self.groups.get(number)
        if group is None:
            return
        self._take_first(group)
        self._judge(group)
        if group.kept:
            self._compare(group)
            if group.last is not None and group.last.at_hand is not None:
                self._judge(group)

    def settle(self) -> None:
        """The run ends: tell of what was seen last."""
        for number, group in self.groups.items():
            self._judge(group)
            if group.found is None:
                continue
            name, units, where = group.found
            values = {"type": name, "units": units, "stays_alike": True}
            self._stream.tell_of_run(where, {"optimizer": (number,)}, values)

    def _is_looked_at(self, parameter: Any) -> bool:
        if not measure.pointer(parameter) or not measure.readable(parameter):
            return False
        wanted = parameter.requires_grad and parameter.dim() >= 2 and max(parameter.shape[:2]) > 1
        name = self._ownership.name_of(parameter).rpartition(".")[2]
        return bool(wanted) and not name.startswith(_COMPUTED) and not parameter.is_complex()

    def _take_first(self, group: _Group) -> None:
        """Keep those that were alike at first, once that is known."""
        if group.first is None:
            return
        flags = group.first.values()
        group.first = None
        for place, known in enumerate(group.asked):
            rows, columns = (flag == 1.0 for flag in flags[2 * place : 2 * place + 2])
            parameter = known()
            if parameter is None or not (rows or columns) or len(group.kept) >= _MOST_KEPT:
                continue
            name = self._ownership.name_of(parameter)
            layer = name.partition(".")[0]
            by_rows = (_ROWS,) if layer in _BY_ROWS else (_ROWS, _COLUMNS)
            ways = (_COLUMNS,) if layer in _BY_COLUMNS else by_rows
            parts = _PARTS.get(layer, 1)
            parts = parts if parameter.shape[0] % parts == 0 else 1
            group.kept.append(_Kept(known, name, parts, ways, (rows, columns)))

    def _compare(self, group: _Group) -> None:
        """Read how far units are apart, of the weights and of their gradients."""
        alive = [one.parameter() for one in group.kept]
        if not all(map(_is_whole, alive)):
            return
        group.keys = list(dict.fromkeys(_keys(group.kept, alive)))
        numbers = [
            number
            for place, dimension, units in group.keys
            for number in _spreads(alive[place], dimension, units, group.kept[place].parts)
        ]
        group.last = measure.gathered(numbers) if numbers else None

    def _judge(self, group: _Group) -> None:
        """Find a layer whose units were alike at the last look, and taken alike."""
        if group.last is None:
            return
        numbers, group.last = group.last.values(), None
        states = {
            key: _state(numbers[4 * place : 4 * place + 4]) for place, key in enumerate(group.keys)
        }
        group.found = None
        for one, units, state in _pairs(group.kept, states):
            parameter = one.parameter()
            healthy = state == "dead" and _is_open([known() for known in group.asked])
            if parameter is not None and not healthy:
                where = self._initials.of(parameter) or self._stream.last_step_where
                group.found = (one.name, units, where)
                break


def _is_whole(parameter: Any) -> bool:
    """Whether a parameter and its gradient are here, and can be compared."""
    if parameter is None or parameter.dim() < 2 or not measure.readable(parameter):
        return False
    gradient = parameter.grad
    return gradient is not None and bool(measure.pointer(gradient))


def _begins_alike(parameter: Any) -> Iterator[Any]:
    """Yield whether the first two rows are equal, and the first two columns."""
    for dimension in (0, 1):
        if parameter.shape[dimension] < 2:
            yield torch.zeros((), dtype=torch.bool, device=parameter.device)
        else:
            one, other = (parameter.select(dimension, place) for place in (0, 1))
            yield (one == other).all()


def _keys(kept: Sequence[_Kept], alive: Sequence[Any]) -> Iterator[_Key]:
    """Yield what is compared: units, and what takes as many."""
    counts: set[int] = set()
    for place, one in enumerate(kept):
        for out, _ in one.ways:
            units = alive[place].shape[out] // (one.parts if out == 0 else 1)
            if one.alike[out] and units > 1:
                counts.add(units)
                yield place, out, units
    for place, one in enumerate(kept):
        for _, taken in one.ways:
            size = alive[place].shape[taken] if one.alike[taken] else 1
            yield from ((place, taken, units) for units in sorted(counts) if size % units == 0)


def _spreads(parameter: Any, dimension: int, units: int, parts: int) -> Iterator[Any]:
    """Yield how far units are apart at most, and the greatest value: of a parameter, and of its
    gradient."""
    for tensor in (parameter.detach(), parameter.grad.detach()):
        rows = tensor.shape[0]
        leading = rows if dimension else parts if rows == parts * units else 1
        view = tensor.reshape(leading, units, -1)
        every = -(-units // _MOST_UNITS)
        view = view[:_MOST_LEADING, ::every, :_MOST_VALUES]
        view = view.float() if measure.is_small(view) else view
        yield (view - view[:, :1]).abs().max()
        yield view.abs().max()


def _state(numbers: Sequence[float]) -> str:
    """Whether units are "alike", or "dead": zero, and without a slope; '' for neither."""
    apart, greatest, slope_apart, slope = numbers
    if greatest == 0.0 and slope == 0.0:
        return "dead"
    alike = apart <= _APART * greatest and slope_apart <= _APART * slope
    return "alike" if alike and slope > 0.0 else ""


def _is_open(parameters: Sequence[Any]) -> bool:
    """Whether something is trained beside layers of zeros, or waits for them: branches that are
    closed so far. Weights before the last zeros that have no slope, though they are none, are kept
    from training by a factor that is zero so far, which may keep all others."""
    there = [one for one in parameters if one is not None and one.grad is not None]
    slopes = [bool(one.grad.any()) for one in there]
    filled = [bool(one.any()) for one in there]
    last = max((place for place, full in enumerate(filled) if not full), default=0)
    return any(slopes) or any(filled[:last])


def _pairs(kept: Sequence[_Kept], states: dict[_Key, str]) -> Iterator[tuple[_Kept, int, str]]:
    """Yield layers whose units are alike and taken alike by another, in order, and their state."""
    for (place, out, units), state in states.items():
        one = kept[place]
        if not state or (out, 1 - out) not in one.ways:
            continue
        takers = [
            (other, taken)
            for other, two in enumerate(kept)
            for _, taken in two.ways
            # Layers of the program's own that may be laid out either way are laid out alike.
            if other != place and (taken != out or min(len(one.ways), len(two.ways)) == 1)
        ]
        if any(states.get((other, taken, units)) == state for other, taken in takers):
            yield one, units, state
