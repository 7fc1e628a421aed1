"""Gradients that a program brings together by hand: those that were, in all steps but one.

Nothing declares which they are. A parameter whose gradient was the same on all ranks in other
steps, and in one step alone was not, although those of most others were, has parted by accident;
one that never was the same, or is not every so often, is meant to be a rank's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from tcstatic.runtime.probes.partings import NO_GRADIENT, Parting, Round, parted

LEAST_EQUAL: Final = 2  # steps in which a gradient was the same on all ranks, before or after


@final
@dataclass(frozen=True, slots=True)
class Odd:
    """The one update of a parameter whose gradients were not the same, and what ranks noted of
    it, and of the update before."""

    turn: int
    parting: Parting
    now: Mapping[int, Round]
    before: Mapping[int, Round]


@final
class Averaged:
    """Follows the gradients of one family, on the rank that compares.

    State: `_equal` in how many updates the gradients of a name were the same, `_odd` those that
    were not once, `_own` those that are a rank's own affair, or are told.
    """

    def __init__(self) -> None:
        self._equal: Counter[str] = Counter()
        self._odd: dict[str, Odd] = {}
        self._own: set[str] = set()

    @property
    def kept(self) -> list[str]:
        """The names whose gradients were the same on all ranks often enough to be meant so."""
        return [name for name, times in self._equal.items() if times >= LEAST_EQUAL]

    def judge(self, turn: int, now: Mapping[int, Round], before: Mapping[int, Round]) -> Odd | None:
        """Take an update in; return one that is now known to have gone wrong, each once."""
        used = {rank: one.used for rank, one in now.items() if one.used and not one.group}
        if len(used) < len(now) or len(used) < 2 or any(one.alone for one in now.values()):
            return None
        kinds = {
            name: {its.get(name) for its in used.values()} - set(NO_GRADIENT)
            for name in next(iter(used.values()))
        }
        equal = [name for name, values in kinds.items() if len(values) == 1]
        apart = [name for name, values in kinds.items() if len(values) > 1]
        if len(apart) >= len(equal):  # a step that each rank makes for itself
            self._equal, self._odd = Counter(), {}
            return None
        self._equal.update(equal)
        for name in apart:
            found = parted(name, [tuple(sorted(now))], used, now, before)
            if name in self._odd or not _were_equal(name, now, before) or not found:
                self._own.add(name)
            else:
                self._odd[name] = Odd(turn, found[0], now, before)
        for name, odd in self._odd.items():
            if name not in self._own and self._equal[name] >= LEAST_EQUAL:
                self._own.add(name)
                return odd
        return None


def _were_equal(name: str, now: Mapping[int, Round], before: Mapping[int, Round]) -> bool:
    values = {before[rank].values.get(name) if rank in before else None for rank in now}
    return len(values) == 1 and None not in values
