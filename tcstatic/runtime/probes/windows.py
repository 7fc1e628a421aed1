"""Windows of accumulated gradients that an epoch leaves half full: what becomes of the rest.

A step that uses the gradients of several backwards closes a window. Where a loop ends amid one, its
rest may be stepped, or go on with the next epoch. Cleared, it is lost; added to a window that is
full without it, it counts in a step that it does not belong to.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.loops import Loop
from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.stream import Stream

_TIMES: Final = 2  # ends of one loop in a row that leave as many backwards over, to the same fate
_LEAST_WINDOWS: Final = 2  # of one size, before a loop may leave one half full
_MOST_LINES: Final = 200  # above a step, where the condition is looked for that it stands under
_MEANT: Final = re.compile("drop|discard|throw|skip|incomplete|partial|remain|left", re.IGNORECASE)
_CLEARED: Final = "cleared unused"
_ADDED: Final = "added to the first step of the next epoch"


@final
class _Accumulated:
    """What one optimizer accumulates.

    State: `size` the backwards in each of the last `steps`, `base` how many there had been when the
    gradients were cleared last; `rest` the backwards that the loop at `site` left over, until
    something becomes of them; `fate` what became of the last such, and where, `times` in a row;
    `over` once it is told, or gradients were cleared for another reason.
    """

    __slots__ = ("base", "fate", "over", "rest", "site", "size", "steps", "times")

    def __init__(self) -> None:
        self.size = self.steps = self.base = self.rest = self.site = self.times = 0
        self.fate: tuple[str, int, int, Location | None] = ("", 0, 0, None)
        self.over = False

    def becomes(self, what: str, where: Location | None) -> bool:
        """Something became of the rest; return whether it did so before."""
        fate = (what, self.site, self.rest, where)
        self.times = self.times + 1 if fate == self.fate else 1
        self.fate, self.rest = fate, 0
        return self.times == _TIMES


@final
class Windows:
    """Follows the optimizers whose steps use several backwards.

    State: `of` what is known of each, by number.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.of: dict[int, _Accumulated] = {}

    def stepped(self, optimizer: Optimizer, where: Location | None) -> None:
        """A step is done that came after several backwards, or used the rest of others."""
        mine = self._known(optimizer)
        used, mine.base = optimizer.ledger.backwards - mine.base, 0
        if mine.rest and used == mine.rest + mine.size:
            if mine.becomes(_ADDED, where):
                self._tell(optimizer, mine)
        elif mine.rest:
            mine.rest, mine.times = 0, 0
        elif used == mine.size:
            mine.steps += 1
        else:
            mine.size, mine.steps, mine.times = used, 1, 0

    def lost(self, optimizer: Optimizer, where: Location | None) -> None:
        """Gradients are cleared that no step has used."""
        mine = self._known(optimizer)
        cleared, mine.base = optimizer.ledger.backwards - mine.base, optimizer.ledger.backwards
        if not mine.rest or cleared != mine.rest:
            mine.over, mine.rest = True, 0
        elif mine.becomes(_CLEARED, where):
            self._tell(optimizer, mine)

    def ends(self, everyone: Mapping[int, Optimizer], loop: Loop) -> None:
        """A loop is over; one without a step is part of a window."""
        for number, mine in self.of.items() if loop.steps else ():
            if number not in everyone or mine.rest or mine.steps < _LEAST_WINDOWS:
                continue
            rest = everyone[number].ledger.backwards - mine.base
            if 0 < rest < mine.size:
                mine.rest, mine.site = rest, loop.site.number

    def settle(self, everyone: Mapping[int, Optimizer]) -> None:
        """The run ends: what is left over now has gone the way of what was before."""
        for number, mine in self.of.items():
            if mine.rest and mine.times and mine.fate[1:3] == (mine.site, mine.rest):
                what, *_, where = mine.fate
                if number in everyone and mine.becomes(what, where):
                    self._tell(everyone[number], mine)

    def _known(self, optimizer: Optimizer) -> _Accumulated:
        return self.of.setdefault(optimizer.number, _Accumulated())

    def _tell(self, optimizer: Optimizer, mine: _Accumulated) -> None:
        what, _, rest, where = mine.fate
        if mine.over or where is None:
            return
        mine.over = True
        if what == _CLEARED and _MEANT.search(self._line(where).partition("#")[2]):
            return
        if what == _ADDED:
            where = self._condition(where)
        values = {"rest_lost": True, "rest": rest, "size": mine.size, "fate": what}
        subjects = {"optimizer": (optimizer.number,)}
        self._stream.tell(self._stream.make("state", where, subjects, values))

    def _condition(self, where: Location) -> Location:
        """The line of the condition that a step stands under, else its own."""
        inner = self._line(where)
        for line in range(where.line - 1, max(0, where.line - _MOST_LINES), -1):
            text = self._line(replace(where, line=line))
            if text.strip() and not text.lstrip().startswith("#") and _depth(text) < _depth(inner):
                if re.match(r"\s*(el)?if\b", text):
                    return replace(where, line=line, column=1, end_line=line, end_column=1)
                if re.match(r"\s*(async\s+)?(def|class|for|while)\b", text):
                    break
                inner = text
        return where

    def _line(self, where: Location) -> str:
        return linecache.getline(f"{self._stream.locator.root}{where.file}", where.line)


def _depth(text: str) -> int:
    return len(text) - len(text.lstrip())
