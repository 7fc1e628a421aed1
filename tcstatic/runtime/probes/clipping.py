"""Clipping of gradients: whose it was, and whether anything was there to clip."""

from __future__ import annotations

from typing import final

from tcstatic.model import Location, Site
from tcstatic.runtime.probes.ledger import mark, version_of
from tcstatic.runtime.probes.stream import HEARD, Stream
from tcstatic.runtime.probes.updates import Updates


@final
class Clipping:
    """Compares the gradients of all optimizers before and after they are clipped.

    State, between the two: `_marks` the versions of the gradients by optimizer, `_live` the
    optimizers that had fresh ones.
    """

    def __init__(self, stream: Stream, updates: Updates) -> None:
        self._stream = stream
        self._updates = updates
        self._marks: dict[int, list[int]] = {}
        self._live: set[int] = set()

    def begins(self) -> None:
        """Gradients are about to be clipped."""
        everyone = self._updates.live()
        self._live = {o.number for o in everyone if o.ledger.fresh(o.parameters())}
        self._marks = {o.number: [version_of(p.grad) for p in o.parameters()] for o in everyone}

    def ends(self, where: Location | None, bound: float | None, *, stock: bool = False) -> None:
        """Gradients were clipped: those that moved on belong to the optimizers concerned.

        `stock`: torch's own clipping, which writes to every gradient that it is given.
        """
        concerned, live = [], False
        marks, self._marks = self._marks, {}
        everyone = self._updates.live()
        for optimizer in everyone:
            now = [version_of(p.grad) for p in optimizer.parameters()]
            if now != marks.get(optimizer.number, now):
                concerned.append(optimizer)
                if optimizer.manual:
                    optimizer.ledger.after_backward = [mark(p.grad) for p in optimizer.live]
        idle = not concerned
        for optimizer in concerned or everyone:
            if optimizer.number in self._live:
                live = True
                optimizer.interval.clipped_live = not (idle and stock)
        if idle and stock and not any(o.sharded for o in everyone):
            live = False  # it was given nothing, such as a generator that was used up before
        foreign = idle and bool(self._updates.untracked.touched)
        values = {
            "live": live or foreign,
            "bounded": bound is None or bound < 1e30,
            "clipped_live": any(o.interval.clipped_live for o in concerned or everyone),
            "nothing_to_clip": idle,
        }
        if bound == 0 and not idle:
            heard = {HEARD: tuple(o.heard for o in concerned)}
            said = {"operation": "gradients are clipped to a bound of 0", "sure": True}
            self._stream.tell(self._stream.make("call", where, heard, said))
        subjects = {"optimizer": tuple(o.number for o in concerned or everyone)}
        self._stream.tell(self._stream.make("grad.clip", where, subjects, values))


def written_bound(site: Site) -> float | None:
    """Return the bound of a clipping that is a literal, None for any other."""
    texts = [site.arguments.get(name) for name in ("max_norm", "clip_value", "1")]
    try:
        return next(float(text) for text in texts if text is not None)
    except (StopIteration, ValueError):
        return None
