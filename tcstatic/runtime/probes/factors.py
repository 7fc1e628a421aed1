"""Factors that a rule of `LambdaLR` gives: of the rate that it was made with, not rates themselves.

A rule that gives rates ends in the square of them. It is known by its highest factor, which is the
rate of the optimizer to the last digit; others have factors up to one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes import codes
from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.stream import Stream

_KIND: Final = "LambdaLR"
_LEAST_CALLS: Final = 3
# A rate that is a factor as well, of a warm-up that begins with a half or a tenth.
_MOST: Final = 0.09
_MOST_GROUPS: Final = 16
_EQUAL: Final = 1e-6


@final
@dataclass(slots=True)
class _Rule:
    """What one schedule gave: its rates at first, for each group, and the highest factors of all
    so far; how often it was stepped, and when one was higher than before for the last time."""

    where: Location | None
    driven: Optimizer
    base: tuple[float, ...]
    highest: list[float]
    calls: int = 0
    risen: int = 0


@final
class Factors:
    """Follows the rules of the schedules of one process. State: `_known` by number."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._known: dict[int, _Rule] = {}

    def made(self, scheduler: Any, driven: Optimizer, where: Location | None) -> None:
        """A schedule was made for an optimizer."""
        number = self._stream.registry.number(scheduler)
        base = getattr(scheduler, "base_lrs", ())
        plain = all(isinstance(one, float) and 0.0 < one <= _MOST for one in base)
        begins = getattr(scheduler, "last_epoch", None) == 0
        if number in self._known or type(scheduler).__name__ != _KIND or not begins:
            return
        if plain and 0 < len(base) <= _MOST_GROUPS:
            rules = list(getattr(scheduler, "lr_lambdas", ()))
            if rules and all(one is rules[0] for one in rules):
                where = codes.returned_at(rules[0], self._stream.locator) or where
            self._known[number] = _Rule(where, driven, tuple(base), [0.0] * len(base))

    def stepped(self, scheduler: Any) -> None:
        """A schedule is about to be advanced: its rates are those of the step before."""
        one = self._known.get(self._stream.registry.known(scheduler)) if self._known else None
        if one is None:
            return
        rates = getattr(scheduler, "_last_lr", ())
        one.calls += 1
        for place, (rate, base) in enumerate(zip(rates, one.base, strict=False)):
            factor = float(rate) / base
            if factor > one.highest[place] * (1 + _EQUAL):
                one.highest[place] = factor
                one.risen = one.calls

    def settle(self) -> None:
        """The run ends: tell of the rules that gave rates, or of none."""
        for one in self._known.values():
            if one.calls < _LEAST_CALLS or one.risen >= one.calls or not one.driven.steps:
                continue
            pairs = [*zip(one.highest, one.base, strict=True)]
            alike = any(math.isclose(high, base, rel_tol=_EQUAL) for high, base in pairs)
            if alike and max(one.highest) <= max(one.base) * (1 + _EQUAL):
                values = {"type": _KIND, "rate_as_factor": True, "rate": max(one.base)}
                values["highest"] = max(high * base for high, base in pairs)
                self._stream.tell_of_run(one.where, {"optimizer": (one.driven.number,)}, values)
