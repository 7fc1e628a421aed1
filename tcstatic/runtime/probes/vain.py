"""Optimizers whose gradients are computed and cleared, and that never step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from tcstatic.model import Location
from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.stream import Stream


@final
class Vain:
    """Tells of optimizers that seem never to step, and takes it back where there was a reason.

    State: `_told` those that were told.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._told: dict[int, Optimizer] = {}

    def lost(self, optimizer: Optimizer) -> None:
        """The gradients of an optimizer were cleared, and nobody has used them."""
        where = optimizer.discards.in_vain
        if where is not None and not optimizer.steps and optimizer.number not in self._told:
            self._told[optimizer.number] = optimizer
            self._tell(optimizer, where, never_stepped=True)

    def settle(self, *, meant: bool) -> None:
        """The run ends; `meant`: something was seen that has a use for gradients but a step."""
        for optimizer in self._told.values():
            moved = optimizer.thing() is not None and optimizer.has_trained
            if meant or moved or optimizer.steps or optimizer.interval.orphans:
                self._tell(optimizer, None, never_stepped=False)

    def _tell(self, optimizer: Optimizer, where: Location | None, *, never_stepped: bool) -> None:
        subjects, values = {"optimizer": (optimizer.number,)}, {"never_stepped": never_stepped}
        self._stream.tell(self._stream.make("call", where, subjects, values))


def tell_trained(stream: Stream, everyone: Iterable[Optimizer], gone: Iterable[int]) -> None:
    """Tell which optimizers trained, whoever watched them, or are `gone` and may have."""
    trained = {one.number for one in everyone if one.has_trained}.union(gone)
    stream.tell(stream.make("gap", None, {"optimizer": tuple(sorted(trained))}))
