"""Which calls of one place are told of, where there are many: all of the first, then samples."""

from __future__ import annotations

from typing import Final, final

from tcstatic.runtime.probes.opencalls import SourceCall
from tcstatic.runtime.probes.stream import Stream

FULL_EVENTS: Final = 1_000  # at one place; from then on,
EVERY: Final = 16  # only in each n-th step, so that all places are told of in the same steps,
STEP_EVENTS: Final = 64  # and in such a step so many


@final
class Sampling:
    """State: `left` the calls that were wanted and in no event."""

    __slots__ = ("_stream", "full_events", "left")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.full_events = FULL_EVENTS
        self.left = 0

    def is_due(self, call: SourceCall) -> bool:
        """Whether a call is told of, at a place that was told of `full_events` times."""
        step = self._stream.step
        if step != call.step:
            call.step, call.in_step = step, 0
        call.in_step += 1
        if step % EVERY or call.in_step > STEP_EVENTS:
            if not self.left:
                self._stream.tell_call(None, {}, {"sampled": True})
            self.left += 1
            return False
        return True

    def note(self) -> str:
        """How many calls are in no event, and why; '' where none is left out."""
        if not self.left:
            return ""
        limits = f"after {self.full_events:,} events of one place, one step in {EVERY} is told"
        return f"{self.left:,} calls are in no event: {limits}"
