"""Schedules of an optimizer that has made way for another one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, final

from tcstatic.runtime.probes.optimizers import Optimizer

_LEAST_CALLS: Final = 3  # of a schedule since its optimizer stepped last
_LEAST_STEPS: Final = 8  # of the other one meanwhile


@final
@dataclass(slots=True)
class _Seen:
    """How often what a schedule drives had stepped at its last call, and all others when that
    changed last; its calls since; whether it was `told`."""

    steps: int = -1
    others: dict[int, int] = field(default_factory=dict)
    calls: int = 0
    told: bool = False


@final
class Stalled:
    """Compares the steps of optimizers from one call of a schedule to the next. State: `_seen` by
    the schedule's number."""

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}

    def called(
        self, number: int, driven: Optimizer, everyone: Iterable[Optimizer]
    ) -> tuple[bool, Optimizer | None] | None:
        """A schedule is stepped. Return what is new: whether it drives an optimizer that another
        one took the place of, and which did; None where that is not so, or was told."""
        one = self._seen.setdefault(number, _Seen())
        if one.steps != driven.steps:
            told, one.told = one.told, False
            one.steps, one.calls = driven.steps, 0
            one.others = {other.number: other.steps for other in everyone}
            return (False, None) if told else None
        one.calls += 1
        if one.told or not driven.steps or one.calls < _LEAST_CALLS:
            return None
        for other in everyone:
            steps = other.steps - one.others.get(other.number, 0)
            if steps >= _LEAST_STEPS and other.stock and _succeeds(other, driven):
                one.told = True
                return True, other
        return None


def _succeeds(one: Optimizer, driven: Optimizer) -> bool:
    """Whether an optimizer was made later, for a parameter in common, and nobody sets its rate."""
    if one.number <= driven.number or one.rate_history.varied:
        return False
    held = set(map(id, one.parameters()))
    return any(id(parameter) in held for parameter in driven.parameters())
