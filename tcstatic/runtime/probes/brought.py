"""Gradients that a program brings together by hand, in vain: after the step, or on one rank only.

Nothing declares that copies are to stay equal. A program that brings the gradient of a parameter
together says so; where it does that only after the step has used the gradient, or asks for the sum
on one rank alone, copies that were equal part with the first update.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.partings import Parting, Round, parted

LATE: Final = "; line {} brings its gradients together only after the step has used them"
ON_ONE: Final = "; line {} brings its gradients together on one rank only"
PARTED: Final = "was the same on ranks {} before the first step, but differs after it"


@final
@dataclass(frozen=True, slots=True)
class Futile:
    """A parameter whose copies parted, where its gradient was brought together, and why in vain."""

    parting: Parting
    where: Location
    why: str


@final
class Brought:
    """Follows one family until its first update is compared.

    State: `_futile` by parameter where its gradient was brought together in vain, and why;
    `_in_time` the names of those that were not, or that were shared out after it.
    """

    def __init__(self) -> None:
        self._futile: dict[str, tuple[Location, str]] = {}
        self._in_time: set[str] = set()

    def together(self, name: str, operation: str, where: Location, *, late: bool) -> None:
        """A collective is about to be given a gradient, `late`: after the step that used it."""
        if late:
            self._futile.setdefault(name, (where, LATE))
        elif operation == "reduce":
            self._futile.setdefault(name, (where, ON_ONE))
        else:
            self._in_time.add(name)

    def judge(self, before: Mapping[int, Round], now: Mapping[int, Round]) -> Futile | None:
        """Return a parameter that parted with the first update because of it; `before` and `now`
        are what all ranks noted before it and after it."""
        if len(before) < len(now) or any(one.group for one in now.values()):
            return None
        values = {rank: one.values for rank, one in now.items()}
        for name, (where, why) in self._futile.items():
            if name in self._in_time or any(name not in held for held in values.values()):
                continue
            if len({one.values.get(name) for one in before.values()}) > 1:
                continue
            for parting in parted(name, [tuple(sorted(now))], values, now, before):
                return Futile(parting, where, why.format(where.line))
        return None
