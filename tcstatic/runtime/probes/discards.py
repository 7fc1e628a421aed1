"""Gradients that are cleared before any step uses them, again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, final

from tcstatic.model import Location

AGAIN: Final = 3  # steps in a row that lost as many backwards: a guard skips now and then


@final
class Discards:
    """The backwards of one optimizer whose gradients nobody used.

    State: `_places` where those since its last step were called, `_used` whether the user may have
    used one of them; `_before` how many there were in the step before, `_times` in how many steps
    in a row; `idle` that there were none since the step before last.
    """

    __slots__ = ("_before", "_places", "_times", "_used", "idle")

    def __init__(self) -> None:
        self._places: list[Location | None] = []
        self._before = self._times = 0
        self._used = False
        self.idle = True

    @property
    def any(self) -> bool:
        """Whether there are some since the last step."""
        return bool(self._places)

    @property
    def in_vain(self) -> Location | None:
        """Where the last of several backwards was called that served nobody, for all we know."""
        if self._used or len(self._places) < AGAIN:
            return None
        return self._places[-1]

    def cleared(
        self,
        backward: Location | None,
        parameters: Sequence[Any],
        left: tuple[list[int], Any] | None,
        *,
        alone: bool,
    ) -> None:
        """The gradients of a `backward` were cleared; `left` are the versions that the last step
        left the parameters with, `alone` tells that no closure, write or other optimizer may have
        used them.

        Where a parameter moved meanwhile, the gradient was used to move it (as by SAM).
        """
        self._places.append(backward)
        self.idle = False
        if not alone or (left is not None and left[0] != [p._version for p in parameters]):
            self._used = True

    def stepped(self, backward: Location | None, *, written: bool) -> int:
        """A step uses the gradients of a `backward`, or some that the user has `written`; return
        how many steps in a row have lost those of the same call, 0 where that may be meant. An
        `idle` one need not be told.

        A backward of another call serves another purpose: to look at the input, or at a norm.
        """
        meant = self._used or written or any(place != backward for place in self._places)
        count = 0 if meant else len(self._places)
        self._times = self._times + 1 if count == self._before else 1
        self._before, self._places, self._used = count, [], False
        self.idle = count == 0
        return self._times if count > 0 and self._times >= AGAIN else 0

    def forget(self) -> None:
        """Steps go by unwatched."""
        self.idle = True
        self._places = []
        self._before = self._times = 0
        self._used = False
