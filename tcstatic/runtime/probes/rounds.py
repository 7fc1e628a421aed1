"""Where a round of training ends: the unit in which it is watched, judged and paid for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, final

from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.stream import Stream

MOST_BEGUN: Final = 8  # times that a new optimizer counts: a program may make one in every step


@final
class Rounds:
    """Counts the rounds of one process: an optimizer that steps again in a round ends it, so that
    those which take turns share one. So does the one that stepped most often, whoever comes then.

    `done` is called at the end of each.

    State: `_stepped` the optimizers that stepped since the last round ended, and the one that
    ended it, by number; `_begun` how many have begun once there were rounds, `_new` whether one has
    in this round.
    """

    def __init__(self, stream: Stream, done: Callable[[], None]) -> None:
        self._stream = stream
        self.done = done
        self._stepped: dict[int, Callable[[], Any]] = {}
        self._begun, self._new = 0, False

    def end_with(self, optimizer: Optimizer) -> bool:
        """Note a step that was just counted; tell whether it ends a round."""
        number, steps = optimizer.number, optimizer.steps
        if steps == 1 and self._stream.rounds and self._begun < MOST_BEGUN:
            self._begun, self._new = self._begun + 1, True
        ends = steps > self._stream.step or number in self._stepped
        # One that is made anew for each round takes the place of one that is no more.
        ends = ends or (steps == 1 and any(thing() is None for thing in self._stepped.values()))
        if ends:
            self._stream.step = max(self._stream.step, steps)
            self._stepped = {}
            self._stream.rounds += 1
            if self._new:
                self._stream.began, self._new = self._stream.rounds, False
        self._stepped[number] = optimizer.thing
        return ends
