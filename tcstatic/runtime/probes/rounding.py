"""Updates of weights of 16 bits that are rounded away in nearly all elements."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes import measure
from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.stream import Stream

_FEW: Final = 0.05  # of the elements with a gradient
_LEAST_LOOKS: Final = 24
_WINDOW: Final = 12  # looks, after which they are half as dense
_MOST_PARAMETERS: Final = 3
_MOST_ELEMENTS: Final = 1 << 16  # of each, from the first on
_LEAST_ELEMENTS: Final = 256


@final
@dataclass(slots=True)
class _Looks:
    """What the looks at one optimizer saw: `counts` the elements that changed and those with a
    gradient, by window, on their device; `before` is held over the step in progress."""

    number: int
    where: Location | None
    parameters: tuple[weakref.ref[Any], ...]
    numbers: tuple[int, ...]
    dtype: str
    counts: list[tuple[Any, Any]] = field(default_factory=list)
    before: list[tuple[Any, Any]] = field(default_factory=list)
    looks: int = 0
    stride: int = 1
    due: int = 0


@final
class Rounding:
    """Compares some weights before and after steps, watched or not.

    State: `looks` by the number of an optimizer, `idle` the numbers of those without such weights.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.looks: dict[int, _Looks] = {}
        self.idle: set[int] = set()

    def begins(self, optimizer: Optimizer) -> None:
        """A step of an optimizer begins that is not `idle`: keep what it will change."""
        one = self.looks.get(optimizer.number) or self._begun(optimizer)
        if one is None:
            self.idle.add(optimizer.number)
            return
        self.looks[optimizer.number] = one
        if optimizer.steps < one.due:
            return
        if not all(rate is None or rate > 0 for rate in optimizer.group_rates()):
            return
        alive = [p for known in one.parameters if (p := known()) is not None]
        one.before = [(p, _some(p).clone()) for p in alive if _has_gradient(p)]

    def ends(self, optimizer: Optimizer) -> None:
        """The step is done: count, where the weights are."""
        one = self.looks.get(optimizer.number)
        if one is None or not one.before:
            return
        before, one.before = one.before, []
        if not one.looks % _WINDOW:
            one.counts.append((0, 0))
            one.stride *= 2 if one.looks else 1
        changed, moving = one.counts[-1]
        for parameter, was in before:
            wanted = _some(parameter.grad) != 0
            changed = changed + ((_some(parameter) != was) & wanted).sum()
            moving = moving + wanted.sum()
        one.counts[-1] = (changed, moving)
        one.looks += 1
        one.due = optimizer.steps + one.stride

    def _begun(self, optimizer: Optimizer) -> _Looks | None:
        if not optimizer.stock:
            return None
        every = [p for p in optimizer.parameters() if p.requires_grad]
        small = [p for p in every if type(p).__name__ == "Parameter" and measure.readable(p)]
        small = [p for p in small if measure.is_small(p) and p.numel() >= _LEAST_ELEMENTS]
        if not small or any(not measure.is_small(p) for p in every if measure.readable(p)):
            return None
        small.sort(key=lambda p: -int(p.numel()))
        chosen = small[:_MOST_PARAMETERS]
        numbers = tuple(map(self._stream.registry.number, chosen))
        kept = tuple(map(weakref.ref, chosen))
        return _Looks(optimizer.number, optimizer.where, kept, numbers, str(chosen[0].dtype))

    def settle(self) -> None:
        """The run ends: tell where nearly all was lost, at all times."""
        for one in self.looks.values():
            if one.looks < _LEAST_LOOKS:
                continue
            counts = [(int(changed), int(moving)) for changed, moving in one.counts]
            if any(moving and changed >= _FEW * moving for changed, moving in counts):
                continue
            moving = sum(those for _, those in counts)
            if moving:
                share = sum(those for those, _ in counts) / moving
                subjects = {"optimizer": (one.number,), "parameter": one.numbers}
                values = {"mostly_rounded": True, "share": f"{share:.1%}", "dtype": one.dtype}
                self._stream.tell_of_run(one.where, subjects, values)


def _some(tensor: Any) -> Any:
    return tensor.detach().reshape(-1)[:_MOST_ELEMENTS]


def _has_gradient(parameter: Any) -> bool:
    gradient = parameter.grad
    return gradient is not None and measure.readable(gradient)
