"""Rates that are set in the groups which an optimizer had before a state was loaded.

`load_state_dict` puts new groups in the place of the old ones. Whoever keeps the old list, such as
a schedule that was made before, writes to what nobody reads.
"""

from __future__ import annotations

import linecache
import re
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.stream import Stream

_LEAST_WRITES: Final = 4
_SETS: Final = re.compile(r"\[\s*[\"']lr[\"']\s*\]\s*[-+*/]?=(?!=)")
_LOOP: Final = re.compile(r"\s*for\b.*\bin\b.*:")
_ABOVE: Final = 4  # lines between the head of a loop over groups and what it sets


@final
class Outdated:
    """The groups of one optimizer. State: `_old` the first group as it was when the optimizer was
    made, until the first step shows that it is the same still; the rates of both, how often the
    old one was set since, and whether the new one was."""

    __slots__ = ("_moved", "_new", "_old", "_old_rate", "_replaced", "_writes")

    def __init__(self, optimizer: Any) -> None:
        groups = getattr(optimizer, "param_groups", None)
        self._old: Any = groups[0] if groups and type(groups[0]) is dict else None
        self._replaced = self._moved = False
        self._old_rate: Any = None
        self._new: Any = None
        self._writes = 0

    def look(self, stream: Stream, optimizer: Any, number: int) -> None:
        """The optimizer is about to step."""
        if self._old is None:
            return
        group: Any = next(iter(getattr(optimizer, "param_groups", ())), None)
        known = type(group) is dict and isinstance(group.get("lr"), float)
        if group is self._old or not known:
            self._old = None
            return
        if not self._replaced:
            self._replaced = True
            self._old_rate, self._new = self._old.get("lr"), group.get("lr")
        rate = self._old.get("lr")
        if isinstance(rate, float) and rate != self._old_rate:
            self._old_rate = rate
            self._writes += 1
        self._moved = self._moved or group.get("lr") != self._new
        if self._writes >= _LEAST_WRITES and not self._moved:
            self._old = None
            step = stream.last_step_where
            where = _set_at(stream, step) or step
            stream.tell_of_run(where, {"optimizer": (number,)}, {"rate_of_old_group": True})


def _set_at(stream: Stream, step: Location | None) -> Location | None:
    """Where the file of a step sets a rate, if in one place: at the head of its loop."""
    if step is None:
        return None
    lines = linecache.getlines(f"{stream.locator.root}{step.file}")
    found = [turn for turn, text in enumerate(lines) if _SETS.search(text)]
    if len(found) != 1:
        return None
    above = range(found[0] - 1, max(found[0] - _ABOVE, -1), -1)
    line = next((turn for turn in above if _LOOP.match(lines[turn])), found[0])
    return Location(step.file, line + 1, 1, line + 1, 1, "")
