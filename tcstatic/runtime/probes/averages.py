"""Averaged weights (`torch.optim.swa_utils.AveragedModel`) as they are when they are evaluated."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.frames import names_in
from tcstatic.runtime.probes.inherited import Inherited
from tcstatic.runtime.probes.stream import Stream

AVERAGED: Final = "AveragedModel"
_HOME: Final = "torch.optim.swa_utils"
_LEAST_STEPS: Final = 3  # before these, nothing need have been averaged


@final
@dataclass(slots=True)
class _Average:
    """What was seen of one averaged model: where it was called first, after how many steps;
    whether it was ever `updated`, and whether its statistics were ever `measured` anew."""

    module: weakref.ref[Any]
    where: Location | None
    stepped_at: Location | None
    steps: int = 0
    updated: bool = False
    measured: bool = False
    evaluated: bool = False


@final
class Averages:
    """Follows the averaged models of one process. State: `_known` by number."""

    def __init__(self, stream: Stream, inherited: Inherited) -> None:
        self._stream = stream
        self._inherited = inherited
        self._known: dict[int, _Average] = {}

    def concerns(self, module: Any) -> bool:
        """Whether a model is an averaged one, or a copy that may be."""
        return type(module).__name__ == AVERAGED or self._inherited.concerns(module)

    def called(self, module: Any, where: Location | None) -> None:
        """Such a model is about to be called."""
        if self._inherited.concerns(module):
            self._inherited.called(module, where)
        if type(module).__name__ != AVERAGED or type(module).__module__ != _HOME:
            return
        stream = self._stream
        number = stream.registry.number(module)
        one = self._known.get(number)
        if one is None:
            one = self._known[number] = _Average(weakref.ref(module), where, None)
        if not module.training and stream.step >= _LEAST_STEPS:
            one.evaluated, one.where, one.steps = True, self._handed(module) or where, stream.step
            one.stepped_at = stream.last_step_where
        _look(one, module)

    def _handed(self, module: Any) -> Location | None:
        """Where a function hands a model on to the one that calls it: its statistics are to be
        measured before that line."""
        locator = self._stream.locator
        frame = locator.frame(1)
        found = None
        while frame is not None:
            if locator.is_users(frame.f_code.co_filename):
                holds = any([one is module for one in names_in(frame).values()])
                found = frame if holds else found
            frame = frame.f_back
        return locator.place(found) if found is not None else None

    def settle(self) -> None:
        """The run ends: tell what was evaluated, and was never what its name says."""
        for number, one in self._known.items():
            module = one.module()
            if module is not None:
                _look(one, module)
            if one.evaluated and not one.updated:
                self._tell(number, one.stepped_at or one.where, {"never_averaged": True})
            elif one.evaluated and not one.measured:
                self._tell(number, one.where, {"statistics_left": True})

    def _tell(self, number: int, where: Location | None, values: dict[str, Any]) -> None:
        self._stream.tell_of_run(where, {"model": (number,)}, {"type": AVERAGED, **values})


def _look(one: _Average, module: Any) -> None:
    """Read how often it was updated; and whether anything but that wrote to its statistics.

    Each update copies the statistics of the model in training. Those of an average over epochs are
    no one's; where the average follows the training closely, they are near enough.
    """
    times = int(module.n_averaged) if module.n_averaged.device.type == "cpu" else 1
    one.updated = one.updated or times > 0
    close = module.avg_fn is not None or module.multi_avg_fn is not None or module.use_buffers
    counts = [
        layer.num_batches_tracked
        for layer in module.modules()
        if getattr(layer, "num_batches_tracked", None) is not None
    ]
    written = any(count._version != 1 + times for count in counts)  # 1: by the copy that it is
    one.measured = one.measured or close or not counts or written
