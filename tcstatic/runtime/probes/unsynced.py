"""Steps on gradients that a wrapper was told to leave as they were: forgotten, or meant.

Local SGD trains under ``no_sync()`` and averages the weights every so often, which makes copies one
again. Where they are not made one for long, the last microbatch was left in there by mistake.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from tcstatic.runtime.probes.partings import Round, Verdict, gradients_parted

MOST_ROUNDS: Final = 100  # updates from one average of the weights to the next


@final
class Unsynced:
    """Follows one family, on the rank that compares.

    State: `_first` the first update whose gradients differed, with what did; `_waited` how many
    there were since; `_over` once that is told, or weights were averaged.
    """

    def __init__(self) -> None:
        self._first: tuple[int, Verdict] | None = None
        self._waited = 0
        self._over = False

    def judge(self, turn: int, now: Mapping[int, Round]) -> tuple[int, Verdict] | None:
        """Take an update in; return the first one, once it is known to have been a mistake."""
        if self._over:
            return None
        if self._first is None:
            verdict = gradients_parted(now, local=True)
            if not verdict.partings:
                return None
            self._first = (turn, verdict)
        if _is_one(now, self._first[1].partings[0].name):
            self._over = True
            return None
        self._waited += 1
        return self.settle() if self._waited >= MOST_ROUNDS else None

    def settle(self) -> tuple[int, Verdict] | None:
        """The run ends."""
        found = None if self._over else self._first
        self._over = True
        return found


def _is_one(now: Mapping[int, Round], name: str) -> bool:
    """Whether all ranks hold one value of a parameter."""
    values = {one.values.get(name) for one in now.values()}
    return len(values) == 1 and None not in values
