"""Learning rates that have come to nothing while training goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import CodeType
from typing import Any, Final, final

# A rate below this share of the highest one so far moves nothing any more.
_NOTHING: Final = 1e-8
# Steps with such a rate before it is told; and it must be as many as there were before.
_LEAST_STEPS: Final = 20
# A schedule that was asked so often meanwhile, and gave exactly 0: a third of those before will do,
# which an epoch or two too many are not.
_LEAST_CALLS: Final = 10
_PART: Final = 3


@final
class Rates:
    """The learning rates of one optimizer, at every step of it, watched or not.

    State: `_highest` so far, `_since` when they have been nothing, `_told` what was told of it;
    `_calls` of the step of the scheduler that drives it, how many there had been `_before` the
    rates were nothing, and whether it counts `_in_epochs`; `rules` the code that it asks;
    `_first` rates, and whether there were others since: `varied`; `alive_with` the rates of the
    last step, if that had one that moves something.
    """

    __slots__ = (
        "_before",
        "_calls",
        "_first",
        "_highest",
        "_in_epochs",
        "_since",
        "_told",
        "alive_with",
        "rules",
        "varied",
    )

    def __init__(self) -> None:
        self._highest = 0.0
        self._since: int | None = None
        self._told: bool | None = None
        self._calls = self._before = 0
        self.rules: tuple[CodeType, ...] = ()
        self._in_epochs = False
        self._first: Sequence[float | None] | None = None
        self.varied = False
        self.alive_with: Sequence[float | None] | None = None

    def scheduled(self, calls: int, rules: Iterable[Any], *, in_epochs: bool) -> None:
        """A scheduler sets the rates for the `calls`-th time, by `rules` of the program's own."""
        self._calls, self._in_epochs = max(self._calls, calls), in_epochs
        if calls == 1:
            found = (getattr(rule, "__code__", None) for rule in rules)
            self.rules = tuple(code for code in found if code is not None)

    @property
    def moved(self) -> bool:
        """Whether any step had a rate."""
        return self._highest > 0.0

    @property
    def alive(self) -> bool:
        """Whether the last step had a rate that moves something."""
        return self._highest > 0.0 and self._since is None

    def news(
        self,
        rates: Sequence[float | None],
        step: int,
        others: Iterable[Rates],
        rounds_down: Callable[[], bool],
    ) -> Mapping[str, Any] | None:
        """Return what is to be said of the rates of a step that was not said before, if anything.

        `rates` are those of all groups, None where one is not known. While one of the `others` is
        alive, training goes on with that. `rounds_down` tells whether the schedule's rule does.
        """
        self.alive_with = None
        if self._first is None:
            self._first = rates
        self.varied = self.varied or rates != self._first
        top = max([rate if rate is not None else 1.0 for rate in rates], default=0.0)
        if top > self._highest:
            self._highest = top
        if top > _NOTHING * self._highest:
            self._since = None
            self.alive_with = rates
            return self._tell(vanished=False)
        if self._since is None:
            self._since, self._before = step, self._calls
        asked = top == 0.0 and self._calls - self._before >= _LEAST_CALLS
        if self._highest == 0.0 and not (asked and rounds_down()):
            return None  # a schedule may begin late: the end of the run will tell
        idle = step - self._since + 1
        if idle < max(_LEAST_STEPS, self._since // (_PART if asked else 1)):
            return None
        if any(other.alive for other in others):
            return None
        return self._tell(vanished=True, step=step)

    def at_end(self, steps: int) -> Mapping[str, Any] | None:
        """Return what is to be said of so many steps of which none ever had a rate, though a
        schedule was asked for one again and again."""
        asked = self._calls - self._before >= _LEAST_CALLS
        if self.moved or self._since is None or not asked or steps - self._since < _LEAST_STEPS:
            return None
        return self._tell(vanished=True, step=steps - 1)

    def _tell(self, *, vanished: bool, step: int = 0) -> Mapping[str, Any] | None:
        if self._told is vanished or self._told:
            return None
        self._told = vanished
        each_step = 2 * self._calls >= step
        return {
            "quantity": "learning_rate",
            "rate_vanished": vanished,
            "vanished_since": self._since,
            "idle": 0 if self._since is None else step - self._since + 1,
            "made": step + 1,
            "scheduled_too_often": vanished and each_step and self._in_epochs,
        }
