"""When to watch: the first steps in full, then windows that keep within the overhead budget.

What a window costs is told by the last steps that were watched: the first ones hold one-time work.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from typing import Final, final

FULL_STEPS: Final = 20  # steps watched in full: enough for a window of unused branches to show
WINDOW: Final = 3  # consecutive steps in a later window: order is judged between two steps
SHORTEST_PERIOD: Final = 32  # steps; windows never come closer than this
LONGEST_PERIOD: Final = 1 << 16
FRESH_STEPS: Final = 12  # watched in full once something new is trained
_RECENT: Final = 8  # watched steps that tell what the next ones will cost


@final
class Budget:
    """Decides step by step whether the probes read state. `share` is of the step's own time; with
    1 or more every step is watched.

    State: `spent` seconds in probes during watched steps, `_bare` the shortest seconds seen for
    a step without them; `period` is a power of two, so that ranks with different measurements
    still meet in common steps. `_costs` of the last watched steps in seconds, `_fresh` how many
    more are watched whatever they cost.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self.watching = True
        self.watched = 0
        self.steps = 0
        self.period = 0
        self.spent = 0.0
        self._last = time.perf_counter()
        self._bare = 0.0
        self._seen_spent = 0.0
        self._costs: deque[float] = deque(maxlen=_RECENT)
        self._fresh = 0

    def grant(self) -> None:
        """Something is trained that was not trained before: watch its first steps."""
        if self.share > 0.0:
            self._fresh = FRESH_STEPS

    def step_done(self) -> bool:
        """Count a step; return whether the next one is watched."""
        if self.share >= 1.0:
            self.steps += 1
            self.watched += 1
            return True
        now = time.perf_counter()
        own = self.spent - self._seen_spent
        took = max(now - self._last - own, 1e-6)
        self._last, self._seen_spent = now, self.spent
        if self.steps > 1:  # the first steps hold one-time work of the user's and of ours
            self._bare = took if self._bare == 0.0 else min(self._bare * 1.05, took)
        self.steps += 1
        self.watched += self.watching
        if self.watching:
            self._costs.append(own)
        if self.steps < FULL_STEPS:
            return True
        if self.steps == FULL_STEPS or (self.watching and self.steps % self.period == WINDOW):
            self.period = self._choose()
        self.watching = self.period > 0 and self.steps % self.period < WINDOW
        if self._fresh:
            self._fresh, self.watching = self._fresh - 1, True
        return self.watching

    @property
    def full(self) -> bool:
        """Whether steps are watched that no budget would have watched, each after the other."""
        return self.share >= 1.0 and self.steps >= FULL_STEPS

    @property
    def sampled(self) -> float:
        """Share of the steps so far that were watched, 0 to 1."""
        return self.watched / self.steps if self.steps else 1.0

    def _choose(self) -> int:
        if self.share <= 0.0:
            return 0
        cost = statistics.fmean(self._costs) * WINDOW if self._costs else 0.0
        wanted = cost / (self.share * max(self._bare, 1e-6))
        period = SHORTEST_PERIOD
        while period < wanted and period < LONGEST_PERIOD:
            period *= 2
        return period
