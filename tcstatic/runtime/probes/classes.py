"""Batches of which each holds one class alone, and not always the same: data in sorted order."""

from __future__ import annotations

import linecache
import re
import sys
from collections.abc import Callable
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.copied import Copied, saved
from tcstatic.runtime.probes.nodes import kind_of, signed, walk
from tcstatic.runtime.probes.stream import HEARD, Stream, listener

_MOST_NODES: Final = 64  # between a number and the losses that it is made of
_LEAST_LABELS: Final = 8
_LEAST_STEPS: Final = 6
_MOST_STEPS: Final = 256
_RARE: Final = 4  # steps of one class for one of several
_IDLE: Final = 4  # losses in a row over no classes
# Words for data that is learnt from in the order in which it comes, or by parts that differ.
_IN_ORDER: Final = re.compile(
    r"prequential|test[- ]then[- ]train|chronolog|order of time|time order|non[-_ ]?iid|forgetting"
    r"|(continual|incremental|online|lifelong|streaming)[-_ ]learning",
    re.IGNORECASE,
)
_MOST_LOSSES: Final = 32  # of one step: more are a long accumulation, or nothing ever steps


@final
class Classes:
    """Reads the labels of the first losses, until steps have several of them.

    State: `_open` the least and greatest labels of the step `_step`, on their way from the device;
    `_seen` the classes that a step had alone, `_count` how many steps, `_mixed` how many had
    several; `_last` the class seen last, and how often one came `_back` that others had followed;
    `_idle` losses in a row over no classes; `over` once there is nothing more to see.
    """

    def __init__(self, stream: Stream, tell_made: Callable[[int], None]) -> None:
        self._stream = stream
        self._tell_made = tell_made
        self._open: list[Copied] = []
        self._step = 0
        self._seen: set[int] = set()
        self._count = self._mixed = self._back = 0
        self._last = -1
        self._idle = 0
        self.over = False

    def read(self, loss: Any, where: Location | None) -> None:
        """The backward of a loss is about to be called."""
        root, step = getattr(loss, "grad_fn", None), self._stream.step
        if self.over or root is None:
            return
        if step != self._step and self._open:
            self._close(where)
        self._step = step
        if len(self._open) >= _MOST_LOSSES:
            return
        found = [one for node in walk(root, _MOST_NODES) for one in _labels(node)]
        self._idle = 0 if found else self._idle + 1
        self._open += found
        if self._idle >= _IDLE or step >= _MOST_STEPS:
            self.over = True

    def _close(self, where: Location | None) -> None:
        """A step is over: did its losses see one class?"""
        if not all([one.is_there() for one in self._open]):
            return
        ends = {int(end) for one in self._open for end in one.host.tolist()}
        self._open = []
        if len(ends) != 1:  # one class ends in it, and the next begins
            self._mixed += 1
            self.over = self._mixed > 1 + self._count // _RARE
            return
        (label,) = ends
        self._count += 1
        self._back += label != self._last and label in self._seen
        self._last = label
        self._seen |= ends
        if self._back > 1 + self._count // _RARE:  # classes that take turns are in no order
            self.over = True
        elif self._count >= _LEAST_STEPS and len(self._seen) > 1:
            self.over = True
            self._tell(where)

    def _tell(self, where: Location | None) -> None:
        stream = self._stream
        loop = next((one for one in stream.loops if one.batches), None)
        load = getattr(loop, "load", None)
        number = stream.registry.known(load.loader()) if load is not None else 0
        subjects: dict[str, tuple[int, ...]] = {"loader": (number,)}
        if number:
            subjects[HEARD] = (listener("loader", number),)
            self._tell_made(number)
        place = loop.where if loop is not None else where
        if place is not None and _IN_ORDER.search(self._text(place)):
            return
        values = {"one_class": True, "steps": self._count, "made": self._count + self._mixed}
        stream.tell(stream.make("loader.next", place, subjects, values))

    def _text(self, where: Location) -> str:
        """The text of the file that a place lies in."""
        return "".join(linecache.getlines(f"{self._stream.locator.root}{where.file}"))


def _labels(node: Any) -> list[Copied]:
    """The least and the greatest label that counts in a loss over classes."""
    if kind_of(node) not in ("NllLoss", "NllLoss2D"):
        return []
    labels, ignored = saved(node, "target"), getattr(node, "_saved_ignore_index", None)
    if labels is None or not isinstance(ignored, int) or labels.numel() < _LEAST_LABELS:
        return []
    torch: Any = sys.modules["torch"]
    ignored = signed(ignored)
    flat = labels.detach().flatten()
    unread = flat == ignored
    least = torch.where(unread, flat.max(), flat).min()
    return [Copied(torch.stack([least, torch.where(unread, flat.min(), flat).max()]))]
