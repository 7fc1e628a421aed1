"""Targets of a CTC loss that hold its blank, which no label may be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes import codes
from tcstatic.runtime.probes.copied import Copied, saved
from tcstatic.runtime.probes.nodes import NOTE, kind_of, walk
from tcstatic.runtime.probes.stream import Stream
from tcstatic.runtime.probes.written import ctc_lines

_MOST_NODES: Final = 256  # between a number and the losses that it is made of
_MOST_LABELS: Final = 1 << 16
_FIRST_STEPS: Final = 6
_TIMES: Final = 2  # losses that show it
_IDLE: Final = 2  # losses in a row of another kind


@final
class Blanks:
    """Reads the targets of the first losses.

    State: `_waiting` those on their way from the device, each with its lengths, its blank and its
    place; `_count` how many held the blank; `_idle` losses in a row that are no CTC losses.
    """

    def __init__(self, stream: Stream, models: Callable[[], Iterable[Any]]) -> None:
        self._stream = stream
        self._models = models
        self._waiting: list[tuple[Copied, tuple[int, ...], int, Location | None]] = []
        self._count = self._idle = 0

    def read(self, root: Any, where: Location | None) -> None:
        """The backward of a loss begins."""
        fresh = self._stream.rounds - self._stream.began < _FIRST_STEPS
        if fresh and self._idle < _IDLE and self._count < _TIMES:
            nodes = [node for node in walk(root, _MOST_NODES) if kind_of(node) == "CtcLoss"]
            self._idle = 0 if nodes else self._idle + 1
            for node in nodes:
                self._take(node, where)
        self.settle()

    def _take(self, node: Any, where: Location | None) -> None:
        labels, lengths = saved(node, "targets"), getattr(node, "_saved_target_lengths", None)
        blank = getattr(node, "_saved_blank", None)
        if labels is None or labels.numel() > _MOST_LABELS or not isinstance(blank, int):
            return
        if isinstance(lengths, tuple) and all([isinstance(one, int) for one in lengths]):
            place = node.metadata.get(NOTE) or where
            self._waiting.append((Copied(labels), lengths, blank, place))

    def settle(self) -> None:
        """Judge what has arrived."""
        waiting, self._waiting = self._waiting, []
        for labels, lengths, blank, where in waiting:
            if not labels.is_there():
                self._waiting.append((labels, lengths, blank, where))
            elif _holds(labels.host, lengths, blank):
                self._count += 1
                if self._count == _TIMES:
                    self._tell(blank, where)

    def _tell(self, blank: int, where: Location | None) -> None:
        stream = self._stream
        code = codes.reachable(stream.locator.frame(1), self._models(), stream.locator)
        place = next(iter(ctc_lines(code, stream.locator)), where)
        values = {"holds_blank": True, "blank": blank}
        stream.tell(stream.make("loss.forward", place, {}, values))


def _holds(labels: Any, lengths: tuple[int, ...], blank: int) -> bool:
    """Whether a blank stands before a label: at the end of a row, it may only fill that up."""
    if labels.dim() == 1:
        ends = [sum(lengths[: turn + 1]) for turn in range(len(lengths))]
        rows = [labels[end - long : end] for end, long in zip(ends, lengths, strict=True)]
    elif labels.dim() == 2 and len(labels) == len(lengths):
        rows = [row[:long] for row, long in zip(labels, lengths, strict=True)]
    else:
        return False
    found = [(row == blank).long() for row in rows]
    # Blanks that fill up a row are all that come after the last label.
    return any([bool((one.diff() < 0).any()) for one in found])
