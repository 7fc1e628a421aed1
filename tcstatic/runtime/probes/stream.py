"""The stream of events of one process: order, context, and what is not yet known."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, final, get_args

from tcstatic import launching
from tcstatic.model import Context, Event, Location, Member, Mesh, Site
from tcstatic.model.events import quick_context, quick_event
from tcstatic.runtime.probes.locate import Locator
from tcstatic.runtime.probes.loops import Loop
from tcstatic.runtime.probes.registry import Registry

Draft = Callable[[], Event]
# Step, rank, whether the loss is scaled, whether gradients are recorded, epoch.
Moment = tuple[int, int, bool, bool | None, int | None]
_NONE: Final[frozenset[str]] = frozenset()
HEARD: Final = "heard"  # the role under which an event is kept for whoever may name it as a cause
# For whom: what is told of an optimizer, a loss, a loader, a kept state, a tie of parameters, or of
# the formats that the program computes in.
Listener = Literal["optimizer", "loss", "loader", "state", "tie", "format"]
_LISTENERS: Final = {kind: turn for turn, kind in enumerate(get_args(Listener))}
_FIRST_LISTENER: Final = -1_000_000  # apart from all numbers of objects, which are not negative


def listener(kind: Listener, number: int) -> int:
    """Return the number under which events are kept for one of a kind, alone; that of optimizer 0
    is for the state of all ranks. The kinds take turns, so that no number is two listeners'."""
    return _FIRST_LISTENER - number * len(_LISTENERS) - _LISTENERS[kind]


@final
class Stream:
    """Makes events in order; a draft is an event whose state is still on its way from a device.

    State: `step` counts the steps of the optimizer that stepped most often, `rounds` those of
    training, whoever stepped, of which the one in `began` was the first with something new to
    train; `loops` are the
    active loops from the outermost, `_around` the one around that over batches; `last` is the last
    place in the order of events that is taken, `_queue` the drafts in order of their making;
    `_context` the last moment whose context was made, with that.
    """

    def __init__(
        self,
        root: str,
        emit: Callable[[Sequence[Event]], None],
        sites: Mapping[int, Site],
        mesh: Mesh | None = None,
    ) -> None:
        self.mesh = mesh
        self.locator = Locator(root)
        self.registry = Registry()
        self.loops: list[Loop] = []
        self._around: Loop | None = None
        self.step = 0
        self.rounds = self.began = 0
        self.rank = launching.rank() or 0
        self.thread = threading.get_ident()
        self.events = 0
        self.loss_scaled = False
        self.last_step_where: Location | None = None
        self._sites = sites
        self._emit = emit
        self.last = 0
        self._queue: deque[Event | Draft] = deque()
        self._recording: Callable[[], bool] | None = None
        self._context: tuple[Moment | None, Context] = (None, Context())

    def site(self, number: int) -> Site | None:
        """Return the site with this number."""
        return self._sites.get(number)

    def sequence(self) -> int:
        """Return the next place in the order of events."""
        self.last += 1
        return self.last

    @property
    def epoch(self) -> int | None:
        """The iteration of the loop around the loop over batches, if there is one."""
        return None if self._around is None else self._around.index

    def enter(self, loop: Loop) -> None:
        """A loop begins, within those that are active."""
        self.loops.append(loop)
        self._around = _around(self.loops)

    def leave(self, loop: Loop) -> bool:
        """A loop ends; whether it was active."""
        if loop not in self.loops:
            return False
        self.loops.remove(loop)
        self._around = _around(self.loops)
        return True

    def context(self, **more: Any) -> Context:
        """Return the context of this moment, with further fields."""
        return self.context_at(self.moment(), **more)

    def moment(self) -> Moment:
        """Return what a context tells of this moment."""
        recording = self._recording
        if recording is None and "torch" in sys.modules:
            recording = self._recording = sys.modules["torch"].is_grad_enabled
        return (
            self.step,
            self.rank,
            self.loss_scaled,
            None if recording is None else recording(),
            None if self._around is None else self._around.index,
        )

    def context_at(self, moment: Moment, **more: Any) -> Context:
        """Return the context of a moment, with further fields."""
        if moment != self._context[0]:
            step, rank, loss_scaled, grad_enabled, epoch = moment
            fields = {"step": step, "rank": rank, "loss_scaled": loss_scaled}
            if grad_enabled is not None:
                fields["grad_enabled"] = grad_enabled
            if epoch is not None:
                fields["epoch"] = epoch
            self._context = (moment, quick_context((fields, _NONE)))
        context = self._context[1]
        return quick_context(({**context.fields, **more}, _NONE)) if more else context

    def make(
        self,
        kind: str,
        where: Location | None,
        subjects: Mapping[str, tuple[int, ...]],
        values: Mapping[str, Any] | None = None,
        context: Context | None = None,
        members: tuple[Member, ...] = (),
        *,
        sequence: int = 0,
        step: int | None = None,
        epoch: int | None = None,
    ) -> Event:
        """Return an event of this moment (or of an earlier one, where `sequence` is given)."""
        if context is None:
            moment = self.moment()
            before, context = self._context
            epoch = moment[4]
            if moment != before:
                context = self.context_at(moment)
        elif epoch is None:
            epoch = self.epoch
        if not sequence:
            self.last = sequence = self.last + 1
        if step is None:
            step = self.step
        told = values or {}
        return quick_event(
            (kind, sequence, where, subjects, told, context, members, step, epoch, self.rank)
        )

    def tell(self, event: Event) -> None:
        """Queue an event that is complete."""
        self._queue.append(event)

    def tell_of_run(
        self,
        where: Location | None,
        subjects: Mapping[str, tuple[int, ...]],
        values: Mapping[str, Any],
    ) -> None:
        """Queue a `call` event about what is so in all of the run, from its first step on."""
        self.tell(self.make("call", where, subjects, values, step=0))

    def tell_call(
        self,
        where: Location | None,
        subjects: Mapping[str, tuple[int, ...]],
        values: Mapping[str, Any],
    ) -> None:
        """Queue a `call` event of this moment."""
        moment = self.moment()
        before, context = self._context
        if moment != before:
            context = self.context_at(moment)
        self.last = sequence = self.last + 1
        step, rank, _, _, epoch = moment
        told = ("call", sequence, where, subjects, values, context, (), step, epoch, rank)
        self._queue.append(quick_event(told))

    def draft(self, draft: Draft) -> None:
        """Queue an event that will be complete once the device has got there."""
        self._queue.append(draft)

    def waiting(self) -> int:
        """Return how many events are queued."""
        return len(self._queue)

    def flush(self, keep: int = 0) -> None:
        """Hand on all queued events but the `keep` newest, in order."""
        ready: list[Event] = []
        take, before = self._queue.popleft, len(self._queue)
        try:
            for _ in range(before - keep):
                one = take()
                ready.append(one if type(one) is Event else one())
        finally:
            self.events += before - len(self._queue)
            if ready:
                self._emit(ready)


def _around(loops: list[Loop]) -> Loop | None:
    """Return the loop around the loop over batches, of those that are active."""
    if len(loops) < 2:
        return None
    for position, loop in enumerate(loops):
        if loop.loaded:
            return loops[position - 1] if position else None
    return loops[0]
