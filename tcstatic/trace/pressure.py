"""How much of a run's time its recording takes, and which kind of event to give up for it."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final, final

# When recording takes more than this share of the time between two writes, twice in a row, the
# kind with the most events is given up. Below a second, or once, a slow disk may have hiccuped.
SHARE: Final = 0.3
SHORTEST_SECONDS: Final = 1.0
IN_A_ROW: Final = 2


@final
class Pressure:
    """Counts time and events from one write to the next.

    State: `_spent` seconds of recording, `_counts` events by kind and `_since`, reset by a write;
    `_high` how many writes in a row were under pressure.
    """

    def __init__(self) -> None:
        self._spent = 0.0
        self._counts: Counter[str] = Counter()
        self._since = time.monotonic()
        self._high = 0

    def count(self, kind: str) -> None:
        """An event is recorded."""
        self._counts[kind] += 1

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Time spent on events: of the processor, because on a busy machine training waits too."""
        start = time.thread_time()
        try:
            yield
        finally:
            self._spent += time.thread_time() - start

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Time spent on a file: training waits for that alone."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._spent += time.monotonic() - start

    def written(self) -> str | None:
        """All is written: return the kind to give up, if one is to be."""
        took = time.monotonic() - self._since
        high = took > SHORTEST_SECONDS and self._spent > SHARE * took and bool(self._counts)
        self._high = self._high + 1 if high else 0
        kind = self._counts.most_common(1)[0][0] if self._high >= IN_A_ROW else None
        self._spent, self._counts, self._since = 0.0, Counter(), time.monotonic()
        return kind
